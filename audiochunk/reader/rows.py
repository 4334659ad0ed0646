"""Rows: arrays of one length and dtype, taken by number, one at a time or many at once."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, overload

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.reader.shard_files import Chunks

if TYPE_CHECKING:
    from audiochunk.storage.cache import Cache

Numbers = npt.NDArray[np.int64]


class Behind(Protocol):
    """What rows are made of: a dataset, or several."""

    @property
    def dataset_id(self) -> str: ...
    @property
    def encoding(self) -> Encoding: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...


class Rows(Sequence[Chunks]):
    """What a dataset and every view of it have in common.

    `rows[i]` is one row, `rows[a:b]` a lazy view, `rows[[3, 1]]` a new array. Subclasses say what their rows are made
    of, how long one is, and how many are had.
    """

    _noun = "row"
    _range: range
    _behind: Behind

    @property
    def dataset_id(self) -> str:
        """The identity of the dataset behind the rows; of several, a digest of theirs."""
        return self._behind.dataset_id

    @property
    def encoding(self) -> Encoding:
        """How samples became bytes; of several datasets, that of the first: others may differ in what codes do not."""
        return self._behind.encoding

    @property
    def vocab_size(self) -> int:
        """How many values an element of a row can take."""
        return self.encoding.vocab_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an element: uint8 or little-endian uint16."""
        return self._behind.dtype

    @property
    @abstractmethod
    def width(self) -> int:
        """Elements of a row."""

    @property
    @abstractmethod
    def _name(self) -> str:
        """Which rows these are, those outside the range included: text that differs where the rows differ."""

    @abstractmethod
    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        """Copy the rows of numbers that are known to be in range into `out`: (n, width), C-contiguous."""

    @property
    def selection(self) -> str:
        """Which rows of the dataset these are, as text: with `dataset_id` it tells any rows from any others."""
        return self._name + _slice_text(self._range)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, elements of a row)."""
        return len(self), self.width

    @property
    def shard_sizes(self) -> "list[int] | None":
        """How many of the rows, in their order, lie in one shard after the other; None where they do not so lie."""
        return None

    @property
    def is_endless(self) -> bool:
        """Whether rows go on beyond `len`, so that each epoch takes those after the last one's."""
        return False

    @property
    def is_fetched(self) -> bool:
        """Whether some of the rows lie in an object store, and are fetched when they are needed."""
        return False

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for the rows, by cache that they come into and by digest."""
        return {}

    def will_need(self, numbers: Numbers) -> None:
        """Say which rows come next, so that they can be fetched meanwhile."""

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[Chunks]:
        return map(self._row, self._range[: len(self)])

    def __repr__(self) -> str:
        rows = f"{len(self):,} {self._noun}s of {self.width:,} {self.dtype}"
        return f"{type(self).__name__}({self.selection}, {rows}, {self.dataset_id})"

    @overload
    def __getitem__(self, index: int) -> Chunks: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __getitem__(self, index: "npt.NDArray[Any] | list[int]") -> Chunks: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._sliced(index)
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            return self._row(self._at(int(index)))
        return self.gather(index)

    def __getitems__(self, indices: Sequence[int]) -> Chunks:
        """A batch, as `torch.utils.data.DataLoader` asks for it.

        Raises:
            IndexError: no such numbers; of batches of batches, what to do instead.
        """
        if np.ndim(indices) == 2:
            raise IndexError("a DataLoader takes a Sampler as batch_sampler=, or as sampler= with batch_size=None")
        return self.gather(indices)

    def _getitems(self, indices: Sequence[int]) -> list[Chunks]:
        """A batch, as `grain` asks for it: a list, since it asks whether there is anything in it."""
        return list(self.gather(indices))

    def gather(self, indices: "npt.ArrayLike", out: Chunks | None = None) -> Chunks:
        """Rows in the order of their numbers, as one array.

        Args:
            indices: 1-D integers, negative ones counted from the end, or booleans for every row.
            out: (n, elements of a row) of `dtype`, C-contiguous and writable, to be filled; else a new array is made.

        Returns:
            (n, elements of a row); `out` where it was given.

        Raises:
            IndexError: a number out of range, or no such numbers.
            ValueError: `out` does not fit.
        """
        numbers = self._numbers(indices)
        shape = len(numbers), self.width
        if out is None:
            out = np.empty(shape, self.dtype)
        elif not isinstance(out, np.ndarray):
            raise ValueError(f"out must be an array, {shape} of {self.dtype}; it is a {type(out).__name__}")
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.carray:
            raise ValueError(
                f"out must be C-contiguous and writable, {shape} of {self.dtype}; it is {out.shape} of {out.dtype}"
            )
        self._fill(numbers, out)
        return out

    def _row(self, number: int) -> Chunks:
        """The row of a number that is known to be in range."""
        out: Chunks = np.empty((1, self.width), self.dtype)
        self._fill(np.array([number], np.int64), out)
        row: Chunks = out[0]
        return row

    def _sliced(self, part: slice) -> Self:
        return self._view(self._range[part])

    def _view(self, numbers: range) -> Self:
        view = object.__new__(type(self))
        # Everything is shared but the range.
        view.__dict__.update(self.__dict__)
        view._range = numbers
        return view

    def _at(self, index: int) -> int:
        try:
            return self._range[index]
        except IndexError:
            raise IndexError(f"{self._noun} {index} of {len(self._range)}") from None

    def _numbers(self, indices: "npt.ArrayLike") -> Numbers:
        """Numbers of the rows that are meant."""
        given = np.asarray(indices)
        if given.dtype.kind == "b" and given.ndim == 1 and given.size:
            if given.size != len(self):
                raise IndexError(f"a mask of {given.size} for {len(self)} {self._noun}s")
            given = np.flatnonzero(given)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise IndexError(f"{self._noun}s are taken by 1-D integers, not {given.ndim}-D {given.dtype}")
        # A copy, even where it is one of the same type: what has been checked must not change any more.
        numbers = given.astype(np.int64)
        held = len(self._range)
        # Seen as unsigned, negative numbers are beyond all others: one pass tells whether there is anything to do.
        if np.maximum.reduce(numbers.view(np.uint64), initial=0) >= held:
            wrong = (numbers < -held) | (numbers >= held)
            if given.dtype.kind == "u":
                wrong |= numbers < 0  # 2**63 and more
            if wrong.any():
                raise IndexError(f"{self._noun} {given[wrong][0]} of {held}")
            numbers[numbers < 0] += held
        if self._range.step != 1:
            numbers *= self._range.step
        if self._range.start:
            numbers += self._range.start
        return numbers


def sizes_within(sizes: list[int], numbers: range) -> list[int] | None:
    """How many of these numbers lie in each of several stretches of so many; None where they do not follow each other.

    >>> sizes_within([4, 4, 4], range(3, 8))
    [1, 4]
    """
    if numbers.step != 1:
        return None
    inside = np.clip(np.cumsum(sizes), numbers.start, max(numbers.start, numbers.stop))
    return [size for size in np.diff(inside, prepend=numbers.start).tolist() if size]


def _slice_text(numbers: range) -> str:
    """A range as one writes it, without what need not be said.

    >>> _slice_text(range(2, 5)), _slice_text(range(9, -1, -3))
    ('[2:5]', '[9, 6, ..., 0]')
    """
    if numbers.step == 1 or len(numbers) < 2:
        return f"[{numbers.start}:{numbers.start + len(numbers)}]"
    return f"[{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}]"
