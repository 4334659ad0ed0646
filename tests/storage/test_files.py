"""Files that are whole or not there, and the lock."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest

import audiochunk
from audiochunk.errors import MachineError
from audiochunk.storage.files import (
    TEMPORARY_ENDING,
    begin_write_back,
    clear_temporaries,
    fsync_path,
    locked,
    temporary,
    write_whole,
)

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
HOLD = """
import sys
from pathlib import Path
from audiochunk.storage.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TRY = """
import sys
from pathlib import Path
from audiochunk.errors import MachineError
from audiochunk.storage.files import locked
try:
    with locked(Path(sys.argv[1])):
        print("taken")
except MachineError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("before", [None, b"old and longer than the new one"])
def test_write_whole_leaves_the_file_and_nothing_else(tmp_path: Path, fsync: bool, before: bytes | None) -> None:
    path = tmp_path / "manifest.json"
    if before is not None:
        path.write_bytes(before)
    write_whole(path, b"new", fsync=fsync)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["manifest.json"]


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(5, "Input/output error")


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fail", [refuse, interrupt])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None], step: str, before: bytes | None
) -> None:
    path = tmp_path / "manifest.json"
    if before is not None:
        path.write_bytes(before)
    with monkeypatch.context() as patched:
        patched.setattr(step, fail)
        with pytest.raises((OSError, KeyboardInterrupt)):
            write_whole(path, b"new", fsync=True)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([("manifest.json", b"old")] if before else [])


def test_the_bytes_are_durable_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.json"
    seen: list[tuple[bool, bytes]] = []

    def look(fd: int) -> None:
        (scratch,) = tmp_path.iterdir()
        assert os.path.samestat(scratch.stat(), os.fstat(fd))
        seen.append((path.exists(), scratch.read_bytes()))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", look)
        write_whole(path, b"new", fsync=True)
    assert seen == [(False, b"new")]


def test_without_fsync_nothing_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        write_whole(tmp_path / "a", b"new", fsync=False)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_fsync_path_takes_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    synced: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
        fsync_path(tmp_path / "a")
        fsync_path(tmp_path)
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_write_back_is_begun_and_nothing_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(10_000))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        begin_write_back(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == bytes(10_000)


def test_temporary_names_lie_beside_and_never_repeat(tmp_path: Path) -> None:
    names = [temporary(tmp_path / "a.safetensors") for _ in range(100)]
    assert len(set(names)) == 100
    assert all(name.parent == tmp_path and name.name.startswith("a.safetensors.") for name in names)


@pytest.mark.parametrize("host", ["node", "node-7.cluster.example", "x" * 64, "h\u00f6st 1", ""])
def test_what_makes_a_name_temporary_is_known_and_nothing_else(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", host, "", "", "")))
    for name in ("train-00000.safetensors.json", "a", ".a", "a.b.12.0123abcd.tmp"):
        assert TEMPORARY_ENDING.sub("", os.fspath(temporary(Path("/f.d.tmp", name)))) == f"/f.d.tmp/{name}"
    ending = temporary(Path("/a")).name[1:]
    others = ("a.tmp", "a.1.tmp", f"a{ending}/x", f"a{ending}\n", f"a{ending}x", f"a{ending[1:]}", "a.h.1.0123ABCD.tmp")
    assert [name for name in others if TEMPORARY_ENDING.search(name)] == []


def test_only_temporaries_with_the_prefix_are_cleared(tmp_path: Path) -> None:
    ours, other = temporary(tmp_path / "manifest.json"), temporary(tmp_path / "train-00000.safetensors")
    for path in (ours, other, tmp_path / "manifest.json", tmp_path / "notes"):
        path.touch()
    clear_temporaries(tmp_path, prefix="manifest.json")
    assert sorted(os.listdir(tmp_path)) == sorted(["manifest.json", "notes", other.name])
    clear_temporaries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["manifest.json", "notes"]


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it is told to end, or is killed."""
    command = [sys.executable, "-c", HOLD, os.fspath(path)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def try_elsewhere(path: Path) -> str:
    command = [sys.executable, "-c", TRY, os.fspath(path)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    build = tmp_path / "shards" / ".build"
    build.mkdir(parents=True)
    return build / "lock"


def test_a_lock_is_free_before_and_after(lock: Path) -> None:
    for _ in range(2):
        with locked(lock):
            assert try_elsewhere(lock).startswith("refused:")
    assert try_elsewhere(lock) == "taken\n"


def test_a_second_process_is_refused_at_once_and_as_often_as_it_tries(lock: Path) -> None:
    with holder(lock):
        for _ in range(2):
            with pytest.raises(MachineError, match="shards: another build is at work here"), locked(lock):
                pytest.fail("the lock was held twice")


def test_a_second_holder_in_the_same_process_is_refused(lock: Path) -> None:
    with locked(lock), pytest.raises(MachineError, match="another build is at work here"), locked(lock):
        pytest.fail("the lock was held twice")


def test_the_lock_of_a_killed_process_is_free(lock: Path) -> None:
    with holder(lock) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert lock.exists()
        with locked(lock):
            pass


def test_the_lock_is_free_after_an_exception(lock: Path) -> None:
    with pytest.raises(KeyError), locked(lock):
        raise KeyError
    with locked(lock):
        pass


@pytest.mark.parametrize("recreated", [True, False])
def test_a_lock_file_that_was_removed_meanwhile_is_noticed(
    lock: Path, monkeypatch: pytest.MonkeyPatch, recreated: bool
) -> None:
    acquire = filelock.FileLock.acquire

    def after_the_last_holder_has_gone(self: filelock.FileLock, *arguments: Any, **options: Any) -> Any:
        lock.unlink()
        if recreated:
            lock.touch()
        return acquire(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(filelock.FileLock, "acquire", after_the_last_holder_has_gone)
        with pytest.raises(MachineError, match="another build is at work here"), locked(lock):
            pytest.fail("a lock on a file that is gone was believed")
    with locked(lock):
        pass


def test_a_lock_file_that_goes_once_the_lock_is_taken_is_noticed(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = filelock.FileLock.acquire

    def and_lose(self: filelock.FileLock, *arguments: Any, **options: Any) -> Any:
        taken = acquire(self, *arguments, **options)
        lock.unlink()
        return taken

    with monkeypatch.context() as patched:
        patched.setattr(filelock.FileLock, "acquire", and_lose)
        with pytest.raises(MachineError, match="another build is at work here"), locked(lock):
            pytest.fail("a lock on a file that is gone was believed")


def test_no_descriptor_is_left_open(lock: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to count descriptors in")
    with locked(lock):
        pass
    before = descriptors()
    for _ in range(3):
        with locked(lock), pytest.raises(MachineError), locked(lock):
            pass
    assert descriptors() == before
