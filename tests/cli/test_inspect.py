import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

ROOT = Path(audiochunk.__file__).parents[1]


def inspect(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "audiochunk", "inspect", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "wavs").mkdir()
    rng = np.random.Generator(np.random.PCG64(4))
    tone = np.sin(np.arange(50_000) / 20)
    stereo = np.stack([tone, tone / 2], 1) * 1.1 + rng.normal(0, 0.001, (50_000, 2))
    sf.write(folder / "wavs" / "tone.wav", stereo.astype(np.float32), 44_100, subtype="FLOAT")
    sf.write(folder / "wavs" / "noise.wav", rng.integers(-9000, 9000, 20_000).astype(np.int16), 16_000)
    sf.write(folder / "wavs" / "click.wav", np.ones(100, np.int16), 16_000)
    for number in range(12):
        (folder / "wavs" / f"z{number:02}.wav").write_bytes(b"")
    audiochunk.build(folder / "wavs", folder / "shards", on_error="skip", block=1024, workers=1)
    audiochunk.build(
        folder / "wavs", folder / "mono", on_error="skip", layout="mono", bits=16, compress="zstd", workers=1
    )
    audiochunk.build(folder / "wavs", folder / "odd", on_error="skip", block=1000, workers=1)
    return folder / "shards"


def test_one_screen_tells_what_is_there(dataset: Path) -> None:
    done = inspect(dataset)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "8-bit linear, blocks of 1024 samples a channel; a chunk is 23.2 ms of stereo at 44.1 kHz",
        "train  57 chunks  1 shard  3 recordings",
        "1 of them too short for a chunk",
        "44,100 Hz  2 ch  FLOAT",
        "16,000 Hz  1 ch  PCM_16",
        "of samples lay beyond full scale",
        "bits of entropy a sample, of at most 8 (all chunks)",
        "skipped (12):",
        "z09.wav: the file is empty (0 bytes)",
        "and 2 more: --all",
    ):
        assert words in done.stdout
    assert "z10.wav" not in done.stdout
    assert len(done.stdout.splitlines()) <= 40


def test_all_lists_every_skipped_recording(dataset: Path) -> None:
    assert "z11.wav: the file is empty" in inspect(dataset, "--all").stdout


def test_json_holds_the_same_numbers(dataset: Path) -> None:
    report = json.loads(inspect(dataset, "--json").stdout)
    ds = audiochunk.open(dataset)
    assert (report["dataset_id"], report["chunks"], report["vocab_size"]) == (ds.dataset_id, len(ds), 256)
    assert report["splits"]["train"] == {
        "chunks": 57,
        "shards": 1,
        "recordings": 3,
        "seconds_of_audio": pytest.approx(50_000 / 44_100 + 20_100 / 16_000),
    }
    assert sum(report["histogram"]["bins"]) == 57 * 2048
    assert len(report["skipped"]) == 12
    assert report["clipped"] == sum(row.clipped for row in ds.recordings) > 0


def test_a_chunk_is_shown_with_where_it_comes_from(dataset: Path) -> None:
    done = inspect(dataset, "--chunk", "12")
    where = audiochunk.open(dataset).locate(12)
    assert done.returncode == 0
    assert "chunk 12 of 57 in train: chunk 3 of tone.wav" in done.stdout
    assert (where.path, where.first_frame, where.last_frame) == ("tone.wav", 3072, 4095)
    assert "frames 3,072 to 4,095, 0.0697 s to 0.0929 s at 44,100 Hz; channels 0, 1" in done.stdout
    codes = " ".join(map(str, audiochunk.open(dataset)[12][:16]))
    assert f"first codes: {codes} …" in done.stdout
    assert done.stdout.count("█") > 100
    found = json.loads(inspect(dataset, "--chunk", "-45", "--json").stdout)
    assert (found["chunk"], found["path"], found["codes"]) == (12, "tone.wav", audiochunk.open(dataset)[12].tolist())


@pytest.mark.parametrize("name", ["mono", "odd"])
def test_chunks_of_other_layouts_are_shown_too(dataset: Path, name: str) -> None:
    for number in ("0", "-1"):
        done = inspect(dataset.parent / name, "--chunk", number)
        assert (done.returncode, done.stderr) == (0, "")
        assert "of full scale" in done.stdout
    assert inspect(dataset.parent / name).returncode == 0


def test_a_recording_is_shown(dataset: Path) -> None:
    done = inspect(dataset, "--recording", "tone.wav")
    assert "FLOAT, 44,100 Hz, 2 channels, 50,000 frames, 1.1 s" in done.stdout
    assert "48 chunks: 9 to 56 in train" in done.stdout
    assert "848 frames dropped at the end (1.7 %)" in done.stdout
    assert "too short for a chunk" in inspect(dataset, "--recording", "click.wav").stdout
    assert "skipped: the file is empty" in inspect(dataset, "--recording", "z00.wav").stdout
    assert json.loads(inspect(dataset, "--recording", "tone.wav", "--json").stdout)[0]["first_chunk"] == 9


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--chunk", "57"], 2, "there is no chunk 57: split train has 57 chunks"),
        (["--recording", "nope.wav"], 2, "there is no recording 'nope.wav'"),
        (["--chunk", "0", "--split", "val"], 2, "no split 'val'"),
        (["--chunk", "0", "--recording", "x"], 2, "one or the other"),
        (["--split", "train"], 2, "give both"),
    ],
)
def test_what_is_not_there_is_named(dataset: Path, arguments: list[str], code: int, words: str) -> None:
    done = inspect(dataset, *arguments)
    assert done.returncode == code
    assert words in done.stderr


def test_no_dataset_is_4_and_a_damaged_one_is_5(dataset: Path, tmp_path: Path) -> None:
    assert inspect(tmp_path).returncode == 4
    (tmp_path / "manifest.json").write_bytes((dataset / "manifest.json").read_bytes() + b" ")
    done = inspect(tmp_path)
    assert done.returncode == 5
    assert "manifest.json" in done.stderr


def test_names_that_a_terminal_cannot_show_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    name = os.fsdecode(b"caf\xe9 \x1b[31m.wav")
    sf.write(tmp_path / "plain.wav", np.ones(5000, np.int16), 8000)
    (tmp_path / "plain.wav").rename(tmp_path / "wavs" / name)
    audiochunk.build(tmp_path / "wavs", tmp_path / "out", workers=1)
    done = inspect(tmp_path / "out", "--chunk", "0")
    assert "caf\\xe9 \\x1b[31m.wav" in done.stdout
    assert "\x1b" not in done.stdout
    again = inspect(tmp_path / "out", "--recording", "caf\\xe9 \\x1b[31m.wav")
    assert again.returncode == 0
