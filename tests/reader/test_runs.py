from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiochunk.errors import ConfigError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.runs import Run


def plainly(ds: ChunkDataset, start: int, stop: int) -> list[Run]:
    """The runs in chunks `start` to `stop`, row by row."""
    found = []
    for row in ds.recordings:
        first, end = max(row.first_chunk, start), min(row.first_chunk + row.chunks, stop)
        if first < end:
            found.append(Run(row, first - start, end - first, first - row.first_chunk))
    return found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(start=st.integers(0, 30), length=st.integers(0, 30))
def test_runs_are_the_parts_of_streams_that_are_in_the_view(dataset: Path, start: int, length: int) -> None:
    ds = ChunkDataset(dataset)
    start = min(start, len(ds))
    view = ds[start : start + length]
    expected = plainly(ds, start, start + len(view))
    runs = view.runs()
    assert list(runs) == expected
    assert len(runs) == len(expected)
    assert runs[1:] == expected[1:]
    assert [runs[i] for i in range(-len(expected), 0)] == expected
    assert sum(run.chunks for run in runs) == len(view)


def test_chunks_that_do_not_follow_each_other_have_no_runs(plain: Path) -> None:
    with pytest.raises(ConfigError, match="do not follow each other"):
        ChunkDataset(plain)[::2].runs()
