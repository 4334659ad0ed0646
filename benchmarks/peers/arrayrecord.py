"""ArrayRecord, uncompressed, one record a group as random access wants it; read by itself and through grain."""

import glob
import os
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from chunks import chunks_of, recordings


def _write(job: tuple[list[str], str]) -> None:
    paths, out = job
    writer = ArrayRecordWriter(out, "group_size:1,uncompressed")
    for path in paths:
        for chunk in chunks_of(path):
            writer.write(chunk.tobytes())
    writer.close()


def convert(source: str, out: str, workers: int) -> None:
    """One process a worker, each with a share of the recordings that follow each other, and a file for it."""
    paths = recordings(source)
    shares = [paths[len(paths) * i // workers : len(paths) * (i + 1) // workers] for i in range(workers)]
    jobs = [(share, os.path.join(out, f"{i:02}.arrayrecord")) for i, share in enumerate(shares) if share]
    os.makedirs(out)
    with get_context("fork").Pool(workers) as pool:
        pool.map(_write, jobs, chunksize=1)


def _open(out: str) -> Any:
    return ArrayRecordDataSource(sorted(glob.glob(os.path.join(out, "*.arrayrecord"))))


def chunks(out: str) -> Iterator[bytes]:
    """All chunks in order."""
    source = _open(out)
    for at in range(0, len(source), 1000):
        yield from source.__getitems__(range(at, min(at + 1000, len(source))))


def _stacked(records: list[bytes]) -> Any:
    return np.stack([np.frombuffer(record, np.uint8) for record in records])


def readers(out: str, batch: int) -> dict[str, Callable[[Any], Iterator[Any]]]:
    """Batches of numbers, one item at a time, and grain's shuffle where grain is installed."""
    source = _open(out)

    def batches(numbers: Any) -> Iterator[Any]:
        for at in range(0, len(numbers), batch):
            yield _stacked(source.__getitems__([int(i) for i in numbers[at : at + batch]]))

    def items(numbers: Any) -> Iterator[Any]:
        few = numbers[: max(batch, len(numbers) // 16)]  # too slow for all
        for at in range(0, len(few), batch):
            yield _stacked([source[int(i)] for i in few[at : at + batch]])

    ways = {"shuffled batches": batches, "shuffled items": items}
    try:
        import grain
    except ImportError:
        return ways

    def through_grain(numbers: Any) -> Iterator[Any]:
        shuffled = grain.MapDataset.source(source).seed(1).shuffle()[: len(numbers)]
        yield from shuffled.batch(batch, batch_fn=_stacked).to_iter_dataset()

    return {**ways, "grain, its own shuffle": through_grain}
