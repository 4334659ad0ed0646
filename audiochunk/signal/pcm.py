"""PCM as it lies in a file -> the bytes of codes, with no sample in between.

A linear code is the upper bits of a sample with the sign bit flipped (see `audiochunk.signal.quantize`). Where codes
are whole bytes, those are the upper bytes as they lie in the file, so that encoding is one copy into the order of the
blocks and one flip in place. The plain way, `audiochunk.signal.encode`, gives the same bytes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.signal.interleave import interleave
from audiochunk.signal.wav import WavForm

Octets = npt.NDArray[np.uint8]


def is_direct(form: WavForm, encoding: Encoding, *, channels: int) -> bool:
    """Whether the codes of a recording are bytes of its samples."""
    return form.kind == "int" and not form.low_bits and keeps_bytes(encoding, channels=channels)


def keeps_bytes(encoding: Encoding, *, channels: int) -> bool:
    """Whether codes are bytes of left-justified samples."""
    is_whole = encoding.quantizer == "linear" and encoding.bits % 8 == 0
    return is_whole and (encoding.layout != "mono" or channels == 1)


def encode_pcm(octets: Octets, form: WavForm, encoding: Encoding, *, block: int, out: Octets) -> None:
    """Fill `out` with the bytes of codes.

    Args:
        octets: (frames, channels, form.width), as they lie in the file; only the channels that go into the stream.
        form: how that is; `is_direct`.
        encoding: how to encode.
        block: samples of one channel in a block.
        out: 1-D, as many bytes as the codes take.
    """
    n = encoding.bytes_per_code
    codes = out.reshape(-1, n)
    # Bytes of a code, the most significant first.
    targets: list[npt.NDArray[Any]] = [codes[:, i] for i in _descending(n, big_endian=encoding.byte_order == "big")]
    if n == 1 and _frames_are_words(octets, block):
        _take_from_words(octets, 0 if form.big_endian else form.width - 1, block=block, out=out)
    elif n == form.width == 2:
        # One copy of words is twice as fast as two of bytes.
        targets = [out.view(">u2" if encoding.byte_order == "big" else "<u2")]
        _copy(octets.view(">u2" if form.big_endian else "<u2")[..., 0], block=block, out=targets[0])
    else:
        sources = _descending(form.width, big_endian=form.big_endian)
        for i, target in zip(sources, targets, strict=False):
            _copy(octets[..., i], block=block, out=target)
        for target in targets[form.width :]:
            target[:] = 0
    if form.width > 1:  # 8-bit WAV is unsigned already
        top = targets[0]
        top ^= top.dtype.type(1 << 8 * top.dtype.itemsize - 1)


def _copy(source: npt.NDArray[Any], *, block: int, out: npt.NDArray[Any]) -> None:
    if source.shape[1] == 1:
        out[:] = source[:, 0]
    else:
        interleave(source, block=block, out=out)


def _frames_are_words(octets: Octets, block: int) -> bool:
    frames, channels, width = octets.shape
    return octets.flags.c_contiguous and channels * width in (2, 4, 8) and (channels == 1 or frames % block == 0)


def _take_from_words(octets: Octets, i: int, *, block: int, out: Octets) -> None:
    """Byte `i` of every sample, in blocks, where a frame is as long as a machine word.

    For shifting words and keeping their lowest byte numpy has vector code; it has none for copying every fourth byte.
    """
    frames, channels, width = octets.shape
    words = octets.reshape(frames, -1).view(f"<u{channels * width}")
    block = frames if channels == 1 else block
    blocks = out.reshape(-1, channels, block)
    for channel in range(channels):
        shift = words.dtype.type(8 * (channel * width + i))
        np.right_shift(words.reshape(-1, block), shift, out=blocks[:, channel], casting="unsafe")


def _descending(n: int, *, big_endian: bool) -> range:
    return range(n) if big_endian else range(n - 1, -1, -1)
