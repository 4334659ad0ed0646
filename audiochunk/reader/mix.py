"""Several datasets drawn from by weight, as one that has no end."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.reader.arguments import MOST_ROWS, seed_of, whole
from audiochunk.reader.concat import Sources
from audiochunk.reader.keyed import MIX, below, derive, words
from audiochunk.reader.permutation import permutation
from audiochunk.reader.rows import Numbers, Rows
from audiochunk.reader.shard_files import Chunks

# Draws after which all shares are exact, at most.
_LONGEST_PERIOD = 2**16

Weight = float | Fraction


class Mix(Rows):
    """Rows of several datasets, drawn by weight.

    Draws come in periods. In each, every dataset has exactly its share of the draws, spread evenly; where in that order
    a period begins follows from the seed. The draws of one dataset go through it in epochs of its own, each in another
    order, so that every row of it comes once before any comes again.

    The mix has no end: `mix[i]` is draw i, and `len(mix)` is only how many a sampler takes for an epoch; the next epoch
    goes on with the draws after those.

    Args:
        sources: (dataset or view of one, weight above 0); their rows have one length and dtype.
        seed: `0 <= seed < 2**64`.
        n: draws in an epoch; None means as many as the datasets have rows.

    Attributes:
        shares: of each dataset, with sum 1: its weight's part of all weights, exactly where these have a common
            denominator up to 2**16 (as 0.7 and 0.3 have 10), else that rounded to 2**-16.

    Raises:
        ConfigError: no datasets, rows that differ, an empty dataset, a weight that is not above 0 or too small beside
            the others.
    """

    _noun = "draw"

    def __init__(self, sources: Sequence[tuple[Rows, Weight]], seed: int = 0, *, n: int | None = None) -> None:
        self._sources = Sources([rows for rows, _ in sources])
        self._seed = seed_of(seed)
        self._sizes = [len(rows) for rows in self._sources.rows]
        if 0 in self._sizes:
            raise ConfigError(f"{self._sources.rows[self._sizes.index(0)]!r} is empty: nothing can be drawn from it")
        tickets = _tickets([weight for _, weight in sources])
        self.shares = tuple(Fraction(count, sum(tickets)) for count in tickets)
        self._tickets = np.array(tickets, np.int64)
        self._n = sum(self._sizes) if n is None else whole(n, 0, "n")
        self._range = range(MOST_ROWS)
        # Of every slot of a period: whose it is, and how many of the same dataset's come before it. The k-th of t slots
        # belongs at (k + 1/2) / t of the period. Equal quotients are equal as floats, and others are not: the
        # denominators are small.
        owners = np.repeat(np.arange(len(tickets)), self._tickets)
        turns = np.concatenate([np.arange(count) for count in tickets])
        order = np.lexsort((owners, (2 * turns + 1) / (2 * self._tickets[owners])))
        self._owners, self._turns = owners[order], turns[order]

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
    def is_endless(self) -> bool:
        """True, but for a slice."""
        return self._range == range(MOST_ROWS)

    @property
    def _name(self) -> str:
        parts = (f"{rows.selection} × {share}" for rows, share in zip(self._sources.rows, self.shares, strict=True))
        return f"mix({' + '.join(parts)}, {self._seed})"

    @property
    def selection(self) -> str:
        """Which draws of which datasets these are, as text."""
        return self._name if self.is_endless else super().selection

    def __len__(self) -> int:
        return self._n if self.is_endless else len(self._range)

    def draws(self, positions: "npt.ArrayLike") -> tuple[npt.NDArray[np.intp], Numbers]:
        """Which dataset each draw is from, by its number among the sources, and the number of the row in it.

        Raises:
            IndexError: a position below 0, or beyond 2**62.
        """
        return self._drawn(self._numbers(positions))

    def _drawn(self, numbers: Numbers) -> tuple[npt.NDArray[np.intp], Numbers]:
        length = len(self._owners)
        period, place = np.divmod(numbers, length)
        begin = below(words(derive(self._seed, MIX), period), length)
        slot = (place + begin) % length
        owner = self._owners[slot]
        found = period * self._tickets[owner] + self._turns[slot]
        for source in np.unique(owner).tolist():
            places = np.flatnonzero(owner == source)
            size = self._sizes[source]
            epoch, at = np.divmod(found[places], size)
            for number in np.unique(epoch).tolist():
                of_epoch = np.flatnonzero(epoch == number)
                order = permutation(size, derive(self._seed, MIX, source, number))
                found[places[of_epoch]] = order(at[of_epoch])
        return owner, found

    def _row(self, number: int) -> Chunks:
        return self._filled_row(number)

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        self._sources.fill(*self._drawn(numbers), out)

    def _at(self, index: int) -> int:
        if index < 0:
            raise IndexError(f"draw {index}: a mix has no end to count from")
        return super()._at(index)

    def _numbers(self, indices: "npt.ArrayLike") -> Numbers:
        given = np.asarray(indices)
        if given.dtype.kind == "b" or (given.size and given.min() < 0):
            raise IndexError("draws are taken by integers from 0 on: a mix has no end to count from")
        return super()._numbers(given)


def _tickets(weights: Sequence[Weight]) -> list[int]:
    """Draws of each source in one period.

    >>> _tickets([0.7, 0.3]), _tickets([1, 1, 2])
    ([7, 3], [1, 1, 2])
    """
    exact = [_exact(weight) for weight in weights]
    total = sum(exact, Fraction())
    shares = [weight / total for weight in exact]
    period = math.lcm(*(share.denominator for share in shares))
    if period <= _LONGEST_PERIOD:
        return [int(share * period) for share in shares]
    counts = [int(share * _LONGEST_PERIOD) for share in shares]
    # What is missing goes to those who lost most by rounding down, the first of equals first.
    lost = sorted(range(len(shares)), key=lambda i: counts[i] - shares[i] * _LONGEST_PERIOD)
    for source in lost[: _LONGEST_PERIOD - sum(counts)]:
        counts[source] += 1
    if 0 in counts:
        raise ConfigError(f"weight {weights[counts.index(0)]!r} is too small: its share is below 2**-17")
    return counts


def _exact(weight: Weight) -> Fraction:
    """A weight as it is written: 0.7 means seven tenths, which no float is."""
    try:
        fraction = Fraction(repr(float(weight)) if isinstance(weight, float) else weight)
    except (ValueError, TypeError):  # infinity, not a number; nothing like a number
        fraction = Fraction()
    if fraction <= 0:
        raise ConfigError(f"a weight must be a number above 0, not {weight!r}")
    return fraction
