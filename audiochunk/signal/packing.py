"""Codes <-> bytes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.signal import quantize
from audiochunk.signal.quantize import Codes, code_dtype


def pack(codes: Codes, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """The bytes of codes: 1, 2 or 3 each, in the encoding's byte order.

    Args:
        codes: (..., n), uint8, uint16 or uint32.
        encoding: gives bits and byte order.

    Returns:
        (..., n * bytes_per_code), uint8.

    >>> pack(np.array([0x0102, 0x0304], np.uint16), Encoding(bits=16)).tolist()
    [2, 1, 4, 3]
    """
    width = encoding.bytes_per_code
    if width == 1:
        return codes.astype(np.uint8, copy=False)
    order = "<" if encoding.byte_order == "little" else ">"
    words = codes.astype(f"{order}u{2 if width == 2 else 4}", copy=False)
    octets = np.ascontiguousarray(words).view(np.uint8)
    if width == 3:
        unused = 3 if order == "<" else 0
        octets = np.delete(octets.reshape(*codes.shape, 4), unused, axis=-1)
    return octets.reshape(*codes.shape[:-1], codes.shape[-1] * width)


def silence(n: int, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """The bytes of `n` codes of silence."""
    return pack(np.full(n, quantize.silence(bits=encoding.bits), code_dtype(encoding.bits)), encoding)


def unpack(stored: npt.NDArray[Any], encoding: Encoding) -> Codes:
    """Undo `pack`.

    Args:
        stored: (..., n * bytes_per_code) uint8, or (..., n) uint16 as shards of 12- and 16-bit codes hold them.
        encoding: as packed with.

    Returns:
        (..., n) codes: uint8, uint16 or uint32.
    """
    if stored.dtype.itemsize == 2 or encoding.bytes_per_code == 1:
        return stored.astype(code_dtype(encoding.bits), copy=False)
    width = encoding.bytes_per_code
    octets = stored.reshape(*stored.shape[:-1], stored.shape[-1] // width, width)
    if encoding.byte_order == "big":
        octets = octets[..., ::-1]
    codes: Codes = np.zeros(octets.shape[:-1], code_dtype(encoding.bits))
    for position in range(width):
        codes |= octets[..., position].astype(codes.dtype) << (8 * position)
    return codes
