"""ChunkDataset: any chunk of one split of a dataset, where it came from, and what it sounds like."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError, DatasetError, printable
from audiochunk.reader.location import Location, Locator, stream_of
from audiochunk.reader.shard_files import Chunks
from audiochunk.reader.shards import ShardArray
from audiochunk.signal.interleave import deinterleave
from audiochunk.signal.packing import unpack
from audiochunk.signal.quantize import Codes, dequantize
from audiochunk.storage.manifest import Manifest, RecordingRow, SplitTotals, read_rows

_CHECKED_AT_OPEN = 1000  # shards whose sizes are looked at when a dataset is opened


class ChunkDataset(Sequence[Chunks]):
    """One split of a dataset: a sequence of chunks.

    `ds[i]` is a read-only view into the memory-mapped shard, `ds[a:b]` a lazy dataset of those chunks, and
    `ds[[3, 1]]` a new array. It can be pickled, forked, and shared by threads, and is a context manager.

    Args:
        path: folder of the dataset.
        split: which part of it.

    Raises:
        DatasetError: there is no dataset, or it is damaged.
        ConfigError: it has no such split.
    """

    def __init__(self, path: str | os.PathLike[str], split: str = "train") -> None:
        self._folder, self._split = Path(path).absolute(), split
        self._expected_id: str | None = None
        self._range = range(len(self._array))

    @cached_property
    def manifest(self) -> Manifest:
        """What the dataset says of itself."""
        manifest = Manifest.read(self._folder)
        if self._expected_id not in (None, manifest.dataset_id):
            raise DatasetError(self._folder, f"is not the dataset {self._expected_id} any more")
        if self._split not in manifest.splits:
            raise ConfigError(f"no split {self._split!r} here; there are: {', '.join(sorted(manifest.splits))}")
        return manifest

    @cached_property
    def _array(self) -> ShardArray:
        entries = [shard for shard in self.manifest.shards if shard.split == self._split]
        array = ShardArray(self._folder, entries, self.manifest.encoding, self.manifest.compression)
        array.files.check_sizes(_CHECKED_AT_OPEN)
        return array

    def __getstate__(self) -> dict[str, Any]:
        return {
            "_folder": self._folder,
            "_split": self._split,
            "_range": self._range,
            "_expected_id": self.manifest.dataset_id,
        }

    def __enter__(self) -> "ChunkDataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the mapped shards; chunks that were handed out stay valid. A later use maps them again."""
        self._array.close()

    def __repr__(self) -> str:
        return (
            f"ChunkDataset({self._split!r}, {len(self):,} chunks of {self.shape[1]:,} {self.dtype}, {self.dataset_id})"
        )

    @property
    def split(self) -> str:
        """Which split of the dataset this is."""
        return self._split

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
    def vocab_size(self) -> int:
        """How many values an element of a chunk can take."""
        return self.encoding.vocab_size

    @property
    def shape(self) -> tuple[int, int]:
        """(chunks, elements of a chunk)."""
        return len(self), self.encoding.tokens_per_chunk

    @cached_property
    def recordings(self) -> tuple[RecordingRow, ...]:
        """Rows of the recordings table for this split, in path order, refused recordings included."""
        rows = read_rows(self._folder, self.manifest.recordings)
        found = tuple(row for row in rows if row.split == self._split)
        self._check(found)
        return found

    def _check(self, rows: tuple[RecordingRow, ...]) -> None:
        """Compare where rows say their chunks are with what follows from their frames."""
        chunks = 0
        for row in rows:
            expected = stream_of(row, self.encoding).n_chunks if row.error is None else 0
            if (row.first_chunk, row.chunks) != (chunks, expected):
                what = f"{printable(row.path)}: chunks {row.first_chunk} + {row.chunks}, expected {chunks} + {expected}"
                raise DatasetError(self._folder / self.manifest.recordings.name, what)
            chunks += row.chunks
        if chunks != len(self._array):
            what = f"{chunks} chunks of split {self._split}; the manifest says {len(self._array)}"
            raise DatasetError(self._folder / self.manifest.recordings.name, what)

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[Chunks]:
        return self._array.chunks(self._range)

    @overload
    def __getitem__(self, index: int) -> Chunks: ...
    @overload
    def __getitem__(self, index: slice) -> "ChunkDataset": ...
    @overload
    def __getitem__(self, index: "npt.NDArray[Any] | list[int]") -> Chunks: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._view(self._range[index])
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            return self._array.chunk(self._at(int(index)))
        return self.gather(index)

    def _view(self, numbers: range) -> "ChunkDataset":
        view = object.__new__(ChunkDataset)
        # Everything is shared but the range.
        view.__dict__.update(self.__dict__)
        view._range = numbers
        return view

    def _at(self, index: int) -> int:
        try:
            return self._range[index]
        except IndexError:
            raise IndexError(f"chunk {index} of {len(self)}") from None

    def gather(self, indices: "npt.ArrayLike", out: Chunks | None = None) -> Chunks:
        """Chunks in the order of their numbers, as one array.

        Args:
            indices: 1-D integers, negative ones counted from the end, or booleans for every chunk.
            out: (n, elements of a chunk) of `dtype`, C-contiguous and writable, to be filled; else a new array is made.

        Returns:
            (n, elements of a chunk); `out` where it was given.

        Raises:
            IndexError: a number out of range, or no such numbers.
            ValueError: `out` does not fit.
        """
        numbers = self._numbers(indices)
        files = self._array.files
        shape = len(numbers), files.tokens
        if out is None:
            out = np.empty(shape, files.dtype)
        elif out.shape != shape or out.dtype != files.dtype or not out.flags.carray:
            raise ValueError(
                f"out must be C-contiguous and writable, {shape} of {files.dtype}; it is {out.shape} of {out.dtype}"
            )
        self._array.gather(numbers, out)
        return out

    def _numbers(self, indices: "npt.ArrayLike") -> npt.NDArray[np.int64]:
        """Numbers in the split of the chunks that are meant."""
        given = np.asarray(indices)
        if given.dtype.kind == "b" and given.ndim == 1 and given.size:
            if given.size != len(self):
                raise IndexError(f"a mask of {given.size} for {len(self)} chunks")
            given = np.flatnonzero(given)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise IndexError(f"chunks are taken by 1-D integers, not {given.ndim}-D {given.dtype}")
        # A copy, even where it is one of the same type: what has been checked must not change any more.
        numbers = given.astype(np.int64)
        # Seen as unsigned, negative numbers are beyond all others: one pass tells whether there is anything to do.
        if np.maximum.reduce(numbers.view(np.uint64), initial=0) >= len(self):
            wrong = (numbers < -len(self)) | (numbers >= len(self))
            if given.dtype.kind == "u":
                wrong |= numbers < 0  # 2**63 and more
            if wrong.any():
                raise IndexError(f"chunk {given[wrong][0]} of {len(self)}")
            numbers[numbers < 0] += len(self)
        if self._range.step != 1:
            numbers *= self._range.step
        if self._range.start:
            numbers += self._range.start
        return numbers

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self.recordings, self.encoding)

    def locate(self, i: int) -> Location:
        """Where chunk `i` came from.

        Raises:
            IndexError: there is no such chunk.
            DatasetError: the recordings table is damaged.
        """
        return self._locator.locate(self._at(i))

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
        location = self.locate(i)
        stream = stream_of(location.recording, self.encoding)
        samples = dequantize(self.codes(i), bits=self.encoding.bits, quantizer=self.encoding.quantizer)
        scale = np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
        wave = samples.astype(np.float32) * scale
        if self.encoding.is_aligned(stream.channels):
            return deinterleave(wave, channels=stream.channels, block=stream.block)
        parts: dict[int, list[npt.NDArray[np.float32]]] = {channel: [] for channel in location.channels}
        at = 0
        for span in stream.spans(location.chunk, 1, max_frames=location.recording.frames):
            if span.channel is not None:
                parts[span.channel].append(wave[at : at + span.frames])
                at += span.frames
                continue
            n = span.frames * stream.channels
            block = deinterleave(wave[at : at + n], channels=stream.channels, block=span.block)
            for channel in location.channels:
                parts[channel].append(block[:, channel])
            at += n
        return [np.concatenate(parts[channel]) for channel in location.channels]
