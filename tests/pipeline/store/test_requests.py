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
from audiochunk.pipeline.store.requests import Requests, attempt


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
        while not future.running():
            time.sleep(0.001)
    assert done == [1]


def test_a_block_that_ends_early_waits_a_moment_and_does_nothing_that_has_not_begun() -> None:
    hangs, waiting = Event(), []

    def end_early(moment_s: float, futures: "list[Future[bool]]") -> None:
        with Requests(2, moment_s=moment_s) as threads:
            futures += [threads.submit(hangs.wait, 60), threads.submit(lambda: not time.sleep(0.2))]
            while not futures[1].running():
                time.sleep(0.001)
            waiting.append(threads.submit(hangs.wait, 60))
            raise ZeroDivisionError

    first: list[Future[bool]] = []
    second: list[Future[bool]] = []
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        end_early(1, first)
    assert time.monotonic() - began < 20  # of 60
    assert [future.done() for future in first] == [False, True]
    with pytest.raises(ZeroDivisionError):
        end_early(0, second)
    assert not second[0].done()
    for future in waiting:
        with pytest.raises(CancelledError):
            future.result(0)
    hangs.set()


def test_an_attempt_may_fail_or_hang() -> None:
    tried, hangs = [], Event()
    attempt(lambda: tried.append(1))
    assert tried == [1]
    attempt(lambda: 1 // 0)
    began = time.monotonic()
    attempt(lambda: hangs.wait(60))
    assert time.monotonic() - began < 20
    hangs.set()


def test_threads_that_hang_do_not_keep_a_process_from_ending() -> None:
    script = (
        "import time; from audiochunk.pipeline.store.requests import Requests, attempt; r = Requests(2);"
        "[r.submit(time.sleep, 60) for _ in range(3)]; attempt(lambda: time.sleep(60)); print('end')"
    )
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=40, check=False
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
            assert [threads.submit(abs, -n) for n in range(9)][8].result(30) == 8
        else:
            with pytest.raises(MachineError, match=r"no thread can begin \(can't start new thread\)"):
                threads.submit(int)
