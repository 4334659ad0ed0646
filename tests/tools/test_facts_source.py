import numpy as np
import pytest

from audiochunk.config import Encoding
from audiochunk.signal.quantize import quantize
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts.source import effective_bits, is_cut, limits, origin, promised_bits

from .known import speech


def row(subtype: str, channels: int = 1) -> RecordingRow:
    return RecordingRow(
        path="a", split="train", channel=None, sample_rate=8000, channels=channels, frames=9, subtype=subtype,
        bytes=9, first_chunk=0, chunks=0, dropped_frames=9, clipped=0, notes=(),
    )  # fmt: skip


def mu_law(byte: int) -> int:
    """ITU-T G.711, decoded by the book: sign, three bits of segment, four of step, all inverted."""
    byte ^= 0xFF
    size = ((2 * (byte & 15) + 33) << ((byte >> 4 & 7) + 2)) - 132
    return -size if byte & 0x80 else size


def a_law(byte: int) -> int:
    byte ^= 0x55
    segment, step = byte >> 4 & 7, byte & 15
    size = 16 * step + 8 if segment == 0 else (16 * step + 264) << (segment - 1)
    return size if byte & 0x80 else -size


def codes_of(samples: "np.ndarray[tuple[int], np.dtype[np.int16]] | list[int]", bits: int = 16) -> np.ndarray:
    found = quantize(np.asarray(samples, np.int16), bits=bits)  # type: ignore[arg-type]
    return np.unique(found).astype(np.int64)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize(("law", "decode"), [("mu-law", mu_law), ("A-law", a_law)])
def test_g711_is_told_by_its_256_samples(bits: int, law: str, decode: "type[int]") -> None:
    samples = [decode(byte) for byte in range(256)]
    assert origin(codes_of(samples, bits), bits, n=9999) == law  # type: ignore[arg-type]
    one_more = codes_of([*samples, 30_001], bits)
    assert origin(one_more, bits, n=1000) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("gain", [7.3, 100.0, 187.77, 255.99])
def test_rescaled_8_bit_audio_lies_on_a_grid(gain: float) -> None:
    narrow = np.unique(speech(1).astype(np.int64) >> 8)
    assert origin(codes_of(np.rint(narrow * gain).astype(np.int16)), 16, n=9999) == "8-bit"


def test_bits_that_are_not_used_are_no_grid() -> None:
    assert origin(codes_of(speech(1) >> 8 << 8), 16, n=9999) == ""


@pytest.mark.parametrize("peak", [0.001, 0.003])
def test_quiet_audio_is_not_8_bit_audio(peak: float) -> None:
    codes = codes_of(speech(2, peak=peak))
    assert len(codes) <= 256
    assert origin(codes, 16, n=20_000) == ""


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("peak", [0.005, 0.01, 0.02, 0.05])
def test_quiet_audio_is_not_decoded_from_g711(bits: int, peak: float) -> None:
    noise = np.random.Generator(np.random.PCG64(3)).uniform(-32767 * peak, 32767 * peak, 20_000)
    for samples in (np.rint(noise).astype(np.int16), speech(2, peak=peak)):
        assert origin(codes_of(samples, bits), bits, n=20_000) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("decode", [mu_law, a_law])
def test_g711_that_is_too_quiet_for_its_steps_to_show_is_not_told(decode: "type[int]") -> None:
    samples = [decode(byte) for byte in range(256)]
    quiet = codes_of([sample for sample in samples if abs(sample) < 300], 12)  # type: ignore[operator]
    assert len(quiet) > 16
    assert origin(quiet, 12, n=20_000) == ""


def test_a_test_tone_has_few_codes_and_lies_on_no_grid() -> None:
    tone = np.rint(30_000 * np.sin(2 * np.pi * np.arange(48) / 48)).astype(np.int16)
    assert origin(codes_of(tone), 16, n=48_000) == "few"
    assert origin(codes_of(tone), 16, n=480) == ""


def test_few_samples_tell_nothing() -> None:
    assert origin(codes_of([-9, 700, 9000]), 16, n=3) == ""
    assert origin(codes_of([5]), 16, n=100_000) == ""


@pytest.mark.parametrize(("used", "bits", "found"), [(0, 16, 0), (1, 16, 16), (0x7F00, 16, 8), (0x800000, 24, 1)])
def test_effective_bits_end_at_the_lowest_that_is_used(used: int, bits: int, found: int) -> None:
    assert effective_bits(used, bits) == found


@pytest.mark.parametrize(
    ("subtype", "bits", "promised", "cut"),
    [
        ("PCM_U8", 16, 8, False),
        ("PCM_16", 16, 16, False),
        ("PCM_16", 12, 12, True),
        ("PCM_24", 16, 16, True),
        ("PCM_24", 24, 24, False),
        ("FLOAT", 24, 24, True),
        ("ULAW", 16, 16, False),
        ("ALAW", 12, 12, True),
    ],
)
def test_a_header_promises_bits_and_a_dataset_keeps_some(subtype: str, bits: int, promised: int, cut: bool) -> None:
    encoding = Encoding(bits=bits, chunk_bytes=1536)  # type: ignore[arg-type]
    assert promised_bits(row(subtype), encoding) == promised
    assert is_cut(row(subtype), encoding) is cut


def test_a_mean_of_channels_has_more_bits_than_they() -> None:
    assert is_cut(row("PCM_U8", 2), Encoding(layout="mono", block=None))
    assert not is_cut(row("PCM_U8", 1), Encoding(layout="mono", block=None))


@pytest.mark.parametrize(
    ("subtype", "bits", "effective", "expected"),
    [
        ("PCM_16", 16, 16, (0, 65535)),
        ("PCM_16", 8, 8, (0, 255)),
        ("PCM_U8", 16, 8, (0, 65280)),
        ("PCM_16", 16, 12, (0, 65520)),
        ("PCM_24", 24, 16, (0, 0xFFFF00)),
        ("PCM_24", 24, 1, (0, 0xFFFFFF)),
        ("FLOAT", 24, 24, (0, 0xFFFFFF)),
        ("ULAW", 16, 14, (32768 - 32124, 32768 + 32124)),
        ("ALAW", 16, 13, (32768 - 32256, 32768 + 32256)),
    ],
)
def test_full_scale_is_the_largest_code_that_the_source_can_have(
    subtype: str, bits: int, effective: int, expected: tuple[int, int]
) -> None:
    encoding = Encoding(bits=bits, chunk_bytes=1536)  # type: ignore[arg-type]
    assert limits(row(subtype), encoding, effective) == expected


def test_full_scale_of_mu_law_codes_is_the_last_one() -> None:
    assert limits(row("PCM_16"), Encoding(quantizer="mulaw"), 0) == (0, 255)
