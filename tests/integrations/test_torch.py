"""Rows as torch tensors: the loader, the collate function, and the data loaders of torch and torchdata."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk import ChunkDataset, ConcatDataset, Sampler
from audiochunk.errors import ConfigError, DatasetError
from tests.reader.made import make
from tests.waiting import LONG_S

torch = pytest.importorskip("torch", reason="no PyTorch: pip install 'audiochunk[torch]'")

from torch.utils.data import DataLoader, random_split  # noqa: E402 - there may be none

from audiochunk.integrations.torch import Loader, collate, loader  # noqa: E402 - likewise

pytestmark = [
    # torchdata 0.11 calls a function of torch that does nothing any more, and newer torch says so.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    # On a machine with one CPU, two workers are more than torch thinks right.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    # From Python 3.12 on, a fork of a process with threads warns; torch has threads and forks by default.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

FORMS: dict[str, dict[str, Any]] = {
    "uint8": {},
    "uint16": {"bits": 16},
    "zstd": {"compress": "zstd", "chunks_per_frame": 3},
    "uint16 zstd": {"bits": 16, "compress": "zstd", "chunks_per_frame": 3},
}
SIZES = [7, 5, 9]
ROWS = sum(SIZES)
WORKERS: dict[str, dict[str, Any]] = {
    "no workers": {},
    "forked": {"num_workers": 2, "multiprocessing_context": "fork"},
    "forked, persistent": {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True},
}

Array = np.ndarray[Any, Any]
Made = tuple[ChunkDataset, Array]
with_workers = pytest.mark.parametrize("workers", WORKERS.values(), ids=WORKERS)


@pytest.fixture(scope="module", params=FORMS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset in each form, and all its chunks."""
    return make_form(tmp_path_factory.mktemp("torch") / "shards", request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset in the usual form, and all its chunks."""
    return make_form(tmp_path_factory.mktemp("torch") / "shards", "uint8")


def make_form(folder: Path, form: str) -> Made:
    chunks = make(folder, SIZES, **FORMS[form])
    return audiochunk.open(folder), chunks


def epochs(sampler: Sampler, chunks: Array, n: int) -> list[Array]:
    """The batches of n epochs, as arrays."""
    return [chunks[numbers] for _ in range(n) for numbers in sampler]


def same(tensors: "list[torch.Tensor]", arrays: list[Array]) -> bool:
    """Whether both are the same numbers, batch by batch."""
    return [t.tolist() for t in tensors] == [a.tolist() for a in arrays]


def each_once(tensors: "list[torch.Tensor]", chunks: Array) -> bool:
    """Whether every chunk is in exactly one of the batches."""
    return sorted(row for batch in tensors for row in batch.tolist()) == sorted(chunks.tolist())


# The loader


def test_a_batch_is_the_rows_that_the_sampler_names(made: Made) -> None:
    ds, chunks = made
    batches = loader(ds, 4, 5)
    assert len(batches) == ROWS // 4
    for epoch in range(2):
        assert (batches.epoch, batches.position) == (epoch, 0)
        got = list(batches)
        assert same(got, epochs(at_epoch(Sampler(ds, batch_size=4, seed=5), epoch), chunks, 1))
        assert {batch.dtype for batch in got} == {torch.uint8 if ds.dtype == np.uint8 else torch.int64}
        assert {batch.shape for batch in got} == {(4, ds.width)}


def at_epoch(sampler: Sampler, epoch: int) -> Sampler:
    sampler.set_epoch(epoch)
    return sampler


def test_one_iter_is_the_rest_of_one_epoch(plain: Made) -> None:
    ds, chunks = plain
    batches = loader(ds, 4)
    first = [batch for batch, _ in zip(batches, range(2), strict=False)]
    assert batches.position == 12  # zip has taken a third one
    rest = list(batches)
    want = epochs(Sampler(ds, batch_size=4), chunks, 1)
    assert same(first, want[:2])
    assert same(rest, want[3:])
    assert (batches.epoch, batches.position) == (1, 0)
    batches.set_epoch(7)
    assert same(list(batches), epochs(at_epoch(Sampler(ds, batch_size=4), 7), chunks, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_a_batch_is_never_written_to_again(plain: Made, dtype: "torch.dtype") -> None:
    got = []
    for batch in loader(plain[0], 4, dtype=dtype):
        got.append((batch, batch.clone()))
        assert batch.is_contiguous()
        batch.add_(1)
        got[-1][1].add_(1)
    assert all(torch.equal(batch, copy) for batch, copy in got)
    assert len({batch.data_ptr() for batch, _ in got}) == len(got)


@pytest.mark.parametrize(
    ("form", "dtype"),
    [
        *(("uint8", dtype) for dtype in (torch.uint8, torch.int16, torch.uint16, torch.int32, torch.int64)),
        *(("uint16", dtype) for dtype in (torch.uint16, torch.int32, torch.int64)),
    ],
)
def test_numbers_are_widened_exactly(tmp_path: Path, form: str, dtype: "torch.dtype") -> None:
    ds, chunks = make_form(tmp_path / "shards", form)
    got = list(loader(ds, 4, dtype=dtype, drop_last=False))
    assert {batch.dtype for batch in got} == {dtype}
    assert same(got, epochs(Sampler(ds, batch_size=4, drop_last=False), chunks, 1))
    assert len(got[-1]) == ROWS % 4


@pytest.mark.parametrize(
    ("form", "dtype"),
    [("uint16", torch.uint8), ("uint16", torch.int16), ("uint8", torch.int8), ("uint8", torch.float32)],
)
def test_a_dtype_that_does_not_hold_the_numbers_is_refused(tmp_path: Path, form: str, dtype: "torch.dtype") -> None:
    ds, _ = make_form(tmp_path / "shards", form)
    with pytest.raises(ConfigError, match=rf"^rows of uint(8|16) do not fit into {dtype}; take one of .*torch.int64$"):
        loader(ds, 4, dtype=dtype)
    with pytest.raises(ConfigError, match="do not fit"):
        collate(ds[[0, 1]], dtype=dtype)


def test_a_rank_that_has_nothing_left_gets_an_empty_batch(plain: Made) -> None:
    ds, _ = plain
    parts = [list(loader(ds[:3], 4, drop_last=False, rank=rank, world_size=4, dtype=torch.int32)) for rank in range(4)]
    assert [[batch.shape for batch in part] for part in parts] == [
        [(0, ds.width)],
        [(1, ds.width)],
        [(1, ds.width)],
        [(1, ds.width)],
    ]


@pytest.mark.parametrize("shuffle", [True, False, "shard"])
def test_a_state_after_any_batch_goes_on_without_loss_or_repeat(plain: Made, shuffle: "bool | str") -> None:
    ds, chunks = plain
    new: Callable[[], Loader] = partial(loader, ds, 4, 3, shuffle=shuffle, shard_window=2)
    want = epochs(Sampler(ds, batch_size=4, seed=3, shuffle=shuffle, shard_window=2), chunks, 3)
    batches, seen, empty = new(), [], 0
    while len(seen) < len(want):
        state = json.loads(json.dumps(batches.state_dict()))
        batches = new()
        batches.load_state_dict(state)
        batch = next(iter(batches), None)
        if batch is None:
            empty += 1  # the state was taken after the last batch: there is no rest of that epoch
        else:
            seen.append(batch)
    assert same(seen, want)
    assert empty == 2


def test_a_state_goes_on_with_another_number_of_ranks(plain: Made) -> None:
    ds, chunks = plain
    two = [loader(ds, 3, 1, rank=rank, world_size=2) for rank in range(2)]
    seen = [batch for batches in two for batch in (next(iter(batches)),)]
    assert two[0].state_dict() == two[1].state_dict()
    one = loader(ds, 6, 1)
    one.load_state_dict(two[1].state_dict())
    want = epochs(Sampler(ds, batch_size=6, seed=1), chunks, 1)
    assert same([torch.cat(seen), *one], want)


def test_a_state_of_another_dataset_is_refused(plain: Made, tmp_path: Path) -> None:
    make(tmp_path / "other", [21, 1])
    state = loader(audiochunk.open(tmp_path / "other"), 4).state_dict()
    with pytest.raises(ConfigError, match="of another dataset_id"):
        loader(plain[0], 4).load_state_dict(state)


def test_a_batch_that_could_not_be_read_is_not_consumed(tmp_path: Path) -> None:
    ds, chunks = make_form(tmp_path / "shards", "uint8")
    batches = loader(ds, 4, shuffle=False)
    shard = next(path for path in (tmp_path / "shards").iterdir() if path.name.startswith("train-00001"))
    shard.rename(tmp_path / "away")
    seen: list[torch.Tensor] = []
    with pytest.raises(DatasetError):
        seen.extend(batches)  # those before the error stay
    assert batches.position == 4 * len(seen) == 4
    (tmp_path / "away").rename(shard)
    assert same([*seen, *batches], epochs(Sampler(ds, batch_size=4, shuffle=False), chunks, 1))


def test_every_kind_of_rows_is_loaded(made: Made) -> None:
    ds, chunks = made
    view = loader(ds[3:19:2], 2, shuffle=False)
    assert same([torch.cat(list(view))], [chunks[3:19:2]])
    both = loader(ConcatDataset([ds, ds[:3]]), 6, shuffle=False)
    assert same([torch.cat(list(both))], [np.concatenate([chunks, chunks[:3]])])
    drawn = audiochunk.mix([(ds, 0.5), (ds[:4], 0.5)], n=8)
    mixed = loader(drawn, 4)
    # A mix has no end: the second epoch goes on with the draws after those of the first.
    assert same([*mixed, *mixed], [drawn[list(range(at, at + 4))] for at in range(0, 16, 4)])


@pytest.mark.parametrize("given", [{"rank": 0}, {"world_size": 2}])
def test_rank_and_world_size_are_given_together(plain: Made, given: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="give both, or neither"):
        loader(plain[0], 4, **given)


def test_rows_are_gathered_into_pinned_memory(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    ds, chunks = made
    empty, pinned = torch.empty, []

    def pretended(*args: Any, pin_memory: bool, **kwargs: Any) -> "torch.Tensor":
        found = empty(*args, **kwargs)
        pinned.append(found.data_ptr() if pin_memory else 0)
        return found

    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch, "empty", pretended)
    got = list(loader(ds, 4, pin_memory=True))
    assert all(batch.data_ptr() in pinned or batch.is_pinned() for batch in got)
    assert same(got, epochs(Sampler(ds, batch_size=4), chunks, 1))


def test_pinned_memory_without_a_gpu_warns(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="there is no GPU, so memory is not pinned") as caught:
        batches = loader(plain[0], 4, pin_memory=True)
    assert caught[0].filename == __file__
    assert not next(iter(batches)).is_pinned()


RANK = """
import json, sys
import torch.distributed as distributed
import audiochunk
from audiochunk.integrations.torch import loader

folder, meeting, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
batches = loader(audiochunk.open(folder), 2, 5)
taken = [batch.tolist() for batch, _ in zip(batches, range(3))]
states = [None, None]
distributed.all_gather_object(states, batches.state_dict())
assert states[0] == states[1], states
distributed.destroy_process_group()
print(json.dumps([taken, states[0]]))
"""


def test_ranks_are_those_of_torch_distributed(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    ds, chunks = make_form(folder, "uint8")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", RANK, folder, tmp_path / "meeting"]
    ranks = [
        subprocess.Popen([*command, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=LONG_S) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], said
    (first, state), (second, _) = (json.loads(out) for out, _ in said)
    together = [one + other for one, other in zip(first, second, strict=True)]
    want = epochs(Sampler(ds, batch_size=4, seed=5), chunks, 1)
    assert together == [batch.tolist() for batch in want[: len(together)]]
    # What two processes have begun, one can go on with: zip took one more than it gave.
    alone = loader(ds, 4, 5)
    alone.load_state_dict(state)
    assert same(list(alone), want[len(together) + 1 :])


def test_without_torch_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import audiochunk.integrations.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: audiochunk.integrations.torch needs PyTorch" in done.stderr
    assert "pip install 'audiochunk[torch]'" in done.stderr


# The collate function


def test_collate_copies_only_what_it_must() -> None:
    batch = np.arange(6, dtype=np.uint8).reshape(2, 3)
    tensor = collate(batch)
    assert tensor.dtype == torch.uint8
    assert np.shares_memory(tensor.numpy(), batch)
    batch.flags.writeable = False
    copied = collate(batch)
    assert torch.equal(copied, tensor)
    assert not np.shares_memory(copied.numpy(), batch)


def test_collate_takes_lists_of_rows_and_single_rows(made: Made) -> None:
    ds, chunks = made
    dtype = torch.uint8 if ds.dtype == np.uint8 else torch.int64
    for batch, want in [([ds[3], ds[1]], chunks[[3, 1]]), (ds[2], chunks[2]), (ds[[3, 1]], chunks[[3, 1]])]:
        tensor = collate(batch)
        assert tensor.dtype == dtype
        assert tensor.tolist() == want.tolist()
        tensor.zero_()
    assert np.array_equal(np.stack(ds), chunks)  # not written to


# torch's DataLoader


@with_workers
def test_a_dataset_is_one_for_torch_as_it_is(made: Made, workers: dict[str, Any]) -> None:
    ds, chunks = made
    data = DataLoader(ds, batch_size=4, shuffle=True, **workers)
    for _ in range(2):
        got = list(data)
        assert [len(batch) for batch in got] == [4, 4, 4, 4, 4, 1]
        assert each_once(got, chunks)
        assert {batch.dtype for batch in got} == {torch.uint8 if ds.dtype == np.uint8 else torch.uint16}


@with_workers
def test_a_sampler_is_a_batch_sampler(made: Made, workers: dict[str, Any]) -> None:
    ds, chunks = made
    sampler = Sampler(ds, batch_size=4, seed=5)
    data = DataLoader(ds, batch_sampler=sampler, collate_fn=collate, **workers)
    assert len(data) == len(sampler)
    assert same([*data, *data], epochs(Sampler(ds, batch_size=4, seed=5), chunks, 2))


def test_spawned_workers_give_the_same(tmp_path: Path) -> None:
    ds, chunks = make_form(tmp_path / "shards", "uint16 zstd")
    ds[5]  # the dataset is in use when it is sent to the workers
    spawned: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": "spawn"}
    data = DataLoader(ds, batch_sampler=Sampler(ds, batch_size=4), collate_fn=collate, **spawned)
    assert same(list(data), epochs(Sampler(ds, batch_size=4), chunks, 1))


def test_rows_that_torch_does_not_batch(made: Made) -> None:
    ds, chunks = made
    rows = list(DataLoader(ds, batch_size=None, collate_fn=collate))
    assert same(rows, list(chunks))
    whole = list(DataLoader(ds, batch_size=None, sampler=Sampler(ds, batch_size=4)))
    assert same(whole, epochs(Sampler(ds, batch_size=4), chunks, 1))


def test_parts_that_torch_makes_of_a_dataset(made: Made) -> None:
    ds, chunks = made
    parts = random_split(ds, [15, 6])
    assert each_once([batch for part in parts for batch in DataLoader(part, batch_size=4)], chunks)


# torchdata's StatefulDataLoader

ways_to_load = pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "snapshot_every_n_steps": 3},
    ],
    ids=str,
)


@pytest.fixture(scope="module")
def stateful() -> Any:
    name = "torchdata.stateful_dataloader"
    return pytest.importorskip(name, reason="no torchdata: pip install torchdata").StatefulDataLoader


@ways_to_load
@pytest.mark.parametrize("taken", [0, 1, 3, 5, 6])
def test_a_stateful_loader_goes_on_without_loss_or_repeat(
    plain: Made, stateful: Any, options: dict[str, Any], taken: int
) -> None:
    """After `taken` batches of an epoch of 5; 6 is after the StopIteration that follows the last one."""
    ds, chunks = plain

    def new() -> Any:
        return stateful(ds, batch_sampler=Sampler(ds, batch_size=4, seed=5), collate_fn=collate, **options)

    data = new()
    batches = iter(data)
    seen = [next(batches) for _ in range(min(taken, 5))]
    if taken == 6:
        assert next(batches, None) is None
    state = pickle.loads(pickle.dumps(data.state_dict()))
    del batches, data  # ends its workers
    data = new()
    data.load_state_dict(state)
    rest = list(data)
    assert len(rest) == (5 if taken == 6 else 5 - taken)
    want = epochs(Sampler(ds, batch_size=4, seed=5), chunks, 3)
    got = [*seen, *rest, *data]
    assert same(got, want[: len(got)])


def test_a_stateful_loader_is_stopped_after_every_batch(plain: Made, stateful: Any) -> None:
    ds, chunks = plain
    want = epochs(Sampler(ds, batch_size=4), chunks, 2)
    state: dict[str, Any] = {}
    seen: list[torch.Tensor] = []
    while len(seen) < len(want):
        data = stateful(ds, batch_sampler=Sampler(ds, batch_size=4), collate_fn=collate)
        data.load_state_dict(state)
        seen += [batch for batch in (next(iter(data), None),) if batch is not None]
        state = json.loads(json.dumps(data.state_dict()))
    assert same(seen, want)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_loader_goes_on_with_another_number_of_ranks(plain: Made, stateful: Any, num_workers: int) -> None:
    ds, chunks = plain

    def new(batch_size: int, rank: int, world_size: int) -> Any:
        sampler = Sampler(ds, batch_size=batch_size, rank=rank, world_size=world_size)
        return stateful(ds, batch_sampler=sampler, collate_fn=collate, num_workers=num_workers)

    two = [new(2, rank, 2) for rank in range(2)]
    seen = [next(iter(data)) for data in two]
    one = new(4, 0, 1)
    one.load_state_dict(two[0].state_dict())
    assert same([torch.cat(seen), *one], epochs(Sampler(ds, batch_size=4), chunks, 1))
