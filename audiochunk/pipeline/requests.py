"""Requests to a store by several threads, none of which anybody must wait for."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from audiochunk.errors import MachineError

MOMENT_S = 1.0  # for requests that are under way, where a build ends early; a store that works answers many times over

P = ParamSpec("P")
T = TypeVar("T")


class Requests(Executor):
    """An executor whose threads do not keep the process from ending, as those of a `ThreadPoolExecutor` do.

    A request may hang for minutes before its library gives it up, and nothing interrupts it.
    As a context manager, it waits for its threads where the block ends without an exception.

    Args:
        most: threads.
        moment_s: how long to wait for what they are at where the block ends with one.
    """

    def __init__(self, most: int, *, moment_s: float = 0) -> None:
        self._most, self._moment_s = most, moment_s
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = Lock()
        self._unfinished = 0
        self._is_shut = False

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(wait=kind is None, cancel_futures=True)
        end = time.monotonic() + self._moment_s
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call this.

        Raises:
            RuntimeError: after `shutdown`.
            MachineError: not one thread can begin.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_shut:
                raise RuntimeError("submit after shutdown")
            if len(self._threads) < min(self._unfinished + 1, self._most):
                self._begin_thread()
            self._queue.put((future, lambda: fn(*args, **kwargs)))
            self._unfinished += 1
        return future

    def _begin_thread(self) -> None:
        thread = Thread(target=self._work, name="audiochunk-request", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if self._threads:
                return  # fewer do it, too
            raise MachineError(f"no thread can begin ({error}); allow more processes (ulimit -u)") from error
        self._threads.append(thread)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; have the threads end once there is nothing left to do.

        Args:
            wait: until they have ended.
            cancel_futures: what has not begun is not done.
        """
        with self._lock:
            if not self._is_shut:
                self._is_shut = True
                if cancel_futures:
                    self._cancel()
                for _ in self._threads:
                    self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _cancel(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if item is not None:
                item[0].cancel()
                item[0].set_running_or_notify_cancel()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, do = item
            if future.set_running_or_notify_cancel():
                try:
                    result = do()
                except BaseException as error:  # noqa: BLE001 - whoever asked has it raised
                    future.set_exception(error)
                else:
                    future.set_result(result)
            with self._lock:
                self._unfinished -= 1
            del item, future, do  # the next may be long in coming


def attempt(act: Callable[[], object]) -> None:
    """Do what is better done than not, where a build ends early: it is waited for a moment, and may fail."""

    def do() -> None:
        with suppress(BaseException):  # a thread of its own: no interrupt comes here
            act()

    thread = Thread(target=do, name="audiochunk-request", daemon=True)
    with suppress(RuntimeError):  # no thread can begin
        thread.start()
        thread.join(MOMENT_S)
