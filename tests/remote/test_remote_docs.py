"""docs/remote.md: its examples and commands run, against S3 on loopback."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import audiochunk
from audiochunk.cli import cli
from audiochunk.reader.remote_files import _PART_MAPPED, _QUARTERS_AHEAD
from audiochunk.storage.cache import DEFAULT_BYTES, FETCHED

from ..documents import blocks, calls  # noqa: TID252 - tests are in no package that has a name
from .conftest import put

PAGE = (Path(audiochunk.__file__).parents[1] / "docs" / "remote.md").read_text(encoding="utf-8")


@pytest.fixture
def url(raw_dataset: Path, s3: str, cache: Path) -> str:
    return put(raw_dataset, s3)


def test_the_python_runs(url: str, tmp_path: Path) -> None:
    found = blocks(PAGE, "python")
    assert len(found) == 2
    names: dict[str, Any] = {}
    for code in found:
        exec(code.replace("s3://bucket/shards", url).replace("/scratch", str(tmp_path)), names)
        assert names["ds"].is_fetched
        assert len(names["ds"][0]) == 2048


def test_the_commands_run(url: str, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.chdir(tmp_path)
    commands = [[url if part == "s3://bucket/shards" else part for part in call] for call in calls(PAGE)]
    assert {command[0] for command in commands} == {"inspect", "verify", "decode", "evaluate"}
    for command in commands:
        assert url in command
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output


def test_the_limits_are_those_of_the_code() -> None:
    assert f"or {DEFAULT_BYTES // 2**30} GiB" in PAGE
    assert (_QUARTERS_AHEAD, _PART_MAPPED) == (3, 8)
    assert "no further than three quarters of the cache" in " ".join(PAGE.split())
    assert f"`{FETCHED}`" in PAGE
    assert f"or else {DEFAULT_BYTES // 2**30} GiB" in " ".join((audiochunk.open.__doc__ or "").split())
    assert re.search(r"at most an eighth of it mapped", PAGE)
