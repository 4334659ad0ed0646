"""What it costs to begin: imports, the version, and a build so small that nothing else counts.

python benchmarks/startup.py --rounds 20
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import tables
from arguments import parser
from contenders import Job, checker, expected, in_dataset
from corpora import CORPORA, make
from rounds import Contender, median, run_rounds
from tables import Table, number, spread

RECORDINGS = 10


def imports(code: str) -> Contender:
    """A Python that does no more than this."""
    return Contender(f'`python -c "{code}"`', [sys.executable, "-c", code])


def script() -> Path:
    """The command as it is installed beside the interpreter."""
    return Path(sys.executable).with_name("audiochunk")


def field_of(job: Job) -> list[Contender]:
    """Everything that is begun, the cheapest first."""
    want = expected(job.source)
    out = job.out / "dataset"
    build: list[str | Path] = [script(), "build", job.source, "--out", out, "--no-fsync", "-q"]
    return [
        imports("pass"),
        imports("import click"),
        imports("import audiochunk"),
        Contender("`audiochunk --version`", [script(), "--version"]),
        imports("import numpy"),
        imports("import numpy, soundfile"),
        Contender(f"build of {RECORDINGS} small recordings", build, out, checker(want, in_dataset)),
        Contender("the same, 1 worker", [*build, "--workers", "1"], out, checker(want, in_dataset)),
    ]


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__).parse_args()
    if not script().exists():
        raise SystemExit(f"{script()} is missing: pip install -e . in the environment of this Python")
    # Nobody starts with modules that were never compiled.
    subprocess.run([script(), "build", "--help"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="audiochunk-bench-") as scratch:
        source = make(CORPORA["small"], options.corpora, recordings=RECORDINGS)
        field = field_of(Job(CORPORA["small"], source, RECORDINGS, Path(scratch)))
        measured = run_rounds(field, rounds=options.rounds)
    click = median(measured[1].seconds) or 0.0
    result = Table(
        "start-up",
        "Whole processes. Besides click: median seconds less those of `import click`.",
        ("", "ms (min–max)", "ms besides click", "times click", "MB"),
    )
    for one in measured:
        ms = [1000 * seconds for seconds in one.seconds]
        besides = 1000 * ((median(one.seconds) or click) - click)
        memory = one.memory.tree if one.memory else None
        times = (median(one.seconds) or click) / click if click else 0.0
        result.rows.append(
            (one.name, one.refused or spread(ms, 0), number(besides, 0), number(times), number(memory, 0))
        )
    result.data = {"rows": [tables.measured_data(one) for one in measured]}
    tables.write("startup", f"Starting, {options.rounds} rounds", [result], out=options.out)


if __name__ == "__main__":
    main()
