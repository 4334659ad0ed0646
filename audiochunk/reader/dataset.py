"""ChunkDataset: any chunk of one split of a dataset, where it came from, and what it sounds like."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError
from audiochunk.reader.location import Location, stream_of
from audiochunk.reader.recordings import Recordings
from audiochunk.reader.rows import Numbers, Rows, sizes_within
from audiochunk.reader.runs import Runs
from audiochunk.reader.shard_files import Chunks
from audiochunk.reader.shards import ShardArray
from audiochunk.reader.split import Split
from audiochunk.signal.packing import unpack
from audiochunk.signal.quantize import Codes, Samples
from audiochunk.storage.manifest import Manifest, SplitTotals
from audiochunk.storage.urls import is_url

if TYPE_CHECKING:
    from audiochunk.reader.crops import Crops
    from audiochunk.reader.decode import Waveform
    from audiochunk.reader.windows import Windows
    from audiochunk.storage.cache import Cache
    from audiochunk.storage.remote import Folder, RemoteFolder


class ChunkDataset(Rows):
    """One split of a dataset: a sequence of chunks.

    `ds[i]` is a read-only view into the memory-mapped shard, `ds[a:b]` a lazy dataset of those chunks, and
    `ds[[3, 1]]` a new array. It can be pickled, forked, and shared by threads, and is a context manager.

    Args:
        path: folder of the dataset, or its URL.
        split: which part of it.
        cache: of a URL, the folder where shards are kept that were fetched. None means AUDIOCHUNK_CACHE, or else
            audiochunk in XDG_CACHE_HOME or ~/.cache.
        cache_bytes: that it may hold, also as text ("200GiB"). None means AUDIOCHUNK_CACHE_BYTES, or else 16 GiB.

    Raises:
        DatasetError: there is no dataset, or it is damaged.
        ConfigError: it has no such split, or the URL is not taken.
        StoreError: the store could not be read.
    """

    _noun = "chunk"

    def __init__(
        self,
        path: "str | os.PathLike[str] | RemoteFolder",
        split: str = "train",
        *,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | str | None = None,
    ) -> None:
        folder: Folder
        if (isinstance(path, str) and not is_url(path)) or isinstance(path, os.PathLike):
            folder = Path(path).absolute()
        else:
            from audiochunk.storage.remote import folder_at

            folder = folder_at(path, cache=cache, cache_bytes=cache_bytes)
        self._split = Split(folder, split)
        self._range = range(len(self._array))

    def __getstate__(self) -> dict[str, Any]:
        # The split by reference: all views that are pickled together share it again.
        return {"_split": self._split, "_range": self._range}

    @property
    def manifest(self) -> Manifest:
        """What the dataset says of itself."""
        return self._split.manifest

    @cached_property
    def _array(self) -> ShardArray:
        # An attribute of its own: ds[i] is a fifth faster than by way of the split.
        return self._split.chunks

    def __enter__(self) -> "ChunkDataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the mapped shards; chunks that were handed out stay valid. A later use maps them again."""
        self._array.close()

    @property
    def split(self) -> str:
        """Which split of the dataset this is."""
        return self._split.name

    @property
    def encoding(self) -> Encoding:
        """How samples became bytes."""
        return self.manifest.encoding

    @property
    def dataset_id(self) -> str:
        """The identity of the dataset's chunks."""
        return self.manifest.dataset_id

    @property
    def splits(self) -> dict[str, SplitTotals]:
        """What every split of the dataset holds, by name."""
        return dict(self.manifest.splits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the chunks: uint8, or little-endian uint16 for 12- and 16-bit codes."""
        return self._array.files.dtype

    @property
    def width(self) -> int:
        """Elements of a chunk."""
        return self._array.files.tokens

    @property
    def _name(self) -> str:
        return self._split.name

    @property
    def shard_sizes(self) -> list[int] | None:
        """How many of the chunks lie in each shard; None of a view whose chunks do not follow each other."""
        return sizes_within([entry.chunks for entry in self._array.files.entries], self._range)

    @property
    def recordings(self) -> Recordings:
        """Rows of the recordings table for this split, refused recordings included.

        They are in path order, and anew for recordings that were added later.

        A sequence; what is often computed with is there as arrays, too: see `Recordings`.

        Raises:
            DatasetError: the table is damaged.
        """
        return self._split.recordings

    def __iter__(self) -> Iterator[Chunks]:
        return self._array.chunks(self._range)

    def _row(self, number: int) -> Chunks:
        return self._array.chunk(number)

    def _fill(self, numbers: Numbers, out: Chunks) -> None:
        self._array.gather(numbers, out)

    @property
    def is_fetched(self) -> bool:
        """Whether the dataset lies in an object store, and its shards are fetched when they are needed."""
        return not isinstance(self._split.folder, Path)

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for the chunks, by cache that they come into and by digest."""
        return self._array.fetched_bytes(self._range)

    def will_need(self, numbers: Numbers) -> None:
        """Say which rows come next, so that their shards are fetched meanwhile where they lie in an object store."""
        self._array.will_need(self._numbers(numbers))

    def runs(self) -> Runs:
        """The chunks of each stream, as far as they are in this view.

        Raises:
            ConfigError: the chunks of this view do not follow each other.
            DatasetError: the recordings table is damaged.
        """
        if self._range.step != 1:
            raise ConfigError(f"the chunks of {self.selection} do not follow each other")
        return Runs(self.recordings, self._range)

    def windows(self, length_chunks: int, *, stride_chunks: int | None = None) -> "Windows":
        """Runs of chunks that follow each other in one recording: longer contexts.

        Args:
            length_chunks: chunks in a window.
            stride_chunks: chunks from the beginning of one window to that of the next; by default they do not overlap.

        Raises:
            ConfigError: a length or stride below 1, or the chunks of this view do not follow each other.
        """
        from audiochunk.reader.windows import Windows

        return Windows(self, length_chunks, stride_chunks=stride_chunks)

    def crops(self, length_samples: int, seed: int = 0, *, n: int | None = None) -> "Crops":
        """Samples from random positions within recordings, whatever chunks they lie in.

        Args:
            length_samples: samples of all channels together: a chunk of 2048 bytes has 2048 of 8 bits.
            seed: of the positions.
            n: how many a sampler takes for an epoch; by default, as many as fit into the recordings side by side. The
                next epoch has others.

        Raises:
            ConfigError: no recording has a crop of that length: for being shorter, or because the length does not hold
                whole blocks of every channel; or the chunks of this view do not follow each other.
        """
        from audiochunk.reader.crops import Crops

        return Crops(self, length_samples, seed, n=n)

    @property
    def whole(self) -> "ChunkDataset":
        """The whole split that this is a view of."""
        return self._view(range(len(self._array)))

    def decode(self, path: str | bytes | os.PathLike[str]) -> "Waveform":
        """What all chunks of a recording sound like together, padding and the frames that were dropped left out.

        Samples are those of the source where it was quantized linearly with at least as many bits as it had, else
        within one step of the quantizer.

        Args:
            path: of a recording of this split, as in `recordings`.

        Raises:
            ConfigError: the split has no such recording, or it was refused.
            DatasetError: a shard or the recordings table is damaged.
        """
        from audiochunk.reader.decode import decode

        return decode(self, path)

    def locate(self, i: int) -> Location:
        """Where chunk `i` came from.

        Raises:
            IndexError: there is no such chunk.
            DatasetError: the recordings table is damaged.
        """
        return self._split.locator.locate(self._at(i))

    def codes(self, i: int) -> Codes:
        """The codes of chunk `i` without its padding: 1-D, `0 <= code < 2**bits`, in the order of the stream."""
        location = self.locate(i)
        real = stream_of(location.recording, self.encoding).real_codes(location.chunk, 1)
        return unpack(self[i], self.encoding)[:real]

    def waveform(self, i: int) -> "npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]":
        """What chunk `i` sounds like, without its padding.

        Returns:
            (frames, channels), full scale being ±1; (frames, 1) under layouts "mono" and "split". Of a chunk that is
            not aligned, a list of 1-D arrays instead, one for each of `locate(i).channels`.
        """
        from audiochunk.reader.decode import chunk_samples

        samples = chunk_samples(self, i)
        return [_scaled(part) for part in samples] if isinstance(samples, list) else _scaled(samples)


def _scaled(samples: Samples) -> "npt.NDArray[np.float32]":
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
