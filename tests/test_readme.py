"""What the documents say is run, or compared with the code."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import audiochunk
from audiochunk.cli import cli
from audiochunk.config import Compression, Encoding

ROOT = Path(audiochunk.__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample recordings in wavs/ and, as README says, a dataset in shards/."""
    folder = tmp_path_factory.mktemp("readme")
    subprocess.run([sys.executable, ROOT / "examples" / "make_wavs.py", "wavs"], cwd=folder, check=True)
    for line in blocks("console")[0].splitlines():
        command = shlex.split(line.removeprefix("$ "))
        if command[0] == "audiochunk":
            run([sys.executable, "-m", *command], folder)
    return folder


def run(command: list[str], folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_examples_run(workplace: Path, number: int) -> None:
    code = blocks("python")[number]
    (workplace / "example.py").write_text(code + "\nchunks = globals().get('chunks')\n")
    run([sys.executable, "-W", "error", "example.py"], workplace)


def test_the_three_lines_print_what_one_expects(workplace: Path) -> None:
    (workplace / "three.py").write_text(blocks("python")[0])
    printed = run([sys.executable, "three.py"], workplace)
    assert printed.startswith(f"{len(audiochunk.open(workplace / 'shards'))} [")
    assert printed.endswith("(2, 2048)\n")


def test_the_memmap_and_safetensors_examples_see_the_same_chunks(workplace: Path) -> None:
    ds = audiochunk.open(workplace / "shards")
    for code in [code for code in blocks("python") if "memmap" in code or "safetensors" in code]:
        check = "\nimport sys, hashlib\nprint(hashlib.sha256(chunks.tobytes()).hexdigest())\n"
        (workplace / "seen.py").write_text(code + check)
        import hashlib

        expected = hashlib.sha256(ds[list(range(len(ds)))].tobytes()).hexdigest()
        assert run([sys.executable, "seen.py"], workplace) == f"{expected}\n"


def test_every_make_target_that_readme_names_is_there() -> None:
    named = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert {"dataset", "test"} <= set(named)
    helped = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    for target in [*named, "lint", "help"]:
        assert f"make {target}" in helped


def test_the_table_of_options_is_that_of_the_command() -> None:
    build = cli.get_command(click.Context(cli), "build")
    assert build is not None
    table = README[README.index("| option |") :].split("\n\n")[0]
    named = set(re.findall(r"`(--[a-z-]+)`", "\n".join(row.split("|")[1] for row in table.splitlines())))
    options = [param for param in build.params if isinstance(param, click.Option)]
    assert named == {next(opt for opt in param.opts if opt.startswith("--")) for param in options} - {"--out"}
    for row in table.splitlines()[2:]:
        _, names, default, *_ = (cell.strip() for cell in row.split("|"))
        for param in options:
            if f"`{param.opts[0]}`" in names and default.startswith("`"):
                expected = str(param.default)
                if param.name == "chunks_per_frame":  # which means nothing without --compress
                    expected = str(Compression().chunks_per_frame)
                    assert f"[default: {expected}]" in (param.help or "")
                assert default.strip("`") == expected, names


def test_the_table_of_durations_is_true() -> None:
    table = README[README.index("| | samples of a channel |") :].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        _, name, samples, *durations, _ = (cell.strip() for cell in row.split("|"))
        bits, channels = int(name[:2].strip("-")), 2 if "stereo" in name else 1
        per_channel = Encoding(bits=bits).codes_per_chunk // channels
        assert int(samples) == per_channel
        for rate, duration in zip((16_000, 44_100), durations, strict=True):
            assert duration == f"{1000 * per_channel / rate:.3g} ms"


def test_the_table_of_bits_is_true() -> None:
    table = README[README.index("| bits | values |") :].split("\n\n")[0]
    rows = {
        int(cells[1]): [cell.strip() for cell in cells] for row in table.splitlines()[2:] for cells in [row.split("|")]
    }
    for bits in (8, 12, 16):
        encoding = Encoding(bits=bits)
        assert rows[bits][2] == str(encoding.vocab_size)
        assert rows[bits][3].startswith(encoding.stored_as)
        assert rows[bits][4] == str(encoding.codes_per_chunk)
    assert Encoding(bits=24, chunk_bytes=1536).vocab_size == 256


def test_the_worked_numbers_are_true() -> None:
    import numpy as np

    from audiochunk.signal.quantize import quantize

    pairs = re.findall(r"(−?\d+) → (\d+)", README)
    assert len(pairs) == 5
    for sample, code in pairs:
        assert quantize(np.array([int(sample.replace("−", "-"))], np.int16), bits=8)[0] == int(code)


def test_the_map_in_contributing_names_every_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for module in (ROOT / "audiochunk").rglob("*.py"):
        if not module.name.startswith("_") and module.parent.name != "cli":
            assert re.search(rf"\b{module.name}\b", text), module
    for name in re.findall(r"\b[a-z_]+\.py\b", text.split("```")[1]):
        assert list((ROOT / "audiochunk").rglob(name)), name


def test_the_changelog_begins_with_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == audiochunk.__version__  # type: ignore[index]
