"""WebDataset: tar files, one member a chunk, written by as many processes."""

import glob
import os
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import get_context
from typing import Any

import numpy as np
import webdataset as wds
from chunks import chunks_of, recordings


def _write(job: tuple[list[str], str]) -> None:
    paths, pattern = job
    number = 0
    with wds.ShardWriter(pattern, maxsize=1 << 25, maxcount=1 << 30, verbose=0) as writer:
        for path in paths:
            for chunk in chunks_of(path):
                writer.write({"__key__": f"{number:08}", "bin": chunk.tobytes()})
                number += 1


def convert(source: str, out: str, workers: int) -> None:
    """One process a worker, each with a share of the recordings that follow each other."""
    paths = recordings(source)
    shares = [paths[len(paths) * i // workers : len(paths) * (i + 1) // workers] for i in range(workers)]
    jobs = [(share, os.path.join(out, f"{i:02}-%06d.tar")) for i, share in enumerate(shares) if share]
    os.makedirs(out)
    with get_context("fork").Pool(workers) as pool:
        pool.map(_write, jobs, chunksize=1)


def _open(out: str, *, shuffle: int = 0) -> Any:
    files = sorted(glob.glob(os.path.join(out, "*.tar")))
    dataset = wds.WebDataset(files, shardshuffle=len(files) if shuffle else False, seed=1)
    return dataset.shuffle(shuffle) if shuffle else dataset


def chunks(out: str) -> Iterator[bytes]:
    """All chunks in the order of the tar files."""
    for sample in _open(out):
        yield sample["bin"]


def readers(out: str, batch: int) -> dict[str, Callable[[Any], Iterator[Any]]]:
    """Its own shuffle: of the tar files, and in a buffer."""

    def iterate(numbers: Any) -> Iterator[Any]:
        samples = iter(_open(out, shuffle=4 * batch))
        left = len(numbers)
        while left > 0 and (some := list(islice(samples, min(batch, left)))):
            left -= len(some)
            yield np.stack([np.frombuffer(sample["bin"], np.uint8) for sample in some])

    return {"its own shuffle": iterate}
