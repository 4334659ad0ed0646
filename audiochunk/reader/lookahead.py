"""What a sampler will want next, told to rows that have to be fetched, and how much a cache must hold for that."""

import warnings
from heapq import nlargest

import numpy as np

from audiochunk.reader.orders import InOrder, Order, ShardOrder
from audiochunk.reader.rows import Rows

_AHEAD = 4  # shards
_WINDOWS = 2  # of shards, that are read from and that come next


class Lookahead:
    """Tells rows which shards a sampler is at and which it will need next.

    An order that has no shards to go by, of all rows at random, is told nothing of.

    Args:
        rows: that are sampled.
        order: in which.
    """

    def __init__(self, rows: Rows, order: Order) -> None:
        self._rows, self._order = rows, order
        sizes = rows.shard_sizes if isinstance(order, InOrder) and not rows.is_endless else None
        self._firsts = None if sizes is None else np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    def tell(self, epoch: int, position: int) -> None:
        """Say what comes from this position of the epoch on."""
        if isinstance(self._order, ShardOrder):
            self._rows.will_need(self._order.upcoming(epoch, position))
        elif self._firsts is not None and len(self._rows):
            shard = int(np.searchsorted(self._firsts, position, side="right")) - 1
            self._rows.will_need(self._firsts[shard : shard + 1 + _AHEAD])


def warn_of_small_caches(rows: Rows, order: Order, *, stacklevel: int) -> None:
    """Warn where rows in this order are read from more shards at a time than a cache holds."""
    if isinstance(order, InOrder) and not rows.is_endless:
        return  # each shard once
    for cache, shards in rows.fetched_bytes().items():
        if isinstance(order, ShardOrder):
            needed = sum(nlargest(_WINDOWS * order.window, shards.values()))
            what, advice = f"two windows of {order.window} shards", ", or take a smaller shard_window"
        else:
            needed, what = sum(shards.values()), "the shards that rows at random are read from"
            advice = "" if rows.shard_sizes is None else ', or take shuffle="shard"'
        if needed > cache.limit:
            warnings.warn(
                f"{rows.selection}: the cache in {cache.folder} holds {cache.limit:,} bytes, {what} have {needed:,}:"
                f" they will be fetched again and again; give cache_bytes={needed} (AUDIOCHUNK_CACHE_BYTES){advice}",
                stacklevel=stacklevel + 1,
            )
