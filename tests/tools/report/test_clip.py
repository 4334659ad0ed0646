import base64
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.config import Encoding
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames
from audiochunk.reader.recordings import Recordings
from audiochunk.signal.quantize import dequantize, quantize
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import RecordingRow, read_rows
from audiochunk.tools.report.clip import Clip, Playback, budgets, choose, clips


def row(path: str = "a.wav", **fields: object) -> RecordingRow:
    values = {
        "split": "train",
        "channel": None,
        "sample_rate": 8000,
        "channels": 1,
        "frames": 1000,
        "subtype": "PCM_16",
        "bytes": 2044,
        "first_chunk": 0,
        "chunks": 2,
        "dropped_frames": 100,
        "clipped": 0,
        "notes": (),
    }
    return RecordingRow(path=path, **{**values, **fields})  # type: ignore[arg-type]


def all_clips(folder: Path, *, max_bytes: int = 10**7, n: int = 99) -> list[Clip]:
    manifest = Manifest.read(folder)
    datasets = {name: ChunkDataset(folder, name) for name in manifest.splits}
    rows = [row for row in read_rows(folder, manifest.recordings) if row.error is None]
    return clips(datasets, choose(rows, n, seed=0), max_bytes=max_bytes)


def played(uri: str) -> tuple[np.ndarray, int]:
    data = base64.b64decode(uri.removeprefix("data:audio/wav;base64,"), validate=True)
    samples, rate = sf.read(io.BytesIO(data), dtype="int32", always_2d=True)
    return samples, rate


@pytest.mark.parametrize(
    ("sample_rate", "played_at", "speed"),
    [(8000, 8000, 0), (192_000, 192_000, 0), (384_000, 38_400, -1), (100, 10_000, 2), (1, 10_000, 4), (3000, 3000, 0)],
)
def test_rates_that_browsers_refuse_are_played_at_another_speed(sample_rate: int, played_at: int, speed: int) -> None:
    found = Playback.of(row(sample_rate=sample_rate), Encoding())
    assert (found.sample_rate, found.speed) == (played_at, speed)


@pytest.mark.parametrize("sample_rate", [1, 2999, 192_001, 2_147_483_647])
def test_every_rate_ends_up_within_what_browsers_play(sample_rate: int) -> None:
    assert 3000 <= Playback.of(row(sample_rate=sample_rate), Encoding()).sample_rate <= 192_000


@pytest.mark.parametrize(
    ("encoding", "sample_bytes"),
    [
        (Encoding(), 1),
        (Encoding(bits=12), 2),
        (Encoding(bits=16), 2),
        (Encoding(bits=24, chunk_bytes=1536), 3),
        (Encoding(quantizer="mulaw"), 2),
    ],
)
def test_a_wav_holds_exactly_what_was_decoded(encoding: Encoding, sample_bytes: int) -> None:
    ramp = np.linspace(-(2**31), 2**31 - 1, 5000).astype(np.int32).reshape(-1, 2)
    codes = quantize(ramp, bits=encoding.bits, quantizer=encoding.quantizer)
    samples = dequantize(codes, bits=encoding.bits, quantizer=encoding.quantizer)
    playback = Playback.of(row(channels=2), encoding)
    assert playback.sample_bytes == sample_bytes
    heard, rate = sf.read(io.BytesIO(playback.wav(samples)), dtype="int32")
    expected = samples.astype(np.int32) << (32 - 8 * samples.dtype.itemsize)
    assert rate == 8000
    lost = 2**16 if encoding.quantizer == "mulaw" else 1
    assert (expected - heard).min() >= 0
    assert (expected - heard).max() < lost


def test_no_more_than_two_channels_are_played() -> None:
    playback = Playback.of(row(channels=6), Encoding())
    samples = (np.arange(60, dtype=np.int16) << 8).reshape(10, 6)
    heard, _ = sf.read(io.BytesIO(playback.wav(samples)), dtype="int16")
    np.testing.assert_array_equal(heard, samples[:, :2])
    assert Playback.of(row(channels=6), Encoding(layout="mono", block=None)).channels == 1


@pytest.mark.parametrize(
    ("wanted", "total", "given"),
    [([], 5, []), ([3, 2], 9, [3, 2]), ([9, 1, 9], 11, [5, 1, 5]), ([9, 9], 0, [0, 0]), ([4], 3, [3])],
)
def test_what_small_clips_leave_is_shared(wanted: list[int], total: int, given: list[int]) -> None:
    assert budgets(wanted, total) == given


def test_a_choice_of_columns_is_that_of_rows(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    for number in range(12):
        sf.write(tmp_path / "wavs" / f"{number}.wav", np.zeros((2000 * number, 1 + number % 2), np.int16), 8000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "out", split="train=0.5,val=0.5", workers=1, fsync=False)
    manifest = Manifest.read(tmp_path / "out")
    rows = [row for row in read_rows(tmp_path / "out", manifest.recordings) if row.error is None]
    parts = [ChunkDataset(tmp_path / "out", split).recordings for split in manifest.splits]
    assert len({row.split for row in rows}) == 2
    for seed in range(5):
        assert choose(Recordings.joined(parts, in_order=True).used, 4, seed=seed) == choose(rows, 4, seed=seed)


def test_a_choice_follows_from_its_seed_alone() -> None:
    rows = [row(f"{number}.wav", chunks=number + 1) for number in range(50)]
    first = choose(rows, 12, seed=1)
    assert choose(rows, 12, seed=1) == first
    assert choose(rows, 12, seed=2) != first
    assert [found.path for found, _ in first] == sorted((found.path for found, _ in first), key=lambda p: int(p[:-4]))
    assert all(0 <= where < 1 for _, where in first)


def test_a_recording_is_chosen_as_often_as_it_has_chunks() -> None:
    rows = [row("a.wav", chunks=1), row("b.wav", chunks=3)]
    found = Counter(choose(rows, 1, seed=seed)[0][0].path for seed in range(2000))
    assert 1400 < found["b.wav"] < 1600


def test_each_recording_is_chosen_once_and_none_without_whole_frames() -> None:
    rows = [
        row("a.wav", channel=0, channels=2),
        row("a.wav", channel=1, channels=2),
        row("short.wav", chunks=0, dropped_frames=1000),
        row("unaligned.wav", channels=2, dropped_frames=1000),
    ]
    assert [found.path for found, _ in choose(rows, 9, seed=0)] == ["a.wav"]
    assert choose([], 9, seed=0) == []


def test_a_clip_is_what_the_chunks_hold(dataset: Path) -> None:
    found = all_clips(dataset)
    assert len(found) == 8
    for clip in found:
        ds = ChunkDataset(dataset, clip.row.split)
        stream = Frames(ds, clip.row)
        codes = stream.read(clip.start, len(clip.samples))[:, : clip.playback.channels]
        heard, rate = played(clip.clip_uri)
        np.testing.assert_array_equal((heard >> 24) + 128, codes)
        assert rate == clip.playback.sample_rate
        assert len(heard) <= 5 * rate
        np.testing.assert_array_equal(clip.codes, ds.codes(clip.chunk))


def test_the_chunk_lies_in_the_clip_and_is_repeated(dataset: Path) -> None:
    for clip in all_clips(dataset):
        first, last = clip.chunk_frames
        assert clip.start <= first <= last < clip.start + len(clip.samples)
        assert clip.chunk_uri is not None
        assert clip.chunk_samples is not None
        heard, rate = played(clip.chunk_uri)
        n = len(clip.chunk_samples)
        np.testing.assert_array_equal(heard[:n] >> 24 << 8, clip.chunk_samples[:, : clip.playback.channels])
        assert len(heard) % n == 0
        np.testing.assert_array_equal(heard, np.tile(heard[:n], (len(heard) // n, 1)))
        assert n / rate == clip.chunk_period


def test_sound_stays_within_its_budget(dataset: Path) -> None:
    found = all_clips(dataset, max_bytes=60_000)
    assert sum(len(base64.b64decode(clip.clip_uri[22:])) for clip in found) <= 60_000
    assert all(len(clip.samples) for clip in found)


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "split"},
        {"layout": "mono", "bits": 16},
        {"bits": 24, "chunk_bytes": 1536},
        {"block": 700, "tail": "pad"},
        {"chunk_bytes": 300_000, "tail": "pad"},
    ],
    ids=str,
)
def test_clips_of_every_layout_can_be_played(wavs: Path, tmp_path: Path, options: dict[str, object]) -> None:
    audiochunk.build(wavs, tmp_path / "out", on_error="skip", workers=1, **options)  # type: ignore[arg-type]
    found = all_clips(tmp_path / "out")
    assert found
    for clip in found:
        heard, _ = played(clip.clip_uri)
        assert heard.shape == clip.samples.shape
        assert clip.chunk_uri is not None
        assert len(played(clip.chunk_uri)[0])
