"""docs/hub.md: what it shows of audiochunk runs; what needs the Hub is only read."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.cli import cli
from audiochunk.config import Options
from audiochunk.storage.shard import DATA_OFFSET

ROOT = Path(audiochunk.__file__).parents[1]
PAGE = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in shards/, after the page's own commands."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "wavs").mkdir()
    sf.write(folder / "wavs" / "a.wav", np.zeros(9000, np.int16), 8000)
    audiochunk.build(folder / "wavs", folder / "shards", workers=1)
    for line in re.findall(r"^\$ (audiochunk .*)$", CONSOLE, re.MULTILINE):
        run([sys.executable, "-m", *shlex.split(line)], folder)
    return folder


def run(command: list[str], folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_commands_leave_a_card_beside_a_sound_dataset(workplace: Path) -> None:
    assert {"README.md", "croissant.json"} <= set(os.listdir(workplace / "shards"))


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_python_is_python(code: str) -> None:
    compile(code, "hub.md", "exec")


def test_records_are_read_as_the_page_says(workplace: Path) -> None:
    pytest.importorskip("yaml")
    if not any((Path(path) / "mlcroissant").is_dir() for path in sys.path):
        pytest.skip("needs mlcroissant")
    printed = run(
        [sys.executable, "-W", "ignore", "-c", f"import logging; logging.disable()\n{EXAMPLES[-1]}"], workplace
    )
    assert printed == "b'train' 8000 9000\n"


def test_the_options_are_those_of_the_command() -> None:
    card = cli.get_command(click.Context(cli), "card")
    assert card is not None
    table = PAGE[PAGE.index("| option |") :].split("\n\n")[0]
    named = set(re.findall(r"`(--[a-z-]+)`", "\n".join(row.split("|")[1] for row in table.splitlines())))
    options = [param for param in card.params if isinstance(param, click.Option)]
    assert named == {next(opt for opt in param.opts if opt.startswith("--")) for param in options}


def test_the_largest_datasets_are_what_ten_thousand_files_hold() -> None:
    files = 10_000 - 5  # the manifest, the table, the card, .gitattributes
    default = files * (DATA_OFFSET + Options().shard_size)
    assert f"up to {default / 1e9:.0f} GB with `--shard-size` 32MiB" in PAGE
    assert f"up to {files * (DATA_OFFSET + 2**30) / 1e12:.1f} TB with 1GiB" in PAGE
