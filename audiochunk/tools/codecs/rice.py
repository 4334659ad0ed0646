"""How many bits residuals take as Rice codes, counted and not written.

A residual e becomes u = 2e, or -2e - 1 where it is negative; with parameter k it takes (u >> k) zeros, a one, and k
bits more. Signals are cut into partitions, 1, 2, 4, … of equal length, with a parameter each (RFC 9639, 9.2.7).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.tools.codecs.prediction import MAX_ORDER, Signals

_MAX_PARTITIONS = 64  # what `flac -8` tries
_CODING_BITS = 2 + 4  # how long parameters are, and the logarithm of the number of partitions
_SMALL_PARAMETER = 14  # the largest of 4 bits, of which all ones mean something else; others take 5


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to cut and code residuals.

    Attributes:
        estimate: (signals,) float64, about how many bits that takes.
        side_bits: (signals,) int64, those that say the partitions and parameters.
        parameters: (signals, units) int64; a unit is the smallest partition that there could be.
    """

    estimate: npt.NDArray[np.float64]
    side_bits: npt.NDArray[np.int64]
    parameters: npt.NDArray[np.int64]

    def better(self, other: "_Plan") -> "_Plan":
        """For each signal the plan that should take fewer bits."""
        wins = self.estimate <= other.estimate
        return _Plan(
            np.where(wins, self.estimate, other.estimate),
            np.where(wins, self.side_bits, other.side_bits),
            np.where(wins[:, None], self.parameters, other.parameters),
        )


def estimate_bits(residuals: Signals, orders: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """About how many bits `count_bits` finds: (signals,), from sums of residuals alone."""
    return _plan(_zigzag(residuals, orders), orders).estimate


def count_bits(residuals: Signals, orders: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bits that residuals take with parameters and partitions that suit them: (signals,), exactly.

    Args:
        residuals: (signals, samples).
        orders: (signals,), how many of the first samples are not coded, at most MAX_ORDER.

    >>> count_bits(np.array([[9, 0, -1, 2, -2]]), np.array([1])).item()  # 6, 4, and 1·0 1·1 001·0 01·1 with k = 1
    21
    """
    codes = _zigzag(residuals, orders)
    plan = _plan(codes, orders)
    units = plan.parameters.shape[1]
    zeros = codes.reshape(len(codes), units, -1) >> plan.parameters[:, :, None].astype(codes.dtype)
    each = _counts(codes.shape[1], units, orders) * (1 + plan.parameters)
    counted: npt.NDArray[np.int64] = zeros.sum(axis=(1, 2), dtype=np.int64) + each.sum(axis=1) + plan.side_bits
    return counted


def _plan(codes: npt.NDArray[Any], orders: npt.NDArray[np.int64]) -> _Plan:
    """The plan that should take the fewest bits.

    A parameter follows from the mean m of a partition: with k + 1 in the place of k a code is a bit longer, and loses
    2**-(k+1) of m less the half ones that are shifted out; that pays where m + 1/2 > 2**(k+1).
    """
    n = codes.shape[1]
    units = 1
    while units < _MAX_PARTITIONS and n % (2 * units) == 0 and n // (2 * units) > MAX_ORDER:
        units *= 2
    sums = codes.reshape(len(codes), units, -1).sum(axis=2, dtype=np.int64)
    counts = _counts(n, units, orders)
    plan = _of(sums, counts, units)
    while counts.shape[1] > 1:
        sums, counts = sums[:, ::2] + sums[:, 1::2], counts[:, ::2] + counts[:, 1::2]
        plan = plan.better(_of(sums, counts, units))
    return plan


def _of(sums: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], units: int) -> _Plan:
    """The best parameters for partitions of so many codes, (signals, partitions), that add up to so much."""
    mean = sums / np.maximum(counts, 1)
    parameters = np.maximum(np.frexp(mean + 0.5)[1].astype(np.int64) - 1, 0)
    width = np.where(parameters.max(axis=1) > _SMALL_PARAMETER, 5, 4)
    side_bits = _CODING_BITS + width * counts.shape[1]
    scale = np.ldexp(1.0, -parameters)
    bits = counts * (mean * scale + 1 + parameters - (1 - scale) / 2)
    estimate = bits.sum(axis=1) + side_bits
    return _Plan(estimate, side_bits, np.repeat(parameters, units // counts.shape[1], axis=1))


def _counts(n: int, partitions: int, orders: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Codes in each partition: (signals, partitions)."""
    counts = np.full((len(orders), partitions), n // partitions, np.int64)
    counts[:, 0] -= orders
    return counts


def _zigzag(residuals: Signals, orders: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Residuals as numbers from 0 on; what is not coded is 0."""
    codes = (residuals << 1) ^ (residuals >> (8 * residuals.itemsize - 1))
    first = codes[:, :MAX_ORDER]
    first[np.arange(first.shape[1]) < orders[:, None]] = 0
    return codes
