"""A writer of WAV files in any dialect, right or wrong, that shares nothing with the reader under test."""

import struct
from collections.abc import Iterable

PCM, FLOAT, ALAW, MULAW, IMA_ADPCM, EXTENSIBLE = 1, 3, 6, 7, 0x11, 0xFFFE
# What follows the format tag in a GUID: KSDATAFORMAT_SUBTYPE_*, and those of Ambisonic B-format.
MEDIA_GUID = (0x0000, 0x0010, bytes.fromhex("800000aa00389b71"))
AMBISONIC_GUID = (0x0721, 0x11D3, bytes.fromhex("8644c8c1ca000000"))


def part(name: bytes, body: bytes = b"", *, size: int | None = None, order: str = "<", pad: bool = True) -> bytes:
    """A RIFF chunk; `size` is what it claims to hold, where that is not what it holds."""
    padding = b"\0" if pad and len(body) % 2 else b""
    return name + struct.pack(f"{order}I", len(body) if size is None else size) + body + padding


def fmt(
    *,
    tag: int = PCM,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    align: int | None = None,
    order: str = "<",
    extra: bytes = b"",
    pad: bool = True,
) -> bytes:
    """A `fmt ` RIFF chunk. `align` is right unless given."""
    if align is None:
        align = channels * ((bits + 7) // 8)
    body = struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits)
    return part(b"fmt ", body + extra, order=order, pad=pad)


def extensible(
    *,
    tag: int = PCM,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    valid: int | None = None,
    align: int | None = None,
    order: str = "<",
    guid_rest: tuple[int, int, bytes] = MEDIA_GUID,
) -> bytes:
    """A `fmt ` RIFF chunk of the extensible kind. The numbers in a GUID go by the file's byte order."""
    extra = struct.pack(f"{order}HHIIHH8s", 22, bits if valid is None else valid, 0, tag, *guid_rest)
    return fmt(tag=EXTENSIBLE, channels=channels, rate=rate, bits=bits, align=align, order=order, extra=extra)


def data(body: bytes, *, size: int | None = None, order: str = "<", pad: bool = True) -> bytes:
    """A `data` RIFF chunk."""
    return part(b"data", body, size=size, order=order, pad=pad)


def ds64(data_size: int, *, riff_size: int = 0, frames: int = 0) -> bytes:
    """The RIFF chunk in which RF64 and BW64 keep the sizes that 32 bits do not hold."""
    return part(b"ds64", struct.pack("<QQQI", riff_size, data_size, frames, 0))


def wave(*parts: bytes, magic: bytes = b"RIFF", size: int | None = None) -> bytes:
    """A whole file."""
    body = b"WAVE" + b"".join(parts)
    order = ">" if magic == b"RIFX" else "<"
    if size is None:
        size = 0xFFFFFFFF if magic in (b"RF64", b"BW64") else len(body)
    return magic + struct.pack(f"{order}I", size) + body


def integers(values: Iterable[int], width: int, *, order: str = "<") -> bytes:
    """Signed integers as PCM data: of one byte with 128 added, of more in two's complement."""
    byteorder = "big" if order == ">" else "little"
    if width == 1:
        return bytes(value + 128 for value in values)
    return b"".join(value.to_bytes(width, byteorder, signed=True) for value in values)


def floats(values: Iterable[float], width: int, *, order: str = "<") -> bytes:
    """Floats as IEEE data of 4 or 8 bytes each."""
    return b"".join(struct.pack(f"{order}{'f' if width == 4 else 'd'}", value) for value in values)
