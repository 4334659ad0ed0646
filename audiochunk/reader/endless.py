"""Rows without an end: any number of draws, of which an epoch takes the next ones."""

from typing import Self

import numpy as np
import numpy.typing as npt

from audiochunk.reader.arguments import MOST_ROWS
from audiochunk.reader.rows import Numbers, Rows


class EndlessRows(Rows):
    """Rows that are drawn: row i follows from i alone, for any i below 2**62.

    `len` is what a sampler takes for an epoch, and the next epoch takes the rows after those. A slice is as any other
    rows: it has an end, and each epoch the same rows.
    """

    _n: int  # rows of an epoch
    _range = range(MOST_ROWS)

    @property
    def is_endless(self) -> bool:
        """True, but for a slice."""
        return self._range == range(MOST_ROWS)

    @property
    def selection(self) -> str:
        """Which rows these are, as text, with those of an epoch."""
        return f"{self._name}, {self._n} an epoch" if self.is_endless else super().selection

    def __len__(self) -> int:
        return self._n if self.is_endless else super().__len__()

    def _sliced(self, part: slice) -> Self:
        if self.is_endless:
            first, step = part.start or 0, part.step or 1
            if step < 0 or first < 0 or part.stop is None or not 0 <= part.stop < MOST_ROWS:
                raise IndexError(f"{self._noun}s have no end: a slice of them goes forwards, from 0 on, and has one")
        return super()._sliced(part)

    def _at(self, index: int) -> int:
        self._require_from_the_beginning(index)
        return super()._at(index)

    def _numbers(self, indices: "npt.ArrayLike") -> Numbers:
        given = np.asarray(indices)
        if given.size and given.dtype.kind in "ib":
            self._require_from_the_beginning(-1 if given.dtype.kind == "b" else int(given.min()))
        return super()._numbers(given)

    def _require_from_the_beginning(self, index: int) -> None:
        if index < 0 and self.is_endless:
            raise IndexError(f"{self._noun}s are taken by integers from 0 on: they have no end to count from")
