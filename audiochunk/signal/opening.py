"""Opening recordings: only regular files, and nothing is waited for."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from audiochunk.errors import PassingRecordingError, RecordingError, raise_if_at_limit, reason

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_file(path: bytes, *, dir_fd: int | None = None) -> int:
    """A file descriptor of whatever is there; nothing (a FIFO, a device) is waited for.

    Raises:
        PassingRecordingError: it is not there, or may not be read.
        MachineError: too many files are open, or there is no memory.
    """
    try:
        return os.open(path, _FLAGS, dir_fd=dir_fd)
    except OSError as error:
        raise_if_at_limit(error)
        raise PassingRecordingError(path, reason(error)) from error


def modified_ns(status: os.stat_result) -> int:
    """When a file was last written, in ns, as a number of 63 bits: file systems can say more, what stores it cannot."""
    return status.st_mtime_ns & (2**63 - 1)


def check_regular(status: os.stat_result, path: bytes) -> None:
    """Refuse what is not a regular file.

    Raises:
        RecordingError: so it is.
    """
    if not stat.S_ISREG(status.st_mode):
        raise RecordingError(path, "not a regular file")


def open_regular(path: bytes | str | os.PathLike[str]) -> int:
    """A file descriptor of a regular file.

    Raises:
        RecordingError: it is not there, may not be read, or is no regular file.
        MachineError: too many files are open, or there is no memory.
    """
    name = os.fsencode(path)
    fd = open_file(name)
    try:
        check_regular(os.fstat(fd), name)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def opened(folder: bytes) -> Iterator[int | None]:
    """A folder, for looking up names from there, which is quicker; None where it cannot be opened.

    Whoever opens a recording by its whole path then learns why.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)
