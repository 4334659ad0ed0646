"""What tests of the training examples share: small datasets, and the scripts run as a reader would."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiochunk

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# Scripts find their modules beside them; tests find them there too.
sys.path.insert(0, str(EXAMPLES))

Example = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def example() -> Example:
    """Runs a script of `examples/` with arguments; a warning fails it."""

    def run(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-W", "error", EXAMPLES / script, *map(str, arguments)]
        # Tests run side by side: one thread each.
        env = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a dataset of six hums of one second at 8 kHz, every other one in stereo, with any options of a build."""
    base = tmp_path_factory.mktemp("hums")
    (base / "wavs").mkdir()
    noise = np.random.default_rng(0)
    for number in range(6):
        turns = np.arange(8000)[:, None] / 8000 * (110 + 50 * number)
        wave = 0.4 * np.sin(2 * np.pi * turns) + noise.normal(0, 0.01, (8000, 1 + number % 2))
        sf.write(base / "wavs" / f"hum-{number}.wav", wave, 8000, subtype="PCM_16")
    names = "".join(f"hum-{n}.wav\t{'val' if n > 3 else 'train'}\n" for n in range(6))
    (base / "splits.tsv").write_text(names)
    made: dict[str, Path] = {}

    def make(**options: Any) -> Path:
        out = base / f"shards-{len(made)}"
        if (name := repr(sorted(options.items()))) not in made:
            usual = {"chunk_bytes": 256, "split_file": base / "splits.tsv", "workers": 1, "fsync": False}
            audiochunk.build(base / "wavs", out, **usual | options)
            made[name] = out
        return made[name]

    return make
