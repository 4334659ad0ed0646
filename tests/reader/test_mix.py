"""Mixes: exact shares, every row of a source before any comes again, and the page's draws."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.errors import ConfigError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.sampler import Sampler

from . import plain_orders
from .made import make


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> ChunkDataset:
    folder = tmp_path_factory.mktemp("mix") / "a"
    make(folder, [50, 50])
    return audiochunk.open(folder)


@settings(deadline=None, max_examples=40)
@given(
    parts=st.lists(st.tuples(st.integers(1, 100), st.integers(1, 9)), min_size=1, max_size=4),
    seed=st.integers(0, 2**64 - 1),
)
def test_draws_are_the_page_s(ds: ChunkDataset, parts: list[tuple[int, int]], seed: int) -> None:
    mix = audiochunk.mix([(ds[:size], weight) for size, weight in parts], seed=seed)
    which, numbers = mix.draws(range(60))
    weights, sizes = [Fraction(weight) for _, weight in parts], [size for size, _ in parts]
    found = list(zip(which.tolist(), numbers.tolist(), strict=True))
    assert found == plain_orders.draws(weights, sizes, seed, 60)
    expected = np.stack([ds[number] for number in numbers])
    np.testing.assert_array_equal(mix.gather(range(60)), expected)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([0.7, 0.3], ["7/10", "3/10"]),
        ([7, 3], ["7/10", "3/10"]),
        ([0.1, 0.1, 0.1], ["1/3", "1/3", "1/3"]),
        ([Fraction(1, 3), Fraction(2, 3)], ["1/3", "2/3"]),
        ([1 / 3, 2 / 3], ["1/3", "2/3"]),
        ([1e-3, 1], ["1/1001", "1000/1001"]),
        ([np.float64(0.25), 0.75], ["1/4", "3/4"]),
        ([5], ["1"]),
    ],
)
def test_shares_are_exactly_those_that_are_written(ds: ChunkDataset, weights: list[Any], shares: list[str]) -> None:
    mix = audiochunk.mix([(ds, weight) for weight in weights])
    assert mix.shares == tuple(map(Fraction, shares))
    period = int(mix.shares[0].denominator)
    which, _ = mix.draws(np.arange(10 * period))
    assert [Fraction(int(count), 10 * period) for count in np.bincount(which)] == list(mix.shares)


def test_shares_without_a_small_denominator_are_rounded_to_a_part_of_65536(ds: ChunkDataset) -> None:
    weights = [2**0.5, 3.141592653589793, 0.577]
    mix = audiochunk.mix([(ds, weight) for weight in weights])
    assert sum(mix.shares) == 1
    for share, weight in zip(mix.shares, weights, strict=True):
        assert abs(float(share) - weight / sum(weights)) < 2**-16
    counts = np.bincount(mix.draws(np.arange(2**16))[0])
    assert [Fraction(int(count), 2**16) for count in counts] == list(mix.shares)


def test_every_stretch_of_draws_is_near_the_shares(ds: ChunkDataset) -> None:
    which, _ = audiochunk.mix([(ds, 0.7), (ds, 0.2), (ds, 0.1)], seed=3).draws(np.arange(5000))
    for start in range(0, 4744, 97):
        counts = np.bincount(which[start : start + 256], minlength=3)
        assert np.abs(counts - 256 * np.array([0.7, 0.2, 0.1])).max() < 8


def test_every_row_of_a_source_comes_once_before_any_comes_again(ds: ChunkDataset) -> None:
    """Up to the draws of one period, which are drawn in another order than they are counted in."""
    mix = audiochunk.mix([(ds[:30], 0.75), (ds[30:100], 0.25)], seed=1)
    which, numbers = mix.draws(np.arange(4 * 70 * 3))
    assert set(Counter(numbers[which == 1].tolist()).values()) == {3}
    of_first = numbers[which == 0]
    assert set(Counter(of_first[: 30 * 20].tolist()).values()) == {20}
    assert not np.array_equal(of_first[:30], of_first[30:60])


def test_draws_at_random_are_those_in_order(ds: ChunkDataset) -> None:
    mix = audiochunk.mix([(ds, 0.7), (ds[:7], 0.3)], seed=8)
    in_order = np.array(mix.draws(range(2000)))
    positions = np.random.Generator(np.random.PCG64(1)).permutation(2000)
    np.testing.assert_array_equal(np.array(mix.draws(positions)), in_order[:, positions])


def test_a_sampler_takes_the_draws_as_they_come_epoch_after_epoch(ds: ChunkDataset) -> None:
    mix = audiochunk.mix([(ds, 0.7), (ds[:7], 0.3)], n=50)
    assert len(mix) == 50
    for shuffle in (True, False):
        sampler = Sampler(mix, batch_size=8, shuffle=shuffle)
        assert len(sampler) == 6
        assert [number for _ in range(3) for batch in sampler for number in batch] == list(range(3 * 48))
    whole = Sampler(mix, batch_size=8, drop_last=False)
    assert [number for _ in range(3) for batch in whole for number in batch] == list(range(3 * 50))


def test_a_mix_goes_on_from_a_state_at_another_world_size(ds: ChunkDataset) -> None:
    mix = audiochunk.mix([(ds, 0.7), (ds[:7], 0.3)], n=60)
    alone = Sampler(mix, batch_size=12)
    expected = [batch.tolist() for _ in range(2) for batch in alone]
    two = [Sampler(mix, batch_size=6, rank=rank, world_size=2) for rank in range(2)]
    seen = []
    for epoch in range(2):
        for sampler in two:
            sampler.set_epoch(epoch)
        seen += [np.concatenate(parts).tolist() for _, *parts in zip(range(5 if epoch == 0 else 2), *two, strict=False)]
    three = [Sampler(mix, batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    for sampler in three:
        sampler.load_state_dict(two[0].state_dict())
    seen += [np.concatenate(parts).tolist() for parts in zip(*three, strict=True)]
    assert seen == expected


def test_a_state_of_another_mix_is_refused(ds: ChunkDataset) -> None:
    state = Sampler(audiochunk.mix([(ds, 0.7), (ds, 0.3)]), batch_size=4).state_dict()
    for other in (
        audiochunk.mix([(ds, 0.6), (ds, 0.4)]),
        audiochunk.mix([(ds, 0.7), (ds, 0.3)], seed=1),
        audiochunk.mix([(ds, 0.7), (ds[1:], 0.3)]),
    ):
        with pytest.raises(ConfigError, match="another order"):
            Sampler(other, batch_size=4).load_state_dict(state)


def test_draws_go_on_without_end_but_not_before_the_beginning(ds: ChunkDataset) -> None:
    mix = audiochunk.mix([(ds, 1)])
    assert mix[10**15].shape == (2048,)
    with pytest.raises(IndexError, match="no end"):
        mix[-1]
    with pytest.raises(IndexError, match="no end"):
        mix.gather([3, -1])
    with pytest.raises(IndexError):
        mix[2**62]
    assert len(mix[5:9]) == 4
    assert not mix[5:9].is_endless


def test_parts_of_every_kind_can_be_mixed(ds: ChunkDataset) -> None:
    both = audiochunk.ConcatDataset([ds, ds])
    mix = audiochunk.mix([(both, 1), (audiochunk.mix([(ds, 1), (ds[:9], 2)]), 1)])
    assert mix.gather(range(50)).shape == (50, 2048)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), "a", None])
def test_weights_that_mean_nothing_are_refused(ds: ChunkDataset, weight: Any) -> None:
    with pytest.raises(ConfigError, match="a weight must be a number above 0"):
        audiochunk.mix([(ds, 1), (ds, weight)])


def test_what_cannot_be_mixed_is_refused(ds: ChunkDataset, tmp_path: Path) -> None:
    make(tmp_path / "b", [5], bits=16)
    with pytest.raises(ConfigError, match="do not go together"):
        audiochunk.mix([(ds, 1), (audiochunk.open(tmp_path / "b"), 1)])
    with pytest.raises(ConfigError, match="no datasets"):
        audiochunk.mix([])
    with pytest.raises(ConfigError, match="is empty"):
        audiochunk.mix([(ds, 1), (ds[:0], 1)])
    with pytest.raises(ConfigError, match="too small"):
        audiochunk.mix([(ds, 1), (ds, 1.234567e-6)])
    with pytest.raises(ConfigError, match="seed"):
        audiochunk.mix([(ds, 1)], seed=-1)
