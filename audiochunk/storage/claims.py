"""Who is at work on a file of the cache: one thread of one process, under a name that nobody else writes to.

Record locks, which a fork does not inherit: a child that lives on would else hold them for a parent that was killed.
They have a price: a process that closes a file loses its lock on it, however often it has it open. So nobody opens
what another thread of the same process has locked.
"""

import atexit
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audiochunk.storage.files import TEMPORARY_SUFFIX, is_at, temporary

LOCK_SUFFIX = ".lock"
_POLL_S = 0.02
# Who has waited so long for another process that has written nothing meanwhile fetches the file as well: the other may
# have been stopped, and two do no harm.
_LONGEST_WAIT_S = 300.0


class Scratch:
    """A new file beside the one that it will become, locked by this process for as long as it is open.

    Args:
        path: that it is to have when it is whole.

    Attributes:
        file: open to be written and read.

    Raises:
        OSError: it could not be made.
    """

    def __init__(self, path: Path) -> None:
        self._to, self._path = path, temporary(path)
        _process.unfinished[str(self._path)] = True
        try:
            self.file = self._path.open("x+b")
        except BaseException:
            _process.unfinished.pop(str(self._path), None)
            raise
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(self.file, fcntl.LOCK_EX)

    def keep(self) -> None:
        """Give it its name, once all of it is on the disk; it stays open.

        Raises:
            FileNotFoundError: somebody has removed it.
            OSError: it could not be written.
        """
        self.file.flush()
        os.fsync(self.file.fileno())  # else a loss of power could leave the name, and other bytes
        self._path.replace(self._to)
        _process.unfinished.pop(str(self._path), None)

    def drop(self) -> None:
        """Close and remove it."""
        with suppress(OSError):  # of bytes that nobody wants any more
            self.file.close()
        with suppress(OSError):
            self._path.unlink()
        _process.unfinished.pop(str(self._path), None)


def remove_if_abandoned(path: str) -> bool:
    """Remove the scratch, or the lock, of a process that has died; false where it lives, or there is no telling."""
    if path in _process.unfinished:
        return False
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one at a path, of all threads and, if that can be had in time, of all processes.

    The lock of a process that died is free.

    Raises:
        FileNotFoundError: its folder is not there.
    """
    with _alone_in_process(str(path)):
        lock = path.with_name(path.name + LOCK_SUFFIX)
        _process.unfinished[str(lock)] = False
        fd = None
        try:
            fd = _locked(lock, path)
            _process.unfinished[str(lock)] = fd is not None
            yield
        finally:
            if fd is not None:
                with suppress(OSError):
                    lock.unlink()  # while it is held, so that nobody else's is removed
                os.close(fd)
            _process.unfinished.pop(str(lock), None)


def is_ending() -> bool:
    """Whether this process is at its end, and what its last threads write is not wanted any more."""
    return _process.is_ending


class _Process:
    """What this process is at. A fork begins with nothing: what threads of the parent hold, they let go of there."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: By name, each with how many threads want it.
        self.names: dict[str, tuple[threading.Lock, int]] = {}
        #: Paths of scratches and locks, each with whether it is this process's: a lock may be waited for.
        self.unfinished: dict[str, bool] = {}
        self.is_ending = False


_process = _Process()


def _begin_anew() -> None:
    global _process
    _process = _Process()


def _remove_unfinished() -> None:
    """Of threads that fetch ahead: nobody waits for them."""
    _process.is_ending = True
    for path, is_ours in list(_process.unfinished.items()):
        if is_ours:
            with suppress(OSError):
                os.unlink(path)


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_remove_unfinished)


@contextmanager
def _alone_in_process(name: str) -> Iterator[None]:
    process = _process
    with process.lock:
        lock, users = process.names.get(name, (threading.Lock(), 0))
        process.names[name] = lock, users + 1
    try:
        with lock:
            yield
    finally:
        with process.lock:
            lock, users = process.names.pop(name)
            if users > 1:
                process.names[name] = lock, users - 1


def _locked(path: Path, wanted: Path) -> int | None:
    """The lock file, open and locked; None where it cannot be had, or its holder does nothing any more."""
    until, seen = time.monotonic() + _LONGEST_WAIT_S, None
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            raise
        except OSError:
            return None  # another user's
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(path, fd):
                return fd
            os.close(fd)  # its last holder has removed it
            continue
        except OSError as error:
            os.close(fd)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return None  # a file system without locks
        if seen is None:  # who need not wait need not look at the whole folder
            seen = _written(wanted)
        if time.monotonic() > until:
            before, seen = seen, _written(wanted)
            if seen == before:
                return None
            until = time.monotonic() + _LONGEST_WAIT_S
        time.sleep(_POLL_S)


def _written(wanted: Path) -> list[tuple[str, int]]:
    """The scratches that are to become a file, and the bytes of each."""
    found = []
    with suppress(OSError), os.scandir(wanted.parent) as entries:
        for entry in entries:
            if entry.name.startswith(f"{wanted.name}.") and entry.name.endswith(TEMPORARY_SUFFIX):
                with suppress(OSError):
                    found.append((entry.name, entry.stat().st_size))
    return sorted(found)
