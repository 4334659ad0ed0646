"""What lies in a dataset's folder, read byte by byte and believed only after it was looked at.

Nothing here is shared with the reader, so that the two can be compared. What is wrong is a value, a `Finding`, and not
an exception: whoever looks for damage wants all of it.
"""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import zstandard

from audiochunk.config import Compression
from audiochunk.errors import (
    ConfigError,
    DatasetError,
    NoDatasetError,
    is_of_the_machine,
    printable,
    reason,
    unreadable,
)
from audiochunk.storage.manifest import MANIFEST, Manifest, ShardEntry
from audiochunk.storage.shard import DATA_OFFSET, ShardSpec
from audiochunk.tools.finding import Finding, count_of

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

_RAW_PIECE = 3 * 2**18  # whole codes of 1, 2 and 3 bytes
_SHOWN = 24  # bytes of a header that a finding quotes
# docs/format.md, "Compressed shards"; zstd's zstd_seekable_compression_format.md
_TABLE_HEAD = struct.Struct("<II")
_TABLE_FOOT = struct.Struct("<IBI")
_TABLE_ENTRY = np.dtype([("compressed", "<u4"), ("content", "<u4")])
_SKIPPABLE, _SEEKABLE = 0x184D2A5E, 0x8F92EAB1
_UNUSED_BIT = 1 << 4  # RFC 8878, 3.1.1.1.1; decoders pass over it


def read_manifest(folder: "Folder") -> Manifest | Finding:
    """The manifest of a dataset, or why there is nothing to check.

    Raises:
        NoDatasetError: there is none.
    """
    try:
        path = folder / MANIFEST
        if isinstance(path, Path) and path.exists() and not path.is_file():  # a FIFO would be waited for
            return _no_file(MANIFEST, "something else; nothing else was checked")
        manifest = Manifest.read(folder)
        _ = manifest.config  # refuses what only the parts together make senseless
        return manifest
    except NoDatasetError:
        raise
    except DatasetError as error:
        found = str(error.args[1])
    except ConfigError as error:
        found = str(error)
    except OSError as error:
        found = reason(error)
    return Finding(MANIFEST, "content", "a manifest of format version 1", f"{found}; nothing else was checked")


def open_file(folder: "Folder", name: str) -> tuple[int | None, list[Finding]]:
    """A descriptor of a file of the dataset, None where there is nothing to read, and what is wrong with it.

    A build makes plain files. A link is a finding, and is followed to see whether at least the content is right.

    Raises:
        MachineError: it may not be read, or too many files are open.
    """
    wrong: list[Finding] = []
    try:
        if not isinstance(folder, Path):
            with folder.copy(name) as file:
                return os.dup(file.fileno()), wrong
        path = folder / name
        if stat.S_ISLNK(path.lstat().st_mode):
            wrong.append(_no_file(name, f"a link to {printable(os.readlink(path))}"))
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if is_of_the_machine(error):
            raise unreadable(folder / name, error) from error
        return None, wrong or [_no_file(name, reason(error))]
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None, wrong or [_no_file(name, "something else")]
    return fd, wrong


def _no_file(name: str, found: str) -> Finding:
    return Finding(printable(name), "type", "a regular file", found)


def read_at(fd: int, at: int, n: int) -> bytes:
    """`n` bytes from offset `at` on, or fewer where the file ends.

    Raises:
        OSError: they could not be read.
    """
    blocks = []
    while n and (block := os.pread(fd, n, at)):
        blocks.append(block)
        at, n = at + len(block), n - len(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def first_difference(expected: bytes, found: bytes) -> int:
    """Where two byte strings begin to differ: the length of the shorter one where that is the start of the other."""
    n = min(len(expected), len(found))
    differ = np.frombuffer(expected, np.uint8, n) != np.frombuffer(found, np.uint8, n)
    return int(differ.argmax()) if differ.any() else n


class StoredShard:
    """One open shard; a context manager that closes it.

    Its data (all that follows the header in the uncompressed file) comes in pieces of `piece_bytes`, the last of which
    is shorter: zstd frames, or runs of any length. No more than one piece is in memory.

    Attributes:
        name: of the file.
        piece_bytes: of every piece but the last.
        data_bytes: that the pieces hold together; fewer than there must be where a raw file was cut.
    """

    def __init__(
        self, fd: int, spec: ShardSpec, *, name: str, piece_bytes: int, data_bytes: int, ends: npt.NDArray[np.int64]
    ) -> None:
        self._fd, self._spec, self._ends = fd, spec, ends
        self.name, self.piece_bytes, self.data_bytes = name, piece_bytes, data_bytes
        self._decompressor = zstandard.ZstdDecompressor()

    def __enter__(self) -> "StoredShard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def n_pieces(self) -> int:
        """Pieces of the data."""
        return -(-self.data_bytes // self.piece_bytes)

    def check_header(self) -> Iterator[Finding]:
        """Compare the header with what the manifest makes of it."""
        head = self._read(0, 0, DATA_OFFSET)
        if isinstance(head, Finding):
            yield head
            return
        expected = self._spec.header()[: len(head)]  # that a file ends in its header, its size tells
        at = first_difference(expected, head)
        if at < len(expected):
            shown = slice(at, at + _SHOWN)
            yield Finding(self.name, f"header byte {at:,}", f"{expected[shown]!r}", f"{head[shown]!r}")

    def piece(self, number: int) -> bytes | Finding:
        """The bytes of a piece, checked as far as compression allows, or what is wrong with it."""
        start = number * self.piece_bytes
        size = min(self.piece_bytes, self.data_bytes - start)
        data = self._read(number + 1, DATA_OFFSET + start, size)
        if isinstance(data, bytes) and len(data) < size:
            return Finding(self.name, "size", "one that does not change", "the file was cut meanwhile")
        return data

    def _read(self, frame: int, at: int, size: int) -> bytes | Finding:
        """`size` bytes of the uncompressed file from offset `at` on, which a zstd frame holds if there are any."""
        try:
            return self._frame(frame, size) if len(self._ends) else read_at(self._fd, at, size)
        except OSError as error:
            return Finding(self.name, f"byte {at:,}", "a file that can be read", reason(error))

    def _frame(self, number: int, size: int) -> bytes | Finding:
        start = int(self._ends[number - 1]) if number else 0
        frame = read_at(self._fd, start, int(self._ends[number]) - start)

        def wrong(expected: str, found: str) -> Finding:
            return Finding(self.name, f"zstd frame {number:,}, byte {start:,}", expected, found)

        try:
            says = zstandard.get_frame_parameters(frame)
            # Compared before anything is decoded: this is what the decoder would allocate.
            if says.content_size != size:
                claims = f"a claim of {says.content_size:,}"
                is_unknown = says.content_size == zstandard.CONTENTSIZE_UNKNOWN
                return wrong(f"{count_of(size)} of content", "no size" if is_unknown else claims)
            if not says.has_checksum:
                return wrong("a checksum", "none")
            if frame[4] & _UNUSED_BIT:
                return wrong("0 as the unused bit of its header", "1")
            data = self._decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            return wrong("a frame that can be decoded", str(error))
        if len(data) != size:  # of a skippable frame
            return wrong(f"{count_of(size)} of content", f"{len(data):,}")
        return data


def open_shard(
    folder: "Folder", entry: ShardEntry, spec: ShardSpec, compression: Compression | None
) -> tuple[StoredShard | None, list[Finding]]:
    """A shard to be read, None where that cannot be, and what is wrong with its file as a whole.

    Raises:
        MachineError: it may not be read, or too many files are open.
    """
    fd, wrong = open_file(folder, entry.name)
    if fd is None:
        return None, wrong
    size = os.fstat(fd).st_size
    if size != entry.bytes:
        wrong.append(Finding(entry.name, "size", count_of(entry.bytes), f"{size:,}"))
    if compression is None:
        there = max(0, min(size, entry.bytes) - DATA_OFFSET)
        ends = np.zeros(0, np.int64)
        return StoredShard(fd, spec, name=entry.name, piece_bytes=_RAW_PIECE, data_bytes=there, ends=ends), wrong
    frame_bytes = compression.chunks_per_frame * spec.encoding.chunk_bytes
    found: npt.NDArray[np.int64] | Finding | None = None
    try:
        # Of a file that was cut the table is gone, which its size has told; what was appended does not hide it.
        if size >= entry.bytes:
            found = _read_table(fd, entry, spec.data_bytes, frame_bytes, wrong)
    except OSError as error:
        found = Finding(entry.name, "seek table", "a file that can be read", reason(error))
    if isinstance(found, np.ndarray):
        pieces = {"piece_bytes": frame_bytes, "data_bytes": spec.data_bytes}
        return StoredShard(fd, spec, name=entry.name, **pieces, ends=found), wrong
    os.close(fd)
    return None, wrong if found is None else [*wrong, found]


def _read_table(
    fd: int, entry: ShardEntry, data_bytes: int, frame_bytes: int, wrong: list[Finding]
) -> npt.NDArray[np.int64] | Finding:
    """Where every zstd frame ends, or why the frames cannot be found; what else is wrong is appended to `wrong`."""

    def lost(expected: str, found: str) -> Finding:
        return Finding(entry.name, "seek table", expected, f"{found}; the zstd frames were not looked at")

    frames = 1 + -(-data_bytes // frame_bytes)
    length = frames * _TABLE_ENTRY.itemsize + _TABLE_FOOT.size
    start = entry.bytes - length - _TABLE_HEAD.size
    if start < 0:
        return lost(f"one of {count_of(frames, 'zstd frame')}", "a file too short for it")
    data = read_at(fd, start, entry.bytes - start)
    if len(data) < entry.bytes - start:
        return lost(f"one of {count_of(frames, 'zstd frame')}", "the end of the file")
    head, foot = data[: _TABLE_HEAD.size], data[-_TABLE_FOOT.size :]
    for place, expected, found in (
        (start, _TABLE_HEAD.pack(_SKIPPABLE, length), head),
        (entry.bytes - len(foot), _TABLE_FOOT.pack(frames, 0, _SEEKABLE), foot),
    ):
        if expected != found:
            wrong.append(Finding(entry.name, f"seek table, byte {place:,}", expected.hex(" "), found.hex(" ")))
    table = np.frombuffer(data, _TABLE_ENTRY, frames, _TABLE_HEAD.size)
    contents = np.full(frames, frame_bytes)
    contents[-1] = data_bytes - (frames - 2) * frame_bytes
    contents[0] = DATA_OFFSET  # last, for it may be the only one
    wrong += (
        Finding(
            entry.name,
            f"seek table, zstd frame {i:,}",
            f"{count_of(int(contents[i]))} of content",
            f"{int(table['content'][i]):,}",
        )
        for i in np.flatnonzero(table["content"] != contents).tolist()
    )
    ends: npt.NDArray[np.int64] = np.cumsum(table["compressed"], dtype=np.int64)
    if ends[-1] != start:
        return lost(f"compressed sizes that add up to {start:,}", f"{int(ends[-1]):,}")
    # What zstd makes at most of so much (ZSTD_compressBound): no more is ever read at once.
    too_large = np.flatnonzero(table["compressed"] > contents + contents // 256 + 64)
    if len(too_large):
        i = int(too_large[0])
        return lost(f"zstd frame {i:,} to be hardly larger than its content", f"{int(table['compressed'][i]):,} bytes")
    return ends
