"""Crops: what lies at their places, and that all places are drawn alike."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError
from audiochunk.pipeline import run
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.location import stream_of
from audiochunk.reader.sampler import Sampler
from audiochunk.signal import audio
from audiochunk.signal.encode import encode
from audiochunk.signal.interleave import mix_down
from audiochunk.signal.packing import pack
from audiochunk.signal.quantize import quantize

from . import plain_orders

OPTIONS: dict[str, dict[str, Any]] = {
    "interleaved": {"block": 1},
    "small blocks, padded": {"block": 4, "tail": "pad"},
    "16-bit": {"block": 6, "bits": 16},
    "12-bit big": {"block": 10, "bits": 12, "byte_order": "big"},
    "24-bit": {"block": 5, "bits": 24, "chunk_bytes": 1536},
    "mono pad": {"layout": "mono", "tail": "pad"},
    "split pad zstd": {"layout": "split", "tail": "pad", "compress": "zstd:1", "bits": 16},
}


@pytest.fixture(scope="module", params=OPTIONS)
def ds(request: pytest.FixtureRequest, wavs: Path) -> ChunkDataset:
    out = wavs.parent / f"crops {request.param}"
    run.build(wavs, out, BuildConfig.make(shard_size=7 * 2048, **OPTIONS[request.param]), workers=1, fsync=False)
    return ChunkDataset(out)


def codes_of(ds: ChunkDataset, wavs: Path, path: str, channel: int | None) -> tuple[np.ndarray, int, int]:
    """(codes of a whole stream from its recording, made without chunks; channels; block)."""
    samples = audio.read(wavs / path)
    encoding = ds.encoding
    if encoding.layout == "mono":
        samples = mix_down(samples)
    if channel is not None:
        samples = samples[:, [channel]]
    codes = quantize(samples, bits=encoding.bits, quantizer=encoding.quantizer)
    block = 1 if codes.shape[1] == 1 else encoding.block_for(codes.shape[1])
    whole = codes[: len(codes) // block * block]
    # (groups, block, channels) -> groups of one block of every channel.
    laid = whole.reshape(-1, block, codes.shape[1]).transpose(0, 2, 1).reshape(-1)
    return laid, codes.shape[1], block


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(length=st.integers(1, 10), seed=st.integers(0, 2**64 - 1))
def test_a_crop_is_what_the_recording_has_there(ds: ChunkDataset, wavs: Path, length: int, seed: int) -> None:
    length *= 360  # whole blocks of 2 and 3 channels, whatever the block
    crops = ds.crops(length, seed, n=20)
    for i in range(20):
        place = crops.locate(i)
        codes, channels, block = codes_of(ds, wavs, place.path, place.recording.channel)
        assert place.first_frame % block == 0
        first = place.first_frame * channels
        np.testing.assert_array_equal(crops[i].view(np.uint8), pack(codes[first : first + length], ds.encoding))
        assert place.last_frame - place.first_frame + 1 == length // channels
        assert place.chunk == first // ds.encoding.codes_per_chunk


def test_stereo_crops_are_laid_out_as_chunks_are(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", BuildConfig.make(block=64, include=("r3.wav",)), workers=1, fsync=False)
    ds = ChunkDataset(tmp_path / "out")
    crops = ds.crops(2048, seed=4, n=50)
    samples = audio.read(wavs / "r3.wav")
    starts = set()
    for i in range(50):
        place = crops.locate(i)
        part = samples[place.first_frame : place.last_frame + 1]
        np.testing.assert_array_equal(crops[i], encode(part, ds.encoding)[0])
        starts.add(place.first_frame % 1024)
    assert len(starts) > 10


def test_positions_are_the_page_s_and_all_are_reached(wavs: Path, tmp_path: Path) -> None:
    """8-bit mono of 9000 and 5 other frames: crops of 8000 begin at any of the first 193 that chunks hold."""
    run.build(wavs, tmp_path / "out", BuildConfig.make(layout="mono", include=("r0.wav", "r1.wav")), workers=1)
    ds = ChunkDataset(tmp_path / "out")
    crops = ds.crops(8000, seed=9, n=3000)
    assert (crops.positions, crops.dropped_chunks) == (4 * 2048 - 8000 + 1, 0)
    key = plain_orders.key(9, 4)
    expected = [plain_orders.below(plain_orders.word(key, i), crops.positions) for i in range(3000)]
    assert [crops.locate(i).first_frame for i in range(3000)] == expected
    counts = np.bincount(expected, minlength=crops.positions)
    assert counts.min() > 0
    chi_square = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    assert abs(chi_square - counts.size + 1) < 4 * math.sqrt(2 * counts.size)


def test_positions_of_a_view_stay_within_it(ds: ChunkDataset) -> None:
    view = ds[2:6]
    crops = view.crops(1020, seed=1, n=300)
    tokens = view.gather(range(4)).reshape(-1).tobytes()
    assert all(crops[i].tobytes() in tokens for i in range(300))


def test_padding_is_in_no_crop(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", BuildConfig.make(layout="mono", tail="pad", include=("r1.wav",)), workers=1)
    ds = ChunkDataset(tmp_path / "out")
    assert ds.crops(300).positions == 1
    assert ds.crops(299).positions == 2
    with pytest.raises(ConfigError, match=r"no recording of .* is as long as 301 samples"):
        ds.crops(301)


def test_an_epoch_is_as_many_crops_as_fit_side_by_side_unless_asked_otherwise(plain: Path) -> None:
    ds = ChunkDataset(plain)[:4]
    assert len(ds.crops(2048)) == 4
    assert len(ds.crops(2048, n=10**12)) == 10**12
    assert ds.crops(2048, n=1)[10**12].shape == (2048,)


def test_every_epoch_has_other_crops(plain: Path) -> None:
    crops = ChunkDataset(plain)[:4].crops(2048, n=4)
    sampler = Sampler(crops, batch_size=2)
    assert [batch.tolist() for _ in range(2) for batch in sampler] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    fixed = Sampler(crops[:4], batch_size=4, shuffle=False)
    assert [batch.tolist() for _ in range(2) for batch in fixed] == [[0, 1, 2, 3]] * 2


def test_the_first_crops_do_not_depend_on_how_many_there_are(plain: Path) -> None:
    ds = ChunkDataset(plain)[:4]
    np.testing.assert_array_equal(ds.crops(2048, n=3).gather(range(3)), ds.crops(2048, n=99).gather(range(3)))
    assert ds.crops(2048, 1, n=9).gather(range(9)).tobytes() != ds.crops(2048, 2, n=9).gather(range(9)).tobytes()


def test_the_crops_of_the_page(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", BuildConfig.make(layout="mono", include=("r0.wav",)), workers=1, fsync=False)
    crops = ChunkDataset(tmp_path / "out").crops(8000, seed=7)
    assert [crops.locate(i).first_frame for i in range(5)] == [91, 141, 168, 145, 87]


def test_recordings_that_are_too_short_are_counted(ds: ChunkDataset) -> None:
    length = 12_240  # whole blocks of 2 and 3 channels
    enough = 0
    crops = ds.crops(length, n=400)
    found = {crops.locate(i).path for i in range(400)}
    for run_ in ds.runs():
        stream = stream_of(run_.recording, ds.encoding)
        group = stream.block * stream.channels if stream.channels > 1 else 1
        whole = run_.recording.frames // (stream.block if stream.channels > 1 else 1) * group
        if min(whole, stream.n_chunks * stream.codes_per_chunk) // group * group >= length:
            enough += run_.chunks
            assert run_.recording.path in found
    assert 0 < enough < len(ds)
    assert crops.dropped_chunks == len(ds) - enough


def test_recordings_of_other_blocks_have_no_crops_but_do_not_keep_others_from_having_them(plain: Path) -> None:
    """3 channels of 682 samples are 2046, of which 2048 is no multiple."""
    ds = ChunkDataset(plain)
    crops = ds.crops(2048, n=500)
    threes = [run_ for run_ in ds.runs() if run_.recording.channels == 3]
    assert crops.dropped_chunks == sum(run_.chunks for run_ in threes) > 0
    assert not {crops.locate(i).path for i in range(500)} & {run_.recording.path for run_ in threes}
    only = ds.crops(2046, n=500)
    assert {run_.recording.path for run_ in threes} < {only.locate(i).path for i in range(500)}


def test_a_length_that_cuts_all_blocks_is_refused_with_what_they_take(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", BuildConfig.make(include=("r2.wav", "r5.wav")), workers=1, fsync=False)
    with pytest.raises(
        ConfigError, match=r"crop of 1,000 samples: they are shorter, or take multiples of 2,046, 2,048 \(less with"
    ):
        ChunkDataset(tmp_path / "out").crops(1000)


@pytest.mark.parametrize("options", [{"length_samples": 0}, {"length_samples": 2.0}, {"length_samples": 9, "seed": -1}])
def test_lengths_and_seeds_that_make_no_sense_are_refused(plain: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be a whole number"):
        ChunkDataset(plain).crops(**options)


def test_chunks_that_do_not_follow_each_other_have_no_crops(plain: Path) -> None:
    with pytest.raises(ConfigError, match="do not follow each other"):
        ChunkDataset(plain)[::2].crops(2)
