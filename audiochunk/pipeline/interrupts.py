"""Interrupts that wait until it is safe to act on them."""

import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_S = 0.1
_held_back: list[list[int]] = []  # what came, of every block that the main thread is in


@contextmanager
def held_back() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM wait until the end of the block; what came stands in the list.

    A mask would not do: the kernel gives a signal to any thread that has none, numpy's for one, and Python then
    interrupts the main thread all the same.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # Python interrupts the main thread only
        return
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    _held_back.append(came)
    try:
        yield came
    finally:
        _held_back.pop()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


def uninterrupted() -> AbstractContextManager[Any]:
    """Hold interrupts back while C code calls Python, through which no exception passes: one would be lost there.

    A worker process is ended by a signal that Python does not handle, and goes on being.
    """
    process = sys.modules.get("multiprocessing.process")  # which a worker has loaded
    return held_back() if process is None or process.parent_process() is None else nullcontext()


def result_of(future: Future[T]) -> T:
    """What a future gives, waited for no longer once an interrupt has come that is held back.

    Raises:
        KeyboardInterrupt: one has. The end of the block acts on it, whatever becomes of this.
    """
    is_main = threading.current_thread() is threading.main_thread()
    while True:
        try:
            return future.result(_POLL_S if is_main and _held_back else None)
        except TimeoutError:
            if future.done():
                raise
            if any(_held_back):
                raise KeyboardInterrupt from None
