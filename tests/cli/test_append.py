"""audiochunk build --append: what it says, and how it ends."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

ROOT = Path(audiochunk.__file__).parents[1]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def write(folder: Path, *names: str, frames: int = 20_000) -> None:
    rng = np.random.Generator(np.random.PCG64(len(names)))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / name, rng.integers(-9000, 9000, (frames, 2)).astype(np.int16), 44_100, subtype="PCM_16")


@pytest.fixture
def wavs(tmp_path: Path, cli: Cli) -> Path:
    """Four recordings, a dataset of them in `shards`, and two more."""
    write(tmp_path / "wavs", "b.wav", "d.wav", "f.wav", "h.wav")
    options = ["--shard-size", "50k", "--split", "train=0.5,val=0.5", "--tail", "pad", "--compress", "zstd:1"]
    assert cli("build", "wavs", "--out", "shards", *options).returncode == 0
    write(tmp_path / "wavs", "a.wav", "e.wav")
    return tmp_path / "wavs"


def test_it_says_what_was_added_and_what_there_is_now(cli: Cli, wavs: Path) -> None:
    done = cli("build", "wavs", "--out", "shards", "--append")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("added to shards in ")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "recordings  2, 0.9 s" in lines
    assert "chunks      40 of 2,048 bytes" in lines
    manifest = audiochunk.open(wavs.parent / "shards").manifest
    total = sum(split.chunks for split in manifest.splits.values())
    assert f"with which the dataset has {len(manifest.shards)}, and {total} chunks" in lines
    assert total == 120
    again = cli("build", "wavs", "--out", "shards", "--append")
    assert again.returncode == 0
    assert "shards is up to date" in again.stdout
    assert "with which" not in again.stdout
    assert cli("verify", "shards", "--against", "wavs").returncode == 0
    assert "6" in cli("inspect", "shards").stdout


def test_a_card_of_the_dataset_before_is_told(cli: Cli, wavs: Path) -> None:
    assert cli("card", "shards").returncode == 0
    again = cli("build", "wavs", "--out", "shards", "--append", "--dry-run")
    assert "of the dataset before" not in again.stdout
    done = cli("build", "wavs", "--out", "shards", "--append")
    assert done.stdout.endswith("README.md and croissant.json are of the dataset before: audiochunk card shards\n")
    assert cli("card", "shards").returncode == 0
    assert "of the dataset before" not in cli("build", "wavs", "--out", "shards", "--append").stdout


def test_only_the_new_recordings_are_not_enough(cli: Cli, wavs: Path) -> None:
    write(wavs.parent / "more", "x.wav", "y.wav")
    done = cli("build", "more", "--out", "shards", "--append")
    assert done.returncode == 4
    assert "4 gone, b.wav for one, and 2 new; to add to it, INPUT holds the old recordings as they were" in done.stderr


def test_shares_are_those_of_the_whole_dataset(cli: Cli, wavs: Path) -> None:
    (wavs / "e.wav").rename(wavs / "c.wav")  # which is of split val, as a.wav, b.wav and f.wav
    lines = [line.strip() for line in cli("build", "wavs", "--out", "shards", "--append").stdout.splitlines()]
    manifest = audiochunk.open(wavs.parent / "shards").manifest
    first = next(n for n, line in enumerate(lines) if line.startswith("train "))
    assert lines[first : first + 4] == [
        "train       0 chunks of 0 recordings, with which it has",
        "40 chunks of 2 recordings: 33.3 % of all chunks; asked for: 50 % of recordings",
        "val         40 chunks of 2 recordings, with which it has",
        "80 chunks of 4 recordings: 66.7 % of all chunks; asked for: 50 % of recordings",
    ]
    assert {name: split.chunks for name, split in manifest.splits.items()} == {"train": 40, "val": 80}


def state_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        found[str(path)] = (status.st_mtime_ns, status.st_ino, path.read_bytes() if path.is_file() else b"")
    return found


def test_a_dry_run_says_what_would_be_added_and_changes_nothing(cli: Cli, wavs: Path) -> None:
    before = state_of(wavs.parent)
    said = cli("build", "wavs", "--out", "shards", "--append", "--dry-run")
    assert (said.returncode, said.stderr) == (0, "")
    as_json = json.loads(cli("build", "wavs", "--out", "shards", "--append", "--dry-run", "--json").stdout)
    assert state_of(wavs.parent) == before
    report = json.loads(cli("build", "wavs", "--out", "shards", "--append", "--json").stdout)
    assert {key: report[key] for key in as_json} == as_json
    assert set(report) - set(as_json) == {
        "dataset_id",
        "clipped",
        "bytes_on_disk",
        "reused_shards",
        "rebuilt_shards",
        "seconds",
    }
    assert said.stdout.startswith("would add to shards:\n")
    assert "  recordings  2, 0.9 s\n" in said.stdout
    assert f"with which the dataset has {report['dataset_shards']}, and 120 chunks\n" in said.stdout
    again = cli("build", "wavs", "--out", "shards", "--append", "--dry-run")
    assert again.stdout.startswith("shards is up to date (contents not compared")
    assert "  recordings  6, " in again.stdout
    assert "with which" not in again.stdout


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("gone", 4, "1 gone, d.wav for one"),
        ("damaged", 4, "c.wav: the file is empty"),
        ("in the way", 2, "is in the way of a shard"),
        ("damaged, skipped", 3, "skipped 1:\n  c.wav: the file is empty"),
    ],
)
def test_a_dry_run_ends_as_the_append_would(cli: Cli, wavs: Path, what: str, code: int, words: str) -> None:
    if what == "gone":
        (wavs / "d.wav").unlink()
    elif what == "in the way":
        n = len(list((wavs.parent / "shards").glob("val-*")))
        (wavs.parent / "shards" / f"val-{n:05}.safetensors.zst").touch()
    else:
        (wavs / "c.wav").touch()
    before = state_of(wavs.parent)
    arguments = ["wavs", "--out", "shards", "--append", *(["--on-error", "skip"] if "skipped" in what else [])]
    done = cli("build", *arguments, "--dry-run")
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert state_of(wavs.parent) == before
    assert cli("build", *arguments).returncode == code


def test_json_counts_what_was_added_and_what_there_is_now(cli: Cli, wavs: Path) -> None:
    report = json.loads(cli("build", "wavs", "--out", "shards", "--append", "--json").stdout)
    manifest = audiochunk.open(wavs.parent / "shards").manifest
    assert (report["recordings"], report["chunks"], report["generations"]) == (2, 40, 2)
    assert (report["dataset_chunks"], report["dataset_shards"]) == (120, len(manifest.shards))
    assert 0 < report["shards"] < report["dataset_shards"]
    assert report["dataset_id"] == manifest.dataset_id
    assert report["up_to_date"] is False
    again = json.loads(cli("build", "wavs", "--out", "shards", "--append", "--json").stdout)
    assert (again["up_to_date"], again["recordings"], again["generations"]) == (True, 6, 2)


def test_skipped_recordings_are_those_that_are_new(cli: Cli, wavs: Path) -> None:
    (wavs / "c.wav").touch()
    done = cli("build", "wavs", "--out", "shards", "--append", "--on-error", "skip")
    assert done.returncode == 3
    assert "skipped 1:\n  c.wav: the file is empty" in done.stdout
    write(wavs, "z.wav")
    assert cli("build", "wavs", "--out", "shards", "--append").returncode == 0
    assert cli("build", "wavs", "--out", "shards", "--append").returncode == 3  # as the dataset has it


@pytest.mark.parametrize("name", ["gone", "changed"])
def test_recordings_that_are_not_as_they_were_end_it_with_4(cli: Cli, wavs: Path, name: str) -> None:
    if name == "gone":
        (wavs / "d.wav").unlink()
    else:
        write(wavs, "d.wav", frames=100)
    done = cli("build", "wavs", "--out", "shards", "--append")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"1 {name}, d.wav for one" in done.stderr
    assert "--overwrite" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "shards", "--bits", "16"], 2, "bits 8 → 16"),
        (["--out", "shards", "--tail", "drop"], 2, "tail pad → drop"),
        (["--out", "shards", "--compress", "none"], 2, "compress"),
        (["--out", "shards", "--bits", "24"], 2, "codes of 3 bytes"),
        (["--out", "shards", "--overwrite"], 2, "--append does not go with --overwrite"),
        (["--out", "shards", "--dry-run", "--overwrite"], 2, "--append does not go with --overwrite"),
        (["--out", "shards", "--dry-run", "--bits", "16"], 2, "bits 8 → 16"),
        (["--out", "nowhere", "--dry-run"], 4, "there is no dataset to add recordings to"),
        (["--out", "shards", "--task", "0/2"], 2, "does not go with --task"),
        (["--out", "nowhere"], 4, "there is no dataset to add recordings to; build it without --append"),
        (["--out", "wavs"], 4, "there is no dataset to add recordings to; build it without --append"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_exit_code(
    cli: Cli, wavs: Path, arguments: Sequence[str], code: int, words: str
) -> None:
    before = sorted(wavs.parent.rglob("*"))
    done = cli("build", "wavs", "--append", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(wavs.parent.rglob("*")) == before


def test_options_of_the_dataset_may_be_given_again(cli: Cli, wavs: Path) -> None:
    options = ["--split", "train=0.5,val=0.5", "--bits", "8", "--shard-size", "50000", "--workers", "1"]
    assert cli("build", "wavs", "--out", "shards", "--append", "--quiet", *options).returncode == 0


def test_a_plain_build_says_how_to_add_them(cli: Cli, wavs: Path) -> None:
    options = ["--shard-size", "50k", "--split", "train=0.5,val=0.5", "--tail", "pad", "--compress", "zstd:1"]
    done = cli("build", "wavs", "--out", "shards", *options)
    assert done.returncode == 2
    assert "2 new, a.wav for one" in done.stderr
    assert "say --append to add them" in done.stderr


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--bits", "16"]], ids=" ".join)
def test_a_plain_build_with_other_options_says_how_to_add_them_too(
    cli: Cli, wavs: Path, options: Sequence[str]
) -> None:
    done = cli("build", "wavs", "--out", "shards", "--split", "train=1,val=1", *options)
    assert done.returncode == 2
    assert "split train=0.5,val=0.5 → train=1,val=1" in done.stderr
    assert "say --append to add recordings that are new with the options that it has" in done.stderr
