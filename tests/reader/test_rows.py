"""What every kind of rows has to do alike: a dataset, windows, crops, concatenations and mixes."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.rows import Rows
from audiochunk.reader.sampler import Sampler

KINDS: dict[str, Callable[[ChunkDataset], Rows]] = {
    "dataset": lambda ds: ds,
    "part": lambda ds: ds[2:11],
    "windows": lambda ds: ds.windows(2),
    "overlapping windows": lambda ds: ds[1:].windows(3, stride_chunks=1),
    "crops": lambda ds: ds[:16].crops(2048 * 3, seed=1, n=9),
    "concatenation": lambda ds: audiochunk.ConcatDataset([ds[4:], ds[:9]]),
    "mix": lambda ds: audiochunk.mix([(ds, 0.7), (ds[:5], 0.3)], seed=2),
}


@pytest.fixture(params=KINDS)
def rows(request: pytest.FixtureRequest, plain: Path) -> Rows:
    return KINDS[request.param](ChunkDataset(plain))


def test_one_many_and_all_rows_agree(rows: Rows) -> None:
    everything = np.stack(list(rows))
    assert everything.shape == rows.shape == (len(rows), rows.width)
    assert everything.dtype == rows.dtype
    assert len(rows) > 5
    np.testing.assert_array_equal(np.stack([rows[i] for i in range(len(rows))]), everything)
    np.testing.assert_array_equal(rows[list(range(len(rows)))], everything)
    np.testing.assert_array_equal(rows.gather([4, 0, 4]), everything[[4, 0, 4]])
    np.testing.assert_array_equal(rows[np.int32(3)], everything[3])
    np.testing.assert_array_equal(rows[1:4][1], everything[2])
    np.testing.assert_array_equal(rows[1:5][::-2].gather([1, 0]), everything[[2, 4]])
    np.testing.assert_array_equal(rows.__getitems__([3, 1]), everything[[3, 1]])
    few = rows._getitems([3, 1])
    assert isinstance(few, list)
    np.testing.assert_array_equal(few, everything[[3, 1]])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(numbers=st.lists(st.integers(0, 5), max_size=12))
def test_gather_fills_an_array_that_is_given(rows: Rows, numbers: list[int]) -> None:
    out = np.full((len(numbers), rows.width), 7, rows.dtype)
    assert rows.gather(numbers, out=out) is out
    np.testing.assert_array_equal(out, [rows[i] for i in numbers] if numbers else out)


def test_what_does_not_fit_is_refused(rows: Rows) -> None:
    with pytest.raises(ValueError, match="out must be"):
        rows.gather([1], out=np.empty((2, rows.width), rows.dtype))
    with pytest.raises(ValueError, match="out must be"):
        rows.gather([1], out=np.empty((1, rows.width), np.int64))
    with pytest.raises(IndexError, match="1-D integers"):
        rows.gather([[1]])
    with pytest.raises(IndexError):
        rows.gather([0.5])
    with pytest.raises(IndexError):
        rows.gather([2**62])
    with pytest.raises(IndexError):
        rows[2**62]


def test_rows_can_be_pickled(rows: Rows) -> None:
    again = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(np.stack(list(again)), np.stack(list(rows)))
    assert repr(again) == repr(rows)
    part = pickle.loads(pickle.dumps(rows[2:4]))
    np.testing.assert_array_equal(np.stack(list(part)), np.stack(list(rows))[2:4])


def test_batches_of_a_sampler_can_be_taken_for_several_epochs(rows: Rows) -> None:
    sampler = Sampler(rows, batch_size=3)
    for _ in range(2):
        for batch in sampler:
            assert rows.gather(batch).shape == (3, rows.width)
    assert sampler.epoch == 2


def test_views_that_are_pickled_together_share_what_they_have(plain: Path) -> None:
    ds = ChunkDataset(plain)
    both = pickle.loads(pickle.dumps(audiochunk.ConcatDataset([ds[i : i + 1] for i in range(len(ds))])))
    views = both._sources.rows
    assert all(view.manifest is views[0].manifest for view in views)
    assert len({id(view._array) for view in views}) == 1
    assert both.dataset_id == ds.dataset_id


def test_views_read_the_recordings_table_once(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = ChunkDataset(plain)
    views = [ds[i:] for i in range(5)]
    first = views[0].recordings
    assert all(view.recordings is first for view in [ds, *views])


def test_selections_tell_all_kinds_and_parts_apart(plain: Path) -> None:
    ds = ChunkDataset(plain)
    kinds = [make(ds) for make in KINDS.values()]
    kinds += [
        ChunkDataset(plain, "val"),
        ds[1:],
        ds[::2],
        ds.windows(3),
        ds.windows(2, stride_chunks=1),
        ds[:16].crops(2048 * 3, seed=2),
        ds[:16].crops(2048 * 6, seed=1),
        ds[:16].crops(2048 * 3, seed=1, n=10),
        audiochunk.ConcatDataset([ds[:9], ds[4:]]),
        audiochunk.mix([(ds, 0.7), (ds[:5], 0.3)], seed=3),
        audiochunk.mix([(ds, 0.6), (ds[:5], 0.4)], seed=2),
        audiochunk.mix([(ds, 0.7), (ds[:5], 0.3)], seed=2)[:9],
    ]
    assert len({kind.selection for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.selection in repr(kind)
        assert kind.dataset_id in repr(kind)
