"""Builds over real recordings that are killed at any moment, and gone on with."""

import math
import multiprocessing
import multiprocessing.forkserver
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.pipeline import run
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.watcher import Watcher
from audiochunk.tools.verify import verify
from tests.waiting import LONG_S, wait_for_the_group, wait_until

ROOT = Path(audiochunk.__file__).parents[1]
OPTIONS = ["--on-error", "skip", "--shard-size", "200KiB", "--split", "train=0.8,val=0.2", "--workers", "2", "-q"]
ROUNDS = 40


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(recordings: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "audiochunk", "build", str(recordings), "--out", str(out), *OPTIONS]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class Moments:
    """When builds are killed: one in four before it begins to work, the others at work, whatever the machine's load."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._start_s = self._work_s = math.inf

    def measure(self, arguments: list[str], out: Path) -> None:
        """Run a build to its end, to know how long the others take."""
        began = time.monotonic()
        process = begin(arguments)
        wait_until_at_work(process, out)
        at_work = time.monotonic()
        assert process.wait() in (0, 3)
        self._start_s, self._work_s = at_work - began, time.monotonic() - at_work

    def kill_one(self, arguments: list[str], out: Path, number: int) -> None:
        """Begin a build and kill its process group."""
        process = begin(arguments)
        if number % 4 == 3:
            time.sleep(self._random.random() * self._start_s)
        else:
            wait_until_at_work(process, out)
            at_work = time.monotonic()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self._random.random() * self._work_s)
                # It was quicker than those before: the next are killed sooner.
                self._work_s = time.monotonic() - at_work
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for_the_group(process.pid)


def begin(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(arguments, env=environment(), start_new_session=True)


def wait_until_at_work(process: subprocess.Popen[bytes], out: Path) -> None:
    while process.poll() is None and not (out / ".build").exists():
        time.sleep(0.001)


def wait_for_a_sight(process: subprocess.Popen[Any], folder: Path, names: str, count: int = 1) -> None:
    """Wait until so many names are in a folder of a build that has far to go."""

    def is_seen() -> bool:
        assert process.poll() is None
        return len(list(folder.glob(names))) >= count if names else folder.exists()

    wait_until(is_seen, f"{count} of {names}")


@pytest.mark.parametrize("compress", ["none", "zstd:6"])
def test_a_build_killed_at_random_moments_ends_as_if_it_had_not_been(
    recordings: Path, tmp_path: Path, compress: str
) -> None:
    """SIGKILL to the whole process group; a manifest that is found between kill and resume is that of the whole."""
    extra = ["--compress", compress]
    moments = Moments(20)
    moments.measure([*command(recordings, tmp_path / "whole"), *extra], tmp_path / "whole")
    expected = files_of(tmp_path / "whole")
    unfinished = 0
    for number in range(ROUNDS // 2):
        out = tmp_path / "out"
        moments.kill_one([*command(recordings, out), *extra], out, number)
        if (out / "manifest.json").exists():
            assert verify(out) == []
            assert expected.items() <= files_of(out).items()
        else:
            unfinished += (out / ".build").exists()
        done = subprocess.run([*command(recordings, out), *extra], env=environment(), capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (3, b""), number
        assert files_of(out) == expected, number
        shutil.rmtree(out)
    assert unfinished >= ROUNDS // 8, "hardly any kill hit a build at work: the moments say nothing"


def test_an_append_killed_at_random_moments_leaves_the_old_dataset_and_ends_as_if_it_had_not_been(
    recordings: Path, tmp_path: Path
) -> None:
    """Half of the real recordings are added to the others; readers, meanwhile, see one dataset or the other."""
    source, aside = tmp_path / "wavs", tmp_path / "aside"
    shutil.copytree(recordings, source)
    later = [path for number, path in enumerate(sorted(source.rglob("*.*"))) if number % 2 and path.is_file()]

    def take_away() -> None:
        for path in later:
            (aside / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(aside / path.relative_to(source))

    def bring_back() -> None:
        for path in later:
            (aside / path.relative_to(source)).rename(path)

    def run_it(arguments: list[str]) -> None:
        done = subprocess.run(arguments, env=environment(), capture_output=True, check=False)
        assert (done.returncode in (0, 3), done.stderr) == (True, b"")

    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "out"
    take_away()
    run_it(command(source, old))
    bring_back()
    shutil.copytree(old, new)
    moments = Moments(21)
    moments.measure([*command(source, new), "--append"], new)
    wanted = {"old": files_of(old), "new": files_of(new)}
    unfinished, seen = 0, {"old": 0, "new": 0}
    for number in range(ROUNDS // 3):
        shutil.copytree(old, out)
        moments.kill_one([*command(source, out), "--append"], out, number)
        which = "new" if (out / "manifest.json").read_bytes() == wanted["new"]["manifest.json"] else "old"
        seen[which] += 1
        unfinished += (out / ".build").exists()
        assert verify(out) == [], number
        assert [len(audiochunk.open(out, split)) for split in ("train", "val")] == [
            len(audiochunk.open(tmp_path / which, split)) for split in ("train", "val")
        ]
        if number % 3:
            run_it([*command(source, out), "--append"])
            assert files_of(out) == wanted["new"], number
        elif which == "old":
            take_away()
            run_it(command(source, out))
            bring_back()
            assert files_of(out) == wanted["old"], number
        shutil.rmtree(out)
    assert unfinished >= ROUNDS // 12, "hardly any kill hit an append at work: the moments say nothing"
    assert seen["old"] >= 3


class KillAWorker(Watcher):
    """Kills one worker process of this build after its first shards, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.killed = 0

    def finished(self, result: ShardResult) -> None:
        workers = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
        if self.left and workers:
            with suppress(ProcessLookupError):  # one that was killed before, and is not known to be gone
                os.kill(workers[0], signal.SIGKILL)
                self.left -= 1
                self.killed += 1


def test_a_build_survives_the_death_of_its_workers(recordings: Path, tmp_path: Path) -> None:
    config = BuildConfig.make(on_error="skip", shard_size="200KiB", compress="zstd:9")
    run.build(recordings, tmp_path / "whole", config, workers=1)
    for times in (1, 3):
        killer = KillAWorker(times)
        run.build(recordings, tmp_path / str(times), config, workers=2, watcher=killer)
        assert killer.killed == times
        assert files_of(tmp_path / str(times)) == files_of(tmp_path / "whole")


def test_no_process_is_left_after_the_parent_is_killed(recordings: Path, tmp_path: Path) -> None:
    arguments = [*command(recordings, tmp_path / "out"), "--compress", "zstd:19", "--workers", "3"]
    process = subprocess.Popen(arguments, env=environment(), start_new_session=True)
    wait_for_a_sight(process, tmp_path / "out" / ".build", "*.zst.json")
    process.kill()
    process.wait()
    wait_for_the_group(process.pid)


@pytest.mark.parametrize("gap_s", [0, 0.02])
@pytest.mark.parametrize(
    ("sight", "count"), [("", 1), ("build.json", 1), ("*.tmp", 1), ("*.zst", 1), ("*.zst.json", 2), ("*.zst.json", 5)]
)
def test_an_interrupt_of_the_whole_group_is_one_line_whenever_it_comes(
    recordings: Path, tmp_path: Path, sight: str, count: int, gap_s: float
) -> None:
    """As Ctrl-C on a terminal does: twice, for the impatient."""
    arguments = [*command(recordings, tmp_path / "out"), "--compress", "zstd:19"]
    process = subprocess.Popen(arguments, env=environment(), start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for_a_sight(process, tmp_path / "out" / ".build", sight, count)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(gap_s)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=LONG_S)
    assert stderr == "audiochunk: interrupted; the same command goes on from the finished shards\n"
    # A second interrupt may come when the interpreter has let go of its handlers: a shell calls that 130, too.
    assert process.returncode in (130, -signal.SIGINT)
    wait_for_the_group(process.pid)


class KillTheForkServer(Watcher):
    """Kills the process that workers are forked from, after the first shard."""

    def __init__(self) -> None:
        self.killed = False

    def finished(self, result: ShardResult) -> None:
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        if server is not None and not self.killed:
            self.killed = True
            os.kill(server, signal.SIGKILL)


def test_a_build_survives_the_death_of_the_fork_server(recordings: Path, tmp_path: Path) -> None:
    config = BuildConfig.make(on_error="skip", shard_size="100KiB", compress="zstd:9")
    run.build(recordings, tmp_path / "whole", config, workers=1)
    killer = KillTheForkServer()
    with ThreadPoolExecutor(1) as another_thread:  # so that workers are not forked from this process
        another_thread.submit(int).result()
        run.build(recordings, tmp_path / "out", config, workers=3, watcher=killer)
    assert killer.killed
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "3"])
def test_no_process_is_left_after_an_interrupt(recordings: Path, tmp_path: Path, number: int, workers: str) -> None:
    arguments = [*command(recordings, tmp_path / "out"), "--compress", "zstd:19", "--workers", workers]
    process = subprocess.Popen(arguments, env=environment(), start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for_a_sight(process, tmp_path / "out" / ".build", "*.zst.json")
    process.send_signal(number)  # to the parent alone, as `kill` and job schedulers do
    _, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    assert "Traceback" not in stderr
    wait_for_the_group(process.pid)
