"""What libsndfile decodes: FLAC, AIFF, CAF, AU, W64, and codecs inside WAV."""

import os
import re
import threading
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from audiochunk.signal.source import Source, SourceFile

if TYPE_CHECKING:
    import soundfile

_DISCARD_FRAMES = 2**14
# Why a file could not be opened, libsndfile keeps in one place for all threads (sf_errno).
_opening = threading.Lock()
# In libsndfile's log: the sizes of what holds the audio in W64, AIFF, CAF and AU.
_LOGGED_SIZES = re.compile(r"^ *(?:riff|SSND|data|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


class Subtype(NamedTuple):
    """How libsndfile's samples of a subtype are taken.

    Attributes:
        dtype: the one that holds them without loss.
        seekable: whether decoding gives the same samples from wherever it begins. Decoders that carry state do not,
            and are always run from the first frame.
        lossy: whether the codec changed the samples, log PCM (A-law, mu-law) not counted.
    """

    dtype: Literal["int16", "int32", "float64"]
    seekable: bool = True
    lossy: bool = False


# IMA ADPCM cannot be seeked in: libsndfile decodes an incomplete last block from what the block read before it left.
# Not here: ALAC of 20 and 32 bits, which libsndfile 1.2.2 decodes wrongly, and what it can write but not read (DWVW).
_INT_LOSSY = [
    "IMA_ADPCM",
    "MS_ADPCM",
    "VOX_ADPCM",
    "NMS_ADPCM_16",
    "NMS_ADPCM_24",
    "NMS_ADPCM_32",
    "GSM610",
    "G721_32",
    "G723_24",
    "G723_40",
]
_FLOAT_LOSSY = ["VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"]
SUBTYPES = {
    **dict.fromkeys(["PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW", "ALAC_16"], Subtype("int16")),
    **dict.fromkeys(["PCM_24", "PCM_32", "ALAC_24"], Subtype("int32")),
    **dict.fromkeys(["FLOAT", "DOUBLE"], Subtype("float64")),
    **dict.fromkeys(_INT_LOSSY, Subtype("int16", seekable=False, lossy=True)),
    **dict.fromkeys(_FLOAT_LOSSY, Subtype("float64", seekable=False, lossy=True)),
}


def open_source(source: Source) -> "soundfile.SoundFile":
    """libsndfile's reader at the first frame of an open file, which it does not close.

    Raises:
        soundfile.LibsndfileError: it is no audio that libsndfile knows.
    """
    import soundfile  # plain WAV needs no libsndfile, and loading it takes a while

    if isinstance(source, int):
        os.lseek(source, 0, os.SEEK_SET)
    try:
        with _opening:
            file = soundfile.SoundFile(source if isinstance(source, int) else SourceFile(source), closefd=False)
    finally:
        _raise_failure(source)
    # After every read of what it can seek in, python-soundfile seeks to where it is. At the end of a stream that
    # promised more this fails, and decoders that carry state may lose it.
    file.seekable = lambda: False
    return file


def _raise_failure(source: Source) -> None:
    """Raise what came up while libsndfile read, which took it for the end of the file."""
    if not isinstance(source, int):
        source.raise_failure()


def knows_its_length(file: "soundfile.SoundFile") -> bool:
    """Whether a stream says how many frames it has. libsndfile gives 2**63 - 1 where it does not."""
    return bool(type(file).seekable(file)) and 0 <= file.frames < 2**62


def is_truncated(file: "soundfile.SoundFile") -> bool:
    """Whether libsndfile found less audio than the header promises, as the log of its header parser says."""
    return any(int(promised) > int(there) for promised, there in _LOGGED_SIZES.findall(file.extra_info))


def count_frames(source: Source) -> int:
    """Frames of an open file, by decoding them.

    Raises:
        soundfile.LibsndfileError: they could not be decoded.
    """
    frames = 0
    with open_source(source) as file:
        buffer = np.empty((_DISCARD_FRAMES, file.channels), np.int16)
        try:
            while n := len(file.read(out=buffer)):
                frames += n
        finally:
            _raise_failure(source)
    return frames


class SndfileReader:
    """Any range of frames of an open file.

    Args:
        source: the file; stays open.
        seekable: whether decoding may begin anywhere; else every read begins at the first frame, or goes on from the
            last read.
    """

    def __init__(self, source: Source, *, seekable: bool) -> None:
        self._source, self._seekable = source, seekable
        self._file = open_source(source)
        self._position = 0

    def read(self, start: int, frames: int) -> npt.NDArray[Any]:
        """Frames from `start` on: (frames, channels) of the subtype's dtype, fewer where decoding ended.

        Raises:
            soundfile.LibsndfileError: they could not be decoded.
        """
        try:
            self._go_to(start)
            dtype = SUBTYPES[self._file.subtype].dtype
            decoded: npt.NDArray[Any] = self._file.read(frames, dtype=dtype, always_2d=True)
        finally:
            _raise_failure(self._source)
        self._position += len(decoded)
        return decoded

    def close(self) -> None:
        """Let go of libsndfile's reader."""
        self._file.close()

    def _go_to(self, start: int) -> None:
        if start == self._position:
            return
        if self._seekable:
            self._file.seek(start)
        else:
            if start < self._position:
                self._file.close()
                self._file, self._position = open_source(self._source), 0
            for at in range(self._position, start, _DISCARD_FRAMES):
                self._file.read(min(_DISCARD_FRAMES, start - at), dtype="int16")
        self._position = start


def bits_of(subtype: str) -> int:
    """Bits that samples of a subtype have at most: 8, 16, 24 or 32.

    >>> bits_of("PCM_U8"), bits_of("ULAW"), bits_of("ALAC_24"), bits_of("FLOAT")
    (8, 16, 24, 32)
    """
    if subtype in ("PCM_U8", "PCM_S8"):
        return 8
    if subtype.endswith("_24") and SUBTYPES.get(subtype, SUBTYPES["PCM_24"]).dtype == "int32":
        return 24
    known = SUBTYPES.get(subtype)
    return 16 if known is not None and known.dtype == "int16" else 32
