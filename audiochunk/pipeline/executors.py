"""Who runs the tasks: this process, or a pool of others. Which one never changes a byte."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from audiochunk.errors import ConfigError, MachineError
from audiochunk.pipeline.interrupts import held_back

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

# What comes up where a worker dies; and the server, when the next one is to be forked.
_BROKEN = (BrokenExecutor, EOFError, ConnectionError)
_LOOK_S = 0.1  # between two looks whether an interrupt has come
_END_S = 10  # in which a broken executor ends what it has
DASK = "dask://"

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class TaskLostError(BrokenExecutor):
    """A task came to nothing, which is not its own doing. `args`: (what happened,)."""


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


class Cluster(Executor, ABC):
    """An executor whose workers are on other machines, and come and go."""

    @property
    @abstractmethod
    def n_threads(self) -> int:
        """Tasks that the workers run at once, at least 1.

        Raises:
            MachineError: there is nobody left who would run one.
        """

    @abstractmethod
    def ask(self, fn: Callable[..., Result], /, *args: Any) -> dict[str, Result]:
        """What a function gives on every worker that is there now, by the worker's name.

        Raises:
            MachineError: a worker could not be asked.
        """

    def find_fault(self) -> None:
        """Say what broke a task, where that can be told.

        Raises:
            MachineError: that.
        """


@contextmanager
def executor_of(spec: Executor | str | None) -> Iterator[Executor | None]:
    """An executor by its name: None for "local" (or None), a cluster for "dask://host:port"; else as it is.

    Raises:
        ConfigError: there is none of that name.
        MachineError: the cluster cannot be used.
    """
    if isinstance(spec, Executor) or spec in (None, "local"):
        yield spec if isinstance(spec, Executor) else None
    elif isinstance(spec, str) and spec.startswith(DASK):
        from audiochunk.pipeline.cluster.dask import connected  # which imports distributed

        with connected(spec.removeprefix(DASK)) as executor:
            yield executor
    else:
        raise ConfigError(f"executor {spec!r}: it is local, {DASK}host:port, or a concurrent.futures.Executor")


def refuse_to_run_in_a_worker() -> None:
    """Tell a script that starts workers wherever it is imported what is wrong with that.

    Raises:
        ConfigError: this is a worker process, which is only just importing the script.
    """
    process = sys.modules.get("multiprocessing.process")  # which a worker has loaded
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        raise ConfigError(
            "a worker process imported your script, which called audiochunk again: put the call under"
            ' `if __name__ == "__main__":`'
        )


def _may_have_no_children() -> bool:
    """Whether this is a worker of a multiprocessing.Pool, or another daemon, which may begin no processes."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and bool(process.current_process().daemon)


class Workers:
    """What tasks are given to: this process, others that begin when they are first needed, or an executor.

    A context manager, which ends the processes; where it is left by an exception, at once.

    Args:
        n: processes on this machine; with one, tasks run in this process.
        executor: what runs the tasks instead; then `n` is how many it has, unless it is a cluster, which knows. Nothing
            is tried again.

    Attributes:
        executor: the same, or None.
    """

    def __init__(self, n: int, executor: Executor | None = None) -> None:
        self.n = n
        self.executor = executor
        is_alone = n <= 1 or _may_have_no_children()
        self._executor = SerialExecutor() if executor is None and is_alone else executor
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and kind is not None:
            from audiochunk.pipeline.pool import stop_pool

            stop_pool(pool)
        elif pool is not None:
            pool.shutdown(cancel_futures=True)

    @property
    def _in_flight(self) -> int:
        return 2 * (self.executor.n_threads if isinstance(self.executor, Cluster) else self.n)

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
        at_once: Callable[[], int] | None = None,
        name: Callable[[Task], str] = str,
        meanwhile: Callable[[], bool] | None = None,
    ) -> Generator[Result, None, None]:
        """Results as they come, in no particular order, with at most two tasks a worker handed out at any time.

        A worker process that dies takes its pool with it, and the pool cannot tell whose task it was. So each task that
        was handed out is tried once more, alone in a new process; the others go on in a new pool.

        Args:
            fn: a function that can be pickled.
            tasks: its arguments, taken as they are needed.
            at_most: how many tasks there are, where that is known: no more processes than that are begun.
            at_once: how many may be handed out at present, if fewer; at least 1.
            name: what to call a task in the message about a worker that died of it twice.
            meanwhile: a short piece of work for this process while it waits, and whether there is more of it.

        Raises:
            MachineError: a worker died of the same task twice, or the executor broke.
        """

        def in_flight() -> int:
            return self._in_flight if at_once is None else min(self._in_flight, at_once())

        left = iter(tasks)
        n = self.n if at_most is None else min(self.n, at_most)
        executor = SerialExecutor() if self._executor is None and self._pool is None and n <= 1 else self._executor
        if executor is not None:
            suspects = yield from _run(executor, fn, left, in_flight=in_flight, meanwhile=meanwhile)
            if suspects:
                if isinstance(executor, Cluster):
                    executor.find_fault()
                task, error = suspects[0]
                what = str(error) if isinstance(error, TaskLostError) else "the executor broke"
                raise MachineError(f"{what} while it was at {name(task)}") from error
            return
        from audiochunk.pipeline.pool import start_pool  # a small build has no need of it

        try:
            while True:
                self._pool = self._pool or start_pool(n)
                suspects = yield from _run(self._pool, fn, left, in_flight=in_flight, meanwhile=meanwhile)
                if not suspects:
                    return
                self._pool.shutdown(cancel_futures=True)
                self._pool = None
                for task, _ in suspects:
                    yield _alone(fn, task, name)
        except BaseException as error:
            self.__exit__(type(error))
            raise


def _alone(fn: Callable[[Task], Result], task: Task, name: Callable[[Task], str]) -> Result:
    from audiochunk.pipeline.pool import process_pool

    with process_pool(1) as alone:
        try:
            return alone.submit(fn, task).result()
        except _BROKEN as error:
            raise MachineError(f"a worker process died twice, for want of memory perhaps, at {name(task)}") from error


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
    executor: Executor,
    fn: Callable[[Task], Result],
    tasks: Iterator[Task],
    *,
    in_flight: Callable[[], int],
    meanwhile: Callable[[], bool] | None,
) -> Generator[Result, None, list[tuple[Task, BaseException]]]:
    """Yield results until there are no more tasks, or the executor broke; return the tasks that it broke with."""
    running: dict[Future[Result], Task] = {}
    suspects: list[tuple[Task, BaseException]] = []
    # An interrupt within an executor may leave a process that it does not know of, or a lock that nobody releases.
    # Tasks that run here are interrupted where they are.
    while not suspects:
        done: set[Future[Result]] = set()
        with nullcontext(list[int]()) if isinstance(executor, SerialExecutor) else held_back() as came:
            # One by one, because finding the next may take a while.
            while len(running) < in_flight() and not came and (next_one := list(islice(tasks, 1))):
                (task,) = next_one
                try:
                    running[executor.submit(fn, task)] = task
                except _BROKEN as error:
                    suspects.append((task, error))
                    break
            while running and not done and not came:
                done, _ = wait(running, timeout=0 if meanwhile else _LOOK_S, return_when=FIRST_COMPLETED)
                if not done and meanwhile and not meanwhile():
                    meanwhile = None
                if not done and not meanwhile:
                    in_flight()  # raises where there is nobody left who would
        if not running and not came:
            break
        for future in done:
            task = running.pop(future)
            if (broken := _broke(future)) is not None:
                suspects.append((task, broken))
            else:
                yield future.result()
    # A broken executor ends everything that it has; what was done before that is as good as ever.
    wait(running, timeout=_END_S)
    for future, task in running.items():
        if (broken := _broke(future)) is not None:
            suspects.append((task, broken))
        else:
            yield future.result()
    return suspects


def _broke(future: Future[Any]) -> BaseException | None:
    """What broke under a task, whatever the task itself came to."""
    if future.cancelled() or not future.done():
        return CancelledError()
    error = future.exception()
    return error if isinstance(error, _BROKEN) else None
