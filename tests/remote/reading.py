"""What tests of datasets in a store look at."""

import threading
from collections.abc import Callable

import numpy as np

from audiochunk.reader.dataset import ChunkDataset
from tests.waiting import wait_until


def until(holds: Callable[[], object]) -> None:
    """Wait for something to hold."""
    wait_until(holds, "what is fetched ahead")


def nothing_ahead() -> bool:
    """Whether no thread is fetching ahead."""
    return not [thread for thread in threading.enumerate() if thread.name == "audiochunk-ahead"]


def total_of(ds: ChunkDataset) -> int:
    """The sum of all elements of all chunks."""
    return int(ds.gather(np.arange(len(ds))).sum(dtype=np.int64))


def assert_same(ds: ChunkDataset, local: ChunkDataset) -> None:
    """Compare all that a dataset gives."""
    assert (ds.shape, ds.dtype, ds.dataset_id) == (local.shape, local.dtype, local.dataset_id)
    everything = np.stack(list(local))
    numbers = np.random.default_rng(1).permutation(len(local))
    np.testing.assert_array_equal(ds.gather(numbers), everything[numbers])
    np.testing.assert_array_equal(np.stack(list(ds)), everything)
    np.testing.assert_array_equal(np.stack(list(ds[3:-3])), everything[3:-3])
    np.testing.assert_array_equal(ds[-1], everything[-1])
    assert ds.recordings == local.recordings
    assert ds.locate(5) == local.locate(5)
    path = local.recordings.used[0].path
    np.testing.assert_array_equal(ds.decode(path).samples, local.decode(path).samples)
