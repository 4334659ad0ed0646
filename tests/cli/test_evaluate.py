import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

import audiochunk
from audiochunk.cli import cli
from audiochunk.tools.evaluate import NAMES
from tests.waiting import LONG_S, wait_until

ROOT = Path(audiochunk.__file__).parents[1]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("evaluate")
    noise = np.random.default_rng(2).integers(-200, 200, (9000, 1), np.int16)
    for name in ("train/a", "train/b", "val/c"):
        (base / "wavs" / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(base / "wavs" / f"{name}.wav", noise, 8000)
    audiochunk.build(base / "wavs", base / "shards", split="folders", workers=1)
    return base / "shards"


def test_the_table_has_a_part_for_every_convention(shards: Path) -> None:
    done = run(shards, "--codec", "gzip-9", "--codec", "flac-8", "--codec", "entropy-0")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    identity = audiochunk.open(shards).dataset_id
    assert lines[0] == f"{shards}: 12 chunks of train, val; 24.6 kB, 24,576 samples of 8 bits; dataset {identity}"
    titles = [line.split(":")[0] for line in lines[1:] if ": " in line and not line.startswith(" ")]
    assert titles == ["chunked", "chunked-header-once", "whole", "bound"]
    assert any(line.startswith("made with zlib ") for line in lines)
    assert sum(line.startswith("  gzip-9 ") for line in lines) == 3
    assert sum(line.startswith("  entropy-0 ") for line in lines) == 1


def test_json_is_a_list_of_rows(shards: Path) -> None:
    done = run(shards, "--codec", "zstd-3", "--split", "val", "--json")
    rows = json.loads(done.stdout)
    assert [row["convention"] for row in rows] == ["chunked", "chunked-header-once", "whole"]
    for row in rows:
        assert row["percent_of_raw"] == pytest.approx(100 * row["compressed_bytes"] / row["raw_bytes"])
        assert row["encode_mb_s"] > 0


def test_models_stand_in_the_table(shards: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.full(2, 2048.0))
    done = run(shards, "--codec", "gzip-9", "--split", "train", "--model-scores", tmp_path / "mine.npy")
    assert done.exit_code == 0, done.output
    assert "2 of the first 2 chunks of train" in done.output
    one, other = (line.split() for line in done.output.splitlines() if line.startswith("  model:mine"))
    assert one == other == ["model:mine", "12.50", "1.000", "1.000", "8.000"]


def test_what_is_not_there_is_listed_with_how_to_get_it(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    done = run(shards, "--codec", "flac-cli-8", "--codec", "gzip-9", "--max-chunks", 1)
    assert done.exit_code == 0
    assert done.output.endswith("\nnot there\n  flac-cli-8: apt install flac\n")
    alone = run(shards, "--codec", "flac-cli-8")
    assert (alone.exit_code, alone.output) == (2, "audiochunk: not there: flac-cli-8: apt install flac\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--codec", "zip"), "'zip' is not one of gzip-9, bz2,"),
        (("--split", "no"), "no split 'no' here"),
        (("--max-chunks", 0), "0 is not in the range"),
        (("--seed", -1), "-1 is not in the range"),
    ],
)
def test_what_cannot_be_is_refused(shards: Path, arguments: tuple[object, ...], message: str) -> None:
    done = run(shards, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_missing_file_of_scores_is_named(shards: Path, tmp_path: Path) -> None:
    done = run(shards, "--split", "val", "--model-scores", tmp_path / "no.npy")
    assert done.exit_code == 2
    assert "no.npy: no such file" in done.stderr


def test_a_leak_from_another_split_is_told(shards: Path) -> None:
    """All recordings of this dataset are the same."""
    done = run(shards, "--split", "val", "--codec", "gzip-9")
    assert "1 recording is in another split too" in " ".join(done.output.split())
    assert "another split" not in run(shards, "--split", "val", "--codec", "gzip-9", "--stats", "none").output


def test_scores_of_bytes_are_taken_for_a_mistake(shards: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.full(2, 2.3))
    done = run(shards, "--split", "train", "--codec", "gzip-9", "--model-scores", tmp_path / "scores.npy")
    assert "model:scores needs 2.3 bits for a chunk of 2,048 bytes: are these bits of whole chunks?" in done.stderr


def test_a_stat_that_there_is_not_is_refused_before_anything_is_done(shards: Path) -> None:
    done = run(shards, "--codec", "gzip-9", "--stats", "no")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no stat 'no'" in done.stderr


def test_rows_in_json_say_what_they_are_of(shards: Path) -> None:
    done = run(shards, "--codec", "zstd-3", "--split", "val", "--json")
    row = json.loads(done.stdout)[0]
    assert row["dataset_id"] == audiochunk.open(shards).dataset_id
    assert (row["splits"], row["chunks"], row["samples"]) == (["val"], 4, 8192)
    assert row["version"].startswith("zstd ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_left_where_it_is_interrupted(shards: Path, tmp_path: Path, number: int, workers: int) -> None:
    program = tmp_path / "bin" / "flac"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 3600\n")
    program.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    path = f"{program.parent}:{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "TMPDIR": str(tmp_path / "tmp")}
    command = [
        sys.executable,
        "-m",
        "audiochunk",
        "evaluate",
        shards,
        "--codec",
        "flac-cli-8",
        "--workers",
        str(workers),
    ]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, start_new_session=True) as process:
        wait_until(lambda: (tmp_path / "begun").exists() or process.poll() is not None, "the codec")
        assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=LONG_S)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    assert os.listdir(tmp_path / "tmp") == []


def test_help_names_all_codecs() -> None:
    text = " ".join(run("--help").output.split())
    assert f"There are {', '.join(NAMES)}; lzma" in text
