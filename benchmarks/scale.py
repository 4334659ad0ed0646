"""What a dataset of a million hours comes to on paper: the tables of docs/scale.md.

    python benchmarks/scale.py
    python benchmarks/scale.py --hours 60_000 --rate 16_000 --days 1

Sizes follow from the format. Times are what was measured for one recording, shard or byte, multiplied; where each comes
from stands beside it.
"""

import argparse
import math
from dataclasses import dataclass

from tables import Table

CHUNK_BYTES = 2048

# Of the format, measured: docs/benchmarks.md, "Many recordings".
ROW_BYTES = 250  # of recordings.jsonl, with paths of 60 characters
ENTRY_BYTES = 175  # of manifest.json, for a shard
MOST_MANIFEST = 2**28  # audiochunk.storage.manifest.MAX_MANIFEST_BYTES
COLUMN_BYTES = 49  # of a reader's memory, for a row
FIRST_USE_S = 1.7e-6  # to read a row
# The process that plans, many_files.py with 10 million recordings in 100,000 shards: seconds of the processor.
PLAN_S = 4.9e-6  # for a recording
SEAL_S = 12.3e-6  # for a recording: its part of a task, of the table and of the seal
PLAN_BYTES = 13.2  # of a plan's file, for a recording
# A worker: docs/benchmarks.md, "Building", and "What the limit is".
HEADER_S = 7e-6  # to look into a header that is in memory
WAV_S = 0.49e-9  # for a byte of 16-bit PCM, 8-bit codes
FLAC_S = 5.9e-9  # for a decoded byte of 16-bit FLAC


@dataclass(frozen=True)
class Corpus:
    """Recordings of one length.

    Attributes:
        hours: of all.
        rate: in Hz; one channel, 16 bits.
        seconds: of each.
    """

    hours: float
    rate: float
    seconds: float

    @property
    def n(self) -> int:
        """How many."""
        return round(self.hours * 3600 / self.seconds)

    @property
    def pcm_bytes(self) -> float:
        """Of all samples."""
        return self.hours * 3600 * self.rate * 2


def in_bytes(n: float) -> str:
    """Bytes with three digits: "115 TB"."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if n < 999.5 or unit == "TB":
            return f"{n:,.3g} {unit}" if n < 999.5 else f"{n:,.0f} {unit}"
        n /= 1000
    raise AssertionError


def in_time(seconds: float) -> str:
    """Seconds with two digits, in the unit that suits: "12 min"."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 99.5 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.2g} s"


def shards(corpus: Corpus) -> Table:
    """How many shards of which size, and what the manifest is then."""
    table = Table(
        "Shards and the manifest", "", ["`--shard-size`", "`--bits 8`", "manifest", "`--bits 16`", "manifest"]
    )
    for name, size in (("32MiB, the default", 2**25), ("256MiB", 2**28), ("1GiB", 2**30), ("4GiB", 2**32)):
        cells = [name]
        for of_pcm in (0.5, 1.0):
            n = corpus.pcm_bytes * of_pcm / size
            manifest = n * ENTRY_BYTES
            cells += [f"{n:,.0f}", "too large" if manifest > MOST_MANIFEST else in_bytes(manifest)]
        table.rows.append(cells)
    return table


def recordings(corpora: list[Corpus]) -> Table:
    """What grows with the number of recordings."""
    table = Table(
        "Recordings, the plan and the table",
        "",
        ["", *(f"{corpus.n:,} of {in_time(corpus.seconds)}" for corpus in corpora)],
    )
    for what, per, show in (
        ("`recordings.jsonl`", ROW_BYTES, in_bytes),
        ("a reader's memory, once it wants rows", COLUMN_BYTES, in_bytes),
        ("reading the table for that", FIRST_USE_S, in_time),
        ("the plan's file, of a job array", PLAN_BYTES, in_bytes),
        ("planning, one processor", PLAN_S, in_time),
        ("tasks, table and seal, one processor", SEAL_S, in_time),
        ("looking into headers in memory, one processor", HEADER_S, in_time),
        ("the same at 1 ms each, 64 at once", 1e-3 / 64, in_time),
        ("the same at 30 ms each, 64 at once", 30e-3 / 64, in_time),
    ):
        table.rows.append([what, *(show(per * corpus.n) for corpus in corpora)])
    return table


def day(corpus: Corpus, days: float) -> Table:
    """What a build in so many days needs all the time."""
    seconds = days * 86400
    length = "a day" if days == 1 else f"{days:g} days"
    note = "What it reads, writes and needs all the time, of all machines together."
    table = Table(f"A build in {length}", note, ["", "reads", "writes", "processors"])
    for name, read, write, cpu in (
        ("WAV, `--bits 8`", 1.0, 0.5, WAV_S),
        ("WAV, `--bits 16`", 1.0, 1.0, WAV_S),
        ("FLAC at 55 %, `--bits 16`", 0.55, 1.0, FLAC_S),
    ):
        rates = [corpus.pcm_bytes * share / seconds for share in (read, write)]
        cells = [f"{in_bytes(rate)}/s, {8 * rate / 1e9:.2g} Gbit/s" for rate in rates]
        table.rows.append([name, *cells, f"{corpus.pcm_bytes * cpu / seconds:.2g}"])
    return table


def again(corpus: Corpus) -> Table:
    """What reading all shards once more takes: a seal of a job array, `verify`, an epoch."""
    speeds = ((1.25e9, "10 Gbit/s"), (3.125e9, "25 Gbit/s"), (12.5e9, "100 Gbit/s"))
    table = Table("Reading all of it once more", "", ["", *(name for _, name in speeds)])
    for name, of_pcm in (("`--bits 8`", 0.5), ("`--bits 16`", 1.0)):
        table.rows.append([name, *(in_time(corpus.pcm_bytes * of_pcm / speed) for speed, _ in speeds)])
    return table


def tables(hours: float, rate: float, days: float) -> list[Table]:
    """All of them."""
    corpora = [Corpus(hours, rate, seconds) for seconds in (1800, 300, 12)]
    return [shards(corpora[0]), recordings(corpora), day(corpora[0], days), again(corpora[0])]


def above_zero(text: str) -> float:
    """A number above 0, as argparse wants it told.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number above 0, not {text!r}")
    return number


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=above_zero, default=1_000_000, help="of recordings (default %(default)s)")
    parser.add_argument("--rate", type=above_zero, default=16_000, help="in Hz, of one channel (default %(default)s)")
    parser.add_argument("--days", type=above_zero, default=1, help="that the build may take (default %(default)s)")
    given = parser.parse_args()
    corpus = Corpus(given.hours, given.rate, 1)
    print(f"{in_bytes(corpus.pcm_bytes)} of 16-bit samples\n")
    print("\n".join(table.markdown() for table in tables(given.hours, given.rate, given.days)))


if __name__ == "__main__":
    main()
