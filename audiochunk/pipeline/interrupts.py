"""Interrupts that wait until it is safe to act on them."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


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
    try:
        yield came
    finally:
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
