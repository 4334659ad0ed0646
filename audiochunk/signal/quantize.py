"""Samples <-> codes.

Samples are left-justified in int16 or int32, so that full scale is the same fraction of the dtype whatever the source
had; see `audiochunk.signal.audio`. Codes are unsigned, `0 <= code < 2**bits`, in the smallest of uint8, uint16, uint32
that holds them.
"""

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Bits, Quantizer

Samples = npt.NDArray[np.signedinteger[Any]]  # int16 or int32
Codes = npt.NDArray[np.unsignedinteger[Any]]  # uint8, uint16 or uint32


def code_dtype(bits: Bits) -> np.dtype[Any]:
    """The dtype of codes of so many bits: uint8, uint16 or uint32."""
    return np.dtype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


def quantize(samples: Samples, *, bits: Bits, quantizer: Quantizer = "linear") -> Codes:
    """The code of every sample.

    Args:
        samples: int16 or int32, left-justified, any shape.
        bits: 8, 12, 16 or 24.
        quantizer: "linear", or "mulaw" (not at 24 bits).

    Returns:
        Codes of the same shape.

    >>> quantize(np.array([-32768, -1, 0, 256, 32767], np.int16), bits=8)
    array([  0, 127, 128, 129, 255], dtype=uint8)
    """
    return _QUANTIZERS[quantizer][0](samples, bits)


def dequantize(codes: Codes, *, bits: Bits, quantizer: Quantizer = "linear") -> Samples:
    """A sample for every code: the one lowest in its step ("linear") or the one the curve names ("mulaw").

    With "linear" and at least as many bits as the source had, this is the source's own sample.

    Args:
        codes: any unsigned dtype, any shape.
        bits: as they were quantized with.
        quantizer: likewise.

    Returns:
        Left-justified samples of the same shape: int16 from linear codes of up to 16 bits, else int32.

    >>> dequantize(np.array([0, 127, 128, 129, 255], np.uint8), bits=8)
    array([-32768,   -256,      0,    256,  32512], dtype=int16)
    """
    return _QUANTIZERS[quantizer][1](codes, bits)


def silence(*, bits: Bits) -> int:
    """The code of a sample of 0, which is the same for both quantizers."""
    return 1 << (bits - 1)


def _linear(samples: Samples, bits: Bits) -> Codes:
    """code = (sample >> (width - bits)) + 2**(bits-1), with an arithmetic shift; a left one where bits > width.

    For PCM this is what `audioop.lin2lin` followed by `audioop.bias` gives. Flipping the sign bit adds 2**(width-1),
    after which the shift is a logical one and nothing can overflow.
    """
    width = samples.dtype.itemsize * 8
    if bits == 8:
        # Nothing but the top byte survives, and the cast to uint8 keeps just that.
        codes: Codes = (samples >> (width - 8)).astype(np.uint8)
        codes ^= np.uint8(0x80)
        return codes
    unsigned = np.dtype(f"u{samples.dtype.itemsize}")
    offset = samples.astype(unsigned)
    offset ^= unsigned.type(1 << (width - 1))
    if bits > width:
        wider: Codes = offset.astype(code_dtype(bits))
        wider <<= wider.dtype.type(bits - width)
        return wider
    offset >>= unsigned.type(width - bits)
    return offset.astype(code_dtype(bits), copy=False)


def _linear_inverse(codes: Codes, bits: Bits) -> Samples:
    width = 16 if bits <= 16 else 32
    offset = codes.astype(f"u{width // 8}") << (width - bits)
    offset ^= offset.dtype.type(1 << (width - 1))
    return offset.view(f"i{width // 8}")


def _mulaw(samples: Samples, bits: Bits) -> Codes:
    """y = sign(x) ln(1 + mu |x|) / ln(1 + mu), code = floor((y + 1) / 2 mu + 0.5), for x = sample / 2**(width-1).

    The curve is the continuous mu-law of ITU-T G.711 with mu = 2**bits - 1, as WaveNet (arXiv 1609.03499, section
    2.2) uses it.
    """
    if samples.dtype == np.int16:
        return _mulaw_table(bits)[samples.view(np.uint16)]
    thresholds = _mulaw_thresholds(bits, 32)
    return np.searchsorted(thresholds, samples, side="right").astype(code_dtype(bits))


@cache
def _mulaw_table(bits: Bits) -> Codes:
    """Codes of all 65,536 values of int16, in the order of their bit patterns."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    found = np.searchsorted(_mulaw_thresholds(bits, 16), values, side="right")
    return found.astype(code_dtype(bits))


@cache
def _mulaw_thresholds(bits: Bits, width: int) -> npt.NDArray[np.int64]:
    """The smallest sample of each code but 0: (2**bits - 1,) integers.

    Comparing with integers keeps codes the same on every machine, where logarithms differ in their last digit. A code
    k begins at y = (2k - 1) / mu - 1, which the curve's inverse, sign(y) ((1 + mu)**|y| - 1) / mu, takes back to x.
    """
    mu = (1 << bits) - 1
    twice = 2 * np.arange(1, mu + 1, dtype=np.int64) - 1 - mu  # mu * y, an integer
    size = np.expm1(np.abs(twice) / mu * bits * np.log(2)) / mu * 2.0 ** (width - 1)
    edges = np.copysign(size, twice)
    thresholds: npt.NDArray[np.int64] = np.ceil(edges).astype(np.int64)
    # Where float64 cannot tell on which side of an integer an edge lies, 50 digits can.
    for k in np.flatnonzero(np.abs(edges - np.rint(edges)) < 2.0 ** (width - 1) * 1e-13):
        thresholds[k] = _mulaw_edge(int(twice[k]), bits, width)
    return thresholds


def _mulaw_edge(twice: int, bits: int, width: int) -> int:
    with localcontext() as context:
        context.prec = 50
        mu = Decimal((1 << bits) - 1)
        size = (Decimal(2) ** (bits * abs(twice) / mu) - 1) / mu * (1 << (width - 1))
        return int(size.copy_sign(twice).to_integral_value(ROUND_CEILING))


def _mulaw_inverse(codes: Codes, bits: Bits) -> npt.NDArray[np.int32]:
    mu = (1 << bits) - 1
    y = codes.astype(np.float64) * 2 / mu - 1
    x = np.copysign(np.expm1(np.abs(y) * bits * np.log(2)) / mu, y)
    samples: npt.NDArray[np.int32] = np.rint(x * 2.0**31).clip(-(2**31), 2**31 - 1).astype(np.int32)
    return samples


_QUANTIZERS: dict[Quantizer, tuple[Callable[[Samples, Bits], Codes], Callable[[Codes, Bits], Samples]]] = {
    "linear": (_linear, _linear_inverse),
    "mulaw": (_mulaw, _mulaw_inverse),
}
