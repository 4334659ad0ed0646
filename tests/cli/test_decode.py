from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

import audiochunk
from audiochunk.cli import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["decode", *map(str, arguments)])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decode")
    (folder / "wavs" / "deep").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for name, frames in (("a.wav", 5000), ("deep/b.flac", 9000), ("short.wav", 10)):
        sf.write(folder / "wavs" / name, rng.integers(-(2**15), 2**15, (frames, 2), np.int16), 8000)
    (folder / "wavs" / "text.wav").write_text("no audio")
    audiochunk.build(folder / "wavs", folder / "shards", bits=16, on_error="skip", workers=1)
    return folder / "shards"


def source(shards: Path, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    return sf.read(shards.parent / "wavs" / name, dtype="int16")[0]


def test_a_recording_comes_back(shards: Path, tmp_path: Path) -> None:
    done = run(shards, "--recording", "deep/b.flac", "-o", tmp_path / "b.wav")
    assert done.exit_code == 0, done.output
    decoded, rate = sf.read(tmp_path / "b.wav", dtype="int16")
    assert (rate, decoded.shape) == (8000, (8704, 2))
    assert np.array_equal(decoded, source(shards, "deep/b.flac")[:8704])
    assert done.output == (
        f"{tmp_path}/b.wav: 8,704 frames; 16 bits, 2 channels, 8,000 Hz; 296 frames (3.29 %) are not in chunks\n"
    )


def test_a_chunk_comes_back_and_negative_ones_count_from_the_end(shards: Path, tmp_path: Path) -> None:
    done = run(shards, "--chunk", "-1", "-o", tmp_path / "c.wav")
    assert done.exit_code == 0, done.output
    assert np.array_equal(sf.read(tmp_path / "c.wav", dtype="int16")[0], source(shards, "deep/b.flac")[8192:8704])
    assert "chunk 25 of train, frames 8,192 to 8,703 of deep/b.flac; 16 bits, 2 channels, 8,000 Hz" in done.output


def test_all_come_back_and_the_others_are_counted(shards: Path, tmp_path: Path) -> None:
    done = run(shards, "--all", "-o", tmp_path / "out", "--workers", 2)
    assert done.exit_code == 0, done.output
    assert done.output == (f"{tmp_path}/out: 2 WAV files; 1 recording too short for a chunk; 1 refused by the build\n")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.wav")) == ["a.wav", "b.wav"]


def test_a_chunk_that_is_not_aligned_says_what_it_is(shards: Path, tmp_path: Path) -> None:
    audiochunk.build(shards.parent / "wavs", tmp_path / "s", bits=16, block=700, on_error="skip", workers=1)
    done = run(tmp_path / "s", "--chunk", "0", "-o", tmp_path / "c.wav")
    assert "each channel begins with its first sample in it" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of"),
        (("--all", "--chunk", 1), "give one of"),
        (("--recording", "a.wav", "--split", "train"), "--split means nothing with --recording"),
        (("--recording", "a.wav", "--workers", 1), "--workers means nothing without --all"),
        (("--recording", "no.wav"), "there is no recording 'no.wav' in"),
        (("--recording", "text.wav"), "text.wav was refused: this is text"),
        (("--recording", "short.wav"), "short.wav is too short for a chunk"),
        (("--chunk", 99), "there is no chunk 99: split train has 26 chunks"),
        (("--chunk", 0, "--split", "no"), "no split 'no' here"),
        (("--all", "--split", "no"), "no split 'no' here; there are: train"),
    ],
)
def test_what_cannot_be_is_refused(shards: Path, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    done = run(shards, *arguments, "-o", tmp_path / "x.wav")
    assert done.exit_code == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept_unless_asked(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("mine")
    command = (shards, "--recording", "a.wav", "-o", tmp_path / "a.wav")
    done = run(*command)
    assert (done.exit_code, (tmp_path / "a.wav").read_text()) == (2, "mine")
    assert "is there already; choose another name, or --overwrite" in done.stderr
    assert run(*command, "--overwrite").exit_code == 0


def test_a_folder_where_a_file_belongs_and_a_missing_folder_are_named(shards: Path, tmp_path: Path) -> None:
    assert "is a folder; give the name of the file to write" in run(shards, "--chunk", 0, "-o", tmp_path).stderr
    done = run(shards, "--chunk", 0, "-o", tmp_path / "no" / "a.wav")
    assert f"{tmp_path}/no is not a folder" in done.stderr


def test_no_dataset_is_an_input_that_cannot_be_used(tmp_path: Path) -> None:
    assert run(tmp_path, "--all", "-o", tmp_path / "out").exit_code == 4
