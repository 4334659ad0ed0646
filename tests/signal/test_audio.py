"""Recordings -> samples, real ones first."""

import errno
import os
import random
import re
import struct
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.errors import MachineError, RecordingError
from audiochunk.signal import sndfile
from audiochunk.signal.audio import EXTENSIONS, AudioInfo, Recording, from_floats, probe, read
from audiochunk.signal.opening import open_file, open_regular
from audiochunk.signal.wav import WavForm
from tests.waiting import LONG_S

from .wavs import ALAW, FLOAT, MULAW, data, ds64, extensible, floats, fmt, integers, part, wave

FULL = 2**31
# What codecs with few bits make is held by 16, but for the linear ones of more.
IN_32_BITS = {"PCM_24", "PCM_32", "ALAC_24"}


def reference(path: Path, subtype: str) -> npt.NDArray[np.signedinteger]:
    """What soundfile reads, as samples."""
    if subtype in ("FLOAT", "DOUBLE"):
        values, _ = sf.read(path, dtype="float64", always_2d=True)
        return np.rint(values * 2.0**31).clip(-FULL, FULL - 1).astype(np.int32)
    return sf.read(path, dtype="int32" if subtype in IN_32_BITS else "int16", always_2d=True)[0]


def audio_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if os.fsencode(path.suffix.lower()) in EXTENSIONS and path.is_file():
            yield path


def usable(folder: Path) -> Iterator[tuple[Path, AudioInfo]]:
    found = False
    for path in audio_files(folder):
        try:
            info = probe(path)
        except RecordingError:
            continue
        found = True
        yield path, info
    assert found, f"no recordings in {folder}"


def bits_used(path: Path) -> int:
    """Bits of a sample that a WAV file's header says are used."""
    head = path.read_bytes()[:4096]
    at = head.index(b"fmt ") + 8
    tag, bits = struct.unpack_from("<H12xH", head, at)
    return struct.unpack_from("<H", head, at + 18)[0] if tag == 0xFFFE else bits


def refusal(path: Path | bytes | str) -> str:
    """The reason why a recording cannot be used."""
    with pytest.raises(RecordingError) as caught:
        probe(path)
    name, reason = caught.value.args
    assert name == os.fsencode(path)
    return reason


# -- real recordings


def test_real_recordings_have_the_samples_that_soundfile_reads(recordings: Path) -> None:
    different = []
    for path, info in usable(recordings):
        expected = reference(path, info.subtype)
        if "low-justified" in info.notes:
            expected = expected << 8 * expected.itemsize - bits_used(path)
        samples = read(path)
        if samples.dtype != expected.dtype or not np.array_equal(samples, expected):
            different.append(path.name)
    assert different == []


def test_real_recordings_are_what_soundfile_says(recordings: Path) -> None:
    for path, info in usable(recordings):
        there = sf.info(path)
        said = (info.sample_rate, info.channels, info.frames, info.subtype)
        assert said == (there.samplerate, there.channels, there.frames, there.subtype), path


def test_real_recordings_read_in_ranges_in_any_order_are_the_whole(recordings: Path) -> None:
    different = []
    for path, info in usable(recordings):
        different += [(path.name, *where) for where in ranges_that_differ(path, info, read(path).copy())]
    assert different == []


def ranges_that_differ(
    path: Path, info: AudioInfo, whole: npt.NDArray[np.signedinteger], *, n: int = 16
) -> list[tuple[int, int]]:
    """Of ranges of all kinds, read in random order through one `Recording`, those that are not what `whole` holds."""
    rng = random.Random(path.name)
    frames = len(whole)
    assert frames == info.frames
    ranges = [(0, frames), (0, 0), (frames, 0), (0, min(1, frames)), (max(0, frames - 1), min(1, frames))]
    for longest in [1, 100, 5000, frames] * (n // 4):
        start = rng.randint(0, frames)
        ranges.append((start, rng.randint(0, min(longest, frames - start))))
    middle = frames // 2
    ranges.extend([(middle, frames - middle), (0, middle)])  # the second half, then back to the first
    rng.shuffle(ranges)
    with Recording(open_regular(path), info, b"") as recording:
        return [
            (start, length)
            for start, length in ranges
            if not np.array_equal(recording.read(start, length).samples, whole[start : start + length])
        ]


def manifest(folder: Path) -> dict[Path, bool]:
    """The recordings that the folder's table lists, and whether soundfile refused them."""
    table = folder / "MANIFEST.tsv"
    if not table.exists():
        pytest.skip("these recordings have no MANIFEST.tsv that says which are damaged")
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines()[1:]]
    return {folder / row[0]: row[4].startswith("REFUSED") for row in rows}


def test_real_recordings_are_refused_where_soundfile_refuses_them(recordings: Path) -> None:
    listed = manifest(recordings)
    refused = {}
    for path in listed:
        try:
            probe(path)
        except RecordingError:
            refused[path] = True
    assert {path for path, is_refused in listed.items() if is_refused} == set(refused)
    assert refused


def test_real_damage_has_a_reason_that_a_person_understands(recordings: Path) -> None:
    kinds = {"Git LFS pointer": 0, "empty": 0, "text": 0}
    for path, is_refused in manifest(recordings).items():
        if not is_refused:
            continue
        content = path.read_bytes()
        reason = refusal(path)
        if content.startswith(b"version https://git-lfs"):
            kinds["Git LFS pointer"] += 1
            assert reason == "this is a Git LFS pointer, not the recording: run `git lfs pull`"
        elif not content:
            kinds["empty"] += 1
            assert reason == "the file is empty (0 bytes)"
        elif content.isascii() and b"\0" not in content:
            kinds["text"] += 1
            assert reason.startswith(f"this is text, not audio: it begins '{content[:10].decode()}")
        else:
            assert not reason.startswith("this is")
    assert all(kinds.values()), kinds


# -- what soundfile writes


CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "CAF", "AU")
CANNOT_BE_WRITTEN = {"MPEG_LAYER_III", "DWVW_12"}
REFUSED = {"DWVW_16", "DWVW_24", "ALAC_20", "ALAC_32"}
MONO_ONLY = {"GSM610", "G721_32", "G723_24", "G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"}
STEREO_AT_MOST = {"IMA_ADPCM", "MS_ADPCM"}
WRITTEN = [
    (container, subtype)
    for container in CONTAINERS
    for subtype in sorted(sf.available_subtypes(container))
    if subtype not in CANNOT_BE_WRITTEN | REFUSED
]


def chirps(frames: int, channels: int) -> npt.NDArray[np.float64]:
    """A rising tone in each channel, from 300 Hz at 8 kHz, with a little noise."""
    t = np.arange(frames)[:, None] / 8000
    tones = 0.5 * np.sin(2 * np.pi * t * (300 + 70 * np.arange(channels)) * (1 + t))
    return tones + np.random.default_rng(4).normal(0, 0.02, (frames, channels))


@pytest.mark.parametrize(("container", "subtype"), WRITTEN)
def test_ranges_of_what_soundfile_writes_are_what_soundfile_reads(tmp_path: Path, container: str, subtype: str) -> None:
    most = 1 if subtype in MONO_ONLY else 2 if subtype in STEREO_AT_MOST else 8
    for channels in [n for n in (1, 2, 3, 8) if n <= most]:
        path = tmp_path / f"{channels}.{container}"
        sf.write(path, chirps(9973, channels), 8000, subtype=subtype, format=container)
        info = probe(path)
        expected = reference(path, subtype)
        whole = read(path).copy()
        assert info.subtype == subtype
        assert whole.dtype == expected.dtype
        assert np.array_equal(whole, expected)
        assert ranges_that_differ(path, info, whole) == []
        assert any(note.startswith("lossy") for note in info.notes) == (subtype in MONO_ONLY | STEREO_AT_MOST)


LOSSLESS = [(c, s, ch) for c, s in WRITTEN for ch in (1, 2) if s.startswith(("PCM_", "ALAC_"))]


@pytest.mark.parametrize(("container", "subtype", "channels"), LOSSLESS)
def test_integers_come_back_as_they_were_written(tmp_path: Path, container: str, subtype: str, channels: int) -> None:
    bits = int(re.sub(r"\D", "", subtype))
    top = 1 << bits - 1
    values = np.rint(chirps(10_000, channels) * top).astype(np.int64)
    if not subtype.startswith("ALAC"):
        values = np.random.default_rng(bits).integers(-top, top, (10_000, channels))
    values[:4, 0] = [-top, top - 1, -1, 0]
    samples = (values << 32 - bits).astype(np.int32)
    path = tmp_path / f"a.{container}"
    sf.write(path, samples, 8000, subtype=subtype, format=container)
    back = read(path)
    assert back.dtype == (np.int16 if bits <= 16 else np.int32)
    assert np.array_equal(back.astype(np.int64) << (16 if bits <= 16 else 0), samples)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "IMA_ADPCM"), ("W64", "IMA_ADPCM"), ("AIFF", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("W64", "MS_ADPCM")],
)
@pytest.mark.parametrize("missing", [1, 20, 100])
def test_a_codec_block_that_ends_early_is_the_same_wherever_reading_began(
    tmp_path: Path, container: str, subtype: str, channels: int, missing: int
) -> None:
    path = tmp_path / f"a.{container}"
    sf.write(path, chirps(9973, channels), 8000, subtype=subtype, format=container)
    os.truncate(path, path.stat().st_size - missing)
    info = probe(path)
    whole = read(path).copy()
    at_the_end = [(n, 1) for n in (len(whole) - 1, 0, len(whole) - 1, 5000, len(whole) - 1)]
    with Recording(open_regular(path), info, b"") as recording:
        for start, length in at_the_end:
            assert np.array_equal(recording.read(start, length).samples, whole[start : start + length])
    assert ranges_that_differ(path, info, whole) == []


@pytest.mark.parametrize("subtype", ["ALAC_20", "ALAC_32"])
def test_alac_that_libsndfile_decodes_wrongly_is_refused(tmp_path: Path, subtype: str) -> None:
    sf.write(tmp_path / "a.caf", chirps(500, 1), 8000, subtype=subtype)
    assert refusal(tmp_path / "a.caf") == f"unsupported codec: {subtype[-2:]} bit ALAC"


@pytest.mark.parametrize("subtype", ["DWVW_16", "DWVW_24"])
def test_what_soundfile_cannot_read_is_refused_before_it_is_read(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.aiff"
    sf.write(path, chirps(500, 1), 8000, subtype=subtype)
    with pytest.raises(sf.LibsndfileError):
        sf.read(path)
    assert subtype[:4] in refusal(path)


@pytest.mark.parametrize("frames", [0, 1])
@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.caf", "a.au", "a.w64"])
def test_recordings_of_no_frame_and_of_one(tmp_path: Path, name: str, frames: int) -> None:
    path = tmp_path / name
    sf.write(path, np.full((frames, 2), 77, np.int16), 8000, subtype="PCM_16")
    assert probe(path).frames == frames
    assert read(path).tolist() == [[77, 77]] * frames


def test_flac_that_does_not_say_its_length_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    samples = (chirps(50_000, 2) * 20_000).astype(np.int16)
    sf.write(path, samples, 8000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO keeps the count in the 36 bits from here on; 0 means unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    info = probe(path)
    assert info.frames == 50_000
    assert "length counted by decoding" in info.notes
    assert np.array_equal(read(path), samples)
    assert ranges_that_differ(path, info, samples) == []


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_flac_that_ends_early_is_found_out_when_it_is_read(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.flac"
    samples = (chirps(50_000, 2) * 20_000).astype(np.int16)
    sf.write(path, samples, 8000)
    os.truncate(path, int(path.stat().st_size * kept))
    info = probe(path)
    assert info.frames == 50_000
    with Recording(open_regular(path), info, b"a.flac") as recording:
        assert np.array_equal(recording.read(100, 5000).samples, samples[100:5100])
    with Recording(open_regular(path), info, b"a.flac") as recording, pytest.raises(RecordingError) as caught:
        recording.read(0, 50_000)
    assert caught.value.args[0] == b"a.flac"


def test_flac_that_claims_more_than_it_has_ends_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    samples = (chirps(2000, 1) * 20_000).astype(np.int16)
    sf.write(path, samples, 8000)
    content = bytearray(path.read_bytes())
    assert content[22:26] == (2000).to_bytes(4, "big")
    content[22:26] = (3000).to_bytes(4, "big")
    path.write_bytes(content)
    info = probe(path)
    assert (info.frames, info.notes) == (3000, ())
    with Recording(open_regular(path), info, b"a.flac") as recording:
        assert np.array_equal(recording.read(1000, 1000).samples, samples[1000:])
        with pytest.raises(RecordingError) as caught:
            recording.read(1900, 200)
        assert caught.value.args == (b"a.flac", "decoding ended at frame 2000 of 3000")
    with pytest.raises(RecordingError, match="decoding ended at frame 2000 of 3000"):
        read(path)


@pytest.mark.parametrize("tag", [0x0000, 0x0092, 0x0161, 0x2000])
@pytest.mark.parametrize("describe", [fmt, extensible])
def test_a_codec_that_libsndfile_refuses_is_named_by_its_tag(tmp_path: Path, tag: int, describe) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave(describe(tag=tag), data(bytes(16))))
    assert refusal(path) == f"unsupported codec: format tag 0x{tag:04x}"


@pytest.mark.parametrize(
    ("subtype", "said"),
    [
        ("IMA_ADPCM", "IMA ADPCM"),
        ("MS_ADPCM", "Microsoft ADPCM"),
        ("GSM610", "GSM 6.10"),
        ("G721_32", "32kbs G721 ADPCM"),
    ],
)
def test_a_codec_without_the_size_of_its_data_is_refused_or_read_whole(tmp_path: Path, subtype: str, said: str) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, chirps(3000, 1), 8000, subtype=subtype)
    content, whole = path.read_bytes(), read(path).copy()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    assert refusal(path) == f"unfinished header: {said} is not read without the size of its data"
    path.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    assert "unfinished header: read to the end of the file" in probe(path).notes
    # Of GSM a pad byte is one more to decode.
    assert np.array_equal(read(path)[: len(whole)], whole)
    path.write_bytes(content[:-40])
    (promised,), there = struct.unpack_from("<I", content, at), len(content) - at - 4 - 40
    note = f"truncated: header promises {promised} bytes of audio, {there} are there"
    assert note in probe(path).notes
    path.write_bytes(content[:at] + bytes(4))
    info = probe(path)
    assert (info.frames, [note for note in info.notes if note.startswith("unfinished")]) == (0, [])


@pytest.mark.parametrize("container", ["W64", "AIFF", "AU"])
@pytest.mark.parametrize(("missing", "frames"), [(1, 999), (2, 999), (3, 998), (1000, 500), (2000, 0)])
def test_what_libsndfile_finds_truncated_is_noted(tmp_path: Path, container: str, missing: int, frames: int) -> None:
    path = tmp_path / "a"
    samples = (chirps(1000, 1) * 20_000).astype(np.int16)
    sf.write(path, samples, 8000, format=container)
    assert probe(path).notes == ()
    os.truncate(path, path.stat().st_size - missing)
    assert probe(path).notes == ("truncated: header promises more audio than is there",)
    assert np.array_equal(read(path), samples[:frames])


def test_a_codec_that_is_not_known_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.au"
    sf.write(path, chirps(100, 1), 8000, subtype="ULAW")
    monkeypatch.delitem(sndfile.SUBTYPES, "ULAW")
    assert refusal(path) == "unsupported codec: U-Law"


# -- dialects of WAV


def test_a_plain_wav_is_described(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave(fmt(channels=2, rate=44_100), data(bytes(20))))
    assert probe(path) == AudioInfo(
        sample_rate=44_100, channels=2, frames=5, subtype="PCM_16", form=WavForm("int", 2, False, 44)
    )


@pytest.mark.parametrize("magic", [b"RIFF", b"RIFX", b"RF64", b"BW64"])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("describe", [fmt, extensible])
def test_integers_of_every_dialect_are_left_justified(tmp_path: Path, magic: bytes, width: int, describe) -> None:
    order = ">" if magic == b"RIFX" else "<"
    top = 1 << 8 * width - 1
    values = [-top, top - 1, -1, 0, 1, -2]
    body = integers(values, width, order=order)
    first = [ds64(len(body))] if magic in (b"RF64", b"BW64") else []
    parts = [*first, part(b"JUNK", bytes(33), order=order), describe(channels=2, bits=8 * width, order=order)]
    path = tmp_path / "a.wav"
    path.write_bytes(wave(*parts, data(body, order=order, size=0xFFFFFFFF if first else None), magic=magic))
    info = probe(path)
    assert (info.frames, info.channels, info.notes) == (3, 2, ())
    assert info.subtype == ("PCM_U8" if width == 1 else f"PCM_{8 * width}")
    shift = (16 if width <= 2 else 32) - 8 * width
    samples = read(path)
    assert samples.dtype == (np.int16 if width <= 2 else np.int32)
    assert samples.ravel().tolist() == [value << shift for value in values]


@pytest.mark.parametrize("magic", [b"RIFF", b"RIFX"])
@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("describe", [fmt, extensible])
def test_floats_of_every_dialect_are_scaled(tmp_path: Path, magic: bytes, width: int, describe) -> None:
    order = ">" if magic == b"RIFX" else "<"
    body = floats([0.5, -1.0, 0.0, -0.25], width, order=order)
    path = tmp_path / "a.wav"
    path.write_bytes(
        wave(describe(tag=FLOAT, bits=8 * width, order=order), data(body, order=order), magic=magic),
    )
    assert probe(path).subtype == ("FLOAT" if width == 4 else "DOUBLE")
    assert read(path).tolist() == [[2**30], [-(2**31)], [0], [-(2**29)]]


@pytest.mark.parametrize(("width", "used"), [(2, 10), (2, 12), (3, 20), (4, 24), (4, 20)])
@pytest.mark.parametrize("filled", ["from the sign", "with zeros"])
def test_low_justified_samples_are_moved_up_and_noted(tmp_path: Path, width: int, used: int, filled: str) -> None:
    top = 1 << used - 1
    values = [-top, top - 1, -1, 0, 1, -3]
    stored = values if filled == "from the sign" else [value & (1 << used) - 1 for value in values]
    path = tmp_path / "a.wav"
    path.write_bytes(wave(extensible(bits=8 * width, valid=used), data(integers(stored, width))))
    assert probe(path).notes == ("low-justified",)
    shift = (16 if width == 2 else 32) - used
    assert read(path).ravel().tolist() == [value << shift for value in values]
    high = wave(extensible(bits=8 * width, valid=used), data(integers([v << 8 * width - used for v in values], width)))
    path.write_bytes(high)
    assert probe(path).notes == ()
    assert read(path).ravel().tolist() == [value << shift for value in values]


def test_seven_bits_in_a_byte_sit_high_or_low_and_are_silent_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave(fmt(bits=7), data(bytes([0, 63, 64, 65, 127]))))
    assert probe(path).notes == ("low-justified",)
    assert read(path).ravel().tolist() == [-(2**15), -512, 0, 512, 63 * 512]
    path.write_bytes(wave(fmt(bits=7), data(bytes([0, 126, 128, 130, 254]))))
    assert probe(path).notes == ()
    assert read(path).ravel().tolist() == [-(2**15), -512, 0, 512, 63 * 512]


def test_quiet_bytes_with_too_few_bits_in_the_header_stay_quiet(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave(fmt(bits=7), data(bytes([127, 128, 129, 128]))))
    assert np.abs(read(path).astype(int)).max() <= 512


def test_notes_say_what_was_put_right(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave(fmt(), data(bytes(8), size=100)))
    assert probe(path).notes == ("truncated: header promises 50 frames, 4 are there",)
    path.write_bytes(wave(fmt(), data(bytes(8), size=0xFFFFFFFF)))
    assert probe(path).notes == ("unfinished header: read to the end of the file",)
    assert len(read(path)) == 4


def test_a_header_that_cannot_be_used_names_the_file_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "kick 03.wav"
    path.write_bytes(wave(fmt(channels=0, align=2), data(bytes(8))))
    with pytest.raises(RecordingError) as caught:
        probe(path)
    assert str(caught.value) == f"{path}: the header says 0 channels"


@pytest.mark.parametrize("size", [2**63 - 1, 2**64 - 1, 2**64 - 100])
def test_sizes_that_no_file_has_are_no_surprise(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave(ds64(size), fmt(), data(bytes(8), size=0xFFFFFFFF), magic=b"RF64"))
    assert probe(path).frames == 4


@pytest.mark.parametrize("magic", [b"RIFF", b"RIFX", b"RF64", b"BW64"])
@pytest.mark.parametrize(("tag", "subtype", "kind"), [(ALAW, "ALAW", "alaw"), (MULAW, "ULAW", "mulaw")])
def test_laws_of_every_dialect_are_read_directly(
    tmp_path: Path, magic: bytes, tag: int, subtype: str, kind: str
) -> None:
    codes = bytes(range(256))
    order = ">" if magic == b"RIFX" else "<"
    plain = tmp_path / "plain.wav"
    plain.write_bytes(wave(fmt(tag=tag, channels=2, bits=8), data(codes)))
    expected, _ = sf.read(plain, dtype="int16")
    first = [ds64(256)] if magic in (b"RF64", b"BW64") else []
    parts = [*first, fmt(tag=tag, channels=2, bits=8, order=order)]
    path = tmp_path / "a.wav"
    path.write_bytes(wave(*parts, data(codes, order=order, size=0xFFFFFFFF if first else None), magic=magic))
    offset = path.read_bytes().index(codes)
    info = probe(path)
    assert info == AudioInfo(8000, 2, 128, subtype, WavForm(kind, 1, order == ">", offset))
    samples = read(path)
    assert samples.dtype == np.int16
    assert np.array_equal(samples, expected)
    assert ranges_that_differ(path, info, samples) == []


# -- ranges


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """A stereo WAV file whose frame i is (i, -i)."""
    path = tmp_path / "ramp.wav"
    path.write_bytes(wave(fmt(channels=2), data(integers([v for i in range(100) for v in (i, -i)], 2))))
    return path


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 100), length=st.integers(0, 100))
def test_read_gives_the_range_that_it_is_asked_for(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "range.wav"
    if not path.exists():
        path.write_bytes(wave(fmt(), data(integers(range(100), 2))))
    length = min(length, 100 - start)
    assert read(path, start=start, frames=length).ravel().tolist() == list(range(start, start + length))
    assert read(path, start=start).ravel().tolist() == list(range(start, 100))


@pytest.mark.parametrize(
    ("start", "frames"), [(0, 101), (99, 2), (100, 1), (101, 0), (500, 1), (-1, 1), (-1, 0), (50, -1), (0, 2**70)]
)
def test_frames_that_are_not_there_are_an_error(ramp: Path, start: int, frames: int) -> None:
    flac = ramp.with_suffix(".flac")
    sf.write(flac, np.zeros((100, 2), np.int16), 8000)
    reason = f"frames {start} to {start + frames} asked for; there are 100"
    for path in (ramp, flac):
        with pytest.raises(RecordingError) as caught:
            read(path, start=start, frames=frames)
        assert caught.value.args == (os.fsencode(path), reason)
        with Recording(open_regular(path), probe(path), b"it") as recording:
            with pytest.raises(RecordingError) as caught:
                recording.read(start, frames)
            assert caught.value.args == (b"it", reason)
            assert len(recording.read(90, 10).samples) == 10


@pytest.mark.parametrize("start", [101, 500, -1])
def test_all_frames_from_beyond_the_end_on_are_an_error(ramp: Path, start: int) -> None:
    with pytest.raises(RecordingError, match="asked for; there are 100"):
        read(ramp, start=start)
    assert len(read(ramp, start=100)) == 0


def test_a_file_that_shrank_since_it_was_probed_is_an_error(ramp: Path) -> None:
    info = probe(ramp)
    os.truncate(ramp, 44 + 50 * 4 + 1)
    with Recording(open_regular(ramp), info, b"ramp") as recording:
        assert len(recording.read(0, 50).samples) == 50
        with pytest.raises(RecordingError) as caught:
            recording.read(0, 51)
    assert caught.value.args == (b"ramp", "the file ends in frame 50")


# -- floats


EDGE_FLOATS = [
    # value, sample, clipped
    (0.0, 0, False),
    (-0.0, 0, False),
    (0.5, 2**30, False),
    (1.0, FULL - 1, True),
    (-1.0, -FULL, False),
    (1.0 - 2.0**-24, FULL - 128, False),
    (-1.0 - 2.0**-23, -FULL, True),
    (3.0, FULL - 1, True),
    (-3.0, -FULL, True),
    (0.5 * 2.0**-31, 0, False),  # halves go to the even neighbour
    (1.5 * 2.0**-31, 2, False),
    (-1.5 * 2.0**-31, -2, False),
    (2.0**-149, 0, False),
]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize(("value", "sample", "clipped"), EDGE_FLOATS)
def test_float_literals(dtype: str, value: float, sample: int, clipped: bool) -> None:
    decoded = from_floats(np.array([[0.25, value]], dtype))
    assert decoded.samples.dtype == np.int32
    assert decoded.samples.tolist() == [[2**29, sample]]
    assert decoded.invalid is None
    if clipped:
        assert decoded.clipped is not None
        assert decoded.clipped.tolist() == [[False, True]]
    else:
        assert decoded.clipped is None


@pytest.mark.parametrize(
    ("value", "sample", "clipped"),
    [
        (1e300, FULL - 1, True),
        (-1e300, -FULL, True),
        (1.7e308, FULL - 1, True),
        (1.0 - 2.0**-31, FULL - 1, False),
        (1.0 - 2.0**-32, FULL - 1, True),  # a half that goes to 2**31
        (-1.0 - 2.0**-32, -FULL, False),  # a half that goes to -2**31
        (-1.0 - 2.0**-31, -FULL, True),
    ],
)
def test_double_literals(value: float, sample: int, clipped: bool) -> None:
    decoded = from_floats(np.array([[value]]))
    assert decoded.samples.tolist() == [[sample]]
    assert decoded.invalid is None
    assert (decoded.clipped is not None) == clipped


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.floats(-1, 1, width=32),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.floats(-1 - 2.0**-30, 1, allow_nan=False),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_floats_are_rounded_and_clipped_as_fractions_are(values: list[float]) -> None:
    rounded = [round(Fraction(value) * FULL) for value in values]
    decoded = from_floats(np.array(values)[:, None])
    assert decoded.samples.ravel().tolist() == [min(max(value, -FULL), FULL - 1) for value in rounded]
    outside = [not -FULL <= value < FULL for value in rounded]
    if any(outside):
        assert decoded.clipped is not None
        assert decoded.clipped.ravel().tolist() == outside
    else:
        assert decoded.clipped is None
    assert decoded.invalid is None


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_marked_and_not_counted_as_clipped(dtype: str, value: float) -> None:
    decoded = from_floats(np.array([[0.5, value], [value, 2.0]], dtype))
    assert decoded.invalid is not None
    assert decoded.invalid.tolist() == [[False, True], [True, False]]
    assert decoded.clipped is not None
    assert decoded.clipped.tolist() == [[False, False], [False, True]]
    assert decoded.samples[0, 0] == 2**30
    alone = from_floats(np.array([[value]], dtype))
    assert alone.clipped is None


@pytest.mark.parametrize("shape", [(0, 1), (0, 8)])
def test_no_floats_are_no_samples(shape: tuple[int, int]) -> None:
    decoded = from_floats(np.empty(shape, np.float32))
    assert decoded.samples.shape == shape
    assert decoded.samples.dtype == np.int32
    assert decoded.clipped is None
    assert decoded.invalid is None


def test_floats_are_left_as_they_were() -> None:
    values = np.array([[2.0, np.nan]])
    from_floats(values)
    assert values[0, 0] == 2.0
    assert np.isnan(values[0, 1])


@pytest.mark.parametrize("container", ["WAV", "AU", "CAF", "W64", "AIFF"])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_damage_in_floats_is_found_in_every_container(tmp_path: Path, container: str, subtype: str) -> None:
    path = tmp_path / "a"
    values = np.zeros((100, 2), np.float32 if subtype == "FLOAT" else np.float64)
    values[10, 0], values[20, 1], values[30, 0], values[40, 1] = 1.5, np.nan, -np.inf, -1.0
    sf.write(path, values, 8000, subtype=subtype, format=container)
    with Recording(open_regular(path), probe(path), b"") as recording:
        decoded = recording.read(5, 90)
        assert decoded.clipped is not None
        assert np.argwhere(decoded.clipped).tolist() == [[5, 0]]
        assert decoded.invalid is not None
        assert np.argwhere(decoded.invalid).tolist() == [[15, 1], [25, 0]]
        assert decoded.samples[35, 1] == -FULL
        clean = recording.read(31, 69)
        assert (clean.clipped, clean.invalid) == (None, None)
    with pytest.raises(RecordingError, match="holds NaN or infinite samples"):
        read(path)
    assert read(path, start=31).shape == (69, 2)


# -- what is no recording


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    reasons = []
    # In a thread, so that waiting would be a failure and not the end of all tests.
    thread = threading.Thread(target=lambda: reasons.append(refusal(path)), daemon=True)
    thread.start()
    thread.join(timeout=LONG_S)
    assert reasons == ["not a regular file"]


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "not a regular file"


def test_a_device_is_no_recording() -> None:
    assert refusal(os.devnull) == "not a regular file"


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.wav") == "no such file or directory"


def test_a_broken_link_is_said_to_be_missing(tmp_path: Path) -> None:
    link = tmp_path / "a.wav"
    link.symlink_to("nowhere.wav")
    assert refusal(link) == "no such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said_to_be_so(ramp: Path) -> None:
    ramp.chmod(0)
    assert refusal(ramp) == "permission denied"


@pytest.mark.parametrize(
    ("number", "limit"),
    [(errno.EMFILE, r"ulimit -n"), (errno.ENFILE, r"fs\.file-max"), (errno.ENOMEM, r"ulimit -v, vm\.max_map_count")],
)
def test_limits_that_are_at_their_end_are_the_machines_fault(
    ramp: Path, monkeypatch: pytest.MonkeyPatch, number: int, limit: str
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(MachineError, match=rf" \({limit}\); fewer --workers need fewer"):
        open_regular(ramp)


def test_reading_that_fails_is_a_recording_error(ramp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(ramp)

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Recording(open_regular(ramp), info, b"ramp") as recording:
        monkeypatch.setattr(os, "preadv", broken)
        with pytest.raises(RecordingError) as caught:
            recording.read(0, 10)
        monkeypatch.undo()
    assert caught.value.args == (b"ramp", "input/output error")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
            "this is a Git LFS pointer, not the recording: run `git lfs pull`",
        ),
        (b"404: Not Found", "this is text, not audio: it begins '404: Not Found'"),
        (b"<!DOCTYPE html>\n<html>" * 100, "this is text, not audio: it begins '<!DOCTYPE html>\\n<html><!'"),
        ("häßlich".encode(), "this is text, not audio: it begins 'häßlich'"),
        ("häßlich".encode("utf-8-sig"), "this is text, not audio: it begins 'häßlich'"),
        ("\ufeffhäßlich".encode("utf-16-le"), "this is text, not audio: it begins 'häßlich'"),
        ("\ufeffhäßlich".encode("utf-16-be"), "this is text, not audio: it begins 'häßlich'"),
        ("€".encode() * 100, f"this is text, not audio: it begins '{'€' * 24}'"),
        (("\ufeff" + "𝄞" * 99).encode("utf-16-le"), f"this is text, not audio: it begins '{'𝄞' * 24}'"),
        ("häßlich".encode("latin-1"), "libsndfile: Format not recognised."),
        ("text".encode("utf-16-le"), "libsndfile: Format not recognised."),
        (b"\xff\xfe", "libsndfile: Format not recognised."),
        (b"\xef\xbb\xbf", "libsndfile: Format not recognised."),
        (b"\0" * 100, "libsndfile: Format not recognised."),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_what_is_no_audio_has_its_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path) == reason


def test_names_need_not_be_text(ramp: Path) -> None:
    name = os.fsencode(ramp.parent) + b"/\xff\n.wav"
    os.rename(ramp, name)
    assert probe(name).frames == 100
    assert len(read(name)) == 100


def test_names_are_taken_as_bytes_text_and_path(ramp: Path) -> None:
    assert probe(ramp) == probe(str(ramp)) == probe(os.fsencode(ramp))


def test_files_are_opened_relative_to_a_folder(ramp: Path) -> None:
    folder = os.open(ramp.parent, os.O_RDONLY)
    fd = open_file(os.fsencode(ramp.name), dir_fd=folder)
    assert os.path.samestat(os.fstat(fd), ramp.stat())
    os.close(fd)
    with pytest.raises(RecordingError):
        open_file(b"other.wav", dir_fd=folder)
    os.close(folder)


def test_links_to_recordings_are_recordings(ramp: Path) -> None:
    link = ramp.with_name("link.wav")
    link.symlink_to(ramp)
    assert probe(link) == probe(ramp)


def test_no_file_stays_open(ramp: Path, tmp_path: Path) -> None:
    flac, text = tmp_path / "a.flac", tmp_path / "text.wav"
    sf.write(flac, np.zeros(10, np.int16), 8000)
    text.write_text("no audio")
    refusal(text)  # what is imported now is not imported below
    probe(flac)
    before = sorted(os.listdir("/dev/fd"))
    for path in (ramp, flac):
        probe(path)
        read(path)
        with pytest.raises(RecordingError):
            read(path, start=50, frames=1000)
    for path in (text, tmp_path, tmp_path / "missing.wav"):
        refusal(path)
        with pytest.raises(RecordingError):
            read(path)
    assert sorted(os.listdir("/dev/fd")) == before
