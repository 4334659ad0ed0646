"""Batches: every row once an epoch, in one order for any number of ranks, gone on with anywhere."""

import json
import pickle
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

SIZES = [5, 3, 0, 7, 4, 9, 1]


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> ChunkDataset:
    folder = tmp_path_factory.mktemp("sampler") / "a"
    make(folder, SIZES)
    return audiochunk.open(folder)


def globally(n: int, *, world_size: int, batch: int, **options: Any) -> list[list[int]]:
    """The global batches of one epoch: those of all ranks side by side."""
    ranks = [Sampler(n, batch_size=batch, rank=r, world_size=world_size, **options) for r in range(world_size)]
    return [np.concatenate(parts).tolist() for parts in zip(*ranks, strict=True)]


def flat(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch.tolist()]


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(0, 300),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 7),
    seed=st.integers(0, 2**64 - 1),
    shuffle=st.booleans(),
)
def test_every_row_comes_once_an_epoch_among_all_ranks(
    n: int, batch_size: int, world_size: int, seed: int, shuffle: bool
) -> None:
    options = {"seed": seed, "shuffle": shuffle, "drop_last": False}
    batches = globally(n, world_size=world_size, batch=batch_size, **options)
    rows = [row for batch in batches for row in batch]
    assert sorted(rows) == list(range(n))
    expected = plain_orders.order(n, plain_orders.key(seed, 1, 0)) if shuffle else list(range(n))
    assert rows == expected
    assert all(len(batch) == batch_size * world_size for batch in batches[:-1])


@pytest.mark.parametrize("world_size", [2, 3, 4, 6, 12])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("n", [100, 70_000])
def test_the_global_batches_are_the_same_for_any_number_of_ranks(n: int, shuffle: bool, world_size: int) -> None:
    alone = globally(n, world_size=1, batch=12, shuffle=shuffle)
    assert globally(n, world_size=world_size, batch=12 // world_size, shuffle=shuffle) == alone
    assert len(alone) == n // 12


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(24, 300),
    before=st.sampled_from([1, 2, 3, 4, 6, 12]),
    after=st.sampled_from([1, 2, 3, 4, 6, 12]),
    stop=st.integers(0, 30),
    epoch=st.integers(0, 3),
    drop_last=st.booleans(),
)
def test_an_epoch_is_gone_on_with_exactly_at_another_world_size(
    n: int, before: int, after: int, stop: int, epoch: int, drop_last: bool
) -> None:
    def ranks(world_size: int) -> list[Sampler]:
        options = {"batch_size": 12 // world_size, "world_size": world_size, "seed": 5, "drop_last": drop_last}
        return [Sampler(n, rank=rank, **options) for rank in range(world_size)]

    expected = ranks(1)[0]
    expected.set_epoch(epoch)
    stop = min(stop, len(expected))
    old = ranks(before)
    seen = []
    for sampler in old:
        sampler.set_epoch(epoch)
    for _, *parts in zip(range(stop), *old, strict=False):
        seen.append(np.concatenate(parts).tolist())
    state = json.loads(json.dumps(old[0].state_dict()))
    if stop:
        assert all(sampler.state_dict() == state for sampler in old)
    new = ranks(after)
    for sampler in new:
        sampler.load_state_dict(state)
    seen += [np.concatenate(parts).tolist() for parts in zip(*new, strict=True)]
    assert seen == [batch.tolist() for batch in expected]
    # And the next epoch is the same again.
    assert [np.concatenate(p).tolist() for p in zip(*new, strict=True)] == [batch.tolist() for batch in expected]


def test_a_sampler_at_another_global_batch_goes_on_from_the_same_position() -> None:
    first = Sampler(1000, batch_size=10)
    batches = iter(first)
    seen = flat(next(batches) for _ in range(7))
    second = Sampler(1000, batch_size=31, drop_last=False)
    second.load_state_dict(first.state_dict())
    assert seen + flat(second) == flat(Sampler(1000, batch_size=10))


def test_epochs_and_seeds_have_orders_of_their_own_and_the_same_again() -> None:
    sampler = Sampler(500, batch_size=10)
    epochs = [flat(sampler) for _ in range(3)]
    assert sampler.epoch == 3
    assert len({tuple(rows) for rows in epochs}) == 3
    sampler.set_epoch(1)
    assert flat(sampler) == epochs[1]
    assert flat(Sampler(500, batch_size=10, seed=1)) not in epochs
    assert flat(Sampler(500, batch_size=10)) == epochs[0]


def test_a_batch_is_consumed_when_it_is_yielded() -> None:
    sampler = Sampler(100, batch_size=10, world_size=2, rank=1)
    assert (sampler.epoch, sampler.position) == (0, 0)
    batches = iter(sampler)
    assert sampler.position == 0
    next(batches)
    assert sampler.position == 20
    next(batches)
    assert sampler.position == 40
    assert len(list(batches)) == 3
    assert (sampler.epoch, sampler.position) == (1, 0)
    assert len(sampler) == 5


def test_a_second_iteration_is_the_rest_of_the_epoch() -> None:
    sampler = Sampler(100, batch_size=10)
    seen = []
    for batch in sampler:
        seen += batch.tolist()
        if len(seen) == 40:
            break
    seen += flat(sampler)
    assert seen == flat(Sampler(100, batch_size=10))


def test_after_the_last_batch_the_rest_of_the_epoch_is_empty_and_the_next_one_follows() -> None:
    sampler = Sampler(100, batch_size=10)
    batches = iter(sampler)
    for _ in range(10):
        next(batches)
    again = Sampler(100, batch_size=10)
    again.load_state_dict(sampler.state_dict())
    assert list(again) == []
    assert again.epoch == 1
    assert len(list(again)) == 10


def test_set_epoch_to_the_epoch_that_is_going_on_changes_nothing() -> None:
    sampler = Sampler(100, batch_size=10)
    next(iter(sampler))
    sampler.set_epoch(0)
    assert sampler.position == 10
    sampler.set_epoch(4)
    assert (sampler.epoch, sampler.position) == (4, 0)


def test_a_state_that_is_loaded_during_an_iteration_is_where_it_goes_on() -> None:
    sampler = Sampler(100, batch_size=10)
    whole = [batch.tolist() for batch in Sampler(100, batch_size=10)]
    batches = iter(sampler)
    next(batches)
    state = sampler.state_dict()
    for _ in range(4):
        next(batches)
    sampler.load_state_dict(state)
    assert [batch.tolist() for batch in batches] == whole[1:]


def test_changing_the_epoch_ends_the_iteration() -> None:
    sampler = Sampler(100, batch_size=10)
    seen = []
    for batch in sampler:
        seen.append(batch)
        sampler.set_epoch(1)
    assert len(seen) == 1
    assert (sampler.epoch, sampler.position) == (1, 0)


def test_a_million_million_rows_begin_at_once_and_batches_do_not_repeat() -> None:
    sampler = Sampler(10**12, batch_size=1000, rank=3, world_size=8)
    rows = flat(batch for _, batch in zip(range(100), sampler, strict=False))
    assert len(set(rows)) == 100_000
    assert max(rows) < 10**12
    assert len(sampler) == 10**12 // 8000
    state = sampler.state_dict()
    state["position"] = 10**12 - 8000
    sampler.load_state_dict(state)
    assert len(list(sampler)) == 1


def test_a_worked_order() -> None:
    """Of docs/orders.md: seed 7, epoch 0, ten rows."""
    assert [batch.tolist() for batch in Sampler(10, batch_size=4, seed=7)] == [[5, 6, 8, 7], [9, 3, 1, 0]]
    right = Sampler(10, batch_size=2, seed=7, rank=1, world_size=2, drop_last=False)
    assert [batch.tolist() for batch in right] == [[8, 7], [1, 0], [2]]


def test_rows_that_fill_no_global_batch_are_shared_out_evenly() -> None:
    ranks = [list(Sampler(13, batch_size=2, rank=r, world_size=4, drop_last=False, shuffle=False)) for r in range(4)]
    assert [[batch.tolist() for batch in batches] for batches in ranks] == [
        [[0, 1], [8]],
        [[2, 3], [9]],
        [[4, 5], [10]],
        [[6, 7], [11, 12]],
    ]


def test_with_fewer_rows_left_than_ranks_some_batches_are_empty() -> None:
    ranks = [list(Sampler(5, batch_size=1, rank=r, world_size=3, drop_last=False)) for r in range(3)]
    assert [len(batches) for batches in ranks] == [2, 2, 2]
    assert sorted(len(batches[1]) for batches in ranks) == [0, 1, 1]
    assert all(batch.dtype == np.int64 for batches in ranks for batch in batches)


def test_the_state_is_small_and_says_what_it_is_of(ds: ChunkDataset) -> None:
    sampler = Sampler(ds, batch_size=4, seed=9)
    next(iter(sampler))
    assert sampler.state_dict() == {
        "version": 1,
        "dataset_id": ds.dataset_id,
        "order": "train[0:29] shuffled",
        "seed": 9,
        "epoch": 0,
        "position": 4,
    }


def test_the_state_of_very_many_parts_is_small_too(ds: ChunkDataset) -> None:
    parts = audiochunk.ConcatDataset([ds[i : i + 1] for i in [*range(29)] * 50])
    state = Sampler(parts, batch_size=4).state_dict()
    assert len(json.dumps(state)) < 300
    other = audiochunk.ConcatDataset([ds[i : i + 1] for i in [*range(28, -1, -1)] * 50])
    with pytest.raises(ConfigError, match="another order"):
        Sampler(other, batch_size=4).load_state_dict(state)


def test_a_sampler_knows_the_rows_that_it_is_of(ds: ChunkDataset) -> None:
    sampler = Sampler(ds, batch_size=4)
    assert sampler.is_of(ds)
    assert sampler.is_of(ds[:])
    assert not sampler.is_of(ds[1:])
    assert not Sampler(29, batch_size=4).is_of(ds)


def others(ds: ChunkDataset, folder: Path) -> dict[str, Sampler]:
    make(folder, [29])
    return {
        "dataset_id": Sampler(audiochunk.open(folder), batch_size=4),
        "seed": Sampler(ds, batch_size=4, seed=1),
        "order": Sampler(ds[:28], batch_size=4),
        "order ": Sampler(ds, batch_size=4, shuffle=False),
        "order  ": Sampler(ds, batch_size=4, shuffle="shard"),
        "order   ": Sampler(ds, batch_size=4, shuffle="shard", shard_window=2),
        "order    ": Sampler(ds[::-1], batch_size=4),
    }


def test_a_state_of_other_rows_or_of_another_order_is_refused_by_name(ds: ChunkDataset, tmp_path: Path) -> None:
    states = {name: sampler.state_dict() for name, sampler in others(ds, tmp_path / "b").items()}
    assert len({json.dumps(state) for state in states.values()}) == len(states)
    for name, state in states.items():
        with pytest.raises(ConfigError, match=f"the state is of another {name.strip()}: "):
            Sampler(ds, batch_size=4).load_state_dict(state)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"position": -1},
        {"position": 101},
        {"position": 1.5},
        {"position": None},
        {"epoch": -1},
        {"epoch": "0"},
        {"more": 1},
    ],
)
def test_what_is_no_state_is_refused(change: dict[str, Any]) -> None:
    sampler = Sampler(100, batch_size=10)
    with pytest.raises(ConfigError):
        sampler.load_state_dict({**sampler.state_dict(), **change})
    with pytest.raises(ConfigError, match="the state of a sampler is a dict"):
        sampler.load_state_dict({"position": 1})
    with pytest.raises(ConfigError, match="the state of a sampler is a dict"):
        sampler.load_state_dict(None)  # type: ignore[arg-type]
    assert (sampler.epoch, sampler.position) == (0, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"batch_size": "4"},
        {"batch_size": np.array([2])},
        {"batch_size": 4, "shuffle": np.array([1, 2])},
        {"batch_size": 4, "seed": -1},
        {"batch_size": 4, "seed": 2**64},
        {"batch_size": 4, "rank": 1},
        {"batch_size": 4, "rank": -1},
        {"batch_size": 4, "world_size": 0},
        {"batch_size": 4, "shuffle": "shard"},
        {"batch_size": 4, "shuffle": "shards"},
        {"batch_size": 101},
        {"batch_size": 51, "world_size": 2},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Sampler(100, **options)


def test_what_one_may_have_meant_is_said(ds: ChunkDataset) -> None:
    with pytest.raises(ConfigError, match="open it first"):
        Sampler("shards", batch_size=4)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there are no rows in"):
        Sampler(ds[:0], batch_size=4)
    with pytest.raises(ConfigError, match="with world_size=1, rank"):
        Sampler(ds, batch_size=4, rank=1)
    with pytest.raises(ConfigError, match="drop_last must be True or False"):
        Sampler(ds, batch_size=4, drop_last="no")  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="as batch_sampler="):
        ds.__getitems__([[0, 1], [2, 3]])  # type: ignore[list-item]
    assert repr(Sampler(ds, 4)).startswith(
        "Sampler(train[0:29] shuffled, batches of 4, rank 0 of 1, epoch 0, position 0"
    )


@pytest.mark.parametrize("rows", [-1, 2**62 + 1, 1.5, None, True, np.arange(3)])
def test_a_number_of_rows_that_is_none_is_refused(rows: Any) -> None:
    with pytest.raises(ConfigError, match="the number of rows"):
        Sampler(rows, batch_size=1)


def test_numpy_integers_are_whole_numbers() -> None:
    sampler = Sampler(np.int64(100), batch_size=np.int32(10), seed=np.uint64(3))  # type: ignore[arg-type]
    json.dumps(sampler.state_dict())
    assert len(sampler) == 10


def test_no_rows_make_no_batches() -> None:
    assert list(Sampler(0, batch_size=4, drop_last=False)) == []


def test_a_sampler_can_be_pickled_where_it_is() -> None:
    sampler = Sampler(100, batch_size=10)
    next(iter(sampler))
    again = pickle.loads(pickle.dumps(sampler))
    assert flat(again) == flat(sampler)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 99), batch=st.integers(1, 9), ranks=st.integers(1, 4), drop_last=st.booleans())
def test_any_batch_can_be_had_by_its_number(n: int, batch: int, ranks: int, drop_last: bool) -> None:
    if drop_last:
        n += batch * ranks
    for rank in range(ranks):
        sampler = Sampler(n, batch_size=batch, rank=rank, world_size=ranks, drop_last=drop_last)
        in_turn = [rows.tolist() for _ in range(3) for rows in sampler]
        state = sampler.state_dict()
        assert [sampler.batch(number).tolist() for number in range(len(in_turn))] == in_turn
        assert sampler.state_dict() == state
    with pytest.raises(IndexError):
        sampler.batch(-1)


def test_batches_are_what_gather_takes(ds: ChunkDataset) -> None:
    for batch in Sampler(ds, batch_size=7):
        np.testing.assert_array_equal(ds.gather(batch), np.stack([ds[int(i)] for i in batch]))


# By shards


def test_the_order_by_shards_of_the_page(tmp_path: Path) -> None:
    make(tmp_path / "a", [5, 3, 7, 4, 9, 1])
    sampler = Sampler(audiochunk.open(tmp_path / "a"), batch_size=1, seed=7, shuffle="shard", shard_window=2)
    assert flat(sampler) == [
        *(8, 11, 28, 13, 9, 10, 12, 14),
        *(0, 23, 26, 21, 3, 19, 24, 4, 1, 2, 25, 22, 20, 27),
        *(6, 17, 7, 15, 16, 18, 5),
    ]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(0, 2**64 - 1), st.integers(0, 5))
def test_an_order_by_shards_is_the_page_s(ds: ChunkDataset, window: int, seed: int, epoch: int) -> None:
    sampler = Sampler(ds, batch_size=1, seed=seed, shuffle="shard", shard_window=window)
    sampler.set_epoch(epoch)
    expected = plain_orders.by_shard([size for size in SIZES if size], seed, epoch, window)
    assert flat(sampler) == expected
    assert sorted(expected) == list(range(29))


def test_an_order_by_shards_reads_from_as_many_shards_at_a_time_as_it_says(tmp_path: Path) -> None:
    make(tmp_path / "a", [10] * 20)
    ds = audiochunk.open(tmp_path / "a")
    rows = flat(Sampler(ds, batch_size=1, shuffle="shard", shard_window=4))
    windows = [{row // 10 for row in rows[at : at + 40]} for at in range(0, 200, 40)]
    assert [len(window) for window in windows] == [4] * 5
    assert set.union(*windows) == set(range(20))
    assert windows[0] != {0, 1, 2, 3}


def test_an_order_by_shards_is_the_same_for_any_number_of_ranks_and_resumes(ds: ChunkDataset) -> None:
    options: dict[str, Any] = {"shuffle": "shard", "shard_window": 2, "seed": 3}
    alone = [batch.tolist() for batch in Sampler(ds, batch_size=6, **options)]
    ranks = [Sampler(ds, batch_size=2, rank=rank, world_size=3, **options) for rank in range(3)]
    first = [np.concatenate(parts).tolist() for _, *parts in zip(range(2), *ranks, strict=False)]
    again = Sampler(ds, batch_size=6, **options)
    again.load_state_dict(ranks[0].state_dict())
    assert first + [batch.tolist() for batch in again] == alone


def test_an_order_by_shards_of_a_view_stays_within_it(ds: ChunkDataset) -> None:
    view = ds[3:20]
    assert view.shard_sizes == [2, 3, 7, 4, 1]
    assert sorted(flat(Sampler(view, batch_size=1, shuffle="shard"))) == list(range(17))
    with pytest.raises(ConfigError, match="in their order"):
        Sampler(ds[::2], batch_size=1, shuffle="shard")


def test_a_window_of_all_shards_mixes_all_rows(ds: ChunkDataset) -> None:
    rows = flat(Sampler(ds, batch_size=1, shuffle="shard", shard_window=100))
    assert len({row // 5 for row in rows[:10]}) > 3
