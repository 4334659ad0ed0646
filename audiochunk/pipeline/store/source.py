"""A recording that is an object in a store: its bytes are asked for a window at a time, ahead of whoever decodes."""

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, NoReturn

import xxhash

from audiochunk.errors import PassingRecordingError, StoreError
from audiochunk.pipeline.interrupts import result_of
from audiochunk.signal.source import ByteSource

if TYPE_CHECKING:
    from audiochunk.storage.object_info import ObjectInfo
    from audiochunk.storage.objects import Objects

FIRST_BYTES = 2**16  # nearly every header lies within, and so much takes hardly longer than a byte
MOST_BYTES = 2**22
_KEPT = 3  # windows: one of the header, that which is read, the one before


def version_number(version: str) -> int:
    """The version of an object as a number of 63 bits, for where that of a file has the time when it was written."""
    return xxhash.xxh3_64_intdigest(version.encode()) & (2**63 - 1) if version else 0


def check_same(objects: "Objects", path: bytes, *, size: int, version: int) -> None:
    """See that an object is what it was when it was scanned.

    What speaks against a recording is believed only where the store lists it so: any gateway can say "not found", or
    answer for an object with something else.

    Raises:
        PassingRecordingError: it is another one, or gone.
        StoreError: the store could not be asked, or says one thing now, and another then.
    """
    name = path.decode()
    if _is_same(objects.stat(name), size, version):
        return
    now = _listed(objects, name)
    if now is None:
        raise PassingRecordingError(path, "there is no such object any more")
    if _is_same(now, size, version):
        raise StoreError(
            objects.url_of(name),
            "could not be read: the store lists it as it was, and does not give it",
            "try again, and look at what lies between here and the store",
        )
    found = "another object of as many" if now.size == size else f"{now.size:,}"
    raise PassingRecordingError(
        path, f"changed while the dataset was built: {size:,} bytes when it was scanned, {found} now"
    )


def _is_same(now: "ObjectInfo | None", size: int, version: int) -> bool:
    return now is not None and (now.size, version_number(now.version)) == (size, version)


def _listed(objects: "Objects", name: str) -> "ObjectInfo | None":
    """An object as the store lists it.

    Raises:
        StoreError: its folder could not be listed.
    """
    error = StoreError(
        objects.url_of(name),
        "could not be read: it is not there, nor is anything else at that URL any more",
        "look whether the bucket is there, and try again",
    )
    try:
        # The name is the first of all that begin with it, where a store lists in order.
        found = next((info for info in objects.list(name) if info.name == name), None)
        # Most libraries list nothing where the bucket is gone, or somebody else answers.
        beside = f"{name.rpartition('/')[0]}/".lstrip("/")
        if found is None and not any(next(objects.list(prefix), None) for prefix in (beside, "")):
            raise error
    except FileNotFoundError:
        raise error from None
    return found


class ObjectSource(ByteSource):
    """An object, read window by window.

    Windows are small where reading jumps about, as it does in headers, and twice as long each time as long as it goes
    straight on, so that no more is fetched in vain than was wanted before. Where it is known which bytes are wanted
    (`expect`), they come in the longest windows. A window that will be wanted next is fetched while this one is used.

    Args:
        objects: the input folder.
        path: of the recording in it.
        size: of the object, in bytes, and
        version: its `version_number`, as the scan found them.
        ahead: who fetches windows, also before they are asked for; else whoever reads does.
    """

    def __init__(self, objects: "Objects", path: bytes, *, size: int, version: int, ahead: Executor | None = None):
        super().__init__(size)
        self._objects, self._path, self._version, self._executor = objects, path, version, ahead
        self._windows: list[tuple[int, bytes]] = []
        self._coming: tuple[int, Future[bytes]] | None = None
        self._length = FIRST_BYTES
        self._expected = range(0)
        self._likely_end = 0

    def expect(self, wanted: range) -> None:
        """Have a range of bytes fetched, and no more, once reading begins there."""
        self._expected = range(wanted.start, min(wanted.stop, self.size))

    def expect_until(self, end: int) -> None:
        """Have reading that goes straight on go on until about there."""
        self._likely_end = min(end, self.size)

    def read_into(self, view: memoryview, at: int) -> int:
        """Fill the beginning of `view` with what lies at `at`; 0 bytes only at the end.

        Raises:
            PassingRecordingError: the object is not what it was, or gone.
            StoreError: the store could not be read.
        """
        if at >= self.size or not len(view):
            return 0
        for start, data in reversed(self._windows):
            if start <= at < start + len(data):
                break
        else:
            start, data = at, self._window(at)
        n = min(len(view), start + len(data) - at)
        view[:n] = memoryview(data)[at - start : at - start + n]
        return n

    def check(self) -> None:
        """See that the object is still what was scanned.

        Raises:
            PassingRecordingError: it is another one, or gone.
            StoreError: the store could not be asked.
        """
        check_same(self._objects, self._path, size=self.size, version=self._version)

    def close(self) -> None:
        """Let go of all windows."""
        self._windows.clear()
        if self._coming is not None:
            self._coming[1].cancel()
            self._coming = None

    def _window(self, at: int) -> bytes:
        last = self._windows[-1] if self._windows else None
        is_next = last is not None and last[0] + len(last[1]) == at
        if at in self._expected:
            self._length = min(MOST_BYTES, self._expected.stop - at)
        else:
            self._length = min(2 * self._length, MOST_BYTES) if is_next else FIRST_BYTES
        if self._coming is not None and self._coming[0] == at:
            data = result_of(self._coming[1])
        elif self._executor is not None:  # where waiting can be interrupted
            data = result_of(self._executor.submit(self._fetch, at, min(self._length, self.size - at)))
        else:
            data = self._fetch(at, min(self._length, self.size - at))
        self._come(at + len(data), is_next=is_next)
        if len(self._windows) == _KEPT:
            # The header is read again and again; a window in the middle is not.
            del self._windows[1 if self._windows[0][0] == 0 else 0]
        self._windows.append((at, data))
        return data

    def _come(self, at: int, *, is_next: bool) -> None:
        """Have the window at `at` fetched meanwhile, if it will be wanted."""
        self._coming = None
        if at in self._expected:
            n = min(MOST_BYTES, self._expected.stop - at)
        elif is_next and at < self._likely_end:
            n = min(2 * self._length, MOST_BYTES, self.size - at)
        else:
            return
        if self._executor is not None:
            self._coming = at, self._executor.submit(self._fetch, at, n)

    def _fetch(self, at: int, n: int) -> bytes:
        try:
            return self._objects.read(self._path.decode(), at, n)
        except (FileNotFoundError, StoreError) as error:
            _explain(error, self._objects, self._path, size=self.size, version=self._version)


def _explain(
    error: FileNotFoundError | StoreError, objects: "Objects", path: bytes, *, size: int, version: int
) -> NoReturn:
    """Raise what it means that an object could not be read: one that became shorter, or is gone, cannot be either."""
    check_same(objects, path, size=size, version=version)
    if isinstance(error, StoreError):
        raise error
    raise StoreError(
        objects.url_of(path.decode()), "could not be read: the store said that it is not there, but it is", "try again"
    ) from None


class WholeObject(ByteSource):
    """A small object, fetched whole; all that comes to light about it meanwhile is raised when it is read.

    Args:
        data: its bytes, which are those that were scanned.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self._data = memoryview(data)

    def read_into(self, view: memoryview, at: int) -> int:
        """Fill the beginning of `view` with what lies at `at`; 0 bytes only at the end."""
        part = self._data[at : at + len(view)]
        view[: len(part)] = part
        return len(part)

    def check(self) -> None:
        """Nothing: that was done when it was fetched."""

    def close(self) -> None:
        """Nothing: whoever fetched it holds it."""


def fetch_whole(objects: "Objects", path: bytes, *, size: int, version: int) -> WholeObject:
    """All of an object, once it is known to be the one that was scanned.

    Raises:
        PassingRecordingError: it is another one, or gone.
        StoreError: the store could not be read.
    """
    try:
        data = objects.read(path.decode(), 0, size) if size else b""
    except (FileNotFoundError, StoreError) as error:
        _explain(error, objects, path, size=size, version=version)
    # Afterwards: what was the scanned one then, was it while it was read.
    check_same(objects, path, size=size, version=version)
    return WholeObject(data)
