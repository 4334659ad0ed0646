"""Samples <-> codes."""

import math
import random
import struct
import sys
import warnings
from decimal import ROUND_FLOOR, Decimal, localcontext
from types import ModuleType
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import Bits
from audiochunk.signal.quantize import code_dtype, dequantize, quantize, silence

ALL_BITS = get_args(Bits)
MULAW_BITS = (8, 12, 16)
HOWS = [(bits, "linear") for bits in ALL_BITS] + [(bits, "mulaw") for bits in MULAW_BITS]
EVERY_INT16 = np.arange(-(2**15), 2**15).astype(np.int16)
EDGES_OF_INT32 = [-(2**31), -(2**31) + 1, -257, -256, -255, -1, 0, 1, 255, 256, 2**31 - 2, 2**31 - 1]


def some_int32(n: int, *, seed: int) -> npt.NDArray[np.int32]:
    """The edges, and others of all magnitudes."""
    rng = random.Random(seed)
    return np.array(
        EDGES_OF_INT32 + [rng.randint(-(2**31), 2**31 - 1) >> rng.randrange(31) for _ in range(n)], np.int32
    )


@pytest.fixture(scope="session")
def audioop() -> ModuleType:
    if sys.version_info >= (3, 13):
        pytest.skip("Python 3.13 removed audioop")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    return audioop


# -- linear: round trips


@pytest.mark.parametrize("bits", [16, 24])
def test_linear_keeps_every_int16_where_bits_suffice(bits: Bits) -> None:
    back = dequantize(quantize(EVERY_INT16, bits=bits), bits=bits)
    assert np.array_equal(back >> 8 * (back.itemsize - 2), EVERY_INT16)
    if bits == 16:
        assert back.dtype == np.int16


@pytest.mark.parametrize(("source_bits", "bits"), [(8, 8), (8, 12), (8, 16), (12, 12), (12, 16), (12, 24), (16, 16)])
def test_linear_is_lossless_from_the_bits_of_the_source_on(source_bits: int, bits: Bits) -> None:
    left_justified = EVERY_INT16 >> (16 - source_bits) << (16 - source_bits)
    back = dequantize(quantize(left_justified, bits=bits), bits=bits)
    assert np.array_equal(back >> 8 * (back.itemsize - 2), left_justified)


def test_linear_keeps_24_bit_samples_at_24_bits() -> None:
    samples = some_int32(5000, seed=1) & ~np.int32(0xFF)
    back = dequantize(quantize(samples, bits=24), bits=24)
    assert back.dtype == np.int32
    assert np.array_equal(back, samples)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_linear_codes_survive_their_samples(bits: Bits) -> None:
    codes = np.arange(0, 1 << bits, max(1, (1 << bits) // 65536)).astype(code_dtype(bits))
    assert np.array_equal(quantize(dequantize(codes, bits=bits), bits=bits), codes)


@pytest.mark.parametrize("bits", [8, 12])
def test_linear_gives_back_the_lowest_sample_of_a_step(bits: Bits) -> None:
    back = dequantize(quantize(EVERY_INT16, bits=bits), bits=bits).astype(int)
    lost = EVERY_INT16 - back
    assert lost.min() == 0
    assert lost.max() == 2 ** (16 - bits) - 1


# -- linear: the rule


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("width", [16, 32])
def test_linear_is_the_naive_loop(bits: Bits, width: int) -> None:
    samples = EVERY_INT16 if width == 16 else some_int32(5000, seed=2)
    expected = []
    for sample in samples.tolist():
        shifted = sample >> (width - bits) if bits <= width else sample << (bits - width)
        expected.append(shifted + 2 ** (bits - 1))
    codes = quantize(samples, bits=bits)
    assert codes.dtype == code_dtype(bits)
    assert codes.tolist() == expected


def test_linear_literals() -> None:
    samples = np.array([-32768, -32767, -257, -256, -1, 0, 255, 256, 32767], np.int16)
    assert quantize(samples, bits=8).tolist() == [0, 0, 126, 127, 127, 128, 128, 129, 255]
    assert quantize(samples, bits=16).tolist() == [0, 1, 32511, 32512, 32767, 32768, 33023, 33024, 65535]
    wide = np.array([-(2**31), -1, 0, 2**24, 2**31 - 1], np.int32)
    assert quantize(wide, bits=8).tolist() == [0, 127, 128, 129, 255]
    assert quantize(wide, bits=24).tolist() == [0, 2**23 - 1, 2**23, 2**23 + 2**16, 2**24 - 1]


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("source_bytes", [1, 2, 3, 4])
def test_linear_is_what_audioop_makes(audioop: ModuleType, source_bytes: int, bits: Bits) -> None:
    if source_bytes <= 2:
        values = list(range(-(2 ** (8 * source_bytes - 1)), 2 ** (8 * source_bytes - 1)))
    else:
        values = (some_int32(20_000, seed=3) >> (32 - 8 * source_bytes)).tolist()
    raw = b"".join(value.to_bytes(source_bytes, sys.byteorder, signed=True) for value in values)
    converted = audioop.lin2lin(raw, source_bytes, bits // 8)
    if bits == 8:
        expected = list(audioop.bias(converted, 1, 128))
    else:
        each = [converted[at : at + bits // 8] for at in range(0, len(converted), bits // 8)]
        expected = [int.from_bytes(one, sys.byteorder, signed=True) + 2 ** (bits - 1) for one in each]
    width = 16 if source_bytes <= 2 else 32
    samples = np.array(values, f"int{width}") << (width - 8 * source_bytes)
    assert quantize(samples, bits=bits).tolist() == expected


# -- mu-law


def mulaw_exactly(sample: int, *, bits: int, width: int) -> int:
    """The formula with forty digits."""
    with localcontext() as context:
        context.prec = 40
        mu = Decimal(2**bits - 1)
        x = Decimal(sample) / 2 ** (width - 1)
        y = ((1 + mu * abs(x)).ln() / (1 + mu).ln()).copy_sign(x)
        return int(((y + 1) / 2 * mu + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_is_the_formula_for_every_int16(bits: Bits) -> None:
    mu = 2**bits - 1
    x = EVERY_INT16 / 2**15
    y = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    steps = (y + 1) / 2 * mu + 0.5
    expected = np.floor(steps)
    # Floats decide nothing where they come near an edge: those, 0 among them, are taken with many digits.
    near = np.flatnonzero(np.abs(steps - np.rint(steps)) < 1e-9)
    assert 0 in EVERY_INT16[near]
    assert len(near) < 10
    for i in near:
        expected[i] = mulaw_exactly(int(EVERY_INT16[i]), bits=bits, width=16)
    codes = quantize(EVERY_INT16, bits=bits, quantizer="mulaw")
    assert codes.dtype == code_dtype(bits)
    assert np.array_equal(codes, expected)


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_is_the_formula_for_wide_samples(bits: Bits) -> None:
    samples = some_int32(1500, seed=4)
    expected = [mulaw_exactly(sample, bits=bits, width=32) for sample in samples.tolist()]
    assert quantize(samples, bits=bits, quantizer="mulaw").tolist() == expected


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_changes_its_code_where_the_formula_does(bits: Bits) -> None:
    mu = 2**bits - 1
    edges = {}
    for code in range(1, mu + 1):
        y = (2 * code - 1) / mu - 1
        edges[code] = math.copysign(math.expm1(abs(y) * bits * math.log(2)) / mu, y) * 2**31
    hardest = sorted(edges, key=lambda code: abs(edges[code] - round(edges[code])))[:150]
    others = random.Random(5).sample(range(1, mu + 1), 100)
    samples = []
    for code in {1, 2, mu - 1, mu, *hardest, *others}:
        edge = math.ceil(edges[code])
        samples += [sample for sample in (edge - 1, edge, edge + 1) if -(2**31) <= sample < 2**31]
    expected = [mulaw_exactly(sample, bits=bits, width=32) for sample in samples]
    assert quantize(np.array(samples, np.int32), bits=bits, quantizer="mulaw").tolist() == expected


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_codes_survive_their_samples(bits: Bits) -> None:
    codes = np.arange(1 << bits).astype(code_dtype(bits))
    samples = dequantize(codes, bits=bits, quantizer="mulaw")
    assert samples.dtype == np.int32
    assert np.array_equal(quantize(samples, bits=bits, quantizer="mulaw"), codes)


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_is_off_by_no_more_than_one_step(bits: Bits) -> None:
    samples = some_int32(5000, seed=6)
    codes = quantize(samples, bits=bits, quantizer="mulaw")
    back = dequantize(codes, bits=bits, quantizer="mulaw").astype(np.int64)
    named = dequantize(np.arange(1 << bits, dtype=np.uint32), bits=bits, quantizer="mulaw").astype(np.int64)
    below = named[np.maximum(codes.astype(int) - 1, 0)]
    above = named[np.minimum(codes.astype(int) + 1, 2**bits - 1)]
    assert (np.abs(samples - back) <= np.maximum(back - below, above - back)).all()


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_is_the_same_for_both_widths(bits: Bits) -> None:
    wide = EVERY_INT16.astype(np.int32) << 16
    narrow = quantize(EVERY_INT16, bits=bits, quantizer="mulaw")
    assert np.array_equal(quantize(wide, bits=bits, quantizer="mulaw"), narrow)


@pytest.mark.parametrize("bits", MULAW_BITS)
def test_mulaw_reaches_both_ends(bits: Bits) -> None:
    for dtype in ("int16", "int32"):
        ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
        assert quantize(ends, bits=bits, quantizer="mulaw").tolist() == [0, 2**bits - 1]
    back = dequantize(np.array([0, 2**bits - 1], np.uint16), bits=bits, quantizer="mulaw")
    assert back.tolist() == [-(2**31), 2**31 - 1]


def test_mulaw_literals() -> None:
    # ln(1 + 255/2) / ln 256 = 0.875703: half of full scale is code floor(1.875703 * 127.5 + 0.5) = 239.
    samples = np.array([-16384, -1, 0, 1, 16384], np.int16)
    assert quantize(samples, bits=8, quantizer="mulaw").tolist() == [16, 127, 128, 128, 239]


# -- both


@pytest.mark.parametrize(("bits", "quantizer"), HOWS)
@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_zero_has_the_code_of_silence(bits: Bits, dtype: str, quantizer: str) -> None:
    assert silence(bits=bits) == 2 ** (bits - 1)
    assert quantize(np.zeros(1, dtype), bits=bits, quantizer=quantizer).tolist() == [silence(bits=bits)]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=30),
    st.sampled_from(HOWS),
)
def test_louder_samples_have_no_lower_codes(values: list[int], how: tuple[Bits, str]) -> None:
    bits, quantizer = how
    codes = quantize(np.array(sorted(values), np.int32), bits=bits, quantizer=quantizer).tolist()
    assert codes == sorted(codes)
    assert all(0 <= code < 2**bits for code in codes)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple),
    st.sampled_from(HOWS),
    st.sampled_from(["int16", "int32"]),
)
def test_shape_stays(shape: tuple[int, ...], how: tuple[Bits, str], dtype: str) -> None:
    bits, quantizer = how
    codes = quantize(np.zeros(shape, dtype), bits=bits, quantizer=quantizer)
    assert codes.shape == shape
    assert codes.dtype == code_dtype(bits)
    assert dequantize(codes, bits=bits, quantizer=quantizer).shape == shape


@pytest.mark.parametrize(("bits", "quantizer"), HOWS)
@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_one_channel_of_many_is_quantized_like_its_copy(bits: Bits, quantizer: str, dtype: str) -> None:
    samples = np.frombuffer(struct.pack("<24i", *range(-(2**30), 2**30, 2**31 // 24)[:24]), dtype).reshape(-1, 3)
    for channel in range(3):
        strided = quantize(samples[:, channel], bits=bits, quantizer=quantizer)
        assert np.array_equal(strided, quantize(samples[:, channel].copy(), bits=bits, quantizer=quantizer))


@pytest.mark.parametrize(("bits", "quantizer"), HOWS)
def test_samples_are_left_as_they_were(bits: Bits, quantizer: str) -> None:
    for samples in (EVERY_INT16.copy(), some_int32(10, seed=7)):
        before = samples.copy()
        quantize(samples, bits=bits, quantizer=quantizer)
        assert np.array_equal(samples, before)
