"""Windows: runs of chunks that follow each other in one recording, as rows of their own."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from audiochunk.reader.arguments import whole
from audiochunk.reader.location import Location
from audiochunk.reader.rows import Numbers, Rows, sizes_within
from audiochunk.reader.shard_files import Chunks

if TYPE_CHECKING:
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.cache import Cache


class Windows(Rows):
    """Runs of so many chunks, each within one stream: rows of `length_chunks` times the elements of a chunk.

    Args:
        chunks: a dataset, or a view whose chunks follow each other.
        length_chunks: chunks in a window.
        stride_chunks: chunks from the beginning of one window to that of the next; None means `length_chunks`.

    Attributes:
        dropped_chunks: how many chunks are in no window: ends of streams, and streams that are shorter than one.

    Raises:
        ConfigError: a length or stride below 1, or the chunks of the view do not follow each other.
        DatasetError: the recordings table is damaged.
    """

    _noun = "window"

    def __init__(self, chunks: "ChunkDataset", length_chunks: int, *, stride_chunks: int | None = None) -> None:
        self._behind = self._chunks = chunks
        self._length = whole(length_chunks, 1, "length_chunks")
        self._stride = self._length if stride_chunks is None else whole(stride_chunks, 1, "stride_chunks")
        found = chunks.runs()
        counts = np.maximum(0, (found.chunks - self._length) // self._stride + 1)
        # The first chunk of every stream; and its first window, with the number of all at the end.
        self._first_chunks = found.first
        self._starts: Numbers = np.concatenate([[0], np.cumsum(counts)])
        has_some = int(np.count_nonzero(counts))
        covered = min(self._length, self._stride) * (int(self._starts[-1]) - has_some) + self._length * has_some
        self.dropped_chunks = len(chunks) - covered
        self._range = range(int(self._starts[-1]))

    @property
    def width(self) -> int:
        """Elements of a window."""
        return self._length * self._chunks.width

    @property
    def _name(self) -> str:
        return f"{self._chunks.selection}.windows({self._length}, stride_chunks={self._stride})"

    @property
    def shard_sizes(self) -> list[int] | None:
        """How many windows begin in each shard."""
        sizes = self._chunks.shard_sizes
        if sizes is None:
            return None
        ends = np.cumsum(sizes)
        stream = np.searchsorted(self._first_chunks, ends) - 1
        begun = -(-(ends - self._first_chunks[stream]) // self._stride)
        before = np.minimum(self._starts[stream] + begun, self._starts[stream + 1])
        return sizes_within(np.diff(before, prepend=0).tolist(), self._range)

    @property
    def is_fetched(self) -> bool:
        """Whether the chunks lie in an object store, and are fetched when they are needed."""
        return self._chunks.is_fetched

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for the windows, by cache that they come into and by digest."""
        if not self._range:
            return {}
        ends = np.array(sorted((self._range[0], self._range[-1])))
        first, last = self._first_chunk(ends).tolist()
        return self._chunks[first : last + self._length].fetched_bytes()

    def will_need(self, numbers: Numbers) -> None:
        """Say which windows come next, so that the shards in which they begin can be fetched meanwhile."""
        self._chunks.will_need(self._first_chunk(self._numbers(numbers)))

    def chunk(self, i: int) -> int:
        """Number of the first chunk of window `i`, in the dataset or view that the windows are of.

        Raises:
            IndexError: there is no such window.
        """
        return int(self._first_chunk(np.array([self._at(i)]))[0])

    def locate(self, i: int) -> Location:
        """Where window `i` came from; `chunk` is the number of its first chunk in the stream.

        Raises:
            IndexError: there is no such window.
        """
        first = self.chunk(i)
        places = [self._chunks.locate(number) for number in range(first, first + self._length)]
        return replace(
            places[0],
            channels=tuple(sorted({channel for place in places for channel in place.channels})),
            first_frame=min(place.first_frame for place in places),
            last_frame=max(place.last_frame for place in places),
        )

    def _first_chunk(self, numbers: Numbers) -> Numbers:
        stream = np.searchsorted(self._starts, numbers, side="right") - 1
        return self._first_chunks[stream] + (numbers - self._starts[stream]) * self._stride

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        members = self._first_chunk(numbers)[:, None] + np.arange(self._length)
        self._chunks.gather(members.reshape(-1), out=out.reshape(-1, self._chunks.width))
