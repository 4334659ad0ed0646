"""Linear prediction in integers: signals <-> residuals.

A predictor says of every sample sum(coefficients[k] * x[t-1-k]) >> shift, and the residual is what it is off by. The
first samples, of which there are as many as coefficients (the order), stand in the residual as they are.

Fixed predictors are those of T. Robinson, "SHORTEN: simple lossless and near-lossless waveform compression" (1994), the
others come from autocorrelation and the Levinson-Durbin recursion, as in RFC 9639 (FLAC), section 9.2 and its examples.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Signals = npt.NDArray[np.signedinteger[Any]]  # (signals, samples), int32 or int64

MAX_ORDER = 12  # the most in FLAC's streamable subset at up to 48 kHz (RFC 9639, section 7)
_MAX_SHIFT = 15  # that 5 signed bits can say (RFC 9639, 9.2.6)
_FIXED = [(), (1,), (2, -1), (3, -3, 1), (4, -6, 4, -1)]


@dataclass(frozen=True, slots=True)
class Predictors:
    """A predictor of the same order for each of some signals.

    Attributes:
        coefficients: (signals, order) int64.
        shift: (signals,) int64.
        side_bits: that say all this, per signal, but for the kind of predictor and its order.
    """

    coefficients: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    side_bits: int

    @property
    def order(self) -> int:
        """How many coefficients there are."""
        return int(self.coefficients.shape[1])


def fixed_predictors(signals: Signals) -> Iterator[Predictors]:
    """The polynomials of order 0 to 4, the same for all signals, as far as there are samples for them."""
    for row in _FIXED[: signals.shape[1]]:
        coefficients = np.tile(np.array(row, np.int64), (len(signals), 1))
        yield Predictors(coefficients, np.zeros(len(signals), np.int64), 0)


def adapted_predictors(signals: Signals, orders: Iterable[int], *, precision: int) -> Iterator[Predictors]:
    """Predictors made for each signal, whose coefficients are integers of `precision` bits."""
    possible = [order for order in orders if order < signals.shape[1]]
    if not possible:
        return
    for found in _levinson(_autocorrelation(signals, max(possible)), possible):
        exponent = np.frexp(np.abs(found).max(axis=1))[1].astype(np.int64)
        shift = np.clip(precision - 1 - exponent, 0, _MAX_SHIFT)
        top = 1 << (precision - 1)
        coefficients = np.clip(np.rint(np.ldexp(found, shift[:, None])), -top, top - 1).astype(np.int64)
        # RFC 9639, 9.2.6: 4 bits that say the precision, 5 that say the shift.
        yield Predictors(coefficients, shift, 4 + 5 + precision * found.shape[1])


def _autocorrelation(signals: Signals, order: int) -> npt.NDArray[np.float64]:
    """(signals, order + 1), of the signals under a Tukey window that tapers half of them."""
    n = signals.shape[1]
    edge = np.minimum(1.0, 4 * (np.arange(n) + 0.5) / n)
    taper = 0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, edge[::-1]))
    tapered = signals * taper
    lags = [np.einsum("ij,ij->i", tapered[:, lag:], tapered[:, : n - lag]) for lag in range(order + 1)]
    return np.stack(lags, axis=1)


def _levinson(correlation: npt.NDArray[np.float64], orders: list[int]) -> Iterator[npt.NDArray[np.float64]]:
    """(signals, order) coefficients for each of the orders, rising, that predict best in the mean square.

    The recursion of Levinson (1947) and Durbin (1960), as in Makhoul, "Linear prediction: a tutorial review" (1975).
    """
    tiny = np.finfo(np.float64).tiny
    # A little white noise keeps what can be predicted perfectly from dividing by nothing.
    error = correlation[:, 0] * (1 + 1e-10) + tiny
    coefficients = np.zeros((len(correlation), 0))
    for order in range(1, max(orders) + 1):
        known = np.einsum("ij,ij->i", coefficients, correlation[:, order - 1 : 0 : -1])
        reflection = np.clip((correlation[:, order] - known) / error, -1, 1)[:, None]
        coefficients = np.concatenate([coefficients - reflection * coefficients[:, ::-1], reflection], axis=1)
        error = np.maximum(error * (1 - reflection[:, 0] ** 2), correlation[:, 0] * 1e-10 + tiny)
        if order in orders:
            yield coefficients


def residuals(signals: Signals, predictors: Predictors) -> Signals:
    """What the predictors are off by: of the same shape and dtype, which must hold every product's sum.

    >>> signals = np.array([[3, 5, 7, 10]])
    >>> [residuals(signals, fixed).tolist()[0] for fixed in fixed_predictors(signals)]
    [[3, 5, 7, 10], [3, 2, 2, 3], [3, 5, 0, 1], [3, 5, 7, 1]]
    """
    order, n = predictors.order, signals.shape[1]
    if not order:
        return signals
    coefficients = predictors.coefficients.astype(signals.dtype)
    predicted = coefficients[:, :1] * signals[:, order - 1 : n - 1]
    product = np.empty_like(predicted)
    for k in range(1, order):
        predicted += np.multiply(coefficients[:, k, None], signals[:, order - 1 - k : n - 1 - k], out=product)
    predicted >>= predictors.shift[:, None].astype(signals.dtype)
    off = signals.copy()
    off[:, order:] -= predicted
    return off


def reconstruct(
    off: Signals,
    coefficients: npt.NDArray[np.int64],
    shift: npt.NDArray[np.int64],
    orders: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """The signals that residuals were made of, sample by sample, as a decoder has to.

    Args:
        off: (signals, samples).
        coefficients: (signals, MAX_ORDER), zero from a signal's order on.
        shift: (signals,)
        orders: (signals,)
    """
    n = off.shape[1]
    found = np.zeros((MAX_ORDER + n, len(off)), np.int64)  # a row is a moment, so that a step reads what lies together
    found[MAX_ORDER:] = off.T
    oldest_first = np.ascontiguousarray(coefficients[:, ::-1].T)
    product = np.empty_like(oldest_first)
    for t in range(n):
        np.multiply(oldest_first, found[t : t + MAX_ORDER], out=product)
        predicted = product.sum(axis=0) >> shift
        found[MAX_ORDER + t] += predicted if t >= MAX_ORDER else np.where(t < orders, 0, predicted)
    return found[MAX_ORDER:].T
