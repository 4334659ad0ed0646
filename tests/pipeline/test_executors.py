"""Who runs the tasks: the same results from all, no more at once than asked for, and failures that come through."""

import math
import multiprocessing
import operator
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

import pytest

from audiochunk.config import parse_size
from audiochunk.errors import ConfigError, MachineError
from audiochunk.pipeline.executors import SerialExecutor, process_pool, run_tasks, usable_cpus

# Worker processes cannot import this file: what they run comes from the library, and from expressions.
PID = "__import__('os').getpid()"
DIE = "__import__('os')._exit(1)"


def is_gone(pid: int) -> bool:
    """Whether a process ends within ten seconds. It is the fork server's child, which cannot be waited for."""
    for _ in range(1000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("n_tasks", [0, 1, 4, 30])
def test_every_task_has_its_result_once(workers: int, n_tasks: int) -> None:
    results = list(run_tasks(math.factorial, iter(range(n_tasks)), workers=workers))
    assert sorted(results) == [math.factorial(n) for n in range(n_tasks)]


def test_an_executor_that_is_given_runs_all_tasks() -> None:
    with ThreadPoolExecutor(3) as threads:
        results = list(run_tasks(math.factorial, range(30), workers=3, executor=threads))
        assert threads.submit(operator.neg, 1).result() == -1  # it is left as it was
    assert sorted(results) == [math.factorial(n) for n in range(30)]


def test_one_worker_is_this_process_and_two_are_not() -> None:
    assert set(run_tasks(eval, [PID] * 3, workers=1)) == {os.getpid()}
    assert os.getpid() not in set(run_tasks(eval, [PID] * 3, workers=2))


def test_the_serial_executor_keeps_order_and_passes_arguments_on() -> None:
    with SerialExecutor() as executor:
        future = executor.submit(int, "z", base=36)
        assert future.done()
        assert future.result() == 35
        assert list(executor.map(operator.neg, [1, 2])) == [-1, -2]


def test_the_serial_executor_keeps_an_exception_for_whoever_asks() -> None:
    future = SerialExecutor().submit(parse_size, "many")
    assert isinstance(future.exception(), ConfigError)


def test_the_serial_executor_lets_interrupts_through() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SerialExecutor().submit(interrupted)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_in_a_task_comes_through(workers: int) -> None:
    with pytest.raises(ConfigError, match="size 'many' is not a number of bytes"):
        list(run_tasks(parse_size, ["1", "many", "2"], workers=workers))


# Workers that die.


def test_a_task_that_a_worker_dies_of_twice_is_named() -> None:
    tasks = ["1", "2", DIE, "3", "4", "5"]
    with pytest.raises(MachineError, match=r"a worker process died twice, .* at <__import__.*_exit\(1\)>") as raised:
        list(run_tasks(eval, tasks, workers=2, name=lambda task: f"<{task}>"))
    assert raised.value.exit_code == 6


def test_a_worker_that_dies_once_costs_no_result(tmp_path: Path) -> None:
    # Two tasks end their process the first time that they run, one of them the last.
    def once(number: int) -> str:
        marker = os.fspath(tmp_path / f"{number}")
        return f"{number} if __import__('os').path.exists({marker!r}) else (open({marker!r}, 'x').close(), {DIE})"

    tasks = [once(n) if n in (3, 19) else str(n) for n in range(20)]
    assert sorted(run_tasks(eval, tasks, workers=2)) == list(range(20))
    assert sorted(os.listdir(tmp_path)) == ["19", "3"]


def test_a_given_executor_that_breaks_is_a_machine_error() -> None:
    with (
        process_pool(2) as pool,
        pytest.raises(MachineError, match="the executor broke while it was at <") as raised,
    ):
        list(run_tasks(eval, [DIE] * 9, workers=2, executor=pool, name=lambda task: f"<{task}>"))
    assert raised.value.exit_code == 6


def test_what_was_done_before_an_executor_broke_is_not_lost() -> None:
    results: list[int] = []

    def collect() -> None:
        with process_pool(1) as pool, closing(run_tasks(eval, ["1", DIE], workers=1, executor=pool)) as running:
            results.append(next(running))
            results.extend(running)

    with pytest.raises(MachineError):
        collect()
    assert results == [1]


def test_workers_end_when_results_are_no_longer_wanted() -> None:
    with closing(run_tasks(eval, [PID] * 50, workers=2)) as results:
        pid = next(results)
        assert pid != os.getpid()
    assert is_gone(pid)


def test_workers_end_with_the_block_that_failed() -> None:
    pids: list[int] = []

    def fail() -> None:
        with process_pool(1) as pool:
            pids.append(pool.submit(os.getpid).result())
            pool.submit(time.sleep, 600)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_gone(pids[0])


def test_workers_leave_interrupts_to_the_parent() -> None:
    ignored = "(lambda s: s.getsignal(s.SIGINT) == s.SIG_IGN)(__import__('signal'))"
    assert list(run_tasks(eval, [ignored], workers=2)) == [True]


def test_a_worker_that_imports_the_script_may_not_start_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match='if __name__ == "__main__"'):
        list(run_tasks(operator.neg, [1], workers=2))
    assert list(run_tasks(operator.neg, [1], workers=1)) == [-1]


# How much is handed out.


class Counting(Executor):
    """Threads whose tasks end only when as many are handed out as may be."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor(60)
        self._lock = Lock()
        self._may_end = Semaphore(0)
        self._out = 0
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._lock:
            self._out += 1
            self.most = max(self.most, self._out)
            is_full = self._out >= self._limit

        def task() -> Any:
            self._may_end.acquire()
            with self._lock:
                self._out -= 1
            return fn(*args, **kwargs)

        future = self._pool.submit(task)
        if is_full:
            self._may_end.release()
        return future

    def release_all(self) -> None:
        self._may_end.release(1000)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.release_all()
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_than_two_tasks_a_worker_are_handed_out(workers: int) -> None:
    drawn = 0

    def tasks() -> Iterator[int]:
        nonlocal drawn
        for n in range(1, 51):
            drawn = n
            yield n
        executor.release_all()

    finished = 0
    with Counting(2 * workers) as executor:
        for _ in run_tasks(operator.neg, tasks(), workers=workers, executor=executor):
            assert drawn - finished <= 2 * workers
            finished += 1
    assert (drawn, finished, executor.most) == (50, 50, 2 * workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_without_end_have_results(workers: int) -> None:
    endless = iter(int, 1)
    with closing(run_tasks(operator.neg, endless, workers=workers)) as results:
        assert [next(results) for _ in range(10)] == [0] * 10


def test_usable_cpus_are_at_least_one_and_at_most_all() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
