"""What compressed shards cost and save, by zstd level and by how many chunks share a frame.

    python benchmarks/zstd.py recordings/speech recordings/music --json zstd.json

Every folder is measured on its own. Of each level and number of chunks in a frame, a dataset is built: by one process,
without fsync, from the recordings taken so many times over that start-up does not count. (Frames know nothing of each
other, so that this does not change the ratio.) Given are

- ratio: bytes of the chunks by bytes of the shards on disk, headers and tables of frames included;
- compress: bytes of chunks a second that zstd itself takes in, frame after frame, from memory;
- build: bytes of chunks a second of the whole build; that of raw shards is in the row "none";
- random: microseconds that `gather` takes for one of 256 chunks in no order, no two of one frame, and what share of
  that time zstd needs to decode the frames;
- in order: bytes of chunks a second that `gather` gives of 256 after 256, and the share of zstd.

Reading is the median of so many batches, each of which both gather and decode, in turn, from memory. Raw shards are at
level 0, with 0 chunks a frame, in the JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

import audiochunk
from audiochunk.storage.seekable import read_seek_table

BATCH = 256


@dataclass(frozen=True)
class Row:
    """One line of the table; a dataset of raw shards has level 0 and no figures of zstd."""

    corpus: str
    bits: int
    level: int
    chunks_per_frame: int
    ratio: float
    compress_mb_s: float | None
    build_mb_s: float
    random_us: float
    random_share: float | None
    in_order_mb_s: float
    in_order_share: float | None


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def frames_of(ds: audiochunk.ChunkDataset, folder: Path, per_frame: int) -> tuple[list[bytes], npt.NDArray[np.int64]]:
    """The frames of all chunks, still compressed; and of every chunk, the number of its frame."""
    frames: list[bytes] = []
    frame_of = []
    for shard in ds.manifest.shards:
        frame_of.append(len(frames) + np.arange(shard.chunks) // per_frame)
        file = memoryview((folder / shard.name).read_bytes())
        ends = np.cumsum(read_seek_table(file, folder / shard.name)["compressed"], dtype=np.int64).tolist()
        frames.extend(bytes(file[start:end]) for start, end in pairwise(ends))  # the header's is left out
    return frames, np.concatenate(frame_of)


def compress_speed(ds: audiochunk.ChunkDataset, level: int, per_frame: int) -> float:
    """Bytes a second; a few megabytes are enough."""
    size = per_frame * ds.encoding.chunk_bytes
    data = ds.gather(np.arange(min(len(ds), 2048))).tobytes()
    compress = zstandard.ZstdCompressor(level=level, write_checksum=True).compress
    frames = [data[at : at + size] for at in range(0, len(data), size)]
    return len(data) / statistics.median(seconds(lambda: list(map(compress, frames))) for _ in range(3))


@dataclass(frozen=True)
class Reading:
    """Seconds for a chunk, and the share of them that zstd alone takes for its frame; None of raw shards."""

    seconds: float
    share: float | None


def one_of_each(frame_of: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One chunk of each of 256 frames, in no order: of a large dataset, two chunks at random rarely share one."""
    shuffled = rng.permutation(len(frame_of))
    _, firsts = np.unique(frame_of[shuffled], return_index=True)
    chosen: npt.NDArray[np.int64] = shuffled[rng.permutation(firsts)[:BATCH]]
    return chosen


def reading(
    batches: Sequence[npt.NDArray[np.int64]],
    gather: Callable[[npt.NDArray[np.int64]], object],
    frames: Callable[[npt.NDArray[np.int64]], list[bytes]],
) -> Reading:
    """Gather batches of chunks and decode their frames, in turn."""
    decompress = zstandard.ZstdDecompressor().decompress
    took, shares = [], []
    for batch in batches:
        took.append(seconds(partial(gather, batch)) / len(batch))
        if wanted := frames(batch):
            # Every frame is let go before the next one is decoded, as `gather` does.
            began = time.perf_counter()
            for frame in wanted:
                decompress(frame)
            shares.append((time.perf_counter() - began) / len(batch) / took[-1])
    return Reading(statistics.median(took), statistics.median(shares) if shares else None)


def measure(source: Path, corpus: str, *, bits: int, level: int, per_frame: int, rounds: int) -> Row:
    """Build one dataset and read it."""
    options = {"compress": f"zstd:{level}", "chunks_per_frame": per_frame} if level else {"compress": "none"}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        build = partial(audiochunk.build, source, out, bits=bits, workers=1, fsync=False, on_error="skip", **options)
        build_s = seconds(build)
        with audiochunk.open(out) as ds:
            ds.gather(np.arange(len(ds)))  # maps all of it
            rng = np.random.Generator(np.random.PCG64(0))
            starts = rng.integers(0, max(1, len(ds) - BATCH), rounds)
            in_order = [np.arange(start, min(start + BATCH, len(ds))) for start in starts.tolist()]
            frames: list[bytes] = []
            frame_of = np.arange(len(ds))  # of raw shards, every chunk is one
            if level:
                frames, frame_of = frames_of(ds, out, per_frame)
            shuffled = [one_of_each(frame_of, rng) for _ in range(rounds)]

            def wanted(batch: npt.NDArray[np.int64]) -> list[bytes]:
                return [frames[i] for i in np.unique(frame_of[batch]).tolist()] if level else []

            random_read, ordered_read = (reading(batches, ds.gather, wanted) for batches in (shuffled, in_order))
            size = len(ds) * ds.encoding.chunk_bytes
            return Row(
                corpus=corpus,
                bits=bits,
                level=level,
                chunks_per_frame=per_frame,
                ratio=size / sum(shard.bytes for shard in ds.manifest.shards),
                compress_mb_s=compress_speed(ds, level, per_frame) / 1e6 if level else None,
                build_mb_s=size / build_s / 1e6,
                random_us=random_read.seconds * 1e6,
                random_share=random_read.share,
                in_order_mb_s=ds.encoding.chunk_bytes / ordered_read.seconds / 1e6,
                in_order_share=ordered_read.share,
            )


def repeated(folder: Path, target: Path, times: int) -> None:
    """Links to every file of a folder, so many times over."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for time_ in range(times):
        for number, file in enumerate(files):
            (target / f"{time_:03}").mkdir(parents=True, exist_ok=True)
            (target / f"{time_:03}" / f"{number:05}{file.suffix}").symlink_to(file.resolve())


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The table, line by line."""
    yield "| recordings | bits | level | chunks a frame | ratio | compress MB/s | build MB/s | random µs (zstd's share) | in order MB/s (zstd's share) |"  # noqa: E501
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        shares = [f" ({share:.2f})" if share is not None else "" for share in (row.random_share, row.in_order_share)]
        cells = [
            row.corpus,
            str(row.bits),
            str(row.level) if row.level else "none",
            str(row.chunks_per_frame) if row.level else "",
            f"{row.ratio:.3f}",
            f"{row.compress_mb_s:,.0f}" if row.compress_mb_s is not None else "",
            f"{row.build_mb_s:,.0f}",
            f"{row.random_us:.2f}{shares[0]}",
            f"{row.in_order_mb_s:,.0f}{shares[1]}",
        ]
        yield f"| {' | '.join(cells)} |"


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of recordings")
    parser.add_argument("--bits", type=numbers, default=[8, 16])
    parser.add_argument("--levels", type=numbers, default=[1, 3, 6, 9, 12, 19])
    parser.add_argument("--chunks-per-frame", type=numbers, default=[1, 4, 8, 16, 32, 64])
    parser.add_argument("--times", type=int, default=8, help="how often every recording is taken")
    parser.add_argument("--rounds", type=int, default=31, help="batches that are read")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    rows = []
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch) / "recordings"
            repeated(folder, source, options.times)
            for bits in options.bits:
                plans = [(0, 0), *((level, n) for level in options.levels for n in options.chunks_per_frame)]
                for level, per_frame in plans:
                    print(f"{folder.name}, {bits} bits, level {level}, {per_frame} a frame", file=sys.stderr)
                    rows.append(
                        measure(source, folder.name, bits=bits, level=level, per_frame=per_frame, rounds=options.rounds)
                    )
    print("\n".join(markdown(rows)))
    if options.json is not None:
        machine = {"python": sys.version.split()[0], "zstd": ".".join(map(str, zstandard.ZSTD_VERSION))}
        options.json.write_text(
            json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
