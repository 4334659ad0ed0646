import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

from .terminal import run_on_a_terminal

ROOT = Path(audiochunk.__file__).parents[1]


def inspect(*arguments: str | Path, columns: int = 100) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "audiochunk", "inspect", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stats")
    (folder / "wavs").mkdir()
    noise = np.random.Generator(np.random.PCG64(4)).integers(-9000, 9000, 20_000).astype(np.int16)
    for name in ("one.wav", "again-with-a-long-name-that-has-hyphens.wav"):
        sf.write(folder / "wavs" / name, np.stack([noise, noise], 1), 16_000)
    (folder / "wavs" / "bad.wav").write_bytes(b"")
    audiochunk.build(folder / "wavs", folder / "shards", on_error="skip", bits=16, workers=1)
    return folder / "shards"


def test_nothing_is_looked_for_unless_asked(dataset: Path) -> None:
    assert "facts" not in inspect(dataset).stdout
    assert "facts" not in json.loads(inspect(dataset, "--json").stdout)


def test_facts_are_told_as_sentences_with_whole_paths(dataset: Path) -> None:
    done = inspect(dataset, "--stats", "all", columns=60)
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert "facts (depth, silence, dc, clipping, channels, loudness, codes, duplicates):" in words
    assert "- 1 recording repeats another of the same split, chunk for chunk (one.wav" in words
    assert "- 2 recordings have the same samples in all channels" in words
    assert "again-with-a-long-name-that-has-hyphens.wav" in done.stdout


def test_only_what_was_asked_for_is_told(dataset: Path) -> None:
    done = inspect(dataset, "--stats", "depth, clipping", "--workers", "1")
    assert "facts (depth, clipping):" in done.stdout
    assert "nothing was found that changes a result" in done.stdout


def test_json_has_facts_beside_what_it_always_had(dataset: Path) -> None:
    plain, report = (json.loads(inspect(dataset, *more, "--json").stdout) for more in ((), ("--stats", "duplicates")))
    facts = report.pop("facts")
    assert report == plain
    assert facts["stats"] == ["duplicates"]
    assert facts["recordings"]["path"] == ["again-with-a-long-name-that-has-hyphens.wav", "one.wav"]
    assert facts["recordings"]["duplicate_of"] == [-1, 0]
    assert len(facts["findings"]) == 1


def test_the_cache_is_written_only_when_asked(dataset: Path) -> None:
    kept = dataset.parent / "shards.facts.json"
    first = inspect(dataset, "--stats", "all").stdout
    assert not kept.exists()
    assert inspect(dataset, "--stats", "all", "--cache").stdout == first
    assert kept.is_file()
    assert inspect(dataset, "--stats", "all", "--cache", "--workers", "2").stdout == first


def test_a_file_of_the_users_is_not_written_over(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "out")
    (tmp_path / "out.facts.json").write_text("{}")
    done = inspect(tmp_path / "out", "--stats", "dc", "--cache")
    assert done.returncode == 2
    assert "out.facts.json: is there, and is no file of facts; move it away" in done.stderr
    assert (tmp_path / "out.facts.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stats", "volume"], "no stat 'volume'; there are: depth"),
        (["--stats", ""], "no stat ''"),
        (["--cache"], "mean nothing without --stats"),
        (["--workers", "2"], "mean nothing without --stats"),
        (["--stats", "all", "--chunk", "0"], "--stats is of the whole dataset"),
        (["--stats", "all", "--recording", "one.wav"], "--stats is of the whole dataset"),
        (["--stats", "all", "--workers", "0"], "--workers"),
    ],
)
def test_what_cannot_be_is_refused(dataset: Path, arguments: list[str], words: str) -> None:
    done = inspect(dataset, *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_no_dataset_is_4_and_a_damaged_one_is_5(dataset: Path, tmp_path: Path) -> None:
    assert inspect(tmp_path, "--stats", "all").returncode == 4
    for file in dataset.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    next(tmp_path.glob("*.safetensors")).unlink()
    for workers in ("1", "2"):
        done = inspect(tmp_path, "--stats", "all", "--workers", workers)
        assert done.returncode == 5
        assert "train-00000.safetensors" in done.stderr


def test_a_terminal_sees_a_bar(dataset: Path) -> None:
    command = [sys.executable, "-m", "audiochunk", "inspect", dataset, "--stats", "all"]
    done, shown = run_on_a_terminal(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
    assert b"facts:" in shown
