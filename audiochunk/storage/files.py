"""Files that are whole or not there: temporary names, fsync, rename, and one lock a folder."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from audiochunk.errors import MachineError, printable

TEMPORARY_SUFFIX = ".tmp"
_MOST_NAME_BYTES, _MOST_HOST = 180, 40
# What `temporary` adds to a name: the host, the process, chance.
TEMPORARY_ENDING = re.compile(rf"\.[^./]*\.\d+\.[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}\Z")


def temporary(path: Path) -> Path:
    """A name beside `path` that no other process, here or on another host, makes."""
    host = os.uname().nodename.partition(".")[0]
    # A name may have 255 bytes; what is added here must fit.
    name = os.fsdecode(os.fsencode(path.name)[:_MOST_NAME_BYTES])
    return path.with_name(f"{name}.{host[:_MOST_HOST]}.{os.getpid()}.{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")


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


def copy_whole(source: Path, path: Path) -> None:
    """Make `path` hold what a file holds; whoever looks sees all of it or what was there before.

    Raises:
        OSError: it could not be read or written; then nothing of it is left.
    """
    import shutil  # and with it four libraries for archives

    scratch = temporary(path)
    try:
        shutil.copyfile(source, scratch)
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


def read_plain(path: Path) -> bytes:
    """What a regular file holds; anything else is never waited for or read.

    Raises:
        OSError: it could not be read, or is no regular file.
    """
    with open_plain(path) as file:
        return file.read()


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write bytes to an open file, however many calls that takes."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def begin_write_back(path: Path) -> None:
    """Have the system begin to write a file's bytes to the disk, where it can be told to (Linux), without waiting.

    Whether they have got there, and whether that failed, only `fsync_path` tells, which then finds less left to do. An
    fsync whose result nobody looks at would not do: a failure is reported once.
    """
    sync_file_range = _sync_file_range()
    if sync_file_range is not None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)  # 0 bytes from 0 on: all
        finally:
            os.close(fd)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _sync_file_range() -> Any:
    """The C library's function, or None. (posix_fadvise begins to write, too, but drops what is written already.)"""
    import ctypes

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


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


def is_at(path: Path, fd: int) -> bool:
    """Whether an open file is still the one that a path names: who had locked it may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


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
        _lock_files.add(path)
        if not is_at(path, witness):
            raise MachineError(busy)
        yield
    except Timeout as error:
        raise MachineError(busy) from error
    finally:
        _lock_files.discard(path)
        lock.release()
        os.close(witness)


_lock_files: set[Path] = set()


def let_go_of_locks() -> None:
    """In a process that was forked: close its copies of the locks that its parent holds, which goes on holding them."""
    held = [(status.st_dev, status.st_ino) for status in (os.stat(path) for path in _lock_files if path.exists())]
    _lock_files.clear()
    for name in os.listdir("/proc/self/fd") if held else ():
        with suppress(OSError):  # that of the listing is closed already
            status = os.fstat(int(name))
            if (status.st_dev, status.st_ino) in held:
                os.close(int(name))
