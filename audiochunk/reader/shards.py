"""The shards of one split as one long array of chunks, mapped into memory on first use."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from audiochunk.config import Compression, Encoding
from audiochunk.errors import DatasetError, reason
from audiochunk.storage.files import open_plain
from audiochunk.storage.manifest import ShardEntry
from audiochunk.storage.seekable import decompress_frame, read_seek_table
from audiochunk.storage.shard import DATA_OFFSET, ShardSpec

Chunks = npt.NDArray[Any]


class _Shard(Protocol):
    def chunk(self, row: int) -> Chunks: ...
    def take(self, rows: npt.NDArray[np.intp], out: Chunks) -> None: ...


class ShardArray:
    """Chunks of one split by number.

    Threads may share one, and processes may be forked from one that does: what is mapped lazily may be mapped twice,
    to no harm.

    Args:
        folder: of the dataset.
        entries: shards of the split, in order.
        encoding: of the chunks.
        compression: of the shards.
    """

    def __init__(
        self, folder: Path, entries: Sequence[ShardEntry], encoding: Encoding, compression: Compression | None
    ) -> None:
        self._folder, self._entries = folder, entries
        self._encoding, self._compression = encoding, compression
        self._shards: list[_Shard | None] = [None] * len(entries)
        #: First chunk of every shard, and the number of all.
        self.starts = np.cumsum([0, *(entry.chunks for entry in entries)], dtype=np.int64)
        self.dtype = np.dtype("<u2" if encoding.stored_as == "U16" else np.uint8)
        # Where all shards but the last are equally long, the shard of a chunk follows from a division.
        sizes = np.diff(self.starts)
        even = sizes.size and sizes[0] and (sizes[:-1] == sizes[0]).all() and sizes[-1] <= sizes[0]
        self._per_shard = int(sizes[0]) if even else 0

    def __len__(self) -> int:
        return int(self.starts[-1])

    def chunk(self, i: int) -> Chunks:
        """Chunk `i`: 1-D, read-only; of a raw shard, a view into the mapping."""
        if self._per_shard:
            shard, row = divmod(i, self._per_shard)
        else:
            shard = int(np.searchsorted(self.starts, i, side="right")) - 1
            row = i - int(self.starts[shard])
        return (self._shards[shard] or self._open(shard)).chunk(row)

    def gather(self, indices: npt.NDArray[np.int64], out: Chunks) -> None:
        """Copy chunks into the rows of `out`, each shard's together."""
        order = np.argsort(indices, kind="stable")
        bounds = np.searchsorted(indices[order], self.starts)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            shard = self._shards[number] or self._open(number)
            places = order[bounds[number] : bounds[number + 1]]
            rows = indices[places] - self.starts[number]
            if self._compression is None and len(places) == len(indices):
                shard.take(indices - self.starts[number], out)
            else:
                taken = np.empty((len(places), out.shape[1]), out.dtype)
                shard.take(rows, taken)
                out[places] = taken

    def close(self) -> None:
        """Let go of the mappings; chunks that were handed out stay valid."""
        self._shards = [None] * len(self._entries)

    def _open(self, number: int) -> _Shard:
        entry = self._entries[number]
        path = self._folder / entry.name
        spec = ShardSpec(entry.split, number, entry.chunks, self._encoding)
        try:
            if path.resolve().parent != self._folder.resolve():
                raise DatasetError(path, "is a link out of the dataset's folder")
            with open_plain(path) as file:
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else "it is empty"
            raise DatasetError(path, f"cannot be read: {why}") from error
        if len(mapped) != entry.bytes:
            raise DatasetError(path, f"{len(mapped)} bytes; the manifest says {entry.bytes}")
        shard: _Shard
        if self._compression is None:
            shard = _RawShard(mapped, spec, path, self.dtype)
        else:
            shard = _ZstdShard(mapped, spec, path, self.dtype, self._compression)
        self._shards[number] = shard
        return shard


class _RawShard:
    def __init__(self, mapped: memoryview, spec: ShardSpec, path: Path, dtype: np.dtype[Any]) -> None:
        spec.check_header(bytes(mapped[:DATA_OFFSET]), path)
        if len(mapped) != DATA_OFFSET + spec.data_bytes:
            raise DatasetError(path, f"{len(mapped)} bytes; its {spec.chunks} chunks take {spec.data_bytes}")
        # A plain array: indexing one costs a third of indexing np.memmap.
        self._chunks = np.frombuffer(mapped[DATA_OFFSET:], dtype).reshape(spec.shape)

    def chunk(self, row: int) -> Chunks:
        found: Chunks = self._chunks[row]
        return found

    def take(self, rows: npt.NDArray[np.intp], out: Chunks) -> None:
        # The rows are known to be in range; "clip" spares numpy a buffer and a second look.
        np.take(self._chunks, rows, axis=0, out=out, mode="clip")


class _ZstdShard:
    def __init__(
        self, mapped: memoryview, spec: ShardSpec, path: Path, dtype: np.dtype[Any], compression: Compression
    ) -> None:
        self._mapped, self._spec, self._path, self._dtype = mapped, spec, path, dtype
        self._per_frame = compression.chunks_per_frame
        table = read_seek_table(mapped, path)
        frame_bytes = self._per_frame * spec.encoding.chunk_bytes
        frames = 1 + -(-spec.data_bytes // frame_bytes)
        # The number first: a table is as long as the file allows, `chunks` in a manifest is anything.
        sizes = table["decompressed"].astype(np.int64)
        fits = len(sizes) == frames and sizes[0] == DATA_OFFSET and sizes[1:].sum() == spec.data_bytes
        if not fits or (sizes[1:-1] != frame_bytes).any():
            raise DatasetError(path, f"the seek table is not that of {spec.chunks} chunks")
        self._ends = np.cumsum(table["compressed"], dtype=np.int64)
        self._last: tuple[int, Chunks] | None = None
        spec.check_header(decompress_frame(mapped[: self._ends[0]], DATA_OFFSET, path), path)

    def chunk(self, row: int) -> Chunks:
        frame, within = divmod(row, self._per_frame)
        found: Chunks = self._frame(frame)[within]
        return found

    def take(self, rows: npt.NDArray[np.intp], out: Chunks) -> None:
        for place, row in enumerate(rows.tolist()):
            frame, within = divmod(row, self._per_frame)
            out[place] = self._frame(frame)[within]

    def _frame(self, number: int) -> Chunks:
        """Chunks of one frame; the last one decoded is kept for those who read in order."""
        last = self._last
        if last is not None and last[0] == number:
            return last[1]
        chunks = min(self._per_frame, self._spec.chunks - number * self._per_frame)
        frame = self._mapped[self._ends[number] : self._ends[number + 1]]
        data = decompress_frame(frame, chunks * self._spec.encoding.chunk_bytes, self._path)
        decoded = np.frombuffer(data, self._dtype).reshape(chunks, -1)
        self._last = number, decoded
        return decoded
