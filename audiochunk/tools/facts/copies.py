"""Chunks and recordings that are there more than once, exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.recordings import Recordings

Numbers = npt.NDArray[np.int64]

_BATCH_BYTES = 2**24  # of chunks that are compared at once


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the chunks of all streams that are surveyed lie when those of all splits are put one after the other.

    Attributes:
        rows: of the streams, split by split.
        split: (rows,) number of each row's split.
        first: (rows,) number of its first chunk.
        chunks: (rows,) how many it has.
        recording: (rows,) number of its recording; only under layout "split" do several rows share one.
        offsets: first chunk of every split, and the number of all.
    """

    rows: Recordings
    split: Numbers
    first: Numbers
    chunks: Numbers
    recording: Numbers
    offsets: Numbers

    @classmethod
    def of(cls, datasets: Sequence[ChunkDataset]) -> "Streams":
        """Those of the recordings that were used."""
        parts = [ds.recordings.used for ds in datasets]
        rows = Recordings.joined(parts)
        offsets = np.cumsum([0, *(len(ds) for ds in datasets)], dtype=np.int64)
        split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        recording = np.cumsum(rows.channel <= 0) - 1
        return cls(rows, split, rows.first_chunk + offsets[split], rows.chunks, recording, offsets)

    def sums(self, flags: npt.NDArray[np.bool_]) -> Numbers:
        """For each row, how many of its chunks are flagged."""
        before = np.concatenate([[0], np.cumsum(flags)])
        counts: Numbers = before[self.first + self.chunks] - before[self.first]
        return counts


def first_copies(
    hashes: npt.NDArray[np.uint64], constants: npt.NDArray[np.int32], gather: Callable[[Numbers], npt.NDArray[Any]]
) -> Numbers:
    """For each chunk the number of the first that is the same, byte for byte; for constant ones -1 - their code.

    Args:
        hashes: (chunks,) equal where chunks are equal, and seldom elsewhere.
        constants: (chunks,) the code that is all there is in a chunk, or -1.
        gather: chunks by their numbers.
    """
    same = np.arange(len(hashes), dtype=np.int64)
    same[constants >= 0] = -1 - constants[constants >= 0].astype(np.int64)
    left = np.flatnonzero(constants < 0)
    left = left[np.argsort(hashes[left], kind="stable")]
    while left.size:
        begins = np.concatenate([[True], hashes[left[1:]] != hashes[left[:-1]]])
        leaders = left[begins][np.cumsum(begins) - 1]
        others = left != leaders
        left, leaders = left[others], leaders[others]
        # In the order of the chunks, in which shards are read fastest.
        order = np.argsort(left)
        equal = np.zeros(len(left), np.bool_)
        equal[order] = _are_equal(left[order], leaders[order], gather)
        same[left[equal]] = leaders[equal]
        left = left[~equal]  # of the same hash, and yet another chunk
    return same


def _are_equal(a: Numbers, b: Numbers, gather: Callable[[Numbers], npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    equal = np.zeros(len(a), np.bool_)
    at, step = 0, 1
    while at < len(a):
        stop = min(at + step, len(a))
        chunks = gather(a[at:stop])
        equal[at:stop] = (chunks == gather(b[at:stop])).all(axis=1)
        step = max(1, _BATCH_BYTES * len(chunks) // chunks.nbytes)
        at = stop
    return equal


def gatherer(datasets: Sequence[ChunkDataset], offsets: Numbers) -> Callable[[Numbers], npt.NDArray[Any]]:
    """What takes chunks of several splits by the numbers that they have when the splits are put one after the other."""

    def gather(numbers: Numbers) -> npt.NDArray[Any]:
        out = np.empty((len(numbers), datasets[0].width), datasets[0].dtype)
        split = np.searchsorted(offsets, numbers, side="right") - 1
        for which in np.unique(split).tolist():
            places = split == which
            out[places] = datasets[which].gather(numbers[places] - offsets[which])
        return out

    return gather


def copied_recordings(streams: Streams, same: Numbers) -> Numbers:
    """For each row the number of the row of the first recording whose chunks are all the same, or -1.

    Recordings without chunks, and those of constant chunks only, are copies of none.

    Args:
        streams: that are surveyed.
        same: as `first_copies` gives it.
    """
    found = np.full(len(streams.rows), -1, np.int64)
    starts = np.flatnonzero(np.diff(streams.recording, prepend=-1)).tolist()
    stops = [*starts, len(streams.rows)][1:]
    varies = same >= 0
    is_single = varies & (np.bincount(same[varies], minlength=len(same))[np.maximum(same, 0)] == 1)
    singles, varying = streams.sums(is_single), streams.sums(varies)
    known: dict[tuple[int, bytes], int] = {}
    for start, stop in zip(starts, stops, strict=True):
        # One chunk that is nowhere else settles it, which is the rule.
        if singles[start:stop].any() or not varying[start:stop].any():
            continue
        end = streams.first[stop - 1] + streams.chunks[stop - 1]
        key = stop - start, same[streams.first[start] : end].tobytes()
        earlier = known.setdefault(key, start)
        if earlier != start:
            found[start:stop] = np.arange(earlier, earlier + stop - start)
    return found


def copied_channels(streams: Streams, same: Numbers) -> tuple[Numbers, Numbers]:
    """Of rows that are channels: whether each is the same as one of its recording before it, and whether constant."""
    copied, constant = np.zeros((2, len(streams.rows)), np.int64)
    known: set[bytes] = set()
    for number, (first, n) in enumerate(zip(streams.first.tolist(), streams.chunks.tolist(), strict=True)):
        chunks = same[first : first + n]
        if streams.rows.channel[number] == 0:
            known = set()
        if streams.rows.channels[number] == 1 or not n:
            continue
        if chunks[0] < 0 and (chunks == chunks[0]).all():
            constant[number] = 1
            continue
        copied[number] = chunks.tobytes() in known
        known.add(chunks.tobytes())
    return copied, constant


def shared_chunks(streams: Streams, same: Numbers) -> tuple[npt.NDArray[np.bool_], Numbers]:
    """Chunks that are in more than one split.

    Args:
        streams: that are surveyed.
        same: as `first_copies` gives it.

    Returns:
        (chunks,) whether each is so; and (splits, splits) how many chunks of the one are also in the other.
    """
    n_splits = len(streams.offsets) - 1
    split = np.repeat(np.arange(n_splits), np.diff(streams.offsets))
    also = np.zeros((n_splits, n_splits), np.int64)
    leaked = np.zeros(len(same), np.bool_)
    varying = same >= 0
    for other in range(n_splits):
        is_there = np.zeros(len(same), np.bool_)
        is_there[same[varying & (split == other)]] = True
        found = np.zeros(len(same), np.bool_)
        found[varying] = is_there[same[varying]] & (split[varying] != other)
        leaked |= found
        also[:, other] = np.bincount(split[found], minlength=n_splits)
    return leaked, also
