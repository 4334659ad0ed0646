"""Chunks -> frames: the inverse of a build, of one stream or one recording, piece by piece or whole."""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

import numpy as np

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError, printable
from audiochunk.reader.location import stream_of
from audiochunk.signal.interleave import deinterleave
from audiochunk.signal.packing import unpack
from audiochunk.signal.quantize import Codes, Samples, code_dtype, dequantize, silence
from audiochunk.storage.recordings import RecordingRow

if TYPE_CHECKING:
    from audiochunk.reader.dataset import ChunkDataset

_PIECE_CODES = 2**20
_NEAR = 3  # recordings that a message names


@dataclass(frozen=True, slots=True)
class Waveform:
    """What a recording sounds like to a model.

    Attributes:
        samples: (frames, channels), int16 or int32, left-justified, as `dequantize` gives; (frames, 1) under layout
            "mono".
        sample_rate: in Hz.
    """

    samples: Samples
    sample_rate: int


class Frames:
    """The codes of one stream as frames: any range of those that are in chunks with every channel.

    Args:
        ds: the split, or a view of it.
        row: one of `ds.recordings`.
        chunks: of the stream's first so many chunks; None means all.
        incomplete: whether frames that lack some channels count as well. What is not there is silence.

    Attributes:
        frames: how many there are.
        channels: of the stream; 1 under layouts "mono" and "split".
        codes: of the stream that are in these chunks, padding left out.
    """

    def __init__(
        self, ds: "ChunkDataset", row: RecordingRow, *, chunks: int | None = None, incomplete: bool = False
    ) -> None:
        self._ds, self._first_chunk = ds.whole, row.first_chunk
        self._encoding = ds.encoding
        self._stream = stream_of(row, self._encoding)
        self.channels = self._stream.channels
        self.codes = self._stream.real_codes(0, row.chunks if chunks is None else chunks)
        self.frames = self._stream.frames_in(self.codes, incomplete=incomplete)

    def read(self, start: int, frames: int) -> Codes:
        """Frames from `start` on: (frames, channels) codes.

        Raises:
            IndexError: they are not all there.
            DatasetError: a shard is missing or damaged.
        """
        if not 0 <= start <= start + frames <= self.frames:
            raise IndexError(f"frames {start} to {start + frames} of {self.frames}")
        if self.channels == 1:
            return self._codes(start, frames)[:, None]
        out = np.empty((frames, self.channels), code_dtype(self._encoding.bits))
        at = 0
        while at < frames:
            at += self._read_groups(start + at, out[at:]) or self._read_block(start + at, out[at:])
        return out

    def pieces(self) -> Iterator[Codes]:
        """All frames in order, about a million codes at a time."""
        step = max(1, _PIECE_CODES // self.channels)
        if self._stream.block < step:
            step -= step % self._stream.block
        for start in range(0, self.frames, step):
            yield self.read(start, min(step, self.frames - start))

    def _read_groups(self, start: int, out: Codes) -> int:
        """As many whole blocks of every channel as begin at frame `start` and fit; how many frames they have."""
        block, left = self._stream.block, self._stream.frames - start
        n = left if left <= len(out) else len(out) // block * block
        if start % block or n == 0:
            return 0
        codes = self._codes(start * self.channels, n * self.channels)
        out[:n] = deinterleave(codes, channels=self.channels, block=block)
        return n

    def _read_block(self, start: int, out: Codes) -> int:
        """What fits of the blocks around frame `start`, channel by channel; how many frames that is."""
        offset = start % self._stream.block
        first = start - offset
        block = min(self._stream.block, self._stream.frames - first)
        n = min(block - offset, len(out))
        for channel in range(self.channels):
            out[:n, channel] = self._codes(first * self.channels + channel * block + offset, n)
        return n

    def _codes(self, first: int, n: int) -> Codes:
        """So many codes of the stream: 1-D; silence beyond those that are there."""
        there = max(0, min(n, self.codes - first))
        size = self._encoding.codes_per_chunk
        begin, end = first // size, -(-(first + there) // size) if there else first // size
        if size > _PIECE_CODES:
            codes = self._of_long_chunks(first, there)
        else:
            numbers = np.arange(self._first_chunk + begin, self._first_chunk + end)
            codes = unpack(self._ds.gather(numbers), self._encoding).reshape(-1)[first - begin * size :][:there]
        if there == n:
            return codes
        filled = np.full(n, silence(bits=self._encoding.bits), codes.dtype)
        filled[:there] = codes
        return filled

    def _of_long_chunks(self, first: int, n: int) -> Codes:
        """The same from views of chunks, of which no more than what is wanted is read."""
        size = self._encoding.codes_per_chunk
        per_code = self._ds.width // size
        parts = [np.zeros(0, code_dtype(self._encoding.bits))]
        at = first
        while at < first + n:
            number, offset = divmod(at, size)
            stop = min(size, offset + first + n - at)
            stored = self._ds[self._first_chunk + number][offset * per_code : stop * per_code]
            parts.append(unpack(stored, self._encoding))
            at += stop - offset
        return np.concatenate(parts)


def chunk_samples(ds: "ChunkDataset", i: int) -> Samples | list[Samples]:
    """The samples of chunk `i` without its padding.

    Args:
        ds: a split, or a view of it.
        i: number of the chunk in it.

    Returns:
        (frames, channels), left-justified; (frames, 1) under layouts "mono" and "split". Of a chunk that is not
        aligned, a list of 1-D arrays instead, one for each of `ds.locate(i).channels`.
    """
    location, encoding = ds.locate(i), ds.encoding
    stream = stream_of(location.recording, encoding)
    samples = dequantize(ds.codes(i), bits=encoding.bits, quantizer=encoding.quantizer)
    if encoding.is_aligned(stream.channels):
        return deinterleave(samples, channels=stream.channels, block=stream.block)
    parts: dict[int, list[Samples]] = {channel: [] for channel in location.channels}
    at = 0
    for span in stream.spans(location.chunk, 1, max_frames=location.recording.frames):
        if span.channel is not None:
            parts[span.channel].append(samples[at : at + span.frames])
            at += span.frames
            continue
        n = span.frames * stream.channels
        block = deinterleave(samples[at : at + n], channels=stream.channels, block=span.block)
        for channel in location.channels:
            parts[channel].append(block[:, channel])
        at += n
    return [np.concatenate(parts[channel]) for channel in location.channels]


def sample_pieces(streams: Sequence[Frames], encoding: Encoding) -> Iterator[Samples]:
    """The samples of a recording in order: pieces of (frames, channels), left-justified.

    Args:
        streams: of the recording: one, or under layout "split" those of all channels in order.
        encoding: of the chunks.
    """
    for pieces in zip(*(stream.pieces() for stream in streams), strict=True):
        codes = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
        yield dequantize(codes, bits=encoding.bits, quantizer=encoding.quantizer)


def rows_named(rows: Iterable[RecordingRow], path: str | bytes | os.PathLike[str], *, where: str) -> list[RecordingRow]:
    """The rows of one recording: one, or under layout "split" one a channel.

    Args:
        rows: of a recordings table.
        path: of the recording, as in the table or as it is printed.
        where: what the table is of, for the message.

    Raises:
        ConfigError: there is no such recording, or what is printed for several.
    """
    name = os.fsencode(path)
    text = os.fsdecode(name)
    part = os.path.splitext(os.path.basename(text))[0].casefold()
    found, near = [], dict[str, None]()
    for row in rows:
        if row.path_bytes == name or text in (row.path, printable(row.path_bytes)):
            found.append(row)
        elif part in row.path.casefold() and len(near) < _NEAR:
            near[printable(row.path_bytes)] = None
    exact = [row for row in found if row.path_bytes == name] or found
    if not exact:
        like = f"; there is {', '.join(near)}" if near else "; recordings.jsonl lists them"
        raise ConfigError(f"there is no recording {printable(name)!r} in {where}{like}")
    if len({row.path_bytes for row in exact}) > 1:
        raise ConfigError(f"there are several recordings that are printed as {printable(name)!r} in {where}")
    return exact


def decode(ds: "ChunkDataset", path: str | bytes | os.PathLike[str]) -> Waveform:
    """What all chunks of a recording sound like together; see `ChunkDataset.decode`."""
    name = os.fsencode(path)
    rows: list[RecordingRow] = []
    for start, stop in pairwise([*(ds.recordings.restarts if ds.manifest.generations > 1 else [0]), None]):
        part = ds.recordings[start:stop]
        first = bisect_left(part, name, key=lambda row: row.path_bytes)
        rows += takewhile(lambda row: row.path_bytes == name, part[first:])
    # By the name that it is printed under, only looking at all of them finds it.
    rows = rows or rows_named(ds.recordings, path, where=f"split {ds.split}")
    if rows[0].error is not None:
        raise ConfigError(f"{printable(rows[0].path_bytes)} was refused: {printable(rows[0].error)}")
    streams = [Frames(ds, row) for row in rows]
    pieces = list(sample_pieces(streams, ds.encoding))
    if not pieces:
        silent = np.zeros((0, sum(stream.channels for stream in streams)), code_dtype(ds.encoding.bits))
        pieces = [dequantize(silent, bits=ds.encoding.bits, quantizer=ds.encoding.quantizer)]
    return Waveform(np.concatenate(pieces), rows[0].sample_rate)
