"""Residuals and predictors give the signal back, and are what a plain loop finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.tools.codecs.prediction import (
    MAX_ORDER,
    Predictors,
    adapted_predictors,
    fixed_predictors,
    reconstruct,
    residuals,
)

from .sounds import tone


def signals_of(n: int, *, top: int = 2**23, rows: int = 3) -> np.ndarray:
    return np.random.default_rng(n).integers(-top, top, (rows, n))


def plain_residuals(signal: list[int], coefficients: list[int], shift: int) -> list[int]:
    order = len(coefficients)
    found = signal[:order]
    for t in range(order, len(signal)):
        found.append(signal[t] - (sum(c * signal[t - 1 - k] for k, c in enumerate(coefficients)) >> shift))
    return found


def back(off: np.ndarray, predictors: Predictors) -> np.ndarray:
    coefficients = np.zeros((len(off), MAX_ORDER), np.int64)
    coefficients[:, : predictors.order] = predictors.coefficients
    return reconstruct(off, coefficients, predictors.shift, np.full(len(off), predictors.order))


@given(st.integers(1, 60), st.integers(0, MAX_ORDER), st.integers(0, 15), st.randoms(use_true_random=False))
def test_residuals_are_those_of_a_plain_loop_and_lead_back(n: int, order: int, shift: int, random) -> None:
    signals, order = signals_of(n), min(n - 1, order)
    coefficients = np.array([[random.randrange(-2048, 2048) for _ in range(order)] for _ in signals], np.int64)
    predictors = Predictors(coefficients.reshape(3, order), np.full(3, shift), 0)
    off = residuals(signals, predictors)
    expected = [plain_residuals(s, c, shift) for s, c in zip(signals.tolist(), coefficients.tolist(), strict=True)]
    assert off.tolist() == expected
    assert (back(off, predictors) == signals).all()


def test_fixed_predictors_are_differences_of_differences() -> None:
    signals = signals_of(50)
    for order, predictors in enumerate(fixed_predictors(signals)):
        assert predictors.order == order
        assert predictors.side_bits == 0
        assert (residuals(signals, predictors)[:, order:] == np.diff(signals, order, axis=1)).all()


@pytest.mark.parametrize("n", [1, 2, 4, 5, 12, 13])
def test_no_predictor_needs_more_samples_than_there_are(n: int) -> None:
    signals = signals_of(n)
    orders = [predictors.order for predictors in fixed_predictors(signals)]
    assert orders == list(range(min(n, 5)))
    adapted = [predictors.order for predictors in adapted_predictors(signals, (4, 8, 12), precision=12)]
    assert adapted == [order for order in (4, 8, 12) if order < n]


def test_an_autoregressive_signal_gives_its_coefficients_away() -> None:
    rng = np.random.default_rng(0)
    signal = np.zeros(20_000)
    for t, noise in enumerate(rng.normal(0, 1000, len(signal))):
        signal[t] = 1.5 * signal[t - 1] - 0.8 * signal[t - 2] + noise
    (found,) = adapted_predictors(np.rint(signal)[None].astype(np.int64), [2], precision=12)
    assert found.coefficients[0] / 2.0 ** found.shift[0] == pytest.approx([1.5, -0.8], abs=0.02)
    assert found.side_bits == 4 + 5 + 2 * 12


def test_coefficients_are_those_of_the_normal_equations() -> None:
    signal = tone(1024).samples[:, 0].astype(np.int64)
    (found,) = adapted_predictors(signal[None], [4], precision=15)
    fade = 0.5 - 0.5 * np.cos(np.pi * np.minimum(1, (np.arange(1024) + 0.5) / 256))
    tapered = signal * fade * fade[::-1]
    lags = [float(tapered[k:] @ tapered[: 1024 - k]) for k in range(5)]
    matrix = [[lags[abs(i - j)] for j in range(4)] for i in range(4)]
    expected = np.linalg.solve(matrix, lags[1:])
    assert found.coefficients[0] / 2.0 ** found.shift[0] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("precision", [4, 12, 15])
@pytest.mark.parametrize("top", [2**7, 2**15, 2**24])
def test_coefficients_stay_within_their_bits(precision: int, top: int) -> None:
    ramp = np.arange(200) * (top // 200)
    square = np.where(np.arange(200) % 2 == 0, -top, top - 1)
    click = np.where(np.arange(200) == 100, top - 1, 0)
    signals = np.stack([ramp, square, click, np.zeros(200, np.int64), np.full(200, -top)])
    for predictors in adapted_predictors(signals, (1, 4, 12), precision=precision):
        assert np.abs(predictors.coefficients).max() <= 2 ** (precision - 1)
        assert predictors.coefficients.max() < 2 ** (precision - 1)
        assert ((predictors.shift >= 0) & (predictors.shift <= 15)).all()
        assert (back(residuals(signals, predictors), predictors) == signals).all()


def test_a_narrow_dtype_gives_the_same_residuals() -> None:
    signals = signals_of(300, top=2**12)
    for predictors in [*fixed_predictors(signals), *adapted_predictors(signals, (4, 8, 12), precision=12)]:
        narrow = residuals(signals.astype(np.int32), predictors)
        assert narrow.dtype == np.int32
        assert (narrow == residuals(signals, predictors)).all()
