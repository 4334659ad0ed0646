"""Codecs of bytes write what the libraries' own functions write, and what lies is found out."""

import bz2
import gzip
import io
import lzma
import sys
import tempfile
import tracemalloc
import types
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO

import numpy as np
import pytest
import zstandard

from audiochunk.tools.codecs import codec, octets
from audiochunk.tools.codecs.octets import Encoder, OctetCodec
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.codecs.sound import CodecError

from .sounds import Made, noise, tone

ALL = [codec for codec in CODECS.values() if isinstance(codec, OctetCodec)]
THERE = [codec for codec in ALL if codec.missing() is None]
SOUNDS = [tone(1, bits=8), tone(2048, bits=8), tone(30_000, channels=2), noise(5000)]


def plain_brotli(data: bytes) -> bytes:
    brotli = pytest.importorskip("brotli")
    return brotli.compress(data)


OF_THE_LIBRARIES: dict[str, Callable[[bytes], bytes]] = {
    "gzip-9": lambda data: gzip.compress(data, 9),
    "bz2": bz2.compress,
    "lzma": lzma.compress,
    "zstd-3": zstandard.ZstdCompressor(level=3).compress,
    "zstd-19": zstandard.ZstdCompressor(level=19).compress,
    "brotli": plain_brotli,
}


@pytest.mark.parametrize("sound", SOUNDS, ids=lambda sound: str(sound.n_bytes))
@pytest.mark.parametrize("name", OF_THE_LIBRARIES)
def test_sizes_are_those_of_the_library_at_once(name: str, sound: Made) -> None:
    expected = len(OF_THE_LIBRARIES[name](sound.stored()))
    assert CODECS[name].measure([replace(sound, piece=10**6)])[0].compressed_bytes == expected


@pytest.mark.parametrize("name", OF_THE_LIBRARIES)
def test_the_header_is_that_of_lmic(name: str) -> None:
    expected = len(OF_THE_LIBRARIES[name]((0).to_bytes(1, "little")))
    assert CODECS[name].header_bytes(SOUNDS[2]) == expected


def test_sizes_of_one_zero_byte_are_those_known_of_the_formats() -> None:
    sizes = {name: CODECS[name].header_bytes(SOUNDS[0]) for name in ("gzip-9", "bz2", "lzma", "zstd-3")}
    assert sizes == {"gzip-9": 18 + 3, "bz2": 37, "lzma": 60, "zstd-3": 10}


def test_gzip_is_deflate_and_18_bytes() -> None:
    stored = SOUNDS[1].stored()
    deflate = zlib.compressobj(9, wbits=-15)
    size = len(deflate.compress(stored) + deflate.flush())
    assert CODECS["gzip-9"].measure([SOUNDS[1]])[0].compressed_bytes == size + 18


@pytest.mark.parametrize("codec", THERE, ids=lambda codec: codec.name)
def test_what_is_decoded_comes_in_small_pieces(codec: OctetCodec) -> None:
    n = 3_000_000
    encoder = codec.encoder(n)
    file = io.BytesIO(encoder.feed(bytes(n)) + encoder.finish())
    pieces = [len(piece) for piece in codec.decode(file)]
    assert sum(pieces) == n
    assert max(pieces) <= 2**20


class Zeros(Made):
    """A sound of so many MiB as there are samples, handed out one by one."""

    @property
    def n_bytes(self) -> int:
        return len(self.samples) * 2**20

    def octets(self) -> Iterator[bytes]:
        return (bytes(2**20) for _ in self.samples)


@pytest.mark.parametrize("codec", [c for c in THERE if c.name != "brotli"], ids=lambda codec: codec.name)
def test_a_long_sound_takes_no_more_memory_than_a_short_one(codec: OctetCodec) -> None:
    peaks = []
    for n in (10, 30):
        tracemalloc.start()
        try:
            codec.measure([Zeros(np.zeros((n, 1), np.int32), 8)])
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4 * 2**20


@pytest.mark.parametrize("codec", THERE, ids=lambda codec: codec.name)
def test_a_file_that_was_cut_ends_and_is_caught(codec: OctetCodec) -> None:
    def lose(file: IO[bytes]) -> Iterator[bytes]:
        return codec.decode(io.BytesIO(file.read()[:-100]))

    with pytest.raises(CodecError, match="ends after"):
        replace(codec, decode=lose).measure([noise(5000)])


def test_what_is_compressed_of_a_long_sound_lies_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(codec, "_IN_MEMORY", 100)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: opened.append(io.BytesIO()) or opened[-1])
    measured = CODECS["gzip-9"].measure([tone(99, bits=8), tone(101, bits=8)])
    assert len(opened) == 1
    assert opened[0].closed
    assert measured[1].compressed_bytes == len(gzip.compress(tone(101, bits=8).stored(), 9))


def lies(change: Callable[[bytes], bytes]) -> OctetCodec:
    def decode(file: IO[bytes]) -> Iterator[bytes]:
        return iter([change(gzip.decompress(file.read()))])

    return OctetCodec("liar", octets.gzip_9, decode, octets.zlib_version)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:], "differs from byte 700 on"),
        (lambda data: data[:-1], "ends after 2,047 bytes"),
        (lambda data: data + b"\0", "goes on after 2,048 bytes"),
        (lambda data: b"", "ends after 0 bytes"),
    ],
)
def test_a_codec_that_lies_is_caught(change: Callable[[bytes], bytes], found: str) -> None:
    with pytest.raises(CodecError, match=f"^liar: what it decoded {found}$"):
        lies(change).measure([tone(2048, bits=8)])


def test_a_codec_that_loses_what_it_wrote_is_caught() -> None:
    def half(_: int) -> Encoder:
        gzip = zlib.compressobj(9, wbits=31)
        return Encoder(lambda piece: gzip.compress(piece[::2]), gzip.flush)

    with pytest.raises(CodecError):
        OctetCodec("half", half, octets.gunzip, octets.zlib_version).measure([tone(2048, bits=8)])


def test_a_missing_package_is_one_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    missing = {codec.name: codec.missing() for codec in ALL if codec.missing()}
    assert missing == {"brotli": "pip install 'audiochunk[codecs]'"}


def test_a_brotli_that_cannot_decode_piece_by_piece_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.ModuleType("brotli")
    old.Decompressor = type("Decompressor", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "brotli", old)
    assert CODECS["brotli"].missing() == "pip install 'audiochunk[codecs]'"
