"""Spans of recordings -> the bytes of their codes, in the place that they are written from."""

import sys
from collections.abc import Callable

import numpy as np

from audiochunk.config import Encoding
from audiochunk.signal.audio import READER_ERRORS, recording_error
from audiochunk.signal.chunking import Span
from audiochunk.signal.encode import arrange
from audiochunk.signal.packing import pack, silence
from audiochunk.signal.pcm import Octets, encode_pcm, keeps_bytes
from audiochunk.signal.quantize import Samples, quantize
from audiochunk.signal.source import Source
from audiochunk.signal.wav import WavForm, read_into

_WIDEST = 4  # bytes of a decoded sample


class Encoder:
    """Makes the bytes of codes of one span after the other.

    Spans whose codes are bytes of the file are read into one buffer, and encoded when it is full: what is done once a
    buffer takes as long for half a second of audio as for a minute, and what was just read is still in the cache.

    Args:
        encoding: how to encode.
        room: gives the place for the next so many bytes of codes, which are there when it is called again, or after
            `flush`.
        n_bytes: the most that are read, and the most that are asked room for, at once.
    """

    def __init__(self, encoding: Encoding, room: Callable[[int], Octets], *, n_bytes: int) -> None:
        self.encoding, self._room = encoding, room
        self._buffer = np.empty(n_bytes, np.uint8)
        self._view = self._buffer.data
        self._kind: tuple[int, bool, int, int] | None = None
        self._form: WavForm | None = None
        self._frames = self._used = self._max_frames = 0

    def max_frames(self, form: WavForm | None, channels: int) -> int:
        """The most frames that a span may have; `form` is None where it is decoded."""
        width = form.width if form is not None else _WIDEST
        return max(1, self._buffer.size // (channels * max(width, self.encoding.bytes_per_code)))

    def add(
        self, source: Source, path: bytes, form: WavForm, span: Span, *, channels: int, channel: int | None
    ) -> None:
        """Read a span of an open recording.

        Args:
            source: the recording.
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
            read_into(self._view[self._used : end], source, form, channels=channels, start=span.start)
        except READER_ERRORS as error:
            raise recording_error(path, error) from error
        self._used, self._frames = end, self._frames + span.frames
        # Whole blocks of all channels can be followed by more of them; nothing else can.
        if not is_group or span.frames % kind[3]:
            self.flush(None if is_group else one)

    def add_samples(self, samples: Samples, span: Span, *, channel: int | None) -> None:
        """Encode a span that has been decoded.

        Args:
            samples: (span.frames, channels), int16 or int32, left-justified, C-contiguous.
            span: of the stream.
            channel: which channel the stream is of, under layout "split".
        """
        self.flush()
        encoding = self.encoding
        if not keeps_bytes(encoding, channels=samples.shape[1]):
            codes = quantize(
                arrange(samples, span, encoding, channel=channel), bits=encoding.bits, quantizer=encoding.quantizer
            )
            packed = pack(codes, encoding)
            self._room(packed.size)[:] = packed
            return
        octets = samples.view(np.uint8).reshape(*samples.shape, -1)
        one = channel if span.channel is None else span.channel
        if one is not None:
            octets = octets[:, one : one + 1]
        form = WavForm("int", samples.itemsize, sys.byteorder == "big", 0)
        out = self._room(octets.shape[0] * octets.shape[1] * encoding.bytes_per_code)
        encode_pcm(octets, form, encoding, block=span.block, out=out)

    def pad(self, n_codes: int) -> None:
        """Add codes of silence; 0 of them for nothing to happen."""
        if n_codes:
            self.flush()
        at_once = self._buffer.size // self.encoding.bytes_per_code
        for start in range(0, n_codes, at_once):
            n = min(n_codes - start, at_once)
            self._room(n * self.encoding.bytes_per_code)[:] = silence(n, self.encoding)

    def flush(self, channel: int | None = None) -> None:
        """Encode what has been read; of one channel only, where that is given."""
        if self._form is None or self._kind is None or not self._frames:
            return
        width, _, channels, block = self._kind
        octets = self._buffer[: self._used].reshape(self._frames, channels, width)
        if channel is not None:
            octets = octets[:, channel : channel + 1]
        out = self._room(self._frames * octets.shape[1] * self.encoding.bytes_per_code)
        self._frames = self._used = 0
        encode_pcm(octets, self._form, self.encoding, block=block, out=out)
