import errno
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from audiochunk.errors import ConfigError, DatasetError, MachineError
from audiochunk.storage import cache as cache_module
from audiochunk.storage.cache import DEFAULT_BYTES, Cache, default_cache

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def writes(data: bytes) -> Callable[[BinaryIO], None]:
    def fetch(file: BinaryIO) -> None:
        file.write(data)

    return fetch


def refuses(file: BinaryIO) -> None:
    raise AssertionError("fetched although it is there")


def read(cache: Cache, name: str, fetch: Callable[[BinaryIO], None]) -> bytes:
    with cache.opened(name, fetch) as file:
        return file.read()


def test_file_is_fetched_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "a" / "b")
    assert not cache.holds("x")
    assert read(cache, "x", writes(b"hello")) == b"hello"
    assert cache.holds("x")
    assert read(cache, "x", refuses) == b"hello"
    assert [path.name for path in cache.folder.iterdir()] == ["x"]


@pytest.mark.parametrize("error", [DatasetError("x", "is damaged"), KeyboardInterrupt()])
def test_failed_fetch_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fails(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    cache = Cache(tmp_path)
    with pytest.raises(type(error)):
        read(cache, "x", fails)
    assert list(tmp_path.iterdir()) == []
    assert read(cache, "x", writes(b"whole")) == b"whole"


def test_file_that_somebody_has_cut_is_fetched_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    read(cache, "x", writes(b"hello"))
    (tmp_path / "x").write_bytes(b"hel")
    with cache.opened("x", writes(b"hello"), size=5) as file:
        assert file.read() == b"hello"


def test_full_disk_is_the_machine(tmp_path: Path) -> None:
    def fails(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineError, match=r"no space left on device; the cache .* AUDIOCHUNK_CACHE"):
        read(Cache(tmp_path), "x", fails)
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="not a directory"):
        read(Cache(tmp_path / "file" / "sub"), "x", writes(b""))


def test_what_was_not_opened_for_longest_makes_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    for name in ("a", "b", "c"):
        read(cache, name, writes(bytes(10)))
        time.sleep(0.01)
    read(cache, "a", refuses)
    read(cache, "d", writes(bytes(10)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_file_larger_than_the_limit_is_kept_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    read(cache, "a", writes(bytes(10)))
    assert len(read(cache, "large", writes(bytes(100)))) == 100
    assert [path.name for path in tmp_path.iterdir()] == ["large"]
    assert len(read(cache, "large", refuses)) == 100


def test_file_that_made_room_stays_readable_for_who_has_it_open(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10)
    with cache.opened("a", writes(b"0123456789")) as file:
        read(cache, "b", writes(bytes(10)))
        assert not cache.holds("a")
        assert file.read() == b"0123456789"


def test_what_dead_processes_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    for name, age in (("x.host.1.00.tmp", 7200), ("y.host.2.00.tmp", 10)):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / "x.lock").touch()  # of a process that died: no lock is on it
    assert read(Cache(tmp_path, 50), "x", writes(b"hello")) == b"hello"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y.host.2.00.tmp"]


def test_threads_that_want_one_file_fetch_it_once(tmp_path: Path) -> None:
    cache, fetched, found = Cache(tmp_path), [], []

    def fetch(file: BinaryIO) -> None:
        fetched.append(1)
        time.sleep(0.1)
        file.write(b"hello")

    threads = [threading.Thread(target=lambda: found.append(read(cache, "x", fetch))) for _ in range(8)]
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

    assert read(Cache(folder), "x", fetch) == b"hello"


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
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["x"]


def _fetch_for_ever(folder: Path, begun: Path) -> None:
    def fetch(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        begun.touch()
        time.sleep(600)

    read(Cache(folder), "x", fetch)


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
    assert read(Cache(tmp_path / "c"), "x", writes(b"whole")) == b"whole"
    assert not process.is_alive()
    process.join()
    waiting.join()


def test_process_that_was_stopped_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_LONGEST_WAIT_S", 0.1)
    process = _at_it(tmp_path)
    assert read(Cache(tmp_path / "c"), "x", writes(b"whole")) == b"whole"
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

    read(Cache(tmp_path), "x", fetch)
    assert read(Cache(tmp_path), "y", writes(b"other")) == b"other"
    children[0].join(20)
    assert children[0].exitcode == 0


def _read_then_sleep(folder: Path) -> None:
    assert read(Cache(folder), "x", refuses) == b"hello"


def test_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AUDIOCHUNK_CACHE", "AUDIOCHUNK_CACHE_BYTES", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == Cache(tmp_path / ".cache" / "audiochunk", DEFAULT_BYTES)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache() == Cache(tmp_path / ".cache" / "audiochunk", DEFAULT_BYTES)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Cache(Path("/xdg/audiochunk"), DEFAULT_BYTES)
    monkeypatch.setenv("AUDIOCHUNK_CACHE", "/other")
    monkeypatch.setenv("AUDIOCHUNK_CACHE_BYTES", "123")
    assert default_cache() == Cache(Path("/other"), 123)
    assert default_cache("~/mine", 5) == Cache(tmp_path / "mine", 5)


@pytest.mark.parametrize("limit", [-1, 1.5, True, "5"])
def test_limit_is_a_number_of_bytes(limit: object) -> None:
    with pytest.raises(ConfigError, match="cache_bytes must be a number of bytes"):
        default_cache(None, limit)  # type: ignore[arg-type]


def test_limit_of_the_environment_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOCHUNK_CACHE_BYTES", "16GB")
    with pytest.raises(ConfigError, match="AUDIOCHUNK_CACHE_BYTES=16GB: give a number of bytes"):
        default_cache()
