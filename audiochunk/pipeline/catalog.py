"""The recordings of a scan, in path order, in memory or in a file: there may be ten million."""

import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import IO, SupportsIndex, overload

import msgspec

from audiochunk.errors import MachineError, reason
from audiochunk.pipeline.pages import PageIndex, Pages
from audiochunk.pipeline.scan import Scanned

_PAGE = 512  # recordings that are kept together
_IN_MEMORY = 128  # pages: the first ones, about 40 MB
_READ = 8  # pages that are kept once they were read: there are a few readers, and each goes forward


class _Page(msgspec.Struct, frozen=True, array_like=True):
    """Recordings that follow each other, and the number of its split's name for each."""

    recordings: list[Scanned]
    splits: list[int]

    def recording(self, at: int) -> Scanned:
        """One of them."""
        return self.recordings[at]


class _PackedPage(msgspec.Struct, frozen=True, array_like=True):
    """The same as it is in a file: who wants the recordings of one split unpacks no others."""

    recordings: list[msgspec.Raw]
    splits: list[int]

    def recording(self, at: int) -> Scanned:
        """One of them."""
        return _unpack(self.recordings[at])


_unpack = msgspec.msgpack.Decoder(Scanned).decode


class Catalog(Sequence[Scanned]):
    """The recordings of a scan, and the split of each; they are added in path order.

    Those after the first 65,536 go into a file without a name in the folder for temporary files (`TMPDIR`).

    Attributes:
        names: of the splits that have recordings, in the order in which they came.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._in_memory: list[_Page] = []
        self._in_file: Pages | None = None
        self._last = _Page([], [])  # which is being filled
        self._read: OrderedDict[int, _PackedPage] = OrderedDict()
        self._n = 0

    def add(self, recording: Scanned, split: str) -> None:
        """Take in the next recording.

        Raises:
            MachineError: the file could not be written.
        """
        number = self._numbers.get(split)
        if number is None:
            number = self._numbers[split] = len(self.names)
            self.names.append(split)
        self._last.recordings.append(recording)
        self._last.splits.append(number)
        self._n += 1
        if len(self._last.splits) < _PAGE:
            return
        if len(self._in_memory) < _IN_MEMORY:
            self._in_memory.append(self._last)
        else:
            self._put_away(msgspec.msgpack.encode(self._last))
        self._last = _Page([], [])

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: SupportsIndex) -> Scanned: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scanned]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Scanned | list[Scanned]:
        if isinstance(index, slice):
            return [self[number] for number in range(self._n)[index]]
        page, within = divmod(range(self._n)[index], _PAGE)
        return self._page(page).recording(within)

    def __iter__(self) -> Iterator[Scanned]:
        return (recording for recording, _ in self.placed())

    def placed(self) -> Iterator[tuple[Scanned, str]]:
        """All recordings, each with its split."""
        for page in self._pages():
            for at, number in enumerate(page.splits):
                yield page.recording(at), self.names[number]

    def of_split(self, split: str, first: int = 0) -> Iterator[Scanned]:
        """Recordings of a split, from the one on that has number `first` in the whole catalog."""
        wanted = self._numbers.get(split, -1)
        at = first % _PAGE
        for page in self._pages(first // _PAGE):
            for _ in range(page.splits.count(wanted)):
                try:
                    at = page.splits.index(wanted, at)
                except ValueError:  # those that are there come before the first
                    break
                yield page.recording(at)
                at += 1
            at = 0

    def samples(self, n: int) -> list[Scanned]:
        """At most `n` usable recordings, from all over the catalog."""
        bounds = [self._n * i // n for i in range(n + 1)]
        found = []
        for start, stop in pairwise(bounds):
            usable = (self[number] for number in range(start, stop) if self[number].info is not None)
            found += [recording for recording in [next(usable, None)] if recording is not None]
        return found

    def write(self, file: IO[bytes], at: int) -> tuple[PageIndex, int]:
        """Write all recordings into a file, for `read`.

        Args:
            file: to write to.
            at: its first byte that is free.

        Returns:
            Where they lie, and the next byte that is free.

        Raises:
            OSError: the file could not be written.
        """
        pages = Pages(file, end=at)
        for page in self._in_memory:
            pages.append(msgspec.msgpack.encode(page))
        if self._in_file is not None:
            self._in_file.copy_to(pages)
        if self._last.splits:
            pages.append(msgspec.msgpack.encode(self._last))
        return pages.index, pages.end

    @classmethod
    def read(cls, file: IO[bytes], index: PageIndex, *, recordings: int, names: Sequence[str]) -> "Catalog":
        """What `write` has written; nothing is added to it.

        Args:
            file: that was written; it stays open.
            index: where the recordings lie.
            recordings: how many there are.
            names: of their splits.

        Raises:
            ValueError: the index is not of so many.
        """
        catalog = cls()
        catalog.names, catalog._numbers = list(names), {name: number for number, name in enumerate(names)}
        catalog._in_file, catalog._n = Pages(file, index=index), recordings
        if len(catalog._in_file) != -(-recordings // _PAGE):
            raise ValueError(f"{len(catalog._in_file)} pages of {recordings} recordings")
        return catalog

    def _put_away(self, page: bytes) -> None:
        import tempfile  # and much behind it, which few builds need

        try:
            if self._in_file is None:
                file = tempfile.TemporaryFile(prefix="audiochunk-", buffering=0)  # noqa: SIM115  # closed with this
                weakref.finalize(self, file.close)
                self._in_file = Pages(file)
            self._in_file.append(page)
        except OSError as error:
            raise MachineError(
                f"the list of recordings does not fit into the folder for temporary files ({reason(error)}); set TMPDIR"
                " to another one"
            ) from error

    def _pages(self, first: int = 0) -> Iterator[_Page | _PackedPage]:
        for number in range(first, -(-self._n // _PAGE)):
            yield self._page(number)

    def _page(self, number: int) -> _Page | _PackedPage:
        if number < len(self._in_memory):
            return self._in_memory[number]
        number -= len(self._in_memory)
        if self._in_file is None or number >= len(self._in_file):
            return self._last
        page = self._read.get(number)
        if page is None:
            page = self._read[number] = msgspec.msgpack.decode(self._in_file.read(number), type=_PackedPage)
            if len(self._read) > _READ:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(number)
        return page
