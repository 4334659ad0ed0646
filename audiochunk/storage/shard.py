"""The shard file: its header, its writer, and how to know one.

A raw shard is a safetensors file whose header is padded to 4096 bytes, so that the data is page-aligned and chunk i
lies at 4096 + i * chunk_bytes. A compressed shard is that same file in the zstd seekable format (facebook/zstd,
contrib/seekable_format): independent frames, then a table of their sizes in a skippable frame. Every byte of a header
follows from a `ShardSpec`, so that checking one is comparing it.
"""

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from audiochunk.config import Compression, Encoding
from audiochunk.errors import DatasetError
from audiochunk.storage.files import write_all
from audiochunk.storage.seekable import SeekableWriter

FORMAT = "audiochunk"
FORMAT_VERSION = 1
DATA_OFFSET = 4096
HEAD_BYTES = 2 * DATA_OFFSET  # in which a file says what it is, compressed or not
TENSOR = "chunks"
SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

_SHARD_FILE = re.compile(SPLIT_NAME.pattern + r"-\d{5,}\.safetensors(\.zst)?")
#: Bytes that are collected before they are digested and written: smaller writes cost more calls, larger ones fall out
#: of the cache in between.
BUFFER_BYTES = 2**19


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """All that a shard's header says.

    Attributes:
        split: whose chunks these are.
        index: number of the shard in its split.
        chunks: how many there are; may be 0.
        encoding: of the chunks.
    """

    split: str
    index: int
    chunks: int
    encoding: Encoding

    @property
    def shape(self) -> tuple[int, int]:
        """Of the tensor: chunks by bytes, or by 16-bit codes."""
        return self.chunks, self.encoding.tokens_per_chunk

    @property
    def data_bytes(self) -> int:
        """Bytes of all chunks."""
        return self.chunks * self.encoding.chunk_bytes

    def header(self) -> bytes:
        """The 4096 bytes before the data."""
        described = {
            "__metadata__": {
                "encoding": msgspec.json.encode(self.encoding, order="sorted").decode(),
                "format": FORMAT,
                "format_version": str(FORMAT_VERSION),
                "index": str(self.index),
                "split": self.split,
            },
            TENSOR: {
                "data_offsets": [0, self.data_bytes],
                "dtype": self.encoding.stored_as,
                "shape": self.shape,
            },
        }
        length = DATA_OFFSET - 8
        return struct.pack("<Q", length) + msgspec.json.encode(described, order="sorted").ljust(length)

    def check_header(self, head: bytes, path: Path | str) -> None:
        """Compare the first bytes of an uncompressed shard with what they must be.

        Raises:
            DatasetError: they differ; says where.
        """
        wanted = self.header()
        if head == wanted:
            return
        if len(head) < DATA_OFFSET:
            raise DatasetError(path, f"the header takes {DATA_OFFSET} bytes, {len(head)} are there")
        at = next(i for i in range(DATA_OFFSET) if head[i] != wanted[i])
        raise DatasetError(
            path,
            f"header byte {at}: expected {wanted[at : at + 40]!r}, found {head[at : at + 40]!r};"
            " the shard is not the one that the manifest names",
        )


def shard_name(split: str, index: int, compression: Compression | None) -> str:
    """The file name of a shard: train-00000.safetensors, with .zst when compressed."""
    return f"{split}-{index:05d}.safetensors{'.zst' if compression else ''}"


@dataclass(frozen=True, slots=True)
class Written:
    """What a finished shard is.

    Attributes:
        bytes: of its file.
        digest: xxh3-128, in hex, of the uncompressed file, and
        stored: of the file as it is.
    """

    bytes: int
    digest: str
    stored: str


class ShardWriter:
    """Writes one shard from front to back; a context manager that closes the file.

    Chunks are made where they are written from: `room` hands out pieces of one buffer.

    Args:
        path: of the file, which must not exist.
        spec: what the header says; exactly `spec.data_bytes` must be written.
        compression: or None for a raw shard.

    Raises:
        OSError: the file could not be made or written.
    """

    def __init__(self, path: Path, spec: ShardSpec, compression: Compression | None) -> None:
        self._left = spec.data_bytes
        self._buffer = np.empty(min(BUFFER_BYTES, spec.data_bytes), np.uint8)
        self._used = 0
        self._digest = xxhash.xxh3_128()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)
        try:
            self._body: _Body = _Raw(self._fd)
            if compression is not None:
                self._body = SeekableWriter(self._fd, compression, spec.encoding.chunk_bytes)
            header = spec.header()
            self._digest.update(header)
            self._body.header(header)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def room(self, n: int) -> npt.NDArray[np.uint8]:
        """The place of the next `n` bytes of chunks, at most `BUFFER_BYTES`; to be filled before the next call."""
        if self._used + n > self._buffer.size:
            self._flush()
        if n > self._left or n > self._buffer.size:
            raise ValueError(f"{n} bytes at once; {min(self._left, self._buffer.size)} are left")
        self._left -= n
        self._used += n
        return self._buffer[self._used - n : self._used]

    def finish(self) -> Written:
        """Write what is held back. Nothing may be written afterwards."""
        if self._left:
            raise ValueError(f"{self._left} bytes of the shard were not written")
        self._flush()
        self._body.finish()
        digest = self._digest.hexdigest()
        return Written(os.fstat(self._fd).st_size, digest, self._body.stored or digest)

    def _flush(self) -> None:
        data = self._buffer[: self._used].data
        self._digest.update(data)
        self._body.write(data)
        self._used = 0


class _Body(Protocol):
    stored: str  # digest of what was written, where that is not what was given

    def header(self, header: bytes) -> None: ...
    def write(self, data: memoryview) -> None: ...
    def finish(self) -> None: ...


class _Raw:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.stored = ""

    def header(self, header: bytes) -> None:
        write_all(self._fd, header)

    def write(self, data: memoryview) -> None:
        write_all(self._fd, data)

    def finish(self) -> None:
        pass


def digest_file(path: Path) -> str:
    """The xxh3-128, in hex, of a file, or of what a compressed shard (by its name) decompresses to.

    Raises:
        DatasetError: it is compressed, and damaged.
        OSError: it could not be read.
    """
    with path.open("rb") as file:
        return digest_of(file, path, is_compressed=path.suffix == ".zst")


def digest_of(file: BinaryIO, where: Path | str, *, is_compressed: bool = False, most: int | None = None) -> str:
    """The xxh3-128, in hex, of an open file from where it is read, or of what it decompresses to.

    Args:
        file: the file.
        where: it lies, for messages.
        is_compressed: whether it is what it decompresses to that is meant.
        most: bytes that it may have; beyond these, no more is looked at.

    Raises:
        DatasetError: it is compressed, and damaged.
        OSError: it could not be read.
    """
    digest, n = xxhash.xxh3_128(), 0
    source: IO[bytes] = file
    if is_compressed:
        source = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
    try:
        while (block := source.read(2**20)) and (most is None or n <= most):
            digest.update(block)
            n += len(block)
    except zstandard.ZstdError as error:
        raise DatasetError(where, f"a zstd frame is damaged: {error}") from error
    return digest.hexdigest()


def digest_stored(path: Path) -> str:
    """The xxh3-128, in hex, of a file as it is.

    Raises:
        OSError: it could not be read.
    """
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def is_shard_name(name: str) -> bool:
    """Whether a file is named as a shard is."""
    return _SHARD_FILE.fullmatch(name) is not None


def is_shard_file(path: Path) -> bool:
    """Whether audiochunk wrote a file: it is named as a shard is, and its header says so."""
    if not is_shard_name(path.name) or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return is_shard_head(path.name, file.read(HEAD_BYTES))
    except OSError:
        return False


def is_shard_head(name: str, head: bytes) -> bool:
    """Whether audiochunk wrote a file of a shard's name, by its first `HEAD_BYTES`."""
    try:
        if name.endswith(".zst"):
            if zstandard.frame_content_size(head) != DATA_OFFSET:
                return False
            head = zstandard.ZstdDecompressor().decompress(head, max_output_size=DATA_OFFSET)
    except zstandard.ZstdError:
        return False
    return f'"format":"{FORMAT}"'.encode() in head[:DATA_OFFSET]
