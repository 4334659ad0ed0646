"""A folder -> its recordings, in the order of their paths' bytes, and what each holds."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import translate
from itertools import chain, islice

import msgspec

from audiochunk.errors import InputError, RecordingError, printable, raise_if_at_limit, reason
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.inputs import absolute, is_store
from audiochunk.pipeline.packed import Packed
from audiochunk.signal.audio import EXTENSIONS, AudioInfo, probe_source
from audiochunk.signal.opening import check_regular, modified_ns, open_file, opened

_AT_ONCE = 512  # files that are handed to a worker together
_MOST_HELD = 128  # times so many: about 40 MB of what was looked into while a worker waits for a file server


class Scanned(msgspec.Struct, frozen=True, gc=False, array_like=True):
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

    A glob with "/" is compared with the relative path, and with that of every folder on the way; one without, with the
    name of the file and of every such folder. Upper and lower case differ, and `*` also matches "/".
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = {glob: _compile(glob) for glob in include}
        self._exclude = {glob: _compile(glob) for glob in exclude}
        #: Globs that have matched nothing yet.
        self.unused = {*include, *exclude}

    def want(self, path: bytes) -> bool:
        """Whether a recording is wanted, by its relative path; a folder (with "/" at the end) is unless excluded."""
        if not self._include and not self._exclude:
            return True
        if self._any(self._exclude, path):
            return False
        return not self._include or path.endswith(b"/") or self._any(self._include, path)

    def _any(self, globs: Mapping[str, re.Pattern[str]], path: bytes) -> bool:
        found = {glob for glob, pattern in globs.items() if _matches(glob, pattern, os.fsdecode(path).rstrip("/"))}
        self.unused -= found
        return bool(found)


def _compile(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob.rstrip("/")))


def _matches(glob: str, pattern: re.Pattern[str], path: str) -> bool:
    parts = path.split("/")
    if "/" in glob.rstrip("/"):
        parts = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return any(pattern.match(part) for part in parts)


class Found(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A path that the walk came upon; `error` says why it cannot be gone into, if so.

    Of an object in a store, the walk knows `bytes` and `version` (as a number) already.
    """

    path: bytes
    error: str | None = None
    bytes: int = 0
    version: int = 0


def walk(root: bytes) -> Iterator[Found]:
    """Files with the extension of a recording below a folder, in the order of their relative paths' bytes.

    Links to files and folders are followed, a folder within itself is not entered again. What is neither file nor
    folder (a FIFO, a device) is passed over.

    Raises:
        InputError: the folder itself cannot be listed.
        MachineError: too many files are open, or there is no memory.
    """
    try:
        folders = [_list(root, b"", frozenset())]
    except NotADirectoryError as error:
        raise InputError(root, "not a folder") from error
    except FileNotFoundError as error:
        raise InputError(root, "there is no such folder") from error
    except OSError as error:
        raise_if_at_limit(error)
        raise InputError(root, reason(error)) from error
    while folders:
        entry = next(folders[-1].entries, None)
        if entry is None:
            folders.pop()
        elif entry.path.endswith(b"/"):
            try:
                below = _list(root, entry.path, folders[-1].identities)
            except OSError as error:
                raise_if_at_limit(error)
                yield Found(entry.path, f"folder cannot be listed: {reason(error)}")
                continue
            if below.identities != folders[-1].identities:
                folders.append(below)
        else:
            yield entry


@dataclass(frozen=True, slots=True)
class _Folder:
    """What is left of a folder to walk through, and the identities of it and of those that it lies in."""

    entries: Iterator[Found]
    identities: frozenset[tuple[int, int]]


def _list(root: bytes, prefix: bytes, above: frozenset[tuple[int, int]]) -> _Folder:
    """Folders (with "/" at the end) and recordings in a folder, in order."""
    folder = os.path.join(root, prefix)
    status = os.stat(folder)
    names: list[bytes] = []  # and nothing else of a file: there may be millions in one folder
    errors: dict[bytes, str] = {}
    with os.scandir(folder) as listing:
        for entry in listing:
            if _is_folder(entry):
                # With "/" appended to the names of folders, the order of names is the order of the paths below them.
                names.append(entry.name + b"/")
            elif is_recording(entry.name) and (error := _fault(entry)) is not None:
                names.append(entry.name)
                if error:
                    errors[entry.name] = error
    names.sort()
    entries = (Found(prefix + name, errors.get(name)) for name in names)
    return _Folder(entries, above | {(status.st_dev, status.st_ino)})


def _fault(entry: os.DirEntry[bytes]) -> str | None:
    """What is wrong with something that is named as a recording, or ""; None where it is to be passed over."""
    try:
        if entry.is_file():
            return ""
    except OSError as error:  # a link to itself, or into a folder that may not be entered
        return f"a link that cannot be followed: {reason(error)}"
    return "a link that leads to no file" if entry.is_symlink() else None


def is_recording(path: bytes) -> bool:
    """Whether a file is one by its extension."""
    stem, dot, extension = path.rpartition(b"/")[2].rpartition(b".")
    # A name that begins with a dot has no extension.
    return dot + extension.lower() in EXTENSIONS and bool(stem.strip(b"."))


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def probe_found(root: bytes, found: Found, *, dir_fd: int | None = None) -> Scanned:
    """What a found file holds, or why it cannot be used.

    Args:
        root: the input folder, or its URL.
        found: a file below it.
        dir_fd: the input folder, open: looking a name up from there is quicker.
    """
    if found.error is not None:
        return Scanned(found.path, 0, 0, None, found.error)
    if dir_fd is None and is_store(root):
        from audiochunk.pipeline.store.scan import probe_objects

        (scanned,) = probe_objects(root, [found])
        return scanned
    size = mtime_ns = 0
    try:
        fd = open_file(found.path if dir_fd is not None else os.path.join(root, found.path), dir_fd=dir_fd)
        try:
            status = os.fstat(fd)
            check_regular(status, found.path)
            size, mtime_ns = status.st_size, modified_ns(status)
            return Scanned(found.path, size, mtime_ns, probe_source(fd, found.path, size=size))
        finally:
            os.close(fd)
    except RecordingError as error:
        return Scanned(found.path, size, mtime_ns, None, error.args[1])


class _Batch(Packed, frozen=True):
    """Files to probe: their place in the order of all batches, the input folder, and they."""

    number: int
    root: bytes
    found: tuple[Found, ...]


class _Probed(Packed, frozen=True):
    """What became of a batch."""

    number: int
    scanned: tuple[Scanned, ...]


def _probe(batch: _Batch) -> _Probed:
    return _Probed(batch.number, tuple(_probe_all(batch.root, batch.found)))


def _probe_all(root: bytes, found: Iterable[Found]) -> Iterator[Scanned]:
    if is_store(root):
        from audiochunk.pipeline.store.scan import probe_objects

        yield from probe_objects(root, found)
        return
    with opened(root) as dir_fd:
        for one in found:
            yield probe_found(root, one, dir_fd=dir_fd)


def scan(root: bytes, globs: Globs, workers: Workers | None = None) -> Iterator[Scanned]:
    """All wanted recordings below a folder, probed, in path order.

    Args:
        root: the input folder, or its URL.
        globs: what is wanted.
        workers: who look into the files where there are many; else this process does.

    Raises:
        InputError: the folder cannot be listed.
    """
    wanted = (found for found in walk_input(root) if globs.want(found.path))
    first = list(islice(wanted, 2 * _AT_ONCE)) if workers is not None and workers.are_processes else []
    if workers is not None and len(first) == 2 * _AT_ONCE:
        yield from _scan_in_batches(root, chain(first, wanted), workers)
        return
    yield from _probe_all(root, chain(first, wanted))


def walk_input(root: bytes) -> Iterator[Found]:
    """What `walk` finds below a folder, or the same below a URL.

    Raises:
        InputError: it cannot be listed, or not in the order of paths.
        StoreError: the store could not be asked.
    """
    if not is_store(root):
        return walk(root)
    from audiochunk.pipeline.store.scan import walk_objects

    return walk_objects(root)


def _scan_in_batches(root: bytes, found: Iterator[Found], workers: Workers) -> Iterator[Scanned]:
    root = absolute(root)  # a worker may be elsewhere
    batches = (_Batch(number, root, batch) for number, batch in enumerate(_batched(found)))
    held: dict[int, _Probed] = {}
    next_number = 0

    def at_once() -> int:
        # What is waited for has been handed out, and is enough.
        return 2 * workers.n if len(held) < _MOST_HELD else 1

    with closing(workers.run(_probe, batches, at_once=at_once, name=_describe)) as results:
        for probed in results:
            held[probed.number] = probed
            while next_number in held:
                yield from held.pop(next_number).scanned
                next_number += 1


def _describe(batch: _Batch) -> str:
    more = f" and {len(batch.found) - 1:,} more" if len(batch.found) > 1 else ""
    return f"the headers of {printable(batch.found[0].path)}{more}"


def _batched(found: Iterator[Found]) -> Iterator[tuple[Found, ...]]:
    while batch := tuple(islice(found, _AT_ONCE)):
        yield batch
