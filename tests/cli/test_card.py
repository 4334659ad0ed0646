import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import audiochunk

from .terminal import run_on_a_terminal

ROOT = Path(audiochunk.__file__).parents[1]
V1 = ROOT / "tests" / "golden" / "v1"
SAID = ("--license", "cc-by-4.0", "--url", "https://example.org/x", "--creator", "A", "--published", "2026-03-01")


def card(*arguments: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "audiochunk", "card", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return Path(shutil.copytree(V1 / "u8-blocks", tmp_path / "shards"))


def test_both_files_are_written_and_the_same_command_writes_them_again(dataset: Path) -> None:
    done = card(dataset, *SAID)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        rf"{re.escape(str(dataset))}/README\.md: [\d.]+ kB\n{re.escape(str(dataset))}/croissant\.json: [\d.]+ kB\n",
        done.stdout,
    )
    before = {name: (dataset / name).read_bytes() for name in ("README.md", "croissant.json")}
    assert card(".", *SAID, cwd=dataset).returncode == 0
    assert {name: (dataset / name).read_bytes() for name in before} == before
    assert b'pretty_name: "shards"' in before["README.md"]


def test_what_croissant_misses_is_said(dataset: Path) -> None:
    done = card(dataset, "--license", "mit")
    assert done.returncode == 0
    assert done.stderr == (
        "croissant.json lacks what Croissant requires: url (--url), creator (--creator or --organization),"
        " datePublished (--published)\n"
    )


def test_options_are_heard(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = ("--name", "Birds", "--description", "All *birds*.", "--organization", "O", "--creator", "B", "--checksums")
    assert card(dataset, *SAID, *words, "-o", tmp_path / "out").returncode == 0
    assert "# Birds\n\nAll *birds*.\n" in (tmp_path / "out" / "README.md").read_text()
    made = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert [creator["name"] for creator in made["creator"]] == ["A", "B", "O"]
    assert (made["datePublished"], made["url"]) == ("2026-03-01", "https://example.org/x")
    assert sum(file["@type"] == "cr:FileObject" for file in made["distribution"]) == 5
    assert sorted(os.listdir(dataset)) == sorted(os.listdir(V1 / "u8-blocks"))


def test_an_edited_card_is_2_without_overwrite(dataset: Path) -> None:
    assert card(dataset, *SAID).returncode == 0
    with (dataset / "README.md").open("a") as file:
        file.write("mine\n")
    done = card(dataset, *SAID)
    assert (done.returncode, done.stdout) == (2, "")
    assert "README.md: was not written by audiochunk, or was edited since; " in done.stderr
    assert card(dataset, *SAID, "--overwrite").returncode == 0
    assert "mine" not in (dataset / "README.md").read_text()


def test_what_cannot_be_said_is_2_and_what_is_no_dataset_is_4(dataset: Path, tmp_path: Path) -> None:
    assert card(dataset, "--published", "today").returncode == 2
    assert card(dataset, "-o", tmp_path / "nowhere").returncode == 2
    assert card(tmp_path).returncode == 4


def test_a_bar_is_shown_on_a_terminal_only(dataset: Path) -> None:
    command = [sys.executable, "-m", "audiochunk", "card", dataset, "--checksums", *SAID]
    done, shown = run_on_a_terminal(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
    assert b"checksums:" in shown
