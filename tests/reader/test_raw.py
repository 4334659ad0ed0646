import ctypes
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk.config import Encoding
from audiochunk.errors import MachineError
from audiochunk.reader import mapping, raw
from audiochunk.reader.shard_files import ShardFiles
from audiochunk.storage.manifest import ShardEntry

from .made import make


def files(folder: Path, sizes: list[int], chunk_bytes: int) -> ShardFiles:
    entries = [
        ShardEntry(name=f"train-{i:05d}.safetensors", split="train", chunks=n, bytes=4096 + n * chunk_bytes, digest="")
        for i, n in enumerate(sizes)
    ]
    return ShardFiles(folder, entries, Encoding(chunk_bytes=chunk_bytes))


def test_shards_lie_side_by_side_here(tmp_path: Path) -> None:
    """Where these tests run, so that the others in this file are about what they seem to be about."""
    assert isinstance(raw.raw_shards(files(tmp_path, [4, 4], 2048)), raw.SideBySide)


def test_places_are_multiples_of_the_page_and_of_the_chunk() -> None:
    """A header and 3 chunks of 3,000 bytes take 13,096 bytes; 4,096 and 3,000 go into 1,536,000."""
    assert raw._places(files(Path(), [3, 0, 600], 3000), 4096) == [0, 1_536_000, 3_072_000, 6_144_000]
    assert raw._places(files(Path(), [3, 0, 16_384], 2048), 4096) == [0, 12_288, 16_384, 16_384 + 4096 + 2**25]
    assert raw._places(files(Path(), [3, 6, 7], 2048), 16_384) == [0, 16_384, 32_768, 65_536]
    assert raw._places(files(Path(), [], 2048), 4096) == [4096]


def test_shards_begin_with_huge_pages_where_addresses_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = make(tmp_path / "made", [2, 3, 2])
    for most, places in [(6 * 2**20, [0, 2**21, 2**22]), (6 * 2**20 - 1, [0, 8192, 20_480])]:
        monkeypatch.setattr(raw, "_MOST_RESERVED", most)
        monkeypatch.setattr(raw.mmap, "ALLOCATIONGRANULARITY", 4096)
        found = raw.raw_shards(files(tmp_path, [2, 3, 2], 2048))
        assert isinstance(found, raw.SideBySide)
        assert found._places == places
        if mmap.PAGESIZE == 4096:
            np.testing.assert_array_equal(audiochunk.open(tmp_path / "made")[[6, 2, 0]], everything[[6, 2, 0]])


@pytest.mark.parametrize("sizes", [[2**40], [1] * 50])
def test_where_addresses_do_not_suffice_shards_lie_apart(tmp_path: Path, sizes: list[int]) -> None:
    """A terabyte of chunks a shard, or a chunk of a length that goes into no page."""
    assert isinstance(raw.raw_shards(files(tmp_path, sizes, 2**30 - 1)), raw.Apart)


def test_where_addresses_are_refused_shards_lie_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> Any:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(raw, "reserve", refuse)
    everything = make(tmp_path / "made", [4, 3])
    ds = audiochunk.open(tmp_path / "made")
    assert isinstance(ds._array._shards, raw.Apart)
    np.testing.assert_array_equal(ds[[5, 0]], everything[[5, 0]])


def test_addresses_that_are_refused_later_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "made", [4, 3])
    ds = audiochunk.open(tmp_path / "made")

    def refuse(_: int) -> Any:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(raw, "reserve", refuse)
    with pytest.raises(MachineError, match=r"made: cannot be mapped: cannot allocate memory \(ulimit -v"):
        ds[0]


def test_a_place_that_is_refused_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "made", [4, 3])
    monkeypatch.setattr(mapping, "_mmap", lambda: lambda *_: ctypes.set_errno(12))
    with pytest.raises(MachineError, match=r"train-00001.safetensors: cannot be read: cannot allocate memory \("):
        audiochunk.open(tmp_path / "made")[5]


def test_a_shard_is_mapped_when_it_is_wanted(tmp_path: Path) -> None:
    make(tmp_path / "made", [4, 3, 2])
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc here")
    ds = audiochunk.open(tmp_path / "made")
    for numbers, mapped in [([], []), ([8], [2]), ([0, 8], [0, 2]), ([5], [0, 1, 2])]:
        ds.gather(np.array(numbers, int))
        now = maps.read_text()
        assert [i for i in range(3) if f"{tmp_path}/made/train-0000{i}" in now] == mapped
    ds.close()
    assert str(tmp_path) not in maps.read_text()
