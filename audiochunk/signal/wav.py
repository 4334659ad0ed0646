"""The plain PCM and float data of WAV files, read directly.

Once the header has said where the samples lie and in what form, reading them is one system call and at most one pass
over the bytes.
"""

import os
from functools import cache
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from audiochunk.signal.quantize import Samples
from audiochunk.signal.source import Source

_LOOK_BYTES = 2**20


class WavError(ValueError):
    """A WAV file that no recording can be read from. The message is the reason, without the name of the file."""


Kind = Literal["int", "float", "alaw", "mulaw"]


class WavForm(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How plain samples lie in a file.

    Attributes:
        kind: "int" (unsigned where one byte wide), "float", or one of the two laws of ITU-T G.711.
        width: bytes of one sample of one channel: 1 to 4 for "int", 4 or 8 for "float", 1 for "alaw" and "mulaw".
        big_endian: byte order.
        offset: byte at which the data begins.
        low_bits: how many bits are used, where samples are justified low in their container; else 0.
    """

    kind: Kind
    width: int
    big_endian: bool
    offset: int
    low_bits: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one sample as it lies in the file; bytes where that is 3 wide."""
        if self.width in (1, 3):
            return np.dtype(np.uint8)
        return np.dtype(f"{'>' if self.big_endian else '<'}{self.kind[0]}{self.width}")


def read_bytes(
    source: Source, form: WavForm, *, channels: int, start: int, frames: int, buffer: bytearray
) -> npt.NDArray[np.uint8]:
    """The bytes of frames as they lie in the file, without a copy.

    Args:
        source: the file.
        form: of its data.
        channels: of its data.
        start: first frame.
        frames: how many.
        buffer: holds the bytes until its next use; at least frames * channels * form.width long.

    Returns:
        (frames, channels, form.width): a view of `buffer`.

    Raises:
        WavError: the file ends before.
        OSError: reading failed.
    """
    view = memoryview(buffer)[: frames * channels * form.width]
    read_into(view, source, form, channels=channels, start=start)
    return np.frombuffer(view, np.uint8).reshape(frames, channels, form.width)


def read_into(view: memoryview, source: Source, form: WavForm, *, channels: int, start: int) -> None:
    """Fill `view` with the bytes of the frames from `start` on.

    Raises:
        WavError: the file ends before.
        OSError: reading failed.
    """
    stride = channels * form.width
    done, at = 0, form.offset + start * stride
    while done < len(view):
        rest = view[done:] if done else view
        n = os.preadv(source, [rest], at + done) if isinstance(source, int) else source.read_into(rest, at + done)
        if n == 0:
            raise WavError(f"the file ends in frame {start + done // stride}")
        done += n


def read_raw(
    source: Source, form: WavForm, *, channels: int, start: int, frames: int, buffer: bytearray
) -> npt.NDArray[Any]:
    """What `read_bytes` gives, as numbers.

    Returns:
        (frames, channels) of `form.dtype`, or (frames, channels, 3) where samples take 3 bytes: a view of `buffer`.
    """
    octets = read_bytes(source, form, channels=channels, start=start, frames=frames, buffer=buffer)
    return octets if form.width == 3 else octets.view(form.dtype)[..., 0]


def to_samples(raw: npt.NDArray[Any], form: WavForm) -> Samples:
    """Frames as left-justified samples.

    Args:
        raw: as `read_raw` gives it, of any kind but "float".
        form: of the data.

    Returns:
        (frames, channels): int16 from samples of 1 or 2 bytes, else int32. A view where nothing had to change.
    """
    if form.kind != "int":
        decoded: Samples = _g711_table(form.kind)[raw]
        return decoded
    if form.width == 1:
        # Unsigned in WAV: the middle is 128, or half of the bits used where they are justified low.
        middle, shift = (1 << form.low_bits - 1, 16 - form.low_bits) if form.low_bits else (128, 8)
        return (raw.astype(np.int16) - np.int16(middle)) << np.int16(shift)
    if form.width == 3:
        octets = np.zeros((*raw.shape[:2], 4), np.uint8)
        octets[..., 1:] = raw[..., ::-1] if form.big_endian else raw
        samples: Samples = octets.view("<i4")[..., 0].astype(np.int32, copy=False)
    else:
        samples = raw.astype(np.int16 if form.width == 2 else np.int32, copy=False)
    if form.low_bits:
        samples = samples << (form.width * 8 - form.low_bits)
    return samples


@cache
def _g711_table(kind: Kind) -> npt.NDArray[np.int16]:
    """The sample of every byte, as ITU-T G.711 defines it: a sign, 3 bits of exponent, 4 of mantissa.

    Of its 13 and 14 bits, left-justified in 16.
    """
    octets = np.arange(256)
    octets = octets ^ 0x55 if kind == "alaw" else ~octets & 0xFF
    exponent, mantissa = octets >> 4 & 7, octets & 15
    if kind == "alaw":
        size = np.where(exponent == 0, mantissa * 16 + 8, mantissa * 16 + 264 << np.maximum(exponent, 1) - 1)
        negative = octets < 128
    else:
        size = (mantissa * 8 + 132 << exponent) - 132
        negative = octets >= 128
    return np.where(negative, -size, size).astype(np.int16)


def is_low_justified(source: Source, form: WavForm, *, channels: int, frames: int, valid_bits: int) -> bool:
    """Whether samples sit at the low end of containers that are wider than the bits used.

    By the standard they sit at the high end, but some writers do otherwise and no header field tells. They sit low
    when in every sample the bits above those used repeat the top one of them, or in every sample are zero, and some
    sample uses a bit that would have to be zero if they sat high. All samples are read.
    """
    unused = form.width * 8 - valid_bits
    if form.kind != "int" or unused == 0:
        return False
    stride = channels * form.width
    at_once = max(1, _LOOK_BYTES // stride)
    buffer = bytearray(at_once * stride)
    # Bytes are unsigned: their upper bits cannot repeat a sign.
    repeats, zero = form.width > 1, True
    uses_low_end = False
    for start in range(0, frames, at_once):
        n = min(frames - start, at_once)
        raw = read_raw(source, form, channels=channels, start=start, frames=n, buffer=buffer)
        samples = to_samples(raw, form)
        signed = samples >> 8 * (samples.dtype.itemsize - form.width)
        above = signed >> valid_bits - 1
        repeats = repeats and bool(((above == 0) | (above == -1)).all())
        # What zero bits are, before `to_samples` made 8-bit samples signed.
        bits = raw if form.width == 1 else signed & np.int64(2 ** (8 * form.width) - 1)
        zero = zero and not (bits >> valid_bits).any()
        if not repeats and not zero:
            return False
        uses_low_end = uses_low_end or bool((signed & (1 << unused) - 1).any())
    return uses_low_end
