"""Chunks <-> tokens of Trilobyte, which make a byte of a sample one token.

From Long, Novack and Donahue, "Benchmarking Language Modeling for Lossless Compression of Full-Fidelity Audio" (arXiv
2603.08683), as its authors' training code has it (`split_to_bytes` in `trilobyte/train_gpt2.py` of
pnlong/trilobyte-experiments): a sample of `bits` bits is made unsigned by adding 2**(bits - 1), which is our code, and
its bytes follow from the most to the least significant. The byte at position p of a sample, 0 to 2, is the token
256 * p + byte. In a model of several bit depths, samples of 8 and 16 bits are padded behind their bytes with the mask:

    24 bits: [high, 256 + middle, 512 + low]
    16 bits: [high, 256 + low, 768]
     8 bits: [byte, 768, 768]

The codec that the authors published (pnlong/trilobyte-lossless-codec) uses 0 to 255 at every position instead.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError
from audiochunk.signal.packing import pack, unpack
from audiochunk.signal.quantize import code_dtype

BYTES_PER_SAMPLE = 3  # BYTES_PER_SAMPLE of train_gpt2.py: of padded samples
MASK = 256 * BYTES_PER_SAMPLE  # MASK_TOKEN there: 768, what there is no byte for
VOCAB_SIZE = MASK + 1  # of a model, whatever the bits


def tokenize(stored: npt.NDArray[Any], encoding: Encoding, *, pad: bool = False) -> npt.NDArray[np.int64]:
    """The tokens of chunks.

    Args:
        stored: (..., n) elements as a dataset has them, `ds[i]` or `ds.gather(...)`: uint8, or uint16 for 16-bit codes
            that are stored little-endian.
        encoding: theirs, `ds.encoding`: 8, 16 or 24 bits, of either byte order.
        pad: whether every sample gets 3 tokens, rather than one for each of its bytes.

    Returns:
        (..., samples * tokens of a sample), `0 <= token < VOCAB_SIZE`.

    Raises:
        ConfigError: 12 bits, which are no whole bytes; elements of another dtype, or no whole number of samples.

    >>> tokenize(np.array([0x8001, 0x7FFF], np.uint16), Encoding(bits=16), pad=True).tolist()
    [128, 257, 768, 127, 511, 768]
    """
    if not isinstance(stored, np.ndarray):
        raise ConfigError(f"chunks are an array, as ds[i] and ds.gather(...) give; not {stored!r}")
    width, positions = _positions(encoding, pad)
    expected = np.dtype("<u2" if encoding.stored_as == "U16" else "u1")
    if stored.dtype != expected:
        raise ConfigError(f"chunks of {encoding.bits}-bit codes are stored as {expected}, not {stored.dtype}")
    _require_whole(stored.shape[-1], width if encoding.stored_as == "U8" else 1, "elements")
    codes = unpack(stored, encoding)
    tokens = np.full((*codes.shape, positions), MASK, np.int64)
    for position in range(width):
        tokens[..., position] = codes >> 8 * (width - 1 - position) & 0xFF
        tokens[..., position] += 256 * position
    return tokens.reshape(*codes.shape[:-1], codes.shape[-1] * positions)


def detokenize(tokens: npt.NDArray[Any], encoding: Encoding, *, pad: bool = False) -> npt.NDArray[Any]:
    """Undo `tokenize`.

    Args:
        tokens: (..., n) integers of any dtype: whole samples.
        encoding: as tokenized with.
        pad: likewise.

    Returns:
        Elements as a dataset has them: uint8 or little-endian uint16.

    Raises:
        ConfigError: 12 bits, no integers, no whole number of samples, or a token that its position cannot have.

    >>> detokenize(np.array([128, 257, 127, 511]), Encoding(bits=16)).tolist()
    [32769, 32767]
    """
    width, positions = _positions(encoding, pad)
    if tokens.dtype.kind not in "iu":
        raise ConfigError(f"tokens are integers, not {tokens.dtype}")
    _require_whole(tokens.shape[-1], positions, "tokens")
    samples = tokens.astype(np.int64).reshape(*tokens.shape[:-1], tokens.shape[-1] // positions, positions)
    codes = np.zeros(samples.shape[:-1], code_dtype(encoding.bits))
    for position in range(positions):
        token = samples[..., position]
        lowest, highest = (256 * position, 256 * position + 255) if position < width else (MASK, MASK)
        wrong = (token < lowest) | (token > highest)
        if wrong.any():
            raise ConfigError(
                f"token {token[wrong][0]} at position {position} of a sample of {encoding.bits} bits;"
                f" there are {lowest} to {highest}"
            )
        if position < width:
            codes |= (token - lowest).astype(codes.dtype) << 8 * (width - 1 - position)
    stored = pack(codes, encoding)
    return stored.view("<u2") if encoding.stored_as == "U16" else stored


def _positions(encoding: Encoding, pad: bool) -> tuple[int, int]:
    """Bytes of a sample, and tokens of a sample."""
    if encoding.bits % 8:
        raise ConfigError(f"Trilobyte makes tokens of 8, 16 and 24 bits, not of {encoding.bits}")
    width = encoding.bytes_per_code
    return width, BYTES_PER_SAMPLE if pad else width


def _require_whole(n: int, size: int, what: str) -> None:
    if n % size:
        raise ConfigError(f"{n} {what} are no whole samples of {size}")
