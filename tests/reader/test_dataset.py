import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError, DatasetError, NoDatasetError
from audiochunk.pipeline import run
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.signal import audio
from audiochunk.storage.manifest import Manifest

from .recorded import OPTIONS, RATE


def test_items_negative_items_slices_and_iteration_agree(dataset: Path) -> None:
    ds = ChunkDataset(dataset)
    everything = np.stack([ds[i] for i in range(len(ds))])
    assert everything.shape == ds.shape
    assert everything.dtype == ds.dtype
    np.testing.assert_array_equal(ds[-1], everything[-1])
    np.testing.assert_array_equal(np.stack(list(ds)), everything)
    np.testing.assert_array_equal(np.stack(list(ds[2:9])), everything[2:9])
    np.testing.assert_array_equal(np.stack(list(ds[::-2])), everything[::-2])
    np.testing.assert_array_equal(np.stack(list(ds[3:][1:5])), everything[4:8])
    assert [chunk.tobytes() for chunk in reversed(ds)] == [chunk.tobytes() for chunk in everything[::-1]]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(numbers=st.lists(st.integers(-9, 8), max_size=40))
def test_gather_is_one_item_after_the_other(dataset: Path, numbers: list[int]) -> None:
    ds = ChunkDataset(dataset)[1:19:2]
    expected = np.stack([ds[i] for i in numbers]) if numbers else np.empty((0, ds.shape[1]))
    np.testing.assert_array_equal(ds[numbers], expected)
    out = np.empty((len(numbers), ds.shape[1]), ds.dtype)
    assert ds.gather(np.array(numbers, np.int32), out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_an_item_of_a_raw_shard_is_a_read_only_view_of_the_file(plain: Path) -> None:
    ds = ChunkDataset(plain)
    assert not ds[0].flags.writeable
    assert not ds[0].flags.owndata
    assert np.shares_memory(ds[0], ds[0])
    with pytest.raises(ValueError, match="read-only"):
        ds[0][0] = 1


def test_what_gather_returns_is_writable_and_new(plain: Path) -> None:
    ds = ChunkDataset(plain)
    ds[[0, 1]][:] = 0
    assert ds[0].any()


def test_a_mask_takes_the_chunks_where_it_is_true(plain: Path) -> None:
    ds = ChunkDataset(plain)
    mask = np.arange(len(ds)) % 3 == 0
    np.testing.assert_array_equal(ds[mask], ds[np.flatnonzero(mask)])


@pytest.mark.parametrize("index", [10**6, -(10**6), [0, 10**6], [-(10**6)]])
def test_numbers_out_of_range_are_index_errors_that_name_them(plain: Path, index: object) -> None:
    with pytest.raises(IndexError, match="1000000 of"):
        ChunkDataset(plain)[index]


@pytest.mark.parametrize("index", [1.5, [[0, 1]], [0.5], "0", [True], None])
def test_what_is_no_number_of_a_chunk_is_an_index_error(plain: Path, index: object) -> None:
    with pytest.raises(IndexError):
        ChunkDataset(plain)[index]


def test_a_number_beyond_64_bits_is_out_of_range_and_not_the_last_chunk(plain: Path) -> None:
    with pytest.raises(IndexError, match="18446744073709551615 of"):
        ChunkDataset(plain).gather(np.array([2**64 - 1], np.uint64))


def test_a_mask_of_another_length_is_said_to_be_one(plain: Path) -> None:
    with pytest.raises(IndexError, match="a mask of 2 for"):
        ChunkDataset(plain)[[True, False]]


def test_out_of_another_shape_dtype_or_layout_is_refused(plain: Path) -> None:
    ds = ChunkDataset(plain)
    read_only = np.empty((1, 2048), np.uint8)
    read_only.flags.writeable = False
    for out in (
        np.empty((2, 2048), np.uint8),
        np.empty((1, 2048), np.int64),
        np.empty((1, 4096), np.uint8)[:, ::2],
        read_only,
    ):
        with pytest.raises(ValueError, match="C-contiguous"):
            ds.gather([0], out=out)


def test_every_chunk_is_located_at_the_samples_it_decodes_to(dataset: Path, wavs: Path) -> None:
    """The waveform of each chunk equals, within a step, the frames and channels that locate names."""
    ds = ChunkDataset(dataset)
    step = 2.0 ** (1 - ds.encoding.bits)
    for i in range(len(ds)):
        where, wave = ds.locate(i), ds.waveform(i)
        samples = audio.read(wavs / where.path).astype(np.float64) / 2.0 ** (
            8 * audio.read(wavs / where.path).dtype.itemsize - 1
        )
        assert where.sample_rate == RATE
        parts = wave if isinstance(wave, list) else list(wave.T)
        if ds.encoding.layout == "mono":
            originals = [samples[where.first_frame : where.last_frame + 1].mean(axis=1)]
            assert where.channels == tuple(range(samples.shape[1]))
        else:
            originals = [samples[:, channel] for channel in where.channels]
        assert len(parts) == len(originals)
        for part, original in zip(parts, originals, strict=True):
            assert part.dtype == np.float32
            if isinstance(wave, list):
                # Channels of a chunk that is not aligned begin and end at frames of their own.
                found = [
                    first
                    for first in range(where.first_frame, where.last_frame + 2 - len(part))
                    if np.abs(original[first] - part[0]) <= step
                    and np.abs(original[first : first + len(part)] - part).max() <= step
                ]
                assert found
            else:
                if ds.encoding.layout != "mono":
                    original = original[where.first_frame : where.last_frame + 1]
                assert part.shape == original.shape
                assert np.abs(original - part).max() <= step
                assert (original >= part - 1e-7).all()


def test_codes_leave_out_the_padding(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", BuildConfig.make(layout="mono", tail="pad"), workers=1)
    ds = ChunkDataset(tmp_path / "out")
    for row in ds.recordings:
        codes = [ds.codes(row.first_chunk + n) for n in range(row.chunks)]
        assert sum(code.size for code in codes) == row.frames
        if row.chunks:
            tail = np.asarray(ds[row.first_chunk + row.chunks - 1])[codes[-1].size :]
            assert (tail == 128).all()


def test_splits_are_disjoint_and_whole(plain: Path) -> None:
    train, val = audiochunk.open(plain), audiochunk.open(plain, split="val")
    assert {row.path for row in train.recordings}.isdisjoint(row.path for row in val.recordings)
    assert len(train.recordings) + len(val.recordings) == 6
    assert {name: split.chunks for name, split in train.splits.items()} == {"train": len(train), "val": len(val)}


def test_repr_names_split_size_and_dataset_id(plain: Path) -> None:
    ds = ChunkDataset(plain, "val")
    assert "val[0:" in repr(ds)
    assert f"{len(ds)} chunks of 2,048 uint8" in repr(ds)
    assert Manifest.read(plain).dataset_id in repr(ds)


def test_vocabulary_dtype_and_encoding_are_those_of_the_table(wavs: Path) -> None:
    expected = {"8-bit": (256, np.uint8), "16-bit": (65536, "<u2"), "12-bit big": (256, np.uint8)}
    for name, (vocab_size, dtype) in expected.items():
        out = wavs.parent / f"table {name}"
        run.build(wavs, out, BuildConfig.make(**OPTIONS[name]), workers=1)
        ds = ChunkDataset(out)
        assert (ds.vocab_size, ds.dtype) == (vocab_size, np.dtype(dtype))
        assert ds.encoding == Manifest.read(out).encoding
        assert int(ds[0].max()) < vocab_size


def test_a_pickled_dataset_reopens_and_knows_its_range(dataset: Path) -> None:
    ds = ChunkDataset(dataset)[5:1:-1]
    ds[0]
    again = pickle.loads(pickle.dumps(ds))
    assert len(pickle.dumps(ds)) < 1000
    np.testing.assert_array_equal(again[[0, 1, 2, 3]], ds[[0, 1, 2, 3]])
    assert repr(again) == repr(ds)


def test_a_pickled_dataset_refuses_another_one_in_its_place(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", BuildConfig(), workers=1)
    pickled = pickle.dumps(ChunkDataset(tmp_path / "out"))
    run.build(wavs, tmp_path / "out", BuildConfig.make(bits=16), workers=1, overwrite=True)
    with pytest.raises(DatasetError, match="not the dataset"):
        pickle.loads(pickled)[0]


def _checksum(ds: ChunkDataset) -> int:
    return int(sum(int(chunk.astype(np.int64).sum()) for chunk in ds))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes_read_the_same(dataset: Path, method: str) -> None:
    ds = ChunkDataset(dataset)
    ds[0]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_checksum, [ds, ds[:]]) == [_checksum(ds)] * 2


def test_threads_share_a_dataset(dataset: Path) -> None:
    ds = ChunkDataset(dataset)
    expected = ChunkDataset(dataset)[list(range(len(ds)))]
    wrong: list[int] = []

    def read(seed: int) -> None:
        numbers = np.random.Generator(np.random.PCG64(seed)).integers(0, len(ds), 300).tolist()
        wrong.extend(i for i in numbers if not np.array_equal(ds[i], expected[i]))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closing_lets_go_of_the_files_and_leaves_chunks_valid(plain: Path) -> None:
    with ChunkDataset(plain) as ds:
        chunk = ds[0]
        before = chunk.tobytes()
    assert chunk.tobytes() == before
    del chunk
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(plain) not in maps.read_text()


def test_what_is_no_dataset_or_has_no_such_split_is_said_so(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(NoDatasetError, match=r"no manifest\.json"):
        audiochunk.open(tmp_path)
    (tmp_path / ".build").mkdir()
    with pytest.raises(NoDatasetError, match="not finished"):
        audiochunk.open(tmp_path)
    with pytest.raises(ConfigError, match="no split 'test' here; there are: train, val"):
        audiochunk.open(plain, "test")


@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "swapped", "header"])
@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_a_damaged_shard_is_named_and_never_read(wavs: Path, tmp_path: Path, damage: str, compress: str) -> None:
    out = tmp_path / "out"
    config = BuildConfig.make(shard_size=7 * 2048, compress=compress)
    names = [shard.name for shard in run.build(wavs, out, config, workers=1).manifest.shards]
    victim, other = out / names[1], out / names[0]
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    elif damage == "shorter":
        victim.write_bytes(data[:-1])
    elif damage == "longer":
        victim.write_bytes(data + b"\0")
    elif damage == "swapped":
        os.replace(other, victim)
        other.write_bytes(data)
    else:
        victim.write_bytes(data[:20] + b"?" + data[21:])
    with pytest.raises(DatasetError, match=r"train-0000[01]"):
        list(ChunkDataset(out))


def test_a_shard_that_lost_a_recording_keeps_numbers_right(tmp_path: Path) -> None:
    """Shards of unequal lengths: the number of a chunk does not follow from a division."""
    source = tmp_path / "in"
    source.mkdir()
    rng = np.random.Generator(np.random.PCG64(2))
    for name, frames in zip("abcdefg", [5000, 9000, 12_000, 4000, 9000, 8000, 2100], strict=True):
        noise = rng.uniform(-0.5, 0.5, frames).astype(np.float32)
        noise[0] = np.nan if name in "bf" else 0
        sf.write(source / f"{name}.wav", noise, 8000, subtype="FLOAT")
    run.build(source, tmp_path / "out", BuildConfig.make(shard_size=4 * 2048, on_error="skip"), workers=1)
    ds = ChunkDataset(tmp_path / "out")
    sizes = [shard.chunks for shard in ds.manifest.shards]
    assert len(set(sizes[:-1])) > 1
    np.testing.assert_array_equal(ds[list(range(len(ds)))], np.stack([ds[i] for i in range(len(ds))]))
    assert [ds.locate(i).path[0] for i in range(len(ds))] == sorted(ds.locate(i).path[0] for i in range(len(ds)))
