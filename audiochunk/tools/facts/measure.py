"""What is measured of each stream, as its chunks go by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.location import stream_of
from audiochunk.signal.packing import unpack
from audiochunk.signal.quantize import Codes, silence
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts.channels import Channels
from audiochunk.tools.facts.source import is_cut, origin
from audiochunk.tools.facts.stats import columns_of
from audiochunk.tools.facts.tally import Counts, Tally

_PIECE_CODES = 2**20
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
    needs_extremes = needs_hashes or "silence" in task.stats
    needs_counts = not _BY_CODE.isdisjoint(task.stats)
    at = 0
    for number, row in enumerate(task.rows):
        tally, channels, found = Tally(encoding), Channels(ds, row, task.stats), dict.fromkeys(columns, 0)
        for chunks, real in _pieces(ds, row):
            codes = unpack(chunks, encoding)
            stream = codes.reshape(-1)[:real]
            found["samples"] += real
            for start in range(0, real if needs_counts else 0, _PIECE_CODES):
                tally.add(stream[start : start + _PIECE_CODES])
            channels.add(stream)
            extremes = (codes.min(axis=1), codes.max(axis=1)) if needs_extremes else None
            if extremes is not None and "silence" in task.stats:
                _count_silence(found, codes, extremes, real=real, zero=silence(bits=encoding.bits))
            if extremes is not None and needs_hashes:
                stop = at + len(chunks)
                hashes[at:stop] = [xxhash.xxh3_64_intdigest(chunk) for chunk in chunks]
                constants[at:stop] = np.where(extremes[0] == extremes[1], extremes[0].astype(np.int32), -1)
                at = stop
        tally.finish()
        if "codes" in task.stats:
            histogram[tally.values] += tally.counts
        values = found | _of_codes(tally, row) | channels.finish(tally.effective_bits)
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
        # One chunk is not copied: it may be a large one.
        chunks = ds.gather(np.arange(first, first + n)) if n > 1 else ds[first][None]
        yield chunks, stream.real_codes(at, n)


def _count_silence(found: dict[str, Any], codes: Codes, extremes: tuple[Codes, Codes], *, real: int, zero: int) -> None:
    """Count the chunks without sound of a piece.

    Args:
        found: what is added to.
        codes: (chunks, codes of a chunk).
        extremes: smallest and largest of each chunk.
        real: how many of the codes are no padding.
        zero: the code of silence.
    """
    whole, rest = divmod(real, codes.shape[1])
    low, high = extremes[0][:whole], extremes[1][:whole]
    if rest:
        last = codes[whole, :rest]
        low, high = np.append(low, last.min()), np.append(high, last.max())
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
