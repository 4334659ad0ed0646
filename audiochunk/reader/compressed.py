"""Compressed shards in memory: their frames are decoded when a chunk is wanted, each once where it can be."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from audiochunk.errors import DatasetError
from audiochunk.reader.mapping import map_file
from audiochunk.reader.quota import count_in, has_room
from audiochunk.reader.shard_files import Chunks, ShardFiles
from audiochunk.storage.seekable import decompress_frame, read_seek_table
from audiochunk.storage.shard import DATA_OFFSET


class CompressedShards:
    """The compressed shards of a split.

    Args:
        files: of the shards.
        per_frame: chunks in a frame; fewer in a shard's last.
    """

    def __init__(self, files: ShardFiles, per_frame: int) -> None:
        self._files, self._per_frame = files, per_frame
        self._chunk_bytes = files.encoding.chunk_bytes
        self._shards: dict[int, _Frames] = {}
        self._counted = count_in(self, self.close)
        # Shard, frame, and what was decoded last, for those who read in order.
        self._last: tuple[int, int, bytes] | None = None

    def chunk(self, shard: int, row: int) -> Chunks:
        """One chunk, a view of its decoded frame."""
        frame, within = divmod(row, self._per_frame)
        data = self._decoded(shard, frame)
        return np.frombuffer(data, self._files.dtype, self._files.tokens, within * self._chunk_bytes)

    def rows(self, shard: int, start: int, stop: int) -> Iterator[Chunks]:
        """Chunks of one shard, views of their decoded frames."""
        for frame in range(start // self._per_frame, -(-stop // self._per_frame)):
            first = frame * self._per_frame
            decoded = np.frombuffer(self._decode(shard, frame), self._files.dtype)
            if self._per_frame == 1:
                yield decoded
            else:
                yield from decoded.reshape(-1, self._files.tokens)[max(start - first, 0) : stop - first]

    def gather(self, shards: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], out: Chunks) -> None:
        """Copy chunks into the rows of `out`; a frame is decoded once, however many of its chunks are wanted."""
        order = np.lexsort((rows, shards))
        shards, rows = shards[order], rows[order]
        frames, within = np.divmod(rows, self._per_frame)
        # What follows each other in a frame and in `out` is copied in one go: the bounds of such runs.
        breaks = np.ones(len(rows) + 1, np.bool_)
        breaks[1:-1] = (
            (rows[1:] - rows[:-1] != 1)
            | (order[1:] - order[:-1] != 1)
            | (shards[1:] != shards[:-1])
            | (within[1:] == 0)
        )
        bounds = np.flatnonzero(breaks) if len(rows) else np.zeros(1, np.intp)
        runs, sizes = bounds[:-1], (bounds[1:] - bounds[:-1]) * self._chunk_bytes
        starts, places = within[runs] * self._chunk_bytes, order[runs] * self._chunk_bytes
        if self._files.cache is not None:
            missing = [shard for shard in np.unique(shards).tolist() if shard not in self._shards]
            self._files.will_need(missing[1:], soon=True)
        # Slices of memory: an array over every frame would take longer than the copying.
        target = out.view(np.uint8).reshape(-1).data
        for shard, frame, start, place, size in zip(
            shards[runs].tolist(), frames[runs].tolist(), starts.tolist(), places.tolist(), sizes.tolist(), strict=True
        ):
            target[place : place + size] = self._decoded(shard, frame)[start : start + size]

    def close(self) -> None:
        """Let go of all shards."""
        self._shards, self._last = {}, None
        self._counted.clear()

    def _decoded(self, shard: int, frame: int) -> bytes:
        last = self._last
        if last is not None and last[1] == frame and last[0] == shard:
            return last[2]
        data = self._decode(shard, frame)
        self._last = shard, frame, data
        return data

    def _decode(self, shard: int, frame: int) -> bytes:
        try:
            return self._frames(shard).decode(frame)
        except DatasetError:
            # What could not even be opened is not the fetched file's fault, if there is none.
            was_open = self._shards.pop(shard, None) is not None
            if self._files.cache is None or not (self._files.forget(shard) or was_open):
                raise
        return self._frames(shard).decode(frame)

    def _frames(self, shard: int) -> "_Frames":
        frames = self._shards.get(shard)
        if frames is None:
            has_room(1)  # if only because this lets go of its own
            if self._files.most is not None and len(self._shards) >= self._files.most:
                self.close()
            frames = _Frames(self._files, shard, self._per_frame)
            self._shards[shard] = frames
            self._counted.append(shard)
        return frames


class _Frames:
    """The frames of one mapped shard."""

    def __init__(self, files: ShardFiles, number: int, per_frame: int) -> None:
        self._path, spec = files.path(number), files.spec(number)
        with files.opened(number) as fd:
            if not files.entries[number].bytes:
                raise DatasetError(self._path, "cannot be read: it is empty")
            self._mapped = map_file(fd, files.entries[number].bytes)
        table = read_seek_table(self._mapped, self._path)
        self._full = per_frame * spec.encoding.chunk_bytes
        count = 1 + -(-spec.data_bytes // self._full)
        # The number first: a table is as long as the file allows, `chunks` in a manifest is anything.
        sizes = table["decompressed"].astype(np.int64)
        fits = len(sizes) == count and sizes[0] == DATA_OFFSET and sizes[1:].sum() == spec.data_bytes
        if not fits or (sizes[1:-1] != self._full).any():
            raise DatasetError(self._path, f"the seek table is not that of {spec.chunks} chunks")
        self._last, self._last_bytes = count - 2, spec.data_bytes - (count - 2) * self._full
        # Seen through a memoryview, whose items are Python's integers: slices by numpy's take three times as long.
        self._ends = np.cumsum(table["compressed"], dtype=np.int64).data
        spec.check_header(decompress_frame(self._mapped[: self._ends[0]], DATA_OFFSET, self._path), self._path)

    def decode(self, frame: int) -> bytes:
        """The chunks of one frame; the header is none of them."""
        size = self._full if frame != self._last else self._last_bytes
        return decompress_frame(self._mapped[self._ends[frame] : self._ends[frame + 1]], size, self._path)
