"""How fast a build is, beside the least that any build has to do, beside what people do now, and beside the peers.

    python benchmarks/build.py --share 0.1 --rounds 5
    python benchmarks/build.py --share 1 --corpus big --fsync off --only audiochunk
    python benchmarks/build.py --share 1 --peers-python /tmp/peers/bin/python

All contenders are whole processes that run in turn with the page cache warm, each on all of the recordings and on a
quarter of them. The limit is one process that reads every byte of the recordings and writes as many as the dataset
has uncompressed, parsing and converting nothing.

Of the limit: the median over the rounds of limit / contender. Inside: by the contenders' own clocks, after their
imports. Marginal: the same of the additional seconds for all instead of a quarter, so that start-up does not count.
Of decoding: beside as many processes that only let libsndfile decode. Builds that fsync stand beside a limit that
does, and never beside anything that does not.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tables
from arguments import parser
from contenders import CHUNK, LIMIT, Job, decoders, expected, limit, ours, own_scripts, peers
from corpora import CORPORA, Corpus, make
from rounds import Contender, Measured, marginal, median, progress, ratio, run_rounds
from tables import Table, number, spread

NOTE = (
    "Memory in MB, of the run that is not timed: *all* is the largest sum over the process and its children of their "
    "proportional shares (Pss, sampled); *parent* and *worker* are the largest resident sets of one process (VmHWM), "
    "shared pages and those of mapped files included."
)
COLUMNS = ("", "seconds (min–max)", "inside", "of the limit", "inside", "marginal", "MB: all", "parent", "worker")


@dataclass(frozen=True)
class Options:
    """What to measure; `--help` explains each."""

    share: float
    rounds: int
    peer_rounds: int
    workers: tuple[int, ...]
    compress: tuple[str, ...]
    only: tuple[str, ...]
    python: str
    corpora: Path
    marginal: bool

    def wants(self, contender: Contender) -> bool:
        return not self.only or contender.name == LIMIT or any(word in contender.name for word in self.only)


def field_of(job: Job, options: Options, *, fsync: bool, small: bool) -> list[Contender]:
    """Everyone who builds a job; the peers only the large one, and nobody who does not fsync beside those who do."""
    progress(f"what {job.source.name} should give")
    want = expected(job.source)
    field = [limit(job, fsync=fsync)]
    field += ours(job, want, workers=options.workers, compress=options.compress, fsync=fsync)
    if not fsync:
        if job.corpus.suffix == ".flac":
            field += decoders(job, workers=options.workers)
        field += own_scripts(job, want)
        if not small:
            field += peers(job, want, python=options.python, workers=2, max_rounds=options.peer_rounds)
    return [contender for contender in field if options.wants(contender)]


def measure(corpus: Corpus, options: Options, *, fsync: bool, scratch: Path) -> Table:
    """All contenders on one corpus."""
    recordings = corpus.part(options.share)
    counts = [recordings, max(1, recordings // 4)] if options.marginal else [recordings]
    jobs, fields = [], []
    for count in counts:
        progress(f"making {count} recordings of {corpus.name}")
        source = make(corpus, options.corpora, recordings=count)
        jobs.append(Job(corpus, source, count, scratch / f"from-{count}"))
        fields.append(field_of(jobs[-1], options, fsync=fsync, small=len(jobs) > 1))
    everyone = [one for field in fields for one in field]
    touch = jobs[0].chunks * CHUNK + 2**27
    measured = run_rounds(everyone, rounds=options.rounds, touch_bytes=touch, sync=fsync)
    large, small = measured[: len(fields[0])], measured[len(fields[0]) :]
    return table(jobs[0], large, {one.name: one for one in small}, fsync=fsync)


def table(job: Job, large: Sequence[Measured], small: dict[str, Measured], *, fsync: bool) -> Table:
    """The results as rows; `small`, the same contenders on a quarter, may lack any."""
    corpus = job.corpus
    limit_large = next(one for one in large if one.name == LIMIT)
    decoding = {_processes(one): one for one in large if one.name.startswith("libsndfile")}
    note = (
        f"{job.recordings:,} recordings of {corpus.seconds:g} s, {job.source_bytes / 1e6:,.0f} MB of "
        f"{corpus.suffix[1:].upper()}, {corpus.rate / 1000:g} kHz, {corpus.channels} channel(s), {corpus.bits}-bit; "
        f"{job.chunks:,} chunks. {NOTE}"
    )
    columns = [*COLUMNS, "of decoding", "inside"] if decoding else list(COLUMNS)
    result = Table(f"{corpus.name}, {'fsync' if fsync else 'no fsync'}", note, columns)
    data = []
    for one in large:
        quarter, alone = small.get(one.name), decoding.get(_processes(one))
        fractions = {
            "of_limit": ratio(limit_large.seconds, one.seconds),
            "of_limit_inside": ratio(limit_large.inside, one.inside),
            "marginal": marginal((small[LIMIT], limit_large), (quarter, one)) if quarter else None,
            "of_decoding": ratio(alone.seconds, one.seconds) if alone else None,
            "of_decoding_inside": ratio(alone.inside, one.inside) if alone else None,
        }
        memory = (one.memory.tree, one.memory.parent, one.memory.worker) if one.memory else (None, None, None)
        row = [one.name, one.refused or spread(one.seconds), number(median(one.inside))]
        row += [number(fractions[name]) for name in ("of_limit", "of_limit_inside", "marginal")]
        row += [number(mb, 0) for mb in memory]
        if decoding:
            row += [number(fractions["of_decoding"]), number(fractions["of_decoding_inside"])]
        result.rows.append(row)
        data.append({**tables.measured_data(one), **fractions})
        if quarter:
            data[-1]["quarter"] = tables.measured_data(quarter)
    result.data = {
        "corpus": corpus.name,
        "fsync": fsync,
        "recordings": job.recordings,
        "source_bytes": job.source_bytes,
        "chunks": job.chunks,
        "rows": data,
    }
    return result


def _processes(one: Measured) -> str:
    """How many processes audiochunk or a decoder has, out of its name; empty for others."""
    return one.name.split(", ")[1].split()[0] if one.name.startswith(("audiochunk", "libsndfile")) else ""


def parse() -> tuple[argparse.Namespace, Options]:
    """The command line."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--corpus", action="append", choices=CORPORA, help="which to build; all unless given; repeatable")
    add("--peer-rounds", type=int, default=3, help="rounds that peers take part in (default %(default)s)")
    add("--fsync", choices=("on", "off", "both"), default="both", help="which builds (default %(default)s)")
    add("--workers", default="1,2", help="of audiochunk (default %(default)s)")
    add("--compress", default="none,zstd", help="of audiochunk (default %(default)s)")
    add("--only", action="append", default=[], help="contenders with this in their names, and the limit; repeatable")
    add("--no-marginal", action="store_true", help="leave out the builds of a quarter")
    given = arguments.parse_args()
    return given, Options(
        share=given.share,
        rounds=given.rounds,
        peer_rounds=given.peer_rounds,
        workers=tuple(int(n) for n in given.workers.split(",")),
        compress=tuple(given.compress.split(",")),
        only=tuple(given.only),
        python=given.peers_python,
        corpora=given.corpora,
        marginal=not given.no_marginal,
    )


def main() -> None:
    """Measure and write the tables."""
    given, options = parse()
    columns = {"on": [True], "off": [False], "both": [False, True]}[given.fsync]
    with tempfile.TemporaryDirectory(dir=given.scratch, prefix="audiochunk-bench-") as scratch:
        found = [
            measure(CORPORA[name], options, fsync=fsync, scratch=Path(scratch))
            for fsync in columns
            for name in given.corpus or CORPORA
        ]
    title = f"Building, {options.rounds} rounds, {options.share:g} of the full size"
    tables.write("build", title, found, out=given.out)


if __name__ == "__main__":
    main()
