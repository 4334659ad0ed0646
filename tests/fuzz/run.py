"""Fuzz one target with atheris: `python tests/fuzz/run.py TARGET SECONDS`, or `make fuzz SECONDS=60` for all.

A crash is written to `crash-…` in the working folder; each that is found becomes a named test in test_fuzz.py.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["audiochunk"]):
    from targets import TARGETS

from seeds import MAX_BYTES, seeds


def main() -> None:
    """Run libFuzzer for so many seconds from the seeds of a target."""
    target, seconds = sys.argv[1], sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds(target)):
            (Path(folder) / f"seed-{number:04}").write_bytes(seed)
        limits = [
            f"-max_total_time={seconds}",
            f"-max_len={2 * MAX_BYTES}",
            "-timeout=10",
            "-rss_limit_mb=0",
            "-malloc_limit_mb=1024",
        ]
        atheris.Setup([sys.argv[0], *limits, folder], lambda data: TARGETS[target](data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
