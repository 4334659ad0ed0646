"""Ways of reading chunks: functions that bring the chunks of a row of numbers into memory, a batch at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from frames import Frames

import audiochunk

Numbers = npt.NDArray[np.int64]
Way = Callable[[Numbers], object]
CHUNK = 2048


def batches(numbers: Numbers, batch: int) -> Iterator[Numbers]:
    """The numbers in rows of `batch`; the last may be shorter."""
    for at in range(0, len(numbers), batch):
        yield numbers[at : at + batch]


def of_array(flat: Path, *, batch: int) -> dict[str, Way]:
    """One np.memmap of all chunks side by side. A plain view of it is quicker than the memmap object itself."""
    chunks = np.asarray(np.memmap(flat, np.uint8, "r").reshape(-1, CHUNK))
    out = np.empty((batch, CHUNK), np.uint8)

    def fancy(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            chunks[some]

    def take(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            np.take(chunks, some, axis=0, out=out[: len(some)], mode="clip")

    def loop(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            for row, i in enumerate(some.tolist()):
                out[row] = chunks[i]

    def in_order(numbers: Numbers) -> None:
        for at in range(0, len(numbers), batch):
            part = chunks[at : min(at + batch, len(numbers))]
            out[: len(part)] = part

    return {
        "np.memmap[indices]": fancy,
        "np.take(np.memmap, indices, out=)": take,
        "np.memmap[i], copied into a batch": loop,
        "np.memmap[a:b], copied into a batch": in_order,
    }


def of_dataset(folder: Path, *, batch: int) -> dict[str, Way]:
    """audiochunk, in every way it offers."""
    dataset = audiochunk.open(folder)
    out = np.empty((batch, CHUNK), np.uint8)

    def gather(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            dataset.gather(some)

    def gather_out(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            dataset.gather(some, out=out[: len(some)])

    def items(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            for row, i in enumerate(some.tolist()):
                out[row] = dataset[i]

    def views(numbers: Numbers) -> None:
        for i in numbers.tolist():
            dataset[i]

    def iterate(numbers: Numbers) -> None:
        for row, chunk in enumerate(dataset[: len(numbers)]):
            out[row % batch] = chunk

    return {
        "ds.gather(indices)": gather,
        "ds.gather(indices, out=)": gather_out,
        "ds[i], copied into a batch": items,
        "ds[i], only the view": views,
        "for chunk in ds, copied into a batch": iterate,
    }


def of_frames(folder: Path, *, batch: int) -> dict[str, Way]:
    """zstd alone: the frames of these shards, held in memory, each decoded once a batch."""
    frames = Frames.of(folder, chunk_bytes=CHUNK)

    def decode(numbers: Numbers) -> None:
        for some in batches(numbers, batch):
            frames.decode(some)

    return {"zstd alone": decode}
