"""Files that are whole or not there: temporary names, fsync, rename, and one lock a folder."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from audiochunk.errors import MachineError, printable

TEMPORARY_SUFFIX = ".tmp"


def temporary(path: Path) -> Path:
    """A name beside `path` that no other process, here or on another host, makes."""
    host = os.uname().nodename.partition(".")[0]
    return path.with_name(f"{path.name}.{host}.{os.getpid()}.{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")


def write_whole(path: Path, data: bytes, *, fsync: bool) -> None:
    """Make `path` hold `data`; whoever looks sees all of it or what was there before.

    Raises:
        OSError: it could not be written; then nothing of it is left.
    """
    scratch = temporary(path)
    try:
        with scratch.open("xb") as file:
            file.write(data)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; anything else, a FIFO or a device, is never waited for or read.

    Raises:
        OSError: it could not be opened, or is no regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(fd, "rb")


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write bytes to an open file, however many calls that takes."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def fsync_soon(path: Path) -> None:
    """Begin to make a file's bytes durable while this process goes on.

    Whoever has to know that they are calls `fsync_path`, which then finds little left to do.
    """
    global _flusher
    if _flusher is not None:
        _flusher.join()
    _flusher = threading.Thread(target=_fsync_if_there, args=(path,))
    _flusher.start()


_flusher: threading.Thread | None = None


def _fsync_if_there(path: Path) -> None:
    with suppress(OSError):
        fsync_path(path)


def fsync_path(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def clear_temporaries(folder: Path, *, prefix: str = "") -> None:
    """Remove what processes that died left under temporary names. The caller holds the folder's lock."""
    for entry in folder.iterdir():
        if entry.name.startswith(prefix) and entry.name.endswith(TEMPORARY_SUFFIX):
            entry.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the lock of a process that died is free.

    Raises:
        MachineError: another process holds it.
    """
    from filelock import FileLock, Timeout

    busy = f"{printable(str(path.parent.parent))}: another build is at work here; wait for it or stop it"
    # Opened before the lock is taken: if this is still what the path names afterwards, it is also what was locked,
    # and not a file that the last holder has removed meanwhile.
    witness = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    lock = FileLock(path, is_singleton=False)
    try:
        lock.acquire(timeout=0)
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(witness)):
            raise MachineError(busy)
        yield
    except Timeout as error:
        raise MachineError(busy) from error
    finally:
        lock.release()
        os.close(witness)
