"""Rows as batches in a grain pipeline.

Any `Rows` is a `grain.sources.RandomAccessDataSource` as it is: `grain.MapDataset.source(rows)`. Grain takes the rows
of a batch one by one, and copies them together; `batches` has each batch gathered at once, in the order of `Sampler`.
"""

from typing import Any, Literal

from audiochunk.reader.rows import Rows
from audiochunk.reader.sampler import Sampler
from audiochunk.reader.shard_files import Chunks

try:
    import grain
except ImportError as error:
    raise ImportError(
        "audiochunk.integrations.grain needs Grain, which cannot be imported: pip install 'audiochunk[grain]'"
    ) from error


def batches(
    rows: Rows,
    batch_size: int,
    seed: int = 0,
    *,
    shuffle: bool | Literal["shard"] = True,
    drop_last: bool = True,
    rank: int = 0,
    world_size: int = 1,
    shard_window: int = 8,
) -> "grain.MapDataset[Chunks]":
    """A grain dataset whose elements are the batches of one epoch: (batch_size, elements of a row), each a new array.

    It is at the place of `MapDataset.source(rows).shuffle().batch(batch_size)`: `repeat()` gives every epoch an order
    of its own, and the iterator of `to_iter_dataset()` saves and restores where it is. Elements being whole batches, a
    few of them are enough to read ahead: `to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8))`.

    Args:
        rows: a dataset or any view of one.
        batch_size: rows in a batch of one rank.
        seed: `0 <= seed < 2**64`.
        shuffle: as of `Sampler`; so are drop_last and shard_window.
        drop_last: whether the rows at an epoch's end that do not fill a global batch are left out.
        rank: which of the ranks this is, from 0: `jax.process_index()`.
        world_size: how many ranks there are: `jax.process_count()`.
        shard_window: how many shards are read from at a time, with shuffle="shard".

    Raises:
        ConfigError: an argument out of range, or an epoch without a batch.
    """
    sampler = Sampler(
        rows,
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        shuffle=shuffle,
        drop_last=drop_last,
        shard_window=shard_window,
    )
    return grain.MapDataset.range(len(sampler)).map_with_index(_Gather(rows, sampler))


class _Gather:
    """What makes a batch of its number."""

    def __init__(self, rows: Rows, sampler: Sampler) -> None:
        self._rows, self._sampler = rows, sampler

    def __call__(self, number: int, _: Any) -> Chunks:
        # Beyond the range, numbers are those of the next epochs.
        return self._rows.gather(self._sampler.batch(number))
