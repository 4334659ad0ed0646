"""How often which codes occur."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.reader.dataset import ChunkDataset

_MAX_CODES = 2**21  # of which a histogram is made
_MAX_FETCHED = 16  # shards


@dataclass(frozen=True, slots=True)
class CodeHistogram:
    """How often codes occur in a sample of chunks.

    Attributes:
        bins: (n,) int64; equal ranges of codes, from 0 to 2**bits - 1.
        entropy: of single codes, in bits per sample. It cannot exceed
        most: log2 of the number of codes looked at, so that it says little of codes of more than 12 bits or so.
        chunks: how many chunks were looked at, spread evenly over the splits.
        of: how many there are.
    """

    bins: npt.NDArray[np.int64]
    entropy: float
    most: float
    chunks: int
    of: int


def histogram(datasets: Iterable[ChunkDataset], *, bins: int = 64, max_chunks: int = 1024) -> CodeHistogram:
    """The codes of a dataset's splits, padding left out.

    Args:
        datasets: the splits; at least one.
        bins: how many ranges to count in; a power of two up to 256.
        max_chunks: about how many chunks to look at; fewer where they are large. They lie in all shards, or in 16 of
            those that have to be fetched.
    """
    splits = list(datasets)
    total = sum(len(ds) for ds in splits)
    max_chunks = max(1, min(max_chunks, _MAX_CODES // splits[0].encoding.codes_per_chunk))
    codes: list[npt.NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
    for ds in splits:
        share = -(-max_chunks * len(ds) // max(1, total))
        numbers = _chosen(ds, share, most_shards=-(-_MAX_FETCHED * len(ds) // max(1, total)))
        ds.will_need(numbers)
        codes += [ds.codes(number).astype(np.uint32) for number in numbers.tolist()]
    seen = np.concatenate(codes)
    counted = np.bincount(seen >> np.uint32(splits[0].encoding.bits - bins.bit_length() + 1), minlength=bins)
    most = most_entropy(splits[0].encoding.bits, seen.size)
    return CodeHistogram(counted.astype(np.int64), entropy(seen), most, len(codes) - 1, total)


def _chosen(ds: ChunkDataset, most: int, *, most_shards: int) -> npt.NDArray[np.int64]:
    """Numbers of so many chunks at most, evenly spread, in so many shards at most where these have to be fetched."""
    sizes = np.array(ds.shard_sizes if ds.is_fetched else (), np.int64)
    if len(sizes) <= most_shards:
        return _spread(len(ds), most)
    firsts = np.cumsum(sizes) - sizes
    among = np.concatenate([np.arange(firsts[i], firsts[i] + sizes[i]) for i in _spread(len(sizes), most_shards)])
    return among[_spread(len(among), most)]


def _spread(n: int, most: int) -> npt.NDArray[np.int64]:
    """So many of the numbers below n at most, evenly spread."""
    return np.unique(np.linspace(0, n - 1, most).astype(np.int64)) if n else np.zeros(0, np.int64)


def entropy(codes: npt.NDArray[Any]) -> float:
    """Entropy of single codes, in bits per code; 0 where there are none.

    >>> entropy(np.array([0, 0, 1, 1]))
    1.0
    """
    counts = np.unique(codes, return_counts=True)[1]
    shares = counts / max(1, codes.size)
    return float(np.abs((shares * np.log2(shares)).sum()))


def most_entropy(bits: int, n_codes: int) -> float:
    """The most that `entropy` can say of so many codes: log2 of their number, or of the number of values."""
    return min(float(bits), float(np.log2(max(1, n_codes))))
