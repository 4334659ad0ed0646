"""What a dataset of many recordings and many shards costs those who read it.

    python benchmarks/many_recordings.py
    python benchmarks/many_recordings.py --recordings 10_000_000 --shards 100_000 --folder /big/disk/many

The dataset is made of names and numbers: its recordings table is what a build would write for recordings of a few
seconds of speech, its shards are holes behind a header. Each of two processes does a part of the list, one thing after
the other: the first what a training does, the second what `audiochunk inspect` does with the table. Given are seconds,
of the clock and of the processor, the memory that is then in use, and the most of it while that was done, both without
the pages of files that are mapped.
"""

import argparse
import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import processes
import tables
import xxhash
from memory import Log
from tables import Table, number

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.storage.manifest import Manifest, ShardEntry, SplitTotals, dataset_id
from audiochunk.storage.recordings import RecordingRow, RowsWriter, read_rows
from audiochunk.storage.shard import DATA_OFFSET, ShardSpec, shard_name
from audiochunk.tools.summary import summarize

RATE = 16_000
CHUNKS = 20  # of the longest recording; the shortest has half
LOCATED = 10_000


def make(folder: Path, n_recordings: int, n_shards: int) -> None:
    """Write the dataset, unless it is there."""
    if (folder / "manifest.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = BuildConfig()
    encoding = config.encoding
    table = RowsWriter(folder / "recordings.jsonl")
    first = frames_in_all = 0
    for i in range(n_recordings):
        chunks = CHUNKS - i * 7 % (CHUNKS // 2)
        rest = i * 997 % encoding.codes_per_chunk
        frames = chunks * encoding.codes_per_chunk + rest
        row = RecordingRow(
            path=f"speaker-{i // 5000:05}/chapter-{i // 50 % 100:03}/utterance-{i:08}.wav",
            split="train",
            channel=None,
            sample_rate=RATE,
            channels=1,
            frames=frames,
            subtype="PCM_16",
            bytes=44 + 2 * frames,
            first_chunk=first,
            chunks=chunks,
            dropped_frames=rest,
            clipped=0,
            notes=(),
        )
        table.write(row)
        first += chunks
        frames_in_all += frames
    shards = [shard(folder, i, (i + 1) * first // n_shards - i * first // n_shards, config) for i in range(n_shards)]
    totals = SplitTotals(chunks=first, recordings=n_recordings, frames=frames_in_all, seconds=frames_in_all // RATE)
    manifest = Manifest(
        encoding=encoding,
        options=config.options,
        compression=None,
        splits={"train": totals},
        shards=tuple(shards),
        recordings=table.finish(),
        skipped=0,
        dataset_id=dataset_id(encoding, (entry.digest for entry in shards)),
    )
    (folder / "manifest.json").write_bytes(manifest.encode())


def shard(folder: Path, index: int, chunks: int, config: BuildConfig) -> ShardEntry:
    """A shard whose chunks take no room on the disk. Its digest is only as long as one."""
    spec = ShardSpec("train", index, chunks, config.encoding)
    name, n_bytes = shard_name("train", index, None), DATA_OFFSET + spec.data_bytes
    with (folder / name).open("wb") as file:
        file.write(spec.header())
        file.truncate(n_bytes)
    digest = xxhash.xxh3_128_hexdigest(name.encode())
    return ShardEntry(name=name, split="train", chunks=chunks, bytes=n_bytes, digest=digest)


def train(folder: Path) -> list[dict[str, Any]]:
    """What a training does."""
    log, rng = Log(), np.random.Generator(np.random.PCG64(1))
    audiochunk.open(folder)  # what is imported and cached by then does not count
    ds = log.measure("open", lambda: audiochunk.open(folder))
    pickled = pickle.dumps(ds)
    log.measure(f"unpickle its {len(pickled)} bytes, and one chunk", lambda: pickle.loads(pickled)[0])
    sizes = [entry.chunks for entry in ds.manifest.shards]
    firsts = np.cumsum([0, *sizes[:-1]])[np.array(sizes) > 0]
    log.measure(f"gather a chunk of each of {len(firsts):,} shards", lambda: ds.gather(firsts))
    mapped = Path("/proc/self/maps").read_text().count("\n")
    log.measure(f"close, of {mapped:,} mappings", ds.close)
    rows = log.measure("first use of recordings", lambda: ds.recordings)
    numbers = rng.integers(0, len(ds), LOCATED).tolist()
    log.measure(f"locate {LOCATED:,} chunks", lambda: [ds.locate(i).path for i in numbers])
    log.measure("runs", lambda: len(ds.runs()))
    log.measure("windows(4)", lambda: ds.windows(4))
    log.measure("crops(8000)", lambda: ds.crops(8000))
    log.measure("find a recording by name", lambda: ds.decode(rows[len(rows) // 3].path))
    return log.steps


def inspect(folder: Path) -> list[dict[str, Any]]:
    """What `audiochunk inspect` does with the table."""
    log, manifest = Log(), Manifest.read(folder)
    log.measure(
        "inspect: sums over all rows",
        lambda: summarize(read_rows(folder, manifest.recordings), encoding=manifest.encoding),
    )
    return log.steps


PARTS = {"train": train, "inspect": inspect}


def main() -> None:
    """Measure, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--recordings", type=int, default=200_000, help="how many (default %(default)s)")
    add("--shards", type=int, default=70_000, help="how many: by default more than Linux lets a process map")
    add("--folder", type=Path, help="where to keep the dataset, or to find it (default: a temporary one)")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for Markdown and JSON")
    add("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is not None:
        print(json.dumps({"steps": PARTS[given.part](given.folder)}))
        return
    if min(given.recordings, given.shards) < 1:
        parser.error("--recordings and --shards are above 0")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "many"
        make(folder, given.recordings, given.shards)
        steps: list[dict[str, Any]] = []
        for part in PARTS:
            command = [sys.executable, Path(__file__), "--folder", folder, "--part", part]
            try:
                steps += processes.run(command).said["steps"]  # type: ignore[arg-type]
            except processes.CommandError as error:
                sys.exit(f"many_recordings: {error}")
        manifest = Manifest.read(folder)
        table = Table(
            f"{manifest.recordings.rows:,} recordings in {len(manifest.shards):,} shards",
            f"recordings.jsonl has {(folder / 'recordings.jsonl').stat().st_size / 1e6:,.0f} MB, manifest.json"
            f" {(folder / 'manifest.json').stat().st_size / 1e6:,.1f} MB.",
            ["", "seconds", "of the processor", "MB of memory then", "MB at most"],
        )
        for step in steps:
            values = (number(step["seconds"]), number(step["cpu_seconds"]))
            table.rows.append((step["what"], *values, number(step["memory_mb"], 0), number(step["peak_mb"], 0)))
        table.data = {"recordings": manifest.recordings.rows, "shards": len(manifest.shards), "steps": steps}
        tables.write("many_recordings", "Many recordings", [table], out=given.out)


if __name__ == "__main__":
    main()
