import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

import audiochunk
from audiochunk.cli import cli, pipes
from tests.waiting import LONG_S


@pytest.fixture
def unread() -> Iterator[int]:
    """The end of a pipe to write into, whose reader has ended."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The folder of a dataset."""
    (tmp_path / "wavs").mkdir()
    sf.write(tmp_path / "wavs" / "a.wav", np.arange(-5000, 5000, dtype=np.int16), 8000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "out", workers=1, fsync=False)
    return tmp_path / "out"


def run(args: list[str], **streams: int) -> "subprocess.CompletedProcess[bytes]":
    into: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    command = [sys.executable, "-m", "audiochunk", *args]
    env = {**os.environ, "PYTHONPATH": str(Path(audiochunk.__file__).parents[1])}
    return subprocess.run(command, env=env, check=False, timeout=LONG_S, **into)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    "options", [["inspect"], ["inspect", "--stats", "all", "--json"], ["verify"], ["--help"]], ids=" ".join
)
def test_command_that_nobody_reads_ends_quietly(dataset: Path, unread: int, options: list[str]) -> None:
    where = [] if options == ["--help"] else [str(dataset)]
    done = run([*options[:1], *where, *options[1:]], stdout=unread)
    assert (done.returncode, done.stderr) == (pipes.CODE, b"") == (141, b"")


def test_error_that_nobody_reads_ends_quietly(tmp_path: Path, unread: int) -> None:
    done = run(["inspect", str(tmp_path)], stderr=unread)
    assert (done.returncode, done.stdout) == (141, b"")


def test_stream_that_nobody_reads_and_nobody_writes_into_is_no_matter(dataset: Path, unread: int) -> None:
    assert run(["verify", str(dataset)], stderr=unread).returncode == 0


def test_broken_pipe_of_something_else_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audiochunk.storage.manifest import Manifest

    def fails(folder: Path) -> Manifest:
        raise OSError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(Manifest, "read", fails)
    done = CliRunner().invoke(cli, ["inspect", str(tmp_path)])
    assert (done.exit_code, done.output) == (6, "audiochunk: broken pipe\n")
