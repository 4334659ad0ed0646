import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import audiochunk

from .terminal import run_on_a_terminal

ROOT = Path(audiochunk.__file__).parents[1]
V1 = ROOT / "tests" / "golden" / "v1"
FIRST = "train-00000.safetensors"


def verify(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "audiochunk", "verify", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(V1 / "u8-blocks", tmp_path / "u8-blocks"))
    os.truncate(folder / FIRST, 4600)
    (folder / "notes.txt").touch()
    return folder


def test_a_sound_dataset_is_0_and_one_line() -> None:
    done = verify(V1 / "u8-blocks")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "sound: 25 chunks in 3 shards, 7 recordings, 2 skipped\n"


def test_a_damaged_one_is_5_a_line_a_finding_and_a_verdict(damaged: Path) -> None:
    done = verify(damaged)
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.splitlines() == [
        "notes.txt: name: expected only files that the manifest names, found another one",
        f"{FIRST}: size: expected 4,608 bytes, found 4,600",
        "2 findings",
    ]


def test_json_holds_the_same(damaged: Path) -> None:
    done = verify(damaged, "--json")
    assert done.returncode == 5
    report = json.loads(done.stdout)
    assert report["findings"][1] == {"file": FIRST, "place": "size", "expected": "4,608 bytes", "found": "4,600"}
    assert {key: report[key] for key in report if key != "findings"} == {
        "shards": 3,
        "chunks": 25,
        "recordings": 7,
        "recordings_skipped": 2,
        "against": None,
    }
    assert json.loads(verify(V1 / "u8-blocks", "--json").stdout)["findings"] == []


def test_against_compares_with_the_recordings(tmp_path: Path) -> None:
    done = verify(V1 / "u8-blocks-zstd", "--against", V1 / "wavs")
    assert done.returncode == 0
    assert done.stdout == f"sound: 25 chunks in 3 shards, 7 recordings, 2 skipped; 9 compared with {V1 / 'wavs'}\n"
    wavs = Path(shutil.copytree(V1 / "wavs", tmp_path / "wavs"))
    (wavs / "speech-32.wav").unlink()
    done = verify(V1 / "u8-blocks", "--against", wavs)
    assert done.returncode == 5
    assert done.stdout == "speech-32.wav: file: expected the recording, found nothing\n1 finding\n"
    assert json.loads(verify(V1 / "u8-blocks", "--against", wavs, "--json").stdout)["against"] == 8


@pytest.mark.parametrize("share", ["40%", "0.4", ".4", "40.0%"])
def test_a_sample_is_a_percentage_or_a_fraction(share: str) -> None:
    done = verify(V1 / "u8-blocks", "--against", V1 / "wavs", "--sample", share, "--json")
    assert done.returncode == 0
    every = json.loads(verify(V1 / "u8-blocks", "--against", V1 / "wavs", "--sample", "100%", "--json").stdout)
    assert 0 < json.loads(done.stdout)["against"] < every["against"] == 9


@pytest.mark.parametrize("share", ["0", "0%", "101%", "1.01", "-1%", "x", "", "1/2", "nan"])
def test_a_sample_that_is_no_share_is_2(share: str) -> None:
    done = verify(V1 / "u8-blocks", "--against", V1 / "wavs", "--sample", share)
    assert done.returncode == 2
    assert "1% or 0.01" in done.stderr


def test_a_sample_of_nothing_is_2() -> None:
    done = verify(V1 / "u8-blocks", "--sample", "1%")
    assert done.returncode == 2
    assert "--sample means nothing without --against" in done.stderr


def test_what_is_no_dataset_or_no_folder_of_recordings_is_4(tmp_path: Path) -> None:
    assert verify(tmp_path).returncode == 4
    done = verify(V1 / "u8-blocks", "--against", tmp_path / "nowhere")
    assert done.returncode == 4
    assert "there is no such folder" in done.stderr


def test_a_manifest_that_cannot_be_read_is_the_only_finding(damaged: Path) -> None:
    (damaged / "manifest.json").write_bytes(b"{")
    done = verify(damaged, "--against", V1 / "wavs")
    assert done.returncode == 5
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["manifest.json", "1 finding"]
    report = json.loads(verify(damaged, "--json").stdout)
    assert (report["shards"], report["chunks"], report["recordings"]) == (0, 0, 0)


def test_a_bar_is_shown_on_a_terminal_only() -> None:
    command = [sys.executable, "-m", "audiochunk", "verify", V1 / "u8-blocks", "--against", V1 / "wavs"]
    done, shown = run_on_a_terminal(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
    assert done.stdout.startswith(b"sound: ")
    assert b"verify:" in shown
    assert b"against:" in shown
