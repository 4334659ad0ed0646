"""Chunks as the code of LMIC takes them."""

import math
import sys
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import audiochunk
from audiochunk.errors import ConfigError, NoDatasetError, PassingRecordingError, RecordingError
from audiochunk.integrations import lmic
from audiochunk.signal.interleave import deinterleave

EVERY_INT16 = np.arange(-(2**15), 2**15).astype(np.int16)
SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"]


def noise(frames: int, channels: int, *, seed: int = 0) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(seed)).integers(-(2**31), 2**31, (frames, channels))
    return values.astype(np.int32)


def write(path: Path, samples: np.ndarray, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(exist_ok=True)
    sf.write(path, samples / 2**31 if subtype == "FLOAT" else samples, 16_000, subtype=subtype)
    return path


def chunks(*args: Any, **options: Any) -> list[bytes]:
    return list(lmic.get_custom_audio_iterator(*args, **options))


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every subtype with 1 to 3 channels and awkward lengths; a short and an empty recording. In path order."""
    folder = tmp_path_factory.mktemp("lmic") / "wavs"
    paths = [
        write(folder / f"{subtype}-{channels}.wav", noise(5000 + 777 * channels, channels, seed=channels), subtype)
        for subtype in SUBTYPES
        for channels in (1, 2, 3)
    ]
    paths += [write(folder / "short.wav", noise(100, 2)), write(folder / "empty.wav", noise(0, 2))]
    return sorted(paths, key=lambda path: path.name.encode())


def build(source: Path, out: Path, **options: Any) -> audiochunk.ChunkDataset:
    audiochunk.build(source, out, workers=1, fsync=False, **options)
    return audiochunk.open(out)


# -- the four steps: round trips


@settings(deadline=None)
@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)), st.integers(1, 50))
def test_blocking_can_be_undone(samples: np.ndarray, block: int) -> None:
    blocked = lmic.process_stereo_blocking(samples, block)
    assert blocked.shape == (samples.size,)
    assert np.array_equal(deinterleave(blocked, channels=len(samples), block=block).T, samples)


def test_two_bytes_keep_every_16_bit_sample() -> None:
    back = np.frombuffer(lmic.convert_to_target_bit_depth(EVERY_INT16, True), "<i2")
    assert np.array_equal(back, EVERY_INT16)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 60))
def test_chunks_joined_are_the_bytes_but_for_an_incomplete_last_chunk(octets: bytes, size: int) -> None:
    found = list(lmic.extract_audio_chunks(octets, size))
    assert {len(chunk) for chunk in found} <= {size}
    assert b"".join(found) == octets[: len(octets) - len(octets) % size]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_load_gives_channels_first_in_the_canonical_width(tmp_path: Path, subtype: str, channels: int) -> None:
    used = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}.get(subtype, 32)
    written = noise(300, channels) >> (32 - used) << (32 - used)
    if subtype == "FLOAT":
        written = written >> 8 << 8  # what float32 holds
    path = write(tmp_path / "a.wav", written, subtype)
    loaded, rate, n_channels = lmic.load_wav_file(path)
    assert (rate, n_channels, loaded.shape) == (16_000, channels, (channels, 300))
    assert loaded.dtype == (np.int16 if used <= 16 else np.int32)
    assert np.array_equal(loaded[-1].astype(np.int64) << (32 - 8 * loaded.itemsize), written[:, -1])


# -- blocking


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 50))
def test_blocking_is_the_naive_loop(frames: int, channels: int, block: int) -> None:
    samples = np.arange(frames * channels, dtype=np.int32).reshape(channels, frames)
    expected: list[int] = []
    for start in range(0, frames, block):
        for channel in samples.tolist():
            expected += channel[start : start + block]
    assert lmic.process_stereo_blocking(samples, block).tolist() == expected


def test_five_stereo_frames_in_blocks_of_two_end_with_a_short_one_each() -> None:
    samples = np.array([[1, 2, 3, 4, 5], [-1, -2, -3, -4, -5]], np.int16)
    assert lmic.process_stereo_blocking(samples, 2).tolist() == [1, 2, -1, -2, 3, 4, -3, -4, 5, -5]


def test_blocking_refuses_one_channel_without_its_axis_and_empty_blocks() -> None:
    with pytest.raises(ConfigError, match=r"\(channels, frames\) here, not \(7,\)"):
        lmic.process_stereo_blocking(np.zeros(7, np.int16), 2)
    with pytest.raises(ConfigError, match="block must be at least 1 sample, not 0"):
        lmic.process_stereo_blocking(np.zeros((1, 7), np.int16), 0)


# -- conversion: the reference


@pytest.fixture(scope="module")
def reference() -> Callable[[bytes], bytes]:
    """From native 16-bit samples to LMIC's bytes: with audioop where Python has it, else the same in integers."""
    if sys.version_info >= (3, 13):
        return lambda raw: bytes((sample >> 8) + 128 for sample in np.frombuffer(raw, np.int16).tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    return lambda raw: audioop.bias(audioop.lin2lin(raw, 2, 1), 1, 128)


def test_one_byte_of_every_16_bit_sample_is_what_lmic_makes(reference: Callable[[bytes], bytes]) -> None:
    assert lmic.convert_to_target_bit_depth(EVERY_INT16, False) == reference(EVERY_INT16.tobytes())


@settings(deadline=None)
@given(hnp.arrays(np.int32, st.integers(0, 30)))
def test_the_reference_keeps_the_top_bits_of_32_bit_samples(samples: np.ndarray) -> None:
    values = samples.tolist()
    assert list(lmic.convert_to_target_bit_depth(samples, False)) == [(value >> 24) + 128 for value in values]
    expected = b"".join((value >> 16).to_bytes(2, "little", signed=True) for value in values)
    assert lmic.convert_to_target_bit_depth(samples, True) == expected


def test_two_bytes_are_signed_and_little_endian() -> None:
    samples = np.array([-2, 0x0102, 0x7FFF], np.int16)
    assert lmic.convert_to_target_bit_depth(samples, True).hex() == "feff0201ff7f"
    assert lmic.convert_to_target_bit_depth(samples.astype(np.int32) << 16, True).hex() == "feff0201ff7f"


# -- conversion: affine


def affine(sample: int, *, width: int, use_16bit: bool) -> int:
    x = Fraction(sample, 2 ** (width - 1))
    return math.trunc(x * 32767) if use_16bit else math.trunc((x + 1) * Fraction(255, 2))


@pytest.mark.parametrize("use_16bit", [False, True])
def test_affine_is_its_formula_for_every_16_bit_sample(use_16bit: bool) -> None:
    found = lmic.convert_to_target_bit_depth(EVERY_INT16, use_16bit, quantizer="affine")
    expected = [affine(sample, width=16, use_16bit=use_16bit) for sample in EVERY_INT16.tolist()]
    assert np.frombuffer(found, "<i2" if use_16bit else "u1").tolist() == expected


def test_affine_changes_its_byte_at_the_right_32_bit_samples() -> None:
    firsts = [-(-k * 2**32 // 255) - 2**31 for k in range(1, 255)]  # the lowest sample of each code
    samples = [s for first in firsts for s in (first - 1, first)] + [-(2**31), -1, 0, 1, 2**31 - 1]
    found = lmic.convert_to_target_bit_depth(np.array(samples, np.int32), False, quantizer="affine")
    assert list(found) == [affine(sample, width=32, use_16bit=False) for sample in samples]
    assert [found[2 * k + 1] - found[2 * k] for k in range(254)] == [1] * 254


def test_affine_changes_its_two_bytes_at_the_right_32_bit_samples() -> None:
    firsts = [-(-k * 2**31 // 32767) for k in range(1, 32767)]  # the lowest positive sample of each code
    sizes = np.array([s for first in firsts for s in (first - 1, first)])
    for samples in (sizes, -sizes):
        found = lmic.convert_to_target_bit_depth(samples.astype(np.int32), True, quantizer="affine")
        codes = np.abs(np.frombuffer(found, "<i2")).tolist()
        assert codes == [code for k in range(1, 32767) for code in (k - 1, k)]
    ends = np.array([-(2**31), 2**31 - 1], np.int32)
    assert np.frombuffer(lmic.convert_to_target_bit_depth(ends, True, quantizer="affine"), "<i2").tolist() == [
        affine(sample, width=32, use_16bit=True) for sample in ends.tolist()
    ]


def test_affine_by_hand() -> None:
    samples = np.array([-32768, -129, -1, 0, 1, 129, 32767], np.int16)
    # (x + 1) * 127.5: 0, 126.998, 127.496, 127.5, 127.504, 128.002, 254.996
    assert list(lmic.convert_to_target_bit_depth(samples, False, quantizer="affine")) == [
        0,
        126,
        127,
        127,
        127,
        128,
        254,
    ]
    # x * 32767: -32767, -128.996, -0.99997, 0, 0.99997, 128.996, 32766.00003
    found = lmic.convert_to_target_bit_depth(samples, True, quantizer="affine")
    assert np.frombuffer(found, "<i2").tolist() == [-32767, -128, 0, 0, 0, 128, 32766]


def test_silence_is_where_the_two_conversions_differ() -> None:
    silence = np.zeros(3, np.int16)
    assert lmic.convert_to_target_bit_depth(silence, False) == bytes([128] * 3)
    assert lmic.convert_to_target_bit_depth(silence, False, quantizer="affine") == bytes([127] * 3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", ">i2"])
def test_conversion_refuses_what_is_no_canonical_sample(dtype: str) -> None:
    with pytest.raises(ConfigError, match="samples are left-justified int16 or int32, not "):
        lmic.convert_to_target_bit_depth(np.zeros(3, dtype), False)


def test_an_unknown_quantizer_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="quantizer is one of reference, affine, not 'mulaw'"):
        lmic.convert_to_target_bit_depth(EVERY_INT16, False, quantizer="mulaw")
    with pytest.raises(ConfigError, match="quantizer is one of reference, affine, not 'mulaw'"):
        lmic.get_custom_audio_iterator([], quantizer="mulaw")


@pytest.mark.parametrize("size", [0, -1])
def test_extraction_refuses_chunks_without_bytes_at_once(size: int) -> None:
    with pytest.raises(ConfigError, match=f"chunk_size must be at least 1 byte, not {size}"):
        lmic.extract_audio_chunks(b"abc", size)


# -- chunks of recordings


def four_steps(paths: list[Path], use_16bit: bool, block: int, size: int, quantizer: lmic.Conversion) -> list[bytes]:
    found: list[bytes] = []
    for path in paths:
        samples, _, _ = lmic.load_wav_file(path)
        blocked = lmic.process_stereo_blocking(samples, block)
        octets = lmic.convert_to_target_bit_depth(blocked, use_16bit, quantizer=quantizer)
        found += lmic.extract_audio_chunks(octets, size)
    return found


@pytest.mark.parametrize("quantizer", ["reference", "affine"])
@pytest.mark.parametrize("use_16bit", [False, True])
@pytest.mark.parametrize(("block", "size"), [(1024, 2048), (300, 2048), (10**6, 500), (1, 2)])
def test_the_iterator_is_the_four_steps_on_each_recording(
    wavs: list[Path], use_16bit: bool, block: int, size: int, quantizer: lmic.Conversion
) -> None:
    found = chunks(wavs, 10**6, use_16bit, block, size, quantizer=quantizer)
    assert len(found) > len(wavs)
    assert found == four_steps(wavs, use_16bit, block, size, quantizer)


def test_a_recording_read_in_many_pieces_is_the_four_steps_too(
    wavs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = four_steps(wavs, False, 300, 256, "reference")
    monkeypatch.setattr(lmic, "_READ_BYTES", 1000)
    monkeypatch.setattr(lmic, "_READ_FRAMES", 130)
    assert chunks(wavs, blocking_size=300, chunk_size_bytes=256) == expected


@pytest.mark.parametrize("channels", [1, 2])
def test_chunks_of_16_bit_recordings_are_what_lmic_makes(
    tmp_path: Path, channels: int, reference: Callable[[bytes], bytes]
) -> None:
    samples = (noise(10_000, channels) >> 16).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, 16_000)
    blocks = [samples[at : at + 1024].T.tobytes() for at in range(0, 10_000, 1024)]
    stream = reference(b"".join(blocks))
    expected = [stream[at : at + 2048] for at in range(0, len(stream) - 2047, 2048)]
    assert chunks([tmp_path / "a.wav"]) == expected
    assert len(expected) == 10_000 * channels // 2048


def test_chunks_of_real_16_bit_recordings_are_what_lmic_makes(
    recordings: Path, reference: Callable[[bytes], bytes]
) -> None:
    checked = 0
    for path in sorted(recordings.rglob("*.wav")):
        if "torture" in path.parts or sf.info(path).subtype != "PCM_16" or sf.info(path).channels > 2:
            continue
        samples, _ = sf.read(path, dtype="int16", always_2d=True)
        blocks = [samples[at : at + 1024].T.tobytes() for at in range(0, len(samples), 1024)]
        stream = reference(b"".join(blocks))
        assert chunks([path]) == [stream[at : at + 2048] for at in range(0, len(stream) - 2047, 2048)], path
        checked += 1
    assert checked > 100


@pytest.mark.parametrize(
    ("ours", "options"),
    [
        ({}, {"bits": 8, "block": 1024}),
        ({"blocking_size": 300, "chunk_size_bytes": 1000}, {"bits": 8, "block": 300, "chunk_bytes": 1000}),
    ],
    ids=["defaults", "misaligned"],
)
def test_chunks_are_those_of_a_dataset_of_the_same_recordings(
    wavs: list[Path], tmp_path: Path, ours: dict[str, Any], options: dict[str, Any]
) -> None:
    ds = build(wavs[0].parent, tmp_path / "shards", **options)
    assert len(ds) > 40
    assert chunks(wavs, **ours) == [chunk.tobytes() for chunk in ds]


def test_chunks_are_those_of_a_dataset_of_real_recordings(recordings: Path, tmp_path: Path) -> None:
    ds = build(recordings, tmp_path / "shards", bits=8, block=1024, on_error="skip", exclude="torture")
    usable = [recordings / row.path for row in ds.recordings if row.error is None]
    assert len(ds) > 1000
    assert chunks(usable) == [chunk.tobytes() for chunk in ds]


def test_two_byte_chunks_are_those_of_a_dataset_with_the_top_bit_of_each_sample_flipped(
    wavs: list[Path], tmp_path: Path
) -> None:
    ds = build(wavs[0].parent, tmp_path / "shards", bits=16, block=512)
    signed = [np.frombuffer(chunk, "<u2") for chunk in chunks(wavs, 10**6, True, 512)]
    assert np.array_equal(np.stack(signed) ^ 0x8000, ds[list(range(len(ds)))])


@pytest.mark.parametrize(
    ("frames", "expected"), [(0, 0), (1, 0), (2047, 0), (2048, 1), (2049, 1), (4095, 1), (4096, 2)]
)
def test_an_incomplete_last_chunk_is_dropped(tmp_path: Path, frames: int, expected: int) -> None:
    assert len(chunks([write(tmp_path / "a.wav", noise(frames, 1))])) == expected


def test_no_chunk_has_samples_of_two_recordings(tmp_path: Path) -> None:
    levels = [np.full((3000, 1), level << 24, np.int32) for level in (1, 2)]
    paths = [write(tmp_path / f"{level[0, 0]}.wav", level) for level in levels]
    assert [set(chunk) for chunk in chunks(paths)] == [{129}, {130}]


def test_iteration_ends_after_num_chunks_and_can_be_cut_anywhere(wavs: list[Path]) -> None:
    everything = chunks(wavs)
    assert [chunks(wavs, n) for n in (0, 1, 7, len(everything))] == [everything[:n] for n in (0, 1, 7, len(everything))]
    assert chunks(wavs, num_chunks=len(everything) + 5) == everything


def test_recordings_are_opened_only_when_their_chunks_are_wanted(tmp_path: Path) -> None:
    asked: list[str] = []

    def paths() -> Iterator[Path]:
        asked.append("first")
        yield write(tmp_path / "a.wav", noise(4096, 1))
        asked.append("second")
        yield tmp_path / "missing.wav"

    assert chunks(paths(), 0) == []
    assert asked == []
    assert len(chunks(paths(), 2)) == 2
    assert asked == ["first"]


def test_the_first_chunk_does_not_need_the_rest_of_a_long_recording(tmp_path: Path) -> None:
    samples = np.zeros((2_000_000, 1), np.float32)
    samples[-2048 * 2] = np.nan
    sf.write(tmp_path / "long.wav", samples, 16_000, subtype="FLOAT")
    iterator = lmic.get_custom_audio_iterator([tmp_path / "long.wav"])
    assert next(iterator) == bytes([128] * 2048)
    with pytest.raises(RecordingError, match=r"long\.wav: holds NaN or infinite samples"):
        list(iterator)


def test_nan_that_no_chunk_holds_is_not_looked_for(tmp_path: Path) -> None:
    samples = np.zeros((3000, 1), np.float32)
    samples[2048:] = np.nan
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert chunks([tmp_path / "a.wav"]) == [bytes([128] * 2048)]


def test_a_missing_recording_is_refused_with_its_cause(tmp_path: Path) -> None:
    for use in (lmic.load_wav_file, lambda path: chunks([path])):
        with pytest.raises(PassingRecordingError, match=r"missing\.wav: no such file") as caught:
            use(tmp_path / "missing.wav")
        assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_what_is_no_audio_is_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio at all\n")
    with pytest.raises(RecordingError, match="this is text, not audio"):
        chunks([tmp_path / "a.wav"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_chunks": -1}, "num_chunks must be a whole number, at least 0, not -1"),
        ({"blocking_size": 0}, "block must be at least 1 sample"),
        ({"chunk_size_bytes": 0}, "chunk_bytes must be at least 1"),
        ({"chunk_size_bytes": 2047, "use_16bit": True}, "does not hold whole 16-bit codes"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lmic.get_custom_audio_iterator([], **options)


@pytest.mark.parametrize("path", ["a.wav", b"a.wav", Path("a.wav")])
def test_one_path_instead_of_many_is_refused(path: Any) -> None:
    with pytest.raises(ConfigError, match=r"audio_files are many paths, not the one path .*a\.wav"):
        lmic.get_custom_audio_iterator(path)


# -- chunks of a dataset


@pytest.mark.parametrize("options", [{}, {"bits": 16}, {"bits": 24, "chunk_bytes": 1536}, {"compress": "zstd"}])
def test_dataset_chunks_are_its_bytes(wavs: list[Path], tmp_path: Path, options: dict[str, Any]) -> None:
    ds = build(wavs[0].parent, tmp_path / "shards", shard_size=20 * 2048, **options)
    expected = [ds[i].tobytes() for i in range(len(ds))]
    assert list(lmic.get_dataset_iterator(tmp_path / "shards")) == expected
    assert {len(chunk) for chunk in expected} == {ds.encoding.chunk_bytes}


def test_dataset_iteration_ends_after_num_chunks_and_takes_a_split(wavs: list[Path], tmp_path: Path) -> None:
    build(wavs[0].parent, tmp_path / "shards", split="train=0.5,val=0.5")
    everything = [chunk.tobytes() for chunk in audiochunk.open(tmp_path / "shards", "val")]
    iterate = partial(lmic.get_dataset_iterator, tmp_path / "shards", split="val")
    assert len(everything) > 3
    assert [list(iterate(n)) for n in (0, 3, 10**9)] == [[], everything[:3], everything]
    assert list(lmic.get_dataset_iterator(str(tmp_path / "shards").encode(), 3, split="val")) == everything[:3]


def test_datasets_that_cannot_be_read_are_refused_at_once(wavs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NoDatasetError):
        lmic.get_dataset_iterator(tmp_path)
    build(wavs[0].parent, tmp_path / "shards")
    with pytest.raises(ConfigError, match="no split 'val' here"):
        lmic.get_dataset_iterator(tmp_path / "shards", split="val")
    with pytest.raises(ConfigError, match="num_chunks must be a whole number, at least 0, not -1"):
        lmic.get_dataset_iterator(tmp_path / "shards", -1)


# -- LMIC's table of functions


def test_registered_recordings_are_iterated_anew_by_every_call(wavs: list[Path]) -> None:
    functions: dict[str, Any] = {"enwik9": iter}
    lmic.register(functions, audio_files=iter(wavs), chunk_size_bytes=100, quantizer="affine")
    generate = partial(functions["custom_audio"], num_chunks=9)  # as compress.py calls it
    assert list(generate()) == list(generate()) == chunks(wavs, 9, chunk_size_bytes=100, quantizer="affine")
    assert functions.keys() == {"enwik9", "custom_audio"}


def test_a_registered_dataset_is_iterated(wavs: list[Path], tmp_path: Path) -> None:
    ds = build(wavs[0].parent, tmp_path / "shards", split="train=0.5,val=0.5")
    functions: dict[str, Any] = {}
    lmic.register(functions, dataset=tmp_path / "shards")
    assert list(functions["custom_audio"](num_chunks=4)) == [chunk.tobytes() for chunk in ds[:4]]
    lmic.register(functions, dataset=tmp_path / "shards", split="val")
    val = audiochunk.open(tmp_path / "shards", "val")
    assert list(functions["custom_audio"](num_chunks=4)) == [chunk.tobytes() for chunk in val[:4]]


def test_registered_without_recordings_the_function_takes_them_with_the_call(wavs: list[Path]) -> None:
    functions: dict[str, Any] = {}
    lmic.register(functions, use_16bit=True)
    assert list(functions["custom_audio"](wavs, num_chunks=4)) == chunks(wavs, 4, True)
    assert list(functions["custom_audio"](audio_files=wavs, num_chunks=4)) == chunks(wavs, 4, True)


def test_recordings_and_a_dataset_together_are_refused(wavs: list[Path]) -> None:
    functions: dict[str, Any] = {}
    with pytest.raises(ConfigError, match="audio_files and dataset: give one or the other"):
        lmic.register(functions, audio_files=wavs, dataset="shards")
    assert functions == {}


def test_chunks_stack_into_a_batch_as_lmic_trains_on(wavs: list[Path]) -> None:
    batch = np.array([np.frombuffer(chunk, np.uint8) for chunk in islice(lmic.get_custom_audio_iterator(wavs), 16)])
    assert (batch.shape, batch.dtype) == ((16, 2048), np.uint8)
