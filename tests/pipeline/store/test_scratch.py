"""Folders for shards on their way into a store: gone with the block, and, where a process was killed, with the next."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import audiochunk
from audiochunk.pipeline.store.scratch import scratch_folder

HOLD = """
import os, time
from audiochunk.pipeline.store.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "shard").write_bytes(b"x" * 99)
    pid = {forks} and os.fork()
    if pid or not {forks}:
        print(pid, flush=True)
        if pid:
            os.kill(os.getpid(), 9)
    time.sleep(60)
"""


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", os.fspath(tmp_path))
    return tmp_path


def begin(tmp: Path, *, forks: bool = False) -> "tuple[subprocess.Popen[str], int]":
    """A process that has made such a folder, or has left it to a fork, whose id it is then."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1]),
        "TMPDIR": os.fspath(tmp),
    }
    command = [sys.executable, "-c", HOLD.format(forks=forks)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline().replace("False", "0"))


def test_a_folder_is_gone_with_its_block(tmp: Path) -> None:
    def fail() -> None:
        with scratch_folder() as folder:
            assert folder.parent == tmp
            (folder / "shard").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp.iterdir()) == []


def test_a_folder_that_a_thread_still_writes_into_hides_no_error_and_goes_with_the_next(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = os.rmdir

    def fail() -> None:
        with scratch_folder() as folder:

            def removed_too_late(*args: Any, **options: Any) -> None:
                late = Thread(target=(folder / "late").write_bytes, args=(b"x",))
                late.start()
                late.join()
                remove(*args, **options)

            patch.setattr(os, "rmdir", removed_too_late)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        fail()
    assert len(list(tmp.glob("*/late"))) == 1
    with scratch_folder():
        assert len(list(tmp.iterdir())) == 1
    assert list(tmp.iterdir()) == []


def test_what_a_killed_process_has_left_goes_and_what_a_live_one_holds_stays(tmp: Path) -> None:
    (killed, _), (live, _) = begin(tmp), begin(tmp)
    try:
        assert len(list(tmp.glob("*/shard"))) == 2
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        for _ in range(2):
            with scratch_folder() as folder, scratch_folder() as other:
                assert folder != other
                assert len(list(tmp.iterdir())) == 3
        (left,) = tmp.glob("*/shard")
        assert left.read_bytes() == b"x" * 99
    finally:
        live.kill()
        live.communicate()


def test_a_folder_is_held_as_long_as_a_fork_of_its_process_lives(tmp: Path) -> None:
    parent, fork = begin(tmp, forks=True)
    try:
        assert parent.wait() == -signal.SIGKILL
        with scratch_folder():
            assert len(list(tmp.glob("*/shard"))) == 1
    finally:
        os.kill(fork, signal.SIGKILL)
    parent.communicate()  # the fork has ended once there is nothing more to read
    with scratch_folder():
        assert len(list(tmp.glob("*/shard"))) == 0


def test_what_is_none_of_these_folders_stays(tmp: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    host = os.uname().nodename.partition(".")[0]
    mine = tmp_path_factory.mktemp("mine")
    (mine / "lock").write_bytes(b"")
    (mine / "work").write_bytes(b"precious")
    (tmp / f"audiochunk-build-{host}-link").symlink_to(mine)
    for name in (f"audiochunk-build-{host}-nolock", f"audiochunk-build-other{host}-x", "audiochunk-x", "x"):
        (tmp / name).mkdir()
        if "nolock" not in name:
            (tmp / name / "lock").write_bytes(b"")
    (tmp / f"audiochunk-build-{host}-file").write_bytes(b"x")
    before = sorted(tmp.rglob("*"))
    with scratch_folder():
        pass
    assert sorted(tmp.rglob("*")) == before
    assert (mine / "work").read_bytes() == b"precious"


def test_a_folder_of_somebody_else_stays(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = os.uname().nodename.partition(".")[0]
    (tmp / f"audiochunk-build-{host}-x").mkdir()
    (tmp / f"audiochunk-build-{host}-x" / "lock").write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr("os.getuid", lambda: os.geteuid() + 1)
        with scratch_folder():
            pass
    assert len(list(tmp.iterdir())) == 1
    with scratch_folder():
        assert len(list(tmp.iterdir())) == 1
    assert list(tmp.iterdir()) == []


def test_where_there_are_no_locks_a_folder_is_never_taken_for_one_that_was_left(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refuse)
        one = scratch_folder()
        folder = one.__enter__()
    with scratch_folder():
        assert folder.exists()
    one.__exit__(None, None, None)
    assert list(tmp.iterdir()) == []
