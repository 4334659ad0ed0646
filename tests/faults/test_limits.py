"""A machine that refuses: a full disk, limits, folders that may not be written."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk

ROOT = Path(audiochunk.__file__).parents[1]
OPTIONS = ["--shard-size", "100k", "--workers", "2"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits") / "wavs"
    folder.mkdir()
    rng = np.random.Generator(np.random.PCG64(3))
    for number in range(30):
        sf.write(folder / f"{number:02}.wav", rng.integers(-9000, 9000, 50_000).astype(np.int16), 16_000)
    audiochunk.build(folder, folder.parent / "whole", shard_size=100_000, workers=1)
    return folder


def build(wavs: Path, out: Path, *, limit: tuple[int, int] | None = None) -> "subprocess.CompletedProcess[str]":
    """A build in a process of its own, with a resource limit if one is given."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    return subprocess.run(
        [sys.executable, "-m", "audiochunk", "build", str(wavs), "--out", str(out), *OPTIONS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=restrict,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    assert done.returncode == 6, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 800 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_a_sentence_and_the_build_goes_on_when_there_is_room(wavs: Path, small_disk: Path) -> None:
    done = build(wavs, small_disk / "out")
    assert_refused(done, "no space left on device; make room")
    assert not (small_disk / "out" / "manifest.json").exists()
    assert list((small_disk / "out" / ".build").glob("*.safetensors"))
    # The worker that did not meet the full disk is ended at its task, and may leave a temporary file to the next build.
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    done = build(wavs, small_disk / "out")
    assert done.returncode == 0
    assert "taken over from an interrupted build" in done.stdout
    assert files_of(small_disk / "out") == files_of(wavs.parent / "whole")


def test_a_limit_on_the_size_of_files_is_a_sentence(wavs: Path, tmp_path: Path) -> None:
    done = build(wavs, tmp_path / "out", limit=(resource.RLIMIT_FSIZE, 50_000))
    assert_refused(done, "file too large; a file may not grow so large here (ulimit -f)")
    assert (tmp_path / "out" / ".build").is_dir()
    assert build(wavs, tmp_path / "out").returncode == 0
    assert files_of(tmp_path / "out") == files_of(wavs.parent / "whole")


@pytest.mark.parametrize("files", [4, 5, 6, 8, 10, 12, 14, 17, 20])
def test_a_limit_on_open_files_is_a_sentence_or_enough(wavs: Path, tmp_path: Path, files: int) -> None:
    """However few there are, no recording is refused for it, and none is lost."""
    done = build(wavs, tmp_path / "out", limit=(resource.RLIMIT_NOFILE, files))
    if done.returncode == 0:
        assert files_of(tmp_path / "out") == files_of(wavs.parent / "whole")
        return
    if "audiochunk" not in done.stderr or "ImportError" in done.stderr or "Fatal Python error" in done.stderr:
        pytest.skip(f"Python itself does not start with {files} open files")
    assert done.returncode == 6, done.stderr
    assert "too many open files" in done.stderr.lower()
    assert build(wavs, tmp_path / "out").returncode == 0
    assert files_of(tmp_path / "out") == files_of(wavs.parent / "whole")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_sentence(wavs: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert_refused(build(wavs, tmp_path / "locked" / "out"), "permission denied")


def test_a_read_only_file_system_is_a_sentence(wavs: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_refused(build(wavs, small_disk / "out"), "read-only file system; choose another --out")
