"""Schedulers and workers of Dask as processes of their own, which end with the test."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import audiochunk
from tests.waiting import LONG_S, wait_until

ROOT = Path(audiochunk.__file__).parents[1]

# Loaded into a worker: after so many shards it waits in the middle of the next one, which is written but has no name.
GATE = """
import os, time

def dask_setup(worker):
    from audiochunk.pipeline import shards

    write, left = shards._write, [{after}]

    def write_and_wait(task, file):
        written = write(task, file)
        left[0] -= 1
        if left[0] < 0:
            open({folder!r} + "/waits-" + str(os.getpid()), "a").close()
            while not os.path.exists({folder!r} + "/go"):
                time.sleep(0.01)
        return written

    shards._write = write_and_wait
"""

# Loaded into a worker: one folder is seen where another one is.
MOUNT = """
import io, os

def dask_setup(worker):
    def wrap(call):
        def there(path, *args, **kwargs):
            name = path if isinstance(path, int) else os.fsdecode(path)
            is_there = not isinstance(path, int) and name.startswith({old!r})
            return call(name.replace({old!r}, {new!r}, 1) if is_there else path, *args, **kwargs)
        return there

    for module, name in ((os, "listdir"), (os, "open"), (os, "replace"), (os, "unlink"), (io, "open")):
        setattr(module, name, wrap(getattr(module, name)))
"""


class Cluster:
    """A scheduler and its workers.

    Attributes:
        address: host:port of the scheduler.
        scheduler: its process.
    """

    def __init__(self, folder: Path, **config: str) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / f"scheduler-{os.urandom(4).hex()}.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", os.fspath(file)]
        self.scheduler = self._start("scheduler", options, **config)
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), "a scheduler")
        self.address = json.loads(file.read_text())["address"].removeprefix("tcp://")

    def worker(self, *preloads: str, threads: int = 1, package: Path = ROOT) -> subprocess.Popen[bytes]:
        """A worker that the scheduler knows, which first runs the preloads."""
        options = [f"tcp://{self.address}", "--nthreads", str(threads), "--no-nanny", "--no-dashboard"]
        for text in preloads:
            file = self._folder / f"preload_{os.urandom(4).hex()}.py"
            file.write_text(text)
            options += ["--preload", os.fspath(file)]
        process = self._start("worker", options, package=package)
        log = self._folder / f"log-{len(self._processes)}"
        wait_until(lambda: b"Registered to:" in log.read_bytes() or process.poll() is not None, "a worker")
        assert process.poll() is None, log.read_text()
        return process

    def gated(self, gate: Path, *, after: int) -> subprocess.Popen[bytes]:
        """A worker that makes so many shards and then waits in the next one until there is a file "go" in a folder."""
        gate.mkdir(exist_ok=True)
        return self.worker(GATE.format(folder=os.fspath(gate), after=after))

    def n_tasks(self) -> int:
        """Tasks that the scheduler has."""
        return int(self._ask("len(dask_scheduler.tasks)"))

    def give_up(self, worker: subprocess.Popen[bytes]) -> None:
        """Have the scheduler do what it does where it has not heard from a worker for long: as if it were gone."""
        log = self._folder / f"log-{self._processes.index(worker) + 1}"
        (address,) = re.findall(r"Start worker at: +(\S+)", log.read_text())
        self._ask(f"await dask_scheduler.remove_worker({address!r}, stimulus_id='silent')")

    def _ask(self, what: str) -> str:
        """What an expression is on the scheduler."""
        script = (
            "from distributed import Client\n"
            f"async def ask(dask_scheduler):\n    return {what}\n"
            f"with Client('tcp://{self.address}', set_as_default=False, timeout={LONG_S}) as client:\n"
            "    print(client.run_on_scheduler(ask))\n"
        )
        return subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout

    def end(self) -> None:
        """Kill all of it."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def _start(self, kind: str, options: list[str], *, package: Path = ROOT, **config: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.fspath(package), **config}
        with (self._folder / f"log-{len(self._processes) + 1}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process
