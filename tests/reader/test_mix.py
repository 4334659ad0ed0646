"""Mixes: exact shares, every row of a source before any comes again, and the page's draws."""

import pickle
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
from audiochunk.reader.permutation import Permutation
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
        ([np.float32(0.7), np.int64(3)], ["7/37", "30/37"]),
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


@pytest.mark.parametrize("weights", [[0.7, 0.2, 0.1], [2**0.5, 3.141592653589793]])
def test_every_beginning_of_the_draws_is_near_the_shares(ds: ChunkDataset, weights: list[float]) -> None:
    mix = audiochunk.mix([(ds, weight) for weight in weights], seed=3)
    which, _ = mix.draws(np.arange(70_000))
    for source, share in enumerate(mix.shares):
        drawn = np.cumsum(which == source)
        assert np.abs(drawn - np.arange(1, 70_001) * float(share)).max() < 2


@pytest.mark.parametrize("weights", [(0.75, 0.25), (2**0.5, 3.14159), (0.333, 0.667)])
def test_every_row_of_a_source_comes_once_before_any_comes_again(
    ds: ChunkDataset, weights: tuple[float, float]
) -> None:
    mix = audiochunk.mix([(ds[:30], weights[0]), (ds[30:100], weights[1])], seed=1)
    which, numbers = mix.draws(np.arange(100_000))
    for source, size in ((0, 30), (1, 70)):
        drawn = numbers[which == source]
        epochs = drawn[: len(drawn) // size * size].reshape(-1, size)
        np.testing.assert_array_equal(np.sort(epochs, axis=1), np.broadcast_to(np.arange(size), epochs.shape))
        assert not np.array_equal(epochs[0], epochs[1])


def test_shares_that_are_rounded_are_the_page_s(ds: ChunkDataset) -> None:
    weights = [2**0.5, 3.141592653589793, 0.577]
    mix = audiochunk.mix([(ds, weight) for weight in weights])
    exact = [Fraction(repr(weight)) for weight in weights]
    assert [share * 2**16 for share in mix.shares] == plain_orders.tickets(exact)


def test_what_of_equals_is_missing_goes_to_the_first(ds: ChunkDataset) -> None:
    """Seven equal weights and one that has no small denominator with them."""
    weights = [1.0] * 7 + [0.1234567]
    mix = audiochunk.mix([(ds, weight) for weight in weights])
    counts = [int(share * 2**16) for share in mix.shares]
    assert counts == plain_orders.tickets([Fraction(repr(weight)) for weight in weights])
    assert counts[:7] == sorted(counts[:7], reverse=True)


def test_the_draws_of_the_page(ds: ChunkDataset) -> None:
    mix = audiochunk.mix([(ds[:5], 0.7), (ds[:3], 0.3)], seed=7)
    which, numbers = mix.draws(range(10))
    assert list(zip(which.tolist(), numbers.tolist(), strict=True)) == [
        (0, 2),
        (1, 0),
        (0, 3),
        (0, 1),
        (1, 1),
        (0, 4),
        (0, 0),
        (1, 2),
        (0, 1),
        (0, 0),
    ]


def test_draws_at_random_are_those_in_order(ds: ChunkDataset) -> None:
    mix = audiochunk.mix([(ds, 0.7), (ds[:7], 0.3)], seed=8)
    in_order = np.array(mix.draws(range(2000)))
    positions = np.random.Generator(np.random.PCG64(1)).permutation(2000)
    np.testing.assert_array_equal(np.array(mix.draws(positions)), in_order[:, positions])


def test_a_sampler_takes_the_draws_as_they_come_epoch_after_epoch(ds: ChunkDataset) -> None:
    """An epoch ends with the first whole batch behind its last draw; none is left out, none comes twice."""
    mix = audiochunk.mix([(ds, 0.7), (ds[:7], 0.3)], n=50)
    assert len(mix) == 50
    for shuffle in (True, False):
        for drop_last in (True, False):
            sampler = Sampler(mix, batch_size=8, shuffle=shuffle, drop_last=drop_last)
            assert len(sampler) == 7
            epochs = [[batch.tolist() for batch in sampler] for _ in range(4)]
            assert [len(epoch) for epoch in epochs] == [7, 6, 6, 6]
            assert [number for epoch in epochs for batch in epoch for number in batch] == list(range(25 * 8))
            assert (sampler.epoch, sampler.position) == (4, 0)
    two = [Sampler(mix, batch_size=4, rank=rank, world_size=2) for rank in range(2)]
    for number in range(25):
        numbers = [row for sampler in two for row in sampler.batch(number).tolist()]
        assert numbers == list(range(8 * number, 8 * number + 8))


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(48, 99),
    before=st.tuples(st.integers(1, 12), st.integers(1, 4)),
    after=st.tuples(st.integers(1, 12), st.integers(1, 4)),
    stop=st.integers(0, 40),
    drop_last=st.booleans(),
)
def test_a_mix_goes_on_from_a_state_at_any_world_and_batch_size(
    ds: ChunkDataset, n: int, before: tuple[int, int], after: tuple[int, int], stop: int, drop_last: bool
) -> None:
    mix = audiochunk.mix([(ds, 0.7), (ds[:7], 0.3)], n=n)

    def ranks(batch_size: int, world_size: int) -> list[Sampler]:
        options = {"batch_size": batch_size, "world_size": world_size, "drop_last": drop_last}
        return [Sampler(mix, rank=rank, **options) for rank in range(world_size)]

    def take(samplers: list[Sampler], batches: int) -> list[int]:
        taken: list[int] = []
        iterators = [iter(sampler) for sampler in samplers]
        while batches:
            parts = [next(iterator, None) for iterator in iterators]
            if parts[0] is None:
                iterators = [iter(sampler) for sampler in samplers]
                continue
            taken += np.concatenate([part for part in parts if part is not None]).tolist()
            batches -= 1
        return taken

    old, new = ranks(*before), ranks(*after)
    seen = take(old, stop)
    for sampler in new:
        sampler.load_state_dict(old[0].state_dict())
    seen += take(new, 30)
    assert seen == list(range(len(seen)))


def test_a_state_of_another_mix_is_refused(ds: ChunkDataset) -> None:
    state = Sampler(audiochunk.mix([(ds, 0.7), (ds, 0.3)]), batch_size=4).state_dict()
    for other in (
        audiochunk.mix([(ds, 0.6), (ds, 0.4)]),
        audiochunk.mix([(ds, 0.7), (ds, 0.3)], seed=1),
        audiochunk.mix([(ds, 0.7), (ds[1:], 0.3)]),
        audiochunk.mix([(ds, 0.7), (ds, 0.3)], n=99),
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
    odd = [slice(-4, None), slice(-4, 9), slice(0, -4), slice(3, None), slice(None), slice(None, 5, -1), slice(2**62)]
    for part in odd:
        with pytest.raises(IndexError, match="have no end: a slice of them goes forwards"):
            mix[part]
    np.testing.assert_array_equal(mix[5:9][-1], mix[8])
    np.testing.assert_array_equal(mix[:9].gather([-1, 0]), mix.gather([8, 0]))
    with pytest.raises(IndexError):
        mix[2**62]
    assert len(mix[5:9]) == 4
    assert not mix[5:9].is_endless


def test_a_mix_of_a_mix_goes_through_all_of_it(ds: ChunkDataset) -> None:
    both = audiochunk.ConcatDataset([ds[:50], ds[50:]])
    inner = audiochunk.mix([(both, 9), (ds, 1)], n=20)
    mix = audiochunk.mix([(inner, 1), (ds, 1)])
    which, numbers = mix.draws(np.arange(4000))
    assert numbers[which == 0].tolist() == list(range(2000))
    assert set(inner.draws(numbers[which == 0])[1].tolist()) == set(range(100))
    assert mix.gather(range(50)).shape == (50, 2048)
    with pytest.raises(ConfigError, match="has no end; take a slice"):
        audiochunk.ConcatDataset([ds, inner])
    assert len(audiochunk.ConcatDataset([ds, inner[:20]])) == 120


def test_many_sources_keep_their_orders(ds: ChunkDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("audiochunk.reader.mix.Permutation", lambda n, key: made.append(key) or Permutation(n, key))
    mix = audiochunk.mix([(ds, 1)] * 40)
    for start in range(0, 3900, 100):
        mix.gather(range(start, start + 100))
    assert len(made) == 40
    assert len(pickle.dumps(mix)) < 100_000
    # In any order: three epochs of each, the first of which is known.
    made.clear()
    shuffled = Sampler(mix[:12_000], batch_size=100)
    for batch in shuffled:
        mix.draws(batch)
    assert len(made) == 40 * 2


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), "a", "7/10", None, True])
def test_weights_that_mean_nothing_are_refused(ds: ChunkDataset, weight: Any) -> None:
    with pytest.raises(ConfigError, match="a weight must be a number above 0"):
        audiochunk.mix([(ds, 1), (ds, weight)])


def test_what_cannot_be_mixed_is_refused(ds: ChunkDataset, tmp_path: Path) -> None:
    make(tmp_path / "b", [5], bits=16)
    with pytest.raises(ConfigError, match="do not go together"):
        audiochunk.mix([(ds, 1), (audiochunk.open(tmp_path / "b"), 1)])
    with pytest.raises(ConfigError, match="no datasets"):
        audiochunk.mix([])
    with pytest.raises(ConfigError, match=r"made of \(dataset, weight\)"):
        audiochunk.mix([ds, ds])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="is empty"):
        audiochunk.mix([(ds, 1), (ds[:0], 1)])
    with pytest.raises(ConfigError, match="no datasets"):
        audiochunk.mix(pair for pair in [])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a larger n"):
        Sampler(audiochunk.mix([(ds, 1)], n=3), batch_size=4, drop_last=False)
    endless = Sampler(audiochunk.mix([(ds, 1)], n=10**12), batch_size=4)
    endless.set_epoch(10**6)
    assert next(iter(endless)).tolist() == [10**18, 10**18 + 1, 10**18 + 2, 10**18 + 3]
    with pytest.raises(ConfigError, match="epoch must be"):
        endless.set_epoch(10**7)
    with pytest.raises(ConfigError, match="too small"):
        audiochunk.mix([(ds, 1), (ds, 1.234567e-6)])
    with pytest.raises(ConfigError, match="seed"):
        audiochunk.mix([(ds, 1)], seed=-1)
