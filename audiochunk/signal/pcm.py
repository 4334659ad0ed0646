"""PCM as it lies in a file -> the bytes of codes, with no sample in between.

A linear code is the upper bits of a sample with the sign bit flipped (see `audiochunk.signal.quantize`). Where codes
are whole bytes, those are the upper bytes as they lie in the file, so that encoding is one copy into the order of the
blocks and one flip in place. The plain way, `audiochunk.signal.encode`, gives the same bytes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.signal.audio import READER_ERRORS, recording_error
from audiochunk.signal.chunking import Span
from audiochunk.signal.interleave import interleave
from audiochunk.signal.packing import silence
from audiochunk.signal.wav import WavForm, read_into

Octets = npt.NDArray[np.uint8]


def is_direct(form: WavForm, encoding: Encoding, *, channels: int) -> bool:
    """Whether the codes of a recording are bytes of its samples."""
    return (
        form.kind == "int"
        and not form.low_bits
        and encoding.quantizer == "linear"
        and encoding.bits % 8 == 0
        and (encoding.layout != "mono" or channels == 1)
    )


class PcmBatch:
    """Reads spans of one recording after the other into one buffer and encodes as many as it holds at once.

    What a batch does takes as long for half a second of audio as for a minute; and its buffer stays in the cache.

    Args:
        encoding: how to encode.
        room: gives the place for the next so many bytes of codes, which are there when it is called again, or after
            `flush`.
        n_bytes: the most that are read, and the most that are asked room for, at once.
    """

    def __init__(self, encoding: Encoding, room: Callable[[int], Octets], *, n_bytes: int) -> None:
        self._encoding, self._room = encoding, room
        self._buffer = np.empty(n_bytes, np.uint8)
        self._view = self._buffer.data
        self._kind: tuple[int, bool, int, int] | None = None
        self._form: WavForm | None = None
        self._frames = self._used = self._max_frames = 0

    def max_frames(self, form: WavForm, channels: int) -> int:
        """The most frames that a span may have."""
        return max(1, self._buffer.size // (channels * max(form.width, self._encoding.bytes_per_code)))

    def add(self, fd: int, path: bytes, form: WavForm, span: Span, *, channels: int, channel: int | None) -> None:
        """Read a span of an open recording.

        Args:
            fd: the recording.
            path: of it, for messages.
            form: of its data; `is_direct`.
            span: of the stream, at most `max_frames` long.
            channels: of the recording.
            channel: which channel the stream is of, under layout "split".

        Raises:
            RecordingError: it cannot be read.
        """
        one = channel if span.channel is None else span.channel
        is_group = one is None or channels == 1
        kind = form.width, form.big_endian, channels, span.block if channels > 1 else 1
        if kind != self._kind or self._frames + span.frames > self._max_frames or not is_group:
            self.flush()
            self._kind, self._form, self._max_frames = kind, form, self.max_frames(form, channels)
        end = self._used + span.frames * channels * form.width
        try:
            read_into(self._view[self._used : end], fd, form, channels=channels, start=span.start)
        except READER_ERRORS as error:
            raise recording_error(path, error) from error
        self._used, self._frames = end, self._frames + span.frames
        # Whole blocks of all channels can be followed by more of them; nothing else can.
        if not is_group or span.frames % kind[3]:
            self.flush(None if is_group else one)

    def pad(self, n_codes: int) -> None:
        """Add codes of silence; 0 of them for nothing to happen."""
        if n_codes:
            self.flush()
        at_once = self._buffer.size // self._encoding.bytes_per_code
        for start in range(0, n_codes, at_once):
            n = min(n_codes - start, at_once)
            self._room(n * self._encoding.bytes_per_code)[:] = silence(n, self._encoding)

    def flush(self, channel: int | None = None) -> None:
        """Encode what has been read; of one channel only, where that is given."""
        if self._form is None or self._kind is None or not self._frames:
            return
        width, _, channels, block = self._kind
        octets = self._buffer[: self._used].reshape(self._frames, channels, width)
        if channel is not None:
            octets = octets[:, channel : channel + 1]
        out = self._room(self._frames * octets.shape[1] * self._encoding.bytes_per_code)
        self._frames = self._used = 0
        encode_pcm(octets, self._form, self._encoding, block=block, out=out)


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
