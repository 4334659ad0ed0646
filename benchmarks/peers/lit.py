"""LitData: optimize() into chunks of tokens, read with a TokensLoader."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from chunks import CHUNK, chunks_of, recordings
from litdata import StreamingDataset, TokensLoader, optimize


def _tokens(path: str) -> Iterator[Any]:
    codes = chunks_of(path).reshape(-1)
    if codes.size:
        yield torch.from_numpy(codes)


def convert(source: str, out: str, workers: int) -> None:
    """The tokens of whole recordings, 32 MiB a file."""
    optimize(
        fn=_tokens,
        inputs=recordings(source),
        output_dir=out,
        num_workers=workers,
        chunk_size=CHUNK * (1 << 14),
        item_loader=TokensLoader(block_size=CHUNK),
        start_method="fork",
        verbose=False,
    )


def _open(out: str, *, shuffle: bool = False) -> Any:
    return StreamingDataset(out, item_loader=TokensLoader(block_size=CHUNK), shuffle=shuffle, drop_last=False)


def chunks(out: str) -> Iterator[bytes]:
    """All chunks in stored order."""
    for chunk in _open(out):
        yield chunk.numpy().tobytes()


def readers(out: str, batch: int) -> dict[str, Callable[[Any], Iterator[Any]]]:
    """Its own shuffle, and one item at a time."""
    dataset = _open(out)

    def items(numbers: Any) -> Iterator[Any]:
        for at in range(0, len(numbers), batch):
            yield torch.stack([dataset[int(i)] for i in numbers[at : at + batch]])

    def iterate(numbers: Any) -> Iterator[Any]:
        shuffled, some = iter(_open(out, shuffle=True)), []
        for _ in range(len(numbers)):
            some.append(next(shuffled))
            if len(some) == batch:
                yield torch.stack(some)
                some = []
        if some:
            yield np.stack(some)

    return {"its own shuffle": iterate, "shuffled items": items}
