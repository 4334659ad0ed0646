"""A folder -> its recordings, in the order of their paths' bytes, and what each holds."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate

import msgspec

from audiochunk.errors import InputError, RecordingError, raise_if_out_of_files, reason
from audiochunk.signal.audio import EXTENSIONS, AudioInfo, open_regular, probe_fd


class Scanned(msgspec.Struct, frozen=True):
    """One recording as the scan found it.

    Attributes:
        path: relative to the input folder, with "/", as the file system has it.
        bytes: size of the file.
        mtime_ns: when it was last written.
        info: what it holds, or None where it cannot be used.
        error: why not, or None.
    """

    path: bytes
    bytes: int
    mtime_ns: int
    info: AudioInfo | None
    error: str | None = None


class Globs:
    """Which paths are wanted: those that match one of `include` (or there is none) and none of `exclude`.

    `*` also matches "/". A glob without "/" is compared with the file's name, one with "/" with the whole path.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [self._compile(glob) for glob in include]
        self._exclude = [self._compile(glob) for glob in exclude]

    @staticmethod
    def _compile(glob: str) -> tuple[bool, re.Pattern[str]]:
        return "/" in glob, re.compile(translate(glob))

    def want(self, path: bytes) -> bool:
        """Whether a relative path is wanted."""
        whole = os.fsdecode(path)
        name = whole.rpartition("/")[2]

        def matches(globs: Iterable[tuple[bool, re.Pattern[str]]]) -> bool:
            return any(glob.match(whole if on_path else name) for on_path, glob in globs)

        return (not self._include or matches(self._include)) and not matches(self._exclude)


@dataclass(frozen=True, slots=True)
class Found:
    """A path that the walk came upon; `error` says why it cannot be gone into, if so."""

    path: bytes
    error: str | None = None


def walk(root: bytes) -> Iterator[Found]:
    """Files with the extension of a recording below a folder, in the order of their relative paths' bytes.

    Links to files and folders are followed, a folder within itself is not entered again. What is neither file nor
    folder (a FIFO, a device) is passed over.

    Raises:
        InputError: the folder itself cannot be listed.
    """
    try:
        yield from _walk(root, b"", frozenset({_identity(root)}))
    except NotADirectoryError as error:
        raise InputError(root, "not a folder") from error
    except FileNotFoundError as error:
        raise InputError(root, "there is no such folder") from error
    except OSError as error:
        raise_if_out_of_files(error)
        raise InputError(root, reason(error)) from error


def _identity(folder: bytes) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _walk(root: bytes, prefix: bytes, above: frozenset[tuple[int, int]]) -> Iterator[Found]:
    with os.scandir(os.path.join(root, prefix)) as listing:
        # With "/" appended to the names of folders, the order of names is the order of the paths below them.
        entries = sorted((e.name + (b"/" if _is_folder(e) else b""), e) for e in listing)
    for name, entry in entries:
        path = prefix + name
        if name.endswith(b"/"):
            try:
                identity = _identity(entry.path)
                if identity not in above:
                    yield from _walk(root, path, above | {identity})
            except OSError as error:
                raise_if_out_of_files(error)
                yield Found(path, f"folder cannot be listed: {reason(error)}")
        elif os.path.splitext(name)[1].lower() in EXTENSIONS:
            if entry.is_file():
                yield Found(path)
            elif entry.is_symlink():
                yield Found(path, "a link that leads to no file")


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def probe_found(root: bytes, found: Found) -> Scanned:
    """What a found file holds, or why it cannot be used."""
    if found.error is not None:
        return Scanned(found.path, 0, 0, None, found.error)
    size = mtime_ns = 0
    try:
        fd = open_regular(os.path.join(root, found.path))
        try:
            status = os.fstat(fd)
            size, mtime_ns = status.st_size, status.st_mtime_ns
            return Scanned(found.path, size, mtime_ns, probe_fd(fd, found.path))
        finally:
            os.close(fd)
    except RecordingError as error:
        return Scanned(found.path, size, mtime_ns, None, error.args[1])


def scan(root: bytes, globs: Globs) -> Iterator[Scanned]:
    """All wanted recordings below a folder, probed, in path order.

    Raises:
        InputError: the folder cannot be listed.
    """
    for found in walk(root):
        if found.path.endswith(b"/") or globs.want(found.path):
            yield probe_found(root, found)
