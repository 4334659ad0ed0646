"""Several datasets drawn from by weight, as one that has no end."""

import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Rational
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.reader.arguments import seed_of, whole
from audiochunk.reader.endless import EndlessRows
from audiochunk.reader.keyed import MIX, PERIOD, below, derive, words
from audiochunk.reader.permutation import Permutation
from audiochunk.reader.rows import Numbers, Rows
from audiochunk.reader.shard_files import Chunks
from audiochunk.reader.sources import Sources

if TYPE_CHECKING:
    from audiochunk.storage.cache import Cache

# Draws after which all shares are exact, at most.
_LONGEST_PERIOD = 2**16
_ORDERS_KEPT = 128

Weight = float | Fraction


class Mix(EndlessRows):
    """Rows of several datasets, drawn by weight: `mix[i]` is draw i.

    Draws come in periods. In each, every dataset has exactly its share of the draws, spread evenly; where in that
    pattern a period begins follows from the seed. The draws of one dataset go through it in epochs of its own, each in
    another order, so that every row of it comes once before any comes again.

    Args:
        sources: (dataset or view of one, weight above 0); their rows have one length and dtype. One that has no end is
            gone through in its own order.
        seed: `0 <= seed < 2**64`.
        n: draws that a sampler takes for an epoch; None means as many as the datasets have rows.

    Attributes:
        shares: of each dataset, with sum 1: its weight's part of all weights, exactly where these have a common
            denominator up to 2**16 (as 0.7 and 0.3 have 10), else that rounded to 2**-16.

    Raises:
        ConfigError: no datasets, rows that differ, an empty dataset, a weight that is not above 0 or too small beside
            the others.
    """

    _noun = "draw"

    def __init__(self, sources: Sequence[tuple[Rows, Weight]], seed: int = 0, *, n: int | None = None) -> None:
        sources = list(sources)
        for source in sources:
            if not isinstance(source, tuple) or len(source) != 2:
                raise ConfigError(f"a mix is made of (dataset, weight), not of {source!r}")
        self._behind = self._sources = Sources([rows for rows, _ in sources])
        self._seed = seed_of(seed)
        self._sizes = [len(rows) for rows in self._sources.rows]
        if 0 in self._sizes:
            raise ConfigError(f"{self._sources.rows[self._sizes.index(0)]!r} is empty: nothing can be drawn from it")
        self._tickets = _tickets([weight for _, weight in sources])
        self.shares = tuple(Fraction(count, sum(self._tickets)) for count in self._tickets)
        self._n = sum(self._sizes) if n is None else whole(n, 0, "n")
        # Whose every slot of the pattern is, and the slots of each dataset. The k-th of t slots belongs at
        # (k + 1/2) / t of the pattern. Equal quotients are equal as floats, and others are not: the denominators are
        # small.
        owners = np.repeat(np.arange(len(self._tickets)), self._tickets)
        turns = np.concatenate([np.arange(count) for count in self._tickets])
        places = (2 * turns + 1) / (2 * np.array(self._tickets)[owners])
        self._owners = owners[np.lexsort((owners, places))]
        self._slots = [np.flatnonzero(self._owners == source) for source in range(len(self._tickets))]
        # By dataset and epoch. Each may have a table of half a megabyte.
        self._orders: dict[tuple[int, int], Permutation] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_orders": {}}

    @property
    def width(self) -> int:
        """Elements of a row."""
        return self._sources.width

    @property
    def _name(self) -> str:
        parts = (f"{rows.selection} × {share}" for rows, share in zip(self._sources.rows, self.shares, strict=True))
        return f"mix({' + '.join(parts)}, {self._seed})"

    @property
    def is_fetched(self) -> bool:
        """Whether some of the rows lie in an object store, and are fetched when they are needed."""
        return self._sources.is_fetched

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for the rows, by cache that they come into and by digest."""
        return self._sources.fetched_bytes()

    def draws(self, positions: "npt.ArrayLike") -> tuple[npt.NDArray[np.intp], Numbers]:
        """Where each draw is from.

        Args:
            positions: 1-D integers, (n,).

        Returns:
            The number of its dataset among the sources, (n,) intp, and of the row in it, (n,) int64.

        Raises:
            IndexError: a position below 0, or not below 2**62.
        """
        return self._drawn(self._numbers(positions))

    def _drawn(self, numbers: Numbers) -> tuple[npt.NDArray[np.intp], Numbers]:
        length = len(self._owners)
        period, place = np.divmod(numbers, length)
        begin = below(words(derive(self._seed, PERIOD), period), length)
        slot = (begin + place) % length
        owner = self._owners[slot]
        found = np.empty_like(numbers)
        for source in np.unique(owner).tolist():
            places = np.flatnonzero(owner == source)
            slots, turns = self._slots[source], self._tickets[source]
            # Its slots from the one where the period begins on, and then round to that one.
            turn = (np.searchsorted(slots, slot[places]) - np.searchsorted(slots, begin[places])) % turns
            found[places] = self._row_of(source, period[places] * turns + turn)
        return owner, found

    def _row_of(self, source: int, draws: Numbers) -> Numbers:
        """The rows that are the draws, counted from 0, of one dataset."""
        if self._sources.rows[source].is_endless:
            return draws
        epochs, at = np.divmod(draws, self._sizes[source])
        rows = np.empty_like(draws)
        for epoch in np.unique(epochs).tolist():
            of_epoch = np.flatnonzero(epochs == epoch)
            rows[of_epoch] = self._order(source, epoch)(at[of_epoch])
        return rows

    def _order(self, source: int, epoch: int) -> Permutation:
        found = self._orders.get((source, epoch))
        if found is None:
            found = Permutation(self._sizes[source], derive(self._seed, MIX, source, epoch))
            kept = list(self._orders.items())[-max(_ORDERS_KEPT, 2 * len(self._sizes)) :]
            # A new dict, so that threads do not see one that changes.
            self._orders = {**dict(kept), (source, epoch): found}
        return found

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        self._sources.fill(*self._drawn(numbers), out)


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
    # What is missing goes to those who lost most by rounding down, of equals to the first.
    lost = sorted(range(len(shares)), key=lambda i: counts[i] - shares[i] * _LONGEST_PERIOD)
    for source in lost[: _LONGEST_PERIOD - sum(counts)]:
        counts[source] += 1
    if 0 in counts:
        raise ConfigError(
            f"weight {weights[counts.index(0)]!r} is too small beside the others: its share is below 2**-16"
        )
    return counts


def _exact(weight: Any) -> Fraction:
    """A weight as it is written: 0.7 means seven tenths, which no float is."""
    exact = Fraction()
    if isinstance(weight, (float, np.floating)):
        # str writes numbers as short as their precision allows.
        exact = Fraction(str(weight)) if math.isfinite(weight) else exact
    elif not isinstance(weight, bool) and isinstance(weight, (Rational, np.integer)):
        exact = Fraction(int(weight)) if isinstance(weight, np.integer) else Fraction(weight)
    if exact <= 0:
        raise ConfigError(f"a weight must be a number above 0, not {weight!r}")
    return exact
