import os
import threading
from collections.abc import Callable

import pytest

from audiochunk.reader.ahead import Ahead
from tests.waiting import LONG_S, wait_until

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Things:
    """Things to fetch, each of which waits for `go`."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.go = threading.Event()

    def fetch(self, number: int) -> None:
        self.begun.append(number)
        self.go.wait(2 * LONG_S)


def until(holds: Callable[[], object]) -> None:
    wait_until(holds, "threads")


def threads_ahead() -> int:
    return sum(thread.name == "audiochunk-ahead" for thread in threading.enumerate())


def test_things_are_fetched_in_order_and_threads_end() -> None:
    things = Things()
    things.go.set()
    ahead = Ahead(things.fetch)
    ahead.want(range(20))
    until(lambda: len(things.begun) == 20 and not threads_ahead())
    assert sorted(things.begun) == list(range(20))
    ahead.want([7])
    until(lambda: things.begun[20:] == [7])


def test_what_is_not_begun_is_forgotten_once_something_else_is_wanted() -> None:
    things = Things()
    ahead = Ahead(things.fetch)
    ahead.want(range(20))
    until(lambda: len(things.begun) == 2)
    ahead.want([30, 31])
    ahead.want([30, 31])
    ahead.want([40], soon=True)
    things.go.set()
    until(lambda: not threads_ahead())
    assert things.begun[:2] == [0, 1]
    assert sorted(things.begun[2:]) == [30, 31, 40]
    assert things.begun.index(40) < things.begun.index(31)


def test_wanting_nothing_forgets_all() -> None:
    things = Things()
    ahead = Ahead(things.fetch)
    ahead.want(range(20))
    ahead.want([50, 51], soon=True)
    until(lambda: len(things.begun) == 2)
    ahead.want([])
    things.go.set()
    until(lambda: not threads_ahead())
    assert len(things.begun) == 2


def test_fork_begins_with_nothing_wanted() -> None:
    things = Things()
    ahead = Ahead(things.fetch)
    ahead.want(range(20))
    until(lambda: len(things.begun) == 2)
    pid = os.fork()
    if not pid:
        things.begun.clear()
        things.go.set()
        ahead.want([5])
        until(lambda: things.begun == [5])
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    ahead.want([])
    things.go.set()
    until(lambda: not threads_ahead())


def test_fetch_that_raises_ends_no_fetching() -> None:
    done = []

    def fetch(number: int) -> None:
        if number < 10:
            raise MemoryError if number % 2 else ValueError(number)
        done.append(number)

    ahead = Ahead(fetch)
    ahead.want(range(20))
    until(lambda: len(done) == 10 and not threads_ahead())


def test_thread_that_cannot_begin_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    things = Things()
    things.go.set()
    ahead = Ahead(things.fetch)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        ahead.want([1, 2])
    assert things.begun == []
    ahead.want([3])
    until(lambda: things.begun == [3])
