"""Every way to have shards in memory gives, for every question, what the plain array of all chunks gives."""

import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.errors import DatasetError
from audiochunk.reader.dataset import ChunkDataset

from .made import make

ENCODINGS: list[dict[str, Any]] = [
    {"chunk_bytes": 1},
    {"chunk_bytes": 257},
    {"chunk_bytes": 2048},
    {"chunk_bytes": 12_288},
    {"bits": 16, "chunk_bytes": 6},
    {"bits": 16, "chunk_bytes": 4096},
    {"bits": 24, "chunk_bytes": 1536},
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_chunks_are_those_that_were_written(way: dict[str, Any], data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 9), max_size=5), label="chunks of the shards")
    encoding = data.draw(st.sampled_from(ENCODINGS), label="encoding")
    bounds = st.none() | st.integers(-sum(sizes) - 2, sum(sizes) + 2)
    where = slice(data.draw(bounds), data.draw(bounds), data.draw(st.sampled_from([None, 1, 2, 3, -1, -2])))
    with tempfile.TemporaryDirectory() as scratch:
        everything = make(Path(scratch) / "made", sizes, **encoding, **way)
        for ds, expected in [
            (audiochunk.open(Path(scratch) / "made"), everything),
            (audiochunk.open(Path(scratch) / "made")[where], everything[where]),
        ]:
            n = len(ds)
            assert n == len(expected)
            number = st.integers(-n, n - 1)
            numbers = data.draw(st.lists(number, max_size=40) if n else st.just([]), label="numbers")
            asked = np.array(numbers, data.draw(st.sampled_from([np.int64, np.int32, np.int16])))
            np.testing.assert_array_equal(ds.gather(asked), expected[asked])
            out = np.full((len(asked), ds.shape[1]), 77, ds.dtype)
            assert ds.gather(asked, out=out) is out
            np.testing.assert_array_equal(out, expected[asked])
            for found, number in zip([ds[i] for i in numbers], numbers, strict=True):
                np.testing.assert_array_equal(found, expected[number])
                assert found.dtype == ds.dtype == everything.dtype
                assert not found.flags.writeable
            assert [chunk.tobytes() for chunk in ds] == [chunk.tobytes() for chunk in expected]
            mask = np.arange(n) % 2 == 0
            np.testing.assert_array_equal(ds[mask], expected[mask])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int8, ">i4"])
def test_numbers_may_be_integers_of_any_kind(tmp_path: Path, way: dict[str, Any], dtype: Any) -> None:
    everything = make(tmp_path / "made", [5, 7], **way)
    asked = np.array([11, 0, 4, 5], dtype)
    np.testing.assert_array_equal(audiochunk.open(tmp_path / "made").gather(asked), everything[asked.astype(int)])


def test_the_numbers_that_were_given_are_left_as_they_were(tmp_path: Path, way: dict[str, Any]) -> None:
    make(tmp_path / "made", [5, 7], **way)
    asked = np.array([-1, 3, -12])
    audiochunk.open(tmp_path / "made")[::-1].gather(asked)
    assert asked.tolist() == [-1, 3, -12]


def test_a_batch_that_repeats_and_one_larger_than_the_dataset(tmp_path: Path, way: dict[str, Any]) -> None:
    everything = make(tmp_path / "made", [4, 0, 9, 1], **way)
    ds = audiochunk.open(tmp_path / "made")
    for asked in (np.zeros(1000, int), np.arange(1000) % 14, np.repeat(np.arange(14), 20), np.arange(1000) % 14 - 14):
        np.testing.assert_array_equal(ds.gather(asked), everything[asked])


def test_a_damaged_shard_spoils_only_itself(tmp_path: Path, way: dict[str, Any]) -> None:
    everything = make(tmp_path / "made", [4, 4, 4], **way)
    shard = next((tmp_path / "made").glob("train-00001*"))
    data = bytearray(shard.read_bytes())
    data[20] ^= 255
    shard.write_bytes(data)
    ds = audiochunk.open(tmp_path / "made")
    for _ in range(2):
        with pytest.raises(DatasetError, match="train-00001"):
            ds.gather([0, 5, 9])
        np.testing.assert_array_equal(ds.gather([0, 3, 9]), everything[[0, 3, 9]])


def test_chunks_that_were_handed_out_outlive_the_dataset(tmp_path: Path, way: dict[str, Any]) -> None:
    everything = make(tmp_path / "made", [4, 4, 4], **way)
    ds = audiochunk.open(tmp_path / "made")
    held = [ds[1], *ds[5:7]]
    ds.close()
    np.testing.assert_array_equal(ds[9], everything[9])
    del ds
    np.testing.assert_array_equal(np.stack(held), everything[[1, 5, 6]])


def test_shards_are_let_go_when_there_are_too_many(
    tmp_path: Path, way: dict[str, Any], most_mapped: Callable[[int], None]
) -> None:
    everything = make(tmp_path / "made", [3] * 12, **way)
    most_mapped(2)
    ds = audiochunk.open(tmp_path / "made")
    held = [ds[i] for i in range(36)]
    np.testing.assert_array_equal(np.stack(held), everything)
    asked = np.random.Generator(np.random.PCG64(1)).integers(0, 36, (50, 5))
    for numbers in asked:
        np.testing.assert_array_equal(ds.gather(numbers), everything[numbers])
        np.testing.assert_array_equal(ds[int(numbers[0])], everything[numbers[0]])
    maps = Path("/proc/self/maps")
    if maps.exists():
        del held
        assert maps.read_text().count(str(tmp_path)) <= 8


def test_no_file_stays_open(tmp_path: Path, way: dict[str, Any]) -> None:
    make(tmp_path / "made", [2] * 20, **way)
    before = len(os.listdir("/dev/fd"))
    ds = audiochunk.open(tmp_path / "made")
    ds.gather(np.arange(40))
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_maps_what_its_parent_had_not(
    tmp_path: Path, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = make(tmp_path / "made", [4, 4, 4], **way)
    ds = audiochunk.open(tmp_path / "made")
    ds[0]
    monkeypatch.setattr(sys.modules[__name__], "_inherited", ds)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(_gather_inherited, [np.array([0, 9, 5])] * 4)
    assert found == [everything[[0, 9, 5]].tobytes()] * 4
    np.testing.assert_array_equal(ds[9], everything[9])


_inherited: ChunkDataset | None = None


def _gather_inherited(numbers: np.ndarray[Any, Any]) -> bytes:
    return _inherited.gather(numbers).tobytes() if _inherited is not None else b""


def test_threads_gather_while_another_closes(tmp_path: Path, way: dict[str, Any]) -> None:
    everything = make(tmp_path / "made", [6, 5, 0, 7, 3] * 4, **way)
    ds = audiochunk.open(tmp_path / "made")
    wrong: list[Any] = []
    done = threading.Event()

    def read(seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        try:
            for _ in range(60):
                numbers = rng.integers(-len(ds), len(ds), 50)
                if not np.array_equal(ds.gather(numbers), everything[numbers]):
                    wrong.append(numbers)
                if not np.array_equal(ds[int(numbers[0])], everything[numbers[0]]):
                    wrong.append(numbers[0])
        except BaseException as error:  # noqa: BLE001 - a thread's error is the test's
            wrong.append(error)

    def close() -> None:
        while not done.is_set():
            ds.close()

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    closer = threading.Thread(target=close)
    for thread in (*readers, closer):
        thread.start()
    for thread in readers:
        thread.join()
    done.set()
    closer.join()
    assert wrong == []
