"""Linear prediction and Rice codes: what such a codec needs, every bit of which can be followed in a few files.

The method is FLAC's (RFC 9639, section 9.2): of a window of up to 4096 frames each channel is coded by itself, or two
channels as one of them and their difference, or as their mean and their difference; and as it is, as one value, or as
the residual of a predictor. The bits counted are those of FLAC's subframes and 2 for the choice of channels. Nothing is
written: there are no headers of files and frames, and no checksums, so that chunks are not charged for what a stream
needs. How many frames a sound has, and of what format, is taken as known.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiochunk._version import __version__
from audiochunk.tools.codecs import subframes
from audiochunk.tools.codecs.codec import Codec, Measured, Stopwatch
from audiochunk.tools.codecs.sound import CodecError, Frames, Sound
from audiochunk.tools.codecs.subframes import Subframes

WINDOW = 4096  # frames
_AT_ONCE = 2**18  # samples
_PAIRS = np.array([(0, 1), (0, 3), (3, 1), (2, 3)])  # of left, right, mean and difference
_PAIR_BITS = 2

Windows = npt.NDArray[np.int64]  # (windows, frames, channels)


@dataclass(frozen=True)
class LpcRice(Codec):
    """The estimate as a codec. What is decoded are residuals and predictors, in integers."""

    def version(self) -> str:
        """Of audiochunk, which has it."""
        return f"audiochunk {__version__}"

    def measure(self, sounds: Sequence[Sound]) -> list[Measured]:
        """Count, reconstruct and compare the frames of sounds, windows of equal length together."""
        bits = [0] * len(sounds)
        encode_s, decode_s = [0.0] * len(sounds), [0.0] * len(sounds)
        for owners, windows, n_bits in _batches(sounds):
            encoding, decoding = Stopwatch(), Stopwatch()
            with encoding:
                coded = encode(windows, bits=n_bits)
            with decoding:
                back = decode(coded)
            if not np.array_equal(back, windows):
                raise CodecError(self.name, "the residuals and predictors do not give the samples back")
            for owner, window_bits in zip(owners, coded.bits.tolist(), strict=True):
                bits[owner] += window_bits
                encode_s[owner] += encoding.seconds / len(owners)
                decode_s[owner] += decoding.seconds / len(owners)
        return [Measured(-(-b // 8), e, d) for b, e, d in zip(bits, encode_s, decode_s, strict=True)]


@dataclass(frozen=True, slots=True)
class Coded:
    """Windows as subframes, one for each channel, window after window.

    Attributes:
        bits: (windows,) int64, all that a decoder needs.
        subframes: of all windows.
        pairs: (windows,), which of `_PAIRS` stands for two channels; None where there are not two.
    """

    bits: npt.NDArray[np.int64]
    subframes: Subframes
    pairs: npt.NDArray[np.int64] | None


def encode(windows: Windows, *, bits: int) -> Coded:
    """Windows as the subframes that take the fewest bits.

    Args:
        windows: (windows, frames, channels) int64, signed, at least one frame each.
        bits: of a sample.
    """
    n_windows, n, channels = windows.shape
    signals, depth = windows.transpose(0, 2, 1), [bits] * channels
    if channels == 2:
        left, right = windows[:, :, 0], windows[:, :, 1]
        # The difference takes one bit more than its channels, the mean does not.
        signals = np.stack([left, right, (left + right) >> 1, left - right], axis=1)
        depth = [bits, bits, bits, bits + 1]
    rows = np.ascontiguousarray(signals).reshape(-1, n)
    found = subframes.encode(rows, np.tile(np.array(depth, np.int64), n_windows))
    sizes = found.bits.reshape(n_windows, -1)
    if channels != 2:
        return Coded(sizes.sum(axis=1), found, None)
    of_pairs = sizes[:, _PAIRS].sum(axis=2)
    pairs = of_pairs.argmin(axis=1)
    kept = 4 * np.arange(n_windows)[:, None] + _PAIRS[pairs]
    return Coded(of_pairs.min(axis=1) + _PAIR_BITS, found.take(kept.reshape(-1)), pairs)


def decode(coded: Coded) -> Windows:
    """The windows: (windows, frames, channels)."""
    rows = coded.subframes.decode()
    signals = rows.reshape(len(coded.bits), -1, rows.shape[1])
    if coded.pairs is not None:
        first, second = signals[:, 0], signals[:, 1]
        # What the mean has lost is the lowest bit of the sum, which the difference has too.
        double = (first << 1) | (second & 1)
        of_pairs = [
            (first, second),
            (first, first - second),
            (first + second, second),
            ((double + second) >> 1, (double - second) >> 1),
        ]
        pairs = coded.pairs[:, None]
        signals = np.stack([np.choose(pairs, channel) for channel in zip(*of_pairs, strict=True)], axis=1)
    return signals.transpose(0, 2, 1)


def _batches(sounds: Sequence[Sound]) -> Iterator[tuple[list[int], Windows, int]]:
    """Windows of equal shape and bits, with the number of the sound that each is from, and the bits."""
    waiting: dict[tuple[int, int, int], list[tuple[int, Frames]]] = defaultdict(list)
    n_samples = 0
    for number, sound in enumerate(sounds):
        for window in cut(sound.frames()):
            waiting[sound.bits, *window.shape].append((number, window))
            n_samples += window.size
            if n_samples >= _AT_ONCE:
                yield from _stacked(waiting)
                n_samples = 0
    yield from _stacked(waiting)


def _stacked(waiting: dict[tuple[int, int, int], list[tuple[int, Frames]]]) -> Iterator[tuple[list[int], Windows, int]]:
    while waiting:
        (bits, *_), items = waiting.popitem()
        yield [number for number, _ in items], np.stack([window for _, window in items]).astype(np.int64), bits


def cut(pieces: Iterator[Frames]) -> Iterator[Frames]:
    """The same frames, in pieces of `WINDOW`; the last one may be shorter."""
    rest: Frames | None = None
    for piece in pieces:
        frames = piece if rest is None else np.concatenate([rest, piece])
        whole = len(frames) // WINDOW * WINDOW
        yield from (frames[at : at + WINDOW] for at in range(0, whole, WINDOW))
        rest = frames[whole:]
    if rest is not None and len(rest):
        yield rest
