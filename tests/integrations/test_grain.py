"""Rows in pipelines of grain."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk import ChunkDataset, ConcatDataset, Sampler
from audiochunk.errors import ConfigError
from tests.reader.made import make
from tests.waiting import LONG_S

grain = pytest.importorskip("grain", reason="no Grain: pip install 'audiochunk[grain]'")

from audiochunk.integrations.grain import batches  # noqa: E402 - there may be none

FORMS: dict[str, dict[str, Any]] = {
    "uint8": {},
    "uint16": {"bits": 16},
    "zstd": {"compress": "zstd", "chunks_per_frame": 3},
}
SIZES = [7, 5, 9]
ROWS = sum(SIZES)

Array = np.ndarray[Any, Any]
Made = tuple[ChunkDataset, Array]


@pytest.fixture(scope="module", params=FORMS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset in each form, and all its chunks."""
    folder = tmp_path_factory.mktemp("grain") / "shards"
    chunks = make(folder, SIZES, **FORMS[request.param])
    return audiochunk.open(folder), chunks


def epochs(sampler: Sampler, chunks: Array, n: int) -> list[Array]:
    """The batches of n epochs."""
    return [chunks[numbers] for _ in range(n) for numbers in sampler]


def same(found: list[Array], wanted: list[Array]) -> bool:
    """Whether both are the same batches."""
    return [a.tolist() for a in found] == [b.tolist() for b in wanted] and {a.dtype for a in found} == {
        b.dtype for b in wanted
    }


# Rows as they are


def test_rows_are_a_source(made: Made) -> None:
    ds, chunks = made
    for rows in (ds, ds[3:9], ConcatDataset([ds, ds]), audiochunk.mix([(ds, 1)])):
        assert isinstance(rows, grain.sources.RandomAccessDataSource)
        assert len(grain.MapDataset.source(rows)) == len(rows)
    assert same(list(grain.MapDataset.source(ds)), list(chunks))


def test_many_rows_are_taken_at_once(made: Made) -> None:
    ds, chunks = made
    source = grain.MapDataset.source(ds)
    assert same(list(source._getitems([3, 1, 4])), list(chunks[[3, 1, 4]]))
    assert same(list(source.shuffle(seed=1)._getitems(range(ROWS))), list(source.shuffle(seed=1)))


def test_a_source_says_what_is_in_it(made: Made, tmp_path: Path) -> None:
    ds, _ = made
    make(tmp_path / "other", [ROWS, 1])
    others = [ds[:-1], ds[1:], ds[::-1], ConcatDataset([ds]), audiochunk.open(tmp_path / "other")[:ROWS]]
    assert len({repr(rows) for rows in [ds, *others]}) == len(others) + 1
    again = pickle.loads(pickle.dumps(ds))
    assert repr(again) == repr(ds)
    assert np.array_equal(again[3], ds[3])


def test_a_pipeline_goes_on_from_a_checkpoint(made: Made) -> None:
    ds, chunks = made
    pipeline = grain.MapDataset.source(ds).seed(3).shuffle().repeat(2).batch(4, drop_remainder=True).to_iter_dataset()
    whole = list(pipeline)
    assert len(whole) == 2 * ROWS // 4
    epoch = np.concatenate(whole)[:ROWS]
    assert sorted(epoch.tolist()) == sorted(chunks.tolist())
    for taken in range(len(whole) + 1):
        iterator = iter(pipeline)
        seen = [next(iterator) for _ in range(taken)]
        state = json.loads(json.dumps(iterator.get_state()))
        restored = iter(pipeline)
        restored.set_state(state)
        assert same([*seen, *restored], whole)


def test_a_grain_loader_refuses_the_state_of_another_dataset(made: Made) -> None:
    ds, _ = made

    def new(rows: Any) -> Any:
        order = grain.samplers.IndexSampler(ROWS - 1, shuffle=True, seed=1, num_epochs=1)
        return iter(grain.DataLoader(data_source=rows, sampler=order, operations=[grain.transforms.Batch(4)]))

    iterator = new(ds)
    next(iterator)
    state = iterator.get_state()
    rest = list(iterator)
    restored = new(pickle.loads(pickle.dumps(ds)))
    restored.set_state(state)
    assert same(list(restored), rest)
    with pytest.raises(ValueError, match=ds.dataset_id):
        new(ds[1:]).set_state(state)


# Batches


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"shuffle": "shard", "shard_window": 2},
        {"drop_last": False},
        {"rank": 1, "world_size": 2, "drop_last": False},
    ],
    ids=str,
)
def test_batches_are_those_of_a_sampler(made: Made, options: dict[str, Any]) -> None:
    ds, chunks = made
    pipeline = batches(ds, 4, 5, **options)
    sampler = Sampler(ds, batch_size=4, seed=5, **options)
    assert len(pipeline) == len(sampler)
    want = epochs(sampler, chunks, 3)
    assert same(list(pipeline), want[: len(sampler)])
    assert same(list(pipeline.repeat(3)), want)
    assert same(list(pipeline.repeat(3).to_iter_dataset()), want)
    assert same([pipeline[len(want) - 1], pipeline[0]], [want[-1], want[0]])
    assert all(batch.flags.writeable for batch in pipeline)


def test_batches_of_a_mix_go_on_in_the_next_epoch(made: Made) -> None:
    ds, _ = made
    drawn = audiochunk.mix([(ds, 0.5), (ds[:4], 0.5)], n=9)
    want = [drawn[list(range(at, at + 4))] for at in range(0, 24, 4)]
    assert same(list(batches(drawn, 4).repeat(2)), want)


def test_batches_go_on_from_a_checkpoint(made: Made) -> None:
    ds, chunks = made
    pipeline = batches(ds, 4).repeat()
    want = epochs(Sampler(ds, batch_size=4), chunks, 3)
    few = grain.ReadOptions(num_threads=2, prefetch_buffer_size=3)
    for taken in (0, 1, 4, 5, 6, 12):
        iterator = iter(pipeline.to_iter_dataset(few))
        assert same([next(iterator) for _ in range(taken)], want[:taken])
        restored = iter(pipeline.to_iter_dataset())
        restored.set_state(json.loads(json.dumps(iterator.get_state())))
        assert same([next(restored) for _ in range(2)], want[taken : taken + 2])


def test_what_a_sampler_refuses_is_refused(made: Made) -> None:
    with pytest.raises(ConfigError, match="do not fill a batch"):
        batches(made[0], ROWS + 1)


WORKERS = """
import json, sys
from absl import flags
import grain
import audiochunk
from audiochunk.integrations.grain import batches

if __name__ == "__main__":
    flags.FLAGS(sys.argv[:1])  # grain's workers want to know them
    pipeline = batches(audiochunk.open(sys.argv[1]), 4).repeat(2).to_iter_dataset()
    pipeline = pipeline.mp_prefetch(grain.MultiprocessingOptions(num_workers=2))
    iterator = iter(pipeline)
    seen = [next(iterator).tolist() for _ in range(3)]
    state = json.loads(json.dumps(iterator.get_state()))
    iterator.close()
    iterator = iter(pipeline)
    iterator.set_state(state)
    seen += [batch.tolist() for batch in iterator]
    iterator.close()
    print(json.dumps(seen))
"""


def test_batches_of_grains_worker_processes(tmp_path: Path) -> None:
    chunks = make(tmp_path / "shards", SIZES, compress="zstd", chunks_per_frame=3)
    (tmp_path / "workers.py").write_text(WORKERS)
    command = [sys.executable, "-W", "error", tmp_path / "workers.py", tmp_path / "shards"]
    done = subprocess.run(command, capture_output=True, timeout=LONG_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    want = epochs(Sampler(audiochunk.open(tmp_path / "shards"), batch_size=4), chunks, 2)
    assert json.loads(done.stdout) == [batch.tolist() for batch in want]


def test_without_grain_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['grain'] = None; import audiochunk.integrations.grain"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: audiochunk.integrations.grain needs Grain" in done.stderr
    assert "pip install 'audiochunk[grain]'" in done.stderr
