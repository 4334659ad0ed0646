import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from tests.waiting import LONG_S, wait_until

ROOT = Path(audiochunk.__file__).parents[1]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def write_recordings(folder: Path, count: int = 6, frames: int = 20_000) -> None:
    rng = np.random.Generator(np.random.PCG64(8))
    for number in range(count):
        path = folder / f"speaker-{number % 2}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, rng.integers(-9000, 9000, (frames, 2)).astype(np.int16), 44_100, subtype="PCM_16")


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    write_recordings(tmp_path / "wavs")
    return tmp_path / "wavs"


def test_version_and_help_need_no_numpy(cli: Cli) -> None:
    assert cli("--version").stdout == f"audiochunk {audiochunk.__version__}\n"
    assert "build" in cli("--help").stdout
    code = "import sys, audiochunk.cli.build, audiochunk.cli.inspect as _; print({'numpy', 'tqdm'} & {*sys.modules})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_results_go_to_stdout_and_nothing_else_does(cli: Cli, wavs: Path) -> None:
    done = cli("build", wavs, "--out", "shards", "--block", "1024")
    assert (done.returncode, done.stderr) == (0, "")
    assert "built shards in" in done.stdout
    assert "blocks of 1024 samples a channel; a chunk is 23.2 ms of stereo at 44.1 kHz" in done.stdout
    assert "6, 2.7 s" in done.stdout
    assert done.stdout.endswith("next: audiochunk inspect shards\n")


def test_the_command_line_and_the_library_make_the_same_bytes(cli: Cli, wavs: Path, tmp_path: Path) -> None:
    options = ["--bits", "16", "--tail", "pad", "--split", "train=0.5,val=0.5", "--group-by", "folder:1"]
    options += ["--split-seed", "3", "--shard-size", "50k", "--compress", "zstd:2", "--chunks-per-frame", "5"]
    options += ["--include", "*.wav", "--exclude", "*/5.wav", "--layout", "split", "--byte-order", "big"]
    assert cli("build", wavs, "--out", "shards", *options).returncode == 0
    audiochunk.build(
        wavs,
        tmp_path / "library",
        bits=16,
        tail="pad",
        split="train=0.5,val=0.5",
        group_by="folder:1",
        split_seed=3,
        shard_size=50_000,
        compress="zstd:2",
        chunks_per_frame=5,
        include=["*.wav"],
        exclude=["*/5.wav"],
        layout="split",
        byte_order="big",
        workers=1,
    )
    for file in (tmp_path / "library").iterdir():
        assert file.read_bytes() == (tmp_path / "shards" / file.name).read_bytes()


def test_json_holds_the_numbers_that_are_printed(cli: Cli, wavs: Path) -> None:
    report = json.loads(cli("build", wavs, "--out", "shards", "--json").stdout)
    assert (report["recordings"], report["chunks"], report["shards"]) == (6, 6 * 19, 1)
    assert report["tail_loss"] == pytest.approx((20_000 - 19 * 1024) / 20_000)
    assert report["up_to_date"] is False
    again = json.loads(cli("build", wavs, "--out", "shards", "--json").stdout)
    assert again["up_to_date"] is True
    assert again["dataset_id"] == report["dataset_id"] == audiochunk.open(wavs.parent / "shards").dataset_id


def test_quiet_says_nothing(cli: Cli, wavs: Path) -> None:
    done = cli("build", wavs, "--out", "shards", "-q", "--block", "1000")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_dry_run_prints_the_plan_and_writes_nothing(cli: Cli, wavs: Path, tmp_path: Path) -> None:
    done = cli("build", wavs, "--out", "shards", "--dry-run", "--shard-size", "30 kB", "--block", "1000")
    assert done.returncode == 0
    assert "would build shards" in done.stdout
    assert "114 of 2,048 bytes" in done.stdout
    assert "shards      9," in done.stdout
    assert "5 % of frames" in done.stdout
    assert "44,100 Hz  2 ch  PCM_16  6" in done.stdout
    assert "warning: block 1000" in done.stderr
    assert "block 1024 does" in done.stderr
    assert not (tmp_path / "shards").exists()


def test_a_dry_run_over_a_dataset_says_what_the_build_would(cli: Cli, wavs: Path) -> None:
    arguments = ["build", wavs, "--out", "shards"]
    assert cli(*arguments, "--split", "train=1,val=1").returncode == 0
    for options, code, words in (
        (["--split", "train=1,val=1"], 0, "shards is up to date"),
        ([], 2, "split train=1,val=1 → none"),
        (["--overwrite"], 0, "would build shards:"),
    ):
        dry = cli(*arguments, *options, "--dry-run")
        assert dry.returncode == code, options
        assert words in dry.stdout + dry.stderr
    write_recordings(wavs / "new", 1)
    for more in ([], ["--dry-run"]):
        done = cli(*arguments, "--split", "train=1,val=1", *more)
        assert done.returncode == 2
        assert "1 new, new/speaker-0/0.wav for one" in done.stderr


def test_a_dry_run_lists_what_is_refused(cli: Cli, wavs: Path) -> None:
    (wavs / "bad.wav").write_bytes(b"")
    done = cli("build", wavs, "--out", "shards", "--dry-run", "--on-error", "skip")
    assert done.returncode == 3
    assert "bad.wav: the file is empty (0 bytes)" in done.stdout


def test_skipped_recordings_are_listed_and_the_exit_code_is_3(cli: Cli, wavs: Path) -> None:
    (wavs / "bad\n.wav").write_bytes(b"")
    first = cli("build", wavs, "--out", "shards", "--on-error", "skip")
    assert first.returncode == 3
    assert "skipped 1:\n  bad\\n.wav: the file is empty (0 bytes)\n" in first.stdout
    again = cli("build", wavs, "--out", "shards", "--on-error", "skip")
    assert again.returncode == 3
    assert "up to date (contents not compared; `audiochunk verify --against` does)" in again.stdout


def test_unusable_recordings_end_the_build_with_4_and_are_all_listed(cli: Cli, wavs: Path) -> None:
    (wavs / "a.wav").write_bytes(b"")
    (wavs / "b.wav").write_text("hello, this is no audio")
    done = cli("build", wavs, "--out", "shards")
    assert (done.returncode, done.stdout) == (4, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "audiochunk: 2 recordings cannot be used:"
    assert lines[1].startswith("  a.wav: the file is empty")
    assert lines[2].startswith("  b.wav: this is text")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["wavs", "--out", "o", "--bits", "24"], 2, "2046 or 2049"),
        (["wavs", "--out", "o", "--bits", "9"], 2, "'9' is not one of"),
        (["wavs", "--out", "o", "--byte-order", "big"], 2, "8 bits"),
        (["wavs", "--out", "o", "--block", "x"], 2, "auto"),
        (["wavs", "--out", "o", "--shard-size", "big"], 2, "32MiB"),
        (["wavs", "--out", "o", "--split", "train"], 2, "train=0.98"),
        (["wavs", "--out", "o", "--compress", "gzip"], 2, "zstd:LEVEL"),
        (["wavs"], 2, "--out"),
        (["nowhere", "--out", "o"], 4, "nowhere: there is no such folder"),
        (["wavs/speaker-0/0.wav", "--out", "o"], 4, "not a folder"),
        (["wavs", "--out", "o", "--include", "*.flac"], 4, "no recordings"),
        (["wavs", "--out", "o", "--chunk-bytes", "1000000"], 4, "too short"),
        (["wavs", "--out", "wavs"], 2, "is the folder of the recordings"),
        (["wavs", "--out", "."], 2, "is not empty and holds no dataset"),
        (["wavs", "--out", "o", "--split-file", "none.tsv"], 4, "none.tsv"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_exit_code(
    cli: Cli, wavs: Path, arguments: Sequence[str], code: int, words: str
) -> None:
    done = cli("build", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (wavs.parent / "o").exists()


def test_much_tail_loss_is_pointed_out_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    write_recordings(tmp_path / "wavs", count=2, frames=2000)
    assert "--tail pad" in cli("build", "wavs", "--out", "shards").stdout


def test_asked_and_achieved_shares_are_printed(cli: Cli, wavs: Path) -> None:
    done = cli("build", wavs, "--out", "shards", "--split", "train=0.5,val=0.5,test=0")
    shares = [line for line in done.stdout.splitlines() if "asked for" in line]
    assert len(shares) == 3
    assert shares[1].endswith(" % of all chunks; asked for: 50 % of recordings")
    assert "warning: split test gets no chunks" in done.stderr
    grouped = ["--split", "train=0.5,val=0.5", "--group-by", "folder"]
    done = cli("build", wavs, "--out", "grouped", *grouped)
    assert "asked for: 50 % of groups (--group-by folder)" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_a_sentence_and_the_same_command_goes_on(tmp_path: Path, number: int, code: int) -> None:
    write_recordings(tmp_path / "wavs", count=30, frames=200_000)
    command = [sys.executable, "-m", "audiochunk", "build", "wavs", "--out", "shards", "--workers", "2"]
    command += ["--shard-size", "200k", "--compress", "zstd:19"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: list(tmp_path.glob("shards/.build/*.safetensors.zst.json")), "a shard")
    assert process.poll() is None
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == code
    assert "goes on from the finished shards" in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "taken over from an interrupted build" in done.stdout
