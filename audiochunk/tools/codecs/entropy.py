"""Entropies of codes: what no code that knows only how often codes, or pairs of them, occur comes below.

They are of the frequencies found in all the chunks together (the plug-in estimate), so in hindsight: a coder would have
to be told them first, or learn them on the way. Where there are few codes for so many values or pairs, they come out
too low: of a million codes of 24 bits none need occur twice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_PAIRS = 2**22  # distinct ones; 16 bytes each, and a few times that while they are merged
_DENSE = 2**16  # values up to which counting them all is quicker than sorting
_WAITING = 2**20  # distinct keys that are worth merging


class Counts:
    """How often integers occur; those that do not take no memory. Can be pickled."""

    def __init__(self) -> None:
        self._keys = self._counts = np.zeros(0, np.int64)
        self._waiting: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        self._n_waiting = 0

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """The integers: (n,) int64, rising."""
        self._merge()
        return self._keys

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How often each occurs: (n,) int64, positive."""
        self._merge()
        return self._counts

    def at_most(self) -> int:
        """No fewer than there are distinct ones, at no cost."""
        return len(self._keys) + self._n_waiting

    def add(self, values: npt.NDArray[np.int64], *, below: int) -> None:
        """Count values, any shape, 0 <= value < below."""
        if below <= _DENSE:
            found = np.bincount(values.reshape(-1), minlength=below)
            keys = np.flatnonzero(found)
            self._add(keys, found[keys])
        else:
            self._add(*np.unique(values, return_counts=True))

    def update(self, other: "Counts") -> None:
        """Count what another has counted."""
        self._add(other.keys, other.counts)

    def _add(self, keys: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        self._waiting.append((keys, counts))
        self._n_waiting += len(keys)
        # As many as there are: so that however many come, each is moved a few times only.
        if self._n_waiting > max(_WAITING, len(self._keys)):
            self._merge()

    def _merge(self) -> None:
        if not self._waiting:
            return
        keys, counts = (np.concatenate(some) for some in zip((self._keys, self._counts), *self._waiting, strict=True))
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        self._keys, self._counts = keys[starts], np.add.reduceat(counts, starts) if len(starts) else counts
        self._waiting, self._n_waiting = [], 0


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Entropy in bits of what occurs so often; 0 of nothing.

    >>> entropy(np.array([2, 1, 1]))
    1.5
    """
    shares = counts / max(1, counts.sum())
    return float(np.abs((shares * np.log2(shares)).sum()))


@dataclass(frozen=True, slots=True)
class Entropies:
    """Entropies in bits per code.

    Attributes:
        order_0: H(code).
        order_1: H(code | the one before it in its chunk); None where it could not be counted.
        n_codes: that were counted.
        n_pairs: codes with one before them in their chunk.
        distinct_codes: that there are, and
        distinct_pairs: of them.
        why_not: why there is no order_1.
    """

    order_0: float
    order_1: float | None
    n_codes: int
    n_pairs: int
    distinct_codes: int
    distinct_pairs: int
    why_not: str | None


class CodeCounts:
    """Counts codes, and pairs of codes within chunks. Can be pickled, and merged with those of other processes.

    Args:
        bits: of a code.
        max_pairs: how many distinct pairs there may be; with more of them pairs are given up.
    """

    def __init__(self, *, bits: int, max_pairs: int = MAX_PAIRS) -> None:
        self._bits, self._max_pairs = bits, max_pairs
        self._codes = Counts()
        self._pairs: Counts | None = Counts()

    def add(self, codes: npt.NDArray[np.unsignedinteger[Any]]) -> None:
        """Count the codes of some chunks: (chunks, codes), in their order in the chunk."""
        wide = codes.astype(np.int64)
        self._codes.add(wide, below=1 << self._bits)
        if self._pairs is not None:
            self._pairs.add((wide[:, :-1] << self._bits) | wide[:, 1:], below=1 << (2 * self._bits))
            self._limit()

    def update(self, other: "CodeCounts") -> None:
        """Count what another has counted, of the same bits."""
        self._codes.update(other._codes)
        if self._pairs is not None and other._pairs is not None:
            self._pairs.update(other._pairs)
            self._limit()
        else:
            self._pairs = None

    def entropies(self) -> Entropies:
        """Of all that was counted."""
        codes, order_0 = self._codes.counts, entropy(self._codes.counts)
        if self._pairs is None or len(self._pairs.keys) > self._max_pairs:
            why_not = f"more than {self._max_pairs:,} distinct pairs of codes"
            return Entropies(order_0, None, int(codes.sum()), 0, len(codes), 0, why_not)
        pairs, keys = self._pairs.counts, self._pairs.keys >> self._bits
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        before = np.add.reduceat(pairs, starts) if len(starts) else pairs
        # H(b | a) = H(a, b) - H(a), over the same pairs; rounding may leave a little less than nothing.
        order_1 = max(0.0, entropy(pairs) - entropy(before))
        return Entropies(order_0, order_1, int(codes.sum()), int(pairs.sum()), len(codes), len(pairs), None)

    def _limit(self) -> None:
        pairs = self._pairs
        # Seldom, because it takes a merge to know: what is a little too much is told in the end.
        if pairs is not None and pairs.at_most() > 2 * self._max_pairs and len(pairs.keys) > self._max_pairs:
            self._pairs = None
