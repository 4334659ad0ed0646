"""Hugging Face datasets: map() over the recordings into Arrow files."""

import glob
import os
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from chunks import chunks_of, recordings

datasets.disable_progress_bars()
FEATURES = datasets.Features({"chunk": datasets.Value("binary")})


def _convert(table: Any) -> Any:
    """Recordings to chunks as Arrow has them, without an object for each."""
    codes = np.concatenate([chunks_of(path) for path in table["path"].to_pylist()])
    offsets = np.arange(len(codes) + 1, dtype=np.int32) * codes.shape[1]
    column = pa.BinaryArray.from_buffers(pa.binary(), len(codes), [None, pa.py_buffer(offsets), pa.py_buffer(codes)])
    return pa.table({"chunk": column})


def convert(source: str, out: str, workers: int) -> None:
    """map() in batches of recordings; its cache files are the dataset."""
    os.makedirs(out)
    paths = recordings(source)
    small = os.path.getsize(paths[0]) < 1 << 20
    datasets.Dataset.from_dict({"path": paths}).with_format("arrow").map(
        _convert,
        batched=True,
        batch_size=100 if small else 1,
        num_proc=workers,
        remove_columns=["path"],
        features=FEATURES,
        cache_file_name=os.path.join(out, "chunks.arrow"),
    )


def _open(out: str) -> Any:
    files = sorted(glob.glob(os.path.join(out, "*.arrow")))
    return datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])


def chunks(out: str) -> Iterator[bytes]:
    """All chunks in order."""
    for some in _open(out).iter(batch_size=1000):
        yield from some["chunk"]


def readers(out: str, batch: int) -> dict[str, Callable[[Any], Iterator[Any]]]:
    """Batches of numbers, and one item at a time."""
    dataset = _open(out)

    def batches(numbers: Any) -> Iterator[Any]:
        for at in range(0, len(numbers), batch):
            joined = b"".join(dataset[numbers[at : at + batch]]["chunk"])
            yield np.frombuffer(joined, np.uint8).reshape(-1, 2048)

    def items(numbers: Any) -> Iterator[Any]:
        for at in range(0, len(numbers), batch):
            some = [np.frombuffer(dataset[int(i)]["chunk"], np.uint8) for i in numbers[at : at + batch]]
            yield np.stack(some)

    return {"shuffled batches": batches, "shuffled items": items}
