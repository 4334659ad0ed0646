"""What a piece of work costs the process that does it: seconds, and memory without the pages of files."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

SAMPLE_S = 0.01


def memory_mb() -> float:
    """Memory of this process, without the pages of files."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) / 1e3


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The most memory in MB, as the only element, when it is over."""
    found, stop = [memory_mb()], Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_S):
            found[0] = max(found[0], memory_mb())

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        found[0] = max(found[0], memory_mb())


class Log:
    """What was done, what it took and what it left."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def measure(self, what: str, work: Callable[[], Any]) -> Any:
        """What the work gives."""
        with peak_memory() as peak:
            began, began_cpu = time.perf_counter(), time.process_time()
            result = work()
            seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        left = memory_mb()
        self.steps.append(
            {
                "what": what,
                "seconds": seconds,
                "cpu_seconds": cpu,
                "memory_mb": left,
                "peak_mb": max(left, peak[0]),
            }
        )
        return result
