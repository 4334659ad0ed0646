"""Recordings -> samples: what a file holds, and any range of its frames, exact.

A sample is a signed integer, left-justified in int16 (sources of up to 16 bits) or int32 (wider ones, and floats), so
that every bit depth has the same full scale. Integers never become floats on the way. Plain PCM and float WAV is read
by `audiochunk.signal.wav`, all else by `audiochunk.signal.sndfile`.
"""

import codecs
import os
import unicodedata

import msgspec

from audiochunk.errors import PassingRecordingError, RecordingError, reason
from audiochunk.signal import sndfile, wav
from audiochunk.signal.floats import Decoded, from_floats
from audiochunk.signal.opening import open_regular
from audiochunk.signal.quantize import Samples
from audiochunk.signal.riff import HEAD_BYTES, UNFINISHED, WavHeader, parse_header
from audiochunk.signal.sndfile import SndfileReader
from audiochunk.signal.source import Source, close

#: Extensions, in lower case, that recordings are found by.
EXTENSIONS = frozenset(
    f".{name}".encode()
    for name in ("wav", "wave", "bwf", "rf64", "bw64", "w64", "flac", "aif", "aiff", "aifc", "caf", "au", "snd")
)

_UTF8, _UTF16 = codecs.getincrementaldecoder("utf-8-sig"), codecs.getincrementaldecoder("utf-16")

READER_ERRORS = (wav.WavError, OSError, RuntimeError)  # soundfile.LibsndfileError is a RuntimeError


class AudioInfo(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a recording holds.

    Attributes:
        sample_rate: in Hz.
        channels: at least 1.
        frames: that can be read.
        subtype: as libsndfile spells it, "PCM_16" for example.
        form: how plain WAV data lies; None where libsndfile reads it.
        seekable: whether decoding can begin anywhere.
        notes: what is unusual about it, in words.
    """

    sample_rate: int
    channels: int
    frames: int
    subtype: str
    form: wav.WavForm | None = None
    seekable: bool = True
    notes: tuple[str, ...] = ()


def probe(path: bytes | str | os.PathLike[str]) -> AudioInfo:
    """What the recording at `path` holds.

    Raises:
        RecordingError: it cannot be used; the reason is one that a person understands.
    """
    name = os.fsencode(path)
    fd = open_regular(name)
    try:
        return probe_source(fd, name)
    finally:
        os.close(fd)


def probe_source(source: Source, path: bytes, *, size: int | None = None) -> AudioInfo:
    """What an open recording holds; `path` is for messages only, `size` of the file is looked up unless given.

    Only headers are read, but where they cannot tell: streams that do not know their length are decoded to count
    their frames, and samples narrower than their containers are looked at.

    Raises:
        RecordingError: it cannot be used.
    """
    try:
        return _probe(source, path, _size(source) if size is None else size)
    except READER_ERRORS as error:
        raise recording_error(path, error) from error


def _size(source: Source) -> int:
    return os.fstat(source).st_size if isinstance(source, int) else source.size


def _probe(source: Source, path: bytes, size: int) -> AudioInfo:
    if size == 0:
        raise RecordingError(path, "the file is empty (0 bytes)")
    head = os.pread(source, HEAD_BYTES, 0) if isinstance(source, int) else source.pread(HEAD_BYTES, 0)
    if head[8:12] != b"WAVE":
        _refuse_what_is_no_audio(head[:256], path)
    header = parse_header(source, size, head)
    if header is None or header.form is None:
        return _probe_sndfile(source, path, header)
    form, valid_bits = header.form, header.valid_bits
    notes: tuple[str, ...] = (header.note,) if header.note else ()
    if valid_bits != form.width * 8 and wav.is_low_justified(
        source, form, channels=header.channels, frames=header.frames, valid_bits=valid_bits
    ):
        form = msgspec.structs.replace(form, low_bits=valid_bits)
        notes += ("low-justified",)
    return AudioInfo(header.sample_rate, header.channels, header.frames, _subtype(form), form, True, notes)


def _subtype(form: wav.WavForm) -> str:
    if form.kind == "float":
        return "FLOAT" if form.width == 4 else "DOUBLE"
    if form.kind != "int":
        return {"alaw": "ALAW", "mulaw": "ULAW"}[form.kind]
    return "PCM_U8" if form.width == 1 else f"PCM_{8 * form.width}"


def _refuse_what_is_no_audio(head: bytes, path: bytes) -> None:
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise RecordingError(path, "this is a Git LFS pointer, not the recording: run `git lfs pull`")
    # A magic number is followed by binary sizes in every audio format, so that what is all printable is none.
    text = _as_text(head)
    if text and all(c.isprintable() or c.isspace() or unicodedata.category(c) == "Cf" for c in text):
        raise RecordingError(path, f"this is text, not audio: it begins {text[:24]!r}")


def _as_text(head: bytes) -> str:
    """The first bytes of a file as text, or "" where they are none in UTF-8 or, after a byte order mark, UTF-16."""
    decoder = _UTF16 if head[:2] in (b"\xff\xfe", b"\xfe\xff") else _UTF8
    try:
        # Incrementally, because a character may be cut at the end.
        return decoder().decode(head)
    except UnicodeDecodeError:
        return ""


def _probe_sndfile(source: Source, path: bytes, header: WavHeader | None) -> AudioInfo:
    try:
        file = sndfile.open_source(source)
    except RuntimeError as error:
        if header is None:
            raise
        raise RecordingError(path, f"unsupported codec: format tag 0x{header.tag:04x}") from error
    with file:
        subtype = sndfile.SUBTYPES.get(file.subtype)
        if subtype is None:
            raise RecordingError(path, f"unsupported codec: {file.subtype_info or file.subtype}")
        frames, notes = file.frames, []
        is_counted = not sndfile.knows_its_length(file)
        if is_counted:
            frames = sndfile.count_frames(source)
            notes.append("length counted by decoding")
        if header is not None and header.note == UNFINISHED and not frames:
            raise RecordingError(
                path, f"unfinished header: {file.subtype_info} is not read without the size of its data"
            )
        if header is not None and header.note:
            notes.append(header.note)
        if header is None and sndfile.is_truncated(file):
            notes.append("truncated: header promises more audio than is there")
        if subtype.lossy:
            notes.append(f"lossy: {file.subtype}")
        return AudioInfo(
            sample_rate=file.samplerate,
            channels=file.channels,
            frames=frames,
            subtype=file.subtype,
            seekable=subtype.seekable and not is_counted,
            notes=tuple(notes),
        )


class Recording:
    """An open recording, read range by range; a context manager.

    Args:
        source: the file; closed at the end.
        info: as `probe_source` gave it.
        path: for messages.
    """

    def __init__(self, source: Source, info: AudioInfo, path: bytes) -> None:
        self._source, self._info, self._path = source, info, path
        self._sndfile: SndfileReader | None = None
        self._buffer = bytearray()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        if self._sndfile is not None:
            self._sndfile.close()
        close(self._source)

    def read(self, start: int, frames: int) -> Decoded:
        """The frames from `start` on.

        Raises:
            RecordingError: they cannot be decoded, or are not there.
        """
        if not 0 <= start <= start + frames <= self._info.frames:
            raise RecordingError(
                self._path, f"frames {start} to {start + frames} asked for; there are {self._info.frames}"
            )
        try:
            return self._read(start, frames)
        except READER_ERRORS as error:
            raise recording_error(self._path, error) from error

    def _read(self, start: int, frames: int) -> Decoded:
        form = self._info.form
        if form is None:
            return self._decode(start, frames)
        size = frames * self._info.channels * form.width
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        raw = wav.read_raw(
            self._source, form, channels=self._info.channels, start=start, frames=frames, buffer=self._buffer
        )
        return from_floats(raw) if form.kind == "float" else Decoded(wav.to_samples(raw, form))

    def _decode(self, start: int, frames: int) -> Decoded:
        if self._sndfile is None:
            self._sndfile = SndfileReader(self._source, seekable=self._info.seekable)
        decoded = self._sndfile.read(start, frames)
        if len(decoded) < frames:
            ended = start + len(decoded)
            raise RecordingError(self._path, f"decoding ended at frame {ended} of {self._info.frames}")
        return from_floats(decoded) if decoded.dtype.kind == "f" else Decoded(decoded)


def read(path: bytes | str | os.PathLike[str], *, start: int = 0, frames: int | None = None) -> Samples:
    """Samples of a recording: all, or a range.

    Args:
        path: of the recording.
        start: first frame.
        frames: how many; None means all that follow.

    Returns:
        (frames, channels), int16 or int32, left-justified. Floats beyond full scale are clipped.

    Raises:
        RecordingError: it cannot be used, or a float in the range is NaN or infinite.
    """
    name = os.fsencode(path)
    fd = open_regular(name)
    try:
        info = probe_source(fd, name)
    except BaseException:
        os.close(fd)
        raise
    with Recording(fd, info, name) as recording:
        decoded = recording.read(start, info.frames - start if frames is None else frames)
    if decoded.invalid is not None:
        raise RecordingError(name, "holds NaN or infinite samples")
    return decoded.samples


def recording_error(path: bytes, error: Exception) -> RecordingError:
    """What went wrong with a recording, where a reader raised one of `READER_ERRORS`."""
    if isinstance(error, wav.WavError):
        return RecordingError(path, f"{error}")
    if isinstance(error, OSError):
        return PassingRecordingError(path, reason(error))
    return RecordingError(path, f"libsndfile: {getattr(error, 'error_string', error)}")
