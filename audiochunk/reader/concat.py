"""Several datasets, one after the other, as one."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from audiochunk.errors import ConfigError
from audiochunk.reader.rows import Numbers, Rows, sizes_within
from audiochunk.reader.shard_files import Chunks
from audiochunk.reader.sources import Sources, fetched_of

if TYPE_CHECKING:
    from audiochunk.storage.cache import Cache


class ConcatDataset(Rows):
    """The rows of several datasets, those of the first before those of the second.

    Args:
        rows: datasets, or views of them, whose rows have one length and dtype. Of what has no end, take a slice.

    Raises:
        ConfigError: there are none, their rows differ, or one has no end.
    """

    _noun = "row"

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._behind = self._sources = Sources(rows)
        for source in rows:
            if source.is_endless:
                raise ConfigError(f"{source.selection} has no end; take a slice of it, [:{len(source)}] for one epoch")
        self._starts = np.cumsum([0, *(len(source) for source in rows)], dtype=np.int64)
        self._range = range(int(self._starts[-1]))

    @property
    def width(self) -> int:
        """Elements of a row."""
        return self._sources.width

    @property
    def _name(self) -> str:
        return f"concat({', '.join(source.selection for source in self._sources.rows)})"

    @property
    def shard_sizes(self) -> list[int] | None:
        """How many of the rows lie in each shard of each dataset; None where one of them does not know."""
        sizes = [source.shard_sizes for source in self._sources.rows]
        if any(size is None for size in sizes):
            return None
        return sizes_within([size for each in sizes if each for size in each], self._range)

    @property
    def is_fetched(self) -> bool:
        """Whether some of the rows lie in an object store, and are fetched when they are needed."""
        return self._sources.is_fetched

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for the rows, by cache that they come into and by digest."""
        if not self._range:
            return {}
        first, last = sorted((self._range[0], self._range[-1]))
        starts = zip(self._sources.rows, self._starts.tolist(), strict=False)
        return fetched_of(source[max(0, first - start) : max(0, last + 1 - start)] for source, start in starts)

    def will_need(self, numbers: Numbers) -> None:
        """Say which rows come next, so that they can be fetched meanwhile."""
        within = self._numbers(numbers)
        which = np.searchsorted(self._starts, within, side="right") - 1
        for source in np.unique(which).tolist():
            self._sources.rows[source].will_need(within[which == source] - self._starts[source])

    def __iter__(self) -> Iterator[Chunks]:
        if self._range.step != 1:
            yield from super().__iter__()
            return
        for source, start in zip(self._sources.rows, self._starts.tolist(), strict=False):
            # As slices, so that what has to be fetched is fetched ahead.
            yield from source[max(0, self._range.start - start) : max(0, self._range.stop - start)]

    def _row(self, number: int) -> Chunks:
        source = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._sources.rows[source][number - int(self._starts[source])]

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        which = np.searchsorted(self._starts, numbers, side="right") - 1
        self._sources.fill(which, numbers - self._starts[which], out)
