"""The PyTorch example: a few steps of it, and a few more after a stop."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")

TINY = ("--width", 16, "--depth", 1, "--heads", 2, "--batch-size", 4, "--check-every", 3)

Dataset = Callable[..., Path]
Example = Callable[..., Any]


def train(example: Example, dataset: Path, out: Path, *arguments: object) -> str:
    run = example("train_torch.py", dataset, "--out", out, *TINY, *arguments)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return str(run.stdout)


def test_steps_lower_the_bits_and_end_in_a_table_a_checkpoint_and_scores(
    example: Example, dataset: Dataset, tmp_path: Path
) -> None:
    printed = train(example, dataset(), tmp_path / "new" / "model.pt", "--steps", 12)

    looks = [float(bits) for bits in re.findall(r"^step \d+, \d+ s: ([\d.]+) bits per byte", printed, re.MULTILINE)]
    assert len(looks) == 4
    assert looks[-1] < looks[0]
    assert re.search(r"^12 steps in \d+ s, \d+\.\d\d% of them for the loader$", printed, re.MULTILINE)
    val = audiochunk.open(dataset(), "val")
    scores = np.load(tmp_path / "new" / "scores.npy")
    assert (scores.shape, scores.dtype) == ((len(val),), np.float64)
    row = re.search(r"^model:scores +chunked +([\d.]+)", printed, re.MULTILINE)
    assert row is not None
    assert scores.mean() / 256 == pytest.approx(float(row[1]), abs=1e-3)
    assert {"gzip", "flac", "entropy"} <= set(re.findall(r"^\w+", printed, re.MULTILINE))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["model.pt", "scores.npy"]


def test_stop_and_resume_give_the_weights_of_a_run_without_a_stop(
    example: Example, dataset: Dataset, tmp_path: Path
) -> None:
    whole, halves = tmp_path / "whole.pt", tmp_path / "halves.pt"
    assert len(audiochunk.open(dataset(), "train")) == 186  # 46 batches: after the stop, a second epoch goes on
    train(example, dataset(), whole, "--steps", 50, "--check-every", 50)
    scores = np.load(tmp_path / "scores.npy")
    printed = train(example, dataset(), halves, "--steps", 50, "--stop-at", 47)
    assert "chunks of val\n " not in printed
    train(example, dataset(), halves, "--steps", 50, "--resume")

    one, other = (torch.load(path) for path in (whole, halves))
    assert one["step"] == other["step"] == 50
    assert one["loader"] == other["loader"]
    assert one["loader"]["epoch"] == 1
    assert one["model"].keys() == other["model"].keys()
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert np.array_equal(np.load(tmp_path / "scores.npy"), scores)


@pytest.mark.parametrize("bits", [16, 24])
def test_codes_of_several_bytes_are_modelled_byte_by_byte(
    example: Example, dataset: Dataset, tmp_path: Path, bits: int
) -> None:
    shards = dataset(bits=bits, chunk_bytes=192)
    train(example, shards, tmp_path / "model.pt", "--steps", 2, "--eval-chunks", 5)
    assert torch.load(tmp_path / "model.pt")["shape"]["length"] == 192
    assert np.load(tmp_path / "scores.npy").shape == (5,)


def test_what_cannot_be_trained_on_is_said_in_one_sentence(example: Example, dataset: Dataset, tmp_path: Path) -> None:
    there = tmp_path / "there.pt"
    there.touch()
    whole, noise = dataset(split_file=None), tmp_path / "noise.pt"
    noise.write_bytes(bytes(99))
    refused = {
        (tmp_path,): f"{tmp_path}: no dataset here: there is no manifest.json",
        (whole,): "no split 'val' here; there are: train",
        (dataset(), "--resume", "--out", tmp_path / "none.pt"): f"No such file or directory: '{tmp_path}/none.pt'",
        (dataset(), "--resume", "--out", noise): f"{noise}: no checkpoint of train_torch.py",
        (dataset(), "--out", there): f"{there} is there; --resume goes on",
        (dataset(), "--out", tmp_path): f"{tmp_path} is there; --resume goes on",
        (dataset(), "--batch-size", 1000): "186 rows do not fill",
        (dataset(), "--width", 20, "--heads", 4): "--width must be a multiple of twice --heads, not 20 for 4",
    }
    for arguments, sentence in refused.items():
        run = example("train_torch.py", *arguments)
        assert run.returncode == 1
        assert re.fullmatch(r"train_torch: .*\n", run.stderr), run.stderr
        assert sentence in run.stderr


@pytest.mark.parametrize("option", ["--steps", "--heads", "--check-every", "--batch-size", "--eval-chunks"])
def test_numbers_are_above_zero(example: Example, dataset: Dataset, option: str) -> None:
    run = example("train_torch.py", dataset(), option, 0)
    assert run.returncode == 2
    assert f"argument {option}: must be a whole number above 0, not 0" in run.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_in_one_sentence(example: Example, dataset: Dataset) -> None:
    run = example("train_torch.py", dataset(), "--device", "cuda")
    assert (run.returncode, run.stderr) == (1, "train_torch: --device cuda: PyTorch finds no GPU\n")
