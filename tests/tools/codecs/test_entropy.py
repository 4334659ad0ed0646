"""Entropies are what a plain loop finds, however the counts came together."""

import math
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.tools.codecs import entropy
from audiochunk.tools.codecs.entropy import CodeCounts, Entropies

BITS = st.sampled_from([8, 12, 16, 24])


def chunks_of(seed: int, *, bits: int, n: int = 5, length: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1 << bits, 6)
    return rng.choice(values, (n, length)).astype({8: np.uint8, 12: np.uint16, 16: np.uint16, 24: np.uint32}[bits])


def plain(counts: Counter) -> float:
    return -sum(n * math.log2(n / counts.total()) for n in counts.values()) / counts.total()


def counted(*arrays: np.ndarray, bits: int, **options: int) -> CodeCounts:
    counts = CodeCounts(bits=bits, **options)
    for codes in arrays:
        counts.add(codes)
    return counts


@given(st.integers(0, 1000), BITS)
def test_entropies_are_those_of_a_plain_loop(seed: int, bits: int) -> None:
    chunks = chunks_of(seed, bits=bits)
    found = counted(chunks, bits=bits).entropies()
    pairs = Counter((a, b) for chunk in chunks.tolist() for a, b in pairwise(chunk))
    before = Counter(a for chunk in chunks.tolist() for a in chunk[:-1])
    assert found.order_0 == pytest.approx(plain(Counter(chunks.reshape(-1).tolist())))
    assert found.order_1 == pytest.approx(plain(pairs) - plain(before), abs=1e-9)
    assert (found.n_codes, found.n_pairs, found.why_not) == (200, 195, None)


@given(st.lists(st.integers(0, 1000), max_size=5), BITS, st.integers(0, 5))
def test_counts_of_several_processes_are_those_of_one(seeds: list[int], bits: int, at: int) -> None:
    arrays = [chunks_of(seed, bits=bits) for seed in seeds]
    first, second = (pickle.loads(pickle.dumps(counted(*some, bits=bits))) for some in (arrays[:at], arrays[at:]))
    second.update(first)
    assert second.entropies() == counted(*arrays, bits=bits).entropies()


def test_counts_that_are_merged_often_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [chunks_of(seed, bits=24) for seed in range(20)]
    expected = counted(*arrays, bits=24).entropies()
    monkeypatch.setattr(entropy, "_WAITING", 3)
    assert counted(*arrays, bits=24).entropies() == expected


def test_entropies_worked_by_hand() -> None:
    # Codes 0 and 1 take turns: a bit each, and none for one that knows the one before.
    turns = np.tile(np.array([0, 1], np.uint8), (3, 50))
    assert counted(turns, bits=8).entropies() == Entropies(1.0, 0.0, 300, 297, 2, 2, None)
    # Pairs 00 01 10 11 equally often.
    square = np.array([[0, 0, 1, 1, 0]], np.uint8)
    assert counted(square, bits=8).entropies().order_1 == 1.0


def test_pairs_do_not_reach_over_the_end_of_a_chunk() -> None:
    chunks = np.array([[1, 1], [2, 2], [1, 1], [2, 2]], np.uint8)
    assert counted(chunks, bits=8).entropies() == Entropies(1.0, 0.0, 8, 4, 2, 2, None)


@pytest.mark.parametrize("shape", [(0, 5), (0, 0), (3, 0)])
def test_of_nothing_there_is_no_entropy(shape: tuple[int, int]) -> None:
    assert counted(np.zeros(shape, np.uint16), bits=16).entropies() == Entropies(0.0, 0.0, 0, 0, 0, 0, None)
    assert CodeCounts(bits=8).entropies() == Entropies(0.0, 0.0, 0, 0, 0, 0, None)


def test_chunks_of_one_code_have_no_pairs() -> None:
    assert counted(np.array([[1], [2]], np.uint8), bits=8).entropies() == Entropies(1.0, 0.0, 2, 0, 2, 0, None)


def test_extreme_codes_are_told_apart() -> None:
    top = (1 << 24) - 1
    chunks = np.array([[0, top], [top, 0], [top, top], [0, 0]], np.uint32)
    assert counted(chunks, bits=24).entropies() == Entropies(1.0, 1.0, 8, 4, 2, 4, None)


def test_more_pairs_than_can_be_held_are_given_up_with_a_reason() -> None:
    chunks = np.arange(101, dtype=np.uint16)[None]
    assert counted(chunks, bits=16, max_pairs=100).entropies().order_1 == 0
    found = counted(chunks, chunks[:, ::-1], bits=16, max_pairs=100).entropies()
    assert found.order_1 is None
    assert found.why_not == "more than 100 distinct pairs of codes"
    assert found.order_0 == pytest.approx(math.log2(101))


def test_memory_for_pairs_has_a_bound() -> None:
    counts = CodeCounts(bits=16, max_pairs=1000)
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts.add(rng.integers(0, 1 << 16, (1, 500), np.uint16))
        assert len(pickle.dumps(counts._pairs)) < 2000 * 16 + 1000
    assert counts.entropies().order_1 is None


def test_pairs_stay_given_up_whatever_is_merged() -> None:
    many = counted(np.arange(200, dtype=np.uint8)[None], bits=8, max_pairs=100)
    few = counted(np.zeros((1, 9), np.uint8), bits=8, max_pairs=100)
    for one, other in ((many, few), (few, many)):
        one.update(other)
        assert one.entropies().order_1 is None
        assert one.entropies().n_codes > 200


def test_noise_of_8_bits_has_8_bits_but_for_what_hindsight_gains() -> None:
    found = counted(np.random.default_rng(0).integers(0, 256, (500, 2048), np.uint8), bits=8).entropies()
    # Miller (1955): (n - 1) / (2 N ln 2) bits for n values that occur N times in all.
    gain = [n / (2 * found.n_pairs * math.log(2)) for n in (255, 255 * 256)]
    assert [8 - found.order_0, 8 - found.order_1] == pytest.approx(gain, rel=0.1)
