"""Bits of Rice codes are as many as a coder that writes them writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.tools.codecs.rice import count_bits, estimate_bits


def written(residual: int, k: int) -> str:
    code = 2 * residual if residual >= 0 else -2 * residual - 1
    return "0" * (code >> k) + "1" + (format(code % (1 << k), f"0{k}b") if k else "")


def length(residual: int, k: int) -> int:
    return ((2 * residual if residual >= 0 else -2 * residual - 1) >> k) + 1 + k


def plain_bits(residuals: list[int], order: int) -> int:
    """The fewest bits, by trying all partitions and parameters."""
    n, best = len(residuals), 10**9
    for power in range(7):
        parts = 2**power
        if power and (n % parts or n // parts <= 12):
            break
        size, bits, widest = n // parts, 0, 0
        for part in range(parts):
            coded = residuals[max(order, part * size) : (part + 1) * size]
            bit_counts = [sum(length(e, k) for e in coded) for k in range(31)]
            widest = max(widest, bit_counts.index(min(bit_counts)))
            bits += min(bit_counts)
        best = min(best, bits + 6 + parts * (5 if widest > 14 else 4))
    return best


def test_a_code_worked_by_hand() -> None:
    assert [written(e, 2) for e in (0, -1, 1, -3, 4)] == ["100", "101", "110", "0101", "00100"]


@given(st.integers(-300, 300), st.integers(0, 8))
def test_the_length_of_a_code_follows_from_it(residual: int, k: int) -> None:
    assert length(residual, k) == len(written(residual, k))


@pytest.mark.parametrize("scale", [0, 1, 30, 5000, 2**20])
@pytest.mark.parametrize(("n", "order"), [(1, 0), (13, 12), (16, 1), (64, 3), (104, 12), (200, 2)])
def test_bits_are_hardly_more_than_those_of_the_best_parameters(n: int, order: int, scale: int) -> None:
    residuals = np.rint(np.random.default_rng(n).laplace(0, scale, (4, n))).astype(np.int64)
    found = count_bits(residuals, np.full(4, order))
    best = [plain_bits(row, order) for row in residuals.tolist()]
    assert (found >= best).all()
    assert (found <= np.array(best) * 1.02 + 6).all()


@given(st.lists(st.integers(-(2**25), 2**25), min_size=1, max_size=26), st.integers(0, 12))
def test_bits_are_never_fewer_than_the_best(residuals: list[int], order: int) -> None:
    order = min(order, len(residuals) - 1)
    assert count_bits(np.array([residuals]), np.array([order]))[0] >= plain_bits(residuals, order)


def test_a_part_that_is_louder_has_its_own_parameter() -> None:
    quiet, loud = np.zeros((1, 128), np.int64), np.full((1, 128), 1000)
    parts = 128 * 1 + 128 * (1 + 1 + 10)  # k = 0; u = 2000, k = 10
    assert count_bits(np.concatenate([quiet, loud], axis=1), np.array([0]))[0] == 6 + 2 * 4 + parts


def test_large_parameters_take_five_bits() -> None:
    residuals = np.full((1, 13), 2**20)  # u = 2**21, k = 21
    assert count_bits(residuals, np.array([0]))[0] == 6 + 5 + 13 * (1 + 1 + 21)


def test_what_is_not_coded_does_not_count() -> None:
    residuals = np.random.default_rng(0).integers(-50, 50, (5, 64))
    orders = np.array([0, 1, 4, 8, 12])
    found = count_bits(residuals, orders)
    for row, order in enumerate(orders.tolist()):
        residuals[row, :order] = 10**6
    assert (count_bits(residuals, orders) == found).all()


def test_the_estimate_is_close() -> None:
    residuals = np.rint(np.random.default_rng(0).laplace(0, 100, (50, 512))).astype(np.int32)
    orders = np.full(50, 4)
    assert estimate_bits(residuals, orders) == pytest.approx(count_bits(residuals, orders), rel=0.01)
