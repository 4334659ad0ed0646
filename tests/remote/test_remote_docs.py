"""docs/remote.md: its examples and commands run, against S3 on loopback."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import audiochunk
from audiochunk.cli import cli
from audiochunk.pipeline.store import parts as remote_parts
from audiochunk.pipeline.store import scan as remote_scan
from audiochunk.pipeline.store import source as object_source
from audiochunk.reader.remote_files import _PART_MAPPED, _QUARTERS_AHEAD
from audiochunk.storage.cache import DEFAULT_BYTES, FETCHED

from ..documents import blocks, calls  # noqa: TID252 - tests are in no package that has a name
from .conftest import put
from .made import files_of, make_recordings, objects_of
from .made import put as put_recordings

PAGE = (Path(audiochunk.__file__).parents[1] / "docs" / "remote.md").read_text(encoding="utf-8")


@pytest.fixture
def url(raw_dataset: Path, s3: str, cache: Path) -> str:
    return put(raw_dataset, s3)


def test_the_python_runs(url: str, tmp_path: Path) -> None:
    found = blocks(PAGE, "python")
    assert len(found) == 3
    names: dict[str, Any] = {}
    for code in (code for code in found if "audiochunk.build" not in code):
        exec(code.replace("s3://bucket/shards", url).replace("/scratch", str(tmp_path)), names)
        assert names["ds"].is_fetched
        assert len(names["ds"][0]) == 2048


def test_the_commands_run(url: str, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.chdir(tmp_path)
    commands = [[url if part == "s3://bucket/shards" else part for part in call] for call in calls(PAGE)]
    commands = [command for command in commands if command[0] != "build"]
    assert {command[0] for command in commands} == {"inspect", "verify", "decode", "evaluate"}
    for command in commands:
        assert url in command
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output


def test_the_builds_run(s3: str, tmp_path: Path) -> None:
    recordings = make_recordings(tmp_path / "recordings", n=3)
    made = []
    for n, arguments in enumerate(call for call in calls(PAGE) if call[0] == "build"):
        put_recordings(recordings, f"{s3}/{n}/recordings")
        done = CliRunner().invoke(cli, [part.replace("s3://bucket", f"{s3}/{n}") for part in arguments])
        assert done.exit_code == 0, done.output
        made.append(objects_of(f"{s3}/{n}/shards"))
    put_recordings(recordings, f"{s3}/python/recordings")
    code = next(code for code in blocks(PAGE, "python") if "audiochunk.build" in code)
    exec(code.replace("s3://bucket", f"{s3}/python"), {"audiochunk": audiochunk})
    made.append(objects_of(f"{s3}/python/shards"))
    audiochunk.build(recordings, tmp_path / "shards", bits=8, workers=1)
    assert len(made) == 2
    assert all(one == files_of(tmp_path / "shards") for one in made)


def test_the_sizes_of_a_build_are_those_of_the_code() -> None:
    assert f"first {object_source.FIRST_BYTES // 2**10} KiB of a recording" in PAGE
    assert f"; {remote_scan.THREADS} at a time" in PAGE
    assert f"up to {remote_parts.WHOLE_BYTES // 2**20} MiB are then fetched whole" in PAGE
    assert f"up to {remote_parts.AHEAD_BYTES // 2**20} MiB ahead" in PAGE
    assert f"pieces of up to {object_source.MOST_BYTES // 2**20} MiB" in PAGE


def test_the_limits_are_those_of_the_code() -> None:
    assert f"or {DEFAULT_BYTES // 2**30} GiB" in PAGE
    assert (_QUARTERS_AHEAD, _PART_MAPPED) == (3, 8)
    assert "no further than three quarters of the cache" in " ".join(PAGE.split())
    assert f"`{FETCHED}`" in PAGE
    assert f"or else {DEFAULT_BYTES // 2**30} GiB" in " ".join((audiochunk.open.__doc__ or "").split())
    assert re.search(r"at most an eighth of it mapped", PAGE)
