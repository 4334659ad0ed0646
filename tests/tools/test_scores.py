from pathlib import Path

import numpy as np
import pytest

from audiochunk.errors import ConfigError
from audiochunk.tools.scores import Scores


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_scores_are_bits_for_each_chunk(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "model.npy", np.array([3, 0, 7], dtype))
    scores = Scores.read(tmp_path / "model.npy")
    assert (scores.name, scores.bits.tolist(), scores.bits.dtype) == ("model", [3.0, 0.0, 7.0], np.float64)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2)), "one number for each"),
        (np.zeros(0), "one number for each"),
        (np.array(["a"]), "one number for each"),
        (np.array([1.0, np.nan]), "negative or no numbers"),
        (np.array([-1.0]), "negative or no numbers"),
        (np.array([np.inf]), "negative or no numbers"),
        (np.array([{}]), "not an array that numpy"),
    ],
)
def test_what_are_no_scores_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    np.save(tmp_path / "model.npy", array)
    with pytest.raises(ConfigError, match=message):
        Scores.read(tmp_path / "model.npy")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.npy").write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.npy: not an array that numpy"):
        Scores.read(tmp_path / "model.npy")


def test_several_arrays_in_one_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", np.zeros(1), np.zeros(1))
    with pytest.raises(ConfigError, match="one number for each"):
        Scores.read(tmp_path / "model.npz")
