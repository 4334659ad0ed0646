from pathlib import Path

import many_recordings
import pytest

import audiochunk


def test_the_dataset_is_read_like_any_other(tmp_path: Path) -> None:
    many_recordings.make(tmp_path / "many", 60, 7)
    ds = audiochunk.open(tmp_path / "many")
    assert len(ds.recordings) == 60
    assert len(ds.manifest.shards) == 7
    assert ds.locate(len(ds) - 1).path == ds.recordings[-1].path
    assert not ds[len(ds) - 1].any()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
@pytest.mark.parametrize("part", many_recordings.PARTS)
def test_every_step_has_its_figures(tmp_path: Path, part: str) -> None:
    many_recordings.make(tmp_path / "many", 60, 7)
    steps = many_recordings.PARTS[part](tmp_path / "many")
    assert steps
    assert all(step["peak_mb"] >= step["memory_mb"] > 0 for step in steps)
