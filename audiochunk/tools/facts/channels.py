"""The codes of one stream channel by channel, and what is measured of them."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from audiochunk.config import Bits, Encoding
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames
from audiochunk.reader.location import stream_of
from audiochunk.signal.chunking import Stream
from audiochunk.signal.quantize import Codes, code_dtype, dequantize, silence
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts.full_scale import FullScale
from audiochunk.tools.facts.source import is_cut

_PIECE_FRAMES = 2**20  # that are looked at together
_FIRST_FRAMES = 2**12  # enough to tell most channels apart
_MOST_HELD = 2**24  # codes that wait for the rest of their group


class Channels:
    """What depends on which channel a code is of, and on which is next to it.

    Args:
        ds: the split.
        row: of the stream, which is added piece by piece.
        stats: what to measure.
    """

    def __init__(self, ds: ChunkDataset, row: RecordingRow, stats: Sequence[str]) -> None:
        self._ds, self._row = ds, row
        stream = stream_of(row, ds.encoding)
        n = stream.channels
        self._full_scale = FullScale(row, ds.encoding, channels=n) if "clipping" in stats else None
        self._same = _SameChannels(n) if "channels" in stats and n > 1 else None
        self._means = _Means(n, ds.encoding) if "dc" in stats and n > 1 else None
        is_needed = any(part is not None for part in (self._full_scale, self._same, self._means))
        self._planes = _Planes(stream) if is_needed else None
        self._is_read_again = is_needed and _codes_held(stream) > _MOST_HELD

    def add(self, codes: Codes) -> None:
        """Look at the codes of the stream that follow those that were added: 1-D."""
        if self._planes is not None and not self._is_read_again:
            self._look(self._planes.add(codes))

    def finish(self, effective_bits: int) -> dict[str, int | float]:
        """The columns that were measured; nothing may be added afterwards.

        Args:
            effective_bits: of all codes.
        """
        if self._is_read_again:
            for piece in Frames(self._ds, self._row).pieces():
                self._look(piece.T)
        elif self._planes is not None:
            self._look(self._planes.finish())
        found: dict[str, int | float] = {}
        if self._full_scale is not None:
            found["clipped_runs"], found["clipped_samples"] = self._full_scale.finish(effective_bits)
        if self._same is not None:
            found |= {"copied_channels": self._same.copied, "constant_channels": self._same.constant}
        if self._means is not None:
            found["dc"] = self._means.furthest(is_cut=is_cut(self._row, self._ds.encoding))
        return found

    def _look(self, planes: Codes) -> None:
        for at in range(0, planes.shape[1], _PIECE_FRAMES):
            piece = planes[:, at : at + _PIECE_FRAMES]
            if self._full_scale is not None:
                self._full_scale.add(piece)
            if self._means is not None:
                self._means.add(piece)
            if self._same is not None:
                self._same.add(piece[:, :_FIRST_FRAMES])
                self._same.add(piece[:, _FIRST_FRAMES:])


class _Planes:
    """Makes channels of the codes of a stream, which come piece by piece.

    Args:
        stream: that they are of.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._group = stream.channels * stream.block
        self._waiting: list[Codes] = []
        self._n_waiting = self._groups = 0

    def add(self, codes: Codes) -> Codes:
        """The frames that are complete with these codes, as (channels, frames): those of whole groups."""
        channels, block = self._stream.channels, self._stream.block
        if channels == 1:
            return codes[None]
        self._waiting.append(codes)
        self._n_waiting += codes.size
        if self._n_waiting < self._group:
            return codes[:0].reshape(channels, 0)
        codes = _joined(self._waiting)
        n_groups, rest = divmod(codes.size, self._group)
        whole = codes.size - rest
        self._groups += n_groups
        self._waiting, self._n_waiting = [codes[whole:]] if rest else [], rest
        return codes[:whole].reshape(n_groups, channels, block).transpose(1, 0, 2).reshape(channels, n_groups * block)

    def finish(self) -> Codes:
        """The frames of the last group, as (channels, frames), as far as every channel of them is there."""
        channels = self._stream.channels
        if not self._n_waiting:
            return np.zeros((channels, 0), np.uint8)
        codes = _joined(self._waiting)
        block = min(self._stream.block, self._stream.frames - self._groups * self._stream.block)
        n = max(0, codes.size - (channels - 1) * block)
        return np.stack([codes[channel * block :][:n] for channel in range(channels)])


def _codes_held(stream: Stream) -> int:
    """How many codes must wait at most for the rest of their group; none where chunks hold whole groups."""
    group = stream.channels * stream.block
    return 0 if stream.channels == 1 or stream.codes_per_chunk % group == 0 else min(group, stream.n_codes)


def _joined(parts: list[Codes]) -> Codes:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class _Means:
    """The means of channels.

    Args:
        channels: how many.
        encoding: of their codes.
    """

    def __init__(self, channels: int, encoding: Encoding) -> None:
        self._encoding, self._zero = encoding, silence(bits=encoding.bits)
        self._sums = np.zeros(channels, np.int64)
        self._sounds = np.zeros(channels, np.bool_)
        self._n = 0

    def add(self, planes: Codes) -> None:
        """Add codes: (channels, frames)."""
        frames = planes.shape[1]
        self._n += frames
        if not self._sounds.all():
            self._sounds |= (planes != self._zero).any(axis=1)
        if self._encoding.quantizer == "linear":
            self._sums += planes.sum(axis=1, dtype=np.int64) - frames * self._zero
        else:
            self._sums += _mulaw_samples(self._encoding.bits)[planes].sum(axis=1, dtype=np.int64)

    def furthest(self, *, is_cut: bool) -> float:
        """That which is furthest from 0, full scale being 1; NaN without frames.

        Args:
            is_cut: whether a linear code stands for a step of samples, whose middle is taken then.
        """
        if not self._n:
            return float("nan")
        means = self._sums / self._n
        if self._encoding.quantizer == "linear":
            means = (means + (0.5 if is_cut else 0.0)) / self._zero
        else:
            means /= 2.0**31
        means[~self._sounds] = 0  # silence is no step whose middle could be meant
        return float(means[np.abs(means).argmax()])


@cache
def _mulaw_samples(bits: Bits) -> npt.NDArray[np.int32]:
    return dequantize(np.arange(2**bits, dtype=code_dtype(bits)), bits=bits, quantizer="mulaw").astype(np.int32)


class _SameChannels:
    """Which channels of a recording are the same, and which are one value throughout.

    Args:
        n: how many there are.
    """

    def __init__(self, n: int) -> None:
        self._groups = [0] * n  # channels with the same number were the same so far
        self._first: Codes | None = None
        self._is_constant = np.ones(n, np.bool_)

    def add(self, planes: Codes) -> None:
        """Look at codes: (channels, frames)."""
        if not planes.size or self._are_all_different:
            return
        if self._first is None:
            self._first = planes[:, :1].copy()
        known: dict[tuple[int, bytes], int] = {}
        rows = zip(self._groups, planes, strict=True)
        self._groups = [known.setdefault((group, row.tobytes()), len(known)) for group, row in rows]
        if self._is_constant.any():
            self._is_constant &= (planes == self._first).all(axis=1)

    @property
    def _are_all_different(self) -> bool:
        return len(set(self._groups)) == len(self._groups) and not self._is_constant.any()

    @property
    def constant(self) -> int:
        """How many are one value throughout."""
        return 0 if self._first is None else int(self._is_constant.sum())

    @property
    def copied(self) -> int:
        """How many are the same as one before them; constant ones are not counted."""
        moving = [group for group, still in zip(self._groups, self._is_constant, strict=True) if not still]
        return 0 if self._first is None else len(moving) - len(set(moving))
