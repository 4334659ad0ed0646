"""The chunks that one recording has in one shard: read or decoded, and encoded."""

import os
import time
from collections.abc import Generator
from contextlib import closing, nullcontext
from functools import lru_cache
from typing import Protocol

import msgspec
import numpy as np

from audiochunk.config import Encoding
from audiochunk.errors import PassingRecordingError, RecordingError, printable
from audiochunk.pipeline.inputs import opened_input
from audiochunk.pipeline.interrupts import uninterrupted
from audiochunk.pipeline.scan import Scanned
from audiochunk.signal.audio import AudioInfo, Recording
from audiochunk.signal.chunking import Span, Stream
from audiochunk.signal.encode import arrange
from audiochunk.signal.encoder import Encoder
from audiochunk.signal.floats import Decoded, Mask
from audiochunk.signal.opening import check_regular, modified_ns, open_file
from audiochunk.signal.packing import pack, silence
from audiochunk.signal.pcm import Octets, is_direct
from audiochunk.signal.quantize import quantize
from audiochunk.signal.source import ByteSource, Source, close, duplicate

_DECODED_AT_ONCE = 2**16  # frames
_PADDED_AT_ONCE = 2**16  # codes


class Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A run of chunks of one stream of one recording.

    Attributes:
        recording: which one, as the scan found it: it must not have changed since.
        channel: of the stream under layout "split", else None.
        first: the first chunk, counted in the stream.
        chunks: how many.
    """

    recording: Scanned
    channel: int | None
    first: int
    chunks: int

    @property
    def path(self) -> bytes:
        """Of the recording, relative to the input folder."""
        return self.recording.path

    @property
    def info(self) -> AudioInfo:
        """What the recording holds.

        Raises:
            ValueError: it cannot be used, so that it has no chunks.
        """
        if self.recording.info is None:
            raise ValueError(f"{printable(self.path)}: {self.recording.error}")
        return self.recording.info

    def stream(self, encoding: Encoding) -> Stream:
        """The shape of the stream that the chunks are of."""
        return Stream.of(self.info.frames, self.info.channels, encoding)


class Opener(Protocol):
    """An input folder that is none of this machine."""

    def open(self, part: Part) -> ByteSource:
        """The recording that a part is of.

        Raises:
            RecordingError: it is not there, or not the one that was scanned.
            MachineError: that could not be told.
        """


def write_part(part: Part, encoder: Encoder, *, root: bytes, folder: int | Opener | None) -> int:
    """Give an encoder the chunks of a part.

    Args:
        part: the chunks.
        encoder: it may hold the end of them back until more come.
        root: the input folder.
        folder: the input folder, open: looking a name up from there is quicker. None if it could not be opened.

    Returns:
        How many samples lay beyond full scale.

    Raises:
        RecordingError: the recording changed since it was scanned, or cannot be decoded.
    """
    form, channels = part.info.form, part.info.channels
    stream = part.stream(encoder.encoding)
    clipped = 0
    source = _open(part, root, folder)
    try:
        if form is not None and is_direct(form, encoder.encoding, channels=channels):
            max_frames = encoder.max_frames(form, channels)
            for span in stream.spans(part.first, part.chunks, max_frames=max_frames):
                encoder.add(source, part.path, form, span, channels=channels, channel=part.channel)
        else:
            max_frames = encoder.max_frames(None, channels)
            with closing(_decode(source, part, stream, max_frames)) as spans:
                for span, decoded in spans:
                    clipped += _count(decoded.clipped, span, part)
                    encoder.add_samples(decoded.samples, span, channel=part.channel)
    except RecordingError:
        _check_unchanged(source, part)
        raise
    else:
        # One look, afterwards, tells of a file that was another one already and of one that changed while it was read.
        _check_unchanged(source, part)
    finally:
        os.close(source) if isinstance(source, int) else source.close()
    encoder.pad(_padding(stream, part))
    return clipped


def encode_part(part: Part, encoding: Encoding, *, root: bytes) -> Generator[tuple[Octets, int], None, None]:
    """The bytes of a part's chunks, piece by piece, each with the number of its samples beyond full scale.

    Every step is taken the plain way, so that what `write_part` makes can be compared with it.

    Raises:
        RecordingError: the recording changed since it was scanned, or cannot be decoded.
    """
    stream = part.stream(encoding)
    with opened_input(root, (part,), encoding) as folder:
        source = _open(part, root, folder)
        try:
            with closing(_decode(source, part, stream, _DECODED_AT_ONCE)) as spans:
                for span, decoded in spans:
                    samples = arrange(decoded.samples, span, encoding, channel=part.channel)
                    codes = quantize(samples, bits=encoding.bits, quantizer=encoding.quantizer)
                    yield pack(codes, encoding), _count(decoded.clipped, span, part)
            padding = _padding(stream, part)
            for start in range(0, padding, _PADDED_AT_ONCE):
                yield silence(min(padding - start, _PADDED_AT_ONCE), encoding), 0
            _check_unchanged(source, part)
        finally:
            close(source)


@lru_cache(maxsize=256)
def reason_of(recording: Scanned, encoding: Encoding, *, root: bytes) -> str:
    """Why a recording cannot be decoded, of which a part could not: the same, whatever part that was.

    Decoders say of damage what they find where they begin. So it is decoded from its first chunk on: once in each
    process, for it may be long, and have parts in many shards.

    Raises:
        PassingRecordingError: for a reason that may pass.
    """
    start = Part(recording, None, 0, 0)
    chunks = start.stream(encoding).n_chunks
    try:
        for channel in encoding.streams(start.info.channels):
            whole = msgspec.structs.replace(start, channel=channel, chunks=chunks)
            for _ in encode_part(whole, encoding, root=root):
                pass
    except PassingRecordingError:
        raise
    except RecordingError as error:
        return str(error.args[1])
    return "can be decoded from its beginning on, but not piece by piece"


def _open(part: Part, root: bytes, folder: int | Opener | None) -> Source:
    if folder is None or isinstance(folder, int):
        return open_file(part.path if folder is not None else os.path.join(root, part.path), dir_fd=folder)
    return folder.open(part)


def _decode(source: Source, part: Part, stream: Stream, max_frames: int) -> Generator[tuple[Span, Decoded], None, None]:
    """The spans of a part in turn, each with its samples."""
    is_file = isinstance(source, int)
    if is_file:
        _check_unchanged(source, part)  # of an object, this would be one more request
    with Recording(duplicate(source), part.info, part.path) as recording:
        for span in stream.spans(part.first, part.chunks, max_frames=max_frames):
            with nullcontext() if is_file else uninterrupted():
                decoded = recording.read(span.start, span.frames)
            if _count(decoded.invalid, span, part):
                raise RecordingError(part.path, "holds NaN or infinite samples")
            yield span, decoded


def _padding(stream: Stream, part: Part) -> int:
    """Codes that complete the last chunk of a part."""
    return part.chunks * stream.codes_per_chunk - stream.real_codes(part.first, part.chunks)


def _check_unchanged(source: Source, part: Part) -> None:
    if not isinstance(source, int):
        source.check()
        return
    now = os.fstat(source)
    check_regular(now, part.path)
    if (now.st_size, modified_ns(now)) != (part.recording.bytes, part.recording.mtime_ns):
        then, found = f"{part.recording.bytes:,} bytes", f"{now.st_size:,}"
        if now.st_size == part.recording.bytes:
            then, found = f"last written {_when(part.recording.mtime_ns)}", _when(modified_ns(now))
        raise PassingRecordingError(
            part.path, f"changed while the dataset was built: {then} when it was scanned, {found} now"
        )


def _when(ns: int) -> str:
    """A time in words, to its last digit: files may have been written one after the other.

    >>> _when(1_500_000_000)
    '1970-01-01 00:00:01.5 UTC'
    """
    seconds, rest = divmod(ns, 10**9)
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}{fraction} UTC"


def _count(mask: Mask | None, span: Span, part: Part) -> int:
    """How many of the samples that a span puts into the stream are marked."""
    if mask is None:
        return 0
    channel = part.channel if span.channel is None else span.channel
    return int(np.count_nonzero(mask if channel is None else mask[:, channel]))
