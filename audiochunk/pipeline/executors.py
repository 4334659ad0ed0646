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
    pool = _start(workers)
    try:
        yield pool
    except BaseException:
        _stop(pool)
        raise
    else:
        pool.shutdown(cancel_futures=True)


def _start(workers: int) -> ProcessPoolExecutor:
    # A copy of this process is there in a tenth of the time, but would copy a lock that another thread holds as it is.
    # A server process that has no threads forks the workers then.
    is_fork = _has_one_thread()
    context: Any = multiprocessing.get_context("fork" if is_fork else "forkserver")
    if not is_fork:
        context.set_forkserver_preload(["audiochunk.pipeline.shards"])
        multiprocessing.resource_tracker.ensure_running()  # now: the server would start it, and it unblocks signals
    # Ctrl-C reaches every process of the terminal; the parent alone decides what it means. The server and all workers
    # inherit the mask, so that there is no moment at which one could be hit, or do what this process does at SIGTERM.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
        with _held_back():
            if not is_fork:
                multiprocessing.forkserver.ensure_running()
            pool.submit(int)  # so that the processes begin here
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pool


def _has_one_thread() -> bool:
    """Whether this process can be told to have no other thread, those of libraries included."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:  # not Linux; on macOS libraries may not be used in a fork
        return False


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
    # What a fork inherits is this process's; a worker ends where it is told to.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
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


class Workers:
    """What tasks are given to: this process, others that begin when they are first needed, or an executor.

    A context manager, which ends the processes; where it is left by an exception, at once.

    Args:
        n: processes on this machine; with one, tasks run in this process.
        executor: what runs the tasks instead; then `n` is how many it has, and nothing is tried again.
    """

    def __init__(self, n: int, executor: Executor | None = None) -> None:
        self.n = n
        self._executor = SerialExecutor() if executor is None and n <= 1 else executor
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and kind is not None:
            _stop(pool)
        elif pool is not None:
            pool.shutdown(cancel_futures=True)

    @property
    def are_processes(self) -> bool:
        """Whether tasks run in processes on this machine that are not this one."""
        return self._executor is None

    def run(
        self,
        fn: Callable[[Task], Result],
        tasks: Iterable[Task],
        *,
        at_most: int | None = None,
        name: Callable[[Task], str] = str,
    ) -> Generator[Result, None, None]:
        """Results as they come, in no particular order, with at most two tasks a worker handed out at any time.

        A worker process that dies takes its pool with it, and the pool cannot tell whose task it was. So each task that
        was handed out is tried once more, alone in a new process; the others go on in a new pool.

        Args:
            fn: a function that can be pickled.
            tasks: its arguments, taken as they are needed.
            at_most: how many tasks there are, where that is known: no more processes than that are begun.
            name: what to call a task in the message about a worker that died of it twice.

        Raises:
            MachineError: a worker died of the same task twice, or the executor broke.
        """
        left = iter(tasks)
        n = self.n if at_most is None else min(self.n, at_most)
        executor = SerialExecutor() if self._executor is None and self._pool is None and n <= 1 else self._executor
        if executor is not None:
            suspects: list[Task] = yield from _run(executor, fn, left, in_flight=2 * self.n)
            if suspects:
                raise MachineError(f"the executor broke while it was at {name(suspects[0])}; the same command goes on")
            return
        try:
            while True:
                self._pool = self._pool or _start(n)
                suspects = yield from _run(self._pool, fn, left, in_flight=2 * self.n)
                if not suspects:
                    return
                self._pool.shutdown(cancel_futures=True)
                self._pool = None
                for task in suspects:
                    yield _alone(fn, task, name)
        except BaseException as error:
            self.__exit__(type(error))
            raise


def _alone(fn: Callable[[Task], Result], task: Task, name: Callable[[Task], str]) -> Result:
    with process_pool(1) as alone:
        try:
            return alone.submit(fn, task).result()
        except _BROKEN as error:
            raise MachineError(
                f"a worker process died twice, for want of memory perhaps, at {name(task)};"
                " the same command goes on from the finished shards"
            ) from error


def run_tasks(
    fn: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    executor: Executor | None = None,
    name: Callable[[Task], str] = str,
) -> Generator[Result, None, None]:
    """What `Workers.run` gives, with workers that end with the last result."""
    with Workers(workers, executor) as all_of_them:
        yield from all_of_them.run(fn, tasks, name=name)


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
