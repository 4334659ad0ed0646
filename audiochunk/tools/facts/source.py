"""What codes tell of the bits that their source really had."""

from functools import cache

import numpy as np
import numpy.typing as npt

from audiochunk.config import Bits, Encoding
from audiochunk.signal.quantize import quantize, silence
from audiochunk.signal.sndfile import bits_of
from audiochunk.storage.recordings import RecordingRow

FEW = 256  # codes that 8 bits can make
_G711_PEAK = {"ULAW": 32124, "ALAW": 32256}  # the largest samples that G.711 decodes to, in 16 bits
NARROWEST = 8  # bits; what seems to have fewer is a test signal, whose full scale is anybody's guess
_LEAST_CODES = 16  # that tell where they come from
_MANY_SAMPLES = 4096  # that would have more than 256 codes if they were a recording of anything loud
_SPARSE = 4  # values in the range of codes for each that occurs
_MOST_CHANCE = 1e-6  # that values which are not so lie on a grid, or in a table


def promised_bits(row: RecordingRow, encoding: Encoding) -> int:
    """Bits of a code that can be used, going by the header of the recording."""
    return min(encoding.bits, bits_of(row.subtype))


def is_cut(row: RecordingRow, encoding: Encoding) -> bool:
    """Whether codes have fewer bits than the samples that were quantized: then each stands for a step of samples."""
    source = {"ULAW": 14, "ALAW": 13}.get(row.subtype, bits_of(row.subtype))
    if encoding.layout == "mono" and row.channels > 1:
        source = 16 if source <= 16 else 32  # a mean has more bits than what it is the mean of
    return source > encoding.bits


def effective_bits(used: int, bits: int) -> int:
    """Bits of codes down to the lowest that is ever used.

    Args:
        used: all codes of a recording XOR silence, ORed together.
        bits: of the codes.

    Returns:
        0 where there is nothing but silence.

    >>> effective_bits(0x7F00, 16), effective_bits(0, 16)
    (8, 0)
    """
    return bits - ((used & -used).bit_length() - 1) if used else 0


def limits(row: RecordingRow, encoding: Encoding, effective: int) -> tuple[int, int]:
    """The smallest and the largest code that a recording of so many effective bits can have."""
    bits = encoding.bits
    if row.subtype in _G711_PEAK:
        peak = _G711_PEAK[row.subtype]
        samples = np.array([-peak, peak], np.int16).astype(np.int32) << 16
    else:
        known = bits_of(row.subtype)
        if encoding.quantizer == "linear" and effective >= NARROWEST:
            known = effective
        samples = np.array([-(2**31), 2**31 - 2 ** (32 - known)], np.int64).astype(np.int32)
    low, high = quantize(samples, bits=bits, quantizer=encoding.quantizer).tolist()
    return low, high


def origin(codes: npt.NDArray[np.int64], bits: Bits, *, n: int) -> str:
    """What 8-bit audio the codes of a wider recording were made of, as far as they tell.

    Args:
        codes: the different codes of one recording, ascending; linear, at most 16 bits.
        bits: of the codes, at least 12.
        n: how many samples there are, silence left out.

    Returns:
        "mu-law" or "A-law" where all are samples that G.711 decodes to, and not by chance; "8-bit" where they lie on an
        even grid of at most 256 values, which is what rescaling leaves; "few" where many samples have few codes that
        are far apart; "" elsewhere, as where audio is merely quiet.
    """
    if not 2 <= len(codes) <= FEW or n < FEW:
        return ""
    used = int(np.bitwise_or.reduce(codes ^ silence(bits=bits)))
    # Grids of powers of two are bits that are not used, and need not be guessed.
    narrow = codes >> bits - effective_bits(used, bits)
    if len(codes) < _LEAST_CODES:
        return _few(narrow, n)
    for law in ("mu-law", "A-law"):
        if _is_of(codes, _g711(law, bits)):
            return law
    return "8-bit" if _is_on_a_grid(narrow) else _few(narrow, n)


def _few(codes: npt.NDArray[np.int64], n: int) -> str:
    is_sparse = codes[-1] - codes[0] >= _SPARSE * len(codes)
    return "few" if is_sparse and n >= _MANY_SAMPLES else ""


def _is_of(codes: npt.NDArray[np.int64], table: npt.NDArray[np.int64]) -> bool:
    """Whether all codes are in a table, ascending, and it cannot be chance: in wide steps, it has all quiet ones."""
    places = np.searchsorted(table, codes)
    if not np.array_equal(table[np.minimum(places, len(table) - 1)], codes):
        return False
    gaps = np.diff(table)
    # Of the codes around one in the table, one in so many is there; on the side where they are closer.
    gap = np.minimum(gaps[np.maximum(places - 1, 0)], gaps[np.minimum(places, len(gaps) - 1)])
    return bool(np.log2(gap).sum() >= -np.log2(_MOST_CHANCE))


def _is_on_a_grid(codes: npt.NDArray[np.int64]) -> bool:
    """Whether all codes are within 1 of multiples of a step that only 8 bits need, and it cannot be chance."""
    offsets = (codes - codes[0]).astype(np.float64)
    # A step of s is missed by 3 of s integers; the first and the last code are on the grid by its making.
    for steps in range(len(codes) - 1, FEW):
        step = offsets[-1] / steps
        chance = FEW * (3 / step) ** (len(codes) - 2) if step > 3 else 1.0
        if chance > _MOST_CHANCE:
            return False  # nor with more steps, which are smaller
        if (np.abs(offsets - step * np.rint(offsets / step)) <= 1).all():
            return True
    return False


@cache
def _g711(law: str, bits: Bits) -> npt.NDArray[np.int64]:
    """Codes of the 256 samples that G.711 decodes to, ascending (ITU-T G.711, tables 1 and 2; 16 bits wide)."""
    segment, step = np.divmod(np.arange(128), 16)
    if law == "mu-law":
        size = ((2 * step + 33) << (segment + 2)) - 132
    else:
        size = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0)) << 3
    samples = np.concatenate([-size, size]).astype(np.int16)
    return np.unique(quantize(samples, bits=bits)).astype(np.int64)


def levels(codes: npt.NDArray[np.int64], encoding: Encoding, *, is_cut: bool) -> npt.NDArray[np.float64]:
    """The samples that linear codes stand for, full scale being 1: of a step that was cut, its middle."""
    zero = silence(bits=encoding.bits)
    return (codes - zero + (0.5 if is_cut else 0.0)) / zero
