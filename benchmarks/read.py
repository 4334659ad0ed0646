"""How fast chunks come back, beside one np.memmap of the same bytes, beside zstd alone, and beside the peers.

    python benchmarks/read.py --share 0.25 --rounds 7
    python benchmarks/read.py --share 1 --peers-python /tmp/peers/bin/python

Batches of 256 chunks of BIG, with the page cache warm: shuffled (a uniform permutation, another one every round) and
in order. All ways of a table take turns within a round, in one process; peers have a process of their own, as they
have an interpreter of their own. Of the limit: the median over the rounds of a way's speed / the limit's.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tables
from arguments import parser
from contenders import HERE, PEERS, Job, checker, expected, in_dataset, in_peer, version_of
from corpora import CORPORA, make
from processes import CommandError, run
from rounds import WrongOutputError, median, progress
from tables import Table, number, spread
from ways import CHUNK, Numbers, Way, of_array, of_dataset, of_frames

import audiochunk

COLUMNS = ("", "thousand chunks/s (min–max)", "of the limit")


def build(source: Path, out: Path, *options: str) -> Path:
    """A dataset of a folder of recordings."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "audiochunk",
        "build",
        source,
        "--out",
        out,
        "--no-fsync",
        "-q",
        *options,
    ]
    subprocess.run(command, check=True)
    return out


def flatten(dataset: Path, out: Path) -> Path:
    """All chunks of a dataset one after the other in a file."""
    with open(out, "wb") as file:
        file.writelines(in_dataset(dataset))
    return out


def speeds(ways: dict[str, Way], n_chunks: int, *, rounds: int, most: int, shuffled: bool) -> dict[str, list[float]]:
    """Thousand chunks a second of each way and round, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(rounds + 1):
        order = np.random.default_rng(seed).permutation(n_chunks) if shuffled else np.arange(n_chunks)
        numbers: Numbers = order[:most]
        for name, way in ways.items() if seed % 2 else reversed(ways.items()):
            progress(f"round {seed} of {rounds}: {name}")
            began = time.perf_counter()
            way(numbers)
            if seed:
                found[name].append(len(numbers) / (time.perf_counter() - began) / 1000)
    progress("")
    return found


def table(title: str, note: str, found: dict[str, list[float]], *, limit: str) -> Table:
    """The speeds as rows, the limit first."""
    result = Table(title, note, COLUMNS)
    data = []
    for name in sorted(found, key=lambda name: name != limit):
        fraction = median([a / b for a, b in zip(found[name], found[limit], strict=True)])
        result.rows.append((name, spread(found[name], 1), number(fraction)))
        data.append({"name": name, "thousand_a_second": found[name], "of_limit": fraction})
    result.data = {"limit": limit, "rows": data}
    return result


def raw_tables(dataset: Path, flat: Path, options: argparse.Namespace) -> list[Table]:
    """Uncompressed shards, shuffled and in order."""
    ours, array = of_dataset(dataset, batch=options.batch), of_array(flat, batch=options.batch)
    n = flat.stat().st_size // CHUNK
    in_order, iterate = "np.memmap[a:b], copied into a batch", "for chunk in ds, copied into a batch"
    shuffled = {name: way for name, way in {**array, **ours}.items() if name not in (in_order, iterate)}
    ordered = {in_order: array[in_order], iterate: ours[iterate]}
    ordered["ds.gather(indices, out=)"] = ours["ds.gather(indices, out=)"]
    kinds = {"rounds": options.rounds, "most": options.most}
    note = f"{n:,} chunks; batches of {options.batch}. "
    return [
        table(
            "raw, shuffled",
            note + "The limit is fancy indexing of one memory-mapped array. A view has not been read yet.",
            speeds(shuffled, n, shuffled=True, **kinds),
            limit="np.memmap[indices]",
        ),
        table("raw, in order", note, speeds(ordered, n, shuffled=False, **kinds), limit=in_order),
    ]


def zstd_tables(dataset: Path, n: int, options: argparse.Namespace) -> list[Table]:
    """Compressed shards, shuffled and in order."""
    ours, alone = of_dataset(dataset, batch=options.batch), of_frames(dataset, batch=options.batch)
    gather, items, iterate = (
        "ds.gather(indices, out=)",
        "ds[i], copied into a batch",
        "for chunk in ds, copied into a batch",
    )
    kinds = {"rounds": options.rounds, "most": options.most_zstd}
    note = "The limit decodes the frames of each batch's chunks, each once, out of memory, and keeps nothing."
    shuffled = {**alone, gather: ours[gather], items: ours[items]}
    ordered = {**alone, gather: ours[gather], items: ours[items], iterate: ours[iterate]}
    return [
        table("zstd, shuffled", note, speeds(shuffled, n, shuffled=True, **kinds), limit="zstd alone"),
        table("zstd, in order", note, speeds(ordered, n, shuffled=False, **kinds), limit="zstd alone"),
    ]


def opening(options: argparse.Namespace, scratch: Path) -> Table:
    """Milliseconds to open a dataset of a thousand shards."""
    source = make(CORPORA["small"], options.corpora, recordings=options.shards)
    dataset = build(source, scratch / "shards", "--shard-size", str(CORPORA["small"].chunks * CHUNK))
    n_shards = len(list(dataset.glob("*.safetensors")))
    found: dict[str, list[float]] = {
        "audiochunk.open(path)": [],
        "and ds[0], ds[-1]": [],
        "and a chunk of each shard": [],
    }
    for _ in range(4 * options.rounds + 1):
        began = time.perf_counter()
        with audiochunk.open(dataset) as ds:
            took = [time.perf_counter() - began]
            ds[0], ds[-1]
            took.append(time.perf_counter() - began)
            ds.gather(np.arange(0, len(ds), len(ds) // n_shards))
            took.append(time.perf_counter() - began)
        for seconds, values in zip(took, found.values(), strict=True):
            values.append(1000 * seconds)
    result = Table("opening", f"A dataset of {n_shards:,} shards; imports do not count.", ("", "ms (min–max)"))
    result.rows = [(name, spread(values[1:], 1)) for name, values in found.items()]
    result.data = {"shards": n_shards, "ms": {name: values[1:] for name, values in found.items()}}
    return result


def peer_table(job: Job, limit: Way, options: argparse.Namespace) -> Table:
    """The peers, each read in its best ways; the limit is measured anew beside each."""
    want, python = expected(job.source), options.peers_python
    rows: dict[str, list[float]] = {}
    refused: dict[str, str] = {}
    beside: list[float] = []
    for peer in PEERS:
        out = job.out / peer.module
        version, missing = version_of(python, peer)
        if missing:
            refused[peer.distribution] = missing
            continue
        progress(f"{peer.distribution}: converting")
        try:
            run([python, HERE / "peers/run.py", peer.module, "convert", job.source, out, "2"])
            checker(want, in_peer(python, peer), ordered=peer.ordered)(out)
        except (CommandError, WrongOutputError) as error:
            refused[f"{peer.distribution} {version}"] = str(error)
    for _ in range(options.peer_rounds):
        for peer in PEERS:
            version, _missing = version_of(python, peer)
            name = f"{peer.distribution} {version}"
            if not version or name in refused:
                continue
            progress(f"{name}: reading")
            beside += speeds({"limit": limit}, job.chunks, rounds=1, most=options.most, shuffled=True)["limit"]
            command = [python, HERE / "peers/run.py", peer.module, "read", job.out / peer.module, str(options.batch)]
            said: Any = run([*command, str(job.chunks), str(options.most_peers)]).said["ways"]
            for way, speed in said.items():
                rows.setdefault(f"{name}, {way}", []).append(speed / 1000)
    result = Table("peers, shuffled", "Of the limit: median / median of fancy indexing in the same rounds.", COLUMNS)
    least = median(beside)
    if least:
        result.rows.append(("np.memmap[indices]", spread(beside, 1), number(1)))
    result.rows += [
        (name, spread(some, 1), number((median(some) or 0) / (least or 1), 3)) for name, some in rows.items()
    ]
    result.rows += [(name, why, "–") for name, why in refused.items()]
    result.data = {"limit": beside, "rows": rows, "refused": refused}
    return result


def main() -> None:
    """Build what is to be read, measure, write the tables."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--batch", type=int, default=256, help="chunks (default %(default)s)")
    add("--most", type=int, default=400_000, help="chunks read in a pass of raw shards (default %(default)s)")
    add("--most-zstd", type=int, default=20_000, help="of zstd shards (default %(default)s)")
    add("--most-peers", type=int, default=20_000, help="of a peer's (default %(default)s)")
    add("--peer-rounds", type=int, default=3, help="rounds of the peers (default %(default)s)")
    add("--shards", type=int, default=1000, help="of the dataset that is opened (default %(default)s)")
    options = arguments.parse_args()
    corpus = CORPORA["big"]
    recordings = corpus.part(options.share)
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="audiochunk-bench-") as folder:
        scratch = Path(folder)
        source = make(corpus, options.corpora, recordings=recordings)
        job = Job(corpus, source, recordings, scratch)
        raw, compressed = build(source, scratch / "raw"), build(source, scratch / "zstd", "--compress", "zstd")
        flat = flatten(raw, scratch / "flat")
        for dataset in (raw, compressed):
            checker(expected(source), in_dataset)(dataset)
        found = raw_tables(raw, flat, options) + zstd_tables(compressed, job.chunks, options)
        found += [
            opening(options, scratch),
            peer_table(job, of_array(flat, batch=options.batch)["np.memmap[indices]"], options),
        ]
    tables.write(
        "read", f"Reading, {options.rounds} rounds, {options.share:g} of the full size", found, out=options.out
    )


if __name__ == "__main__":
    main()
