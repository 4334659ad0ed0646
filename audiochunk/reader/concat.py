"""Several datasets, one after the other, as one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.reader.rows import Numbers, Rows, sizes_within
from audiochunk.reader.shard_files import Chunks


class Sources:
    """Datasets whose rows are alike.

    Args:
        rows: at least one dataset, or view of one.

    Raises:
        ConfigError: there are none, or their rows differ in length or dtype.
    """

    def __init__(self, rows: Sequence[Rows]) -> None:
        if not rows:
            raise ConfigError("no datasets were given")
        for other in rows:
            if not isinstance(other, Rows):
                raise ConfigError(f"{other!r} is not a dataset")
            if (other.width, other.dtype) != (rows[0].width, rows[0].dtype):
                raise ConfigError(
                    f"rows of {rows[0].width:,} {rows[0].dtype} and of {other.width:,} {other.dtype} do not go together"
                )
        self.rows = tuple(rows)

    @property
    def dataset_id(self) -> str:
        """The identities of all."""
        return "+".join(rows.dataset_id for rows in self.rows)

    def fill(self, which: npt.NDArray[np.intp], numbers: Numbers, out: Chunks) -> None:
        """Copy the row of that number of that source into each row of `out`."""
        for source in np.unique(which).tolist():
            places = np.flatnonzero(which == source)
            out[places] = self.rows[source].gather(numbers[places])


class ConcatDataset(Rows):
    """The rows of several datasets, those of the first before those of the second.

    Args:
        rows: datasets, or views of them, whose rows have one length and dtype.

    Raises:
        ConfigError: there are none, or their rows differ.
    """

    _noun = "row"

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._sources = Sources(rows)
        self._starts = np.cumsum([0, *(len(source) for source in rows)], dtype=np.int64)
        self._range = range(int(self._starts[-1]))

    @property
    def dataset_id(self) -> str:
        """The identities of all, with `+` between them."""
        return self._sources.dataset_id

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of all of them."""
        return self._sources.rows[0].dtype

    @property
    def width(self) -> int:
        """Elements of a row."""
        return self._sources.rows[0].width

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

    def _row(self, number: int) -> Chunks:
        source = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._sources.rows[source][number - int(self._starts[source])]

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        which = np.searchsorted(self._starts, numbers, side="right") - 1
        self._sources.fill(which, numbers - self._starts[which], out)
