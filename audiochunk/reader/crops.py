"""Crops: samples from random positions within recordings, as rows of their own."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError
from audiochunk.reader.arguments import seed_of, whole
from audiochunk.reader.endless import EndlessRows
from audiochunk.reader.keyed import CROPS, below, derive, words
from audiochunk.reader.location import Location, stream_of
from audiochunk.reader.rows import Numbers
from audiochunk.reader.runs import Runs
from audiochunk.reader.shard_files import Chunks
from audiochunk.signal.chunking import Stream

if TYPE_CHECKING:
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.cache import Cache


class Crops(EndlessRows):
    """Rows whose beginnings are drawn: that of crop i follows from the seed and i alone, and all are equally likely.

    A crop is so many codes that follow each other in one stream, across its chunks, and never padding. In recordings of
    several channels under layout "blocks" it begins, as it ends, between whole blocks of every channel, so that crops
    of stereo are laid out as chunks are; the smaller the block, the more positions. Recordings with other blocks than
    the length is a multiple of, as those with fewer channels or more may have, have no crops.

    Args:
        chunks: a dataset, or a view whose chunks follow each other.
        length_samples: samples of all channels together, which is codes.
        seed: `0 <= seed < 2**64`.
        n: crops that a sampler takes for an epoch; None means as many as fit into the streams side by side.

    Attributes:
        positions: how many different crops there are.
        dropped_chunks: chunks of the streams that have no crops: shorter than one, or of other blocks.

    Raises:
        ConfigError: no recording has a crop of that length; or the chunks of the view do not follow each other.
        DatasetError: the recordings table is damaged.
    """

    _noun = "crop"

    def __init__(self, chunks: "ChunkDataset", length_samples: int, seed: int = 0, *, n: int | None = None) -> None:
        self._behind = self._chunks = chunks
        self._length = whole(length_samples, 1, "length_samples")
        self._seed = seed_of(seed)
        encoding = chunks.encoding
        self._per_code = chunks.width // encoding.codes_per_chunk
        runs = chunks.runs()
        first, room, group = _whole_groups(runs, encoding)
        has_crops = (room >= self._length) & (self._length % group == 0)
        self.dropped_chunks = int(runs.chunks[~has_crops].sum())
        if not has_crops.any():
            multiples = ", ".join(f"{unit:,}" for unit in np.unique(group).tolist() if unit > 1)
            raise ConfigError(
                f"no recording of {chunks.selection} has a crop of {self._length:,} samples: they are shorter, or take"
                f" multiples of {multiples} (less with a smaller --block)"
                if multiples
                else f"no recording of {chunks.selection} is as long as {self._length:,} samples"
            )
        first, room, group = first[has_crops], room[has_crops], group[has_crops]
        # Of every stream: the first code that a crop may begin with, counted from the view's first chunk; how far apart
        # beginnings are; the number of the first of them, with that of all at the end.
        self._first_codes: Numbers = runs.first[has_crops] * encoding.codes_per_chunk + first
        self._groups: Numbers = group
        self._starts: Numbers = np.concatenate([[0], np.cumsum((room - self._length) // group + 1)])
        self.positions = int(self._starts[-1])
        fits = int((room // self._length).sum())
        self._n = fits if n is None else whole(n, 0, "n")

    @property
    def width(self) -> int:
        """Elements of a crop: its codes, or their bytes where codes are stored as bytes."""
        return self._length * self._per_code

    @property
    def _name(self) -> str:
        return f"{self._chunks.selection}.crops({self._length}, {self._seed})"

    @property
    def is_fetched(self) -> bool:
        """Whether the chunks lie in an object store, and are fetched when they are needed."""
        return self._chunks.is_fetched

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for the crops, by cache that they come into and by digest."""
        return self._chunks.fetched_bytes()

    def locate(self, i: int) -> Location:
        """Where crop `i` came from; `chunk` is the number in the stream of the chunk that it begins in.

        Raises:
            IndexError: there is no such crop.
        """
        chunk, within = divmod(int(self._begin(np.array([self._at(i)]))[0]), self._chunks.encoding.codes_per_chunk)
        place = self._chunks.locate(chunk)
        stream = stream_of(place.recording, self._chunks.encoding)
        first = (place.chunk * self._chunks.encoding.codes_per_chunk + within) // stream.channels
        channels = tuple(range(place.recording.channels)) if stream.channels > 1 else place.channels
        last = first + self._length // stream.channels - 1
        return replace(place, channels=channels, first_frame=first, last_frame=last)

    def _begin(self, numbers: Numbers) -> Numbers:
        """The first code of every crop, counted from the view's first chunk."""
        drawn = below(words(derive(self._seed, CROPS), numbers), self.positions)
        stream = np.searchsorted(self._starts, drawn, side="right") - 1
        return self._first_codes[stream] + (drawn - self._starts[stream]) * self._groups[stream]

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        tokens, width = self._chunks.width, self.width
        chunk, within = np.divmod(self._begin(numbers) * self._per_code, tokens)
        # As many chunks for each as a crop can touch, though the last may be one that it does not; it is cut off below.
        touched = (tokens + width - 2) // tokens + 1
        members = np.minimum(chunk[:, None] + np.arange(touched), len(self._chunks) - 1)
        around = self._chunks.gather(members.reshape(-1)).reshape(len(numbers), touched * tokens)
        for row, whole_chunks, start in zip(out, around, within.tolist(), strict=True):
            row[:] = whole_chunks[start : start + width]


def _whole_groups(runs: Runs, encoding: Encoding) -> tuple[Numbers, Numbers, Numbers]:
    """(first code of each run that begins a group of blocks, codes in whole groups from there on, codes of a group).

    Codes are counted from the run's first.
    """
    first, room, group = np.zeros((3, len(runs)), np.int64)
    frames, channels = runs.recordings.frames[runs.row], runs.recordings.channels[runs.row]
    for count in np.unique(channels).tolist():
        of = np.flatnonzero(channels == count)
        stream = Stream.of(0, count, encoding)  # all that the others have in common
        skipped = runs.before[of] * stream.codes_per_chunk
        end = np.minimum(skipped + runs.chunks[of] * stream.codes_per_chunk, frames[of] * stream.channels)
        group[of] = size = 1 if stream.channels == 1 else stream.block * stream.channels
        if size > 1:
            # The last group is short, and its blocks are.
            end = np.minimum(end, frames[of] // stream.block * size) // size * size
        begin = -(-skipped // size) * size
        first[of], room[of] = begin - skipped, np.maximum(0, end - begin)
    return first, room, group
