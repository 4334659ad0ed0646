"""Threads that fetch what will be needed, while there is anything to fetch."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

_MOST_THREADS = 2


class Ahead:
    """Fetches things by number, in the background.

    What was wanted and is not begun is forgotten once something else is. Threads end when there is nothing left to do;
    a process that was forked begins with none.

    Args:
        fetch: one thing; threads call it at once. Whatever it raises is not told: who needs the thing will meet it.
    """

    def __init__(self, fetch: Callable[[int], None]) -> None:
        self._fetch = fetch
        self._state = _State()

    def want(self, numbers: Sequence[int], *, soon: bool = False) -> None:
        """Fetch these, in order, in the place of those that were wanted before.

        Args:
            numbers: of things.
            soon: before all others, which stay wanted.
        """
        state = self._state
        if state.pid != os.getpid():
            state = self._state = _State()
        with state.lock:
            if soon:
                state.soon = list(numbers)
            elif list(numbers) == state.asked:
                return
            else:
                state.asked, state.later = list(numbers), list(numbers)
                state.soon = state.soon if numbers else []
            wanted = len(state.soon) + len(state.later)
            new = min(wanted, _MOST_THREADS) - state.threads
            state.threads += max(new, 0)
        for _ in range(new):
            try:
                threading.Thread(target=self._work, args=(state,), name="audiochunk-ahead", daemon=True).start()
            except (RuntimeError, MemoryError):  # there may be no more threads: then nothing is fetched ahead
                with state.lock:
                    state.threads -= 1

    def _work(self, state: "_State") -> None:
        while True:
            with state.lock:
                left = state.soon or state.later
                if not left:
                    state.threads -= 1
                    return
                number = left.pop(0)
            with suppress(Exception):
                self._fetch(number)


class _State:
    """What is wanted in one process, and how many threads are at it."""

    def __init__(self) -> None:
        self.pid, self.lock = os.getpid(), threading.Lock()
        self.asked: list[int] = []
        self.soon: list[int] = []
        self.later: list[int] = []
        self.threads = 0
