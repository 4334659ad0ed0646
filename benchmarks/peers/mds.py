"""MosaicML Streaming: every worker writes a folder of MDS shards of its own, whose indexes are then merged."""

import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from multiprocessing import get_context
from typing import Any

import numpy as np
from chunks import chunks_of, recordings

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # A torchvision made for a torch with CUDA does not load beside one without. streaming imports two names of it, for
    # its image datasets, which nothing here needs: let it find them.
    for name in ("", ".datasets", ".transforms", ".transforms.functional"):
        sys.modules["torchvision" + name] = module_from_spec(ModuleSpec("torchvision" + name, None))
    sys.modules["torchvision.datasets"].VisionDataset = type("VisionDataset", (), {})  # type: ignore[attr-defined]
    sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]

from streaming import MDSWriter, StreamingDataset
from streaming.base.util import merge_index


def _write(job: tuple[list[str], str]) -> None:
    paths, out = job
    with MDSWriter(out=out, columns={"chunk": "bytes"}, size_limit=1 << 25) as writer:
        for path in paths:
            for chunk in chunks_of(path):
                writer.write({"chunk": chunk.tobytes()})


def convert(source: str, out: str, workers: int) -> None:
    """One process a worker, each with a share of the recordings that follow each other."""
    paths = recordings(source)
    shares = [paths[len(paths) * i // workers : len(paths) * (i + 1) // workers] for i in range(workers)]
    jobs = [(share, os.path.join(out, f"{i:02}")) for i, share in enumerate(shares) if share]
    os.makedirs(out)
    with get_context("fork").Pool(workers) as pool:
        pool.map(_write, jobs, chunksize=1)
    merge_index(out, keep_local=True)


def _open(out: str) -> Any:
    return StreamingDataset(local=out, remote=None, shuffle=False, batch_size=1)


def chunks(out: str) -> Iterator[bytes]:
    """All chunks in the order of their numbers."""
    dataset = _open(out)
    for number in range(dataset.num_samples):
        yield dataset[number]["chunk"]


def readers(out: str, batch: int) -> dict[str, Callable[[Any], Iterator[Any]]]:
    """One item at a time."""
    dataset = _open(out)

    def items(numbers: Any) -> Iterator[Any]:
        for at in range(0, len(numbers), batch):
            some = [np.frombuffer(dataset[int(i)]["chunk"], np.uint8) for i in numbers[at : at + batch]]
            yield np.stack(some)

    return {"shuffled items": items}
