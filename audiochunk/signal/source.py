"""What the bytes of a recording are read from: a file descriptor, or something else that gives any range of them.

A file descriptor is an int, and whoever reads looks for that first: files on this machine are read by system calls,
with nothing in between.
"""

import os
from abc import ABC, abstractmethod


class ByteSource(ABC):
    """Bytes that do not lie in a file of this machine.

    Args:
        size: how many there are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._failure: BaseException | None = None

    @abstractmethod
    def read_into(self, view: memoryview, at: int) -> int:
        """Fill the beginning of `view` with what lies at `at`, and say how much that was; 0 only at the end.

        Raises:
            RecordingError: the recording is not what it was.
            MachineError: the bytes could not be had, which says nothing about the recording.
        """

    @abstractmethod
    def check(self) -> None:
        """See that the recording is still the one that was scanned.

        Raises:
            RecordingError: it is not.
            MachineError: that could not be told.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held in memory; reading begins anew."""

    def pread(self, n: int, at: int) -> bytes:
        """The `n` bytes at `at`, fewer only at the end."""
        data = bytearray(max(0, min(n, self.size - at)))
        done = 0
        with memoryview(data) as view:
            while done < len(view) and (got := self.read_into(view[done:], at + done)):
                done += got
        return bytes(data[:done])

    def fail(self, error: BaseException) -> None:
        """Keep an error that cannot be raised where it came up; nothing is read any more."""
        self._failure = self._failure or error

    def raise_failure(self) -> None:
        """Raise the error that was kept, if there is one."""
        if self._failure is not None:
            raise self._failure


Source = int | ByteSource


class SourceFile:
    """The face of a source for libsndfile: a file with a position.

    libsndfile cannot be told that reading failed: it takes a short read for the end of the file. So errors are kept
    by the source, and whoever called libsndfile has them raised before believing what it said.

    Args:
        source: what is read.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source, self._position = source, 0

    def readinto(self, view: memoryview) -> int:
        """Fill `view`, short only at the end of the file, or where reading failed."""
        done = 0
        try:
            self._source.raise_failure()
            with memoryview(view) as whole:
                while done < len(whole) and (n := self._source.read_into(whole[done:], self._position + done)):
                    done += n
        except BaseException as error:  # noqa: BLE001 - nothing passes through C; `raise_failure` raises it
            self._source.fail(error)
            done = 0
        self._position += done
        return done

    def read(self, n: int) -> bytes:
        """The next `n` bytes."""
        data = bytearray(n)
        with memoryview(data) as view:
            done = self.readinto(view)
        return bytes(data[:done])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, and say which it is."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


def duplicate(source: Source) -> Source:
    """The same bytes, to be closed on their own."""
    return os.dup(source) if isinstance(source, int) else source


def close(source: Source) -> None:
    """Let go of a source."""
    if isinstance(source, int):
        os.close(source)
    else:
        source.close()
