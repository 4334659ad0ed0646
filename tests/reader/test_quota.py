import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk.errors import DatasetError
from audiochunk.reader import quota

from .made import make

MAPS = Path("/proc/self/maps")


def mapped(folder: Path) -> int:
    """Files in the folder that this process has mapped; 0 where the system does not tell."""
    return MAPS.read_text().count(f"{folder}/") if MAPS.exists() else 0


def shuffled(n: int) -> np.ndarray[Any, Any]:
    return np.random.Generator(np.random.PCG64(n)).permutation(np.repeat(np.arange(n), 2))


def test_half_of_the_mappings_that_the_system_allows_are_for_shards() -> None:
    limit = Path("/proc/sys/vm/max_map_count")
    allowed = int(limit.read_text()) if limit.exists() else 65_530
    assert 4 <= quota.most_mapped() < allowed / 2
    assert quota.most_at_once(quota.most_mapped()) == quota.most_mapped()
    assert quota.most_at_once(quota.most_mapped() + 1) <= quota.most_mapped() / 4


@pytest.mark.parametrize("most", [1, 2, 7, 8, 30, 59, 60])
def test_one_gather_may_be_of_more_shards_than_may_be_mapped(
    tmp_path: Path, way: dict[str, Any], most_mapped: Callable[[int], None], most: int
) -> None:
    everything = make(tmp_path / "made", [2, 0, 3] * 20, chunk_bytes=16, **way)
    most_mapped(most)
    ds = audiochunk.open(tmp_path / "made")
    for _ in range(2):
        asked = shuffled(100)
        np.testing.assert_array_equal(ds.gather(asked), everything[asked])
        assert mapped(tmp_path) <= most


def test_all_datasets_together_have_no_more_shards_mapped_than_one_may(
    tmp_path: Path, way: dict[str, Any], most_mapped: Callable[[int], None]
) -> None:
    everything = [make(tmp_path / name, [n] * 6, chunk_bytes=16, **way) for n, name in enumerate("abc", 1)]
    most_mapped(8)
    datasets = [audiochunk.open(tmp_path / name) for name in "abc"]
    for _ in range(3):
        for ds, expected in zip(datasets, everything, strict=True):
            asked = shuffled(len(ds))
            np.testing.assert_array_equal(ds.gather(asked), expected[asked])
            assert mapped(tmp_path) <= 8
    del datasets, ds
    gc.collect()
    assert mapped(tmp_path) == 0
    assert quota.has_room(8)


def test_a_split_that_may_be_mapped_whole_stays_so(tmp_path: Path, most_mapped: Callable[[int], None]) -> None:
    make(tmp_path / "made", [2] * 8, chunk_bytes=16)
    most_mapped(8)
    ds = audiochunk.open(tmp_path / "made")
    ds.gather(shuffled(16))
    first = ds[0]
    ds.gather(shuffled(16))
    assert np.shares_memory(first, ds[0])


def test_what_is_let_go_of_makes_room_at_once(tmp_path: Path, most_mapped: Callable[[int], None]) -> None:
    make(tmp_path / "small", [2] * 3, chunk_bytes=16)
    make(tmp_path / "large", [2] * 7, chunk_bytes=16)
    most_mapped(8)
    small, large = audiochunk.open(tmp_path / "small"), audiochunk.open(tmp_path / "large")
    for _ in range(2):
        large.gather(shuffled(14)[:20])
        small.gather(shuffled(6))
        large.gather(np.arange(14))
        for ds in (large, small, large):
            assert np.shares_memory(ds[0], ds[0])
            assert np.shares_memory(ds[5], ds[5])


def test_where_chunks_that_are_held_leave_no_room_others_are_copied(
    tmp_path: Path, most_mapped: Callable[[int], None]
) -> None:
    everything = make(tmp_path / "made", [3] * 20, chunk_bytes=16)
    most_mapped(8)
    ds = audiochunk.open(tmp_path / "made")
    held = [ds[i] for i in range(0, 60, 3)]
    np.testing.assert_array_equal(np.stack(held), everything[::3])
    assert mapped(tmp_path) <= 8
    assert not np.shares_memory(ds[59], ds[59])
    assert not ds[59].flags.writeable
    np.testing.assert_array_equal(np.stack(list(ds)), everything)
    asked = shuffled(60)
    np.testing.assert_array_equal(ds.gather(asked), everything[asked])
    assert mapped(tmp_path) <= 8
    del held
    assert np.shares_memory(ds[59], ds[59])


def test_a_shard_that_is_damaged_is_refused_when_it_is_copied(
    tmp_path: Path, most_mapped: Callable[[int], None]
) -> None:
    make(tmp_path / "made", [3] * 6, chunk_bytes=16)
    most_mapped(1)
    ds = audiochunk.open(tmp_path / "made")
    held = ds[0]
    (tmp_path / "made" / "train-00005.safetensors").write_bytes(bytes(4096 + 48))
    for index in (17, [3, 17]):
        with pytest.raises(DatasetError, match=r"train-00005.safetensors: header byte 0"):
            ds[index]
    assert held.size == 16


def test_threads_that_make_each_other_let_go_read_what_was_written(
    tmp_path: Path, way: dict[str, Any], most_mapped: Callable[[int], None]
) -> None:
    everything = make(tmp_path / "made", [2] * 30, chunk_bytes=16, **way)
    most_mapped(8)
    ds = audiochunk.open(tmp_path / "made")
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        for _ in range(60):
            asked = rng.integers(0, 60, 9)
            if not np.array_equal(ds.gather(asked), everything[asked]):
                wrong.append(seed)
            if not np.array_equal(ds[int(asked[0])], everything[asked[0]]):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
