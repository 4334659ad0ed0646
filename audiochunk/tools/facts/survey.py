"""A survey of the chunks of a dataset."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.pipeline.executors import Workers, refuse_to_run_in_a_worker
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.remote import RemoteFolder, folder_at
from audiochunk.tools.codecs.entropy import entropy
from audiochunk.tools.facts.copies import (
    Streams,
    copied_channels,
    copied_recordings,
    first_copies,
    gatherer,
    shared_chunks,
)
from audiochunk.tools.facts.facts import Facts
from audiochunk.tools.facts.measure import Measured, Task, hashes_needed, measure
from audiochunk.tools.facts.stats import ALL, columns_of, known

_TASK_BYTES, _TASK_ROWS = 2**24, 1000


def collect(
    folder: str | os.PathLike[str] | RemoteFolder,
    *,
    splits: Iterable[str] | None = None,
    stats: Iterable[str] = ALL,
    workers: int = 1,
    on_bytes: Callable[[int], None] | None = None,
) -> Facts:
    """What the chunks of a dataset are like, in one pass over them.

    Some chunks are read again: those that seem to be there more than once, to be compared byte for byte; and those of
    recordings whose blocks of all channels together are over 2**24 codes and do not end where chunks do.

    Args:
        folder: of the dataset.
        splits: to look at; all by default.
        stats: what to look for, of `ALL`.
        workers: processes; how many makes no difference to the result. A recording is looked at by one of them.
        on_bytes: told of the bytes of chunks that were looked at.

    Raises:
        ConfigError: no such split or stat.
        DatasetError: there is no dataset, or it is damaged.
        MachineError: a worker process died.
    """
    if workers > 1:
        refuse_to_run_in_a_worker()
    asked = known(stats)
    folder = folder_at(folder)
    manifest = Manifest.read(folder)
    names = sorted(set(manifest.splits if splits is None else splits))
    datasets = [ChunkDataset(folder, name) for name in names]
    if not datasets:
        raise ConfigError("no splits to look at")
    encoding = manifest.encoding
    streams = Streams.of(datasets)
    columns = {name: np.zeros(len(streams.rows), dtype) for name, dtype in columns_of(asked).items()}
    histogram = np.zeros(2 ** min(16, encoding.bits), np.int64)
    needs_hashes = hashes_needed(asked, encoding.layout)
    hashes = np.zeros(int(streams.offsets[-1]) if needs_hashes else 0, np.uint64)
    constants = np.zeros(len(hashes), np.int32)
    bounds = list(_bounds(streams, encoding.chunk_bytes))
    tasks = (
        Task(datasets[streams.split[start]], start, tuple(streams.rows[start:stop]), asked) for start, stop in bounds
    )
    for found in _measured(tasks, len(bounds), workers):
        stop = found.first + len(found.columns["samples"])
        for name, column in columns.items():
            column[found.first : stop] = found.columns[name]
        if "codes" in asked:
            histogram += found.histogram
        if needs_hashes:
            at = streams.first[found.first]
            hashes[at : at + found.chunks], constants[at : at + found.chunks] = found.hashes, found.constants
        if on_bytes is not None:
            on_bytes(found.chunks * encoding.chunk_bytes)
    shared = np.zeros((0, 0), np.int64)
    if needs_hashes:
        same = first_copies(hashes, constants, gatherer(datasets, streams.offsets))
        shared = _compare(streams, same, columns, asked, is_split=encoding.layout == "split")
    counted = "codes" in asked
    return Facts(
        dataset_id=manifest.dataset_id,
        encoding=encoding,
        stats=asked,
        splits={name: len(ds) for name, ds in zip(names, datasets, strict=True)},
        rows=streams.rows,
        columns=columns,
        bins=histogram.reshape(256, -1).sum(axis=1) if counted else np.zeros(0, np.int64),
        entropy=entropy(histogram[histogram > 0]) if counted and encoding.bits <= 16 else float("nan"),
        shared=shared,
    )


def _measured(tasks: Iterable[Task], n_tasks: int, workers: int) -> Iterator[Measured]:
    with Workers(workers) as pool:
        yield from pool.run(measure, tasks, at_most=n_tasks)


def _bounds(streams: Streams, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Bounds of rows of one split that follow each other, enough of them to be worth the handing out."""
    start = n_bytes = 0
    n_rows, split = len(streams.rows), streams.split
    for number, chunks in enumerate(streams.chunks.tolist()):
        n_bytes += chunks * chunk_bytes
        stop = number + 1
        is_last = stop == n_rows or split[stop] != split[start]
        if is_last or n_bytes >= _TASK_BYTES or stop - start >= _TASK_ROWS:
            yield start, stop
            start, n_bytes = stop, 0


def _compare(
    streams: Streams,
    same: npt.NDArray[np.int64],
    columns: dict[str, npt.NDArray[Any]],
    stats: tuple[str, ...],
    *,
    is_split: bool,
) -> npt.NDArray[np.int64]:
    """Fill the columns for which streams are compared; returns how many chunks splits share."""
    if "channels" in stats and is_split:
        columns["copied_channels"][:], columns["constant_channels"][:] = copied_channels(streams, same)
    if "duplicates" not in stats:
        return np.zeros((0, 0), np.int64)
    leaked, shared = shared_chunks(streams, same)
    columns["duplicate_of"][:] = copied_recordings(streams, same)
    columns["repeated_chunks"][:] = streams.sums((same >= 0) & (same != np.arange(len(same))))
    columns["leaked_chunks"][:] = streams.sums(leaked)
    return shared
