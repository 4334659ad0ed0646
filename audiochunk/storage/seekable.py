"""The zstd seekable format: independent frames, and a table of their sizes in a skippable frame at the end.

It is described in facebook/zstd, contrib/seekable_format. The table has no checksums here: the frames have their own.
"""

import struct
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from audiochunk.config import Compression
from audiochunk.errors import DatasetError
from audiochunk.storage.files import write_all

_SKIPPABLE_MAGIC, _SEEKABLE_MAGIC = 0x184D2A5E, 0x8F92EAB1
_ENTRY = np.dtype([("compressed", "<u4"), ("decompressed", "<u4")])
_FOOTER = struct.Struct("<IBI")  # frames, descriptor (0: no checksums), magic


class SeekableWriter:
    """Writes a header as a frame of its own, and chunks in frames of so many.

    Attributes:
        stored: the xxh3-128, in hex, of all that was written; "" before the end.
    """

    def __init__(self, fd: int, compression: Compression, chunk_bytes: int) -> None:
        self._fd = fd
        # One thread: with more, the bytes would depend on how many.
        self._compressor = zstandard.ZstdCompressor(level=compression.level, write_checksum=True, threads=0)
        self._frame_bytes = compression.chunks_per_frame * chunk_bytes
        self._held = bytearray()
        self._entries: list[tuple[int, int]] = []
        self._digest = xxhash.xxh3_128()
        self.stored = ""

    def header(self, header: bytes) -> None:
        """Write the header."""
        self._frame(header)

    def write(self, data: memoryview) -> None:
        """Append bytes of chunks, any number of them."""
        if self._held:
            missing = self._frame_bytes - len(self._held)
            self._held += data[:missing]
            data = data[missing:]
            if len(self._held) == self._frame_bytes:
                self._frame(self._held)
                self._held.clear()
        while len(data) >= self._frame_bytes:
            self._frame(data[: self._frame_bytes])
            data = data[self._frame_bytes :]
        self._held += data

    def finish(self) -> None:
        """Write what is held back, and the table."""
        if self._held:
            self._frame(self._held)
        table = np.array(self._entries, _ENTRY).tobytes()
        table += _FOOTER.pack(len(self._entries), 0, _SEEKABLE_MAGIC)
        self._append(struct.pack("<II", _SKIPPABLE_MAGIC, len(table)) + table)
        self.stored = self._digest.hexdigest()

    def _frame(self, data: bytes | bytearray | memoryview) -> None:
        compressed = self._compressor.compress(data)
        self._entries.append((len(compressed), len(data)))
        self._append(compressed)

    def _append(self, data: bytes) -> None:
        self._digest.update(data)
        write_all(self._fd, data)


def read_seek_table(shard: memoryview, path: Path | str) -> npt.NDArray[np.void]:
    """Sizes of the frames of a compressed shard.

    Args:
        shard: the whole file.
        path: for messages.

    Returns:
        (frames,) records of `compressed` and `decompressed` bytes, whose sums have been checked against the file.

    Raises:
        DatasetError: there is no such table, or it does not add up.
    """
    if len(shard) < _FOOTER.size + 8:
        raise DatasetError(path, f"{len(shard)} bytes are no compressed shard")
    frames, descriptor, magic = _FOOTER.unpack(shard[-_FOOTER.size :])
    if magic != _SEEKABLE_MAGIC or descriptor != 0:
        raise DatasetError(path, "the file does not end with a seek table")
    size = frames * _ENTRY.itemsize + _FOOTER.size
    start = len(shard) - size - 8
    if start < 0 or struct.unpack("<II", shard[start : start + 8]) != (_SKIPPABLE_MAGIC, size):
        raise DatasetError(path, f"the seek table of {frames} frames does not begin where it must")
    table = np.frombuffer(shard[start + 8 : -_FOOTER.size], _ENTRY)
    total = int(table["compressed"].sum(dtype=np.int64))
    if total != start:
        raise DatasetError(path, f"the seek table accounts for {total} bytes, {start} are there")
    return table


def decompress_frame(frame: memoryview, size: int, path: Path | str) -> bytes:
    """The `size` bytes of one frame; its checksum is verified. Threads may call this at once, and run at once.

    Raises:
        DatasetError: it is damaged, or holds another number of bytes.
    """
    try:
        claimed = zstandard.get_frame_parameters(frame).content_size
        if claimed != size:
            raise DatasetError(path, f"a frame claims {claimed} bytes, the seek table says {size}")
        return _threads.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DatasetError(path, f"a zstd frame is damaged: {error}") from error


class _Threads(threading.local):
    """What every thread has one of: making a decompressor takes three times as long as decoding a chunk with it."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_threads = _Threads()
