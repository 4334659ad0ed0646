"""Compression with a model: what comes back, and how large it was on the way."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")
pytest.importorskip("constriction", reason="needs constriction, which is not installed")

import compress_with_lm  # noqa: E402 - there may be no torch
from byte_model import Model  # noqa: E402 - likewise

Dataset = Callable[..., Path]
Example = Callable[..., Any]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A model of chunks of 256 bytes that has not been trained."""
    torch.manual_seed(0)
    shape = {"length": 256, "width": 16, "depth": 1, "heads": 1}
    torch.save({"shape": shape, "model": Model(**shape).state_dict()}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_script_finds_equal_bytes_and_a_size_within_one_percent_of_the_cross_entropy(
    example: Example, dataset: Dataset, checkpoint: Path
) -> None:
    run = example("compress_with_lm.py", dataset(), checkpoint, "--chunks", 16)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    assert run.stdout.startswith("16 chunks of val, 4,096 bytes\n")
    assert run.stdout.endswith("decoded bytes are equal\n")
    ratio = re.search(r"^ratio +([\d.]+)$", run.stdout, re.MULTILINE)
    assert ratio is not None
    assert 0.99 < float(ratio[1]) < 1.01


def test_message_is_as_long_as_its_probabilities_say_and_gives_back_any_bytes(checkpoint: Path) -> None:
    cpu = torch.device("cpu")
    model = compress_with_lm.load(checkpoint, cpu)
    # Noise is what the model least expects.
    chunks = np.random.default_rng(0).integers(0, 256, (5, 256), dtype=np.uint8)
    message = compress_with_lm.compress(model, chunks, cpu)
    assert np.array_equal(compress_with_lm.decompress(model, message, 5, cpu), chunks)
    assert 8 * len(message) == pytest.approx(compress_with_lm.cross_entropy(model, chunks, cpu), rel=0.02)


def test_other_message_gives_other_bytes(checkpoint: Path) -> None:
    cpu = torch.device("cpu")
    model = compress_with_lm.load(checkpoint, cpu)
    chunks = np.full((2, 256), 128, np.uint8)
    message = bytearray(compress_with_lm.compress(model, chunks, cpu))
    message[len(message) // 2] ^= 1
    assert not np.array_equal(compress_with_lm.decompress(model, bytes(message), 2, cpu), chunks)


def test_what_does_not_fit_together_is_said_in_one_sentence(
    example: Example, dataset: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    refused = {
        (tmp_path, checkpoint): f"{tmp_path}: no dataset here: there is no manifest.json",
        (dataset(chunk_bytes=192), checkpoint): "the model has chunks of 256 bytes, not 192",
        (dataset(), tmp_path / "none.pt"): f"No such file or directory: '{tmp_path}/none.pt'",
    }
    for arguments, sentence in refused.items():
        run = example("compress_with_lm.py", *arguments)
        assert run.returncode == 1
        assert re.fullmatch(r"compress_with_lm: .*\n", run.stderr), run.stderr
        assert sentence in run.stderr


def test_longer_message_than_one_percent_fails_the_script(
    dataset: Dataset, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = compress_with_lm.compress
    monkeypatch.setattr(compress_with_lm, "compress", lambda *given: honest(*given) + bytes(40))
    monkeypatch.setattr("sys.argv", ["compress_with_lm.py", str(dataset()), str(checkpoint), "--chunks", "8"])
    with pytest.raises(SystemExit) as stop:
        compress_with_lm.main()
    assert stop.value.code == 1


def test_decoding_wrong_bytes_fails_the_script(
    dataset: Dataset, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_with_lm, "decompress", lambda _, __, n, ___: np.zeros((n, 256), np.uint8))
    monkeypatch.setattr("sys.argv", ["compress_with_lm.py", str(dataset()), str(checkpoint), "--chunks", "2"])
    with pytest.raises(SystemExit) as stop:
        compress_with_lm.main()
    assert stop.value.code == 1
    assert audiochunk.open(dataset(), "val")[0].any()
