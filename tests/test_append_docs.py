"""docs/append.md: its commands are run in their order, and do what the page says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

from .documents import blocks, calls, command

ROOT = Path(audiochunk.__file__).parents[1]
PAGE = (ROOT / "docs" / "append.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in wavs/ and more/, and what the page's commands make of them; shards-before/ as it was at first."""
    folder = tmp_path_factory.mktemp("append")
    rng = np.random.default_rng(4)
    for name in ("wavs/b.wav", "wavs/d.wav", "more/a.wav", "more/c.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        sf.write(folder / name, rng.integers(-9000, 9000, 30_000).astype(np.int16), 8000)
    lines = "".join(blocks(PAGE, "console")).splitlines()
    assert len(lines) == 4
    for line in lines:
        if line.startswith("$ cp"):
            shutil.copytree(folder / "shards", folder / "shards-before")
        done = run(line.removeprefix("$ "), folder)
        assert (done.returncode, done.stderr) == (0, ""), line
    return folder


def run(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    words = shlex.split(line)
    if words[0] == "audiochunk":
        words = [sys.executable, "-m", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_commands_add_recordings_to_a_dataset(workplace: Path) -> None:
    before, ds = (audiochunk.open(workplace / name) for name in ("shards-before", "shards"))
    assert (before.manifest.generations, ds.manifest.generations) == (1, 2)
    np.testing.assert_array_equal(ds[list(range(len(before)))], before[list(range(len(before)))])
    table = (workplace / "shards" / "recordings.jsonl").read_bytes()
    assert table.startswith((workplace / "shards-before" / "recordings.jsonl").read_bytes())
    paths = re.findall(rb'"path":"(.)\.wav"', table)
    assert paths == [b"b", b"d", b"a", b"c"]


def test_the_line_of_python_does_the_same(workplace: Path, tmp_path: Path) -> None:
    [code] = re.findall(r"`(audiochunk\.build\(.*?\))`", PAGE)
    shutil.copytree(workplace / "wavs", tmp_path / "wavs")
    shutil.copytree(workplace / "shards-before", tmp_path / "shards")
    (tmp_path / "example.py").write_text(f"import audiochunk\nif __name__ == '__main__':\n    {code}\n")
    assert run(f"{sys.executable} example.py", tmp_path).returncode == 0
    for file in (workplace / "shards").iterdir():
        assert (tmp_path / "shards" / file.name).read_bytes() == file.read_bytes()


def test_a_plain_build_says_how_many_are_new(workplace: Path) -> None:
    shutil.copytree(workplace / "shards-before", workplace / "plain")
    first = blocks(PAGE, "console")[0].splitlines()[0].removeprefix("$ ")
    done = run(first.replace("--out shards", "--out plain"), workplace)
    assert done.returncode == 2
    assert "2 new" in done.stderr


@pytest.mark.parametrize("arguments", calls(PAGE), ids=" ".join)
def test_the_commands_of_the_page_are_ones_that_the_program_takes(arguments: list[str]) -> None:
    name, *rest = arguments
    command(name).make_context(name, rest)


def test_every_option_on_the_page_is_there() -> None:
    names = {opt for each in ("build", "verify") for param in command(each).params for opt in param.opts}
    names |= {opt for param in command("build").params for opt in param.secondary_opts}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= names
