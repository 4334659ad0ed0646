"""Who runs the tasks: this process, or a pool of others. Which one never changes a byte."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from audiochunk.errors import ConfigError, MachineError

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SerialExecutor(Executor):
    """Runs each task in the calling thread when it is submitted."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """A future that is done."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the result is asked for
            future.set_exception(error)
        return future


@contextmanager
def local_executor(workers: int) -> Iterator[Executor]:
    """An executor for so many workers on this machine; with one, tasks run in this process.

    Raises:
        ConfigError: a script calls for workers while it is itself being imported by one.
    """
    if workers <= 1:
        yield SerialExecutor()
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "a worker process imported your script, and the script started a build: put the call to"
            ' audiochunk.build() under `if __name__ == "__main__":`'
        )
    # A server process that has no threads forks the workers, so that no lock is ever copied in a locked state.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["audiochunk.pipeline.shards"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield pool
    except BaseException:
        _stop(pool)
        raise
    else:
        pool.shutdown()


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now, whatever they are at: a task that is cut short leaves only a temporary file."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def run_tasks(
    executor: Executor, fn: Callable[[Task], Result], tasks: Iterable[Task], *, in_flight: int
) -> Iterator[Result]:
    """Results as they come, in no particular order, with at most `in_flight` tasks handed out at any time.

    Raises:
        MachineError: a worker process died.
    """
    waiting: set[Future[Result]] = set()
    try:
        for task in tasks:
            waiting.add(executor.submit(fn, task))
            if len(waiting) >= in_flight:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise MachineError(
            "a worker process died, for want of memory perhaps; the same command goes on from the finished shards"
        ) from error
