"""How the cost of a build grows with its size and with the number of recordings: straight lines, or not.

    python benchmarks/scaling.py --share 1 --rounds 5

BIG and SMALL, a sixteenth of them, a quarter, and all; whole processes without fsync, in turn. A line is fitted to the
medians by least squares: what a build costs before it does anything, and what each further gigabyte or recording adds.
Memory should be the same at every size.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tables
from arguments import parser
from contenders import CHUNK, Job, expected, limit, ours
from corpora import CORPORA, Corpus, make
from rounds import Measured, median, run_rounds
from tables import Table, number, spread

TIMES = (1, 4, 16)


@dataclass(frozen=True)
class Line:
    """y = intercept + slope * x, fitted to points.

    Attributes:
        slope: of y for one x.
        intercept: y at no x.
        worst: the largest distance of a point from the line, as a fraction of the point's y.
    """

    slope: float
    intercept: float
    worst: float


def fit(x: Sequence[float], y: Sequence[float]) -> Line:
    """The least-squares line through at least two points."""
    slope, intercept = np.polyfit(x, y, 1)
    residuals = np.abs(np.asarray(y) - (intercept + slope * np.asarray(x))) / np.asarray(y)
    return Line(float(slope), float(intercept), float(residuals.max()))


def jobs_of(corpus: Corpus, options: argparse.Namespace, scratch: Path) -> list[Job]:
    """The three sizes, the largest made first, as the others are linked from it."""
    base = max(1, corpus.part(options.share) // TIMES[-1])
    counts = [base * times for times in TIMES]
    sources = {n: make(corpus, options.corpora, recordings=n) for n in reversed(counts)}
    return [Job(corpus, sources[n], n, scratch / f"{corpus.name}-{n}") for n in counts]


def measure(corpus: Corpus, options: argparse.Namespace, scratch: Path) -> tuple[Table, Table]:
    """What each size takes, and the lines through them."""
    jobs = jobs_of(corpus, options, scratch)
    field = []
    for job in jobs:
        field.append([limit(job, fsync=False)])
        field[-1] += ours(job, expected(job.source), workers=options.workers, compress=("none",), fsync=False)
    everyone = [one for some in field for one in some]
    touch = jobs[-1].chunks * CHUNK + 2**27
    measured = run_rounds(everyone, rounds=options.rounds, touch_bytes=touch)
    by_name: dict[str, list[Measured]] = {}
    for one in measured:
        by_name.setdefault(one.name, []).append(one)
    return sizes_table(jobs, by_name), lines_table(jobs, by_name)


def sizes_table(jobs: Sequence[Job], by_name: dict[str, list[Measured]]) -> Table:
    """Seconds and memory at every size."""
    columns = ("", "recordings", "MB", "seconds (min–max)", "inside", "MB of memory: all", "parent", "worker")
    result = Table(f"{jobs[0].corpus.name}, sizes", "Memory as in the table of builds.", columns)
    for name, some in by_name.items():
        for job, one in zip(jobs, some, strict=True):
            memory = (one.memory.tree, one.memory.parent, one.memory.worker) if one.memory else (None, None, None)
            size = (f"{job.recordings:,}", number(job.source_bytes / 1e6, 0))
            seconds = (one.refused or spread(one.seconds, 3), number(median(one.inside), 3))
            result.rows.append((name, *size, *seconds, *(number(mb, 0) for mb in memory)))
    result.data = {
        "corpus": jobs[0].corpus.name,
        "recordings": [job.recordings for job in jobs],
        "source_bytes": [job.source_bytes for job in jobs],
        "builds": {name: [tables.measured_data(one) for one in some] for name, some in by_name.items()},
    }
    return result


def lines_table(jobs: Sequence[Job], by_name: dict[str, list[Measured]]) -> Table:
    """The line through the medians of each contender, by gigabytes and by recordings."""
    columns = ("", "s a GB", "ms a thousand recordings", "s before anything", "worst point off by")
    result = Table(f"{jobs[0].corpus.name}, lines", "Of the medians of whole processes.", columns)
    lines = {}
    for name, some in by_name.items():
        y = [median(one.seconds) for one in some]
        if None in y:
            result.rows.append((name, "–", "–", "–", next(one.refused for one in some if one.refused)))
            continue
        seconds = [value or 0.0 for value in y]
        line = fit([job.recordings for job in jobs], seconds)
        gigabytes = jobs[-1].source_bytes / 1e9 / jobs[-1].recordings
        slopes = (number(line.slope / gigabytes, 3), number(line.slope * 1e6, 1))
        result.rows.append((name, *slopes, number(line.intercept, 3), f"{line.worst:.1%}"))
        lines[name] = {
            "s_per_recording": line.slope,
            "s_per_gb": line.slope / gigabytes,
            "intercept_s": line.intercept,
            "worst": line.worst,
        }
    result.data = {"corpus": jobs[0].corpus.name, "lines": lines}
    return result


def main() -> None:
    """Measure and write the tables."""
    arguments = parser(__doc__)
    arguments.add_argument("--workers", default="1,2", help="of audiochunk (default %(default)s)")
    options = arguments.parse_args()
    options.workers = [int(n) for n in options.workers.split(",")]
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="audiochunk-bench-") as scratch:
        found = [table for name in ("big", "small") for table in measure(CORPORA[name], options, Path(scratch))]
    title = f"Growing, {options.rounds} rounds, up to {options.share:g} of the full size"
    tables.write("scaling", title, found, out=options.out)


if __name__ == "__main__":
    main()
