import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from audiochunk.storage import claims
from audiochunk.storage.cache import Cache, default_cache
from audiochunk.storage.files import TEMPORARY_SUFFIX

from .fetches import X, Y, read, refuses, writes

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def test_threads_that_want_one_file_fetch_it_once(tmp_path: Path) -> None:
    cache, fetched, found = Cache(tmp_path), [], []

    def fetch(file: BinaryIO) -> None:
        fetched.append(1)
        time.sleep(0.1)
        file.write(b"hello")

    threads = [threading.Thread(target=lambda: found.append(read(cache, X, fetch))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (fetched, found) == ([1], [b"hello"] * 8)


def _fetch_slowly(folder: Path, log: Path) -> None:
    def fetch(file: BinaryIO) -> None:
        with log.open("a") as lines:
            lines.write("fetched\n")
        time.sleep(0.2)
        file.write(b"hello")

    assert read(Cache(folder), X, fetch) == b"hello"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_want_one_file_fetch_it_once(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    log = tmp_path / "log"
    processes = [context.Process(target=_fetch_slowly, args=(tmp_path / "cache", log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "fetched\n"
    assert [path.name for path in Cache(tmp_path / "cache").files.iterdir()] == [X]


def _fetch_for_ever(folder: Path, begun: Path) -> None:
    def fetch(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        begun.touch()
        time.sleep(600)

    read(Cache(folder), X, fetch)


def _at_it(tmp_path: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=_fetch_for_ever, args=(tmp_path / "c", tmp_path / "b"))
    process.start()
    while not (tmp_path / "b").exists():
        time.sleep(0.01)
    return process  # type: ignore[return-value]


def test_process_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    process = _at_it(tmp_path)
    waiting = threading.Timer(0.2, process.kill)
    waiting.start()
    assert read(Cache(tmp_path / "c"), X, writes(b"whole")) == b"whole"
    assert not process.is_alive()
    process.join()
    waiting.join()


def test_process_that_was_stopped_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_LONGEST_WAIT_S", 0.1)
    process = _at_it(tmp_path)
    assert read(Cache(tmp_path / "c"), X, writes(b"whole")) == b"whole"
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
    children[0].join(20)
    assert children[0].exitcode == 0


def _read_then_sleep(folder: Path) -> None:
    assert read(Cache(folder), X, refuses) == b"hello"


def test_process_that_goes_on_writing_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_LONGEST_WAIT_S", 0.3)
    process = multiprocessing.get_context("fork").Process(target=_fetch_bit_by_bit, args=(tmp_path, tmp_path / "b"))
    process.start()
    while not (tmp_path / "b").exists():
        time.sleep(0.01)
    assert read(Cache(tmp_path), X, refuses) == bytes(2**13 * 15)
    process.join()


def _fetch_bit_by_bit(folder: Path, begun: Path) -> None:
    def fetch(file: BinaryIO) -> None:
        begun.touch()
        for _ in range(15):
            time.sleep(0.1)
            file.write(bytes(2**13))
            file.flush()

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
    time.sleep(600)
threading.Thread(target=lambda: Cache(Path(sys.argv[1])).opened(sys.argv[2], fetch), daemon=True).start()
begun.wait()
"""


def test_process_that_ends_while_a_thread_fetches_leaves_nothing_unfinished(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _ENDS, str(tmp_path), X], capture_output=True, timeout=60, check=True)
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
        assert subprocess.run(command, capture_output=True, timeout=60, check=True).stdout == b""
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
