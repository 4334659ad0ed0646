"""What a codec is given, and what it must give back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from audiochunk.errors import AudiochunkError

Frames = npt.NDArray[np.int32]  # (frames, channels)


class Sound(Protocol):
    """A chunk, or the chunks of a recording together: at least one frame, which can be read more than once.

    Attributes:
        bits: of a code: 8, 12, 16 or 24.
        sample_rate: in Hz.
        channels: that the frames have.
        n_frames: how many there are.
        n_bytes: how many the same takes as it is stored.
    """

    @property
    def bits(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...

    def octets(self) -> Iterator[bytes]:
        """The bytes as they are stored, piece by piece."""
        ...

    def frames(self) -> Iterator[Frames]:
        """The frames, piece by piece: (n, channels), signed, code - 2**(bits-1)."""
        ...


@dataclass(frozen=True, slots=True)
class Silence:
    """One frame of silence in the format of another sound."""

    bits: int
    sample_rate: int
    channels: int
    n_frames: int = 1

    @property
    def n_bytes(self) -> int:
        """Bytes that the frame takes."""
        return self.channels * container_bits(self.bits) // 8

    def octets(self) -> Iterator[bytes]:
        """Zero bytes."""
        yield bytes(self.n_bytes)

    def frames(self) -> Iterator[Frames]:
        """The frame: (1, channels)."""
        yield np.zeros((1, self.channels), np.int32)


class CodecError(AudiochunkError):
    """A codec gave something else back than it was given. `args`: (name of the codec, sentence)."""

    def __str__(self) -> str:
        return "{}: {}".format(*self.args)


def container_bits(bits: int) -> int:
    """Bits of the whole bytes that hold a code.

    >>> container_bits(12)
    16
    """
    return -(-bits // 8) * 8


def as_bytes(frames: npt.NDArray[Any]) -> bytes:
    """Frames as bytes that are equal where the values are: int32, in the machine's order."""
    return np.ascontiguousarray(frames, np.int32).tobytes()


def require_same(given: Iterator[bytes], back: Iterator[bytes], *, codec: str) -> None:
    """Compare two streams of bytes, however they are cut into pieces, with no more than a piece of each in memory.

    Raises:
        CodecError: they differ, or one of them ends before the other.
    """
    at, left, right = 0, memoryview(b""), memoryview(b"")
    while True:
        while not left and (piece := next(given, None)) is not None:
            left = memoryview(piece)
        while not right and (piece := next(back, None)) is not None:
            right = memoryview(piece)
        n = min(len(left), len(right))
        if n == 0:
            break
        if left[:n] != right[:n]:
            differ = np.frombuffer(left[:n], np.uint8) != np.frombuffer(right[:n], np.uint8)
            raise CodecError(codec, f"what it decoded differs from byte {at + int(differ.argmax()):,} on")
        at, left, right = at + n, left[n:], right[n:]
    if left or right:
        raise CodecError(codec, f"what it decoded {'ends' if left else 'goes on'} after {at:,} bytes")
