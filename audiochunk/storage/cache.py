"""Files fetched from elsewhere, kept on local disk up to so many bytes, for all processes of this machine.

A file is named after the digest of what is in it, and is there whole or not at all: it is written under a temporary
name, checked, and renamed. Whoever wants one gets it open, so that it may be removed meanwhile.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiochunk.errors import ConfigError, MachineError, printable, reason
from audiochunk.storage.files import TEMPORARY_SUFFIX, temporary

DEFAULT_BYTES = 2**34
_LOCK_SUFFIX = ".lock"
_POLL_S = 0.02
# Who waits longer for another process fetches the file as well: it may have been stopped, and two do no harm.
_LONGEST_WAIT_S = 300.0
# Nobody has written to such a temporary file for so long who is still at it.
_DEAD_AFTER_S = 3600.0


@dataclass(frozen=True)
class Cache:
    """A folder of files that were fetched.

    Args:
        folder: which is made on first use.
        limit: bytes of all files; the least recently opened are removed. A single one may be larger.
    """

    folder: Path
    limit: int = DEFAULT_BYTES

    def opened(self, name: str, fetch: Callable[[BinaryIO], None], *, size: int | None = None) -> BinaryIO:
        """A file of the cache, open for reading; fetched once, however many threads and processes want it.

        Args:
            name: after its content, so that files of one name are the same.
            fetch: writes the content to a file, and raises an exception where it is not what it must be.
            size: that it must have, where that is known: one that somebody has cut here is fetched anew.

        Raises:
            MachineError: it could not be written or read here.
        """
        path = self.folder / name
        try:
            found = _opened(path, size)
            if found is not None:
                return found
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone_in_process(str(path)), _alone(path.with_name(name + _LOCK_SUFFIX)):
                return _opened(path, size) or self._fetched(path, fetch)
        except OSError as error:
            raise MachineError(
                f"{printable(error.filename or str(self.folder))}: {reason(error)}; the cache of datasets that lie"
                " elsewhere is there: make room, or choose another folder (cache=, AUDIOCHUNK_CACHE)"
            ) from error

    def holds(self, name: str) -> bool:
        """Whether a file is there now."""
        return (self.folder / name).exists()

    def _fetched(self, path: Path, fetch: Callable[[BinaryIO], None]) -> BinaryIO:
        scratch = temporary(path)
        file = scratch.open("x+b")
        try:
            fetch(file)
            file.flush()
            os.fsync(file.fileno())  # else a loss of power could leave the name, and other bytes
            scratch.replace(path)
        except BaseException:
            file.close()
            scratch.unlink(missing_ok=True)
            raise
        self._make_room(path.name)
        file.seek(0)
        return file

    def _make_room(self, newest: str) -> None:
        """Remove what was not opened for longest, but never the newest, and what dead processes have left."""
        kept, total, now = [], 0, time.time()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process has removed it
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(TEMPORARY_SUFFIX):
                        if now - status.st_mtime > _DEAD_AFTER_S:
                            os.unlink(entry.path)
                    elif not entry.name.endswith(_LOCK_SUFFIX) and entry.is_file(follow_symlinks=False):
                        total += status.st_size
                        if entry.name != newest:
                            kept.append((status.st_mtime_ns, status.st_size, entry.path))
        for _, size, where in sorted(kept):
            if total <= self.limit:
                return
            with suppress(FileNotFoundError):
                os.unlink(where)
            total -= size


def default_cache(folder: str | os.PathLike[str] | None = None, limit: int | None = None) -> Cache:
    """The cache that is meant: what is not given is AUDIOCHUNK_CACHE and AUDIOCHUNK_CACHE_BYTES, or the user's.

    Raises:
        ConfigError: a limit that is no number of bytes.
    """
    if folder is None:
        beside = os.environ.get("XDG_CACHE_HOME", "")
        # A relative one is to be ignored, says the XDG specification.
        base = Path(beside) if os.path.isabs(beside) else Path.home() / ".cache"
        folder = os.environ.get("AUDIOCHUNK_CACHE") or base / "audiochunk"
    if limit is None:
        given = os.environ.get("AUDIOCHUNK_CACHE_BYTES") or str(DEFAULT_BYTES)
        if not (given.isascii() and given.isdecimal()):
            raise ConfigError(f"AUDIOCHUNK_CACHE_BYTES={given}: give a number of bytes")
        limit = int(given)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"cache_bytes must be a number of bytes, 0 or more, not {limit!r}")
    return Cache(Path(folder).expanduser().absolute(), limit)


def _opened(path: Path, size: int | None) -> BinaryIO | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if size is not None and os.fstat(file.fileno()).st_size != size:
        file.close()
        return None
    with suppress(OSError):  # a cache that this process may only read
        os.utime(file.fileno())
    return file


@contextmanager
def _alone_in_process(name: str) -> Iterator[None]:
    """Have only one thread of this process at a name."""
    global _threads
    if _threads.pid != os.getpid():  # what threads of the parent hold, nobody here lets go of
        _threads = _Threads()
    threads = _threads
    with threads.lock:
        lock, users = threads.locks.get(name, (threading.Lock(), 0))
        threads.locks[name] = lock, users + 1
    try:
        with lock:
            yield
    finally:
        with threads.lock:
            lock, users = threads.locks.pop(name)
            if users > 1:
                threads.locks[name] = lock, users - 1


class _Threads:
    """Locks of one process, by name, each with how many threads want it."""

    def __init__(self) -> None:
        self.pid, self.lock = os.getpid(), threading.Lock()
        self.locks: dict[str, tuple[threading.Lock, int]] = {}


_threads = _Threads()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file, if it can be had in time. The lock of a process that died is free.

    A record lock, which a fork does not inherit: a child that lives on would else hold it for a parent that was killed.
    """
    fd = _locked(path, time.monotonic() + _LONGEST_WAIT_S)
    try:
        yield
    finally:
        if fd is not None:
            path.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
            os.close(fd)


def _locked(path: Path, until: float) -> int | None:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(fd)):
                    return fd
            os.close(fd)  # its last holder has removed it
            continue
        except OSError as error:
            os.close(fd)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return None  # a file system without locks
        if time.monotonic() > until:
            return None
        time.sleep(_POLL_S)
