"""Who runs the tasks: this process, or a pool of others. Which one never changes a byte."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, TypeVar

from audiochunk.errors import ConfigError, MachineError

# What comes up where a worker dies; and the server, when the next one is to be forked.
_BROKEN = (BrokenExecutor, EOFError, ConnectionError)
_LOOK_S = 0.1  # between two looks whether an interrupt has come

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
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes on this machine, which are ended at once where the block is left by an exception."""
    # A server process that has no threads forks the workers, so that no lock is ever copied in a locked state.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["audiochunk.pipeline.shards"])
    # Ctrl-C reaches every process of the terminal; the parent alone decides what it means. The server and all that it
    # forks inherit the mask, so that there is no moment at which a worker could be hit.
    multiprocessing.resource_tracker.ensure_running()  # now: the server would start it, and it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _held_back():
            multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield pool
    except BaseException:
        _stop(pool)
        raise
    else:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _held_back() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM wait until the end of the block; what came stands in the list.

    A mask would not do: the kernel gives a signal to any thread that has none, numpy's for one, and Python then
    interrupts the main thread all the same.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # Python interrupts the main thread only
        return
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


def refuse_to_run_in_a_worker() -> None:
    """Tell a script that starts a build wherever it is imported what is wrong with that.

    Raises:
        ConfigError: this is a worker process, which is only just importing the script.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "a worker process imported your script, and the script started a build: put the call to"
            ' audiochunk.build() under `if __name__ == "__main__":`'
        )


def _begin_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent does, even by SIGKILL: only one build may write into a folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now, whatever they are at: a task that is cut short leaves only a temporary file."""
    for process in list((pool._processes or {}).values()):
        process.terminate()
    # Waited for, because what is left of a pool complains when the interpreter ends.
    pool.shutdown(wait=True, cancel_futures=True)


def run_tasks(
    fn: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    executor: Executor | None = None,
    name: Callable[[Task], str] = str,
) -> Generator[Result, None, None]:
    """Results as they come, in no particular order, with at most two tasks a worker handed out at any time.

    A worker process that dies takes its pool with it, and the pool cannot tell whose task it was. So each task that was
    handed out is tried once more, alone in a new process; the others go on in a new pool.

    Args:
        fn: a function that can be pickled.
        tasks: its arguments, taken as they are needed.
        workers: processes on this machine; with one, tasks run in this process.
        executor: what runs the tasks instead; then `workers` is how many it has, and nothing is tried again.
        name: what to call a task in the message about a worker that died of it twice.

    Raises:
        MachineError: a worker died of the same task twice, or the executor broke.
    """
    left = iter(tasks)
    if executor is None and workers <= 1:
        executor = SerialExecutor()
    if executor is not None:
        suspects: list[Task] = yield from _run(executor, fn, left, in_flight=2 * workers)
        if suspects:
            raise MachineError(f"the executor broke while it was at {name(suspects[0])}; the same command goes on")
        return
    while True:
        with process_pool(workers) as pool:
            suspects = yield from _run(pool, fn, left, in_flight=2 * workers)
        if not suspects:
            return
        for task in suspects:
            with process_pool(1) as alone:
                try:
                    yield alone.submit(fn, task).result()
                except _BROKEN as error:
                    raise MachineError(
                        f"a worker process died twice, for want of memory perhaps, at {name(task)};"
                        " the same command goes on from the finished shards"
                    ) from error


def _run(
    executor: Executor, fn: Callable[[Task], Result], tasks: Iterator[Task], *, in_flight: int
) -> Generator[Result, None, list[Task]]:
    """Yield results until there are no more tasks, or the executor broke; return the tasks that it broke with."""
    running: dict[Future[Result], Task] = {}
    suspects: list[Task] = []
    # An interrupt within an executor may leave a process that it does not know of, or a lock that nobody releases.
    # Tasks that run here are interrupted where they are.
    while not suspects:
        done: set[Future[Result]] = set()
        with nullcontext(list[int]()) if isinstance(executor, SerialExecutor) else _held_back() as came:
            for task in islice(tasks, in_flight - len(running)):
                try:
                    running[executor.submit(fn, task)] = task
                except _BROKEN:
                    suspects.append(task)
                    break
            while running and not done and not came:
                done, _ = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        if not running:
            break
        for future in done:
            task = running.pop(future)
            if isinstance(future.exception(), _BROKEN):
                suspects.append(task)
            else:
                yield future.result()
    # A broken executor ends everything that it has; what was done before that is as good as ever.
    for future, task in running.items():
        if isinstance(future.exception(), _BROKEN):
            suspects.append(task)
        else:
            yield future.result()
    return suspects
