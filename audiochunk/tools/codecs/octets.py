"""Codecs of bytes, which know nothing of audio: gzip, bzip2, xz, Zstandard, Brotli.

They are given the bytes of a sound as they are stored. Each works piece by piece, so that a chunk and a day of audio
take the same way; of what is compressed little is in memory as well.
"""

import bz2
import importlib.metadata
import lzma
import platform
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, NamedTuple, Protocol

import zstandard

from audiochunk.tools.codecs.codec import Codec, Measured, Stopwatch, scratch
from audiochunk.tools.codecs.sound import Sound, require_same

_READ_BYTES = 2**16
_PIECE_BYTES = 2**18


class Encoder(NamedTuple):
    """Two functions: one is given pieces, the other is called when there are no more; both return compressed bytes."""

    feed: Callable[[bytes], bytes]
    finish: Callable[[], bytes]


MakeEncoder = Callable[[int], Encoder]  # given the bytes to come
Decode = Callable[[IO[bytes]], Iterator[bytes]]


@dataclass(frozen=True)
class OctetCodec(Codec):
    """A codec of bytes.

    Attributes:
        encoder: makes one.
        decode: from what is compressed to pieces of bounded size.
        library: gives its name and version.
        is_there: whether the library is, where it may be missing.
    """

    encoder: MakeEncoder
    decode: Decode
    library: Callable[[], str]
    is_there: Callable[[], bool] | None = None

    def missing(self) -> str | None:
        """How to get the package."""
        if self.is_there is None or self.is_there():
            return None
        return "pip install 'audiochunk[codecs]'"

    def version(self) -> str:
        """The library and its version."""
        return self.library()

    def measure(self, sounds: Sequence[Sound]) -> list[Measured]:
        """Encode, decode and compare the bytes of sounds."""
        return [self._measure(sound) for sound in sounds]

    def header_bytes(self, sound: Sound) -> int:
        """The compressed size of one zero byte."""
        encoder = self.encoder(1)
        return len(encoder.feed(bytes(1)) + encoder.finish())

    def _measure(self, sound: Sound) -> Measured:
        encoding, decoding = Stopwatch(), Stopwatch()
        with scratch(sound.n_bytes) as file:
            self._encode(sound, file, encoding)
            size = file.tell()
            file.seek(0)
            require_same(sound.octets(), timed(self.decode(file), decoding), codec=self.name)
        return Measured(size, encoding.seconds, decoding.seconds)

    def _encode(self, sound: Sound, file: IO[bytes], watch: Stopwatch) -> None:
        # The encoder is gone before decoding begins: xz takes six times as long where memory is not used again.
        with watch:
            encoder = self.encoder(sound.n_bytes)
        for piece in sound.octets():
            with watch:
                file.write(encoder.feed(piece))
        with watch:
            file.write(encoder.finish())


def timed(pieces: Iterator[bytes], watch: Stopwatch) -> Iterator[bytes]:
    """The same pieces; the time that it takes to make them is added up."""
    while True:
        with watch:
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def zlib_version() -> str:
    """Of the zlib that Python has."""
    return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


def python_version() -> str:
    """Of Python, whose libbz2 and liblzma do not say theirs."""
    return f"Python {platform.python_version()}"


def zstd_version() -> str:
    """Of libzstd."""
    return f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"


def has_brotli() -> bool:
    """Whether there is a brotli that can decode piece by piece, which came with 1.2."""
    try:
        import brotli
    except ImportError:
        return False
    return hasattr(brotli.Decompressor, "can_accept_more_data")


def brotli_version() -> str:
    """Of the package, which has the library in it."""
    return f"brotli {importlib.metadata.version('brotli')}"


def gzip_9(_: int) -> Encoder:
    """What `gzip -9` writes: deflate, and 18 bytes around it."""
    gzip = zlib.compressobj(9, wbits=31)
    return Encoder(gzip.compress, gzip.flush)


def gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a gzip file."""
    gzip = zlib.decompressobj(31)
    while data := gzip.unconsumed_tail or file.read(_READ_BYTES):
        yield gzip.decompress(data, _PIECE_BYTES)
    yield gzip.flush()


def bzip2(_: int) -> Encoder:
    """bzip2 at its default, level 9."""
    bzip = bz2.BZ2Compressor()
    return Encoder(bzip.compress, bzip.flush)


def bunzip2(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a bzip2 file."""
    return _drain(bz2.BZ2Decompressor(), file)


def xz(_: int) -> Encoder:
    """xz at its default, preset 6, as `lzma.compress` gives it and LMIC counts it."""
    compressor = lzma.LZMACompressor()
    return Encoder(compressor.compress, compressor.flush)


def unxz(file: IO[bytes]) -> Iterator[bytes]:
    """The content of an xz file."""
    return _drain(lzma.LZMADecompressor(), file)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def _drain(decompressor: _Decompressor, file: IO[bytes]) -> Iterator[bytes]:
    while not decompressor.eof:
        data = file.read(_READ_BYTES) if decompressor.needs_input else b""
        if not data and decompressor.needs_input:
            return
        yield decompressor.decompress(data, _PIECE_BYTES)


def zstd_3(n_bytes: int) -> Encoder:
    """Zstandard at level 3, told how much is to come, as the command is by the size of a file."""
    return _zstd(3, n_bytes)


def zstd_19(n_bytes: int) -> Encoder:
    """Zstandard at level 19, the highest without --ultra."""
    return _zstd(19, n_bytes)


def _zstd(level: int, n_bytes: int) -> Encoder:
    # Without the size it would make tables for a window of 8 MiB for a chunk of 2048 bytes.
    compressor = _zstd_compressor(level).compressobj(size=n_bytes)
    return Encoder(compressor.compress, compressor.flush)


@cache
def _zstd_compressor(level: int) -> zstandard.ZstdCompressor:
    """The one whose memory all sounds share, one after the other."""
    return zstandard.ZstdCompressor(level=level)


def unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a zstd file."""
    return zstandard.ZstdDecompressor().read_to_iter(file, read_size=_READ_BYTES, write_size=_PIECE_BYTES)


def brotli(_: int) -> Encoder:
    """Brotli at its default: quality 11, a window of 4 MiB."""
    import brotli

    compressor = brotli.Compressor()
    return Encoder(compressor.process, compressor.finish)


def unbrotli(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a brotli file."""
    import brotli

    decompressor = brotli.Decompressor()
    while not decompressor.is_finished():
        # It says that it takes more while there is output left that a limit held back.
        data = file.read(_READ_BYTES) if decompressor.can_accept_more_data() else b""
        piece = decompressor.process(data, output_buffer_limit=_PIECE_BYTES)
        if not data and not piece:
            return
        yield piece
