import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.reader.keyed import below, derive, scramble, words

from . import plain_orders

WORD = st.integers(0, 2**64 - 1)


@given(WORD)
def test_scramble_is_the_page_s(z: int) -> None:
    assert int(scramble(np.array([z], np.uint64))[0]) == plain_orders.scramble(z)


@given(WORD, st.lists(st.integers(0, 2**63 - 1), max_size=9))
def test_words_are_the_page_s(key: int, numbers: list[int]) -> None:
    assert words(key, np.array(numbers, np.int64)).tolist() == [plain_orders.word(key, i) for i in numbers]


@given(st.lists(WORD, max_size=9), st.integers(1, 2**63))
def test_below_is_the_upper_half_of_the_product(random: list[int], n: int) -> None:
    assert below(np.array(random, np.uint64), n).tolist() == [word * n >> 64 for word in random]


@given(st.lists(WORD, min_size=1, max_size=5))
def test_derive_is_the_page_s(numbers: list[int]) -> None:
    assert derive(*numbers) == plain_orders.key(*numbers)


def test_words_are_those_that_splitmix64_is_published_with() -> None:
    """The first outputs for the seed 1234567, as Rosetta Code and the tests of several libraries list them."""
    assert words(1234567, np.arange(5)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 2**16, 10**12, 2**63])
def test_the_extremes_of_below(n: int) -> None:
    assert below(np.array([0, 2**64 - 1], np.uint64), n).tolist() == [0, n - 1]


def test_order_and_number_of_what_a_key_is_made_of_matter() -> None:
    made = [derive(*numbers) for numbers in [(1, 2), (2, 1), (1,), (2,), (1, 2, 0), (0, 1, 2), (3,), (0, 3)]]
    assert len(set(made)) == len(made)
