from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk.errors import DatasetError
from audiochunk.reader import compressed
from audiochunk.storage.seekable import decompress_frame

from .made import make


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every frame that is decoded from now on."""
    sizes: list[int] = []

    def counting(frame: memoryview, size: int, path: Path) -> bytes:
        sizes.append(size)
        return decompress_frame(frame, size, path)

    monkeypatch.setattr(compressed, "decompress_frame", counting)
    return sizes


def frames_decoded(decoded: list[int], work: Any) -> int:
    decoded.clear()
    work()
    return len(decoded)


def test_a_frame_is_decoded_once_however_its_chunks_are_asked_for(tmp_path: Path, decoded: list[int]) -> None:
    """Shards of 4 + 4 + 2 and 4 + 1 chunks: five frames, and a header each."""
    make(tmp_path / "made", [10, 5], compress="zstd", chunks_per_frame=4)
    ds = audiochunk.open(tmp_path / "made")
    assert frames_decoded(decoded, lambda: list(ds)) == 2 + 5
    assert frames_decoded(decoded, lambda: ds.gather(np.random.default_rng(1).permutation(15))) == 5
    ds[9]
    assert frames_decoded(decoded, lambda: ds.gather([0, 14, 1, 14, 3, 0])) == 2
    assert frames_decoded(decoded, lambda: [ds[i] for i in range(15)]) == 5
    assert frames_decoded(decoded, lambda: list(ds[::-1])) == 4  # the last one decoded is the first one wanted


def test_batches_in_order_decode_no_frame_twice(tmp_path: Path, decoded: list[int]) -> None:
    make(tmp_path / "made", [12], compress="zstd", chunks_per_frame=4)
    ds = audiochunk.open(tmp_path / "made")
    ds[0]
    assert frames_decoded(decoded, lambda: [ds.gather(np.arange(at, at + 3)) for at in range(0, 12, 3)]) == 2


def test_a_damaged_frame_leaves_the_others_readable(tmp_path: Path) -> None:
    everything = make(tmp_path / "made", [8], compress="zstd", chunks_per_frame=2)
    shard = tmp_path / "made" / "train-00000.safetensors.zst"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 16
    shard.write_bytes(data)
    ds = audiochunk.open(tmp_path / "made")
    refused = 0
    for _ in range(2):
        for i in range(8):
            try:
                np.testing.assert_array_equal(ds.gather([i])[0], everything[i])
            except DatasetError:
                refused += 1
    assert refused == 4
