"""Every permutation is one, is the page's, and looks like any other."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.errors import ConfigError
from audiochunk.reader.keyed import derive
from audiochunk.reader.permutation import MOST, Permutation, permutation

from . import plain_orders

KEY = st.integers(0, 2**64 - 1)
SMALL, LARGE = 1000, 70_000  # by a table, by a network


def order(n: int, key: int) -> np.ndarray:
    return Permutation(n, key)(np.arange(n))


def chi_square(counts: np.ndarray) -> float:
    """How many standard deviations the statistic is above what even counts give."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return float((((counts - expected) ** 2).sum() / expected - freedom) / math.sqrt(2 * freedom))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000) | st.integers(2**16 - 3, 2**18 + 3), KEY)
def test_every_number_comes_once(n: int, key: int) -> None:
    np.testing.assert_array_equal(np.sort(order(n, key)), np.arange(n))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 500), KEY)
def test_small_orders_are_the_page_s(n: int, key: int) -> None:
    assert order(n, key).tolist() == plain_orders.order(n, key)


@settings(deadline=None, max_examples=60)
@given(st.integers(2**16, MOST), KEY, st.data())
def test_large_orders_are_the_page_s(n: int, key: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8))
    found = Permutation(n, key)(np.array(places)).tolist()
    assert found == [plain_orders.at(n, key, place) for place in places]
    assert all(0 <= number < n for number in found)


def test_the_orders_of_the_page() -> None:
    key = derive(7, 1, 0)
    assert key == 0xFBCA662387D9C66D
    assert order(10, key).tolist() == [5, 6, 8, 7, 9, 3, 1, 0, 4, 2]
    assert Permutation(100_000, key)(np.arange(5)).tolist() == [29851, 39230, 59356, 19389, 42299]
    assert Permutation(10**12, key)(np.arange(5)).tolist() == [
        796393425261,
        921441569751,
        959061590937,
        176238174240,
        962862436489,
    ]


def test_a_million_places_of_a_million_million_are_all_different() -> None:
    found = Permutation(10**12, 5)(np.arange(10**6))
    assert np.unique(found).size == 10**6


def test_any_shape_of_places_keeps_it() -> None:
    for n in (SMALL, LARGE):
        shuffle = Permutation(n, 3)
        places = np.arange(24).reshape(2, 3, 4)
        np.testing.assert_array_equal(shuffle(places), shuffle(places.reshape(-1)).reshape(2, 3, 4))
        assert shuffle(places[0, 0, :0]).shape == (0,)


def test_places_are_left_as_they_are() -> None:
    places = np.arange(100)
    Permutation(LARGE, 3)(places)
    np.testing.assert_array_equal(places, np.arange(100))


@pytest.mark.parametrize("n", [-1, MOST + 1])
def test_too_many_numbers_are_refused(n: int) -> None:
    with pytest.raises(ConfigError, match="numbers"):
        Permutation(n, 0)


def test_the_last_permutations_are_kept_and_can_be_pickled() -> None:
    assert permutation(10, 4) is permutation(10, 4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(permutation(10, 4)))(np.arange(10)), order(10, 4))


# What follows would fail by chance once in a few thousand choices of the seeds; these have been chosen once.


@pytest.mark.parametrize("n", [SMALL, 2**16, 2**16 + 1, LARGE, 10**12])
def test_a_place_has_any_number_equally_often(n: int) -> None:
    bins, seeds = 50, 1500
    for place in (0, n // 2, n - 1):
        found = [int(Permutation(n, derive(place, seed))(np.array([place]))[0]) for seed in range(seeds)]
        counts = np.bincount([number * bins // n for number in found], minlength=bins)
        assert abs(chi_square(counts)) < 4


@pytest.mark.parametrize("n", [2**16, LARGE, 10**12])
def test_two_places_have_any_pair_of_numbers_equally_often(n: int) -> None:
    bins = 8
    for apart in (1, 2, 256, n // 2):
        pairs = np.array([Permutation(n, derive(apart, seed))(np.array([17, 17 + apart])) for seed in range(2000)])
        counts = np.bincount((pairs * bins // n) @ [bins, 1], minlength=bins * bins)
        assert abs(chi_square(counts)) < 4


@pytest.mark.parametrize("n", [2**16, LARGE, 2**20])
def test_one_order_spreads_every_stretch_of_places_evenly(n: int) -> None:
    found = order(n, 1)
    for start in (0, n // 3, n - 8192):
        counts = np.bincount(found[start : start + 8192] * 64 // n, minlength=64)
        assert abs(chi_square(counts)) < 4


@pytest.mark.parametrize("n", [5000, 2**16, LARGE, 2**20])
def test_numbers_that_follow_each_other_are_not_correlated(n: int) -> None:
    found = order(n, 2).astype(float)
    for lag in (1, 2, 3, 256):
        correlation = np.corrcoef(found[:-lag], found[lag:])[0, 1]
        assert abs(correlation) < 4 / math.sqrt(n)


@pytest.mark.parametrize("n", [5000, 2**16, LARGE, 2**20])
def test_orders_of_keys_that_differ_in_one_number_are_unrelated(n: int) -> None:
    first = order(n, derive(1, 1, 0))
    for key in (derive(1, 1, 1), derive(2, 1, 0), derive(1, 2, 0)):
        other = order(n, key)
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / math.sqrt(n)
        # Places where two orders agree are Poisson with mean 1.
        assert np.count_nonzero(first == other) < 8


@pytest.mark.parametrize("n", [5000, 2**16, LARGE, 2**20])
def test_rises_and_cycles_are_as_many_as_in_a_uniform_permutation(n: int) -> None:
    found = order(n, 3)
    rises = np.count_nonzero(np.diff(found) > 0)
    assert abs(rises - (n - 1) / 2) < 4 * math.sqrt((n + 1) / 12)
    unseen, cycles = np.ones(n, bool), 0
    following = found.tolist()
    for start in range(n):
        if unseen[start]:
            cycles += 1
            at = start
            while unseen[at]:
                unseen[at] = False
                at = following[at]
    assert abs(cycles - math.log(n)) < 4 * math.sqrt(math.log(n)) + 1
