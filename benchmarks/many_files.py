"""What a build of many recordings costs the process that plans and seals it.

    python benchmarks/many_files.py
    python benchmarks/many_files.py --recordings 1_000_000 10_000_000 --shards 10_000 100_000 --files 200_000

First without files: recordings are made up where a build would have opened them, and shards are holes behind a header
where a build would have encoded them. All else is as in a build, in one process: the plan, the tasks, the records, the
recordings table, the seal, and a plan that is kept for job arrays and read by a task. Then with as many real WAV files
of one chunk as are asked for, by as many workers as there are CPUs; memory is that of the process that plans. Given are
seconds, of the clock and of the processor, and the most memory in use meanwhile, without the pages of files that are
mapped.
"""

import argparse
import json
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import processes
import tables
from memory import Log
from tables import Table, number

from audiochunk.config import BuildConfig
from audiochunk.pipeline import build_folder, executors, prepare, run
from audiochunk.pipeline.array import saved_plan
from audiochunk.pipeline.cluster import elsewhere
from audiochunk.pipeline.failures import Failures
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask, record_path
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.wav import WavForm
from audiochunk.storage.files import write_whole
from audiochunk.storage.shard import DATA_OFFSET, ShardSpec

RATE = 16_000
CHUNKS = 20  # of the longest recording; the shortest has half
FRAMES = 2048  # of a real file
AT_ONCE = 2000  # files in a folder
FORM = WavForm("int", 2, False, 44)


def recordings(n: int) -> Iterator[Scanned]:
    """Made up, in path order: speech of one to three seconds."""
    chunk = BuildConfig().encoding.codes_per_chunk
    for i in range(n):
        frames = (CHUNKS - i * 7 % (CHUNKS // 2)) * chunk + i * 997 % chunk
        path = f"speaker-{i // 5000:05}/chapter-{i // 50 % 100:03}/utterance-{i:08}.wav"
        yield Scanned(path.encode(), 44 + 2 * frames, 10**18 + 997 * i, AudioInfo(RATE, 1, frames, "PCM_16", FORM))


def make_shard(task: ShardTask, *, fsync: bool) -> ShardResult:
    """A shard whose chunks take no room on the disk. Its digest is only as long as one."""
    del fsync
    folder = Path(task.folder.decode())
    chunks = sum(part.chunks for part in task.parts)
    spec = ShardSpec(task.split, task.index, chunks, task.encoding)
    with (folder / task.name).open("wb") as file:
        file.write(spec.header())
        file.truncate(DATA_OFFSET + spec.data_bytes)
    fingerprint = task.fingerprint
    record = ShardRecord(fingerprint, chunks, DATA_OFFSET + spec.data_bytes, fingerprint, fingerprint)
    write_whole(record_path(folder, task.name), json.dumps({"chunks": chunks}).encode(), fsync=False)
    return ShardResult(task.split, task.index, record)


def without_files(folder: Path, n_recordings: int, n_shards: int) -> list[dict[str, Any]]:
    """A build of recordings that are made up."""
    log = Log()
    chunks = sum(CHUNKS - i * 7 % (CHUNKS // 2) for i in range(10)) * n_recordings // 10
    config = BuildConfig.make(split="train=0.98,val=0.02", shard_size=chunks // n_shards * 2048)
    with (
        mock.patch.object(prepare, "scan", return_value=recordings(n_recordings)),
        mock.patch.object(elsewhere, "build_shard", make_shard),
    ):
        planned = log.measure("scan and plan", lambda: prepare.make_plan(folder, config))
        out = folder / "shards"
        with build_folder.entered(out, config, fsync=False) as (work, _):
            saved = saved_plan.SavedPlan(planned, b"/recordings")
            log.measure("keep the plan for job arrays", lambda: saved.write(work))
            size = (work / saved_plan.PLAN).stat().st_size
            log.measure("a task's shards, one of a thousand", lambda: read_task(work))
            build_folder.take_back_plan(work)

            def build() -> run.Built:
                with executors.Workers(1) as workers:
                    failures = Failures(work, config.encoding)
                    return run.make_and_seal(
                        b"/recordings", out, planned, workers, failures=failures, fsync=False, watcher=run.Watcher()
                    )

            built = log.measure("tasks, table and seal", build)
    if len(built.manifest.shards) < n_shards:
        raise SystemExit(f"{len(built.manifest.shards):,} shards")
    log.steps.append({"what": "the plan's file", "bytes": size})
    return log.steps


def read_task(work: Path) -> int:
    """What a task of a job array reads."""
    with saved_plan.SavedPlan.opened(work) as saved:
        shards = saved.plan.shards
        return sum(len(shards[n].parts) for n in range(0, len(shards), 1000))


def with_files(folder: Path, n_files: int) -> list[dict[str, Any]]:
    """A build of real files."""
    source = folder / "wavs"
    noise = np.random.Generator(np.random.PCG64(1)).integers(-(2**12), 2**12, n_files + FRAMES, np.int16)
    for i in range(n_files):
        if not i % AT_ONCE:
            (source / f"{i // AT_ONCE:05}").mkdir(parents=True)
        with wave.open(str(source / f"{i // AT_ONCE:05}" / f"{i:08}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, FRAMES, "NONE", ""))
            file.writeframes(noise[i : i + FRAMES].tobytes())
    log, config = Log(), BuildConfig.make(split="train=0.98,val=0.02", shard_size=2**22)
    log.measure("build, the first time", lambda: run.build(source, folder / "shards", config, fsync=False))
    log.measure("find it up to date", lambda: run.build(source, folder / "shards", config, fsync=False))
    return log.steps


PARTS = {"without": without_files, "with": with_files}


def measured(part: str, folder: Path, *sizes: int) -> list[dict[str, Any]]:
    """The steps of a part, done in a process of its own and an empty folder."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, Path(__file__), "--part", part, "--folder", scratch, "--sizes", *map(str, sizes)]
        try:
            return processes.run(command).said["steps"]  # type: ignore[return-value]
        except processes.CommandError as error:
            sys.exit(f"many_files: {error}")


def table(caption: str, note: str, steps: list[dict[str, Any]]) -> Table:
    """The steps of a part."""
    made = Table(caption, note, ["", "seconds", "of the processor", "MB of memory at most"])
    for step in steps:
        values = (number(step["seconds"]), number(step["cpu_seconds"]), number(step["peak_mb"], 0))
        made.rows.append((step["what"], *values))
    made.data = {"steps": steps}
    return made


def main() -> None:
    """Measure, print tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--recordings", type=int, nargs="+", default=[100_000, 1_000_000], help="how many, made up; several times")
    add("--shards", type=int, nargs="+", default=[1000, 10_000], help="how many, for each number of recordings")
    add("--files", type=int, default=20_000, help="how many real files (default %(default)s)")
    add("--folder", type=Path, help="where to make the files (default: the folder for temporary ones)")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for Markdown and JSON")
    add("--part", choices=PARTS, help=argparse.SUPPRESS)
    add("--sizes", type=int, nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is not None:
        print(json.dumps({"steps": PARTS[given.part](given.folder, *given.sizes)}))
        return
    if len(given.recordings) != len(given.shards) or min(*given.recordings, *given.shards) < 1 or given.files < 0:
        parser.error("--recordings and --shards are as many numbers each, above 0")
    folder = given.folder or Path(tempfile.gettempdir())
    made = []
    for n_recordings, n_shards in zip(given.recordings, given.shards, strict=True):
        steps = measured("without", folder, n_recordings, n_shards)
        size = steps.pop()["bytes"]
        note = f"The plan's file has {size / 1e6:,.1f} MB."
        made.append(table(f"{n_recordings:,} recordings that are made up, in {n_shards:,} shards", note, steps))
    if given.files:
        n_bytes = 44 + 2 * FRAMES
        made.append(table(f"{given.files:,} files of {n_bytes:,} bytes", "", measured("with", folder, given.files)))
    tables.write("many_files", "Builds of many recordings", made, out=given.out)


if __name__ == "__main__":
    main()
