"""Headers of WAV files in every dialect, written byte by byte here."""

import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.signal import riff
from audiochunk.signal.riff import HEAD_BYTES, WavHeader, parse_header
from audiochunk.signal.wav import WavError, WavForm

from .wavs import (
    ALAW,
    AMBISONIC_GUID,
    EXTENSIBLE,
    FLOAT,
    IMA_ADPCM,
    MULAW,
    PCM,
    data,
    ds64,
    extensible,
    fmt,
    part,
    wave,
)

EIGHT = bytes(range(1, 9))  # the data of four frames of 16-bit mono
UNFINISHED = "unfinished header: read to the end of the file"


def parse(content: bytes, path: Path) -> WavHeader | None:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        return parse_header(fd, len(content))
    finally:
        os.close(fd)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return tmp_path / "a.wav"


def check(content: bytes, path: Path, *, note: str = "", frames: int = 4) -> WavHeader:
    """The header of a file whose data is EIGHT, or begins so."""
    header = parse(content, path)
    assert header is not None
    assert header.form is not None
    at = header.form.offset
    assert content[at : at + 8] == EIGHT[: max(0, len(content) - at)]
    assert (header.frames, header.note) == (frames, note)
    return header


# -- forms


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("kind", ["plain", "extensible", "ambisonic"])
@pytest.mark.parametrize(
    ("tag", "width"),
    [(PCM, 1), (PCM, 2), (PCM, 3), (PCM, 4), (FLOAT, 4), (FLOAT, 8), (ALAW, 1), (MULAW, 1)],
)
def test_every_form_is_told(wav: Path, tag: int, width: int, kind: str, channels: int, order: str) -> None:
    how = {"tag": tag, "channels": channels, "rate": 44_100, "bits": 8 * width, "order": order}
    if kind == "plain":
        described = fmt(**how)
    else:
        described = extensible(**how, **({"guid_rest": AMBISONIC_GUID} if kind == "ambisonic" else {}))
    magic = b"RIFX" if order == ">" else b"RIFF"
    content = wave(described, data(b"\xaa" * 5 * width * channels, order=order), magic=magic)
    kind = {PCM: "int", FLOAT: "float", ALAW: "alaw", MULAW: "mulaw"}[tag]
    form = WavForm(kind, width, order == ">", 12 + len(described) + 8)
    assert parse(content, wav) == WavHeader(tag, form, 8 * width, 44_100, channels, 5, "")


def test_a_header_worked_by_hand(wav: Path) -> None:
    content = bytes.fromhex(
        "52494646 28000000 57415645"  # RIFF, 40 bytes follow, WAVE
        "666d7420 10000000 0100 0200 44ac0000 10b10200 0400 1000"  # PCM, stereo, 44100 Hz, 4 bytes a frame, 16 bits
        "64617461 04000000 0100ffff"
    )
    assert parse(content, wav) == WavHeader(PCM, WavForm("int", 2, False, 44), 16, 44_100, 2, 1, "")


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_sizes_beyond_32_bits_come_from_ds64(wav: Path, magic: bytes) -> None:
    content = wave(ds64(8, frames=4), fmt(), data(EIGHT, size=0xFFFFFFFF), part(b"LIST", b"x" * 6), magic=magic)
    assert check(content, wav).form == WavForm("int", 2, False, len(content) - 14 - 8)


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_a_promise_in_ds64_is_compared_with_what_is_there(wav: Path, magic: bytes) -> None:
    content = wave(ds64(3 * 2**32), fmt(), data(EIGHT, size=0xFFFFFFFF), magic=magic)
    check(content, wav, note=f"truncated: header promises {3 * 2**31} frames, 4 are there")


def test_a_32_bit_size_counts_in_rf64_too(wav: Path) -> None:
    check(wave(ds64(999), fmt(), data(EIGHT, size=8), part(b"LIST"), magic=b"RF64"), wav)


def test_rf64_without_ds64_is_read_to_its_end(wav: Path) -> None:
    check(wave(fmt(), data(EIGHT, size=0xFFFFFFFF), magic=b"RF64"), wav, note=UNFINISHED)


@pytest.mark.parametrize("size", [0, 2**64 - 1, 2**63 - 1])
def test_rf64_that_was_never_finished_is_read_to_its_end(wav: Path, size: int) -> None:
    check(wave(ds64(size), fmt(), data(EIGHT, size=0xFFFFFFFF), magic=b"RF64"), wav, note=UNFINISHED)


@pytest.mark.parametrize("magic", [b"RIFF", b"RIFX", b"RF64", b"BW64"])
@pytest.mark.parametrize(("tag", "kind"), [(ALAW, "alaw"), (MULAW, "mulaw")])
def test_alaw_and_mulaw_take_a_byte_whatever_the_header_says(wav: Path, tag: int, kind: str, magic: bytes) -> None:
    order = ">" if magic == b"RIFX" else "<"
    for bits, align in ((8, 2), (16, 4), (0, 0), (8, 3)):
        described = fmt(tag=tag, channels=2, bits=bits, align=align, order=order)
        header = check(wave(described, data(EIGHT, order=order), magic=magic), wav)
        assert header == WavHeader(tag, WavForm(kind, 1, order == ">", 44), 8 if bits != 8 else bits, 8000, 2, 4, "")


@pytest.mark.parametrize("tag", [ALAW, MULAW])
def test_promises_about_alaw_and_mulaw_are_noted_in_frames(wav: Path, tag: int) -> None:
    described = fmt(tag=tag, channels=2, bits=8)
    check(wave(described, data(EIGHT, size=100)), wav, note="truncated: header promises 50 frames, 4 are there")
    for size in (0, 0x7FFFF000, 0xFFFFFFFF):
        check(wave(described, data(EIGHT, size=size)), wav, note=UNFINISHED)
    check(
        wave(described, data(EIGHT[:7], size=8, pad=False)),
        wav,
        frames=3,
        note="truncated: header promises 4 frames, 3 are there",
    )


IMA_FMT = {"tag": IMA_ADPCM, "bits": 4, "align": 256, "extra": b"\2\0\xf9\1"}


def test_other_codecs_are_left_to_a_decoder(wav: Path) -> None:
    header = parse(wave(fmt(**IMA_FMT), data(bytes(256))), wav)
    assert header == WavHeader(IMA_ADPCM, None, 0, 8000, 1, 0, "")


@pytest.mark.parametrize("tag", [0, 2, 0x31, 0x55, 0x161, 0xFFFD])
def test_the_tag_is_that_of_the_codec_under_an_extensible_header_too(wav: Path, tag: int) -> None:
    for described in (fmt(tag=tag), extensible(tag=tag)):
        assert parse(wave(described, data(EIGHT)), wav) == WavHeader(tag, None, 0, 8000, 1, 0, "")


@pytest.mark.parametrize("kept", [0, 1, 255])
def test_truncated_data_of_other_codecs_is_noted_in_bytes(wav: Path, kept: int) -> None:
    note = f"truncated: header promises 256 bytes of audio, {kept} are there"
    header = parse(wave(fmt(**IMA_FMT), data(bytes(kept), size=256, pad=False)), wav)
    assert header == WavHeader(IMA_ADPCM, None, 0, 8000, 1, 0, note)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_unfinished_headers_of_other_codecs_are_noted(wav: Path, size: int) -> None:
    header = parse(wave(fmt(**IMA_FMT), data(bytes(range(256)), size=size)), wav)
    assert header == WavHeader(IMA_ADPCM, None, 0, 8000, 1, 0, UNFINISHED)


# -- bits


@pytest.mark.parametrize(("bits", "width"), [(1, 1), (5, 1), (8, 1), (9, 2), (12, 2), (17, 3), (20, 3), (25, 4)])
def test_bits_between_take_the_next_container(wav: Path, bits: int, width: int) -> None:
    header = parse(wave(fmt(bits=bits), data(bytes(4 * width))), wav)
    assert header is not None
    assert header.form is not None
    assert (header.form.width, header.valid_bits, header.frames) == (width, bits, 4)


@pytest.mark.parametrize(("bits", "valid", "expected"), [(16, 10, 10), (32, 24, 24), (24, 20, 20), (8, 5, 5)])
def test_valid_bits_may_be_fewer_than_the_container(wav: Path, bits: int, valid: int, expected: int) -> None:
    header = parse(wave(extensible(bits=bits, valid=valid), data(bytes(24))), wav)
    assert header is not None
    assert header.form is not None
    assert (8 * header.form.width, header.valid_bits) == (bits, expected)


@pytest.mark.parametrize("valid", [0, 17, 65535])
def test_senseless_valid_bits_mean_all(wav: Path, valid: int) -> None:
    assert check(wave(extensible(bits=16, valid=valid), data(EIGHT)), wav).valid_bits == 16


def test_24_bits_in_four_bytes_by_block_align(wav: Path) -> None:
    header = parse(wave(fmt(bits=24, channels=2, align=8), data(bytes(32))), wav)
    assert header is not None
    assert header.form is not None
    assert (header.form.width, header.valid_bits, header.frames) == (4, 24, 4)


@pytest.mark.parametrize("align", [0, 1, 2, 3])
def test_a_block_align_too_small_is_put_right(wav: Path, align: int) -> None:
    header = check(wave(fmt(bits=16, channels=2, align=align), data(EIGHT)), wav, frames=2)
    assert header.form is not None
    assert header.form.width == 2


# -- what else is in the file


@pytest.mark.parametrize("size", [0, 1, 2, 7, 4000, 4096, 5000, 100_000])
@pytest.mark.parametrize("where", ["before fmt", "between", "after"])
def test_other_parts_are_skipped_wherever_they_are(wav: Path, where: str, size: int) -> None:
    other = part(b"bext", b"\x55" * size)
    parts = {
        "before fmt": (other, fmt(), data(EIGHT)),
        "between": (fmt(), other, data(EIGHT)),
        "after": (fmt(), data(EIGHT), other),
    }
    check(wave(*parts[where]), wav)


def test_data_may_come_before_fmt(wav: Path) -> None:
    assert check(wave(data(EIGHT), part(b"LIST", b"12345"), fmt()), wav).form == WavForm("int", 2, False, 20)


def test_the_first_fmt_and_the_first_data_count(wav: Path) -> None:
    check(wave(fmt(rate=8000), fmt(rate=9000), data(EIGHT), data(b"zz")), wav)
    check(wave(data(EIGHT), data(b"zz"), fmt()), wav)


def test_lower_case_data_is_another_part(wav: Path) -> None:
    check(wave(fmt(), part(b"DATA", b"zz"), data(EIGHT)), wav)


@settings(deadline=None, max_examples=60)
@given(st.integers(HEAD_BYTES - 80, HEAD_BYTES + 40))
def test_a_header_across_the_first_read_is_whole(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    content = wave(part(b"JUNK", bytes(size)), extensible(), part(b"fact", EIGHT[:4]), data(EIGHT))
    check(content, tmp_path_factory.getbasetemp() / "across.wav")


@pytest.mark.parametrize("odd", [b"1", b"123", b"12345"])
@pytest.mark.parametrize("pad", [True, False])
def test_odd_parts_with_and_without_the_pad_byte(wav: Path, odd: bytes, pad: bool) -> None:
    check(wave(part(b"LIST", odd, pad=pad), fmt(), data(EIGHT)), wav)
    check(wave(fmt(), part(b"XYZ ", odd, pad=pad), data(EIGHT)), wav)
    check(wave(fmt(extra=odd, pad=pad), data(EIGHT)), wav)


@pytest.mark.parametrize("name", [b"axml", b"id3 ", b"_PMX", b"    ", b"~~~~", b"\x20\x7e!0"])
@pytest.mark.parametrize("odd", [b"1", b"123", b"\0\0\0"])
@pytest.mark.parametrize("pad", [True, False])
def test_any_printable_name_follows_an_odd_part(wav: Path, name: bytes, odd: bytes, pad: bool) -> None:
    check(wave(fmt(), part(b"LIST", odd, pad=pad), part(name, b"ab"), data(EIGHT)), wav)
    check(wave(fmt(), part(b"LIST", odd, pad=pad), part(name, odd, pad=pad), data(EIGHT)), wav)
    check(wave(fmt(), data(EIGHT), part(b"LIST", odd, pad=pad), part(name, odd, pad=pad)), wav)


@pytest.mark.parametrize("pad", [b"\0", b" ", b"x", b"\xff"])
def test_the_pad_byte_may_be_anything_before_a_common_name(wav: Path, pad: bytes) -> None:
    check(wave(fmt(), part(b"LIST", b"123", pad=False), pad, data(EIGHT)), wav)


@pytest.mark.parametrize("name", [b"\xa9nam", b"ab\0c", b"ab\nc", b"abc\x7f", b"\1\2\3\4"])
def test_what_cannot_be_printed_follows_a_pad_byte_only(wav: Path, name: bytes) -> None:
    check(wave(fmt(), part(b"LIST", b"123"), part(name, b"ab"), data(EIGHT)), wav)
    with pytest.raises(WavError, match="no 'data' part"):
        parse(wave(fmt(), part(b"LIST", b"123", pad=False), part(name, b"ab"), data(EIGHT)), wav)


def test_odd_data_with_and_without_the_pad_byte(wav: Path) -> None:
    for pad in (True, False):
        header = parse(wave(fmt(bits=8), data(b"\x80\x81\x82", pad=pad), part(b"LIST")), wav)
        assert header is not None
        assert header.frames == 3
        assert header.note == ""


def test_a_broken_frame_at_the_end_of_the_data_is_left_out(wav: Path) -> None:
    check(wave(fmt(channels=2), data(EIGHT, size=7)), wav, frames=1)


@pytest.mark.parametrize("tag_bytes", [0, 100, 5000])
@pytest.mark.parametrize("footer", [False, True])
def test_an_id3_tag_may_come_first(wav: Path, tag_bytes: int, footer: bool) -> None:
    length = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\4\0" + (b"\x10" if footer else b"\0") + length + b"\x55" * tag_bytes + (b"3DI" + bytes(7)) * footer
    check(tag + wave(fmt(), data(EIGHT)), wav)


@pytest.mark.parametrize("junk", [b"\0", b"junk", b"\xff" * 1000, b"RIFF", wave(fmt(), data(b"zz"))])
def test_junk_after_the_end_is_no_audio(wav: Path, junk: bytes) -> None:
    check(wave(fmt(), data(EIGHT)) + junk, wav)


@pytest.mark.parametrize("size", [0, 1, 2**31, 0xFFFFFFFF])
def test_the_size_of_the_whole_does_not_matter(wav: Path, size: int) -> None:
    check(wave(fmt(), data(EIGHT), size=size), wav)


# -- data that is not what the header says


@pytest.mark.parametrize("kept", [0, 1, 2, 7])
def test_truncated_data_is_noted(wav: Path, kept: int) -> None:
    note = f"truncated: header promises 4 frames, {kept // 2} are there"
    check(wave(fmt(), data(EIGHT[:kept], size=8, pad=False)), wav, frames=kept // 2, note=note)


def test_half_a_frame_too_few_is_noted_but_no_frame_too_few_is_not(wav: Path) -> None:
    check(wave(fmt(), data(EIGHT, size=9, pad=False)), wav)
    check(wave(fmt(), data(EIGHT, size=10)), wav, note="truncated: header promises 5 frames, 4 are there")


PLACEHOLDERS = [0, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF - 36, 0xFFFFF000, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFFFF - 36, 2**31]


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_unfinished_header_means_all_that_follows(wav: Path, size: int, order: str) -> None:
    magic = b"RIFX" if order == ">" else b"RIFF"
    content = wave(fmt(order=order), data(EIGHT, size=size, order=order), magic=magic, size=0)
    check(content, wav, note=UNFINISHED)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_an_unfinished_header_without_data_has_no_frames(wav: Path, size: int) -> None:
    check(wave(fmt(), data(b"", size=size)), wav, frames=0, note=UNFINISHED)


@pytest.mark.parametrize("size", [0x7FFFF000 - 4097, 0x80000001, 0xFFFFE000, 0x10000])
def test_other_large_sizes_are_promises(wav: Path, size: int) -> None:
    note = f"truncated: header promises {size // 2} frames, 4 are there"
    check(wave(fmt(), data(EIGHT, size=size)), wav, note=note)


FILLED = [0x7FFFF000, 0x7FFFFFFE, 2**31, 0xFFFFF000, 0xFFFFFFFE]


def parse_filled(path: Path, size: int, follows: bytes, *, missing: int = 0) -> WavHeader:
    """The header of a file that has so many bytes of data, which take no space, and something behind them."""
    head = wave(fmt(), data(b"", size=size))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size - missing)
        file.seek(0, os.SEEK_END)
        file.write(follows)
    with path.open("rb") as file:
        header = parse_header(file.fileno(), path.stat().st_size)
    assert header is not None
    return header


@pytest.mark.parametrize("size", FILLED)
@pytest.mark.parametrize(
    "follows",
    [b"", part(b"LIST", b"INFO"), part(b"LIST", b"123"), part(b"LIST", b"123", pad=False), part(b"id3 ") * 3],
)
def test_a_large_size_is_believed_where_the_file_bears_it_out(wav: Path, size: int, follows: bytes) -> None:
    header = parse_filled(wav, size, follows)
    assert (header.frames, header.note) == (size // 2, "")


@pytest.mark.parametrize("size", FILLED)
@pytest.mark.parametrize("follows", [b"\0" * 8, b"garbage", b"garbage " * 2, part(b"LIST", b"INFO", size=99)])
def test_data_beyond_a_large_size_is_read_to_the_end(wav: Path, size: int, follows: bytes) -> None:
    header = parse_filled(wav, size, follows)
    assert (header.frames, header.note) == ((size + len(follows)) // 2, UNFINISHED)


@pytest.mark.parametrize("size", FILLED)
def test_a_large_size_with_a_frame_too_few_was_never_finished(wav: Path, size: int) -> None:
    header = parse_filled(wav, size, b"", missing=2)
    assert (header.frames, header.note) == (size // 2 - 1, UNFINISHED)


def test_no_data_is_no_frames(wav: Path) -> None:
    check(wave(fmt(), data(b"")), wav, frames=0)


@pytest.mark.parametrize(
    "follows",
    [
        part(b"LIST", b"INFO"),
        part(b"LIST", b"INFOx"),
        part(b"LIST", b"INFOx", pad=False),
        part(b"LIST", b"INFO") + part(b"id3 ", b"123456"),
        part(b"fact", b"1234") + part(b"LIST", b""),
    ],
)
def test_no_data_followed_by_other_parts_is_no_frames(wav: Path, follows: bytes) -> None:
    header = parse(wave(fmt(), data(b""), follows), wav)
    assert header is not None
    assert (header.frames, header.note) == (0, "")


@pytest.mark.parametrize(
    ("follows", "frames"),
    [
        (b"LIST\xff\0\0\0INFO", 6),  # claims more than there is
        (part(b"LIST", b"INFO") + b"\x01\x02\x03\xff" * 4, 14),  # something else comes after it
        (b"\1\2\3", 1),
        (b"\0" * 64, 32),
    ],
)
def test_no_data_followed_by_no_parts_was_never_finished(wav: Path, follows: bytes, frames: int) -> None:
    header = parse(wave(fmt(), data(b""), follows), wav)
    assert header is not None
    assert (header.frames, header.note) == (frames, UNFINISHED)


# -- what cannot be used


GUID_OF_NOTHING = (0x1234, 0x0010, bytes.fromhex("800000aa00389b71"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (wave(), "the WAV header has no 'fmt ' part"),
        (wave(data(EIGHT)), "the WAV header has no 'fmt ' part"),
        (wave(part(b"LIST", b"x" * 5000)), "the WAV header has no 'fmt ' part"),
        (wave(fmt()), "the WAV file has no 'data' part: there is no audio in it"),
        (wave(fmt(), part(b"LIST", b"x" * 5000)), "the WAV file has no 'data' part: there is no audio in it"),
        (wave(fmt(), b"data\4\0\0"), "the WAV file has no 'data' part: there is no audio in it"),
        (wave(part(b"fmt ", bytes(14)), data(EIGHT)), "the 'fmt ' part has 14 bytes, it takes 16"),
        (wave(part(b"fmt ", b""), data(EIGHT)), "the 'fmt ' part has 0 bytes, it takes 16"),
        (wave(fmt(tag=EXTENSIBLE), data(EIGHT)), "the extensible 'fmt ' part has 16 bytes, it takes 40"),
        (
            wave(fmt(tag=EXTENSIBLE, extra=bytes(22)), data(EIGHT)),
            "the extensible 'fmt ' part has 38 bytes, it takes 40",
        ),
        (wave(fmt(channels=0, align=2), data(EIGHT)), "the header says 0 channels"),
        (wave(fmt(rate=0), data(EIGHT)), "the header says 0 Hz; taken are 1 to 2,147,483,647"),
        (wave(fmt(rate=2**31), data(EIGHT)), "the header says 2,147,483,648 Hz; taken are 1 to 2,147,483,647"),
        (wave(fmt(bits=45), data(EIGHT)), "PCM samples of 45 bits in 6 bytes; taken are 1 to 4 bytes"),
        (wave(fmt(bits=64), data(EIGHT)), "PCM samples of 64 bits in 8 bytes; taken are 1 to 4 bytes"),
        (wave(fmt(bits=0), data(EIGHT)), "PCM samples of 0 bits in 0 bytes; taken are 1 to 4 bytes"),
        (wave(fmt(tag=FLOAT, bits=16), data(EIGHT)), "float samples of 16 bits in 2 bytes; taken are 4 or 8 bytes"),
        (wave(fmt(tag=FLOAT, bits=24), data(EIGHT)), "float samples of 24 bits in 3 bytes; taken are 4 or 8 bytes"),
        (
            wave(fmt(bits=16, channels=3, align=7), data(EIGHT)),
            "frames of 7 bytes do not divide among 3 channels",
        ),
        (
            wave(extensible(guid_rest=GUID_OF_NOTHING), data(EIGHT)),
            "unknown codec: subformat GUID 0100000034121000800000aa00389b71",
        ),
    ],
)
def test_what_cannot_be_used_has_its_reason(wav: Path, content: bytes, reason: str) -> None:
    with pytest.raises(WavError) as caught:
        parse(content, wav)
    assert str(caught.value) == reason


@pytest.mark.parametrize("rate", [1, 8000, 300_000, 2**31 - 1])
def test_every_other_rate_is_taken(wav: Path, rate: int) -> None:
    assert check(wave(fmt(rate=rate), data(EIGHT)), wav).sample_rate == rate


@pytest.mark.parametrize("channels", [1, 105, 65535])
def test_every_other_number_of_channels_is_taken(wav: Path, channels: int) -> None:
    header = parse(wave(fmt(channels=channels, bits=8, align=channels % 2**16), data(bytes(channels * 2))), wav)
    assert header is not None
    assert (header.channels, header.frames) == (channels, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAV",
        b"RIFF\0\0\0\0AVI " + fmt() + data(EIGHT),
        b"RF65\0\0\0\0WAVE" + fmt() + data(EIGHT),
        b"fLaC\0\0\0\x22" + bytes(100),
        b"FORM\0\0\0\x40AIFF" + bytes(100),
        b"ID3\4\0\0\0\0\0\5hello",
        b"ID3",
    ],
)
def test_what_is_no_wav_is_left_to_others(wav: Path, content: bytes) -> None:
    assert parse(content, wav) is None


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_to_a_header_is_refused_or_read_within_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(wave(ds64(16), extensible(channels=2), part(b"LIST", b"abc"), part(b"data", EIGHT * 2)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        header = parse(bytes(content), tmp_path_factory.getbasetemp() / "damaged.wav")
    except WavError:
        return
    if header is not None and header.form is not None:
        assert header.frames >= 0
        end = header.form.offset + header.frames * header.channels * header.form.width
        assert header.frames == 0 or end <= len(content)


def test_the_position_of_the_file_stays(wav: Path) -> None:
    wav.write_bytes(wave(fmt(), data(EIGHT)))
    fd = os.open(wav, os.O_RDONLY)
    try:
        os.lseek(fd, 5, os.SEEK_SET)
        assert parse_header(fd, 52) == WavHeader(PCM, WavForm("int", 2, False, 44), 16, 8000, 1, 4, "")
        assert os.lseek(fd, 0, os.SEEK_CUR) == 5
    finally:
        os.close(fd)


def test_a_file_of_many_gigabytes_is_read_by_its_header(wav: Path) -> None:
    size = 5 * 2**30
    head = wave(ds64(size), fmt(), b"data" + struct.pack("<I", 0xFFFFFFFF), magic=b"RF64")
    wav.write_bytes(head)
    os.truncate(wav, len(head) + size)  # sparse: it takes no space
    fd = os.open(wav, os.O_RDONLY)
    try:
        header = parse_header(fd, len(head) + size)
    finally:
        os.close(fd)
    assert header == WavHeader(PCM, WavForm("int", 2, False, len(head)), 16, 8000, 1, size // 2, "")


def test_zeros_instead_of_parts_are_given_up_soon(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a machine leaves that lost its power while it recorded: the size, and no bytes.
    wav.write_bytes(wave(fmt()))
    os.truncate(wav, 400_000)
    reads = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *where: reads.append(where) or pread(*where))
    fd = os.open(wav, os.O_RDONLY)
    try:
        with pytest.raises(WavError, match="no 'data' part"):
            parse_header(fd, 400_000)
    finally:
        os.close(fd)
    assert len(reads) < 100


# The plainest header has a quick way of its own.


OTHERWISE: dict[str, list[Any]] = {
    "riff": [b"RIFX", b"RF64", b"riff"],
    "name": [b"WAVEfmt\0", b"AVI fmt "],
    "length": [0, 14, 17, 18, 40],
    "tag": [0, FLOAT, ALAW, EXTENSIBLE],
    "channels": [0, 3, 65_535],
    "rate": [0, 2**31 - 1, 2**31, 2**32 - 1],
    "align": [0, 1, 3, 65_535],
    "bits": [0, 4, 12, 20, 64],
    "data": [b"LIST", b"DATA"],
    "size": [0, 1, 2**31 - 100, 2**31, 2**32 - 1],
    "more": [-1, 1, 8],
}


@settings(max_examples=300, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 6]),
    bits=st.sampled_from([8, 16, 24, 32]),
    frames=st.integers(0, 5),
    odd=st.integers(0, 3),
    changed=st.none() | st.sampled_from([(key, value) for key, values in OTHERWISE.items() for value in values]),
)
def test_the_quick_way_and_the_long_one_say_the_same(
    channels: int, bits: int, frames: int, odd: int, changed: tuple[str, Any] | None
) -> None:
    align = channels * bits // 8
    size = frames * align + odd
    fields: dict[str, Any] = {"riff": b"RIFF", "name": b"WAVEfmt ", "length": 16, "tag": PCM, "channels": channels}
    fields |= {"rate": 8000, "align": align, "bits": bits, "data": b"data", "size": size, "more": 0}
    fields |= dict([changed] if changed else [])
    head = struct.pack("<4sI8sI", fields["riff"], 36 + size, fields["name"], fields["length"])
    head += struct.pack("<HHIIHH", *(fields[name] for name in ("tag", "channels", "rate")), 0, fields["align"], bits)
    head = head[:-2] + struct.pack("<H", fields["bits"]) + fields["data"] + struct.pack("<I", fields["size"])
    content = head + bytes(range(100, 100 + max(0, size + fields["more"])))
    plain = riff._parse_plain(content, len(content))
    if changed is None and size:
        assert plain is not None
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            slow = riff._parse_any(file.fileno(), len(content), content)
        except WavError:
            assert plain is None
        else:
            assert plain in (None, slow)


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (2, 16), (6, 24), (1, 32)])
def test_what_most_writers_write_goes_the_quick_way(channels: int, bits: int) -> None:
    stride = channels * bits // 8
    size = 5 * stride
    head = struct.pack(
        "<4sI8sIHHIIHH4sI", b"RIFF", 36, b"WAVEfmt ", 16, PCM, channels, 8000, 0, stride, bits, b"data", size
    )
    found = riff._parse_plain(head, len(head) + size)
    assert found == WavHeader(PCM, WavForm("int", bits // 8, False, 44), bits, 8000, channels, size // stride, "")
