"""Tokens of Trilobyte."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import audiochunk
from audiochunk.config import Encoding
from audiochunk.errors import ConfigError
from audiochunk.integrations.trilobyte import MASK, VOCAB_SIZE, detokenize, tokenize
from audiochunk.signal.packing import pack
from audiochunk.signal.quantize import code_dtype, quantize

ENCODINGS = [
    Encoding(bits=8),
    Encoding(bits=16),
    Encoding(bits=16, byte_order="big"),
    Encoding(bits=24, chunk_bytes=1536),
    Encoding(bits=24, chunk_bytes=1536, byte_order="big"),
]
encodings = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.bits}-{e.stored_as}-{e.byte_order}")
padded_or_not = pytest.mark.parametrize("pad", [False, True], ids=["plain", "padded"])


def store(codes: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Codes as the chunks of a dataset hold them."""
    stored = pack(codes, encoding)
    return stored.view("<u2") if encoding.stored_as == "U16" else stored


def tokens_of(samples: list[int], *, bits: int, pad: bool) -> list[int]:
    """The scheme of the paper, a signed sample at a time."""
    tokens = []
    for sample in samples:
        octets = (sample + 2 ** (bits - 1)).to_bytes(bits // 8, "big")
        tokens += [256 * position + octet for position, octet in enumerate(octets)]
        tokens += [768] * (3 - len(octets) if pad else 0)
    return tokens


@padded_or_not
@encodings
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_detokenize_undoes_tokenize(encoding: Encoding, pad: bool, data: st.DataObject) -> None:
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)
    codes = data.draw(hnp.arrays(code_dtype(encoding.bits), shapes, elements=st.integers(0, 2**encoding.bits - 1)))
    stored = store(codes, encoding)
    tokens = tokenize(stored, encoding, pad=pad)
    assert tokens.dtype == np.int64
    assert tokens.shape == (*codes.shape[:-1], codes.shape[-1] * (3 if pad else encoding.bytes_per_code))
    back = detokenize(tokens, encoding, pad=pad)
    assert back.dtype == stored.dtype
    assert back.shape == stored.shape
    assert np.array_equal(back, stored)


@padded_or_not
@encodings
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_tokens_are_the_papers(encoding: Encoding, pad: bool, data: st.DataObject) -> None:
    bits = encoding.bits
    samples = data.draw(st.lists(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), max_size=20))
    codes = quantize(np.array(samples, np.int32) << (32 - bits), bits=bits)
    assert tokenize(store(codes, encoding), encoding, pad=pad).tolist() == tokens_of(samples, bits=bits, pad=pad)


@encodings
def test_every_value_of_up_to_16_bits_has_the_papers_tokens(encoding: Encoding) -> None:
    if encoding.bits == 24:
        samples = np.arange(-(2**23), 2**23, 2**8 - 1)
    else:
        samples = np.arange(-(2 ** (encoding.bits - 1)), 2 ** (encoding.bits - 1))
    codes = (samples + 2 ** (encoding.bits - 1)).astype(code_dtype(encoding.bits))
    tokens = tokenize(store(codes, encoding), encoding, pad=True)
    assert tokens.tolist() == tokens_of(samples.tolist(), bits=encoding.bits, pad=True)


def test_tokens_by_hand() -> None:
    three = np.array([0x01, 0x02, 0xFF], np.uint8)
    assert tokenize(three, Encoding(bits=24, chunk_bytes=3, byte_order="big")).tolist() == [1, 256 + 2, 512 + 255]
    assert tokenize(three, Encoding(bits=24, chunk_bytes=3)).tolist() == [255, 256 + 2, 512 + 1]
    assert tokenize(three, Encoding(bits=8), pad=True).tolist() == [1, 768, 768, 2, 768, 768, 255, 768, 768]
    assert tokenize(three, Encoding(bits=8)).tolist() == [1, 2, 255]


def test_silence_is_the_middle_of_the_first_range() -> None:
    assert tokenize(np.array([0x8000], np.uint16), Encoding(bits=16), pad=True).tolist() == [128, 256, 768]


def test_the_two_ways_to_store_16_bits_give_the_same_tokens() -> None:
    words = np.arange(2**16).astype(np.uint16)
    octets = words.astype(">u2").view(np.uint8)
    assert np.array_equal(tokenize(words, Encoding(bits=16)), tokenize(octets, Encoding(bits=16, byte_order="big")))


def test_the_mask_and_the_vocabulary_are_the_papers() -> None:
    assert (MASK, VOCAB_SIZE) == (768, 769)


@pytest.mark.parametrize(
    ("subtype", "options"),
    [
        ("PCM_U8", {"bits": 8}),
        ("PCM_16", {"bits": 16}),
        ("PCM_16", {"bits": 16, "byte_order": "big"}),
        ("PCM_24", {"bits": 24, "chunk_bytes": 1536}),
        ("PCM_24", {"bits": 24, "chunk_bytes": 1536, "byte_order": "big"}),
    ],
    ids=str,
)
def test_tokens_of_a_dataset_are_those_of_its_recording(tmp_path: Path, subtype: str, options: dict[str, Any]) -> None:
    bits = options["bits"]
    samples = np.random.Generator(np.random.PCG64(5)).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 5000)
    (tmp_path / "wavs").mkdir()
    sf.write(tmp_path / "wavs" / "a.wav", (samples << (32 - bits)).astype(np.int32), 16_000, subtype=subtype)
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", workers=1, fsync=False, **options)
    ds = audiochunk.open(tmp_path / "shards")
    tokens = tokenize(ds.gather(range(len(ds))), ds.encoding, pad=True)
    assert tokens.shape == (len(ds), 3 * ds.encoding.codes_per_chunk)
    kept = samples[: len(ds) * ds.encoding.codes_per_chunk].tolist()
    assert tokens.ravel().tolist() == tokens_of(kept, bits=bits, pad=True)
    assert np.array_equal(tokenize(ds[0], ds.encoding, pad=True), tokens[0])


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32"])
def test_detokenize_takes_tokens_of_any_integer_type(dtype: str) -> None:
    tokens = np.array([128, 257, 768, 127, 511, 768], dtype)
    assert detokenize(tokens, Encoding(bits=16), pad=True).tolist() == [0x8001, 0x7FFF]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint64"])
def test_no_tokens_are_no_samples(dtype: str) -> None:
    stored = detokenize(np.zeros((3, 0), dtype), Encoding(bits=16))
    assert (stored.shape, stored.dtype) == ((3, 0), np.uint16)


def test_12_bits_are_refused() -> None:
    for convert in (tokenize, detokenize):
        with pytest.raises(ConfigError, match="Trilobyte makes tokens of 8, 16 and 24 bits, not of 12"):
            convert(np.zeros(4, np.uint16), Encoding(bits=12))


@encodings
@pytest.mark.parametrize("dtype", ["int16", "int64", "uint32", "float32"])
def test_chunks_of_another_dtype_are_refused(encoding: Encoding, dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"are stored as uint(8|16), not {dtype}"):
        tokenize(np.zeros(6, dtype), encoding)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_broken_samples_are_refused(n: int) -> None:
    encoding = Encoding(bits=24, chunk_bytes=3)
    with pytest.raises(ConfigError, match=f"{n} elements are no whole samples of 3"):
        tokenize(np.zeros(n, np.uint8), encoding)
    with pytest.raises(ConfigError, match=f"{n} tokens are no whole samples of 3"):
        detokenize(np.zeros(n, np.int64), encoding)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([256, 256, 768], "token 256 at position 0 of a sample of 16 bits; there are 0 to 255"),
        ([-1, 256, 768], "token -1 at position 0"),
        ([0, 255, 768], "token 255 at position 1 of a sample of 16 bits; there are 256 to 511"),
        ([0, 512, 768], "token 512 at position 1"),
        ([0, 768, 768], "token 768 at position 1"),
        ([0, 256, 512], "token 512 at position 2 of a sample of 16 bits; there are 768 to 768"),
    ],
)
def test_a_token_out_of_its_range_is_refused(tokens: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        detokenize(np.array([128, 256, 768, *tokens]), Encoding(bits=16), pad=True)


def test_tokens_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ConfigError, match="tokens are integers, not float64"):
        detokenize(np.zeros(2), Encoding(bits=16))
