"""The zstd frames of compressed shards, found and decoded without audiochunk: what zstd itself can do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

_MAGIC = 0x8F92EAB1
_FOOTER, _SKIPPABLE = 9, 8


def split_frames(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each frame of a file in the zstd seekable format, with its size when decoded, by the seek table at its end."""
    n = int.from_bytes(data[-9:-5], "little")
    if int.from_bytes(data[-4:], "little") != _MAGIC:
        raise ValueError("no seek table")
    entry = 3 if data[-5] & 0x80 else 2  # numbers: with a checksum or without
    table = np.frombuffer(data, "<u4", n * entry, len(data) - _FOOTER - 4 * n * entry).reshape(n, entry)
    at = 0
    for compressed, decoded in table[:, :2].tolist():
        yield data[at : at + compressed], decoded
        at += compressed
    if at + _SKIPPABLE + table.nbytes + _FOOTER != len(data):
        raise ValueError("frames and seek table are not the whole file")


@dataclass(frozen=True)
class Frames:
    """All frames of a dataset's chunks in memory, and which of them has a chunk."""

    frames: list[bytes]
    frame_of: npt.NDArray[np.int64]
    chunk_bytes: int

    @classmethod
    def of(cls, folder: Path, *, chunk_bytes: int) -> "Frames":
        """Those of the shards of a folder; the first frame of each shard is its header."""
        frames, chunks = [], []
        for shard in sorted(folder.glob("*.zst")):
            _header, *some = split_frames(shard.read_bytes())
            frames += [frame for frame, _ in some]
            chunks += [size // chunk_bytes for _, size in some]
        return cls(frames, np.repeat(np.arange(len(frames)), chunks), chunk_bytes)

    def decode(self, chunks: npt.NDArray[np.int64]) -> None:
        """Decode the frames that have these chunks, each once, and keep nothing."""
        decompressor = zstandard.ZstdDecompressor()
        for number in np.unique(self.frame_of[chunks]).tolist():
            decompressor.decompress(self.frames[number])
