"""Sounds made of arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BITS = [8, 12, 16, 24]


@dataclass(frozen=True)
class Made:
    """A sound of given frames, handed out in pieces of `piece` frames."""

    samples: npt.NDArray[np.int32]
    bits: int
    sample_rate: int = 16_000
    piece: int = 1000

    @property
    def channels(self) -> int:
        return self.samples.shape[1]

    @property
    def n_frames(self) -> int:
        return len(self.samples)

    @property
    def n_bytes(self) -> int:
        return len(self.stored())

    def stored(self) -> bytes:
        codes = (self.samples.astype(np.int64) + (1 << (self.bits - 1))).astype("<u4")
        return codes.view(np.uint8).reshape(-1, 4)[:, : (self.bits + 7) // 8].tobytes()

    def octets(self) -> Iterator[bytes]:
        stored = self.stored()
        return (stored[at : at + self.piece] for at in range(0, len(stored), self.piece))

    def frames(self) -> Iterator[npt.NDArray[np.int32]]:
        return (self.samples[at : at + self.piece] for at in range(0, len(self.samples), self.piece))


def tone(n_frames: int, *, bits: int = 16, channels: int = 1, sample_rate: int = 16_000, hz: float = 440) -> Made:
    """A sine of -12 dB and noise of -60 dB; every channel is a little later than the one before."""
    seconds = (np.arange(n_frames)[:, None] + 3 * np.arange(channels)) / sample_rate
    noise = np.random.default_rng(1).normal(0, 1e-3, (n_frames, channels))
    signal = 0.25 * np.sin(2 * np.pi * hz * seconds) + noise
    return Made(np.floor(signal * (1 << (bits - 1))).astype(np.int32), bits, sample_rate)


def noise(n_frames: int, *, bits: int = 16, channels: int = 1, seed: int = 0) -> Made:
    """White, uniform over full scale: `bits` bits of entropy a sample."""
    top = 1 << (bits - 1)
    samples = np.random.default_rng(seed).integers(-top, top, (n_frames, channels), np.int32)
    return Made(samples, bits)


def extremes(n_frames: int, *, bits: int, channels: int = 2) -> Made:
    """The lowest value in one channel where the next one has the highest, and the other way round."""
    top = 1 << (bits - 1)
    is_high = (np.arange(n_frames)[:, None] // 3 + np.arange(channels)) % 2 == 1
    return Made(np.where(is_high, top - 1, -top).astype(np.int32), bits)
