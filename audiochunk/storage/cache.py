"""Files fetched from elsewhere, kept on local disk up to so many bytes, for all processes of this machine.

A file is named after the digest of what is in it, and is there whole or not at all: it is written under a temporary
name, checked, and renamed. Whoever wants one gets it open, so that it may be removed meanwhile. They lie in a folder of
their own within the one that was named, and nothing that is called otherwise is counted or removed there.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiochunk.config import parse_size
from audiochunk.errors import ConfigError, MachineError, printable, reason
from audiochunk.storage.claims import Scratch, alone, is_ending
from audiochunk.storage.room import FETCHED_NAME, room_in

DEFAULT_BYTES = 2**34
#: Within the folder of a cache: where its files lie.
FETCHED = "audiochunk-fetched"
_FULL = (errno.ENOSPC, errno.EDQUOT)

Fetch = Callable[[BinaryIO], None]
IsRight = Callable[[BinaryIO], bool]


@dataclass(frozen=True)
class Cache:
    """A folder of files that were fetched.

    Args:
        folder: which is made on first use. What else lies in it stays as it is.
        limit: bytes of all files, unfinished ones included; the least recently opened are removed. A single one may be
            larger.
    """

    folder: Path
    limit: int = DEFAULT_BYTES

    @property
    def files(self) -> Path:
        """Where the files lie."""
        return self.folder / FETCHED

    def opened(
        self, name: str, fetch: Fetch, *, size: int | None = None, most: int = 0, is_right: IsRight | None = None
    ) -> BinaryIO:
        """A file of the cache, open for reading; fetched once, however many threads and processes want it.

        Args:
            name: after its content, so that files of one name are the same: 32 hex digits, then what else tells it
                apart.
            fetch: writes the content to a file, and raises an exception where it is not what it must be.
            size: that it must have, where that is known; else
            most: bytes that room is made for.
            is_right: whether one that is there is what it was. One that somebody has damaged here is fetched anew.

        Raises:
            MachineError: it could not be written or read here.
        """
        if FETCHED_NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not named after a digest")
        path, room = self.files / name, most if size is None else size

        def found() -> BinaryIO | None:
            return _found(path, size, is_right)

        def found_or_fetched() -> BinaryIO:
            self.files.mkdir(parents=True, exist_ok=True)
            with alone(path):
                return found() or self._fetched(path, fetch, room)

        try:
            try:
                return found() or found_or_fetched()
            except FileNotFoundError:
                if is_ending():
                    raise
                return found_or_fetched()  # somebody has removed the folder, or the file while it was written
        except OSError as error:
            raise MachineError(
                f"{printable(error.filename or str(self.folder))}: {reason(error)}; the cache of datasets that lie"
                f" elsewhere is there: {'make room, or ' if error.errno in _FULL else ''}choose another folder (cache=,"
                " AUDIOCHUNK_CACHE)"
            ) from error

    def holds(self, name: str) -> bool:
        """Whether a file is there now."""
        return (self.files / name).exists()

    def remove(self, name: str) -> bool:
        """Remove a file that turned out to be damaged, so that it is fetched anew; whether there was one to remove."""
        try:
            (self.files / name).unlink()
        except OSError:
            return False
        return True

    def _fetched(self, path: Path, fetch: Fetch, room: int) -> BinaryIO:
        there = room_in(self.files)
        there.make(room, self.limit)
        try:
            file = _written(path, fetch)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            there.make(room, self.limit, is_full=True)
            file = _written(path, fetch)
        there.make(0, self.limit, written=os.fstat(file.fileno()).st_size, newest=path.name)
        file.seek(0)
        return file


def default_cache(folder: str | os.PathLike[str] | None = None, limit: int | str | None = None) -> Cache:
    """The cache that is meant: what is not given is AUDIOCHUNK_CACHE and AUDIOCHUNK_CACHE_BYTES, or the user's.

    Raises:
        ConfigError: a limit that is no size, or nobody knows where the user's folders are.
    """
    name = "cache_bytes"
    if limit is None and (limit := os.environ.get("AUDIOCHUNK_CACHE_BYTES") or None) is not None:
        name = "AUDIOCHUNK_CACHE_BYTES"
    limit = _bytes_meant(name, DEFAULT_BYTES if limit is None else limit)
    try:
        folder = folder or os.environ.get("AUDIOCHUNK_CACHE") or _of_the_user() / "audiochunk"
        # By one path, however it is spelled: what this process is at in it is known by that.
        return Cache(Path(os.path.realpath(Path(folder).expanduser())), limit)
    except RuntimeError as error:
        raise ConfigError(
            "this user has no home folder for the cache to lie in: name another with cache= or AUDIOCHUNK_CACHE"
        ) from error


def _bytes_meant(name: str, limit: object) -> int:
    if isinstance(limit, str):
        try:
            return parse_size(limit)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"{name} must be a number of bytes, 0 or more, or a size such as '2GiB', not {limit!r}")
    return limit


def _of_the_user() -> Path:
    beside = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored, says the XDG specification.
    return Path(beside) if os.path.isabs(beside) else Path.home() / ".cache"


def _written(path: Path, fetch: Fetch) -> BinaryIO:
    """A file that is fetched, whole and in its place."""
    scratch = Scratch(path)
    try:
        fetch(scratch.file)
        scratch.keep()
    except BaseException:
        scratch.drop()
        raise
    return scratch.file


def _found(path: Path, size: int | None, is_right: IsRight | None) -> BinaryIO | None:
    """A file that is there and is what it must be, open."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    try:
        if (size is None or os.fstat(file.fileno()).st_size == size) and (is_right is None or is_right(file)):
            file.seek(0)
            with suppress(OSError):  # a cache that this process may only read
                os.utime(file.fileno())
            return file
    except OSError:
        pass  # it cannot be read: as good as damaged
    except BaseException:
        file.close()
        raise
    file.close()
    return None
