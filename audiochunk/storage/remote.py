"""The folder of a dataset in an object store: its manifest at once, its other files when they are needed."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import xxhash

from audiochunk.errors import DatasetError, MachineError, NoDatasetError, reason
from audiochunk.storage.cache import Cache, default_cache
from audiochunk.storage.files import open_plain
from audiochunk.storage.manifest import BUILD_FOLDER
from audiochunk.storage.objects import Objects
from audiochunk.storage.shard import digest_of
from audiochunk.storage.urls import is_url, local_path


class RemoteFolder:
    """A dataset's folder at a URL. It stands where the path of a local one does; pickled, it is URL and cache.

    Args:
        objects: in the folder.
        cache: for its shards and its recordings table.
    """

    def __init__(self, objects: Objects, cache: Cache) -> None:
        self.objects, self.cache = objects, cache
        self._manifest: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        digest = None if self._manifest is None else xxhash.xxh3_128_hexdigest(self._manifest)
        return _unpickled, (self.objects, self.cache, digest)

    def __str__(self) -> str:
        return self.objects.url

    def __repr__(self) -> str:
        return f"RemoteFolder({self.objects.url!r})"

    def __truediv__(self, name: str) -> str:
        return self.objects.url_of(name)

    def manifest(self, name: str, most: int) -> bytes:
        """The bytes of the manifest: the same ones every time, so that all that is read belongs together.

        Raises:
            NoDatasetError: there is none.
            DatasetError: it has more bytes than `most`.
            StoreError: it could not be read.
        """
        if self._manifest is None:
            info = self.objects.stat(name)
            if info is None:
                raise NoDatasetError(str(self), f"no dataset here: there is no {name}")
            if info.size > most:
                raise DatasetError(self / name, f"{info.size:,} bytes; a manifest has at most {most:,}")
            self._manifest = self.objects.read(name, 0, info.size)
        return self._manifest

    @contextmanager
    def shard(self, name: str, *, bytes: int, digest: str, content_bytes: int, kind: str) -> Iterator[BinaryIO]:
        """A shard's file, from the cache or put there.

        Args:
            name: of the file.
            bytes: of the file.
            digest: of what is in it, uncompressed, and
            content_bytes: of that, too.
            kind: what else tells files of one content apart.

        Raises:
            DatasetError: it is missing, or something else.
            StoreError: it could not be fetched.
            MachineError: it could not be kept.
        """
        is_compressed = name.endswith(".zst")

        def fetch(file: BinaryIO) -> None:
            self._fetch(name, file, size=bytes)
            found = digest_of(file, self / name, is_compressed=is_compressed, most=content_bytes)
            if found != digest:
                raise DatasetError(self / name, f"digest {found}; the manifest says {digest}: it is not that shard")

        with self.cache.opened(f"{digest}-{bytes}{kind}", _twice(fetch), size=bytes) as file:
            yield file

    @contextmanager
    def table(self, name: str, *, digest: str, rows: int, most: int) -> Iterator[BinaryIO]:
        """The recordings table, from the cache or put there, without what a later build has begun to add to it.

        Args:
            name: of the file.
            digest: of so many
            rows: in it, and of nothing that follows.
            most: bytes that they can have.

        Raises:
            DatasetError: it is missing, or something else.
            StoreError: it could not be fetched.
            MachineError: it could not be kept.
        """

        def fetch(file: BinaryIO) -> None:
            self._fetch(name, file, most=most)
            file.truncate(sum(map(len, islice(file, rows))))
            file.seek(0)
            if digest_of(file, self / name) != digest:
                raise DatasetError(self / name, "not the recordings that the manifest names: the digest differs")

        with self.cache.opened(f"{digest}.jsonl", _twice(fetch)) as file:
            yield file

    def copy(self, name: str) -> BinaryIO:
        """A copy of a file as it is, open, which goes when it is closed; nothing is believed of it.

        Raises:
            FileNotFoundError: there is none.
            StoreError: it could not be fetched.
            MachineError: there is no room for it.
        """
        with ExitStack() as on_error:
            try:
                file = on_error.enter_context(tempfile.TemporaryFile())
                self.objects.fetch(name, file)
                file.seek(0)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise MachineError(f"{tempfile.gettempdir()}: {reason(error)}; choose another with TMPDIR") from error
            on_error.pop_all()
        return file

    def _fetch(self, name: str, file: BinaryIO, *, size: int | None = None, most: int | None = None) -> None:
        """Write an object to a file, from its beginning: one of that size, or no more than so much of it."""
        info = self.objects.stat(name)
        if info is None:
            raise DatasetError(self / name, "is missing")
        if size is not None and info.size != size:
            raise DatasetError(self / name, f"{info.size} bytes; the manifest says {size}")
        file.seek(0)
        file.truncate()
        try:
            if most is not None and info.size > most:
                file.write(self.objects.read(name, 0, most))
            else:
                self.objects.fetch(name, file)
        except FileNotFoundError:
            raise DatasetError(self / name, "is missing") from None
        file.seek(0)


def _unpickled(objects: Objects, cache: Cache, digest: str | None) -> RemoteFolder:
    return RemoteFolder(objects, cache) if digest is None else _kept(objects, cache, digest)


@lru_cache(16)
def _kept(objects: Objects, cache: Cache, digest: str) -> RemoteFolder:
    """One for all that are unpickled with this manifest: a worker then reads it once, and not with every task."""
    return RemoteFolder(objects, cache)


Folder: TypeAlias = Path | RemoteFolder
#: A path, or the URL of what lies elsewhere: for messages.
Where: TypeAlias = Path | str


def folder_at(
    path: "str | os.PathLike[str] | RemoteFolder",
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int | None = None,
) -> Folder:
    """The folder that a path or a URL means.

    Raises:
        ConfigError: a URL that is not taken, or a limit that is no number of bytes.
    """
    if isinstance(path, RemoteFolder):
        return path
    if not is_url(path):
        return Path(path)
    url = os.fspath(path)
    return local_path(url) or RemoteFolder(Objects(url), default_cache(cache, cache_bytes))


def name_of(folder: Folder) -> str:
    """What a dataset's folder is called."""
    return folder.resolve().name if isinstance(folder, Path) else str(folder).rstrip("/").rpartition("/")[2]


def is_being_built(folder: Folder) -> bool:
    """Whether a build has left what it had not finished in a dataset's folder: one that was to add recordings."""
    if isinstance(folder, Path):
        return (folder / BUILD_FOLDER).exists()
    return next(folder.objects.list(f"{BUILD_FOLDER}/"), None) is not None


def open_in(folder: Folder, name: str) -> BinaryIO:
    """A file of a dataset's folder as it is, open for reading.

    Raises:
        OSError: there is none, or it could not be opened.
        StoreError: it could not be fetched.
    """
    return open_plain(folder / name) if isinstance(folder, Path) else folder.copy(name)


def _twice(fetch: Callable[[BinaryIO], None]) -> Callable[[BinaryIO], None]:
    """Fetch again what is not what it must be: bytes may change on the way, too."""

    def fetch_again(file: BinaryIO) -> None:
        try:
            fetch(file)
        except DatasetError:
            fetch(file)

    return fetch_again
