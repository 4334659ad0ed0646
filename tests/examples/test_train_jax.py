"""The JAX example: a few steps of it, and a few more after a stop."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk

# Looked for, not imported: the threads that jax starts would make every later fork of the test process a warning.
pytestmark = [
    pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}, which is not installed")
    for name in ("jax", "flax", "grain", "optax")
]

TINY = ("--width", 16, "--depth", 1, "--heads", 2, "--batch-size", 4)

Dataset = Callable[..., Path]
Example = Callable[..., Any]


def train(example: Example, dataset: Path, out: Path, *arguments: object) -> str:
    run = example("train_jax.py", dataset, "--out", out, *TINY, *arguments)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return str(run.stdout)


def bits_of(printed: str) -> float:
    """The model's row of the table."""
    row = re.search(r"^model:scores +chunked +([\d.]+)", printed, re.MULTILINE)
    assert row is not None
    return float(row[1])


@pytest.fixture(scope="module")
def trained(example: Example, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of six steps; what was printed is beside it."""
    out = tmp_path_factory.mktemp("jax") / "new" / "model.npz"
    printed = train(example, dataset(), out, "--steps", 6)
    (out.parent.parent / "printed.txt").write_text(printed)
    return out


def test_run_ends_in_a_table_a_checkpoint_and_scores(trained: Path, dataset: Dataset) -> None:
    printed = (trained.parent.parent / "printed.txt").read_text()
    assert re.search(r"^6 steps in \d+ s, \d+\.\d\d% of them for the loader$", printed, re.MULTILINE)
    assert {"gzip", "flac", "entropy"} <= set(re.findall(r"^\w+", printed, re.MULTILINE))
    scores = np.load(trained.with_name("scores.npy"))
    assert (scores.shape, scores.dtype) == ((len(audiochunk.open(dataset(), "val")),), np.float64)
    assert scores.mean() / 256 == pytest.approx(bits_of(printed), abs=1e-3)
    assert sorted(path.name for path in trained.parent.iterdir()) == ["model.npz", "scores.npy"]


def test_more_steps_lower_the_bits(trained: Path, example: Example, dataset: Dataset, tmp_path: Path) -> None:
    few = bits_of((trained.parent.parent / "printed.txt").read_text())
    assert bits_of(train(example, dataset(), tmp_path / "model.npz", "--steps", 24)) < few


def test_stop_and_resume_give_the_weights_of_a_run_without_a_stop(
    trained: Path, example: Example, dataset: Dataset, tmp_path: Path
) -> None:
    halves = tmp_path / "halves.npz"
    assert "chunks of val" not in train(example, dataset(), halves, "--steps", 6, "--stop-at", 3)
    train(example, dataset(), halves, "--steps", 6, "--resume")
    one, other = (np.load(path) for path in (trained, halves))
    assert one.files == other.files
    assert all(np.array_equal(one[name], other[name]) for name in one.files)


def test_checkpoint_of_another_run_is_refused_in_one_sentence(
    trained: Path, example: Example, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "noise.npz").write_bytes(bytes(99))
    other = dataset(quantizer="mulaw")
    for shards, arguments, sentence in (
        (dataset(), (trained, "--width", 32), f"{trained} is of another width: 16, not 32"),
        (dataset(), (trained, "--heads", 1), f"{trained} is of another heads: 2, not 1"),
        (dataset(), (trained, "--seed", 9), f"{trained} is of another seed: 0, not 9"),
        (other, (trained,), f"{trained} is of another dataset: "),
        (dataset(), (tmp_path / "noise.npz",), "noise.npz: no checkpoint of train_jax.py"),
    ):
        run = example("train_jax.py", shards, *TINY, "--resume", "--out", *arguments)
        assert run.returncode == 1
        assert re.fullmatch(r"train_jax: .*\n", run.stderr), run.stderr
        assert sentence in run.stderr


def test_codes_of_two_bytes_are_modelled_byte_by_byte(example: Example, dataset: Dataset, tmp_path: Path) -> None:
    train(example, dataset(bits=16), tmp_path / "model.npz", "--steps", 1, "--eval-chunks", 5)
    assert np.load(tmp_path / "scores.npy").shape == (5,)


def test_what_cannot_be_trained_on_is_said_in_one_sentence(example: Example, dataset: Dataset, tmp_path: Path) -> None:
    for arguments, sentence in {
        (tmp_path,): f"{tmp_path}: no dataset here: there is no manifest.json",
        (dataset(split_file=None),): "no split 'val' here; there are: train",
    }.items():
        run = example("train_jax.py", *arguments)
        assert run.returncode == 1
        assert re.fullmatch(r"train_jax: .*\n", run.stderr), run.stderr
        assert sentence in run.stderr
