"""The program as a command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import audiochunk

ROOT = Path(audiochunk.__file__).parents[1]


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs it with such arguments, in the test's own folder."""

    def call(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "audiochunk", *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return call
