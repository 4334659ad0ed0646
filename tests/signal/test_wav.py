"""Plain PCM, float, A-law and mu-law data, read from anywhere in a file."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiochunk.signal.wav import WavError, WavForm, is_low_justified, read_raw, to_samples

from .wavs import data, floats, fmt, integers, wave

Open = Callable[[bytes], int]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """A file descriptor of a file of these bytes."""
    fds = []

    def open_bytes(content: bytes) -> int:
        path = tmp_path / f"{len(fds)}.raw"
        path.write_bytes(content)
        fds.append(os.open(path, os.O_RDONLY))
        return fds[-1]

    yield open_bytes
    for fd in fds:
        os.close(fd)


def limits(width: int) -> list[int]:
    """Full scale both ways, and what lies around zero."""
    top = 1 << (8 * width - 1)
    return [-top, -top + 1, -2, -1, 0, 1, 2, top - 2, top - 1]


def order_of(form: WavForm) -> str:
    return ">" if form.big_endian else "<"


INTEGER_FORMS = [WavForm("int", width, big, 0) for width in (1, 2, 3, 4) for big in (False, True)]
FLOAT_FORMS = [WavForm("float", width, big, 0) for width in (4, 8) for big in (False, True)]
FORMS = INTEGER_FORMS + FLOAT_FORMS


def frames_by_hand(content: bytes, form: WavForm, channels: int) -> list[list[float]]:
    """All values of a file, each from its own bytes."""
    values = []
    for at in range(form.offset, len(content) - form.width + 1, form.width):
        octets = content[at : at + form.width]
        if form.kind == "float":
            values += struct.unpack(f"{order_of(form)}{'f' if form.width == 4 else 'd'}", octets)
        elif form.width == 1:
            values.append(octets[0] - 128)
        else:
            values.append(int.from_bytes(octets, "big" if form.big_endian else "little", signed=True))
    return [values[at : at + channels] for at in range(0, len(values) - channels + 1, channels)]


def left_justified(rows: list[list[int]], width: int) -> list[list[int]]:
    return [[value << (16 if width <= 2 else 32) - 8 * width for value in row] for row in rows]


# -- reading ranges


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    form=st.sampled_from(FORMS),
    offset=st.integers(0, 17),
    channels=st.integers(1, 8),
    frames=st.integers(0, 40),
    spare=st.integers(0, 9),
    data=st.data(),
)
def test_any_range_is_what_lies_there(
    opened: Open, form: WavForm, offset: int, channels: int, frames: int, spare: int, data: st.DataObject
) -> None:
    content = np.random.default_rng(frames).integers(0, 256, offset + frames * channels * form.width + 3, np.uint8)
    if form.kind == "float":  # any bytes, but no NaN, which equals nothing
        content[content == 0x7F] = 0x3F
        content[content == 0xFF] = 0xBF
    form = WavForm(form.kind, form.width, form.big_endian, offset)
    start = data.draw(st.integers(0, frames))
    n = data.draw(st.integers(0, frames - start))
    buffer = bytearray(n * channels * form.width + spare)
    raw = read_raw(opened(content.tobytes()), form, channels=channels, start=start, frames=n, buffer=buffer)
    assert raw.dtype == form.dtype
    assert raw.shape == ((n, channels, 3) if form.width == 3 else (n, channels))
    expected = frames_by_hand(content.tobytes(), form, channels)[start : start + n]
    if form.kind == "float":
        assert raw.tolist() == expected
    else:
        samples = to_samples(raw, form)
        assert samples.dtype == (np.int16 if form.width <= 2 else np.int32)
        assert samples.tolist() == left_justified(expected, form.width)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f"{f.kind}{8 * f.width}{'be' if f.big_endian else 'le'}")
@pytest.mark.parametrize("missing", [1, 2, 7])
def test_the_end_of_the_file_is_not_read_over(opened: Open, form: WavForm, missing: int) -> None:
    stride = 2 * form.width
    fd = opened(bytes(10 * stride - missing))
    ended = (10 * stride - missing) // stride
    with pytest.raises(WavError, match=f"^the file ends in frame {ended}$"):
        read_raw(fd, form, channels=2, start=3, frames=7, buffer=bytearray(7 * stride))
    whole = read_raw(fd, form, channels=2, start=3, frames=ended - 3, buffer=bytearray(7 * stride))
    assert len(whole) == ended - 3


def test_a_range_beyond_the_end_of_the_file_is_not_there(opened: Open) -> None:
    with pytest.raises(WavError, match=r"^the file ends in frame 50$"):
        read_raw(opened(bytes(20)), WavForm("int", 2, False, 0), channels=1, start=50, frames=1, buffer=bytearray(2))


def test_what_is_read_is_a_view_of_the_buffer(opened: Open) -> None:
    buffer = bytearray(4)
    raw = read_raw(opened(b"\1\0\2\0"), WavForm("int", 2, False, 0), channels=1, start=0, frames=2, buffer=buffer)
    assert raw.tolist() == [[1], [2]]
    buffer[0] = 9
    assert raw.tolist() == [[9], [2]]


def test_reads_that_come_in_pieces_are_put_together(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(200))
    whole_read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: whole_read(fd, [views[0][:7]], at))
    raw = read_raw(opened(content), WavForm("int", 1, False, 3), channels=2, start=1, frames=90, buffer=bytearray(180))
    assert raw.tobytes() == content[5:185]


# -- samples


@pytest.mark.parametrize("form", INTEGER_FORMS, ids=lambda f: f"{8 * f.width}{'be' if f.big_endian else 'le'}")
@pytest.mark.parametrize("channels", [1, 3, 9])
def test_samples_are_left_justified(opened: Open, form: WavForm, channels: int) -> None:
    values = limits(form.width)
    fd = opened(integers(values, form.width, order=order_of(form)))
    n = len(values) // channels
    raw = read_raw(fd, form, channels=channels, start=0, frames=n, buffer=bytearray(9 * form.width))
    rows = [values[at : at + channels] for at in range(0, len(values), channels)]
    assert to_samples(raw, form).tolist() == left_justified(rows, form.width)


def test_sample_literals() -> None:
    eight = to_samples(np.array([[0, 127, 128, 129, 255]], np.uint8), WavForm("int", 1, False, 0))
    assert eight.tolist() == [[-32768, -256, 0, 256, 32512]]
    octets = np.array([[[0xFF, 0xFF, 0xFF], [0x01, 0x02, 0x03], [0x00, 0x00, 0x80]]], np.uint8)
    assert to_samples(octets, WavForm("int", 3, False, 0)).tolist() == [[-256, 0x03020100, -(2**31)]]
    assert to_samples(octets, WavForm("int", 3, True, 0)).tolist() == [[-256, 0x01020300, 0x00008000]]


@pytest.mark.parametrize("form", INTEGER_FORMS, ids=lambda f: f"{8 * f.width}{'be' if f.big_endian else 'le'}")
def test_samples_are_native(form: WavForm) -> None:
    raw = np.zeros((2, 2, 3) if form.width == 3 else (2, 2), form.dtype)
    samples = to_samples(raw, form)
    assert samples.dtype.isnative
    assert samples.dtype == (np.int16 if form.width <= 2 else np.int32)


def test_native_samples_are_not_copied() -> None:
    raw = np.zeros((4, 2), "<i2")
    assert np.shares_memory(to_samples(raw, WavForm("int", 2, False, 0)), raw)


# -- A-law and mu-law


def from_alaw(octet: int) -> int:
    """ITU-T G.711, table 1: every other bit is inverted; the first bit is set for positive values."""
    octet ^= 0x55
    segment, step = octet >> 4 & 7, octet & 15
    size = 2 * step + 1 if segment == 0 else 2 * step + 33 << segment - 1  # of 12 bits
    return (size if octet & 0x80 else -size) * 8


def from_mulaw(octet: int) -> int:
    """ITU-T G.711, table 2: all bits are inverted; the first bit is clear for positive values."""
    octet = 255 - octet
    size = (2 * (octet & 15) + 33 << (octet >> 4 & 7)) - 33  # of 13 bits
    return (-size if octet & 0x80 else size) * 4


LAWS = {"alaw": (6, "ALAW", from_alaw), "mulaw": (7, "ULAW", from_mulaw)}
EVERY_CODE = bytes(range(256))


def of_law(kind: str, codes: bytes) -> list[int]:
    raw = np.frombuffer(codes, np.uint8)[:, None]
    samples = to_samples(raw, WavForm(kind, 1, False, 0))
    assert samples.dtype == np.int16
    assert samples.shape == raw.shape
    return samples.ravel().tolist()


@pytest.mark.parametrize("kind", LAWS)
def test_every_code_of_a_law_is_what_g711_says(kind: str) -> None:
    assert of_law(kind, EVERY_CODE) == [LAWS[kind][2](octet) for octet in EVERY_CODE]


@pytest.mark.parametrize("kind", LAWS)
def test_every_code_of_a_law_is_what_soundfile_reads(tmp_path: Path, kind: str) -> None:
    tag, subtype, _ = LAWS[kind]
    path = tmp_path / "a.wav"
    path.write_bytes(wave(fmt(tag=tag, bits=8), data(EVERY_CODE)))
    assert sf.info(path).subtype == subtype
    read, _ = sf.read(path, dtype="int16")
    assert of_law(kind, EVERY_CODE) == read.tolist()


@pytest.mark.parametrize("kind", LAWS)
def test_every_code_of_a_law_comes_back_from_soundfile(tmp_path: Path, kind: str) -> None:
    # What a decoder makes of a code is written as that code again, so that no two codes may be confused.
    subtype = LAWS[kind][1]
    path = tmp_path / "a.wav"
    sf.write(path, np.array(of_law(kind, EVERY_CODE), np.int16), 8000, subtype=subtype)
    content = path.read_bytes()
    back = content[content.index(b"data") + 8 :][:256]
    zeros = {0x7F, 0xFF} if kind == "mulaw" else set()  # mu-law has two
    assert {a for a, b in zip(EVERY_CODE, back, strict=True) if a != b} <= zeros


def test_law_literals() -> None:
    assert of_law("alaw", b"\xd5\x55\xd4\xaa\x2a\xc5") == [8, -8, 24, 32256, -32256, 264]
    assert of_law("mulaw", b"\xff\x7f\xfe\x80\x00\xef") == [0, 0, 8, 32124, -32124, 132]


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_range_of_a_law_is_what_lies_there(opened: Open, kind: str, channels: int) -> None:
    form = WavForm(kind, 1, True, 5)
    assert form.dtype == np.uint8
    fd = opened(b"12345" + EVERY_CODE)
    raw = read_raw(fd, form, channels=channels, start=3, frames=20, buffer=bytearray(20 * channels))
    expected = [LAWS[kind][2](octet) for octet in EVERY_CODE[3 * channels : 23 * channels]]
    assert to_samples(raw, form).tolist() == np.array(expected).reshape(20, channels).tolist()
    assert to_samples(raw[:0], form).shape == (0, channels)
    with pytest.raises(WavError, match=f"^the file ends in frame {256 // channels}$"):
        read_raw(fd, form, channels=channels, start=256 // channels, frames=1, buffer=bytearray(channels))


@pytest.mark.parametrize("kind", LAWS)
def test_what_a_law_decodes_to_is_not_shared(kind: str) -> None:
    raw = np.zeros((4, 1), np.uint8)
    before = of_law(kind, EVERY_CODE)
    to_samples(raw, WavForm(kind, 1, False, 0))[:] = 77
    assert of_law(kind, EVERY_CODE) == before


# -- which end of the container


def at_low_end(values: list[int], width: int, used: int, how: str) -> bytes:
    """Values of `used` bits at the low end of containers, the bits above filled from the sign or with zeros."""
    if width == 1:
        return bytes(value + (1 << used - 1) for value in values)
    if how == "zeros":
        return b"".join((value & (1 << used) - 1).to_bytes(width, "little") for value in values)
    return integers(values, width)


def at_high_end(values: list[int], width: int, used: int) -> bytes:
    return integers([value << (8 * width - used) for value in values], width)


USED = [(1, 5), (1, 7), (2, 9), (2, 10), (2, 12), (2, 15), (3, 20), (3, 17), (4, 20), (4, 24), (4, 31)]


@pytest.mark.parametrize(("width", "used"), USED)
@pytest.mark.parametrize("how", ["sign", "zeros"])
def test_low_justified_samples_are_noticed_and_moved_up(opened: Open, width: int, used: int, how: str) -> None:
    top = 1 << used - 1
    values = [-top, -top + 1, -3, -2, -1, 0, 1, 2, 3, 5, top - 2, top - 1]
    fd = opened(at_low_end(values, width, used, how))
    form = WavForm("int", width, False, 0)
    assert is_low_justified(fd, form, channels=2, frames=6, valid_bits=used)
    low = WavForm("int", width, False, 0, low_bits=used)
    raw = read_raw(fd, low, channels=1, start=0, frames=12, buffer=bytearray(12 * width))
    scale = (16 if width <= 2 else 32) - used
    assert to_samples(raw, low).ravel().tolist() == [value << scale for value in values]


@pytest.mark.parametrize(("width", "used"), USED)
def test_high_justified_samples_stay_where_they_are(opened: Open, width: int, used: int) -> None:
    top = 1 << used - 1
    values = [-top, -top + 1, -3, -2, -1, 0, 1, 2, 3, 5, top - 2, top - 1]
    fd = opened(at_high_end(values, width, used))
    form = WavForm("int", width, False, 0)
    assert not is_low_justified(fd, form, channels=2, frames=6, valid_bits=used)
    raw = read_raw(fd, form, channels=1, start=0, frames=12, buffer=bytearray(12 * width))
    scale = (16 if width <= 2 else 32) - used
    assert to_samples(raw, form).ravel().tolist() == [value << scale for value in values]


@pytest.mark.parametrize(("width", "used"), USED)
@pytest.mark.parametrize("sign", [1, -1])
def test_quiet_samples_of_one_sign_tell_too(opened: Open, width: int, used: int, sign: int) -> None:
    values = [sign * value for value in (1, 1, 2, 3)]
    form = WavForm("int", width, False, 0)
    low = opened(at_low_end(values, width, used, "sign"))
    assert is_low_justified(low, form, channels=1, frames=4, valid_bits=used)
    high = opened(at_high_end(values, width, used))
    assert not is_low_justified(high, form, channels=1, frames=4, valid_bits=used)


@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders_are_told_apart(opened: Open, big: bool) -> None:
    order = ">" if big else "<"
    values = [-300, 299, 1, -1]
    for width in (2, 3, 4):
        fd = opened(integers(values, width, order=order))
        assert is_low_justified(fd, WavForm("int", width, big, 0), channels=1, frames=4, valid_bits=10)
        shifted = opened(integers([value << 8 * width - 10 for value in values], width, order=order))
        assert not is_low_justified(shifted, WavForm("int", width, big, 0), channels=1, frames=4, valid_bits=10)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_silence_and_no_frames_are_high_justified(opened: Open, width: int) -> None:
    form = WavForm("int", width, False, 0)
    fd = opened(integers([0] * 50, width))
    assert not is_low_justified(fd, form, channels=1, frames=50, valid_bits=8 * width - 3)
    assert not is_low_justified(fd, form, channels=1, frames=0, valid_bits=8 * width - 3)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_that_use_all_bits_are_not_looked_at(width: int) -> None:
    no_file = -1
    form = WavForm("int", width, False, 0)
    assert not is_low_justified(no_file, form, channels=1, frames=10, valid_bits=8 * width)
    assert not is_low_justified(no_file, WavForm("float", 4, False, 0), channels=1, frames=10, valid_bits=24)
    for law in LAWS:
        assert not is_low_justified(no_file, WavForm(law, 1, False, 0), channels=1, frames=10, valid_bits=5)


def test_one_sample_too_wide_is_proof_that_they_sit_high(opened: Open) -> None:
    form = WavForm("int", 2, False, 0)
    for at in (0, 500_000, 1_199_999):  # the first, and in the second and third look
        samples = np.full(1_200_000, -7, "<i2")
        samples[at] = 0x2000
        assert not is_low_justified(opened(samples.tobytes()), form, channels=1, frames=1_200_000, valid_bits=10)


def test_the_only_low_bit_may_come_late(opened: Open) -> None:
    samples = np.zeros(1_200_000, "<i2")
    samples[-1] = 1
    form = WavForm("int", 2, False, 0)
    fd = opened(samples.tobytes())
    assert is_low_justified(fd, form, channels=1, frames=1_200_000, valid_bits=10)
    assert not is_low_justified(fd, form, channels=1, frames=1_199_999, valid_bits=10)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from([shape for shape in USED if shape[0] > 1]), st.data())
def test_justification_is_the_rule_in_words(opened: Open, shape: tuple[int, int], data: st.DataObject) -> None:
    width, used = shape
    any_bits = st.integers(0, (1 << 8 * width) - 1)
    narrow = st.integers(0, (1 << used) - 1)  # or else the rule would hardly ever be met
    containers = data.draw(st.lists(data.draw(st.sampled_from([any_bits, narrow])), min_size=1, max_size=6))
    above = [container >> used - 1 for container in containers]
    all_ones = (1 << 8 * width - used + 1) - 1
    repeat_the_top_bit = all(bits in (0, all_ones) for bits in above)
    are_zero = all(bits in (0, 1) for bits in above)
    would_not_fit = any(container % (1 << 8 * width - used) for container in containers)
    fd = opened(b"".join(container.to_bytes(width, "little") for container in containers))
    form = WavForm("int", width, False, 0)
    found = is_low_justified(fd, form, channels=1, frames=len(containers), valid_bits=used)
    assert found == ((repeat_the_top_bit or are_zero) and would_not_fit)


AROUND_THE_MIDDLE = st.integers(118, 138)  # as when the header is wrong about the bits used
OCTETS = st.sampled_from([st.integers(0, 255), st.integers(0, 31), AROUND_THE_MIDDLE])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(2, 7), OCTETS.flatmap(lambda octets: st.sets(octets, min_size=2, max_size=6)))
def test_larger_bytes_are_larger_samples_wherever_they_sit(opened: Open, used: int, octets: set[int]) -> None:
    fd = opened(bytes(sorted(octets)))
    low = is_low_justified(fd, WavForm("int", 1, False, 0), channels=1, frames=len(octets), valid_bits=used)
    form = WavForm("int", 1, False, 0, low_bits=used if low else 0)
    samples = to_samples(np.array([sorted(octets)], np.uint8), form)[0].tolist()
    assert samples == sorted(set(samples)), f"low-justified: {low}"
    assert low == (max(octets) < 1 << used and any(octet % (1 << 8 - used) for octet in octets))


def test_floats_are_as_they_lie(opened: Open) -> None:
    values = [1.0, -1.0, 0.5, float("inf"), 2.0**-100]
    for form in FLOAT_FORMS:
        fd = opened(floats(values, form.width, order=order_of(form)))
        raw = read_raw(fd, form, channels=1, start=0, frames=5, buffer=bytearray(5 * form.width))
        assert raw.ravel().tolist() == values
