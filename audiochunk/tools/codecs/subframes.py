"""Signals <-> subframes: FLAC's word for one channel of one window, coded by itself (RFC 9639, section 9.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiochunk.tools.codecs.prediction import (
    MAX_ORDER,
    Predictors,
    Signals,
    adapted_predictors,
    fixed_predictors,
    reconstruct,
    residuals,
)
from audiochunk.tools.codecs.rice import count_bits, estimate_bits

_ORDERS = (4, 8, MAX_ORDER)
_HEAD_BITS = 8  # a zero, the kind of predictor and its order, whether low bits are left out
_NARROW_BITS = 13  # up to which sums of products with coefficients fit into int32
_PRECISION = 12  # bits of a coefficient; measured: 8 take more at 16 bits, 14 take no fewer at any


@dataclass(frozen=True, slots=True)
class Subframes:
    """Signals of equal length as residuals and predictors, with what they take.

    Attributes:
        bits: (signals,) int64: all that a decoder needs.
        residuals: (signals, samples)
        coefficients: (signals, MAX_ORDER) int64, zero from a signal's order on.
        shift: (signals,) int64
        orders: (signals,) int64
        wasted: (signals,) int64, how many low bits are zero in every sample, and left out.
    """

    bits: npt.NDArray[np.int64]
    residuals: Signals
    coefficients: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    wasted: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64]) -> "Subframes":
        """Some of the signals."""
        return Subframes(
            self.bits[rows],
            self.residuals[rows],
            self.coefficients[rows],
            self.shift[rows],
            self.orders[rows],
            self.wasted[rows],
        )

    def decode(self) -> npt.NDArray[np.int64]:
        """The signals: (signals, samples)."""
        return reconstruct(self.residuals, self.coefficients, self.shift, self.orders) << self.wasted[:, None]


def encode(signals: npt.NDArray[np.int64], depth: npt.NDArray[np.int64]) -> Subframes:
    """Signals with the predictors that should take the fewest bits, counted exactly for these.

    Args:
        signals: (signals, samples), at least one sample each.
        depth: (signals,) int64, bits of a sample.
    """
    wasted = _wasted_bits(signals)
    depth = depth - wasted
    signals = (signals >> wasted[:, None]).astype(np.int32 if depth.max() <= _NARROW_BITS else np.int64)
    verbatim = signals.shape[1] * depth
    least = verbatim.astype(np.float64)
    off, coefficients = signals.copy(), np.zeros((len(signals), MAX_ORDER), np.int64)
    shift, orders, side_bits = np.zeros((3, len(signals)), np.int64)
    for predictors in _candidates(signals):
        order = predictors.order
        found = residuals(signals, predictors)
        side = predictors.side_bits + order * depth
        estimate = estimate_bits(found, np.full(len(signals), order)) + side
        wins = np.flatnonzero(estimate < least)
        least[wins], side_bits[wins] = estimate[wins], side[wins]
        off[wins], orders[wins], shift[wins] = found[wins], order, predictors.shift[wins]
        coefficients[wins] = 0
        coefficients[wins, :order] = predictors.coefficients[wins]
    bits = side_bits + count_bits(off, orders)
    is_verbatim, is_constant = bits >= verbatim, (signals == signals[:, :1]).all(axis=1)
    is_plain = is_verbatim | is_constant
    off[is_plain] = signals[is_plain]
    coefficients[is_plain], shift[is_plain], orders[is_plain] = 0, 0, 0
    # One value is what the value before says of all but the first.
    off[is_constant, 1:], coefficients[is_constant, 0], orders[is_constant] = 0, 1, 1
    bits = np.where(is_constant, depth, np.minimum(bits, verbatim)) + wasted + _HEAD_BITS
    return Subframes(bits, off, coefficients, shift, orders, wasted)


def _candidates(signals: Signals) -> Iterator[Predictors]:
    yield from fixed_predictors(signals)
    yield from adapted_predictors(signals, _ORDERS, precision=_PRECISION)


def _wasted_bits(signals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many low bits are zero in every sample: (signals,); of silence none, which needs no bits anyway."""
    used = np.bitwise_or.reduce(signals, axis=1)
    return np.where(used, np.frexp((used & -used).astype(np.float64))[1] - 1, 0).astype(np.int64)
