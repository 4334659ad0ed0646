"""How fast shuffled batches come out of the loaders of PyTorch and Grain, beside `ds.gather` alone.

    python benchmarks/loaders.py --share 0.1 --rounds 7

Needs torch, torchdata and grain in the Python that runs it. Batches of 256 chunks of BIG, with the page cache warm. A
pass is one epoch, and nothing is done with the batches. All loaders take turns within a round, in one process, forwards
and backwards, after a pass of each that is not timed: there workers begin, which then stay, and the chunks are compared
with those of the dataset. Of the limit: the median over the rounds of a loader's speed / the limit's.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from importlib import metadata
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import tables
import xxhash
from arguments import parser
from corpora import CORPORA, make
from read import build, table
from rounds import WrongOutputError, progress

import audiochunk
from audiochunk import ChunkDataset, Sampler

SEEDS = count()  # One for each sampler: else the first to begin an epoch would make a table for all.
LIMIT = "ds.gather(indices, out=)"
NEEDED = ("torch", "torchdata", "grain")

Pass = Callable[[int], Iterable[Any]]  # the batches of the epoch with this number


def alone(rows: ChunkDataset, batch: int) -> dict[str, Pass]:
    """The limit: every batch gathered into the same array."""
    sampler, out = Sampler(rows, batch_size=batch, seed=next(SEEDS)), np.empty((batch, rows.width), rows.dtype)
    return {LIMIT: lambda _: (rows.gather(numbers, out=out) for numbers in sampler)}


def of_torch(rows: ChunkDataset, batch: int) -> dict[str, Pass]:
    """`loader`, and what the classes of torch and torchdata make of a dataset."""
    import torch
    from torch.utils.data import DataLoader
    from torchdata.stateful_dataloader import StatefulDataLoader

    from audiochunk.integrations.torch import collate, loader

    def sampled(kind: Any, **options: Any) -> Pass:
        sampler = Sampler(rows, batch_size=batch, seed=next(SEEDS))
        return whole(kind(rows, batch_sampler=sampler, collate_fn=collate, **options))

    def whole(batches: Iterable[Any]) -> Pass:
        return lambda _: batches

    two = {"num_workers": 2, "persistent_workers": True}
    return {
        "loader(ds)": whole(loader(rows, batch, next(SEEDS))),
        "loader(ds, dtype=torch.int64)": whole(loader(rows, batch, next(SEEDS), dtype=torch.int64)),
        "DataLoader, Sampler, collate": sampled(DataLoader),
        "DataLoader, Sampler, collate, 2 workers": sampled(DataLoader, **two),
        "StatefulDataLoader, Sampler, collate": sampled(StatefulDataLoader),
        "StatefulDataLoader, Sampler, collate, 2 workers": sampled(StatefulDataLoader, **two),
        "DataLoader(ds, shuffle=True)": whole(DataLoader(rows, batch_size=batch, shuffle=True)),
        "DataLoader(ds, shuffle=True), 2 workers": whole(DataLoader(rows, batch_size=batch, shuffle=True, **two)),
    }


def of_grain(rows: ChunkDataset, batch: int) -> dict[str, Pass]:
    """`batches`, and grain's own way with a dataset; both read ahead in threads."""
    import grain

    from audiochunk.integrations.grain import batches

    few = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
    theirs, seed = grain.MapDataset.source(rows), 1000 * next(SEEDS)
    return {
        "grain: batches(ds)": lambda epoch: batches(rows, batch, seed + epoch).to_iter_dataset(few),
        "grain: source(ds).shuffle().batch()": lambda epoch: theirs.shuffle(seed=epoch).batch(batch).to_iter_dataset(),
    }


def check(name: str, batches: Iterable[Any], want: list[bytes]) -> None:
    """Raise WrongOutputError if an epoch is not every chunk once."""
    found = []
    for one in batches:
        numbers = np.asarray(one)
        narrow = numbers.astype(np.uint8)
        if (narrow != numbers).any():
            raise WrongOutputError(f"{name}: wrong output: numbers that are no bytes")
        found += [xxhash.xxh3_128_digest(row) for row in narrow]
    if sorted(found) != want:
        raise WrongOutputError(f"{name}: wrong output: {len(found):,} chunks that are not those of the dataset, once")


def speeds(ways: dict[str, Pass], rows: ChunkDataset, *, rounds: int) -> dict[str, list[float]]:
    """Thousand chunks a second of each way and round, after one that is compared and does not count."""
    want = sorted(xxhash.xxh3_128_digest(chunk) for chunk in rows)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items() if number % 2 else reversed(ways.items()):
            progress(f"round {number} of {rounds}: {name}")
            if not number:
                check(name, way(number), want)
                continue
            began = time.perf_counter()
            for _ in way(number):
                pass
            found[name].append(len(rows) / (time.perf_counter() - began) / 1000)
    progress("")
    return found


def main() -> None:
    """Build what is to be read, measure, write the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--batch", type=int, default=256, help="chunks (default %(default)s)")
    arguments.add_argument("--most", type=int, default=200_000, help="chunks in a pass (default %(default)s)")
    options = arguments.parse_args()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise SystemExit(f"{', '.join(missing)}: not installed in the environment of this Python; pip has them all")
    warnings.filterwarnings("ignore", "'set_vital' is deprecated")  # torchdata calls it, torch minds
    corpus = CORPORA["big"]
    source = make(corpus, options.corpora, recordings=corpus.part(options.share))
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="audiochunk-bench-") as folder:
        ds = audiochunk.open(build(source, Path(folder) / "raw"))
        # Whole batches, so that every way has every chunk once.
        rows = ds[: min(options.most, len(ds)) // options.batch * options.batch]
        ways = alone(rows, options.batch) | of_torch(rows, options.batch) | of_grain(rows, options.batch)
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in NEEDED)
        note = f"{len(rows):,} chunks a pass; batches of {options.batch}; {versions}. The limit fills one array."
        found = [table("loaders, shuffled", note, speeds(ways, rows, rounds=options.rounds), limit=LIMIT)]
    tables.write("loaders", f"Loaders, {options.rounds} rounds", found, out=options.out)


if __name__ == "__main__":
    main()
