"""What the pages about comparing say is run, or compared with the code."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.tools.evaluate import NAMES

from .documents import blocks, calls, command

ROOT = Path(audiochunk.__file__).parents[1]
PAGE = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
TABLES = (ROOT / "benchmarks" / "paper_tables.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets under the names that the pages have, and scores of a model."""
    folder = tmp_path_factory.mktemp("evaluate-docs")
    for name, seconds in (("train/a", 2), ("train/b", 1), ("val/c", 2)):
        (folder / "wavs" / name).parent.mkdir(parents=True, exist_ok=True)
        t = np.arange(16_000 * seconds) / 16_000
        sf.write(folder / "wavs" / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 300 * t), 16_000, subtype="PCM_16")
    for name, split in (("shards", "folders"), ("libri8", None)):
        audiochunk.build(folder / "wavs", folder / name, split=split, workers=1)
    (folder / "checkpoints").mkdir()
    np.save(folder / "checkpoints" / "scores.npy", np.full(3, 5000.0))
    return folder


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(calls(PAGE))))
def test_the_commands_of_the_page_run(workplace: Path, number: int) -> None:
    arguments = calls(PAGE)[number]
    if "--codec" not in arguments:
        arguments += ["--codec", "gzip-9"]  # all of them take a while
    named = [after for option, after in pairwise(arguments) if option == "--codec"]
    printed = run([sys.executable, "-m", "audiochunk", *arguments], workplace)
    for codec in named:
        assert sum(line.startswith(f"  {codec} ") for line in printed.splitlines()) == 3


def test_the_commands_of_readme_run(workplace: Path) -> None:
    part = README[README.index("## Listening and comparing") : README.index("## Training")]
    names = []
    for arguments in calls(part):
        run([sys.executable, "-m", "audiochunk", *arguments], workplace)
        names.append(arguments[0])
    assert names == ["decode", "evaluate", "report", "inspect"]
    assert sorted(path.name for path in (workplace / "decoded").rglob("*.wav")) == ["a.wav", "b.wav", "c.wav"]
    assert (workplace / "report.html").stat().st_size > 0


@pytest.mark.parametrize("arguments", calls(TABLES), ids=" ".join)
def test_the_commands_for_tables_of_papers_are_ones_that_the_program_takes(arguments: list[str]) -> None:
    name, *rest = arguments
    command(name).make_context(name, rest)


@pytest.mark.parametrize("page", [PAGE, TABLES], ids=["evaluate", "paper_tables"])
def test_the_python_examples_run(workplace: Path, page: str) -> None:
    assert blocks(page, "python")
    for code in blocks(page, "python"):
        run([sys.executable, "-W", "error", "-c", code], workplace)


def test_one_stream_through_flac_runs(workplace: Path) -> None:
    (code,) = [block for block in blocks(TABLES, "sh") if "tail -c" in block]
    if subprocess.run(["sh", "-c", "command -v flac"], capture_output=True, check=False).returncode:
        pytest.skip("needs the command flac")
    size = int(run(["bash", "-c", f"set -o pipefail; {code}"], workplace))
    assert 100 < size < len(audiochunk.open(workplace / "libri8")) * 2048


def test_the_table_of_options_is_that_of_the_command() -> None:
    table = PAGE[PAGE.index("| option | default |") :].split("\n\n")[0]
    rows = {row.split("|")[1].strip(" `"): row.split("|")[2].strip(" `") for row in table.splitlines()[2:]}
    options = [param for param in command("evaluate").params if isinstance(param, click.Option)]
    assert rows.keys() == {param.opts[0] for param in options}
    assert rows["--seed"] == str(next(param.default for param in options if param.name == "seed"))


def test_the_table_of_codecs_names_all() -> None:
    table = PAGE[PAGE.index("| name | what it is |") :].split("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(NAMES)


def test_the_sizes_of_headers_are_true(workplace: Path) -> None:
    from audiochunk.tools.codecs.registry import CODECS
    from audiochunk.tools.codecs.sound import Silence

    sound = Silence(8, 16_000, 1)
    said = {"gzip-9": 21, "lzma": 60, "flac-8": 97}
    assert {name: CODECS[name].header_bytes(sound) for name in said} == said
    for size, name in ((21, "gzip"), (60, "xz")):
        assert f"{size} bytes" in PAGE or f"{size} of {name}" in PAGE
