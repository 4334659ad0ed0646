import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

pytest.importorskip("matplotlib", reason="pip install 'audiochunk[report]'")
pytest.importorskip("jinja2", reason="pip install 'audiochunk[report]'")

ROOT = Path(audiochunk.__file__).parents[1]


def run(*arguments: str | Path, code: str = "") -> "subprocess.CompletedProcess[str]":
    main = ["-m", "audiochunk"] if not code else ["-c", f"{code}\nfrom audiochunk.cli import main\nmain()"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-W", "error", *main, *map(str, arguments)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "wavs").mkdir()
    rng = np.random.Generator(np.random.PCG64(4))
    for number in range(5):
        noise = rng.integers(-9000, 9000, 20_000).astype(np.int16)
        sf.write(folder / "wavs" / f"{number} 模.wav", noise, 16_000)
    audiochunk.build(folder / "wavs", folder / "shards", split="train=0.6,val=0.4", workers=1)
    return folder / "shards"


def test_a_page_is_written_and_the_same_command_writes_it_again(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = run("report", dataset, "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(out))}: [\d.]+ [kM]B\n", done.stdout)
    first = out.read_bytes()
    assert b"<h1><bdi>shards</bdi></h1>" in first
    assert run("report", dataset, "-o", out, "--overwrite", "--workers", "1").returncode == 0
    assert out.read_bytes() == first
    assert os.listdir(tmp_path) == ["report.html"]


def test_options_are_heard(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = run("report", dataset, "-o", out, "--title", "<Noise>", "--gallery", "2", "--seed", "7", "--stats", "codes")
    assert done.returncode == 0
    text = out.read_text()
    assert "&lt;Noise&gt;" in text
    assert text.count("<article") == 2
    assert "(seed 7)" in text
    assert "Loudness" not in text


def test_codecs_are_measured_when_asked_for(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    options = ("--evaluate", "--codec", "bz2", "--codec", "entropy-0", "--max-chunks", "5", "--split", "val")
    done = run("report", dataset, "-o", out, *options)
    assert (done.returncode, done.stderr) == (0, "")
    text = out.read_text()
    assert "5 chunks of <bdi>val</bdi>, of recordings in random order (at most 5 chunks, seed 0)" in text
    assert "10.2 kB of the 92.2 kB of chunks" in text
    assert "bz2" in text
    first = out.read_bytes()
    run("report", dataset, "-o", out, *options, "--overwrite")
    assert out.read_bytes() == first  # no seconds that codecs took


def test_scores_that_look_wrong_are_told_and_are_on_the_page(dataset: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "toy.npy", np.full(9, 2.5))
    options = ("--evaluate", "--codec", "bz2", "--split", "val", "--model-scores", tmp_path / "toy.npy")
    done = run("report", dataset, "-o", tmp_path / "x.html", *options)
    assert done.returncode == 0
    warning = "model:toy needs 2.5 bits for a chunk of 2,048 bytes: are these bits of whole chunks?"
    assert done.stderr == f"warning: {warning}\n"
    assert warning in (tmp_path / "x.html").read_text()


def test_what_is_there_is_not_overwritten(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("mine")
    done = run("report", dataset, "-o", out)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-o", "nowhere/x.html"], 2, "nowhere is not a folder"),
        (["-o", "."], 2, "is a folder"),
        ([], 2, "Missing option '-o'"),
        (["-o", "x.html", "--codec", "bz2"], 2, "--codec means nothing without --evaluate"),
        (["-o", "x.html", "--evaluate", "--codec", "mp3"], 2, "no codec 'mp3'"),
        (["-o", "x.html", "--stats", "beauty"], 2, "no stat 'beauty'"),
        (["-o", "x.html", "--gallery", "37"], 2, "37 is not in the range"),
    ],
)
def test_what_cannot_be_is_named(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("report", dataset, *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert os.listdir(tmp_path) == []


def test_no_dataset_is_4(tmp_path: Path) -> None:
    assert run("report", tmp_path, "-o", tmp_path / "x.html").returncode == 4


@pytest.mark.parametrize("command", [["report", "-o"], ["inspect", "--plot"]], ids=" ".join)
def test_a_missing_extra_is_told_with_how_to_get_it(dataset: Path, tmp_path: Path, command: list[str]) -> None:
    hide = "import sys; sys.modules['matplotlib'] = None"
    done = run(command[0], dataset, command[1], tmp_path / ("x.html" if command[0] == "report" else "x.png"), code=hide)
    assert done.returncode == 2
    assert "need matplotlib, which is not installed: pip install 'audiochunk[report]'" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_picture_is_plotted(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    done = run("inspect", dataset, "--plot", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "5 recordings" not in done.stderr
    again = run("inspect", dataset, "--plot", out)
    assert again.returncode == 2
    assert "is there already" in again.stderr
