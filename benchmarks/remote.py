"""How long one waits for a dataset in an object store that is read for the first time.

    python benchmarks/remote.py
    python benchmarks/remote.py --shards 46

S3 is moto's server, and between it and the reader is the proxy of the tests, which answers late and sends slowly: all
on this machine, so that the numbers say how the waiting is hidden, and nothing about any store. Wants
`pip install 'audiochunk[dev]'`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile as sf
import tables
from tables import Table

import audiochunk
from audiochunk.reader.ahead import Ahead
from audiochunk.storage.objects import Objects

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "remote"))
import servers

CHUNK_BYTES, BATCH, WINDOW, BUCKET = 2048, 64, 4, "bucket"
_OPEN = """
import sys, time
begun = time.perf_counter()
import audiochunk
len(audiochunk.open(sys.argv[1], cache=sys.argv[2]))
print(time.perf_counter() - begun)
"""


def main() -> None:
    """Measure, print tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shards", type=int, default=12, help="of the dataset (default %(default)s)")
    add("--shard-mib", type=int, default=4, help="size of each (default %(default)s)")
    add("--latency", type=float, default=0.03, help="seconds before an answer begins (default %(default)s)")
    add("--mb-per-s", type=float, default=20, help="on each connection (default %(default)s)")
    add("--step", type=float, default=0.012, help="seconds of training after each batch (default %(default)s)")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for Markdown and JSON")
    given = parser.parse_args()
    if min(given.shards, given.shard_mib, given.mb_per_s) <= 0 or min(given.latency, given.step) < 0:
        parser.error("sizes and rates are above 0, times not below")
    os.environ |= environment()
    with tempfile.TemporaryDirectory() as scratch, servers.s3_server() as server:
        folder = made(Path(scratch), given.shards, given.shard_mib * 2**20)
        servers.make_bucket(server, BUCKET)
        with servers.proxy_to(server) as proxy:
            os.environ["AWS_ENDPOINT_URL"] = proxy.url
            store = Objects(f"s3://{BUCKET}/shards")
            for path in sorted(folder.iterdir()):
                store.upload(path, path.name)
            proxy.latency_s, proxy.bytes_per_s = given.latency, given.mb_per_s * 1e6
            found = [first_epochs(store.url, Path(scratch), given), afterwards(store.url, folder, Path(scratch))]
    tables.write("remote", "Datasets in an object store", found, out=given.out)


def environment() -> dict[str, str]:
    """Credentials that the server takes, and nothing of the machine's own configuration."""
    return {
        "AWS_ACCESS_KEY_ID": servers.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": servers.SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def made(scratch: Path, shards: int, shard_bytes: int) -> Path:
    """A dataset of noise, of so many shards."""
    (scratch / "wavs").mkdir()
    samples = np.random.default_rng(0).integers(-9999, 9999, shards * shard_bytes, np.int16)
    sf.write(scratch / "wavs" / "noise.wav", samples, 16_000)
    audiochunk.build(scratch / "wavs", scratch / "shards", shard_size=shard_bytes, fsync=False)
    return scratch / "shards"


def sampled(ds: audiochunk.ChunkDataset) -> Iterator[Any]:
    """Batches of an epoch in shuffled windows of shards."""
    for batch in audiochunk.Sampler(ds, BATCH, seed=0, shuffle="shard", shard_window=WINDOW):
        yield ds.gather(batch)


def iterated(ds: audiochunk.ChunkDataset) -> Iterator[Any]:
    """Batches of an epoch in order."""
    chunks = iter(ds)
    for _ in range(len(ds) // BATCH):
        yield np.stack([next(chunks) for _ in range(BATCH)])


def waited(batches: Iterable[Any], step_s: float) -> list[float]:
    """Seconds until each batch was there, with a step after each."""
    times, source = [], iter(batches)
    while True:
        begun = time.perf_counter()
        if next(source, None) is None:
            return times
        times.append(time.perf_counter() - begun)
        time.sleep(step_s)


def first_epochs(url: str, scratch: Path, given: argparse.Namespace) -> Table:
    """One row a way to read, with and without fetching ahead."""
    total = len(audiochunk.open(url, cache=scratch / "none"))
    table = Table(
        "First epoch, nothing in the cache",
        f"{total * CHUNK_BYTES / 1e6:.0f} MB in {given.shards} shards of {given.shard_mib} MiB; answers after"
        f" {given.latency * 1e3:g} ms, {given.mb_per_s:g} MB/s on each connection; batches of {BATCH} and"
        f" {given.step * 1e3:g} ms for a step after each, so {total // BATCH * given.step:.1f} s of steps.",
        ("", "waited for the first batch", "for all others together"),
    )
    ways: list[tuple[str, Callable[[audiochunk.ChunkDataset], Iterator[Any]]]] = [
        (f'`Sampler(ds, {BATCH}, shuffle="shard", shard_window={WINDOW})`', sampled),
        ("iteration", iterated),
    ]
    for name, way in ways:
        for label, without in ((name, False), ("the same, with nothing fetched ahead", True)):
            cache = scratch / f"{way.__name__}-{without}"
            with (
                mock.patch.object(Ahead, "want") if without else nullcontext(),
                audiochunk.open(url, cache=cache) as ds,
            ):
                first, *others = waited(way(ds), given.step)
            table.rows.append((label, f"{first:.1f} s", f"{sum(others):.1f} s"))
            table.data[f"{name}, ahead: {not without}"] = {"first": first, "others": sum(others)}
    return table


def afterwards(url: str, folder: Path, scratch: Path) -> Table:
    """One row for what does not wait for shards."""
    table = Table("What else takes time", "Opening is that of a new process, with its imports.", ("", "time"))
    with audiochunk.open(url, cache=scratch / "sampled-False") as ds, audiochunk.open(folder) as local:
        numbers = np.random.default_rng(0).permutation(len(local))
        for name, each in (("from the cache", ds), ("from a folder", local)):
            each.gather(numbers)
            begun = time.perf_counter()
            each.gather(numbers)
            table.data[f"an epoch in uniform order, gathered at once, {name}"] = time.perf_counter() - begun
    command = [sys.executable, "-c", _OPEN, url, str(scratch / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    table.data["opening"] = float(done.stdout)
    table.rows += [(name, f"{seconds:.2f} s") for name, seconds in table.data.items()]
    return table


if __name__ == "__main__":
    main()
