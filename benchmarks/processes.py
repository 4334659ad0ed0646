"""Running a command as a whole process: how long it takes, and how much memory it and its children need."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Command = Sequence[str | os.PathLike[str]]
_SAMPLE_S = 0.004


class CommandError(Exception):
    """A command that failed, with the last lines of what it said."""


@dataclass(frozen=True)
class Memory:
    """Peaks in MB of a command and all its children.

    Attributes:
        tree: sum over all processes of their proportional share (Pss), sampled.
        parent: resident set of the command itself (VmHWM, which the kernel keeps).
        worker: resident set of its largest child; 0 without children.
    """

    tree: float
    parent: float
    worker: float


@dataclass(frozen=True)
class Run:
    """One run of a command.

    Attributes:
        seconds: wall time from before it starts until after it ended.
        inside: seconds by its own clock, without start-up; None if it does not say.
        said: what it printed as JSON.
    """

    seconds: float
    inside: float | None
    said: dict[str, object]
    memory: Memory | None = None


def _kilobytes(path: str, key: bytes) -> int:
    """A number out of a file of /proc; 0 if the process is gone."""
    try:
        with open(path, "rb") as file:
            found = next((line for line in file if line.startswith(key)), None)
    except OSError:
        return 0
    return int(found.split()[1]) if found else 0


def _children(pid: int) -> list[int]:
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


@dataclass
class MemoryWatch:
    """Samples the memory of a process and its children until it is stopped."""

    pid: int
    tree_kb: int = 0
    peaks_kb: dict[int, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> "MemoryWatch":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.is_set():
            began = time.perf_counter()
            waiting, total = [self.pid], 0
            while waiting:
                pid = waiting.pop()
                waiting += _children(pid)
                total += _kilobytes(f"/proc/{pid}/smaps_rollup", b"Pss:")
                peak = _kilobytes(f"/proc/{pid}/status", b"VmHWM:")
                self.peaks_kb[pid] = max(peak, self.peaks_kb.get(pid, 0))
            self.tree_kb = max(self.tree_kb, total)
            # Looking costs the watched process time where it has mapped much: never look half of the time.
            self._stop.wait(max(_SAMPLE_S, 2 * (time.perf_counter() - began)))

    def stop(self) -> Memory:
        self._stop.set()
        self._thread.join()
        parent = self.peaks_kb.pop(self.pid, 0)
        return Memory(self.tree_kb / 1e3, parent / 1e3, max(self.peaks_kb.values(), default=0) / 1e3)


def touch_memory(n_bytes: int) -> None:
    """Have that much memory at hand: in a virtual machine the first touch of a page may be slow."""
    np.empty(n_bytes, np.uint8)[::4096] = 1


def _json_in(text: str) -> dict[str, object]:
    """What a command said: all of it, or its last line, if that is a JSON object."""
    for candidate in (text, *text.splitlines()[-1:]):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}


def run(command: Command, *, watch_memory: bool = False) -> Run:
    """Run a command to its end.

    Raises:
        CommandError: it failed.
    """
    # Files and not pipes: nobody has to be awake to empty them.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=complained)
        watch = MemoryWatch(process.pid).start() if watch_memory else None
        process.wait()
        seconds = time.perf_counter() - began
        memory = watch.stop() if watch else None
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            last = " / ".join((complained.read().strip() or said.read().strip()).splitlines()[-3:])
            raise CommandError(f"{Path(command[0]).name} … ended with {process.returncode}: {last[-400:]}")
        answer = _json_in(said.read())
    inside = answer.get("seconds")
    return Run(seconds, float(inside) if isinstance(inside, (int, float)) else None, answer, memory)
