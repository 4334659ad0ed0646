"""Objects in a store that is reached by a URL: S3, Google Cloud Storage, the Hub, whatever fsspec knows.

Nothing is imported before the first `Objects` is made. How stores are signed in to is the libraries' own affair:
environment variables, configuration files, instance roles, fsspec's `FSSPEC_S3_…`.
"""

import errno
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from audiochunk.errors import ObjectLostError, StoreError
from audiochunk.storage import asking
from audiochunk.storage.connection import Connection
from audiochunk.storage.files import copy_whole, write_whole
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.refusals import ShortError, is_missing, is_passing, refusal
from audiochunk.storage.urls import parts

# A request of so much takes a second or so; so many at once fill a fast line.
PIECE_BYTES = 2**23
_AT_ONCE = 4

# Beyond what the libraries try again themselves: pauses before further attempts, each by chance up to twice as long.
PAUSES_S: tuple[float, ...] = (0.2, 0.6, 1.8)

T = TypeVar("T")


class Objects:
    """A folder in an object store. Pickled, it is its URL.

    One may be shared by threads, and used in processes that were forked from one that used it.

    Args:
        url: of the folder.

    Attributes:
        url: without a slash at the end.

    Raises:
        ConfigError: the scheme is not known, its library is not installed, or there are credentials in the URL.
    """

    def __init__(self, url: str) -> None:
        self._scheme, rest = parts(url)
        self.url = f"{self._scheme}://{rest or '/'}"
        self._connection = Connection(self._scheme)

    def __reduce__(self) -> tuple[Any, ...]:
        return Objects, (self.url,)

    def __repr__(self) -> str:
        return f"Objects({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objects) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def url_of(self, name: str) -> str:
        """Of one object, for messages."""
        return f"{self.url.rstrip('/')}/{name}"

    def stat(self, name: str) -> ObjectInfo | None:
        """What the store says of an object, asked anew; None where there is none.

        Raises:
            StoreError: the store could not be asked.
        """
        try:
            info = self.call("asked for", name, lambda fs: asking.info(fs, self.path(fs, name)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if info["type"] == "directory" else ObjectInfo.of(name, info)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose names begin with a prefix, in the store's order; of S3, a page at a time.

        By HTTP there are none: folders have no listings to rely on.

        Raises:
            StoreError: the store could not be asked.
        """
        if self._scheme in ("s3", "s3a"):
            yield from self._list_s3(prefix)
            return
        if self._scheme in ("http", "https"):
            return
        below = prefix.rpartition("/")[0]
        try:
            found = self.call("listed", below, lambda fs: (self.path(fs, ""), asking.find(fs, self.path(fs, below))))
        except (FileNotFoundError, NotADirectoryError):
            return
        root, infos = found
        start = len(root.rstrip("/")) + 1
        for path, info in infos.items():
            name = path[start:]
            if name and name.startswith(prefix) and info["type"] == "file":
                yield ObjectInfo.of(name, info)

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """The bytes of an object, or `size` of them from `start` on.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: it could not be read, or has not so many bytes.
        """
        if size is None:
            size = self._size(name) - start
        parts = [
            self._piece(name, at, min(PIECE_BYTES, start + size - at)) for at in range(start, start + size, PIECE_BYTES)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def fetch(self, name: str, to: BinaryIO, *, info: ObjectInfo | None = None, most: int | None = None) -> None:
        """Write an object, or its first `most` bytes, to a file; after an error, some of it may be there.

        `info` is what the store says of it, where that has been asked already.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: it could not be read, or was written to meanwhile.
            OSError: the file could not be written.
        """
        before = info or self.stat(name)
        if before is None:
            raise self._missing(name)
        size = before.size if most is None else min(before.size, most)
        for at in range(0, size, PIECE_BYTES * _AT_ONCE):
            starts = range(at, min(size, at + PIECE_BYTES * _AT_ONCE), PIECE_BYTES)
            for piece in self._pieces(name, [(s, min(PIECE_BYTES, size - s)) for s in starts]):
                to.write(piece)
        if self.stat(name) != before:
            raise StoreError(self.url_of(name), "was written to while it was read", "try again when it is at rest")

    def write(self, name: str, data: bytes, *, look: bool = True) -> None:
        """Make an object of bytes; whoever looks sees all of it or what was there before.

        `look` is whether to see that it is there afterwards.

        Raises:
            StoreError: it could not be written; ObjectLostError: it is not there afterwards.
        """

        def put(fs: Any) -> None:
            if fs.protocol[0] == "file":
                write_whole(_made_room_for(self.path(fs, name)), data, fsync=False)
            else:
                fs.pipe_file(self.path(fs, name), data)

        self.call("written", name, put)
        if look:
            self._check_size(name, len(data))

    def upload(self, local: Path, name: str) -> None:
        """Make an object of a file; whoever looks sees all of it or what was there before.

        Raises:
            StoreError: it could not be written; ObjectLostError: it is not there afterwards, of the file's size.
        """
        size = local.stat().st_size

        def put(fs: Any) -> None:
            if fs.protocol[0] == "file":
                copy_whole(local, _made_room_for(self.path(fs, name)))
            else:
                fs.put_file(str(local), self.path(fs, name))

        self.call("written", name, put)
        self._check_size(name, size)

    def rename(self, name: str, to: str, *, size: int) -> ObjectInfo:
        """Have the store copy an object of so many bytes, and remove the first; what it says of the copy.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: the store refused; ObjectLostError: the copy is not there afterwards, of that size.
        """
        self.call("copied", name, lambda fs: fs.cp_file(self.path(fs, name), self.path(fs, to)))
        copy = self._check_size(to, size)
        self.remove(name)
        return copy

    def remove(self, name: str) -> None:
        """Remove an object; one that is not there is no error.

        Raises:
            StoreError: the store refused.
        """
        with suppress(FileNotFoundError):
            self.call("removed", name, lambda fs: fs.rm_file(self.path(fs, name)))

    def _list_s3(self, prefix: str) -> Iterator[ObjectInfo]:
        # find() of s3fs makes a dict of every object before it returns the first.
        bucket, _, key = self.url.partition("://")[2].partition("/")
        root = f"{key}/" if key else ""
        options: dict[str, Any] = {"Bucket": bucket, "Prefix": root + prefix}
        while True:
            page = self.call("listed", prefix, lambda fs: fs.call_s3("list_objects_v2", **options))
            for found in page.get("Contents", ()):
                name = found["Key"][len(root) :]
                if name and not name.endswith("/"):  # what consoles make to show an empty folder
                    yield ObjectInfo.of(name, found)
            if not page.get("IsTruncated"):
                return
            before, options["ContinuationToken"] = options.get("ContinuationToken"), page.get("NextContinuationToken")
            if options["ContinuationToken"] in (None, before):
                raise StoreError(self.url, "lists a part, and not how to go on", "use a store that lists all")

    def _piece(self, name: str, start: int, size: int) -> bytes:
        """So many bytes of an object, no more than fit into one request."""

        def get(fs: Any) -> bytes:
            data: bytes = asking.read(fs, self.path(fs, name), start=start, end=start + size)
            if len(data) != size:
                raise ShortError(f"{len(data):,} bytes came from byte {start:,} on, not {size:,}")
            return data

        return self.call("read", name, get)

    def _pieces(self, name: str, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """Several pieces, which stores that can do so are asked for at once."""
        if len(ranges) > 1 and getattr(self._connection.filesystem(), "async_impl", False):
            starts = [start for start, _ in ranges]
            ends = [start + size for start, size in ranges]
            found = self.call(
                "read",
                name,
                lambda fs: fs.cat_ranges([self.path(fs, name)] * len(starts), starts, ends, on_error="return"),
            )
        else:
            found = [None] * len(ranges)
        for (start, size), data in zip(ranges, found, strict=True):
            if isinstance(data, Exception) and not is_passing(data, self._scheme):
                raise self._refused(data, "read", name)
            is_whole = isinstance(data, bytes) and len(data) == size
            yield data if is_whole else self._piece(name, start, size)

    def _size(self, name: str) -> int:
        info = self.stat(name)
        if info is None:
            raise self._missing(name)
        return info.size

    def _check_size(self, name: str, size: int) -> ObjectInfo:
        found = self.stat(name)
        if found is None or found.size != size:
            there = "nothing is" if found is None else f"{found.size:,} bytes are"
            raise ObjectLostError(self.url_of(name), f"{size:,} bytes were written, {there} there", "try again")
        return found

    def _missing(self, name: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, "there is no such object", self.url_of(name))

    def call(self, done: str, name: str, use: Callable[[Any], T]) -> T:
        """What a use of the store gives; a passing failure is tried again, all others are told in one sentence."""
        for pause in (*PAUSES_S, None):
            try:
                return use(self._connection.filesystem())
            except Exception as error:  # noqa: BLE001 - there is no telling what a library raises
                failure = error
                if pause is None or not is_passing(error, self._scheme):
                    break
                time.sleep(random.uniform(pause, 2 * pause))
        # Outside of its block, and not `from` it: what libraries say may hold signed addresses.
        raise self._refused(failure, done, name)

    def _refused(self, error: Exception, done: str, name: str) -> Exception:
        if not is_missing(error):
            told = refusal(error, done, scheme=self._scheme, endpoint=self._connection.endpoint())
            return StoreError(self.url_of(name).rstrip("/"), *told)
        if done == "written":
            return StoreError(self.url_of(name), "could not be written: there is no such bucket or folder", "make it")
        return self._missing(name)

    def path(self, fs: Any, name: str) -> str:
        """What the store's library calls an object."""
        root: str = fs._strip_protocol(self.url)
        return f"{root.rstrip('/')}/{name}" if name else root


def _made_room_for(path: str) -> Path:
    made = Path(path)
    made.parent.mkdir(parents=True, exist_ok=True)
    return made
