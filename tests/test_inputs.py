"""docs/inputs.md: what becomes of every kind of file, and that the page says just that.

The files are written here byte by byte, put through `audiochunk.build` and read back with `audiochunk.open`. Their
codes are compared with literals, their notes and errors with those in recordings.jsonl. Then every row of the page's
tables is compared with what was seen.
"""

import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import RecordingError, RecordingsError
from audiochunk.pipeline.run import make_plan
from audiochunk.signal.audio import Recording, probe
from audiochunk.signal.opening import open_regular
from audiochunk.storage.recordings import RecordingRow, read_rows
from tests.waiting import LONG_S

from .signal.wavs import (
    ALAW,
    AMBISONIC_GUID,
    FLOAT,
    MULAW,
    data,
    ds64,
    extensible,
    floats,
    fmt,
    integers,
    part,
    wave,
)

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")

Outcome = Literal["exact", "decoded", "refused"]

# What is said more than once.
UNFINISHED = "unfinished header: read to the end of the file"
LOW = "low-justified"
COUNTED = "length counted by decoding"
NOT_KNOWN = "libsndfile: Format not recognised."
NO_NUMBERS = "holds NaN or infinite samples"
LOST_SYNC = "libsndfile: Error : flac decoder lost sync."
POINTER = "this is a Git LFS pointer, not the recording: run `git lfs pull`"
NO_FILE = "a link that leads to no file"
DENIED = "permission denied"
LOOP = "a link that cannot be followed: too many levels of symbolic links"
CLOSED = "a link that cannot be followed: permission denied"
NOT_LISTED = "folder cannot be listed: permission denied"


# What libsndfile's log tells of W64, AIFF, AU and CAF.
MORE_PROMISED = "truncated: header promises more audio than is there"


def truncated(promised: int, there: int, unit: str = "frames") -> str:
    return f"truncated: header promises {promised} {unit}, {there} are there"


# -- the files


@dataclass(frozen=True)
class Case:
    """A file, and what becomes of it.

    Attributes:
        row: of the page that it belongs to: the text of the first cell.
        name: of the file.
        content: its bytes.
        outcome: "exact" where audiochunk reads it, "decoded" where libsndfile does.
        samples: left-justified in 24 bits; of several channels, one channel after the other.
        notes: of its row in recordings.jsonl; "…" stands for anything.
        error: likewise.
        libsndfile: "same" samples, "other" samples, or it "refuses" the file. "" is not compared.
        clipped: samples beyond full scale.
    """

    row: str
    name: str
    content: bytes = field(repr=False)
    outcome: Outcome
    samples: Sequence[int] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    error: str | None = None
    libsndfile: Literal["same", "other", "refuses", ""] = "same"
    clipped: int = 0


S16 = [0, 1, -1, 32767, -32768, 256, -300, 77]
S24 = [0, 1, -1, 2**23 - 1, -(2**23), 65536, -70000, 5]
PCM16 = integers(S16, 2)
PCM24 = integers(S24, 3)


def up(values: Iterable[int], bits: int) -> list[int]:
    """Integers of so many bits, left-justified in 24."""
    return [value << 24 - bits if bits <= 24 else value >> bits - 24 for value in values]


IN_24 = up(S16, 16)


def from_mulaw(code: int) -> int:
    """ITU-T G.711, in 16 bits."""
    code = ~code & 0xFF
    size = ((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)
    return 0x84 - size if code & 0x80 else size - 0x84


def from_alaw(code: int) -> int:
    """ITU-T G.711, in 16 bits."""
    code ^= 0x55
    size, segment = (code & 0x0F) << 4, (code & 0x70) >> 4
    size = size + 8 if segment == 0 else size + 0x108 << segment - 1
    return size if code & 0x80 else -size


LAW = bytes(range(256))
FROM_MULAW = up(map(from_mulaw, LAW), 16)
FROM_ALAW = up(map(from_alaw, LAW), 16)


def tone(frames: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    return (20_000 * np.sin(np.arange(frames) / 9)).astype(np.int16)


def written(container: str, subtype: str | None = None, *, samples: Any = None) -> bytes:
    """What soundfile writes; a tone of 2,000 frames unless `samples` are given."""
    file = io.BytesIO()
    sf.write(file, tone(2000) if samples is None else samples, 16_000, format=container, subtype=subtype)
    return file.getvalue()


def decoded_by_libsndfile(content: bytes) -> list[int]:
    """In 24 bits; the reference for what only libsndfile can decode."""
    with sf.SoundFile(io.BytesIO(content)) as file:
        is_float = file.subtype in ("VORBIS", "MPEG_LAYER_III")
        pieces = []
        while len(piece := file.read(4096, dtype="float64" if is_float else "int32")):
            pieces.append(piece)
    samples = np.concatenate(pieces)
    if is_float:
        samples = np.rint(samples * 2.0**31).clip(-(2**31), 2**31 - 1)
    return (samples.astype(np.int64) >> 8).tolist()


def with_data_size(content: bytes, size: int) -> bytes:
    at = content.index(b"data") + 4
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


def with_flac_frames(content: bytes, frames: int) -> bytes:
    """FLAC whose header claims another length; it has 36 bits for it, and 0 says that it is not known."""
    kept = int.from_bytes(content[18:26], "big") >> 36 << 36
    return content[:18] + (kept | frames).to_bytes(8, "big") + content[26:]


def ima_parts() -> tuple[bytes, bytes]:
    """The `fmt ` and `fact` parts of 4 blocks of IMA ADPCM, and their `data` part."""
    content = written("WAV", "IMA_ADPCM")
    at = content.index(b"data")
    assert len(content) - at == 8 + 4 * 256
    return content[12:at], content[at:]


def mp3_in_wav(mp3: bytes) -> bytes:
    """MPEGLAYER3WAVEFORMAT around an MPEG stream."""
    extra = struct.pack("<HHIHHH", 12, 1, 2, 576, 1, 1393)
    header = fmt(tag=0x55, bits=0, rate=16_000, align=1, extra=extra)
    return wave(header, part(b"fact", struct.pack("<I", 4000)), data(mp3))


def unsigned(values: Iterable[int], width: int) -> bytes:
    """Integers whose upper bits are cut off, as data."""
    return b"".join((value & 2 ** (8 * width) - 1).to_bytes(width, "little") for value in values)


def id3(size: int) -> bytes:
    return b"ID3\3\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


def make_codings() -> Iterator[Case]:
    bytes8 = [0, 1, -1, 127, -128]
    yield Case("8-bit PCM", "u8.wav", wave(fmt(bits=8), data(integers(bytes8, 1))), "exact", up(bytes8, 8))
    yield Case("16-bit PCM", "s16.wav", wave(fmt(), data(PCM16)), "exact", IN_24)
    stereo = wave(fmt(channels=2), data(PCM16))
    yield Case("16-bit PCM", "s16-stereo.wav", stereo, "exact", [*IN_24[::2], *IN_24[1::2]])
    yield Case("24-bit PCM", "s24.wav", wave(fmt(bits=24), data(PCM24)), "exact", S24)
    s32 = [0, 256, -256, 255, -1, 2**31 - 1, -(2**31)]
    yield Case("32-bit PCM", "s32.wav", wave(fmt(bits=32), data(integers(s32, 4))), "exact", up(s32, 32))
    values = [0.0, 0.5, -0.25, -1.0, 1.0, 1.5, -2.0, 2.0**-23]
    expected = [0, 2**22, -(2**21), -(2**23), 2**23 - 1, 2**23 - 1, -(2**23), 1]
    for row, width in (("32-bit float", 4), ("64-bit float", 8)):
        for header in (fmt, extensible):
            name = f"f{8 * width}-{header.__name__}.wav"
            content = wave(header(tag=FLOAT, bits=8 * width), data(floats(values, width)))
            yield Case(row, name, content, "exact", expected, libsndfile="other", clipped=3)
    for row, tag, expected in (("A-law", ALAW, FROM_ALAW), ("mu-law", MULAW, FROM_MULAW)):
        for header in (fmt, extensible):
            name = f"{row}-{header.__name__}.wav"
            yield Case(row, name, wave(header(tag=tag, bits=8), data(LAW)), "exact", expected)
    for subtype, row, notes in (
        ("IMA_ADPCM", "IMA ADPCM, Microsoft ADPCM", ("lossy: IMA_ADPCM",)),
        ("MS_ADPCM", "IMA ADPCM, Microsoft ADPCM", ("lossy: MS_ADPCM",)),
        ("GSM610", "GSM 6.10, G.721, NMS ADPCM", (COUNTED, "lossy: GSM610")),
        ("G721_32", "GSM 6.10, G.721, NMS ADPCM", (COUNTED, "lossy: G721_32")),
        ("NMS_ADPCM_16", "GSM 6.10, G.721, NMS ADPCM", (COUNTED, "lossy: NMS_ADPCM_16")),
        ("NMS_ADPCM_32", "GSM 6.10, G.721, NMS ADPCM", (COUNTED, "lossy: NMS_ADPCM_32")),
    ):
        content = written("WAV", subtype)
        yield Case(row, f"{subtype}.wav", content, "decoded", decoded_by_libsndfile(content), notes)
    row = "FLAC, AIFF, AU, CAF"
    for container, name in (("FLAC", "a.flac"), ("AIFF", "a.aiff"), ("AU", "a.snd"), ("CAF", "a.caf")):
        yield Case(row, name, written(container, "PCM_16", samples=np.array(S16, np.int16)), "decoded", IN_24)
    wide = np.array(S24, np.int32) << 8
    yield Case(row, "wide.flac", written("FLAC", "PCM_24", samples=wide), "decoded", S24)
    yield Case(row, "wide.aif", written("AIFF", "PCM_24", samples=wide), "decoded", S24)
    yield Case(row, "alac.caf", written("CAF", "ALAC_16", samples=np.array(S16, np.int16)), "decoded", IN_24)
    yield Case(row, "wide-alac.caf", written("CAF", "ALAC_24", samples=wide), "decoded", S24)
    for bits in (20, 32):
        content = written("CAF", f"ALAC_{bits}")
        error = f"unsupported codec: {bits} bit ALAC"
        yield Case("ALAC of 20 or 32 bits", f"alac-{bits}.caf", content, "refused", error=error, libsndfile="other")
    row = "another format under a name of these, FLAC in `.wav` for one"
    yield Case(row, "flac.wav", written("FLAC", samples=np.array(S16, np.int16)), "decoded", IN_24)
    yield Case(row, "wav.flac", wave(fmt(), data(PCM16)), "exact", IN_24)
    content = written("OGG", "VORBIS")
    row = "Ogg Vorbis or MP3 under such a name"
    yield Case(row, "ogg.wav", content, "decoded", decoded_by_libsndfile(content), ("lossy: VORBIS",))
    if "MP3" in sf.available_formats():
        mp3 = written("MP3", samples=tone(4000))
        wrapped = mp3_in_wav(mp3)
        notes = ("lossy: MPEG_LAYER_III",)
        yield Case(row, "mp3.wav", mp3, "decoded", decoded_by_libsndfile(mp3), notes)
        yield Case("MP3 in WAV", "mp3-in.wav", wrapped, "decoded", decoded_by_libsndfile(wrapped), notes)
        error = "decoding ended at frame … of 4000"
        row = "MP3 in WAV, truncated"
        promised = len(mp3) + len(mp3) % 2
        assert struct.unpack_from("<I", wrapped, wrapped.index(b"data") + 4) == (len(mp3),)
        said = (truncated(len(mp3), promised - 500, "bytes of audio"), *notes)
        yield Case(row, "mp3-short.wav", wrapped[:-500], "refused", (), said, error, libsndfile="")
        error = "unsupported codec: format tag 0x0055"
        yield Case(row, "mp3-stub.wav", wrapped[:-1000], "refused", error=error, libsndfile="refuses")
        row = "MP3 in WAV with a data size of 0"
        content = with_data_size(wrapped, 0)
        yield Case(row, "mp3-unfinished.wav", content, "decoded", decoded_by_libsndfile(wrapped), (UNFINISHED, *notes))


def make_containers() -> Iterator[Case]:
    low = [*S24[:3], 300, -300]
    high = [value << 8 for value in low]
    headers = {"ext": extensible(bits=32, valid=24), "plain": fmt(bits=24, align=4)}
    said = {"ext": "an extensible header", "plain": "a plain header"}
    for kind, header in headers.items():
        row = f"24 bits in 4 bytes under {said[kind]}, high"
        sees: Any = "same" if kind == "ext" else "other"
        yield Case(row, f"24in4-{kind}-high.wav", wave(header, data(unsigned(high, 4))), "exact", low, libsndfile=sees)
        row = f"24 bits in 4 bytes under {said[kind]}, low"
        for name, body in (
            ("low", unsigned(low, 4)),
            ("low-zeros", unsigned([value & 0xFFFFFF for value in low], 4)),
        ):
            content = wave(header, data(body))
            yield Case(row, f"24in4-{kind}-{name}.wav", content, "exact", low, (LOW,), libsndfile="other")
    twelve = [0, 1, -1, 2047, -2048, 100]
    row = "9 to 15 bits in 2 bytes, 17 to 23 in 3, high"
    for header in (extensible(valid=12), fmt(bits=12)):
        content = wave(header, data(unsigned([value << 4 for value in twelve], 2)))
        yield Case(row, f"12-high-{len(header)}.wav", content, "exact", up(twelve, 12))
        content = wave(header, data(unsigned(twelve, 2)))
        name = f"12-low-{len(header)}.wav"
        of_low = "9 to 15 bits in 2 bytes, 17 to 23 in 3, low"
        yield Case(of_low, name, content, "exact", up(twelve, 12), (LOW,), libsndfile="other")
    twenty = [0, 1, -1, 2**19 - 1, -(2**19)]
    content = wave(fmt(bits=20), data(unsigned([value << 4 for value in twenty], 3)))
    yield Case(row, "20-high.wav", content, "exact", up(twenty, 20))
    content = wave(extensible(bits=24, valid=20), data(unsigned(twenty, 3)))
    yield Case(of_low, "20-low.wav", content, "exact", up(twenty, 20), (LOW,), libsndfile="other")
    seven = [0, 1, -1, 63, -64]
    for name, values, notes in (
        ("high", [(value + 64) * 2 for value in seven], ()),
        ("low", [value + 64 for value in seven], (LOW,)),
    ):
        sees = "other" if notes else "same"
        content = wave(fmt(bits=7), data(bytes(values)))
        of_bytes = f"1 to 7 bits in a byte, {name}"
        yield Case(of_bytes, f"7-{name}.wav", content, "exact", up(seven, 7), notes, libsndfile=sees)
    row = "samples that use more bits than the header says"
    yield Case(row, "12-of-16.wav", wave(extensible(valid=12), data(PCM16)), "exact", IN_24)
    quiet = [value << 4 for value in (1, -1, 3)] + [0x7001]
    yield Case(row, "12-of-16-once.wav", wave(fmt(bits=12), data(unsigned(quiet, 2))), "exact", up(quiet, 16))
    content = wave(extensible(bits=32, valid=24), data(bytes(32)))
    yield Case("silence in a container that is wider than its bits", "24in4-silence.wav", content, "exact", [0] * 8)
    row = "valid bits 0, or more than the container has"
    for valid in (0, 17, 33):
        yield Case(row, f"valid-{valid}.wav", wave(extensible(valid=valid), data(PCM16)), "exact", IN_24)
    row = "block align less than channels × bytes"
    yield Case(row, "align-1.wav", wave(fmt(bits=24, align=1), data(PCM24)), "exact", S24)
    yield Case(row, "align-0.wav", wave(fmt(align=0), data(PCM16)), "exact", IN_24)
    content = wave(fmt(channels=2, align=2), data(PCM16))
    yield Case(row, "align-2-stereo.wav", content, "exact", [*IN_24[::2], *IN_24[1::2]])
    row = "block align that is no multiple of the channels"
    error = "frames of 5 bytes do not divide among 2 channels"
    content = wave(fmt(channels=2, align=5), data(PCM16))
    yield Case(row, "align-5.wav", content, "refused", error=error, libsndfile="other")
    row = "PCM in more than 4 bytes, or in none"
    for bits, width in ((64, 8), (45, 6), (0, 0)):
        error = f"PCM samples of {bits} bits in {width} bytes; taken are 1 to 4 bytes"
        content = wave(fmt(bits=bits), data(bytes(48)))
        yield Case(row, f"pcm-{bits}.wav", content, "refused", error=error, libsndfile="refuses")
    for bits in (16, 24, 80):
        error = f"float samples of {bits} bits in {bits // 8} bytes; taken are 4 or 8 bytes"
        content = wave(fmt(tag=FLOAT, bits=bits), data(bytes(48)))
        row = "float in other than 4 or 8 bytes"
        yield Case(row, f"float-{bits}.wav", content, "refused", error=error, libsndfile="refuses")


def make_forms() -> Iterator[Case]:
    big = data(integers(S16, 2, order=">"), order=">")
    yield Case("RIFX", "rifx.wav", wave(fmt(order=">"), big, magic=b"RIFX"), "exact", IN_24)
    content = wave(fmt(bits=24, order=">"), data(integers(S24, 3, order=">"), order=">"), magic=b"RIFX")
    yield Case("RIFX", "rifx24.wav", content, "exact", S24)
    for name, tag, expected in (("alaw", ALAW, FROM_ALAW), ("mulaw", MULAW, FROM_MULAW)):
        content = wave(fmt(tag=tag, bits=8, order=">"), data(LAW, order=">"), magic=b"RIFX")
        yield Case("RIFX", f"rifx-{name}.wav", content, "exact", expected)
    for magic in (b"RF64", b"BW64"):
        name, row = magic.decode(), "RF64" if magic == b"RF64" else "BW64"
        sees = "same" if magic == b"RF64" else "refuses"
        content = wave(ds64(16), fmt(), data(PCM16, size=0xFFFFFFFF), magic=magic)
        yield Case(row, f"{name}.wav", content, "exact", IN_24, libsndfile=sees)
        content = wave(ds64(0), fmt(), data(PCM16), part(b"junk", b"abcd"), magic=magic)
        yield Case(row, f"{name}-32.wav", content, "exact", IN_24, libsndfile="" if sees == "same" else sees)
        content = wave(ds64(256), fmt(tag=MULAW, bits=8), data(LAW, size=0xFFFFFFFF), magic=magic)
        yield Case(row, f"{name}-mulaw.wav", content, "exact", FROM_MULAW, libsndfile=sees)
    lossy = ("lossy: IMA_ADPCM",)
    ima, ima_data = ima_parts()
    from_ima = decoded_by_libsndfile(wave(ima, ima_data))
    error = "unsupported codec: format tag 0x0011"
    row = "other codecs in RF64 or BW64, or after a part with an odd size and no pad byte"
    for magic in (b"RF64", b"BW64"):
        content = wave(ds64(1024), ima, data(ima_data[8:], size=0xFFFFFFFF), magic=magic)
        yield Case(row, f"{magic.decode()}-ima.wav", content, "refused", error=error, libsndfile="refuses")
    content = wave(ima, part(b"LIST", b"INFOabc", pad=False), ima_data)
    yield Case(row, "unpadded-ima.wav", content, "refused", error=error, libsndfile="refuses")
    yield Case("W64", "a.w64", written("W64", "PCM_16", samples=np.array(S16, np.int16)), "decoded", IN_24)
    yield Case("W64", "wide.w64", written("W64", "PCM_24", samples=np.array(S24, np.int32) << 8), "decoded", S24)
    content = wave(extensible(guid_rest=AMBISONIC_GUID), data(PCM16))
    yield Case("Ambisonic B-format", "ambisonic.wav", content, "exact", IN_24)
    row = "`LIST`, `bext`, `JUNK`, … before or after the audio"
    bext, info, junk = part(b"bext", bytes(602)), part(b"LIST", b"INFOICMT\4\0\0\0abc\0"), part(b"JUNK", bytes(28))
    yield Case(row, "before.wav", wave(junk, bext, fmt(), info, data(PCM16)), "exact", IN_24)
    yield Case(row, "after.wav", wave(fmt(), data(PCM16), info, bext, junk), "exact", IN_24)
    content = wave(junk, fmt(tag=MULAW, bits=8), info, data(LAW), bext)
    yield Case(row, "mulaw-around.wav", content, "exact", FROM_MULAW)
    yield Case(row, "ima-around.wav", wave(junk, ima, info, ima_data, bext), "decoded", from_ima, lossy)
    row = "a part with an odd size, and the pad byte"
    yield Case(row, "odd.wav", wave(fmt(), part(b"LIST", b"INFOabc"), data(PCM16)), "exact", IN_24)
    yield Case(row, "odd-data.wav", wave(fmt(bits=24), data(PCM24[:3]), part(b"LIST", b"INFO")), "exact", S24[:1])
    row = "the same without the pad byte"
    for name, parts in {
        "list": [part(b"LIST", b"INFOabc", pad=False)],
        "unknown": [part(b"abcd", b"abc", pad=False)],
        "list-id3": [part(b"LIST", b"INFOabc", pad=False), part(b"id3 ", b"ab")],
        "list-axml": [part(b"bext", bytes(603), pad=False), part(b"axml", b"ab")],
        "list-unknown": [part(b"LIST", b"INFOabc", pad=False), part(b"_PMX", b"ab")],
        "unknown-unknown": [part(b"abcd", b"abc", pad=False), part(b"~!0 ", b"a", pad=False)],
    }.items():
        content = wave(fmt(), *parts, data(PCM16))
        yield Case(row, f"unpadded-{name}.wav", content, "exact", IN_24, libsndfile="refuses")
    content = wave(fmt(tag=MULAW, bits=8), part(b"LIST", b"INFOabc", pad=False), data(LAW))
    yield Case(row, "unpadded-mulaw.wav", content, "exact", FROM_MULAW, libsndfile="refuses")
    content = wave(data(PCM24[:3], pad=False), fmt(bits=24))
    yield Case(row, "unpadded-data.wav", content, "exact", S24[:1], libsndfile="")
    row = "junk after the end"
    for name, junk in (("text", b"garbage" * 9), ("zeros", bytes(99))):
        yield Case(row, f"junk-{name}.wav", wave(fmt(), data(PCM16)) + junk, "exact", IN_24)
    content = wave(fmt(), data(PCM16)) + data(PCM16)
    yield Case(row, "junk-data.wav", content, "exact", IN_24, libsndfile="refuses")
    content = wave(fmt(tag=ALAW, bits=8), data(LAW)) + b"garbage" * 9
    yield Case(row, "junk-alaw.wav", content, "exact", FROM_ALAW)
    yield Case(row, "junk-ima.wav", wave(ima, ima_data) + b"garbage" * 9, "decoded", from_ima, lossy)
    row = "junk after the end of AIFF, AU, CAF or FLAC"
    for container, name in (("AIFF", "aiff"), ("AU", "au"), ("CAF", "caf"), ("FLAC", "flac")):
        content = written(container, "PCM_16", samples=np.array(S16, np.int16)) + b"garbage" * 9
        yield Case(row, f"junk.{name}", content, "decoded", IN_24)
    content = written("W64", "PCM_16", samples=np.array(S16, np.int16)) + b"\1\2" * 32
    yield Case("junk after the end of W64", "junk.w64", content, "decoded", [*IN_24, *up([0x0201] * 32, 16)])
    row = "an ID3 tag before RIFF"
    for size in (10, 5000):
        yield Case(row, f"id3-{size}.wav", id3(size) + wave(fmt(), data(PCM16)), "exact", IN_24)
    content = id3(10) + wave(fmt(tag=MULAW, bits=8), data(LAW))
    yield Case(row, "id3-mulaw.wav", content, "exact", FROM_MULAW)
    yield Case(row, "id3-ima.wav", id3(10) + wave(ima, ima_data), "decoded", from_ima, lossy)
    row = "a RIFF size that is 0, too small or too large"
    for size in (0, 4, 0x7FFFFFFF, 0xFFFFFFFF):
        yield Case(row, f"riff-{size:x}.wav", wave(fmt(), data(PCM16), size=size), "exact", IN_24)


# As libsndfile calls them.
UNFINISHED_CODECS = {
    "IMA_ADPCM": "IMA ADPCM",
    "MS_ADPCM": "Microsoft ADPCM",
    "GSM610": "GSM 6.10",
    "G721_32": "32kbs G721 ADPCM",
    "NMS_ADPCM_16": "16kbs NMS ADPCM",
}


def make_promises() -> Iterator[Case]:
    row = "PCM or float that ends early"
    content = wave(fmt(), data(PCM16, size=1000))
    yield Case(row, "cut16.wav", content, "exact", IN_24, (truncated(500, 8),))
    content = wave(fmt(channels=2), data(PCM16[:-2], size=1000))
    yield Case(row, "cut-in-frame.wav", content, "exact", [*IN_24[:6:2], *IN_24[1:6:2]], (truncated(250, 3),))
    content = wave(fmt(tag=FLOAT, bits=32), data(floats([0.5, -0.5], 4) + b"\0\0", size=400))
    yield Case(row, "cut-float.wav", content, "exact", [2**22, -(2**22)], (truncated(100, 2),), libsndfile="other")
    content = wave(fmt(), data(b"", size=1000))
    yield Case(row, "cut-all.wav", content, "exact", [], (truncated(500, 0),))
    for magic, sees in ((b"RF64", "same"), (b"BW64", "refuses")):
        content = wave(ds64(2**40), fmt(), data(PCM16, size=0xFFFFFFFF), magic=magic)
        notes = (truncated(2**39, 8),)
        yield Case(row, f"cut-{magic.decode()}.wav", content, "exact", IN_24, notes, libsndfile=sees)
    row = "A-law or mu-law that ends early"
    content = wave(fmt(tag=ALAW, bits=8), data(LAW, size=1000))
    yield Case(row, "cut-alaw.wav", content, "exact", FROM_ALAW, (truncated(1000, 256),))
    content = wave(fmt(tag=MULAW, bits=8), data(LAW, size=1000))
    yield Case(row, "cut-mulaw.wav", content, "exact", FROM_MULAW, (truncated(1000, 256),))
    row = "ADPCM or GSM in WAV that ends early"
    for subtype, counted in (("IMA_ADPCM", ()), ("MS_ADPCM", ()), ("GSM610", (COUNTED,)), ("G721_32", (COUNTED,))):
        content = written("WAV", subtype)
        (promised,) = struct.unpack_from("<I", content, content.index(b"data") + 4)
        there = len(content) - content.index(b"data") - 8 - 300
        content = content[:-300]
        notes = (*counted, truncated(promised, there, "bytes of audio"), f"lossy: {subtype}")
        yield Case(row, f"cut-{subtype}.wav", content, "decoded", decoded_by_libsndfile(content), notes)
    row = "W64, AIFF or AU that ends early"
    for container, name in (("W64", "w64"), ("AIFF", "aiff"), ("AU", "au")):
        whole = written(container, "PCM_16")
        for missing, frames in ((1, 1999), (2, 1999), (1000, 1500), (3999, 0), (4000, 0)):
            expected = up(tone(frames).tolist(), 16)
            yield Case(row, f"cut-{missing}.{name}", whole[:-missing], "decoded", expected, (MORE_PROMISED,))
    content = written("AU", "G721_32")[:-300]
    notes = (COUNTED, MORE_PROMISED, "lossy: G721_32")
    yield Case(row, "cut-g721.au", content, "decoded", decoded_by_libsndfile(content), notes)
    row = "CAF that ends early"
    for missing, notes in ((1, ()), (6, ()), (7, (MORE_PROMISED,)), (1000, (MORE_PROMISED,)), (3000, (MORE_PROMISED,))):
        content = written("CAF", "PCM_16")[:-missing]
        expected = decoded_by_libsndfile(content)
        assert expected == up(tone(len(expected)).tolist(), 16)
        yield Case(row, f"cut-{missing}.caf", content, "decoded", expected, notes)
    row = "CAF that ends in its first frames, or ALAC that ends early"
    content = written("CAF", "PCM_16")[:-4001]
    error = "libsndfile: Internal error : SF_INFO struct incomplete."
    yield Case(row, "cut-4001.caf", content, "refused", error=error, libsndfile="refuses")
    content = written("CAF", "ALAC_16")[:-300]
    error = "libsndfile: Supported file format but file is malformed."
    yield Case(row, "cut-alac.caf", content, "refused", error=error, libsndfile="refuses")
    row = "FLAC that ends early, or is damaged"
    flac = written("FLAC", samples=np.random.default_rng(1).integers(-9000, 9000, 20_000).astype(np.int16))
    half = len(flac) // 2
    yield Case(row, "cut.flac", flac[:half], "refused", error=LOST_SYNC, libsndfile="")
    damaged = flac[:half] + b"\x55" * 300 + flac[half + 300 :]
    yield Case(row, "damaged.flac", damaged, "refused", error=LOST_SYNC, libsndfile="")
    row = "half a frame at the end of the data"
    content = wave(fmt(channels=2), data(PCM16[:6]))
    yield Case(row, "half-frame.wav", content, "exact", IN_24[:2])
    row = "data size 0 with audio behind it"
    for size in (0, 52):
        content = wave(fmt(), data(PCM16, size=0), size=size)
        yield Case(row, f"unfinished-0-riff-{size}.wav", content, "exact", IN_24, (UNFINISHED,), libsndfile="other")
    content = wave(fmt(tag=MULAW, bits=8), data(LAW, size=0))
    yield Case(row, "unfinished-0-mulaw.wav", content, "exact", FROM_MULAW, (UNFINISHED,), libsndfile="other")
    row = "the same, of ADPCM or GSM"
    for subtype, said in UNFINISHED_CODECS.items():
        content = with_data_size(written("WAV", subtype), 0)
        error = f"unfinished header: {said} is not read without the size of its data"
        yield Case(row, f"unfinished-0-{subtype}.wav", content, "refused", error=error, libsndfile="")
    row = "data size 0 with nothing, or only other parts, behind it"
    yield Case(row, "nothing.wav", wave(fmt(), data(b"")), "exact", [])
    yield Case(row, "nothing-list.wav", wave(fmt(), data(b""), part(b"LIST", b"INFO")), "exact", [])
    row = "data size 0xFFFFFFFF, 0x7FFFFFFF, or a little less"
    for size in (0xFFFFFFFF, 0xFFFFFF00, 0x7FFFFFFF, 0x7FFFFFD8, 0x7FFFF000):
        content = wave(fmt(), data(PCM16, size=size))
        yield Case(row, f"unfinished-{size:x}.wav", content, "exact", IN_24, (UNFINISHED,))
    content = wave(fmt(tag=MULAW, bits=8), data(LAW, size=0xFFFFFFFF))
    yield Case(row, "unfinished-mulaw.wav", content, "exact", FROM_MULAW, (UNFINISHED,))
    content = with_data_size(written("WAV", "IMA_ADPCM"), 0xFFFFFFFF)
    notes = (UNFINISHED, "lossy: IMA_ADPCM")
    yield Case(row, "unfinished-ima.wav", content, "decoded", decoded_by_libsndfile(content), notes)
    content = with_data_size(written("WAV", "GSM610"), 0x7FFFF000)
    notes = (COUNTED, UNFINISHED, "lossy: GSM610")
    yield Case(row, "unfinished-gsm.wav", content, "decoded", decoded_by_libsndfile(content), notes)
    row = "RF64 or BW64 whose `ds64` says 0 or the largest number, or is missing"
    for magic in (b"RF64", b"BW64"):
        for name, parts in (("0", [ds64(0)]), ("odd", [ds64(2**64 - 1)]), ("even", [ds64(2**63 - 2)]), ("none", [])):
            content = wave(*parts, fmt(), data(PCM16, size=0xFFFFFFFF), magic=magic)
            file = f"unfinished-{magic.decode()}-{name}.wav"
            yield Case(row, file, content, "exact", IN_24, (UNFINISHED,), libsndfile="")
    row = "FLAC of unknown length"
    for frames in (1, 16, 4096, 50_000):
        samples = np.random.default_rng(frames).integers(-9000, 9000, frames).astype(np.int16) // 64
        content = with_flac_frames(written("FLAC", samples=samples), 0)
        name = f"unknown-{frames}.flac"
        yield Case(row, name, content, "decoded", up(samples.tolist(), 16), (COUNTED,), libsndfile="")
    row = "FLAC that claims more frames than it has"
    content = with_flac_frames(written("FLAC"), 3000)
    error = "decoding ended at frame 2000 of 3000"
    yield Case(row, "claims.flac", content, "refused", error=error, libsndfile="")


def make_refusals() -> Iterator[Case]:
    def refused(row: str, name: str, content: bytes, error: str, sees: Literal["refuses", ""] = "refuses") -> Case:
        return Case(row, name, content, "refused", error=error, libsndfile=sees)

    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    yield refused("a Git LFS pointer", "lfs.wav", pointer, POINTER)
    yield refused("a Git LFS pointer", "lfs.flac", pointer, POINTER)
    yield refused("an empty file", "empty.wav", b"", "the file is empty (0 bytes)")
    text = "this is text, not audio: it begins …"
    of_text = "text in UTF-8, or in UTF-16 after a byte order mark"
    yield refused(of_text, "ascii.wav", b"404: Not Found\n", text)
    yield refused(of_text, "html.wav", b"<!DOCTYPE html>\n<html>" * 50, text)
    yield refused(of_text, "utf8.wav", "<title>Seite nicht verfügbar</title>".encode(), text)
    yield refused(of_text, "utf8-bom.wav", "\ufeffnot here".encode(), text)
    begins = "this is text, not audio: it begins 'nicht da: ü'"
    for codec in ("utf-8", "utf-8-sig", "utf-16"):
        yield refused(of_text, f"{codec}.wav", "nicht da: ü".encode(codec), begins)
    yield refused(of_text, "utf-16-be.wav", "\ufeffnicht da: ü".encode("utf-16-be"), begins)
    # The character across byte 256 is cut.
    yield refused(of_text, "utf-8-long.wav", b"x" + "ü".encode() * 999, text)
    yield refused("bytes that are no audio", "zip.wav", b"PK\3\4" + bytes(range(200)), NOT_KNOWN)
    yield refused("bytes that are no audio", "latin-1.wav", "nicht verfügbar".encode("latin-1"), NOT_KNOWN)
    yield refused("bytes that are no audio", "utf-16-no-mark.wav", "not here".encode("utf-16-le"), NOT_KNOWN)
    yield refused("bytes that are no audio", "zeros.wav", bytes(500), NOT_KNOWN)
    yield refused("bytes that are no audio", "avi.wav", b"RIFF\4\0\0\0AVI ", NOT_KNOWN)
    yield refused("no `fmt ` part", "no-fmt.wav", wave(data(PCM16)), "the WAV header has no 'fmt ' part")
    error = "the WAV file has no 'data' part: there is no audio in it"
    yield refused("no `data` part", "no-data.wav", wave(fmt()), error)
    yield refused("no `data` part", "header-cut.wav", wave(fmt(), data(PCM16))[:38], error)
    error = "the 'fmt ' part has 10 bytes, it takes 16"
    yield refused("a `fmt ` part that is too short", "fmt-10.wav", wave(part(b"fmt ", bytes(10)), data(PCM16)), error)
    error = "the extensible 'fmt ' part has 16 bytes, it takes 40"
    content = wave(fmt(tag=0xFFFE), data(PCM16))
    yield refused("a `fmt ` part that is too short", "fmt-16-ext.wav", content, error, "")
    row = "a codec that libsndfile does not have"
    for tag in (0x0161, 0x2000, 0x0000):
        for name, header in (("", fmt(tag=tag, extra=b"\0\0")), ("-ext", extensible(tag=tag))):
            error = f"unsupported codec: format tag 0x{tag:04x}"
            yield refused(row, f"codec-{tag:04x}{name}.wav", wave(header, data(PCM16)), error)
    row = "an extensible header with an unknown GUID"
    error = "unknown codec: subformat GUID 01000000010002000000000000000000"
    yield refused(row, "guid.wav", wave(extensible(guid_rest=(1, 2, bytes(8))), data(PCM16)), error)
    yield refused("0 channels", "channels-0.wav", wave(fmt(channels=0), data(PCM16)), "the header says 0 channels")
    for rate in (0, 2**31, 2**32 - 1):
        error = f"the header says {rate:,} Hz; taken are 1 to 2,147,483,647"
        content = wave(fmt(rate=rate), data(PCM16))
        yield refused("a rate of 0, or above 2,147,483,647 Hz", f"rate-{rate}.wav", content, error)
    for name, values in (("nan", [0.0, float("nan")]), ("inf", [float("-inf")])):
        for width in (4, 8):
            content = wave(fmt(tag=FLOAT, bits=8 * width), data(floats(values, width)))
            row = "float with NaN or infinity in what chunks need"
            yield refused(row, f"{name}-{width}.wav", content, NO_NUMBERS, "")


GROUPS: tuple[Callable[[], Iterator[Case]], ...] = (
    make_codings,
    make_containers,
    make_forms,
    make_promises,
    make_refusals,
)


@cache
def cases() -> dict[str, Case]:
    made = [case for group in GROUPS for case in group()]
    assert len({case.name for case in made}) == len(made)
    return {case.name: case for case in made}


on_all = pytest.mark.parametrize("name", sorted(cases()))


# -- what becomes of them


@dataclass(frozen=True)
class Seen:
    """What a build made of a file: its row, and its codes of 24 bits less those of silence."""

    row: RecordingRow
    samples: list[int]
    padding: list[int]


ENCODING: dict[str, Any] = {"bits": 24, "chunk_bytes": 48, "tail": "pad"}  # 16 samples a chunk


def codes_of(ds: audiochunk.ChunkDataset, row: RecordingRow) -> list[int]:
    """The codes of a recording's chunks, taken from their bytes."""
    octets = ds.gather(np.arange(row.first_chunk, row.first_chunk + row.chunks)).reshape(-1, 3).astype(int)
    return (octets @ [1, 1 << 8, 1 << 16]).tolist()


def build_and_see(folder: Path, out: Path, **options: Any) -> dict[str, Seen]:
    manifest = audiochunk.build(folder, out, on_error="skip", fsync=False, workers=1, **(ENCODING | options))
    with audiochunk.open(out) as ds:
        seen = {}
        for row in read_rows(out, manifest.recordings):
            n = row.frames * row.channels if row.chunks else 0
            codes = [code - 2**23 for code in codes_of(ds, row)]
            seen[row.path] = Seen(row, codes[:n], codes[n:])
        return seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for case in cases().values():
        (folder / case.name).write_bytes(case.content)
    return folder


@pytest.fixture(scope="module")
def seen(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    return build_and_see(folder, tmp_path_factory.mktemp("seen") / "out")


def matches(said: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace("…", ".*"), said, re.DOTALL) is not None


@on_all
def test_a_file_becomes_what_its_row_says(seen: dict[str, Seen], name: str) -> None:
    case, found = cases()[name], seen[name]
    error = found.row.error
    assert (error or "") == (case.error or "") or (error and case.error and matches(error, case.error)), error
    notes = found.row.notes
    assert len(notes) == len(case.notes), notes
    assert all(matches(note, pattern) for note, pattern in zip(notes, case.notes, strict=True)), notes
    assert found.samples == list(case.samples)
    assert set(found.padding) <= {0}
    assert found.row.clipped == case.clipped
    assert found.row.bytes == len(case.content)
    assert (error is not None) == (case.outcome == "refused")


@pytest.mark.parametrize("name", sorted(case.name for case in cases().values() if case.outcome != "refused"))
def test_audiochunk_reads_what_is_exact_and_libsndfile_the_rest(folder: Path, name: str) -> None:
    assert (probe(folder / name).form is not None) == (cases()[name].outcome == "exact")


def test_lossy_codecs_and_streams_of_unknown_length_are_decoded_from_their_start(folder: Path) -> None:
    unknown = [name for name in cases() if name.startswith("unknown-")]
    for case in [*make_codings(), *(cases()[name] for name in unknown)]:
        if case.outcome == "decoded":
            info = probe(folder / case.name)
            from_start = any(note.startswith(("lossy", COUNTED)) for note in info.notes)
            assert info.seekable != from_start, case.name


def test_names_of_lossy_formats_are_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wave(fmt(), data(PCM16)))
    for name in ("b.mp3", "c.ogg", "d.opus", "e.m4a", "f.txt", "wav"):
        (tmp_path / name).write_bytes(wave(fmt(), data(PCM16)))
    assert [recording.path for recording in make_plan(tmp_path, BuildConfig.make(tail="pad")).recordings] == [b"a.wav"]


@on_all
def test_libsndfile_does_what_the_row_says(folder: Path, name: str) -> None:
    case = cases()[name]
    if not sf.__libsndfile_version__.startswith("1.2."):
        pytest.skip(f"the page speaks of libsndfile 1.2, this is {sf.__libsndfile_version__}")
    if case.libsndfile == "refuses":
        with pytest.raises(sf.LibsndfileError):
            sf.read(folder / name)
    elif case.libsndfile:
        with sf.SoundFile(folder / name) as file:
            as_float = file.subtype in ("VORBIS", "MPEG_LAYER_III")
            channels = file.channels
        if as_float:
            read = decoded_by_libsndfile(case.content)
        else:
            values, _ = sf.read(folder / name, dtype="int32", always_2d=True)
            assert channels == 1 or len(values) * channels <= 16
            read = (values.T.reshape(-1).astype(np.int64) >> 8).tolist()
        assert (read == list(case.samples)) == (case.libsndfile == "same")


def test_fail_names_every_file_that_skip_leaves_out(folder: Path, seen: dict[str, Seen], tmp_path: Path) -> None:
    with pytest.raises(RecordingsError) as caught:
        audiochunk.build(folder, tmp_path / "out", workers=1, **ENCODING)
    named = {path.decode(): reason for path, reason in caught.value.failures}
    refused = {name: found.row for name, found in seen.items() if found.row.error}
    # What is found only while decoding comes after the scan, which has ended this build.
    found_later = {name for name, row in refused.items() if row.subtype}
    assert named == {name: row.error for name, row in refused.items() if name not in found_later}
    assert {"nan-4.wav", "cut.flac"} <= found_later


def test_mp3_in_wav_is_tried_where_libsndfile_can_write_mp3() -> None:
    if "MP3" not in sf.available_formats():
        pytest.skip("this libsndfile has no MP3")
    assert "mp3-in.wav" in cases()


@pytest.mark.parametrize("subtype", UNFINISHED_CODECS)
def test_codecs_with_an_unfinished_header_are_not_taken_for_empty(tmp_path: Path, subtype: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fine.wav").write_bytes(wave(fmt(), data(PCM16)))
    whole = written("WAV", subtype)
    (tmp_path / "in" / "0.wav").write_bytes(with_data_size(whole, 0))
    (tmp_path / "in" / "top.wav").write_bytes(with_data_size(whole, 0xFFFFFFFF))
    assert sf.info(tmp_path / "in" / "0.wav").frames == 0
    found = build_and_see(tmp_path / "in", tmp_path / "out")
    assert found["fine.wav"].row.notes == ()
    said = UNFINISHED_CODECS[subtype]
    assert found["0.wav"].row.error == f"unfinished header: {said} is not read without the size of its data"
    assert found["0.wav"].row.chunks == 0
    assert found["top.wav"].row.error is None
    assert UNFINISHED in found["top.wav"].row.notes
    assert found["top.wav"].samples == decoded_by_libsndfile(whole)


def test_a_claim_of_2_to_the_36_frames_takes_no_memory_and_no_time(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fine.wav").write_bytes(wave(fmt(), data(PCM16)))
    (tmp_path / "in" / "claims.flac").write_bytes(with_flac_frames(written("FLAC"), 2**36 - 1))
    found = build_and_see(tmp_path / "in", tmp_path / "out", chunk_bytes=3 * 2**18, shard_size="1000G")
    assert found["claims.flac"].row.error == f"decoding ended at frame 2000 of {2**36 - 1}"
    assert found["claims.flac"].row.chunks == 0
    assert found["fine.wav"].row.chunks == 1


# -- real files that are damaged or unusual


# What becomes of the damaged and unusual recordings among the real ones, and what is said of them (a part of it).
TORTURE: dict[tuple[Outcome, str], list[str]] = {
    ("decoded", ""): [
        "RustPython/audiotest.au",
        "RustPython/sndhdr.aiff",
        "atldotnet/aifc_tagged.aif",
        "ni-media/sin_mod440.1.44100.44100.s16be.aiff",
        "ni-media/sin_mod440.1.44100.44100.s8be.aiff",
        "ni-media/sin_mod440.1.48000.48000.s8be.aiff",
        "tinytag/pluck-pcm8.aiff",
        "tinytag/test.aiff",
    ],
    ("decoded", "lossy: GSM610"): [
        "atldotnet/aiff.aiff",
    ],
    ("decoded", "lossy: IMA_ADPCM"): [
        "wavefile/4bit-8000Hz-mono-chirp-1-22050-linear.wav",
        "wavefile/4bit-imaadpcm-8kHz-noBext-mono-encoded.wav",
        "wavefile/4bit-imaadpcm-8kHz-noBext-mono.wav",
        "wavefile/4bitADPCM-8kHz-markers-1c-encoded-clear-headers.wav",
        "wavefile/ADPCM-from-16bit-8khz-bext-mono-clear-headers.wav",
        "wavefile/RIFF-to-RIFX-4bit-imaadpcm-8kHz-noBext-mono.wav",
        "wavefile/files__4bit-imaadpcm-8kHz-noBext-mono.wav",
    ],
    ("exact", ""): [
        "FunASR/tmp.wav",
        "RustPython/pluck-pcm24-ext.wav",
        "RustPython/pluck-pcm24.wav",
        "RustPython/pluck-pcm32.wav",
        "RustPython/pluck-pcm8.wav",
        "audiomentations/digital_silence.wav",
        "audiomentations/mono_float64.wav",
        "ebu_adm_renderer/pcm_extradata.wav",
        "ebu_adm_renderer/test_bwf.wav",
        "hound/nonstandard-01.wav",
        "hound/nonstandard-02.wav",
        "hound/waveformatex-8bit-11025Hz-mono.wav",
        "hound/waveformatex-ieeefloat-44100Hz-mono.wav",
        "hound/waveformatextensible-32bit-48kHz-stereo.wav",
        "iamf-tools/sine_1000_16khz_512ms_s32le.wav",
        "iamf-tools/sine_1000_48khz_512ms.wav",
        "iamf-tools/stereo_8_samples_48khz_s24le.wav",
        "libbw64/noise_24bit_uneven_data_chunk_size.wav",
        "lofty-rs/2_IDX_63_RAND_104275228651573584855676.wav",
        "neural-amp-modeler/fp32.wav",
        "ni-media/sin440.1.96000.96000.u8le.gap.wav",
        "openl3/empty.wav",
        "python-soundfile/stereo.wav",
        "pywavfile/osc_tri_unsigned.wav",
        "scipy/test-1234Hz-le-1ch-10S-20bit-extra.wav",
        "scipy/test-44100Hz-2ch-32bit-float-be.wav",
        "scipy/test-48000Hz-2ch-64bit-float-le-wavex.wav",
        "scipy/test-8000Hz-be-3ch-5S-24bit.wav",
        "scipy/test-8000Hz-le-1ch-1byte-ulaw.wav",
        "scipy/test-8000Hz-le-2ch-1byteu.wav",
        "scipy/test-8000Hz-le-3ch-5S-24bit-rf64.wav",
        "scipy/test-8000Hz-le-4ch-9S-12bit.wav",
        "scipy/test-8000Hz-le-5ch-9S-5bit.wav",
        "wav/8bit.wav",
        "wav/bwf.wav",
        "wavefile/14-bit-48kHz-mono-fromScratch.wav",
        "wavefile/15-bit-48kHz-mono-fromScratch.wav",
        "wavefile/16-bit-48kHz-mono-RIFX-fromScratch.wav",
        "wavefile/16bit-9khz-1c-1region-reaper.wav",
        "wavefile/17-bit-48kHz-mono-fromScratch.wav",
        "wavefile/24-bit-48kHz-mono-fromScratch.wav",
        "wavefile/4-channel-16-bit-48kHz-mono-fromScratch.wav",
        "wavefile/64-bit-441kHz-mono-fromScratch.wav",
        "wavefile/64-to-8-overflow.wav",
        "wavefile/8bit-8kHz-mono-alaw-encoded-from-ADPCM.wav",
        "wavefile/8bit-8kHz-mono-alaw-encoded-from-mulaw.wav",
        "wavefile/8bit-8kHz-mono-mulaw-encoded-from-alaw.wav",
        "wavefile/8bit-alaw-8kHz-noBext-mono-encoded.wav",
        "wavefile/8bit-mulaw-8kHz-noBext-mono-encoded.wav",
        "wavefile/A-Law-8kHz-1c-1region-reaper-encoded-clear-headers.wav",
        "wavefile/A-Law-8kHz-markers-1c-encoded-clear-headers.wav",
        "wavefile/M1F1-int12WE-AFsp-LIST-NEW-TAGS.wav",
        "wavefile/M1F1-int12WE-AFsp-out-set-get-tag-2.wav",
        "wavefile/M1F1-int12WE-AFsp.wav",
        "wavefile/RIFF-to-RIFX-16bit-mono.wav",
        "wavefile/RIFX-16bit-mono.wav",
        "wavefile/fromScratch-CUE.wav",
        "wavefile/out__8bit-mulaw-8kHz-noBext-mono-encoded.wav",
    ],
    ("exact", "low-justified"): [
        "hound/waveformatextensible-24bit-4byte-48kHz-stereo.wav",
        "wavefile/16-to-10.wav",
        "wavefile/16-to-13.wav",
        "wavefile/16-to-9.wav",
        "wavefile/27-to-11.wav",
    ],
    ("exact", "truncated: header promises 1669333092 frames, 8 are there"): [
        "ni-media/19.wav",
    ],
    ("exact", "truncated: header promises 1961 frames, 0 are there"): [
        "lofty-rs/2_IDX_0_RAND_85629492689553753214598.wav",
    ],
    ("exact", "truncated: header promises 2097152 frames, 0 are there"): [
        "ni-media/5.wav",
    ],
    ("exact", "truncated: header promises 2162873 frames, 0 are there"): [
        "ni-media/23.wav",
    ],
    ("exact", "truncated: header promises 2187258 frames, 0 are there"): [
        "ni-media/34.wav",
    ],
    ("exact", "truncated: header promises 251658340 frames, 0 are there"): [
        "ni-media/26.wav",
    ],
    ("exact", "truncated: header promises 2796127 frames, 0 are there"): [
        "ni-media/33.wav",
    ],
    ("exact", "truncated: header promises 29 frames, 0 are there"): [
        "opensoundscape/empty_2c.wav",
    ],
    ("exact", "truncated: header promises 3702809 frames, 0 are there"): [
        "ni-media/35.wav",
    ],
    ("exact", "truncated: header promises 4410 frames, 236 are there"): [
        "scipy/test-44100Hz-le-1ch-4bytes-early-eof.wav",
    ],
    ("exact", "truncated: header promises 524289 frames, 1 are there"): [
        "ni-media/10.wav",
    ],
    ("exact", "truncated: header promises 547389462 frames, 14 are there"): [
        "ni-media/15.wav",
    ],
    ("exact", "truncated: header promises 6144 frames, 4096 are there"): [
        "pywavfile/osc_tri_wrong_size.wav",
    ],
    ("exact", "truncated: header promises 706568 frames, 0 are there"): [
        "ni-media/18.wav",
    ],
    ("refused", "Format not recognised"): [
        "ebu_adm_renderer/rect_24bit_noriff.wav",
    ],
    ("refused", "Hz; taken are 1 to"): [
        "ni-media/17.wav",
        "ni-media/31.wav",
    ],
    ("refused", "has no 'data' part"): [
        "ebu_adm_renderer/rect_24bit_wrong_fmt_size.wav",
        "hound/crash-24728523ef4be15c838293b676f6853e73723bf4.wav",
    ],
    ("refused", "has no 'fmt ' part"): [
        "hound/oom-48ae4cd061ff8578ad3f23dc87624bd365cf5216.wav",
        "ni-media/2.wav",
        "ni-media/6.wav",
        "scipy/test-44100Hz-le-1ch-4bytes-incomplete-chunk.wav",
    ],
    ("refused", "taken are 1 to 4 bytes"): [
        "lofty-rs/2_IDX_34_RAND_128635499166458268533001.wav",
        "scipy/test-8000Hz-le-3ch-5S-45bit.wav",
    ],
    ("refused", "the file is empty"): [
        "emu/8537_20210622T160000-0300_every1d6x4hrs [+44.72053-062.80072].wav",
    ],
    ("refused", "this is a Git LFS pointer"): [
        "audio-analysis/Fixtures/FemaleKoala MaleKoala.wav",
        "audio-analysis/Fixtures/corrupt.wav",
        "emu/20221002_STUDY/20221002_080000_Rec.wav",
        "emu/8537_20210614T120000-0300_every1d6x4hrs [+44.72053-062.80072].wav",
        "emu/MedeasCove-Cemetary-SM304246_20211001_Data/SM304290_0+1_20211001_120004.wav",
    ],
    ("refused", "this is text"): [
        "Tone.js/corrupt.wav",
        "lyra/invalid.wav",
    ],
    ("refused", "unimplemented format"): [
        "ni-media/sin440.2.44100.44100.s8be.gap.aiff",
    ],
}


def test_real_files_that_are_damaged_or_unusual(recordings: Path, tmp_path: Path) -> None:
    folder = recordings / "torture"
    if not folder.is_dir():
        pytest.skip("these recordings have no folder torture")
    expected = {path: (outcome, said) for (outcome, said), paths in TORTURE.items() for path in paths}
    found = build_and_see(folder, tmp_path / "out")
    assert found.keys() == expected.keys()
    different = {}
    for path, (outcome, said) in expected.items():
        row = found[path].row
        if row.error is not None:
            is_so = outcome == "refused" and said in row.error and row.frames == row.chunks == 0
        else:
            is_exact = probe(folder / path).form is not None
            notes = "; ".join(row.notes)
            is_so = outcome == ("exact" if is_exact else "decoded") and (said in notes if said else not notes)
        if not is_so:
            different[path] = row
    assert different == {}


def test_real_files_have_the_frames_that_their_table_says(recordings: Path, tmp_path: Path) -> None:
    table = recordings / "MANIFEST.tsv"
    if not table.exists():
        pytest.skip("these recordings have no MANIFEST.tsv")
    listed = [line.split("\t") for line in table.read_text("utf-8").splitlines()[1:] if line.startswith("torture/")]
    frames = {cells[0].removeprefix("torture/"): re.search(r"frames=(\d+)", cells[4]) for cells in listed}
    expected = {path: int(found[1]) if found else None for path, found in frames.items()}
    seen = build_and_see(recordings / "torture", tmp_path / "out", bits=8)
    assert {path: None if one.row.error else one.row.frames for path, one in seen.items()} == expected


# -- the page


@dataclass(frozen=True)
class Row:
    """A row of a table in the page."""

    file: str
    becomes: str
    said: tuple[str, ...]
    libsndfile: str


def quotes(cell: str) -> tuple[str, ...]:
    """What a cell has in backticks; two of them where the text has one itself."""
    return tuple(double.strip() or single for double, single in re.findall(r"``(.+?)``|`([^`]+)`", cell))


@cache
def page_rows() -> dict[str, Row]:
    rows = {}
    for line in PAGE.splitlines():
        if not line.startswith("| ") or line.startswith(("| file |", "| ---")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        assert len(cells) in (3, 4), line
        file, becomes, said, *rest = cells
        assert file not in rows, file
        rows[file] = Row(file, becomes, quotes(said), rest[0] if rest else "")
    return rows


COVERED: dict[str, tuple[str, ...]] = {}


def covers(row: str, *said: str) -> Callable[[Any], Any]:
    """Mark the test of a row of the page that is not about the bytes of a file, and what that test sees said."""
    COVERED[row] = said
    return lambda test: test


def is_said(quote: str, said: str) -> bool:
    """Whether a quote of the page, with N and M for numbers and "…" for any text, is what was said."""
    pattern = re.sub(r"\\?\b[NM]\b", r"[0-9,]+", re.escape(quote)).replace("…", ".*")
    return re.fullmatch(pattern, said, re.DOTALL) is not None


def test_every_row_of_the_page_is_tested_and_every_test_has_a_row() -> None:
    tested = {case.row for case in cases().values()} | set(COVERED)
    if "MP3" not in sf.available_formats():
        tested |= {"MP3 in WAV", "MP3 in WAV, truncated", "MP3 in WAV with a data size of 0"}
    assert set(page_rows()) == tested


@pytest.mark.parametrize("row", list(page_rows()))
def test_the_page_quotes_what_was_said_and_nothing_else(seen: dict[str, Seen], row: str) -> None:
    said = set(COVERED.get(row, ()))
    for case in cases().values():
        if case.row == row:
            said |= {*seen[case.name].row.notes, seen[case.name].row.error or ""} - {""}
    quoted = page_rows()[row].said
    assert [quote for quote in quoted if not any(is_said(quote, one) for one in said)] == []
    assert [one for one in said if not any(is_said(quote, one) for quote in quoted)] == []


@pytest.mark.parametrize("row", sorted({case.row for case in cases().values()}))
def test_the_page_says_who_reads_a_file(row: str) -> None:
    of_row = [case for case in cases().values() if case.row == row]
    becomes = re.findall(r"\b(exact|decoded|refused)\b", re.split("[,;:]", page_rows()[row].becomes)[0])
    assert set(becomes) == {case.outcome for case in of_row}
    words = {"same": "the same", "refuses": "refuses", "other": "differs"}
    for sees in {case.libsndfile for case in of_row} - {""}:
        assert words[sees] in page_rows()[row].libsndfile


def test_every_quote_outside_the_tables_was_seen(seen: dict[str, Seen]) -> None:
    text = "\n".join(line for line in PAGE.splitlines() if not line.startswith("|"))
    said = {one for found in seen.values() for one in (*found.row.notes, found.row.error or "")}
    for quote in re.findall(r'`"([^`]+)"`', text):
        assert any(is_said(quote, one) for one in said), quote


# -- lengths


def short_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "empty.wav").write_bytes(wave(fmt(), data(b"")))
    (folder / "short.wav").write_bytes(wave(fmt(), data(PCM16)))
    (folder / "stereo.wav").write_bytes(wave(fmt(channels=2), data(PCM16[:12])))
    (folder / "whole.wav").write_bytes(wave(fmt(), data(PCM16 * 2)))
    (folder / "over.wav").write_bytes(wave(fmt(), data(PCM16 * 2 + PCM16[:2])))


@covers("0 frames")
@covers("fewer samples than a chunk holds")
@pytest.mark.parametrize("layout", ["blocks", "mono", "split"])
def test_short_recordings_are_no_errors(tmp_path: Path, layout: str) -> None:
    short_files(tmp_path / "in")
    channels = 2 if layout == "split" else 1
    expected = {
        "drop": {"empty.wav": 0, "over.wav": 1, "short.wav": 0, "stereo.wav": 0, "whole.wav": 1},
        "pad": {"empty.wav": 0, "over.wav": 2, "short.wav": 1, "stereo.wav": channels, "whole.wav": 1},
    }
    for tail, chunks in expected.items():
        out = tmp_path / tail
        options = ENCODING | {"tail": tail, "layout": layout}
        manifest = audiochunk.build(tmp_path / "in", out, workers=1, fsync=False, **options)
        counts: Counter[str] = Counter()
        for row in read_rows(out, manifest.recordings):
            assert row.error is None
            assert row.notes == ()
            counts[row.path] += row.chunks
            if row.chunks == 0:
                assert row.dropped_frames == row.frames
        assert {name: counts[name] for name in chunks} == chunks
        assert manifest.splits["train"].recordings == 5
        assert manifest.skipped == 0


@covers("NaN or damage in a tail that is dropped")
def test_what_no_chunk_needs_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    content = wave(fmt(tag=FLOAT, bits=32), data(floats([0.5] * 16 + [float("nan"), 2.0], 4)))
    (tmp_path / "in" / "a.wav").write_bytes(content)
    dropped = build_and_see(tmp_path / "in", tmp_path / "drop", tail="drop")["a.wav"]
    assert (dropped.row.error, dropped.row.chunks, dropped.row.clipped) == (None, 1, 0)
    assert dropped.row.dropped_frames == 2
    (tmp_path / "in" / "b.wav").write_bytes(wave(fmt(), data(PCM16)))
    assert build_and_see(tmp_path / "in", tmp_path / "pad")["a.wav"].row.error == NO_NUMBERS


# -- names


NAMES = {
    "spaces, quotes, newlines, emoji": [
        b"two  words .wav",
        b'it\'s "quoted".wav',
        b"line\nbreak\r\t.wav",
        "🎻 solo.wav".encode(),
        b"back\\slash.wav",
        b"{curly}[square]*?.wav",
        b"\x1b[31mred.wav",
    ],
    "bytes that are not UTF-8": [b"\xff\xfe.wav", b"caf\xe9.wav", b"cut \xf0\x9f.wav", b"\xed\xa0\x80.wav"],
    "a name of 255 bytes": [b"n" * 251 + b".wav", "ü".encode() * 125 + b"a.wav"],
    "`.WAV`, `.Wave`, `.FlAc`": [b"UPPER.WAV", b"Mixed.Wave"],
    "names that differ only in Unicode form or in case": [
        unicodedata.normalize("NFC", "é.wav").encode(),
        unicodedata.normalize("NFD", "é.wav").encode(),
        b"case.wav",
        b"CASE.wav",
    ],
}


@covers("spaces, quotes, newlines, emoji")
@covers("bytes that are not UTF-8")
@covers("a name of 255 bytes")
@covers("`.WAV`, `.Wave`, `.FlAc`")
@covers("names that differ only in Unicode form or in case")
def test_names_come_back_byte_for_byte(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path / "in")
    wanted = [name for names in NAMES.values() for name in names]
    wanted += [b"sub \xff\n/" + name for name in wanted[:3]]
    os.makedirs(root + b"/sub \xff\n")
    contents = {}
    for number, name in enumerate(wanted):
        contents[name] = [number, -number, 5]
        with open(root + b"/" + name, "xb") as file:
            file.write(wave(fmt(), data(integers(contents[name], 2))))
    with open(root + b"/z.FlAc", "xb") as file:
        file.write(written("FLAC", samples=np.array(contents.setdefault(b"z.FlAc", [7, 8, 9]), np.int16)))
    out = tmp_path / "out"
    manifest = audiochunk.build(root, out, fsync=False, workers=1, **ENCODING)
    with audiochunk.open(out) as ds:
        rows = list(read_rows(out, manifest.recordings))
        assert [row.path_bytes for row in rows] == sorted(contents)
        for row in rows:
            n = len(contents[row.path_bytes])
            assert [code - 2**23 for code in codes_of(ds, row)[:n]] == up(contents[row.path_bytes], 16)
    lines = [json.loads(line) for line in (out / "recordings.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        if "path_hex" in line:
            path = bytes.fromhex(line["path_hex"])
            assert line["path"] == path.decode("utf-8", "replace")
            assert "\ufffd" in line["path"]
        else:
            path = line["path"].encode()
        assert path in contents
    assert sum("path_hex" in line for line in lines) == len(NAMES["bytes that are not UTF-8"]) + 3


def test_names_are_printed_safely_when_they_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in (b"line\nbreak.wav", b"\xff.wav", b"\x1b[31mred.wav"):
        with open(os.fsencode(tmp_path / "in") + b"/" + name, "xb"):
            pass
    with pytest.raises(RecordingsError) as caught:
        audiochunk.build(tmp_path / "in", tmp_path / "out", workers=1)
    sentence = str(caught.value)
    assert sentence.splitlines()[1:4] == [
        "  \\x1b[31mred.wav: the file is empty (0 bytes)",
        "  line\\nbreak.wav: the file is empty (0 bytes)",
        "  \\xff.wav: the file is empty (0 bytes)",
    ]


@covers("a name that begins with a dot")
def test_hidden_files_and_folders_count_like_others(tmp_path: Path) -> None:
    (tmp_path / "in" / ".cache").mkdir(parents=True)
    for name in (".a.wav", "._b.wav", ".cache/c.wav", ".cache/.d.wav", ".wav"):
        (tmp_path / "in" / name).write_bytes(wave(fmt(), data(PCM16)))
    found = build_and_see(tmp_path / "in", tmp_path / "out")
    # Of ".wav" all is name and nothing is extension.
    assert sorted(found) == sorted([".a.wav", "._b.wav", ".cache/c.wav", ".cache/.d.wav"])
    assert all(one.row.error is None and one.samples == IN_24 for one in found.values())


# -- what is no plain file


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with one recording, a.wav."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(wave(fmt(), data(PCM16)))
    return tmp_path / "in"


def paths_and_errors(place: Path) -> dict[str, str | None]:
    found = build_and_see(place, place.parent / "out")
    for one in found.values():
        assert one.row.error is not None or one.samples == IN_24
    return {name: one.row.error for name, one in found.items()}


@covers("a FIFO, a socket or a device")
def test_what_is_no_file_is_passed_over_and_never_opened(
    place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    os.mkfifo(place / "fifo.wav")
    (place / "linked-fifo.wav").symlink_to("fifo.wav")
    (place / "device.wav").symlink_to("/dev/zero")
    monkeypatch.chdir(place)  # the path of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.wav")
        out = place.parent / "out"
        # In a process of its own, so that a hang is a failure.
        code = "import sys, audiochunk; audiochunk.build(sys.argv[1], sys.argv[2], tail='pad', on_error='skip')"
        subprocess.run([sys.executable, "-c", code, place, out], timeout=LONG_S, check=True, env=environment())
    rows = [json.loads(line) for line in (out / "recordings.jsonl").read_text().splitlines()]
    plain = {row["path"]: row.get("error") for row in rows}
    assert {name for name in plain if not name.startswith(("linked", "device"))} == {"a.wav"}
    assert plain["a.wav"] is None
    assert all(error for name, error in plain.items() if name != "a.wav")


@covers("a link to a FIFO, a socket or a device", NO_FILE)
@covers("a link to a file, or to a folder")
@covers("a link to a folder above it")
@covers("a folder called `x.wav`")
def test_links_are_followed_and_end(place: Path) -> None:
    (place / "file.wav").symlink_to("a.wav")
    os.mkfifo(place / "fifo")
    (place / "fifo.wav").symlink_to("fifo")
    (place / "device.wav").symlink_to("/dev/null")
    (place / "x.wav").mkdir()
    (place / "x.wav" / "b.wav").write_bytes((place / "a.wav").read_bytes())
    (place / "x.wav" / "up").symlink_to("..")
    (place / "x.wav" / "here").symlink_to(".")
    (place / "linked").symlink_to("x.wav")
    assert paths_and_errors(place) == {
        "a.wav": None,
        "device.wav": NO_FILE,
        "fifo.wav": NO_FILE,
        "file.wav": None,
        "linked/b.wav": None,
        "x.wav/b.wav": None,
    }


@covers("a link out of the input folder")
def test_links_are_followed_out_of_the_input_folder(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    (place.parent / "elsewhere" / "b.wav").write_bytes((place / "a.wav").read_bytes())
    (place / "away.wav").symlink_to("../elsewhere/b.wav")
    (place / "away").symlink_to(place.parent / "elsewhere")
    assert paths_and_errors(place) == {"a.wav": None, "away.wav": None, "away/b.wav": None}


@covers("a link that leads nowhere", NO_FILE)
@covers("a link to itself", LOOP)
@pytest.mark.parametrize(("target", "error"), [("missing.wav", NO_FILE), ("a link.wav", LOOP)])
@pytest.mark.parametrize("below", ["", "sub/"])
def test_links_that_lead_nowhere_cost_nothing_but_themselves(place: Path, target: str, error: str, below: str) -> None:
    (place / "sub").mkdir()
    (place / "sub" / "b.wav").write_bytes((place / "a.wav").read_bytes())
    (place / f"{below}a link.wav").symlink_to(target)
    (place / f"{below}a link").symlink_to("a link")  # not the name of a recording
    assert paths_and_errors(place) == {"a.wav": None, "sub/b.wav": None, f"{below}a link.wav": error}


BUILD_WITHOUT_PRIVILEGES = """
import os, sys
import audiochunk
import audiochunk.pipeline.run, audiochunk.reader.dataset, filelock, soundfile
import encodings.utf_8_sig, encodings.utf_16  # like these, loaded late, from where nobody else may read
if os.geteuid() == 0:
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit(77)
try:
    audiochunk.build("in", "out", workers=1, tail="pad", on_error=sys.argv[1])
except audiochunk.RecordingsError as error:
    print(error)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}


def build_without_privileges(folder: Path, on_error: str) -> str:
    command = [sys.executable, "-c", BUILD_WITHOUT_PRIVILEGES, on_error]
    run = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if run.returncode == 77:
        pytest.skip("root may read everything, and may not become somebody else here")
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@covers("a file that may not be read", DENIED)
@covers("a folder that may not be listed", NOT_LISTED)
@covers("a link into such a folder", CLOSED)
def test_what_may_not_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies in folders that others may not enter
        folder = Path(name)
        place = folder / "in"
        (place / "closed").mkdir(parents=True)
        for path in ("a.wav", "b.wav", "closed/c.wav"):
            (place / path).write_bytes(wave(fmt(), data(PCM16)))
        (place / "link.wav").symlink_to("closed/c.wav")
        for path, mode in ((folder, 0o777), (place, 0o755), (place / "a.wav", 0o644), (place / "b.wav", 0)):
            path.chmod(mode)
        (place / "closed").chmod(0)
        try:
            failed = build_without_privileges(folder, "fail")
            assert failed.splitlines()[1:-1] == [
                f"  b.wav: {DENIED}",
                f"  closed/: {NOT_LISTED}",
                f"  link.wav: {CLOSED}",
            ]
            assert build_without_privileges(folder, "skip") == ""
        finally:
            (place / "closed").chmod(0o755)
        rows = [json.loads(line) for line in (folder / "out" / "recordings.jsonl").read_text().splitlines()]
    assert {row["path"]: row.get("error") for row in rows} == {
        "a.wav": None,
        "b.wav": DENIED,
        "closed/": NOT_LISTED,
        "link.wav": CLOSED,
    }


# -- large recordings

MEASURED_BUILD = """
import resource, sys
from pathlib import Path
import audiochunk
source, out, workers, shard_size = sys.argv[1:]
audiochunk.build(source, out, workers=int(workers), fsync=False, compress="zstd:1", shard_size=shard_size)
# Not ru_maxrss of this process: it began as a copy of the one that runs the tests, and would count that.
peak = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(*peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_mib(folder: Path, out: Path, *, workers: int = 1, shard_size: str = "32MiB") -> float:
    """The largest resident size of a process of a build, in MiB."""
    command = [sys.executable, "-c", MEASURED_BUILD, folder, out, str(workers), shard_size]
    run = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return max(map(int, run.stdout.split())) / 2**10


def write_sparse(path: Path, size: int, *, bits: int) -> None:
    """RF64 with so many bytes of silence, of which the disk holds none."""
    riff_size = size + 72
    head = wave(ds64(size, riff_size=riff_size), fmt(bits=bits), data(b"", size=0xFFFFFFFF), magic=b"RF64")
    path.parent.mkdir()
    path.write_bytes(head)
    os.truncate(path, len(head) + size)


@covers("such a data size with more behind it than it claims", UNFINISHED)
@pytest.mark.parametrize(("magic", "size"), [(b"RIFF", 0xFFFFFFFF), (b"RIFF", 0x7FFFF000), (b"RF64", 0xFFFFFFFF)])
def test_an_unfinished_header_of_a_stream_beyond_its_size_means_all_of_it(
    tmp_path: Path, magic: bytes, size: int
) -> None:
    head = wave(fmt(), data(b"", size=size), magic=magic)
    path = tmp_path / "a.wav"
    path.write_bytes(head)
    os.truncate(path, len(head) + 5 * 10**9)
    info = probe(path)
    assert (info.frames, info.notes) == (25 * 10**8, (UNFINISHED,))


@covers("such a data size, filled, and RIFF chunks behind it")
@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFE, 0xFFFFFF00, 0xFFFFFFFE])
@pytest.mark.parametrize(
    "follows",
    [b"", part(b"LIST", b"INFO"), part(b"LIST", b"INFOabc", pad=False), part(b"bext", bytes(602)) + part(b"id3 ")],
)
def test_a_size_that_looks_unfinished_counts_where_it_is_right(tmp_path: Path, size: int, follows: bytes) -> None:
    path = tmp_path / "a.wav"
    write_at_the_end(path, wave(fmt(), data(b"", size=size)), size, follows)
    info = probe(path)
    assert (info.frames, info.notes) == (size // 2, ())


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFE, 0xFFFFFF00, 0xFFFFFFFE])
@pytest.mark.parametrize("follows", [b"garbage" * 10, bytes(100), part(b"LIST", b"INFO", size=1000)])
def test_a_size_that_looks_unfinished_does_not_count_before_anything_else(
    tmp_path: Path, size: int, follows: bytes
) -> None:
    path = tmp_path / "a.wav"
    write_at_the_end(path, wave(fmt(), data(b"", size=size)), size, follows)
    info = probe(path)
    assert (info.frames, info.notes) == ((size + len(follows)) // 2, (UNFINISHED,))


def write_at_the_end(path: Path, head: bytes, size: int, follows: bytes) -> None:
    """A head, so many bytes of silence that take no space, and what follows them."""
    with path.open("xb") as file:
        file.write(head)
        file.truncate(len(head) + size)
        file.seek(0, os.SEEK_END)
        file.write(follows)


@covers("RF64 of 6 GB")
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_six_gigabytes_are_planned_to_the_last_frame(tmp_path: Path, bits: int) -> None:
    size = 6 * 10**9 + 4
    write_sparse(tmp_path / "in" / "a.wav", size, bits=bits)
    planned = make_plan(tmp_path / "in", BuildConfig.make(shard_size="32MiB"))
    info = planned.recordings[0].info
    assert info is not None
    assert (info.frames, info.notes) == (size * 8 // bits, ())
    assert planned.n_chunks == info.frames // 2048
    assert len(planned.shards) == -(-planned.n_chunks // 16_384)
    with Recording(open_regular(tmp_path / "in" / "a.wav"), info, b"") as recording:
        assert len(recording.read(info.frames - 10, 10).samples) == 10
        with pytest.raises(RecordingError):
            recording.read(info.frames - 10, 11)


@covers("one recording larger than many shards")
def test_a_gigabyte_is_built_in_little_memory_over_many_shards(tmp_path: Path) -> None:
    size = 2**30 + 4098
    write_sparse(tmp_path / "in" / "a.wav", size, bits=16)
    assert peak_mib(tmp_path / "in", tmp_path / "out", workers=2, shard_size="4MiB") < 200
    with audiochunk.open(tmp_path / "out") as ds:
        assert len(ds) == size // 2 // 2048
        assert len(ds.manifest.shards) == -(-len(ds) // 2048) == 129
        row = ds.recordings[0]
        assert (row.frames, row.chunks, row.dropped_frames) == (size // 2, len(ds), 1)
        for number in (0, 2047, 2048, len(ds) // 2, len(ds) - 1):
            assert (ds[number] == 128).all()


@covers("FLAC of hours")
def test_a_long_flac_is_built_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames, at_once = 20 * 60 * 16_000, 2**20
    with sf.SoundFile(tmp_path / "in" / "a.flac", "w", 16_000, 1, "PCM_16") as file:
        for start in range(0, frames, at_once):
            file.write(ramp(start, min(at_once, frames - start)))
    assert peak_mib(tmp_path / "in", tmp_path / "out", shard_size="4MiB") < 200
    with audiochunk.open(tmp_path / "out") as ds:
        assert len(ds) == frames // 2048
        assert len(ds.manifest.shards) == 5
        for number in (0, 1, 2047, 2048, 5000, len(ds) - 1):
            expected = (ramp(number * 2048, 2048).astype(int) >> 8) + 128
            assert ds[number].tolist() == expected.tolist()


def ramp(start: int, frames: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    return (np.arange(start, start + frames) % 65_536 - 32_768).astype(np.int16)


@covers("one recording for several workers")
def test_one_recording_is_spread_over_the_workers_and_stays_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(wave(fmt(), data(ramp(0, 200_000).astype("<i2").tobytes())))
    ids = set()
    for workers in (1, 2, 3):
        out = tmp_path / f"out{workers}"
        manifest = audiochunk.build(tmp_path / "in", out, workers=workers, fsync=False, shard_size="16KiB")
        assert [shard.chunks for shard in manifest.shards] == [8] * 12 + [1]
        ids.add(manifest.dataset_id)
    assert len(ids) == 1
    with audiochunk.open(out) as ds:
        codes = np.concatenate([ds[number] for number in range(len(ds))])
    assert codes.tolist() == ((ramp(0, len(codes)).astype(int) >> 8) + 128).tolist()
