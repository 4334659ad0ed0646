"""Orders of the rows of a dataset: which row comes at which position of which epoch."""

from typing import Protocol

import numpy as np

from audiochunk.reader.keyed import EPOCH, SHARDS, WITHIN, derive
from audiochunk.reader.permutation import permutation
from audiochunk.reader.rows import Numbers


class Order(Protocol):
    """One order of all rows for each epoch."""

    @property
    def name(self) -> str:
        """What a saved position in this order is worth nothing without."""

    def take(self, epoch: int, positions: Numbers) -> Numbers:
        """The rows at these positions of the epoch: (n,) int64 both."""


class InOrder:
    """The order that the rows have.

    Args:
        per_epoch: rows from the beginning of one epoch to that of the next: 0 where every epoch has the same rows.
    """

    name = "in order"

    def __init__(self, per_epoch: int = 0) -> None:
        self._per_epoch = per_epoch

    def take(self, epoch: int, positions: Numbers) -> Numbers:
        """The positions themselves, or those of the epoch among all."""
        return positions + epoch * self._per_epoch


class GlobalOrder:
    """A uniform permutation of all rows for each epoch."""

    name = "shuffled"

    def __init__(self, n: int, seed: int) -> None:
        self._n, self._seed = n, seed

    def take(self, epoch: int, positions: Numbers) -> Numbers:
        """The rows at these positions."""
        return permutation(self._n, derive(self._seed, EPOCH, epoch))(positions)


class ShardOrder:
    """Shards in a random order; of every few that follow each other in it, the rows in a random order.

    Args:
        sizes: rows in each shard; those of the first come first.
        seed: of all orders.
        window: shards whose rows are mixed with each other.
    """

    def __init__(self, sizes: list[int], seed: int, *, window: int) -> None:
        self._sizes = np.array(sizes, np.int64)
        self._firsts = np.cumsum(self._sizes) - self._sizes
        self._seed, self.window = seed, window
        self.name = f"shuffled within {window} shards"
        # Of the last two epochs: who reads ahead has batches of both.
        self._arranged: dict[int, tuple[Numbers, Numbers]] = {}

    def _arrange(self, epoch: int) -> tuple[Numbers, Numbers]:
        """The shards of an epoch in their order, and the position at which each begins, with the end of the last."""
        found = self._arranged.get(epoch)
        if found is None:
            shards = permutation(len(self._sizes), derive(self._seed, SHARDS, epoch))(np.arange(len(self._sizes)))
            found = shards, np.concatenate([np.zeros(1, np.int64), np.cumsum(self._sizes[shards])])
            # A new dict, so that threads do not see one that changes.
            self._arranged = {**dict(list(self._arranged.items())[-1:]), epoch: found}
        return found

    def take(self, epoch: int, positions: Numbers) -> Numbers:
        """The rows at these positions."""
        shards, starts = self._arrange(epoch)
        window = (np.searchsorted(starts, positions, side="right") - 1) // self.window
        found = np.empty_like(positions)
        for number in np.unique(window).tolist():
            places = np.flatnonzero(window == number)
            first, stop = number * self.window, min((number + 1) * self.window, len(shards))
            begin = starts[first]
            size = int(starts[stop] - begin)
            key = derive(self._seed, WITHIN, epoch, number)
            at = begin + permutation(size, key)(positions[places] - begin)
            place = np.searchsorted(starts, at, side="right") - 1
            found[places] = self._firsts[shards[place]] + at - starts[place]
        return found

    def upcoming(self, epoch: int, position: int) -> Numbers:
        """The first rows of the shards that are read from at a position, then of those after them."""
        shards, starts = self._arrange(epoch)
        window = (int(np.searchsorted(starts, position, side="right")) - 1) // self.window
        found = shards[window * self.window : (window + 2) * self.window]
        if (window + 1) * self.window >= len(shards):
            following, _ = self._arrange(epoch + 1)
            found = np.concatenate([found, following[: self.window]])
        return self._firsts[found]
