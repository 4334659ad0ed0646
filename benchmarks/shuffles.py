"""How random shuffle="shard" is beside the uniform order of all chunks.

    python benchmarks/shuffles.py
    python benchmarks/shuffles.py --wavs ~/recordings --shard-size 32MiB --batch 256

A dataset of the sample recordings, or of a folder's, whose chunks lie in its shards in the order of their recordings.
For each order, over some epochs: how many recordings a batch has chunks of; and what a batch is worth as an estimate of
the whole dataset. For the latter, every chunk gets its loudness (the logarithm of its mean distance from silence). The
means over batches of independent chunks would scatter around that of all with the variance of one chunk / the size of a
batch; the worth is the number of independent chunks whose mean scatters as much as that of a batch, or of 16 batches in
a row, does, in % of their size.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tables
from tables import Table

import audiochunk

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WINDOWS = (1, 2, 4, 8, 16, 32)


def loudness(ds: audiochunk.ChunkDataset) -> npt.NDArray[np.float64]:
    """Of every chunk of 8-bit codes: the natural logarithm of 1 + its mean distance from 128."""
    means = [np.abs(chunk.astype(np.int16) - 128).mean() for chunk in ds]
    return np.log1p(np.array(means))


def worth(values: npt.NDArray[np.float64], spread: float) -> float:
    """Independent draws that a row of `values` (rows, n) is worth as an estimate of their mean, as a share of n."""
    means = values.mean(axis=1)
    return float(spread / values.shape[1] / means.var())


def main() -> None:
    """Measure, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--wavs", type=Path, help="folder of recordings (default: the samples)")
    add("--shard-size", default="128KiB", help="of the dataset (default %(default)s)")
    add("--batch", type=int, default=64, help="chunks in a batch (default %(default)s)")
    add("--epochs", type=int, default=20, help="how many (default %(default)s)")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for Markdown and JSON")
    given = parser.parse_args()
    if min(given.batch, given.epochs) < 1:
        parser.error("--batch and --epochs are above 0")
    with tempfile.TemporaryDirectory() as scratch:
        wavs, out = given.wavs or Path(scratch) / "wavs", Path(scratch) / "shards"
        if given.wavs is None:
            subprocess.run([sys.executable, EXAMPLES / "make_wavs.py", wavs], check=True, stdout=subprocess.DEVNULL)
        try:
            audiochunk.build(wavs, out, shard_size=given.shard_size, on_error="skip", fsync=False)
        except audiochunk.AudiochunkError as error:
            sys.exit(f"shuffles: {error}")
        with audiochunk.open(out) as ds:
            tables.write(
                "shuffles", "Orders beside each other", [compare(ds, given.batch, given.epochs)], out=given.out
            )


def compare(ds: audiochunk.ChunkDataset, batch: int, epochs: int) -> Table:
    """One row an order."""
    if len(ds) < 16 * batch:
        sys.exit(f"shuffles: {len(ds)} chunks are less than 16 batches of {batch}; take a smaller --batch")
    loud = loudness(ds)
    firsts = ds.recordings.first_chunk[ds.recordings.chunks > 0]
    recording = np.searchsorted(firsts, np.arange(len(ds)), side="right") - 1
    sizes = ds.shard_sizes or []
    table = Table(
        "What a batch is worth",
        f"{len(ds):,} chunks of {len(firsts)} recordings in {len(sizes)} shards of {sizes[0]}, batches of {batch},"
        f" {epochs} epochs.",
        ("order", "recordings in a batch", "worth of a batch", "worth of 16 batches in a row"),
    )
    orders: list[tuple[str, dict[str, object]]] = [("all chunks: `shuffle=True`", {})]
    orders += [
        (f'`shuffle="shard", shard_window={window}`', {"shuffle": "shard", "shard_window": window})
        for window in WINDOWS
        if window < len(sizes)
    ]
    orders.append(("none: `shuffle=False`", {"shuffle": False}))
    for name, options in orders:
        sampler = audiochunk.Sampler(ds, batch_size=batch, **options)  # type: ignore[arg-type]
        batches = np.array([rows for _ in range(epochs) for rows in sampler])
        per_batch = float(np.mean([np.unique(recording[rows]).size for rows in batches]))
        in_rows = batches[: len(batches) // 16 * 16].reshape(-1, 16 * batch)
        one, many = worth(loud[batches], loud.var()), worth(loud[in_rows], loud.var())
        table.rows.append((name, f"{per_batch:.1f}", f"{one:.0%}", f"{many:.0%}"))
        table.data[name] = {"recordings": per_batch, "worth": one, "worth_of_16": many}
    return table


if __name__ == "__main__":
    main()
