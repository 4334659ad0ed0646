"""Raw shards in memory: all of a split as rows of one array, where the machine allows it.

Chunks taken at random lie in as many shards as there are, a few in each. Taking those of one shard after the other,
into their order by shard and from there into the order wanted, runs at 0.7 of the speed at which numpy takes them from
one file as large as all, and slower with more shards. With the shards side by side in one stretch of addresses, that is
what they are to numpy: one file. So a stretch is reserved that nothing can be read from, and each shard is mapped over
its place in it, on first use.
"""

import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from audiochunk.errors import DatasetError, unreadable
from audiochunk.reader.mapping import CAN_PLACE, address_of, map_file, map_over, reserve
from audiochunk.reader.quota import count_in, has_room, most_at_once
from audiochunk.reader.shard_files import Chunks, ShardFiles
from audiochunk.storage.shard import DATA_OFFSET

# What 64-bit systems give a process is 2**47 bytes, some of which are taken.
_MOST_RESERVED = 2**45
# Of x86, and of ARM with pages of 4 KiB. Linux maps a file in pages of this size where its cache holds it in pieces so
# large, and where the file begins at a multiple of it in memory. Then taking chunks at random from a gigabyte of shards
# of 32 MiB is 1.3 times as fast.
_HUGE_PAGE = 2**21


def raw_shards(files: ShardFiles) -> "SideBySide | Apart":
    """The raw shards of a split: side by side, or apart where so many addresses in a row are not to be had."""
    for page in (_HUGE_PAGE, mmap.ALLOCATIONGRANULARITY):
        *places, span = _places(files, page)
        if CAN_PLACE and span <= _MOST_RESERVED:
            try:
                reserve(span + _HUGE_PAGE).close()
            except OSError:  # a limit on addresses (ulimit -v)
                continue
            return SideBySide(files, places, span)
    return Apart(files)


class SideBySide:
    """All raw shards as rows of one array.

    Where there are more shards than may be mapped, those that are mapped are let go of together when they become too
    many, because chunks that were handed out are views of them. Where those keep too many, chunks are copied.

    Args:
        files: of the shards.
        places: where each begins in the stretch, in bytes.
        span: bytes of the stretch.
    """

    def __init__(self, files: ShardFiles, places: list[int], span: int) -> None:
        self._files, self._places, self._span = files, places, span
        # The row of the long array in which every shard begins.
        self._first_rows = [place // files.encoding.chunk_bytes for place in places]
        self._first_rows_array = np.array(self._first_rows, np.int64)
        self._most = min(most_at_once(len(places)), files.most or len(places) or 1)
        self._stretch: _Stretch | None = None

    def chunk(self, shard: int, row: int) -> Chunks:
        """One chunk, a view."""
        stretch = self._stretch
        if stretch is None or not stretch.mapped[shard]:
            stretch = None  # no name may keep it: it may have to make room
            stretch = self._map([shard])
            if stretch is None:
                (copy,) = self._copies(shard, [row])
                return copy
        found: Chunks = stretch.rows[self._first_rows[shard] + row]
        return found

    def rows(self, shard: int, start: int, stop: int) -> Iterator[Chunks]:
        """Chunks of one shard, views."""
        stretch = self._map([shard])
        if stretch is None:
            return self._copies(shard, range(start, stop))
        first = self._first_rows[shard]
        return iter(stretch.rows[first + start : first + stop])

    def gather(self, shards: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], out: Chunks) -> None:
        """Copy chunks into the rows of `out`."""
        stretch = self._stretch
        if stretch is None or not (stretch.is_whole or stretch.mapped_array[shards].all()):
            stretch = None  # as above
            wanted = np.unique(shards)
            if len(wanted) > self._most:
                self._gather_some_at_a_time(wanted, shards, rows, out)
                return
            stretch = self._map(wanted.tolist())
            if stretch is None:
                self._gather_copies(wanted, shards, rows, out)
                return
        # They are known to be in range; "clip" spares numpy a buffer and a second look. The local name keeps the
        # mappings from going away while another thread closes this.
        stretch.rows.take(self._first_rows_array[shards] + rows, 0, out, "clip")

    def close(self) -> None:
        """Let go of all shards."""
        self._stretch = None

    def _gather_some_at_a_time(
        self, wanted: npt.NDArray[np.intp], shards: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], out: Chunks
    ) -> None:
        """Copy chunks of more shards than may be mapped."""
        for places in _grouped(shards, wanted[:: self._most]):
            part = np.empty((len(places), self._files.tokens), self._files.dtype)
            self.gather(shards[places], rows[places], part)
            out[places] = part

    def _gather_copies(
        self, wanted: npt.NDArray[np.intp], shards: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], out: Chunks
    ) -> None:
        """Copy chunks without mapping their shards."""
        for shard, places in zip(wanted.tolist(), _grouped(shards, wanted), strict=True):
            for place, chunk in zip(places.tolist(), self._copies(shard, rows[places].tolist()), strict=True):
                out[place] = chunk

    def _copies(self, shard: int, rows: Iterable[int]) -> Iterator[Chunks]:
        """Chunks of one shard, read from its file."""
        size = self._files.encoding.chunk_bytes
        with _opened(self._files, shard) as fd:
            for row in rows:
                data = os.pread(fd, size, DATA_OFFSET + row * size)
                if len(data) < size:
                    raise DatasetError(self._files.path(shard), f"chunk {row} is not there any more")
                yield np.frombuffer(data, self._files.dtype)

    def _map(self, shards: list[int]) -> "_Stretch | None":
        """The stretch, with these shards in their places; None where there is no room for them.

        Args:
            shards: their numbers, no more than may be mapped.

        Raises:
            DatasetError: one of them is damaged.
        """
        missing = self._missing(shards)
        if len(missing) > self._most - self._n_mapped():
            self.close()
            missing = shards
        if missing and not has_room(len(missing)):
            return None
        if self._stretch is None and not has_room(len(shards)):
            return None
        stretch = self._stretch
        if stretch is None:
            try:
                stretch = _Stretch(self._files, self._span, self.close)
            except OSError as error:
                raise unreadable(str(self._files.folder), error, done="mapped") from error
            self._stretch = stretch
        missing = [shard for shard in shards if not stretch.mapped[shard]]
        if len(missing) > 1:
            self._files.will_need(missing[1:], soon=True)
        for shard in missing:
            stretch.map(shard, self._places[shard])
        return stretch

    def _n_mapped(self) -> int:
        return 0 if self._stretch is None else len(self._stretch.counted)

    def _missing(self, shards: list[int]) -> list[int]:
        stretch = self._stretch
        return shards if stretch is None else [shard for shard in shards if not stretch.mapped[shard]]


class _Stretch:
    """Addresses in a row, with room for every shard.

    Attributes:
        rows: (n, elements of a chunk), of which only those of mapped shards may be touched.
        mapped: 1 for every shard that is in its place, else 0; and
        mapped_array: the same memory as booleans.
        counted: numbers of these shards; one that two threads have mapped at once is in it twice.
        is_whole: whether all shards are in their places, for those who would ask again and again.
    """

    def __init__(self, files: ShardFiles, span: int, let_go: Callable[[], None]) -> None:
        self._files = files
        reserved = reserve(span + _HUGE_PAGE)
        unaligned = address_of(reserved)
        self._address = -(-unaligned // _HUGE_PAGE) * _HUGE_PAGE
        rows = (span - DATA_OFFSET) // files.encoding.chunk_bytes
        # A plain array: indexing one costs a third of indexing np.memmap.
        offset = self._address - unaligned + DATA_OFFSET
        self.rows = np.frombuffer(reserved, files.dtype, rows * files.tokens, offset).reshape(rows, files.tokens)
        self.mapped = bytearray(len(files.entries))
        self.mapped_array: npt.NDArray[np.bool_] = np.frombuffer(self.mapped, np.bool_, len(self.mapped))
        self.counted = count_in(reserved, let_go)
        self.is_whole = False

    def map(self, shard: int, place: int) -> None:
        """Put a shard into its place; two threads may do so at once."""
        with _opened(self._files, shard) as fd:
            map_over(self._address + place, fd, self._files.entries[shard].bytes)
        self.counted.append(shard)
        # Last: from here on others read the rows.
        self.mapped[shard] = 1
        if len(self.counted) >= len(self.mapped) and 0 not in self.mapped:
            self.is_whole = True


class Apart:
    """Raw shards mapped wherever they come to lie."""

    def __init__(self, files: ShardFiles) -> None:
        self._files = files
        self._mapped: dict[int, Chunks] = {}
        self._counted = count_in(self, self.close)

    def chunk(self, shard: int, row: int) -> Chunks:
        """One chunk, a view."""
        found: Chunks = self._shard(shard)[row]
        return found

    def rows(self, shard: int, start: int, stop: int) -> Iterator[Chunks]:
        """Chunks of one shard, views."""
        return iter(self._shard(shard)[start:stop])

    def gather(self, shards: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], out: Chunks) -> None:
        """Copy chunks into the rows of `out`, shard by shard."""
        wanted = np.unique(shards)
        if self._files.cache is not None:
            self._files.will_need([shard for shard in wanted.tolist() if shard not in self._mapped][1:], soon=True)
        for shard, places in zip(wanted.tolist(), _grouped(shards, wanted), strict=True):
            out[places] = self._shard(shard)[rows[places]]

    def close(self) -> None:
        """Let go of all shards."""
        self._mapped = {}
        self._counted.clear()

    def _shard(self, number: int) -> Chunks:
        found = self._mapped.get(number)
        if found is not None:
            return found
        has_room(1)  # if only because this lets go of its own
        if self._files.most is not None and len(self._mapped) >= self._files.most:
            self.close()
        with _opened(self._files, number) as fd:
            mapped = map_file(fd, self._files.entries[number].bytes)
        chunks = np.frombuffer(mapped[DATA_OFFSET:], self._files.dtype).reshape(-1, self._files.tokens)
        self._mapped[number] = chunks
        self._counted.append(number)
        return chunks


def _grouped(shards: npt.NDArray[np.intp], firsts: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Where the shards are that are at least the first number and below the second, then below the third, and so on.

    >>> [places.tolist() for places in _grouped(np.array([7, 2, 5, 2]), np.array([2, 5]))]
    [[1, 3], [2, 0]]
    """
    order = np.argsort(shards, kind="stable")
    return np.split(order, np.searchsorted(shards[order], firsts[1:])) if len(firsts) else []


def _places(files: ShardFiles, page: int) -> list[int]:
    """Where every shard begins in the stretch, in bytes, and where the last one's room ends.

    Every place is a multiple of the page, so that a file can be mapped there, and of the chunk, so that the chunks of
    all shards are rows of the array that begins with those of the first.

    Args:
        files: of the shards.
        page: its bytes.
    """
    chunk_bytes = files.encoding.chunk_bytes
    unit = math.lcm(page, chunk_bytes)
    rooms = (-(-(DATA_OFFSET + entry.chunks * chunk_bytes) // unit) * unit for entry in files.entries)
    places = list(accumulate(rooms, initial=0))
    # A split without shards has room for a header, and an array without rows.
    return [*places[:-1], max(places[-1], DATA_OFFSET)]


@contextmanager
def _opened(files: ShardFiles, number: int) -> Iterator[int]:
    """The descriptor of a raw shard whose length and header have been checked."""
    path, spec, size = files.path(number), files.spec(number), files.entries[number].bytes
    if size != DATA_OFFSET + spec.data_bytes:
        raise DatasetError(
            path, f"{size} bytes; a header and {spec.chunks} chunks take {DATA_OFFSET + spec.data_bytes}"
        )
    with files.opened(number) as fd:
        spec.check_header(os.pread(fd, DATA_OFFSET, 0), path)
        yield fd
