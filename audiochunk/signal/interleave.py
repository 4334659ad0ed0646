"""Samples <-> blocks: how several channels become one stream."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.signal.quantize import Samples

Scalar = TypeVar("Scalar", bound=np.generic)


def interleave(
    samples: npt.NDArray[Scalar], *, block: int, out: npt.NDArray[Scalar] | None = None
) -> npt.NDArray[Scalar]:
    """Lay channels end to end in blocks: '(b n) c -> (b c n)'.

    Args:
        samples: (frames, channels), any dtype. The last block may be shorter.
        block: samples of one channel in a block; 1 is ordinary interleaving.
        out: 1-D, frames * channels long, to be filled; else a new array is made.

    Returns:
        1-D, frames * channels long, same dtype; `out` where it was given.

    Raises:
        ConfigError: block < 1.

    >>> interleave(np.array([[1, 9], [2, 8], [3, 7]]), block=2)
    array([1, 2, 9, 8, 3, 7])
    """
    if block < 1:
        raise ConfigError(f"block must be at least 1 sample, not {block}")
    frames, channels = samples.shape
    if out is None:
        out = np.empty(frames * channels, samples.dtype)
    whole = frames // block * block
    _as_blocks(out[: whole * channels], channels, block)[...] = samples[:whole].reshape(-1, block, channels)
    out[whole * channels :].reshape(channels, -1)[...] = samples[whole:].T
    return out


def deinterleave(stream: npt.NDArray[Scalar], *, channels: int, block: int) -> npt.NDArray[Scalar]:
    """Undo `interleave`: '(b c n) -> (b n) c'.

    Args:
        stream: 1-D, a multiple of `channels` long, any dtype.
        channels: how many channels it holds.
        block: the block it was interleaved with; the last may be shorter.

    Returns:
        (frames, channels), same dtype.

    Raises:
        ConfigError: block < 1, or a length that no number of whole frames has.

    >>> deinterleave(np.array([1, 2, 9, 8, 3, 7]), channels=2, block=2).tolist()
    [[1, 9], [2, 8], [3, 7]]
    """
    if block < 1:
        raise ConfigError(f"block must be at least 1 sample, not {block}")
    frames, rest = divmod(stream.size, channels)
    if rest:
        raise ConfigError(f"{stream.size} samples are no whole frames of {channels} channels")
    out = np.empty((frames, channels), stream.dtype)
    whole = frames // block * block
    out[:whole].reshape(-1, block, channels)[...] = _as_blocks(stream[: whole * channels], channels, block)
    out[whole:] = stream[whole * channels :].reshape(channels, -1).T
    return out


def _as_blocks(stream: npt.NDArray[Scalar], channels: int, block: int) -> npt.NDArray[Scalar]:
    """A view of whole blocks as (blocks, block, channels)."""
    return stream.reshape(-1, channels, block).transpose(0, 2, 1)


def mix_down(samples: Samples) -> Samples:
    """The floor of the mean over channels; it has no inverse.

    Args:
        samples: (frames, channels), int16 or int32.

    Returns:
        (frames, 1), same dtype. Sums are taken in int64.

    >>> mix_down(np.array([[3, -4], [2, 2]], dtype=np.int16)).ravel().tolist()
    [-1, 2]
    """
    if samples.shape[1] == 1:
        return samples
    sums = samples.sum(axis=1, dtype=np.int64, keepdims=True)
    mean: Samples = (sums // samples.shape[1]).astype(samples.dtype)
    return mean
