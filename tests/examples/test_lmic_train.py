"""The training example: two steps of it, and that it learns."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "lmic" / "train.py"

# Looked for, not imported: the threads that jax starts would make every later fork of the test process a warning.
pytestmark = [
    pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}, which is not installed")
    for name in ("jax", "optax")
]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Chunks of 64 bytes of noise in `train`; of silence in `val`."""
    noise = np.random.Generator(np.random.PCG64(7)).integers(-(2**15), 2**15, 64 * 50).astype(np.int16)
    for split, samples in (("train", noise), ("val", np.zeros_like(noise))):
        (tmp_path / "wavs" / split).mkdir(parents=True)
        sf.write(tmp_path / "wavs" / split / "a.wav", samples, 16_000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", chunk_bytes=64, split="folders", workers=1, fsync=False)
    return tmp_path / "shards"


def train(shards: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tiny = ["--batch-size", "4", "--width", "16", "--heads", "2", "--layers", "1", "--log-every", "1"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.fspath(SCRIPT.parents[2])}
    command = [sys.executable, SCRIPT, "--dataset", shards, *tiny, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def losses(run: subprocess.CompletedProcess[str]) -> list[float]:
    """Bits per byte of every step, which are numbered from 0."""
    assert run.returncode == 0, run.stderr
    lines = [re.fullmatch(r"step (\d+): (\d+\.\d{4}) bits per byte", line) for line in run.stdout.splitlines()]
    assert [line and int(line[1]) for line in lines] == list(range(len(lines)))
    return [float(line[2]) for line in lines if line]


def test_untrained_model_takes_eight_bits_for_a_byte_and_two_runs_are_the_same(shards: Path) -> None:
    first = losses(train(shards, "--steps", "2"))
    assert first == pytest.approx([8, 8], abs=0.1)
    assert losses(train(shards, "--steps", "2")) == first


def test_silence_is_learned(shards: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.npz"
    options = ["--split", "val", "--num-chunks", "5", "--steps", "20", "--learning-rate", "0.03", "--params", weights]
    found = losses(train(shards, *map(str, options)))
    assert found[0] == pytest.approx(8, abs=0.2)
    assert found[-1] < 1
    with np.load(weights) as saved:
        assert sorted(saved[name].shape for name in saved.files) == sorted(
            [(256, 16), (64, 16), (16, 256), (16, 48), (16, 16), (16, 64), (64, 16)]
        )


def test_a_dataset_without_chunks_is_named(shards: Path) -> None:
    run = train(shards, "--num-chunks", "0")
    assert run.returncode == 1
    assert run.stderr == f"train: no chunks in split train of {shards}\n"
