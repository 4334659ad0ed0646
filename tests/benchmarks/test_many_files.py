from pathlib import Path

import many_files
import pytest

from audiochunk.storage.manifest import Manifest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")


def test_a_build_of_recordings_that_are_made_up_has_all_steps(tmp_path: Path) -> None:
    *steps, plan = many_files.without_files(tmp_path, 2000, 40)
    assert [step["what"] for step in steps] == [
        "scan and plan",
        "keep the plan for job arrays",
        "a task's shards, one of a thousand",
        "tasks, table and seal",
    ]
    assert plan["bytes"] > 0
    manifest = Manifest.read(tmp_path / "shards")
    assert manifest.recordings.rows == 2000
    assert sum(split.chunks for split in manifest.splits.values()) == 2000 * 155 // 10
    assert len(manifest.shards) >= 40


def test_a_build_of_files_is_found_up_to_date(tmp_path: Path) -> None:
    steps = many_files.with_files(tmp_path, 50)
    assert len(steps) == 2
    assert Manifest.read(tmp_path / "shards").recordings.rows == 50
    assert all(step["peak_mb"] > 0 for step in steps)
