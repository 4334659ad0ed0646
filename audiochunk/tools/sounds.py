"""Chunks as what codecs are given: each alone, or those of one stream together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt

from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames
from audiochunk.reader.keyed import CHOICE, derive
from audiochunk.reader.location import stream_of
from audiochunk.reader.permutation import Permutation
from audiochunk.reader.shard_files import Chunks
from audiochunk.signal.interleave import deinterleave
from audiochunk.signal.packing import unpack
from audiochunk.signal.quantize import Codes
from audiochunk.storage.recordings import RecordingRow

_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Chunks of one stream that follow each other.

    Attributes:
        split: that it is in.
        row: of the recordings table.
        first: number in the stream of the first of them.
        chunks: how many; at least 1.
    """

    split: str
    row: RecordingRow
    first: int
    chunks: int

    @property
    def numbers(self) -> range:
        """Numbers in the split."""
        start = self.row.first_chunk + self.first
        return range(start, start + self.chunks)


class Excerpts(Sequence[Excerpt]):
    """Excerpts that begin with their streams, each made when it is asked for: they may be millions.

    Args:
        datasets: the splits.
        which: (n,) the number of each one's split among them.
        row: (n,) and of its row in that.
        chunks: (n,) how many it has.
    """

    def __init__(
        self,
        datasets: Sequence[ChunkDataset],
        which: npt.NDArray[np.int64],
        row: npt.NDArray[np.int64],
        chunks: npt.NDArray[np.int64],
    ) -> None:
        self._splits = [(ds.split, ds.recordings) for ds in datasets]
        self._which, self._row, self.chunks = which, row, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    @overload
    def __getitem__(self, index: int) -> Excerpt: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequence[Excerpt]": ...
    def __getitem__(self, index: int | slice) -> "Excerpt | Sequence[Excerpt]":
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        split, rows = self._splits[self._which[index]]
        return Excerpt(split, rows[self._row[index]], 0, int(self.chunks[index]))


class ChunkSound:
    """One chunk by itself.

    Its frames are those of its channels where the chunk is aligned; else its codes in their order, as one channel.
    Padding is silent frames.

    Args:
        ds: the split.
        row: of the stream that the chunk is of.
        number: of the chunk in its stream.
    """

    def __init__(self, ds: ChunkDataset, row: RecordingRow, number: int) -> None:
        stream = stream_of(row, ds.encoding)
        self._ds, self._number = ds, row.first_chunk + number
        self._block = stream.block
        self.bits, self.sample_rate = ds.encoding.bits, row.sample_rate
        self.channels = stream.channels if ds.encoding.is_aligned(stream.channels) else 1
        self._n_codes = stream.real_codes(number, 1)
        padding = stream.codes_per_chunk - self._n_codes
        self._real_frames = self._n_codes // self.channels
        self.n_frames = self._real_frames + -(-padding // self.channels)
        self.n_bytes = ds.encoding.chunk_bytes

    @cached_property
    def _stored(self) -> Chunks:
        return self._ds[self._number]

    def octets(self) -> Iterator[bytes]:
        """The bytes of the chunk, padding included."""
        yield self._stored.tobytes()

    def frames(self) -> Iterator[npt.NDArray[np.int32]]:
        """(frames, channels), signed."""
        codes = unpack(self._stored, self._ds.encoding)[: self._n_codes]
        yield _signed(deinterleave(codes, channels=self.channels, block=self._block), self.bits)
        yield from _silent(self.n_frames - self._real_frames, self.channels)


class ExcerptSound:
    """The first chunks of a stream together.

    Where they end within a frame, the channels that are missing are silent; padding is silent frames.

    Args:
        ds: the split.
        excerpt: the chunks; the first of them is the stream's.
    """

    def __init__(self, ds: ChunkDataset, excerpt: Excerpt) -> None:
        self._ds, self._excerpt = ds, excerpt
        self._frames = Frames(ds, excerpt.row, chunks=excerpt.chunks, incomplete=True)
        self.bits, self.sample_rate = ds.encoding.bits, excerpt.row.sample_rate
        self.channels = self._frames.channels
        padding = excerpt.chunks * ds.encoding.codes_per_chunk - self._frames.codes
        self.n_frames = self._frames.frames + -(-padding // self.channels)
        self.n_bytes = excerpt.chunks * ds.encoding.chunk_bytes

    def octets(self) -> Iterator[bytes]:
        """The bytes of the chunks, padding included, about a million at a time."""
        step = max(1, _PIECE_BYTES // self._ds.encoding.chunk_bytes)
        numbers = self._excerpt.numbers
        for start in range(0, len(numbers), step):
            yield self._ds.gather(numbers[start : start + step]).tobytes()

    def frames(self) -> Iterator[npt.NDArray[np.int32]]:
        """(frames, channels), signed, about a million samples at a time."""
        for piece in self._frames.pieces():
            yield _signed(piece, self.bits)
        yield from _silent(self.n_frames - self._frames.frames, self.channels)


def _signed(codes: Codes, bits: int) -> npt.NDArray[np.int32]:
    signed: npt.NDArray[np.int32] = codes.astype(np.int32)
    signed -= 1 << (bits - 1)
    return signed


def _silent(frames: int, channels: int) -> Iterator[npt.NDArray[np.int32]]:
    if frames:
        yield np.zeros((frames, channels), np.int32)


def code_arrays(ds: ChunkDataset, excerpt: Excerpt) -> Iterator[Codes]:
    """The codes of chunks without padding: arrays of (chunks, codes), all but the last of whole chunks."""
    codes = unpack(ds.gather(excerpt.numbers), ds.encoding)
    real = stream_of(excerpt.row, ds.encoding).real_codes(excerpt.first, excerpt.chunks)
    whole, rest = divmod(real, ds.encoding.codes_per_chunk)
    yield codes[:whole]
    if rest:
        yield codes[whole : whole + 1, :rest]


def choose(
    datasets: Sequence[ChunkDataset], *, first: int | None = None, max_chunks: int | None = None, seed: int = 0
) -> Excerpts:
    """The chunks to look at, as excerpts, which begin with the first of their stream.

    Args:
        datasets: the splits.
        first: look only at so many chunks of each split, from its first.
        max_chunks: and at no more than so many in all: those of streams in a random order, until there are enough.
        seed: of that order.

    Returns:
        Excerpts in the order of the splits, and in it of the streams.
    """
    n_chunks = []
    for ds in datasets:
        rows = ds.recordings
        until = rows.chunks if first is None else np.minimum(rows.chunks, first - rows.first_chunk)
        n_chunks.append(np.maximum(0, until))
    starts = np.cumsum([0, *map(len, n_chunks)])
    chunks = np.concatenate([np.zeros(0, np.int64), *n_chunks])
    numbers = np.flatnonzero(chunks)
    chunks = chunks[numbers]
    if max_chunks is not None and int(chunks.sum()) > max_chunks:
        order = Permutation(len(numbers), derive(seed, CHOICE))(np.arange(len(numbers)))
        ends = np.cumsum(chunks[order])
        last = int(np.searchsorted(ends, max_chunks))
        chunks[order[last]] -= ends[last] - max_chunks
        taken = np.sort(order[: last + 1])
        numbers, chunks = numbers[taken], chunks[taken]
    which = np.searchsorted(starts, numbers, side="right") - 1
    return Excerpts(datasets, which, numbers - starts[which], chunks)


def batches(excerpts: Iterable[Excerpt], most: int) -> Iterator[tuple[Excerpt, ...]]:
    """Excerpts in their order, some at a time: as many as have about `most` chunks, and one at least."""
    batch: list[Excerpt] = []
    n = 0
    for excerpt in excerpts:
        batch.append(excerpt)
        n += excerpt.chunks
        if n >= most:
            yield tuple(batch)
            batch, n = [], 0
    if batch:
        yield tuple(batch)


def cut(excerpts: Iterable[Excerpt], most: int) -> Iterator[Excerpt]:
    """The same chunks in excerpts of at most so many."""
    for whole in excerpts:
        for first in range(0, whole.chunks, most):
            yield Excerpt(whole.split, whole.row, whole.first + first, min(most, whole.chunks - first))
