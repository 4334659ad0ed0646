"""Which chunks make which batch: seeded orders, for any number of ranks, that can be gone on with."""

import os
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import xxhash

from audiochunk.errors import ConfigError
from audiochunk.reader.arguments import MOST_ROWS, seed_of, whole
from audiochunk.reader.lookahead import Lookahead, warn_of_small_caches
from audiochunk.reader.orders import GlobalOrder, InOrder, Order, ShardOrder
from audiochunk.reader.rows import Numbers, Rows

_VERSION = 1
# Numbers that are found at once: enough for the cost of a call to be shared by many, few enough for a cache.
_AT_ONCE = 32_768
_LONGEST_TEXT = 200  # of what says which rows there are, in a state

State = dict[str, Any]


class Sampler:
    """Batches of row numbers: each epoch another uniform order of all rows, the same on every machine.

    One `iter()` is the rest of one epoch; all that are alive share one position. A batch counts as consumed when it is
    yielded; after the last one, the next `iter()` begins the next epoch. In memory there are a few batches, however
    many rows there are.

    The order is that of all ranks together: a global batch is the next `batch_size * world_size` numbers, and rank r
    has the r-th part of it. So with a global batch of one size, the sequence of global batches is the same for any
    number of ranks, and a state that was saved with one number of ranks can be gone on with at another.

    Args:
        rows: a dataset or any view of one, or how many rows there are, at most 2**62.
        batch_size: rows in a batch of one rank.
        seed: `0 <= seed < 2**64`.
        rank: which of the ranks this is, from 0.
        world_size: how many ranks there are.
        shuffle: True for a uniform order of all rows; False for theirs; "shard" for one that reads from few shards at a
            time: the shards come in a random order, `shard_window` of them at once, and the rows of these at random.
            Mixes and crops are drawn at random already, and are taken as they come: each epoch goes on behind the last.
        drop_last: whether the rows at an epoch's end that do not fill a global batch are left out. Else they are shared
            out among the ranks as evenly as can be, so that each has as many batches as the others; with fewer rows
            than ranks, some have an empty batch. Of mixes and crops, an epoch ends with the first whole batch behind
            its last row, and the next has as many rows less.
        shard_window: how many shards are read from at a time, with shuffle="shard".

    Raises:
        ConfigError: an argument out of range, or an epoch without a batch.
    """

    def __init__(
        self,
        rows: "Rows | int",
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool | Literal["shard"] = True,
        drop_last: bool = True,
        shard_window: int = 8,
    ) -> None:
        self.batch_size = whole(batch_size, 1, "batch_size")
        self.world_size = whole(world_size, 1, "world_size")
        self.rank = whole(rank, 0, f"with world_size={world_size}, rank", most=self.world_size - 1)
        self.seed = seed_of(seed)
        if not isinstance(drop_last, bool):
            raise ConfigError(f"drop_last must be True or False, not {drop_last!r}")
        self.drop_last = drop_last
        if isinstance(rows, (str, os.PathLike)):
            raise ConfigError(f"{rows!r} is a path; open it first: audiochunk.open({os.fspath(rows)!r})")
        self._n = len(rows) if isinstance(rows, Rows) else whole(rows, 0, "the number of rows")
        self._endless = isinstance(rows, Rows) and rows.is_endless
        self._dataset_id = rows.dataset_id if isinstance(rows, Rows) else None
        self._order = self._order_of(rows, shuffle, shard_window)
        self._lookahead = None
        if isinstance(rows, Rows) and rows.is_fetched:
            self._lookahead = Lookahead(rows, self._order)
            warn_of_small_caches(rows, self._order, stacklevel=2)
        self._selection = _short(rows.selection if isinstance(rows, Rows) else f"[0:{self._n}]")
        self._epoch, self._position = 0, 0
        if (drop_last or self._endless) and self._n < self._global_batch:
            if not self._n:
                raise ConfigError(f"there are no rows in {self._selection}")
            advice = "a larger n for what is drawn" if self._endless else "drop_last=False"
            raise ConfigError(
                f"{self._n} rows do not fill a batch of {self._global_batch}; take a smaller one, or {advice}"
            )

    def _order_of(self, rows: "Rows | int", shuffle: bool | Literal["shard"], shard_window: int) -> Order:
        if not isinstance(shuffle, (bool, str)) or shuffle not in (True, False, "shard"):
            raise ConfigError(f'shuffle must be True, False or "shard", not {shuffle!r}')
        if shuffle == "shard":
            sizes = rows.shard_sizes if isinstance(rows, Rows) else None
            if sizes is None:
                raise ConfigError(f'shuffle="shard" takes a dataset, or chunks of one in their order, not {rows!r}')
            return ShardOrder(sizes, self.seed, window=whole(shard_window, 1, "shard_window"))
        if self._endless:
            return InOrder(self._n)
        return GlobalOrder(self._n, self.seed) if shuffle else InOrder()

    def __repr__(self) -> str:
        ranks = f"rank {self.rank} of {self.world_size}"
        where = f"epoch {self._epoch}, position {self._position}"
        return f"Sampler({self._selection} {self._order.name}, batches of {self.batch_size}, {ranks}, {where})"

    @property
    def epoch(self) -> int:
        """The epoch that `iter()` goes on with, from 0."""
        return self._epoch

    @property
    def position(self) -> int:
        """Rows of this epoch that all ranks together have consumed."""
        return self._position

    @property
    def _global_batch(self) -> int:
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        """Batches of a whole epoch; of mixes and crops, one more than some epochs have."""
        return self._batches(self._n)

    def __iter__(self) -> Iterator[Numbers]:
        """The batches that are left of this epoch: 1-D int64, `batch_size` long but for what `drop_last=False` adds."""
        epoch = self._epoch
        ahead: deque[Numbers] = deque()
        expected = -1
        while self._epoch == epoch and self._batches(self._n - self._position):
            if not ahead or self._position != expected:
                ahead = self._ahead()
            if self._lookahead is not None:
                self._lookahead.tell(epoch, self._position)
            after = self._position + self._global_batch
            self._position = expected = after if self._endless else min(after, self._n)
            yield ahead.popleft()
        if self._epoch == epoch:
            beyond = max(0, self._position - self._n)
            self.set_epoch(epoch + 1)
            self._position = beyond

    def batch(self, number: int) -> Numbers:
        """One batch of this rank, numbered from 0 on through all epochs; changes nothing, and threads may share it.

        Raises:
            IndexError: below 0, or an epoch has no batches.
        """
        if number < 0 or not len(self):
            raise IndexError(f"batch {number}")
        epoch, place = (0, number) if self._endless else divmod(number, len(self))
        first = place * self._global_batch
        if self._endless:
            return self._order.take(0, first + self._share(self._global_batch))
        return self._order.take(epoch, first + self._share(min(self._global_batch, self._n - first)))

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; if it is the one that is going on, stay where it is.

        Raises:
            ConfigError: below 0, or too large.
        """
        if epoch != self._epoch:
            self._epoch, self._position = self._epoch_of(epoch), 0

    def is_of(self, rows: Rows) -> bool:
        """Whether these are the rows that the numbers in the batches are of."""
        return (rows.dataset_id, _short(rows.selection)) == (self._dataset_id, self._selection)

    def state_dict(self) -> State:
        """All that is needed to go on from here, also at another `world_size`: JSON, a few hundred bytes.

        Returns:
            version, dataset_id (None where only a number of rows was given), order (which rows, a digest of it where
            that is long, and how they are shuffled), seed, epoch, and position: rows of the epoch that all ranks
            together have consumed.
        """
        return {**self._identity(), "epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: State) -> None:
        """Go on from where a state was taken.

        Raises:
            ConfigError: it is of another dataset, other rows, order or seed, or is none.
        """
        identity = self._identity()
        keys = {*identity, "epoch", "position"}
        if not isinstance(state, dict) or state.keys() != keys:
            raise ConfigError(f"the state of a sampler is a dict of {', '.join(sorted(keys))}; this is {state!r:.200}")
        for key, expected in identity.items():
            if state[key] != expected:
                raise ConfigError(f"the state is of another {key}: {state[key]!r}; this sampler's is {expected!r}")
        position = whole(state["position"], 0, "position", most=MOST_ROWS // 2 if self._endless else self._n)
        self._epoch, self._position = self._epoch_of(state["epoch"]), position

    def _identity(self) -> State:
        order = f"{self._selection} {self._order.name}"
        return {"version": _VERSION, "dataset_id": self._dataset_id, "order": order, "seed": self.seed}

    def _epoch_of(self, value: int) -> int:
        most = 2**32 - 1
        return whole(value, 0, "epoch", most=min(most, MOST_ROWS // 2 // self._n) if self._endless else most)

    def _batches(self, rows: int) -> int:
        if self.drop_last and not self._endless:
            return rows // self._global_batch
        return max(0, -(-rows // self._global_batch))

    def _share(self, rows: int) -> Numbers:
        """What this rank has of the numbers below `rows`."""
        begin, end = (rows * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return np.arange(begin, end, dtype=np.int64)

    def _ahead(self) -> "deque[Numbers]":
        """Some of the next batches of this rank."""
        left = self._n - self._position
        whole_batches = self._batches(left) if self._endless else left // self._global_batch
        if not whole_batches:
            own = self._share(left)
            return deque([self._order.take(self._epoch, self._position + own)])
        count = min(whole_batches, max(1, _AT_ONCE // self.batch_size))
        first = self._position + self.rank * self.batch_size
        starts = first + np.arange(count, dtype=np.int64) * self._global_batch
        positions = starts[:, None] + np.arange(self.batch_size, dtype=np.int64)
        return deque(self._order.take(self._epoch, positions.reshape(-1)).reshape(positions.shape))


def _short(text: str) -> str:
    """The text, or a digest (xxh3-128) of a long one."""
    return text if len(text) <= _LONGEST_TEXT else xxhash.xxh3_128_hexdigest(text.encode())
