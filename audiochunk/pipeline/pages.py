"""Pages of bytes in a file: appended one after the other, read in any order."""

import os
from array import array
from typing import IO

import msgspec
import numpy as np
import xxhash
import zstandard

from audiochunk.errors import MachineError

_LEVEL = 1


class PageIndex(msgspec.Struct, frozen=True):
    """Where pages lie in a file; each field holds 64-bit little-endian integers.

    Attributes:
        starts: first byte of each page.
        sizes: bytes of each.
        digests: xxh3-64 of each.
    """

    starts: bytes
    sizes: bytes
    digests: bytes


class Pages:
    """Compressed pages in an open file, which processes that were forked may share.

    Args:
        file: where they lie.
        end: where the next one goes.
        index: of those that are there.

    Raises:
        ValueError: the index is none.
    """

    def __init__(self, file: IO[bytes], *, end: int = 0, index: PageIndex | None = None) -> None:
        self._file, self._end = file, end
        columns = (b"", b"", b"") if index is None else msgspec.structs.astuple(index)
        self._starts, self._sizes, self._digests = map(unpack_numbers, columns)
        self._decompressor = zstandard.ZstdDecompressor()
        size = os.fstat(file.fileno()).st_size
        if not len(self._starts) == len(self._sizes) == len(self._digests):
            raise ValueError("the pages have more places than sizes, or the other way round")
        if any(start + n > size for start, n in zip(self._starts, self._sizes, strict=True)):
            raise ValueError(f"pages lie behind the end of {size:,} bytes")

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def end(self) -> int:
        """The byte after the last page."""
        return self._end

    @property
    def index(self) -> PageIndex:
        """Where the pages lie."""
        return PageIndex(*map(pack_numbers, (self._starts, self._sizes, self._digests)))

    def append(self, data: bytes) -> None:
        """Add a page.

        Raises:
            OSError: it could not be written.
        """
        self._append(zstandard.compress(data, _LEVEL))

    def read(self, number: int) -> bytes:
        """What was appended as a page.

        Raises:
            MachineError: the file is damaged.
            OSError: it could not be read.
        """
        try:
            return self._decompressor.decompress(self._stored(number))
        except zstandard.ZstdError as error:
            raise self._damaged() from error

    def copy_to(self, other: "Pages") -> None:
        """Append all pages to others, as they are.

        Raises:
            MachineError: the file is damaged.
            OSError: it could not be read, or the other not written.
        """
        for number in range(len(self)):
            other._append(self._stored(number))

    def _append(self, stored: bytes) -> None:
        done = 0
        while done < len(stored):
            done += os.pwrite(self._file.fileno(), stored[done:], self._end + done)
        self._starts.append(self._end)
        self._sizes.append(len(stored))
        self._digests.append(xxhash.xxh3_64_intdigest(stored))
        self._end += len(stored)

    def _stored(self, number: int) -> bytes:
        stored = os.pread(self._file.fileno(), self._sizes[number], self._starts[number])
        if xxhash.xxh3_64_intdigest(stored) != self._digests[number]:
            raise self._damaged()
        return stored

    def _damaged(self) -> MachineError:
        return MachineError("the list of recordings that the plan was made of is damaged; plan again")


def pack_numbers(numbers: "array[int]") -> bytes:
    """Integers as 64-bit little-endian ones."""
    return np.array(numbers, "<u8").tobytes()


def unpack_numbers(data: bytes) -> "array[int]":
    """What `pack_numbers` has packed.

    Raises:
        ValueError: the bytes are not a multiple of 8.
    """
    return array("Q", np.frombuffer(data, "<u8").astype(np.uint64).tobytes())
