import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

import pytest

from audiochunk.storage import claims
from audiochunk.storage.cache import Cache, default_cache
from audiochunk.storage.files import TEMPORARY_SUFFIX
from tests.waiting import LONG_S, wait_until

from .fetches import X, Y, read, refuses, writes

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def test_threads_that_want_one_file_fetch_it_once(tmp_path: Path) -> None:
    cache, fetched, found = Cache(tmp_path), [], []

    def fetch(file: BinaryIO) -> None:
        fetched.append(1)
        wait_until(lambda: claims._process.names[str(cache.files / X)][1] == 8, "all threads")
        file.write(b"hello")

    threads = [threading.Thread(target=lambda: found.append(read(cache, X, fetch))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (fetched, found) == ([1], [b"hello"] * 8)


class Clock:
    """The time of those who wait for others: it only passes while they do.

    Args:
        wait: is called whenever one of them has looked in vain.
        step_s: that is how long they then wait.
    """

    def __init__(self, wait: Callable[[], object], step_s: float = 0) -> None:
        self._wait, self._step_s, self._now = wait, step_s, 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, _: float) -> None:
        self._wait()
        self._now += self._step_s


def _fetch_before_three(folder: Path, there: Path) -> None:
    """Fetch when three others wait for it, or be one of those."""

    def wait() -> None:
        (there / f"waits-{os.getpid()}").touch()
        time.sleep(0.01)

    def fetch(file: BinaryIO) -> None:
        (there / f"fetched-{os.getpid()}").touch()
        wait_until(lambda: len(list(there.glob("waits-*"))) == 3, "the others")
        file.write(b"hello")

    claims.time = Clock(wait)  # type: ignore[assignment]
    assert read(Cache(folder), X, fetch) == b"hello"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_want_one_file_fetch_it_once(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    (there := tmp_path / "there").mkdir()
    processes = [context.Process(target=_fetch_before_three, args=(tmp_path / "cache", there)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(there.glob("fetched-*"))) == 1
    assert [path.name for path in Cache(tmp_path / "cache").files.iterdir()] == [X]


def _fetch_for_ever(folder: Path, begun: Path) -> None:
    def fetch(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        begun.touch()
        time.sleep(3600)

    read(Cache(folder), X, fetch)


def _at_it(tmp_path: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=_fetch_for_ever, args=(tmp_path / "c", tmp_path / "b"))
    process.start()
    wait_until((tmp_path / "b").exists, "the process to be at it")
    return process  # type: ignore[return-value]


def test_process_that_was_killed_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = _at_it(tmp_path)
    monkeypatch.setattr(claims, "time", Clock(process.kill))
    assert read(Cache(tmp_path / "c"), X, writes(b"whole")) == b"whole"
    process.join()
    assert process.exitcode == -signal.SIGKILL  # which it was sent by who waited for it


def test_process_that_was_stopped_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, looks = _at_it(tmp_path), []
    monkeypatch.setattr(claims, "time", Clock(lambda: looks.append(1), claims._LONGEST_WAIT_S / 100))
    assert read(Cache(tmp_path / "c"), X, writes(b"whole")) == b"whole"
    assert 100 <= len(looks) <= 102
    process.kill()
    process.join()


def test_child_does_not_hold_what_its_parent_fetches(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    children = []

    def fetch(file: BinaryIO) -> None:
        # Forked while this process has the lock, and alive after it has let go of it.
        children.append(context.Process(target=_read_then_sleep, args=(tmp_path,)))
        children[0].start()
        file.write(b"hello")

    read(Cache(tmp_path), X, fetch)
    assert read(Cache(tmp_path), Y, writes(b"other")) == b"other"
    children[0].join(LONG_S)
    assert children[0].exitcode == 0


def _read_then_sleep(folder: Path) -> None:
    assert read(Cache(folder), X, refuses) == b"hello"


def test_process_that_goes_on_writing_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_fetch_bit_by_bit, args=(tmp_path, there))
    process.start()
    assert here.recv() == "begun"
    bits = 15

    def have_a_bit_written() -> None:
        nonlocal bits
        if bits:
            bits -= 1
            here.send(bits)
            assert here.recv() == "written"
        else:
            process.join()

    # Whoever waits has no patience left whenever it looks again.
    monkeypatch.setattr(claims, "time", Clock(have_a_bit_written, 2 * claims._LONGEST_WAIT_S))
    assert read(Cache(tmp_path), X, refuses) == bytes(2**13 * 15)
    assert bits == 0
    process.join()


def _fetch_bit_by_bit(folder: Path, there: Connection) -> None:
    """A bit whenever it is asked for, until no more are to come."""

    def fetch(file: BinaryIO) -> None:
        there.send("begun")
        left = 1
        while left:
            left = there.recv()
            file.write(bytes(2**13))
            file.flush()
            there.send("written")

    read(Cache(folder), X, fetch)


def test_what_a_dead_process_left_goes_at_once_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    process = _at_it(tmp_path)

    def scratches() -> list[Path]:
        return [path for path in cache.files.iterdir() if path.name.endswith(TEMPORARY_SUFFIX)]

    def look(file: BinaryIO) -> None:
        read(cache, f"{'a' * 32}.x", writes(b""))  # room is made meanwhile
        assert len(scratches()) == 2
        file.write(b"whole")

    assert read(cache, Y, look) == b"whole"
    assert len(scratches()) == 1
    process.kill()
    process.join()
    read(cache, f"{'b' * 32}.x", writes(b""))
    assert scratches() == []
    assert not (cache.files / f"{X}.lock").exists()
    assert read(cache, X, writes(b"mine")) == b"mine"


def test_what_others_write_counts(tmp_path: Path) -> None:
    process = _at_it(tmp_path)  # 4 bytes
    cache = Cache(tmp_path / "c", 10)
    read(cache, Y, writes(b"123456"))
    assert cache.holds(Y)
    read(cache, f"{'a' * 32}.x", writes(b"1"))
    assert not cache.holds(Y)
    process.kill()
    process.join()


_ENDS = """
import sys, threading, time
from pathlib import Path
from audiochunk.storage.cache import Cache
begun = threading.Event()
def fetch(file):
    file.write(b"half")
    file.flush()
    begun.set()
    time.sleep(3600)
threading.Thread(target=lambda: Cache(Path(sys.argv[1])).opened(sys.argv[2], fetch), daemon=True).start()
begun.wait()
"""


def test_process_that_ends_while_a_thread_fetches_leaves_nothing_unfinished(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDS, str(tmp_path), X], capture_output=True, timeout=LONG_S, check=True
    )
    assert done.stderr == b""
    assert list(Cache(tmp_path).files.iterdir()) == []
    assert read(Cache(tmp_path), X, writes(b"whole")) == b"whole"
    assert [path.name for path in Cache(tmp_path).files.iterdir()] == [X]


_WAITS = """
import sys, threading, time
from pathlib import Path
from audiochunk.storage import claims
from audiochunk.storage.cache import Cache
waiting, locked = threading.Event(), claims._locked
def noted(*args):
    waiting.set()
    return locked(*args)
claims._locked = noted
threading.Thread(target=lambda: Cache(Path(sys.argv[1])).opened(sys.argv[2], print), daemon=True).start()
waiting.wait()
"""


def test_process_that_ends_while_a_thread_waits_leaves_the_lock_to_who_has_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def fetch(file: BinaryIO) -> None:
        file.write(b"mine")
        command = [sys.executable, "-c", _WAITS, str(tmp_path), X]
        assert subprocess.run(command, capture_output=True, timeout=LONG_S, check=True).stdout == b""
        assert (cache.files / f"{X}.lock").exists()

    assert read(cache, X, fetch) == b"mine"


def test_one_folder_by_two_paths_is_one_cache(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one, other = default_cache(tmp_path / "real"), default_cache(tmp_path / "link")

    def fetch(file: BinaryIO) -> None:
        file.write(b"hello")
        file.flush()
        read(other, Y, writes(b"other"))  # room is made meanwhile

    assert read(one, X, fetch) == b"hello"
    assert one == other
