"""Rows as batches of torch tensors: `loader`, and `collate` for a DataLoader.

Any `Rows` is a dataset for `torch.utils.data.DataLoader` as it is. A `Sampler` is its batch sampler, and with `collate`
a batch is one gather and one tensor:

    DataLoader(rows, batch_sampler=Sampler(rows, batch_size=256), collate_fn=collate, num_workers=2)

The same arguments make a `torchdata.stateful_dataloader.StatefulDataLoader`, whose `state_dict()` holds the sampler's.
It is the state to save where there are workers: they fetch ahead, so that the sampler itself is further on than what
was seen.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.reader.rows import Numbers, Rows
from audiochunk.reader.sampler import Sampler, State

try:
    import torch
except ImportError as error:
    raise ImportError(
        "audiochunk.integrations.torch needs PyTorch, which cannot be imported: pip install 'audiochunk[torch]'"
    ) from error

# Of every tensor dtype, the array dtype of the same numbers.
_ARRAYS: dict[torch.dtype, type[np.integer[Any]]] = {
    torch.uint8: np.uint8,
    torch.int16: np.int16,
    torch.uint16: np.uint16,
    torch.int32: np.int32,
    torch.int64: np.int64,
}


class Loader:
    """Batches of rows as tensors, in the order that a sampler says.

    One `iter()` is the rest of one epoch. Every batch is a tensor of its own, which is never written to again, and
    counts as consumed when it is handed out.

    Args:
        rows: a dataset or any view of one.
        sampler: of these rows. Its position is the loader's.
        dtype: of the tensors, wide enough for the rows; None means uint8 where rows are uint8, and int64 where they are
            uint16, with which torch can do little.
        pin_memory: whether tensors lie in page-locked memory, from where a GPU fetches them without waiting.

    Raises:
        ConfigError: a dtype that does not hold every number of the rows, or a sampler of other rows.
    """

    def __init__(
        self, rows: Rows, sampler: Sampler, *, dtype: torch.dtype | None = None, pin_memory: bool = False
    ) -> None:
        if not isinstance(rows, Rows) or not sampler.is_of(rows):
            raise ConfigError(f"the sampler is not of {rows!r}")
        self._rows, self._sampler = rows, sampler
        self._dtype = _tensor_dtype(rows.dtype, dtype)
        self._pinned = pin_memory and torch.cuda.is_available()
        if pin_memory and not self._pinned:
            # As a DataLoader does.
            warnings.warn("pin_memory=True: there is no GPU, so memory is not pinned", stacklevel=3)

    @property
    def epoch(self) -> int:
        """The epoch that `iter()` goes on with, from 0."""
        return self._sampler.epoch

    @property
    def position(self) -> int:
        """Rows of this epoch that all ranks together have consumed."""
        return self._sampler.position

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """The batches that are left of this epoch: (rows, elements of a row)."""
        # Where rows are gathered that have to be widened: one array for all batches of this iterator.
        scratch = np.empty((self._sampler.batch_size, self._rows.width), self._rows.dtype)
        batches = iter(self._sampler)
        while True:
            before = self._sampler.state_dict()
            numbers = next(batches, None)
            if numbers is None:
                return
            try:
                batch = self._gathered(numbers, scratch)
            except BaseException:
                # Not handed out, so not consumed: a state that is saved after Ctrl-C, say, has the batch before it.
                self._sampler.load_state_dict(before)
                raise
            yield batch

    def _gathered(self, numbers: Numbers, scratch: npt.NDArray[Any]) -> torch.Tensor:
        batch = torch.empty((len(numbers), self._rows.width), dtype=self._dtype, pin_memory=self._pinned)
        out: npt.NDArray[Any] = batch.numpy()
        if out.dtype == self._rows.dtype:
            self._rows.gather(numbers, out=out)
        else:
            np.copyto(out, self._rows.gather(numbers, out=scratch[: len(out)]))
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; if it is the one that is going on, stay where it is.

        Raises:
            ConfigError: below 0.
        """
        self._sampler.set_epoch(epoch)

    def state_dict(self) -> State:
        """All that is needed to go on from here, also with another number of ranks: JSON, a few hundred bytes."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Go on from where a state was taken.

        Raises:
            ConfigError: it is of another dataset, other rows, order or seed, or is none.
        """
        self._sampler.load_state_dict(state)


def loader(
    rows: Rows,
    batch_size: int,
    seed: int = 0,
    *,
    dtype: torch.dtype | None = None,
    pin_memory: bool = False,
    shuffle: bool | Literal["shard"] = True,
    drop_last: bool = True,
    rank: int | None = None,
    world_size: int | None = None,
    shard_window: int = 8,
) -> Loader:
    """Shuffled batches of rows as tensors, one gather each, that can be gone on with after a stop.

    Args:
        rows: a dataset or any view of one.
        batch_size: rows in a batch of one rank.
        seed: `0 <= seed < 2**64`.
        dtype: of the tensors: uint8, int16, uint16, int32 or int64, wide enough for the rows; None means uint8 where
            rows are uint8, and int64 where they are uint16. Numbers are widened by one more copy.
        pin_memory: whether tensors lie in page-locked memory. Without a GPU it warns and has no effect.
        shuffle: as of `Sampler`; so are drop_last and shard_window.
        drop_last: whether the rows at an epoch's end that do not fill a global batch are left out.
        rank: which of the ranks this is. None, with world_size=None, means those of `torch.distributed` where its
            process group has been initialised by now, else 0 of 1.
        world_size: how many ranks there are.
        shard_window: how many shards are read from at a time, with shuffle="shard".

    Returns:
        (batch_size, elements of a row) tensors, an epoch at a time.

    Raises:
        ConfigError: an argument out of range, an epoch without a batch, a dtype that does not hold the rows' numbers,
            or only one of rank and world_size.
    """
    if (rank is None) != (world_size is None):
        raise ConfigError(f"rank={rank} and world_size={world_size}: give both, or neither")
    if rank is None or world_size is None:
        rank, world_size = _own_rank()
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
    return Loader(rows, sampler, dtype=dtype, pin_memory=pin_memory)


def collate(
    batch: "npt.NDArray[Any] | Sequence[npt.NDArray[Any]]", *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """One tensor of what a DataLoader has fetched: its `collate_fn`.

    Args:
        batch: rows as `gather` gives them, which are not copied; a list of rows; or one row.
        dtype: as of `loader`; `functools.partial(collate, dtype=torch.int64)` is a `collate_fn` too.

    Returns:
        (n, elements of a row), or (elements,) of one row.

    Raises:
        ConfigError: a dtype that does not hold every number of the rows.

    >>> collate([np.array([1, 2], np.uint8), np.array([3, 4], np.uint8)])
    tensor([[1, 2],
            [3, 4]], dtype=torch.uint8)
    """
    array = batch if isinstance(batch, np.ndarray) else np.stack(batch)
    wanted = _ARRAYS[_tensor_dtype(array.dtype, dtype)]
    # Tensors know no memory that must not be written to, such as that of a mapped shard.
    return torch.from_numpy(array.astype(wanted, copy=not array.flags.writeable))


def _tensor_dtype(rows: np.dtype[Any], dtype: torch.dtype | None) -> torch.dtype:
    """The dtype of tensors that is meant for rows of a dtype."""
    if dtype is None:
        return torch.uint8 if rows == np.uint8 else torch.int64
    if dtype not in _ARRAYS or not np.can_cast(rows, _ARRAYS[dtype]):
        fitting = [str(known) for known, array in _ARRAYS.items() if np.can_cast(rows, array)]
        raise ConfigError(f"rows of {rows} do not fit into {dtype}; take one of {', '.join(fitting)}")
    return dtype


def _own_rank() -> tuple[int, int]:
    """Which of the ranks this process is, and how many there are."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
