"""What is measured of each stream: of its codes in any order, and of its frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from audiochunk.config import Encoding
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames
from audiochunk.reader.location import stream_of
from audiochunk.signal.packing import unpack
from audiochunk.signal.quantize import Codes, dequantize, silence
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts.full_scale import RunCounter
from audiochunk.tools.facts.source import is_cut, limits, origin
from audiochunk.tools.facts.stats import columns_of
from audiochunk.tools.facts.tally import Counts, Tally

_PIECE_CODES = 2**20
_FIRST_FRAMES = 2**12  # enough to tell most channels apart
# Stats that follow from how often which codes occur.
_BY_CODE = frozenset({"depth", "silence", "dc", "clipping", "loudness", "codes"})


@dataclass(frozen=True, slots=True)
class Task:
    """Streams of one split that follow each other.

    Attributes:
        ds: the split.
        first: number of the first row among all that are surveyed.
        rows: of the streams.
        stats: what to measure.
    """

    ds: ChunkDataset
    first: int
    rows: Sequence[RecordingRow]
    stats: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rows[0].path} and {len(self.rows) - 1} more" if len(self.rows) > 1 else self.rows[0].path


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found.

    Attributes:
        first: as in the task.
        columns: by name, a value for each row.
        histogram: how often each code occurs; of 24-bit codes the upper 16 bits.
        hashes: (chunks,) uint64, xxh3-64 of each chunk.
        constants: (chunks,) int32, the code that is all there is in a chunk, padding included, or -1.
        chunks: how many were looked at.
    """

    first: int
    columns: dict[str, npt.NDArray[Any]]
    histogram: Counts
    hashes: npt.NDArray[np.uint64]
    constants: npt.NDArray[np.int32]
    chunks: int


def hashes_needed(stats: Sequence[str], layout: str) -> bool:
    """Whether chunks have to be compared: under layout "split", channels are recordings of their own."""
    return "duplicates" in stats or ("channels" in stats and layout == "split")


def measure(task: Task) -> Measured:
    """All stats of all streams of a task, but those for which streams are compared with each other."""
    ds, encoding = task.ds, task.ds.encoding
    needs_hashes = hashes_needed(task.stats, encoding.layout)
    n_chunks = sum(row.chunks for row in task.rows)
    histogram = np.zeros(2 ** min(16, encoding.bits) if "codes" in task.stats else 0, np.int64)
    hashes = np.zeros(n_chunks if needs_hashes else 0, np.uint64)
    constants = np.zeros(len(hashes), np.int32)
    columns = {name: np.zeros(len(task.rows), dtype) for name, dtype in columns_of(task.stats).items()}
    at = 0
    for number, row in enumerate(task.rows):
        tally, found = Tally(encoding), dict.fromkeys(columns, 0)
        for chunks, real in _pieces(ds, row):
            codes = unpack(chunks, encoding)
            found["samples"] += real
            if _BY_CODE.intersection(task.stats):
                tally.add(codes.reshape(-1)[:real])
            if "silence" in task.stats:
                _count_silence(found, codes, real=real, zero=silence(bits=encoding.bits))
            if needs_hashes:
                stop = at + len(chunks)
                hashes[at:stop] = [xxhash.xxh3_64_intdigest(chunk) for chunk in chunks]
                constants[at:stop] = np.where((codes == codes[:, :1]).all(axis=1), codes[:, 0].astype(np.int32), -1)
                at = stop
        tally.finish()
        if "codes" in task.stats:
            histogram[tally.values] += tally.counts
        frames = Frames(ds, row)
        values = found | _of_codes(tally, row) | _of_frames(frames, tally, row, task.stats)
        if "dc" in task.stats and frames.channels > 1:
            values["dc"] = _furthest_mean(frames, encoding, is_cut=is_cut(row, encoding))
        for name, column in columns.items():
            column[number] = values[name]
    return Measured(task.first, columns, histogram, hashes, constants, n_chunks)


def _pieces(ds: ChunkDataset, row: RecordingRow) -> Iterator[tuple[npt.NDArray[Any], int]]:
    """The chunks of a stream, about a million codes at a time, and how many of their codes are real."""
    stream = stream_of(row, ds.encoding)
    step = max(1, _PIECE_CODES // ds.encoding.codes_per_chunk)
    for at in range(0, row.chunks, step):
        n = min(step, row.chunks - at)
        first = row.first_chunk + at
        yield ds.gather(np.arange(first, first + n)), stream.real_codes(at, n)


def _count_silence(found: dict[str, Any], codes: Codes, *, real: int, zero: int) -> None:
    """Count the chunks without sound of a piece: (chunks, codes of a chunk), of which `real` are no padding."""
    whole, rest = divmod(real, codes.shape[1])
    for part in (codes[:whole], codes[whole:, :rest]):
        if not part.size:
            continue
        low, high = part.min(axis=1), part.max(axis=1)
        found["constant_chunks"] += int((low == high).sum())
        found["silent_chunks"] += int(((low == zero) & (high == zero)).sum())
        found["quiet_chunks"] += int(((low >= zero - 1) & (high <= zero)).sum())


def _of_codes(tally: Tally, row: RecordingRow) -> dict[str, Any]:
    encoding = tally.encoding
    dc, rms, peak = tally.levels(is_cut=is_cut(row, encoding))
    found = {"silent_samples": tally.silent, "dc": dc, "rms": rms, "peak": peak, "entropy": tally.entropy}
    if encoding.quantizer != "linear":
        return found | {"effective_bits": 0, "distinct": len(tally.values), "origin": ""}
    codes = tally.codes
    distinct = -1 if codes is None else len(codes)
    of = ""
    if codes is not None and encoding.bits > 8:
        of = origin(codes, 12 if encoding.bits == 12 else 16, n=tally.n - tally.silent)
    return found | {"effective_bits": tally.effective_bits, "distinct": distinct, "origin": of}


def _of_frames(frames: Frames, tally: Tally, row: RecordingRow, stats: Sequence[str]) -> dict[str, int]:
    """What depends on which channel a code is of, and on which is next to it; frames are read as far as need be."""
    low, high = limits(row, tally.encoding, tally.effective_bits)
    clips = "clipping" in stats and tally.n > 0 and (tally.low <= low or tally.high >= high)
    channels = Channels(frames.channels) if "channels" in stats and frames.channels > 1 else None
    runs = [RunCounter(frames.channels) for _ in range(2)]
    for piece in _growing(frames) if clips or channels is not None else ():
        if clips:
            runs[0].add(piece <= low)
            runs[1].add(piece >= high)
        if channels is not None and not channels.are_all_different:
            channels.add(piece)
        elif not clips:
            break
    counted = [counter.finish() for counter in runs]
    return {
        "clipped_runs": sum(n for n, _ in counted),
        "clipped_samples": sum(samples for _, samples in counted),
        "copied_channels": 0 if channels is None else channels.copied,
        "constant_channels": 0 if channels is None else channels.constant,
    }


def _furthest_mean(frames: Frames, encoding: Encoding, *, is_cut: bool) -> float:
    """The mean of the channel whose mean is furthest from 0, full scale being 1; NaN without frames."""
    sums, sounds = np.zeros(frames.channels), np.zeros(frames.channels, np.bool_)
    for piece in frames.pieces():
        sounds |= (piece != silence(bits=encoding.bits)).any(axis=0)
        if encoding.quantizer == "linear":
            sums += piece.sum(axis=0, dtype=np.int64) - len(piece) * silence(bits=encoding.bits)
        else:
            samples = dequantize(piece, bits=encoding.bits, quantizer="mulaw")
            sums += samples.sum(axis=0, dtype=np.int64) / 2.0**31
    if not frames.frames:
        return float("nan")
    means = sums / frames.frames
    if encoding.quantizer == "linear":
        means = (means + (0.5 if is_cut else 0.0)) / silence(bits=encoding.bits)
    means[~sounds] = 0  # silence is no step whose middle could be meant
    return float(means[np.abs(means).argmax()])


def _growing(frames: Frames) -> Iterator[Codes]:
    """All frames in pieces of (frames, channels): a small one first, which is often enough."""
    most = max(1, _PIECE_CODES // frames.channels)
    at, n = 0, min(most, _FIRST_FRAMES)
    while at < frames.frames:
        n = min(n, frames.frames - at)
        yield frames.read(at, n)
        at, n = at + n, most


class Channels:
    """Which channels of a recording are the same, and which are one value throughout.

    Args:
        n: how many there are.
    """

    def __init__(self, n: int) -> None:
        self._groups = [0] * n  # channels with the same number were the same so far
        self._first: Codes | None = None
        self._is_constant = np.ones(n, np.bool_)

    def add(self, piece: Codes) -> None:
        """Look at a piece: (frames, channels), at least one frame."""
        if self._first is None:
            self._first = piece[0]
        known: dict[tuple[int, bytes], int] = {}
        columns = zip(self._groups, piece.T, strict=True)
        self._groups = [known.setdefault((group, column.tobytes()), len(known)) for group, column in columns]
        if self._is_constant.any():
            self._is_constant &= (piece == self._first).all(axis=0)

    @property
    def are_all_different(self) -> bool:
        """Whether nothing that follows can change the result."""
        return len(set(self._groups)) == len(self._groups) and not self._is_constant.any()

    @property
    def constant(self) -> int:
        """How many are one value throughout."""
        return 0 if self._first is None else int(self._is_constant.sum())

    @property
    def copied(self) -> int:
        """How many are the same as one before them; constant ones are not counted."""
        moving = [group for group, still in zip(self._groups, self._is_constant, strict=True) if not still]
        return 0 if self._first is None else len(moving) - len(set(moving))
