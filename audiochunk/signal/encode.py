"""Samples <-> chunks of a whole stream: every step of this package in its order."""

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.signal.chunking import Span, Stream, cut, join
from audiochunk.signal.interleave import deinterleave, interleave, mix_down
from audiochunk.signal.packing import pack, unpack
from audiochunk.signal.quantize import Samples, dequantize, quantize, silence


def encode(samples: Samples, encoding: Encoding, *, channel: int | None = None) -> npt.NDArray[np.uint8]:
    """All chunks of one stream of a recording.

    Args:
        samples: (frames, channels), int16 or int32, left-justified.
        encoding: how.
        channel: which channel, under layout "split".

    Returns:
        (n, chunk_bytes), uint8.
    """
    frames, channels = samples.shape
    stream = Stream.of(frames, channels, encoding)
    span = Span(0, stream.frames, stream.block, None)
    codes = quantize(
        arrange(samples, span, encoding, channel=channel),
        bits=encoding.bits,
        quantizer=encoding.quantizer,
    )
    fill = silence(bits=encoding.bits) if stream.pads else None
    return pack(cut(codes, size=stream.codes_per_chunk, fill=fill), encoding)


def decode(
    chunks: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    encoding: Encoding,
    *,
    frames: int,
    channels: int,
) -> Samples:
    """The samples behind all chunks of one stream: those frames that are there with every channel, padding cut off.

    Args:
        chunks: (n, chunk_bytes) uint8, or (n, chunk_bytes / 2) uint16 where they are stored so.
        encoding: as encoded with.
        frames: of the recording.
        channels: of the recording.

    Returns:
        (frames that are whole, channels), or (…, 1) under layouts "mono" and "split"; dtype as `dequantize` gives.
    """
    stream = Stream.of(frames, channels, encoding)
    whole = stream.whole_frames
    codes = join(unpack(chunks, encoding), n_codes=stream.n_codes)
    samples = dequantize(codes, bits=encoding.bits, quantizer=encoding.quantizer)
    # A group that is cut off in its last channel is padded here, so that it can be undone, and cut off below.
    group = min(stream.block, frames - whole // stream.block * stream.block)
    n = (whole // stream.block * stream.block + (group if whole % stream.block else 0)) * stream.channels
    samples = np.concatenate([samples[:n], np.zeros(max(0, n - samples.size), samples.dtype)])
    return deinterleave(samples, channels=stream.channels, block=stream.block)[:whole]


def arrange(samples: Samples, span: Span, encoding: Encoding, *, channel: int | None = None) -> Samples:
    """What of the frames of a span goes into a stream, in its order.

    Args:
        samples: (span.frames, channels).
        span: of the stream.
        encoding: gives the layout.
        channel: which channel the stream is of, under layout "split".

    Returns:
        1-D, same dtype.
    """
    if encoding.layout == "mono":
        return mix_down(samples)[:, 0]
    if encoding.layout == "split":
        return samples[:, channel]
    if span.channel is not None:
        return samples[:, span.channel]
    return interleave(samples, block=span.block)
