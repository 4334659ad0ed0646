from pathlib import Path

import numpy as np
import pytest

import audiochunk
from audiochunk.errors import ConfigError
from audiochunk.reader.concat import ConcatDataset

from .made import make


def test_the_rows_of_one_come_after_those_of_the_other(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", [5, 2]), make(tmp_path / "b", [0, 3])
    both = ConcatDataset([audiochunk.open(tmp_path / "a"), audiochunk.open(tmp_path / "b")])
    expected = np.concatenate([a, b])
    np.testing.assert_array_equal(both.gather(range(10)), expected)
    np.testing.assert_array_equal(both.gather([9, 0, 7, 6]), expected[[9, 0, 7, 6]])
    np.testing.assert_array_equal(both[-1], expected[-1])
    assert both.shard_sizes == [5, 2, 3]
    assert both[1:8].shard_sizes == [4, 2, 1]


def test_empty_datasets_are_passed_over(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [5])
    ds = audiochunk.open(tmp_path / "a")
    both = ConcatDataset([ds[:0], ds, ds[5:], ds[:1]])
    np.testing.assert_array_equal(both.gather(range(6)), a[[0, 1, 2, 3, 4, 0]])
    assert len(ConcatDataset([ds[:0]])) == 0


def test_shards_of_rows_that_do_not_follow_each_other_are_unknown(tmp_path: Path) -> None:
    make(tmp_path / "a", [5])
    ds = audiochunk.open(tmp_path / "a")
    assert ConcatDataset([ds, ds[::2]]).shard_sizes is None


def test_rows_that_differ_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "a", [5])
    make(tmp_path / "b", [5], bits=16)
    a, b = audiochunk.open(tmp_path / "a"), audiochunk.open(tmp_path / "b")
    with pytest.raises(ConfigError, match="2,048 uint8 and of 1,024 uint16 do not go together"):
        ConcatDataset([a, b])
    make(tmp_path / "c", [5], quantizer="mulaw")
    make(tmp_path / "d", [5], bits=16, byte_order="big")
    with pytest.raises(ConfigError, match="other samples in 8-bit linear and in 8-bit mulaw codes"):
        ConcatDataset([a, audiochunk.open(tmp_path / "c")])
    with pytest.raises(ConfigError, match="in 8-bit linear and in 16-bit big-endian linear codes"):
        ConcatDataset([a, audiochunk.open(tmp_path / "d")])
    with pytest.raises(ConfigError, match="no datasets"):
        ConcatDataset([])
    with pytest.raises(ConfigError, match="is not a dataset"):
        ConcatDataset([a, np.zeros((3, 2048), np.uint8)])  # type: ignore[list-item]


def test_iteration_gives_the_rows_of_any_view(tmp_path: Path) -> None:
    for number, sizes in enumerate([[5], [2, 3], [4]]):
        make(tmp_path / str(number), sizes)
    both = ConcatDataset([audiochunk.open(tmp_path / str(number)) for number in range(3)])
    everything = both.gather(np.arange(14))
    for part in (
        slice(None),
        slice(3, 9),
        slice(6, 8),
        slice(11, 12),
        slice(7, 7),
        slice(2, None, 3),
        slice(None, None, -1),
    ):
        found = list(both[part])
        assert len(found) == len(both[part])
        np.testing.assert_array_equal(np.reshape(found, (-1, 2048)), everything[part])
