"""How fast a build is, beside the least that any build has to do.

    python benchmarks/build.py --minutes 30

The limit is one process that reads every byte of the recordings into a reused buffer and writes as many bytes as the
dataset has, in files as large as the shards, parsing and converting nothing. All are run as whole processes, in turn,
with the page cache warm, and without fsync; given are medians of the seconds, their range, and the median of the ratios
of each round.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 44_100
RECORDING_S = 60
LIMIT = """
import os, sys
source, out, shard = sys.argv[1], sys.argv[2], 32 * 2**20
buffer = memoryview(bytearray(2**20))
written, target = 0, None
for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
    fd = os.open(entry.path, os.O_RDONLY)
    while n := os.readv(fd, [buffer]):
        if target is None or written + n // 2 > shard:
            if target is not None:
                os.close(target)
            target = os.open(f"{out}-{entry.name}-{written}", os.O_WRONLY | os.O_CREAT, 0o644)
            written = 0
        written += os.write(target, buffer[: n // 2])
    os.close(fd)
"""


def write_corpus(folder: Path, minutes: int) -> int:
    """Stereo 16-bit recordings of decaying harmonics over coloured noise at -12 dBFS; returns their bytes."""
    t = np.arange(RATE * RECORDING_S) / RATE
    for number in range(max(1, minutes * 60 // RECORDING_S)):
        rng = np.random.Generator(np.random.PCG64(number))
        channels = []
        for _ in range(2):
            tones = sum(np.sin(2 * np.pi * f * t) / k for k, f in enumerate(110 * (1 + rng.random(5) * 8), 1))
            noise = np.convolve(rng.standard_normal(t.size), np.ones(8) / 8, "same")
            wave = tones * np.exp(-(t % 2) * 2) + noise / 20
            channels.append(wave / np.abs(wave).max() * 10 ** (-12 / 20))
        samples = np.rint(np.stack(channels, 1) * 2**15).astype(np.int16)
        sf.write(folder / f"{number:04}.wav", samples, RATE, subtype="PCM_16")
    return sum(file.stat().st_size for file in folder.iterdir())


def seconds_of(command: list[str]) -> float:
    """Wall time of a whole process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Make the corpus, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=int, default=30, help="of audio; 10.6 MB each")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "wavs", Path(folder) / "out"
        source.mkdir()
        size = write_corpus(source, options.minutes)
        build = [sys.executable, "-m", "audiochunk", "build", str(source), "--out", str(out / "d"), "--no-fsync", "-q"]
        contenders = {
            "limit": [sys.executable, "-c", LIMIT, str(source), str(out / "limit")],
            "audiochunk, 1 worker": [*build, "--workers", "1"],
            "audiochunk, 2 workers": [*build, "--workers", "2"],
            "audiochunk, 2 workers, zstd": [*build, "--workers", "2", "--compress", "zstd"],
        }
        took: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(options.rounds + 1):
            for name, command in contenders.items():
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                seconds = seconds_of(command)
                if number:  # the first round warms the cache
                    took[name].append(seconds)
    print(
        f"{size / 1e6:,.0f} MB of 44.1 kHz stereo 16-bit WAV, {options.rounds} rounds, Python {sys.version.split()[0]}"
    )
    print("\n| | seconds (min to max) | of the limit |\n| --- | --- | --- |")
    for name, seconds_each in took.items():
        ratio = statistics.median(a / b for a, b in zip(took["limit"], seconds_each, strict=True))
        median, low, high = statistics.median(seconds_each), min(seconds_each), max(seconds_each)
        print(f"| {name} | {median:.2f} ({low:.2f} to {high:.2f}) | {ratio:.2f} |")


if __name__ == "__main__":
    main()
