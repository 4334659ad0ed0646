"""The folder of a dataset in an object store: its manifest at once, its other files when they are needed."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import xxhash

from audiochunk.errors import DatasetError, MachineError, NoDatasetError, StoreError, reason
from audiochunk.storage.cache import Cache, default_cache
from audiochunk.storage.files import open_plain
from audiochunk.storage.manifest import BUILD_FOLDER
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects
from audiochunk.storage.recordings import MAX_ROW_BYTES
from audiochunk.storage.shard import digest_of
from audiochunk.storage.urls import is_url, local_path

_DIGEST = re.compile(r"[0-9a-f]{32}")
# Times that a manifest may be replaced while it is read.
_MOST_REPLACED = 5


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
            NoDatasetError: there is none, or not even the bucket.
            DatasetError: it has more bytes than `most`.
            StoreError: it could not be read.
        """
        if self._manifest is None:
            self._manifest = self._at_rest(name, most)
        return self._manifest

    def _at_rest(self, name: str, most: int) -> bytes:
        """The bytes of the manifest that was there before and after they were read: a later build replaces it."""
        after = self.objects.stat(name)
        for _ in range(_MOST_REPLACED):
            before = after
            if before is None:
                raise NoDatasetError(str(self), self._why_none(name))
            if before.size > most:
                raise DatasetError(self / name, f"{before.size:,} bytes; a manifest has at most {most:,}")
            try:
                data = self.objects.read(name, 0, before.size)
            except (FileNotFoundError, StoreError):  # a shorter one is there now
                after = self.objects.stat(name)
                if after == before:
                    raise
                continue
            after = self.objects.stat(name)
            if after == before:
                return data
        raise StoreError(self / name, "was replaced each time that it was read", "try again when it is at rest")

    def _why_none(self, name: str) -> str:
        """Why there is no manifest, as far as the store lists its objects for whoever asks."""
        try:
            if is_being_built(self):
                return "this build is not finished: run it again"
        except FileNotFoundError:
            return "there is no such bucket: look at its name"
        except StoreError:
            pass
        return f"no dataset here: there is no {name}"

    @contextmanager
    def shard(
        self, name: str, *, bytes: int, digest: str, content_bytes: int, kind: str, header: bytes | None
    ) -> Iterator[BinaryIO]:
        """A shard's file, from the cache or put there.

        Args:
            name: of the file.
            bytes: of the file.
            digest: of what is in it, uncompressed, and
            content_bytes: of that, too.
            kind: what else tells files of one content apart.
            header: with which one in the cache must begin, or it is fetched anew; None where that is not compared.

        Raises:
            DatasetError: it is missing, or something else.
            StoreError: it could not be fetched.
            MachineError: it could not be kept.
        """
        is_compressed = name.endswith(".zst")

        def fetch(file: BinaryIO) -> None:
            info = self._stat(name)
            if info.size != bytes:
                raise DatasetError(self / name, f"{info.size} bytes; the manifest says {bytes}")
            self._fetch(info, file)
            found = digest_of(file, self / name, is_compressed=is_compressed, most=content_bytes)
            if found != digest:
                raise DatasetError(self / name, f"digest {found}; the manifest says {digest}: it is not that shard")

        def is_right(file: BinaryIO) -> bool:
            return header is None or file.read(len(header)) == header

        key = _shard_key(digest, bytes, kind)
        with self.cache.opened(key, _twice(fetch), size=bytes, is_right=is_right) as file:
            yield file

    def forget_shard(self, *, bytes: int, digest: str, kind: str) -> bool:
        """Remove from the cache a shard that turned out to be damaged; whether there was one to remove."""
        return self.cache.remove(_shard_key(digest, bytes, kind))

    @contextmanager
    def table(self, name: str, *, digest: str, rows: int) -> Iterator[BinaryIO]:
        """The recordings table, from the cache or put there, without what a later build has begun to add to it.

        Args:
            name: of the file.
            digest: of so many
            rows: in it, and of nothing that follows.

        Raises:
            DatasetError: it is missing, or something else.
            StoreError: it could not be fetched.
            MachineError: it could not be kept.
        """
        if _DIGEST.fullmatch(digest) is None:
            raise DatasetError(self / name, f"{digest!r} in the manifest is no digest")
        key = f"{digest}.jsonl"
        most = rows * MAX_ROW_BYTES

        def fetch(file: BinaryIO) -> None:
            self._fetch(self._stat(name), file, most=most)
            file.truncate(sum(map(len, islice(iter(partial(file.readline, MAX_ROW_BYTES), b""), rows))))
            file.seek(0)
            if not is_right(file):
                raise DatasetError(self / name, "not the recordings that the manifest names: the digest differs")

        def is_right(file: BinaryIO) -> bool:
            return digest_of(file, self / name) == digest

        room = 0 if self.cache.holds(key) else min(most, self._stat(name).size)
        with self.cache.opened(key, _twice(fetch), most=room, is_right=is_right) as file:
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

    def _stat(self, name: str) -> ObjectInfo:
        info = self.objects.stat(name)
        if info is None:
            raise DatasetError(self / name, "is missing")
        return info

    def _fetch(self, info: ObjectInfo, file: BinaryIO, *, most: int | None = None) -> None:
        """Write an object to a file, from its beginning, or no more than so much of it."""
        file.seek(0)
        file.truncate()
        try:
            self.objects.fetch(info.name, file, info=info, most=most)
        except FileNotFoundError:
            raise DatasetError(self / info.name, "is missing") from None
        file.seek(0)


def _shard_key(digest: str, size: int, kind: str) -> str:
    return f"{digest}-{size}{kind}"


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
    cache_bytes: int | str | None = None,
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
    """Whether a build has left what it had not finished in a folder: of a dataset, one that was to add recordings.

    Raises:
        FileNotFoundError: the bucket is not there.
        StoreError: the store could not be asked.
    """
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
