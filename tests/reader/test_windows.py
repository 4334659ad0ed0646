from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiochunk.errors import ConfigError
from audiochunk.reader.dataset import ChunkDataset


def plainly(ds: ChunkDataset, length: int, stride: int) -> list[list[int]]:
    """The chunks of every window, found one chunk after the other."""
    streams = [(ds.locate(i).path, ds.locate(i).recording.channel) for i in range(len(ds))]
    found, start = [], 0
    while start < len(ds):
        stop = start
        while stop < len(ds) and streams[stop] == streams[start]:
            stop += 1
        found += [list(range(at, at + length)) for at in range(start, stop - length + 1, stride)]
        start = stop
    return found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(length=st.integers(1, 9), stride=st.integers(1, 9), start=st.integers(0, 9), stop=st.integers(-9, -1))
def test_windows_are_runs_of_chunks_of_one_stream(
    dataset: Path, length: int, stride: int, start: int, stop: int
) -> None:
    ds = ChunkDataset(dataset)[start:stop]
    windows = ds.windows(length, stride_chunks=stride)
    expected = plainly(ds, length, stride)
    assert windows.shape == (len(expected), length * ds.width)
    assert [windows.chunk(i) for i in range(len(windows))] == [members[0] for members in expected]
    found = windows.gather(range(len(expected)))
    for window, members in zip(found, expected, strict=True):
        np.testing.assert_array_equal(window, ds.gather(members).reshape(-1))
    covered = {number for members in expected for number in members}
    assert windows.dropped_chunks == len(ds) - len(covered)


def test_windows_do_not_overlap_unless_asked_to(plain: Path) -> None:
    ds = ChunkDataset(plain)
    chunks = [windows.chunk(i) + k for windows in [ds.windows(3)] for i in range(len(windows)) for k in range(3)]
    assert len(chunks) == len(set(chunks))


def test_windows_of_one_chunk_are_the_chunks(plain: Path) -> None:
    ds = ChunkDataset(plain)
    np.testing.assert_array_equal(ds.windows(1).gather(range(len(ds))), ds.gather(range(len(ds))))
    assert ds.windows(1).dropped_chunks == 0


def test_a_window_is_located_from_its_first_to_its_last_frame(dataset: Path) -> None:
    ds = ChunkDataset(dataset)
    windows = ds.windows(2)
    for i in range(len(windows)):
        place, (first, last) = windows.locate(i), (ds.locate(windows.chunk(i) + k) for k in range(2))
        assert (place.path, place.chunk) == (first.path, first.chunk) == (last.path, last.chunk - 1)
        assert place.first_frame == min(first.first_frame, last.first_frame)
        assert place.last_frame == max(first.last_frame, last.last_frame)
        assert set(place.channels) == {*first.channels, *last.channels}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(length=st.integers(1, 5), stride=st.integers(1, 5), start=st.integers(0, 9))
def test_windows_are_counted_by_the_shard_that_they_begin_in(
    dataset: Path, length: int, stride: int, start: int
) -> None:
    ds = ChunkDataset(dataset)[start:]
    windows = ds.windows(length, stride_chunks=stride)
    assert ds.shard_sizes is not None
    ends = np.cumsum(ds.shard_sizes)
    shards = [int(np.searchsorted(ends, windows.chunk(i), side="right")) for i in range(len(windows))]
    expected = [size for size in np.bincount(shards, minlength=1).tolist() if size] if shards else []
    assert windows.shard_sizes == expected


def test_windows_longer_than_every_recording_are_none(plain: Path) -> None:
    ds = ChunkDataset(plain)
    windows = ds.windows(1000)
    assert len(windows) == 0
    assert windows.dropped_chunks == len(ds)
    assert windows.gather([]).shape == (0, 1000 * 2048)
    assert len(ds[:0].windows(2)) == 0


@pytest.mark.parametrize(
    "options", [{"length_chunks": 0}, {"length_chunks": 1.5}, {"length_chunks": 2, "stride_chunks": 0}]
)
def test_lengths_and_strides_that_make_no_sense_are_refused(plain: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be a whole number, at least 1"):
        ChunkDataset(plain).windows(**options)


def test_chunks_that_do_not_follow_each_other_have_no_windows(plain: Path) -> None:
    with pytest.raises(ConfigError, match="do not follow each other"):
        ChunkDataset(plain)[::2].windows(2)
