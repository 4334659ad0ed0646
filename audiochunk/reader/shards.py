"""The shards of one split as one long array of chunks, mapped into memory on first use."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from audiochunk.config import Compression, Encoding
from audiochunk.reader.compressed import CompressedShards
from audiochunk.reader.raw import raw_shards
from audiochunk.reader.shard_files import Chunks, ShardFiles
from audiochunk.storage.manifest import ShardEntry

if TYPE_CHECKING:
    from audiochunk.storage.cache import Cache
    from audiochunk.storage.remote import Folder

_AHEAD = 4  # shards that whoever reads in order will need next


class Shards(Protocol):
    """Chunks by the number of their shard and their row in it. Both are known to be in range."""

    def chunk(self, shard: int, row: int) -> Chunks: ...
    def rows(self, shard: int, start: int, stop: int) -> Iterator[Chunks]: ...
    def gather(self, shards: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], out: Chunks) -> None: ...
    def close(self) -> None: ...


class ShardArray:
    """Chunks of one split by number.

    Threads may share one, and processes may be forked from one that does: what is mapped lazily may be mapped twice,
    to no harm.

    Args:
        folder: of the dataset.
        entries: shards of the split, in order.
        encoding: of the chunks.
        compression: of the shards.
    """

    def __init__(
        self, folder: "Folder", entries: Sequence[ShardEntry], encoding: Encoding, compression: Compression | None
    ) -> None:
        if isinstance(folder, Path):
            self.files = ShardFiles(folder, entries, encoding)
        else:
            from audiochunk.reader.remote_files import RemoteShardFiles

            self.files = RemoteShardFiles(folder, entries, encoding, compression)
        self._shards: Shards
        if compression is None:
            self._shards = raw_shards(self.files)
        else:
            self._shards = CompressedShards(self.files, compression.chunks_per_frame)
        # First chunk of every shard, and the number of all: a list for one chunk at a time, an array for many.
        self._starts = list(accumulate((entry.chunks for entry in entries), initial=0))
        self._starts_array = np.array(self._starts, np.int64)

    def __len__(self) -> int:
        return self._starts[-1]

    def chunk(self, i: int) -> Chunks:
        """Chunk `i`: 1-D, read-only; of a raw shard, a view into the mapping."""
        # To the right, so that of shards that begin with the same chunk, it is the last that counts: the others are
        # empty.
        shard = bisect_right(self._starts, i) - 1
        return self._shards.chunk(shard, i - self._starts[shard])

    def chunks(self, numbers: range) -> Iterator[Chunks]:
        """What `chunk` gives for each number, in turn; faster where they follow each other."""
        if numbers.step != 1:
            yield from map(self.chunk, numbers)
            return
        at = numbers.start
        while at < numbers.stop:
            shard = bisect_right(self._starts, at) - 1
            first, end = self._starts[shard], min(self._starts[shard + 1], numbers.stop)
            self.files.will_need(range(shard + 1, min(shard + 1 + _AHEAD, bisect_left(self._starts, numbers.stop))))
            yield from self._shards.rows(shard, at - first, end - first)
            at = end

    def gather(self, numbers: npt.NDArray[np.int64], out: Chunks) -> None:
        """Copy chunks into the rows of `out`: (n, elements of a chunk) and C-contiguous."""
        shards = np.searchsorted(self._starts_array, numbers, side="right") - 1
        self._shards.gather(shards, numbers - self._starts_array[shards], out)

    def will_need(self, numbers: npt.NDArray[np.int64]) -> None:
        """Say whose shards will be needed next, in this order."""
        shards = np.searchsorted(self._starts_array, numbers, side="right") - 1
        self.files.will_need(dict.fromkeys(shards.tolist()))

    def fetched_bytes(self, numbers: range) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that these chunks lie in, by cache that they are fetched into and by digest."""
        if self.files.cache is None or not numbers:
            return {}
        first, last = (bisect_right(self._starts, at) - 1 for at in sorted((numbers[0], numbers[-1])))
        return {self.files.cache: {entry.digest: entry.bytes for entry in self.files.entries[first : last + 1]}}

    def close(self) -> None:
        """Let go of the mappings; chunks that were handed out stay valid."""
        self.files.will_need(())
        self._shards.close()
