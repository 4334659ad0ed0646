"""What of a recording is shown and played: a few seconds around one of its chunks."""

import base64
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames, chunk_samples
from audiochunk.reader.recordings import Recordings
from audiochunk.signal.quantize import Samples, dequantize
from audiochunk.storage.recordings import RecordingRow

_CLIP_S = 5.0
_REPEATED_S = 1.0  # that a chunk is repeated for at most: a few milliseconds are a click
_REPEATED_SHARE = 6  # of the bytes of sound, one part is for chunks
_MOST_CHUNK_CODES = 2**20
# Browsers play at least this and more (Chromium: 3 kHz to 768 kHz), and most of what lies higher is beyond hearing.
_PLAYED_HZ = (3000, 192_000)
_PLAYED_CHANNELS = 2


@dataclass(frozen=True, slots=True)
class Playback:
    """How a recording is played.

    Attributes:
        sample_rate: in Hz, of what is played.
        speed: of it, as a power of ten: -1 where it is played at a tenth of the recording's speed.
        channels: how many of the stream's first channels are played.
        sample_bytes: bytes of a sample.
    """

    sample_rate: int
    speed: int
    channels: int
    sample_bytes: int

    @classmethod
    def of(cls, row: RecordingRow, encoding: Encoding) -> "Playback":
        """How a row's recording is played: at its own rate where browsers can, else at a power of ten of its speed."""
        rate, speed = row.sample_rate, 0
        while rate > _PLAYED_HZ[1]:
            rate, speed = rate // 10, speed - 1
        while rate < _PLAYED_HZ[0]:
            rate, speed = rate * 10, speed + 1
        channels = row.channels if encoding.layout == "blocks" else 1
        # Values of mu-law lie between those of 8 bits.
        sample_bytes = 2 if encoding.quantizer == "mulaw" else encoding.bytes_per_code
        return cls(rate, speed, min(channels, _PLAYED_CHANNELS), sample_bytes)

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame of what is played."""
        return self.channels * self.sample_bytes

    def wav(self, samples: Samples) -> bytes:
        """A WAV file of left-justified samples: (frames, at least `channels`)."""
        width = samples.dtype.itemsize
        played = np.ascontiguousarray(samples[:, : self.channels]).astype(f"<i{width}", copy=False)
        octets = played.view(np.uint8).reshape(-1, width)[:, max(0, width - self.sample_bytes) :]
        if self.sample_bytes == 1:
            octets = octets ^ np.uint8(0x80)  # 8-bit WAV is unsigned
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(self.channels)
            file.setsampwidth(self.sample_bytes)
            file.setframerate(self.sample_rate)
            file.writeframes(octets.tobytes())
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of one stream, and one chunk in it.

    Attributes:
        row: of the recordings table.
        encoding: of its chunks.
        playback: how it is played.
        start: frame of the recording at which the clip begins.
        samples: (frames, channels) of the clip, left-justified; of the channels that are played.
        chunk: number of the chunk in its split.
        chunk_frames: first and last frame of the recording that the chunk has samples of.
        chunk_channels: the numbers of its channels.
        codes: of the chunk, in the order of the stream; None of one that is too large to be shown.
        chunk_samples: (frames, channels), left-justified; None likewise. Of a chunk that is not aligned, one channel
            after the other as one.
        max_repeated: bytes that the chunk may take when it is played over and over; once it is played in any case.
    """

    row: RecordingRow
    encoding: Encoding
    playback: Playback
    start: int
    samples: Samples
    chunk: int
    chunk_frames: tuple[int, int]
    chunk_channels: tuple[int, ...]
    codes: "npt.NDArray[np.unsignedinteger] | None"
    chunk_samples: Samples | None
    max_repeated: int

    @property
    def waveform(self) -> npt.NDArray[np.float64]:
        """The samples, full scale being 1."""
        return self.samples / 2.0 ** (8 * self.samples.dtype.itemsize - 1)

    @property
    def seconds(self) -> tuple[float, float]:
        """Where in the recording the clip begins and ends."""
        return self.start / self.row.sample_rate, (self.start + len(self.samples)) / self.row.sample_rate

    @property
    def stream_channels(self) -> int:
        """Channels that the stream has, whether played or not."""
        return self.row.channels if self.encoding.layout == "blocks" else 1

    @property
    def chunk_period(self) -> float:
        """Seconds after which the chunk begins anew where it is played."""
        return 0.0 if self.chunk_samples is None else len(self.chunk_samples) / self.playback.sample_rate

    @property
    def clip_uri(self) -> str:
        """The clip as a WAV file in a data: URI."""
        return _uri(self.playback.wav(self.samples))

    @property
    def chunk_uri(self) -> str | None:
        """The chunk, over and over for up to a second, likewise; None of one that is too large."""
        if self.chunk_samples is None:
            return None
        samples = self.chunk_samples
        playback = replace(self.playback, channels=min(self.playback.channels, samples.shape[1]))
        frames = min(_REPEATED_S * playback.sample_rate, self.max_repeated / playback.frame_bytes)
        times = max(1, int(frames / max(1, len(samples))))
        return _uri(playback.wav(np.tile(samples, (times, 1))))


def _uri(wav: bytes) -> str:
    return "data:audio/wav;base64," + base64.b64encode(wav).decode("ascii")


def choose(rows: Sequence[RecordingRow], n: int, *, seed: int) -> list[tuple[RecordingRow, float]]:
    """Streams as a model meets them, and where in each to look: drawn by how many chunks they have, each once.

    Args:
        rows: of all splits.
        n: the most to choose.
        seed: of the choice.

    Returns:
        Rows of as many recordings that have whole frames, in the order of `rows`, each with a number in [0, 1).
    """
    # Of columns, where there are some: rows may be millions.
    chunks = np.asarray(rows.chunks if isinstance(rows, Recordings) else [row.chunks for row in rows], np.float64)
    draws = np.random.Generator(np.random.PCG64(seed)).random((len(rows), 2))
    # Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the largest u ** (1 / weight).
    with np.errstate(divide="ignore"):
        keys = np.where(chunks > 0, np.log(1 - draws[:, 0]) / chunks, -np.inf)
    found: dict[bytes, int] = {}
    for i in np.argsort(-keys, kind="stable")[: int((chunks > 0).sum())].tolist():
        if len(found) == n:
            break
        row = rows[i]
        if row.frames > row.dropped_frames:
            found.setdefault(row.path_bytes, i)  # under layout "split", one channel stands for all
    return [(rows[i], float(draws[i, 1])) for i in sorted(found.values())]


def budgets(wanted: Sequence[int], total: int) -> list[int]:
    """How much of `total` each gets: what it wants, or an equal share of what those that want less leave.

    >>> budgets([10, 100, 90], 100)
    [10, 45, 45]
    """
    given, left = [0] * len(wanted), total
    for place, i in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        given[i] = min(wanted[i], left // (len(wanted) - place))
        left -= given[i]
    return given


def clips(
    datasets: dict[str, ChunkDataset], chosen: Sequence[tuple[RecordingRow, float]], *, max_bytes: int
) -> list[Clip]:
    """A clip of each of the rows that `choose` gave, all of them together of at most so many bytes of sound."""
    playbacks = [Playback.of(row, datasets[row.split].encoding) for row, _ in chosen]
    wanted = [
        min(row.frames, round(_CLIP_S * playback.sample_rate)) * playback.frame_bytes
        for (row, _), playback in zip(chosen, playbacks, strict=True)
    ]
    for_chunks = max_bytes // _REPEATED_SHARE
    return [
        _clip(
            datasets[row.split],
            row,
            playback,
            where=where,
            frames=size // playback.frame_bytes,
            max_repeated=for_chunks // len(chosen),
        )
        for (row, where), playback, size in zip(chosen, playbacks, budgets(wanted, max_bytes - for_chunks), strict=True)
    ]


def _clip(
    ds: ChunkDataset, row: RecordingRow, playback: Playback, *, where: float, frames: int, max_repeated: int
) -> Clip:
    encoding, stream = ds.encoding, Frames(ds, row)
    chunk = row.first_chunk + int(where * row.chunks)
    location = ds.locate(chunk)
    frames = min(frames, stream.frames)
    # The chunk lies as far into the clip as into the recording.
    start = min(max(0, round(location.first_frame - where * frames)), stream.frames - frames)
    codes = stream.read(start, frames)[:, : playback.channels]
    is_small = encoding.codes_per_chunk <= _MOST_CHUNK_CODES
    sound = chunk_samples(ds, chunk) if is_small else None
    return Clip(
        row=row,
        encoding=encoding,
        playback=playback,
        start=start,
        samples=dequantize(codes, bits=encoding.bits, quantizer=encoding.quantizer),
        chunk=chunk,
        chunk_frames=(location.first_frame, location.last_frame),
        chunk_channels=location.channels,
        codes=ds.codes(chunk) if is_small else None,
        chunk_samples=np.concatenate(sound)[:, None] if isinstance(sound, list) else sound,
        max_repeated=max_repeated,
    )
