"""What all codecs have in common."""

import io
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from types import TracebackType
from typing import IO

from audiochunk.tools.codecs.sound import Silence, Sound

_IN_MEMORY = 2**24  # bytes of a sound up to which what is compressed is held in memory


@dataclass(frozen=True, slots=True)
class Measured:
    """What a codec made of one sound.

    Attributes:
        compressed_bytes: all that it wrote, headers included.
        encode_s: seconds that it took.
        decode_s: seconds that the way back took, the comparison not counted.
    """

    compressed_bytes: int
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Codec(ABC):
    """A lossless way to make sounds smaller; can be pickled.

    Attributes:
        name: as `audiochunk evaluate` has it.
    """

    name: str

    def missing(self) -> str | None:
        """How to get what the codec needs and this machine lacks; None where nothing is lacking."""
        return None

    @abstractmethod
    def version(self) -> str:
        """What makes the bytes, and its version."""

    @abstractmethod
    def measure(self, sounds: Sequence[Sound]) -> list[Measured]:
        """Encode, decode and compare sounds, each by itself; bit for bit.

        Raises:
            CodecError: what came back is not what was given.
            MachineError: a command failed.
        """

    def header_bytes(self, sound: Sound) -> int:
        """What LMIC counts as the header: the compressed size of the least there can be, in the format of a sound.

        That is one zero byte for codecs of bytes, as `header_length` of `evaluate_compressor_chunked` in compress.py
        of google-deepmind/language_modeling_is_compression, and one frame of silence for codecs of audio.
        """
        return _header_bytes(self, Silence(sound.bits, sound.sample_rate, sound.channels))


@cache
def _header_bytes(codec: Codec, silence: Silence) -> int:
    return codec.measure([silence])[0].compressed_bytes


class Stopwatch:
    """A context manager that adds up the seconds spent in it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds += perf_counter() - self._since


def scratch(n_bytes: int) -> IO[bytes]:
    """A file for about so many bytes, which is gone when it is closed: in memory where they are few."""
    return io.BytesIO() if n_bytes <= _IN_MEMORY else tempfile.TemporaryFile()
