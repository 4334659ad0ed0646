"""Codes <-> chunks: counting, cutting, padding, and which frames lie behind a chunk."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding

Scalar = TypeVar("Scalar", bound=np.generic)


def cut(codes: npt.NDArray[Scalar], *, size: int, fill: int | None = None) -> npt.NDArray[Scalar]:
    """Cut a stream into chunks without overlap.

    Args:
        codes: 1-D, any dtype.
        size: codes in a chunk.
        fill: the code that completes the last chunk; None drops an incomplete one.

    Returns:
        (n, size), same dtype.

    >>> cut(np.array([1, 2, 3]), size=2).tolist(), cut(np.array([1, 2, 3]), size=2, fill=0).tolist()
    ([[1, 2]], [[1, 2], [3, 0]])
    """
    if fill is None:
        return codes[: codes.size // size * size].reshape(-1, size)
    chunks = np.full((-(-codes.size // size), size), fill, codes.dtype)
    chunks.reshape(-1)[: codes.size] = codes
    return chunks


def join(chunks: npt.NDArray[Scalar], *, n_codes: int) -> npt.NDArray[Scalar]:
    """Undo `cut`, but for what it dropped: the first `n_codes` codes of (n, size) chunks, or as many as there are."""
    return chunks.reshape(-1)[:n_codes]


class Span(msgspec.Struct, frozen=True, gc=False):
    """Frames that are read at once, and what of them goes into the stream.

    Attributes:
        start: the first frame.
        frames: how many.
        block: the block to interleave all channels with, where `channel` is None.
        channel: the only channel that is used, or None for all.
    """

    start: int
    frames: int
    block: int
    channel: int | None


class Stream(msgspec.Struct, frozen=True, gc=False):
    """The shape of one stream of codes: a recording's, or one channel's under layout "split".

    Code number p lies in group p // (block * channels), a group being one block of every channel; the last group is
    shorter where `frames` is no multiple of `block`.

    Attributes:
        frames: of the recording.
        channels: that the stream interleaves; 1 under layouts "mono" and "split".
        block: samples of one channel in a block.
        codes_per_chunk: codes in a chunk.
        pads: whether an incomplete last chunk is padded rather than dropped.
    """

    frames: int
    channels: int
    block: int
    codes_per_chunk: int
    pads: bool

    @classmethod
    def of(cls, frames: int, channels: int, encoding: Encoding) -> "Stream":
        """The shape of each stream of a recording with so many frames and channels."""
        channels = channels if encoding.layout == "blocks" else 1
        return cls(frames, channels, encoding.block_for(channels), encoding.codes_per_chunk, encoding.tail == "pad")

    @staticmethod
    def count_chunks(frames: int, channels: int, encoding: Encoding) -> int:
        """What `n_chunks` of the stream `of` the same is, in a quarter of the time."""
        codes = frames * channels if encoding.layout == "blocks" else frames
        whole, rest = divmod(codes, encoding.codes_per_chunk)
        return whole + (1 if rest and encoding.tail == "pad" else 0)

    @property
    def n_codes(self) -> int:
        """Codes of the whole stream, dropped ones included."""
        return self.frames * self.channels

    @property
    def n_chunks(self) -> int:
        """Chunks that the stream is cut into."""
        whole, rest = divmod(self.n_codes, self.codes_per_chunk)
        return whole + (1 if rest and self.pads else 0)

    def real_codes(self, first_chunk: int, n_chunks: int) -> int:
        """Codes in a run of chunks that stand for samples; the others are padding."""
        start = first_chunk * self.codes_per_chunk
        return max(0, min(n_chunks * self.codes_per_chunk, self.n_codes - start))

    @property
    def whole_frames(self) -> int:
        """Frames that are in chunks with every channel; they are the first ones of the recording."""
        return self.frames_in(self.real_codes(0, self.n_chunks))

    def frames_in(self, n_codes: int, *, incomplete: bool = False) -> int:
        """Frames that the first `n_codes` codes have every channel of, or with `incomplete` any; the first ones.

        Args:
            n_codes: at most all of the stream's.
            incomplete: whether frames that lack some channels count.
        """
        if self.channels == 1:
            return n_codes
        groups, rest = divmod(n_codes, self.block * self.channels)
        start = groups * self.block
        block = min(self.block, self.frames - start)
        return start + (min(rest, block) if incomplete else max(0, rest - (self.channels - 1) * block))

    def position(self, code: int) -> tuple[int, int]:
        """(frame, channel) of the sample behind code number `code`."""
        group, offset = divmod(code, self.block * self.channels)
        start = group * self.block
        channel, within = divmod(offset, min(self.block, self.frames - start))
        return start + within, channel

    def spans(self, first_chunk: int, n_chunks: int, *, max_frames: int) -> Iterator[Span]:
        """What to read, in order, to get the real codes of a run of chunks, and no frame beyond them.

        Whole groups come many at a time; the pieces of a group that a chunk boundary cuts, or that is longer than
        `max_frames`, come channel by channel.

        Args:
            first_chunk: number of the first chunk in the stream.
            n_chunks: how many chunks.
            max_frames: the most frames in one span, at least 1.
        """
        at = first_chunk * self.codes_per_chunk
        end = min(at + n_chunks * self.codes_per_chunk, self.frames * self.channels)
        group = self.block * self.channels
        while at < end:
            number, offset = divmod(at, group)
            start = number * self.block
            block = min(self.block, self.frames - start)
            if self.channels == 1:
                frames = min(end - at, max_frames)
                yield Span(at, frames, frames, None)
                at += frames
            elif offset == 0 and end - at >= block * self.channels and block <= max_frames:
                groups = max(1, min((end - at) // group, max_frames // block))
                frames = min(groups * block, self.frames - start)
                yield Span(start, frames, block, None)
                at += frames * self.channels
            else:
                channel, within = divmod(offset, block)
                frames = min(block - within, end - at, max_frames)
                yield Span(start + within, frames, frames, channel)
                at += frames
