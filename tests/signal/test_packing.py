"""Codes <-> bytes."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import Bits, Encoding
from audiochunk.signal.packing import pack, unpack
from audiochunk.signal.quantize import code_dtype

ENCODINGS = [
    Encoding(bits=bits, byte_order=order, chunk_bytes=6)
    for bits in get_args(Bits)
    for order in ("little", "big")
    if not (bits == 8 and order == "big")
]


@pytest.fixture(params=ENCODINGS, ids=lambda e: f"{e.bits}-{e.byte_order}")
def encoding(request: pytest.FixtureRequest) -> Encoding:
    return request.param


@pytest.fixture
def codes(encoding: Encoding) -> np.ndarray:
    """Every code of up to 16 bits, both ends of all wider ones and a thousand between."""
    top = 1 << encoding.bits
    if encoding.bits <= 16:
        return np.arange(top).astype(code_dtype(encoding.bits))
    between = np.random.default_rng(24).integers(0, top, 1000)
    return np.concatenate([[0, 1, 255, 256, 65535, 65536, top - 2, top - 1], between]).astype(np.uint32)


def test_unpack_undoes_pack(encoding: Encoding, codes: np.ndarray) -> None:
    back = unpack(pack(codes, encoding), encoding)
    assert back.dtype == codes.dtype
    assert np.array_equal(back, codes)


def test_pack_is_to_bytes_of_every_code(encoding: Encoding, codes: np.ndarray) -> None:
    expected = b""
    for code in codes[:: max(1, len(codes) // 2000)].tolist():
        expected += code.to_bytes(encoding.bytes_per_code, encoding.byte_order)
    packed = pack(codes[:: max(1, len(codes) // 2000)], encoding)
    assert packed.dtype == np.uint8
    assert packed.tobytes() == expected


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ENCODINGS), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_only_the_last_axis_grows(encoding: Encoding, a: int, b: int, n: int) -> None:
    codes = np.arange(a * b * n).reshape(a, b, n).astype(code_dtype(encoding.bits))
    packed = pack(codes, encoding)
    assert packed.shape == (a, b, n * encoding.bytes_per_code)
    assert unpack(packed, encoding).shape == codes.shape
    assert np.array_equal(unpack(packed, encoding), codes)


def test_three_bytes_in_both_orders() -> None:
    codes = np.array([0x010203, 0xFFFEFD], np.uint32)
    little = pack(codes, Encoding(bits=24, chunk_bytes=6))
    big = pack(codes, Encoding(bits=24, chunk_bytes=6, byte_order="big"))
    assert little.tolist() == [3, 2, 1, 0xFD, 0xFE, 0xFF]
    assert big.tolist() == [1, 2, 3, 0xFF, 0xFE, 0xFD]


def test_twelve_bits_take_the_low_end_of_two_bytes() -> None:
    codes = np.array([0x0ABC], np.uint16)
    assert pack(codes, Encoding(bits=12)).tolist() == [0xBC, 0x0A]
    assert pack(codes, Encoding(bits=12, byte_order="big")).tolist() == [0x0A, 0xBC]


@pytest.mark.parametrize("bits", [12, 16, 24])
def test_big_endian_bytes_sort_like_their_codes(bits: Bits) -> None:
    codes = np.random.default_rng(6).integers(0, 1 << bits, 500).astype(code_dtype(bits))
    rows = pack(codes[:, None], Encoding(bits=bits, byte_order="big", chunk_bytes=6))
    by_bytes = sorted(range(len(codes)), key=lambda i: rows[i].tobytes())
    assert np.array_equal(codes[by_bytes], np.sort(codes))


def test_no_chunks_pack_to_no_chunks(encoding: Encoding) -> None:
    packed = pack(np.empty((0, encoding.codes_per_chunk), code_dtype(encoding.bits)), encoding)
    assert packed.shape == (0, encoding.chunk_bytes)
    assert unpack(packed, encoding).shape == (0, encoding.codes_per_chunk)


@pytest.mark.parametrize("bits", [12, 16])
def test_unpack_takes_words_as_shards_hold_them(bits: Bits) -> None:
    words = np.array([[0, 1, 2047], [2048, 4094, 4095]], "<u2")
    codes = unpack(words, Encoding(bits=bits))
    assert codes.dtype == np.uint16
    assert codes.tolist() == words.tolist()


def test_pack_takes_strided_codes(encoding: Encoding) -> None:
    codes = np.arange(60).astype(code_dtype(encoding.bits))
    assert pack(codes[::3], encoding).tobytes() == pack(codes[::3].copy(), encoding).tobytes()
