"""Threads that ask a store: none keeps a process from ending, and none is waited for longer than was said."""

import os
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path
from threading import Event, Thread

import pytest

import audiochunk
from audiochunk.errors import MachineError
from audiochunk.pipeline.requests import Requests, attempt
from tests.waiting import LONG_S, wait_until


def test_results_and_errors_come_from_as_many_threads_as_were_asked_for() -> None:
    with Requests(3) as threads:
        assert list(threads.map(lambda n: n * n, range(100))) == [n * n for n in range(100)]
        assert len(threads._threads) <= 3
        with pytest.raises(ZeroDivisionError):
            threads.submit(lambda: 1 // 0).result()
    with pytest.raises(RuntimeError, match="submit after shutdown"):
        threads.submit(int)


def test_a_block_that_ends_waits_for_what_is_under_way() -> None:
    done = []
    with Requests(2) as threads:
        future = threads.submit(lambda: (time.sleep(0.2), done.append(1)))
        wait_until(future.running, "a request")
    assert done == [1]


def test_a_block_that_ends_early_waits_for_what_is_under_way_and_does_nothing_that_has_not_begun() -> None:
    futures: list[Future[bool]] = []

    def under_way(threads: Requests) -> bool:
        wait_until(lambda: threads._is_shut, "the end of the block")
        time.sleep(0.2)
        return True

    def end_early() -> None:
        with Requests(2, moment_s=LONG_S) as threads:
            futures.extend(threads.submit(under_way, threads) for _ in range(3))
            wait_until(lambda: all(future.running() for future in futures[:2]), "two requests")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        end_early()
    assert [future.done() for future in futures] == [True, True, True]
    assert [future.result(0) for future in futures[:2]] == [True, True]
    with pytest.raises(CancelledError):
        futures[2].result(0)


@pytest.mark.parametrize("moment_s", [0, 0.1])
def test_a_block_that_ends_early_waits_a_moment_only(moment_s: float) -> None:
    hangs, futures = Event(), []

    def end_early() -> None:
        with Requests(2, moment_s=moment_s) as threads:
            futures.append(threads.submit(hangs.wait, LONG_S))
            wait_until(futures[0].running, "a request")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        end_early()
    assert not futures[0].done()
    hangs.set()


def test_an_attempt_may_fail_or_hang() -> None:
    tried, hangs = [], Event()
    attempt(lambda: tried.append(1))
    assert tried == [1]
    attempt(lambda: 1 // 0)
    attempt(lambda: tried.append(hangs.wait(LONG_S)))
    assert tried == [1]
    hangs.set()


def test_threads_that_hang_do_not_keep_a_process_from_ending() -> None:
    script = (
        "import time; from audiochunk.pipeline.requests import Requests, attempt; r = Requests(2);"
        f"[r.submit(time.sleep, {2 * LONG_S}) for _ in range(3)]; attempt(lambda: time.sleep({2 * LONG_S}));"
        "print('end')"
    )
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_no_more_threads_can_begin_fewer_do_it(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    start, left = Thread.start, [allowed]

    def limited(self: Thread) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(Thread, "start", limited)
    with Requests(4) as threads:
        if allowed:
            assert [threads.submit(abs, -n) for n in range(9)][8].result(LONG_S) == 8
        else:
            with pytest.raises(MachineError, match=r"no thread can begin \(can't start new thread\)"):
                threads.submit(int)
