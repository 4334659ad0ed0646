"""Recordings in a store that is asked through something that fails, hangs, or answers for others."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import StoreError
from audiochunk.pipeline import object_source, remote_parts, run
from audiochunk.storage.objects import Objects

from .made import Between, built, files_of, make_recordings, put
from .servers import Fault, Proxy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def stored(s3: str, folder: Path) -> str:
    """The URL of the same recordings."""
    put(folder, f"{s3}/rec")
    return f"{s3}/rec"


@pytest.fixture(params=["whole", "ranges"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings are fetched whole, or by short ranges."""
    if request.param == "ranges":
        monkeypatch.setattr(remote_parts, "WHOLE_BYTES", 0)
        monkeypatch.setattr(object_source, "FIRST_BYTES", 512)
        monkeypatch.setattr(object_source, "MOST_BYTES", 3000)


def options_of(**options: object) -> BuildConfig:
    return BuildConfig.make(**{"shard_size": 20_000, "on_error": "skip", **options})


# -- a 404 that is none of the object's


@pytest.mark.parametrize("methods", [["HEAD"], ["GET"], ["HEAD", "GET"]], ids="+".join)
@pytest.mark.parametrize("when", ["scan", "build"])
def test_a_404_of_an_object_that_is_listed_is_a_failure_of_the_store(
    stored: str, proxy: Proxy, folder: Path, tmp_path: Path, methods: list[str], when: str, either_way: None
) -> None:
    def fail() -> None:
        for method in methods:
            proxy.fail(Fault(status=404, code="NoSuchKey"), method=method, part="/07 ")

    fail() if when == "scan" and "GET" in methods else None
    out = tmp_path / "out"
    with pytest.raises(StoreError, match=r"07 ü.*could not be read") as caught:
        run.build(stored, out, options_of(), workers=1, watcher=Between(fail))
    assert caught.value.exit_code == 6
    proxy.heal()
    assert run.build(stored, out, options_of(), workers=1).manifest.skipped == 0
    assert files_of(out) == built(folder, tmp_path / "from-folder", on_error="skip")


@pytest.mark.parametrize("code", ["NoSuchBucket", "Odd"])
def test_a_404_for_everything_is_a_failure_of_the_store(
    stored: str, proxy: Proxy, tmp_path: Path, code: str, either_way: None
) -> None:
    def fail() -> None:
        for method in ("HEAD", "GET"):
            proxy.fail(Fault(status=404, code=code), method=method)

    with pytest.raises(StoreError, match=r"could not be"):
        run.build(stored, tmp_path / "out", options_of(), workers=1, watcher=Between(fail))
    proxy.heal()
    assert run.build(stored, tmp_path / "out", options_of(), workers=1).manifest.skipped == 0


def test_a_store_that_has_become_empty_is_not_one_whose_recordings_are_gone(
    memory: str, folder: Path, tmp_path: Path, either_way: None
) -> None:
    put(folder, memory)

    def empty() -> None:
        for info in list(Objects(memory).list()):
            Objects(memory).remove(info.name)

    with pytest.raises(StoreError, match="nor is anything else at that URL any more"):
        run.build(memory, tmp_path / "out", options_of(), workers=1, watcher=Between(empty))


def test_a_recording_that_the_store_lists_no_more_is_gone(
    stored: str, proxy: Proxy, tmp_path: Path, either_way: None
) -> None:
    # Another that begins with its name is there.
    Objects(stored).write("Ä/07 ü+%.flac.txt", b"notes")
    act = Between(lambda: Objects(stored).remove("Ä/07 ü+%.flac"))
    skipping = run.build(stored, tmp_path / "out", options_of(), workers=1, watcher=act)
    assert list(skipping.failed) == ["Ä/07 ü+%.flac".encode()]
    assert any(re.match(r"GET .*list-type=2.*prefix=.*07", request) for request in proxy.requests)


# -- requests that hang


def ended(proxy: Proxy, arguments: list[str], number: int, *, asked: int, ranges: bool) -> tuple[int, float, str]:
    """Begin a build, and end it once a recording was asked for so many times.

    Returns:
        Its exit code, how many seconds it took to end, and what it said.
    """
    code = "from audiochunk.pipeline import object_source as o, remote_parts as r; from audiochunk.cli import main; "
    code += "r.WHOLE_BYTES = 0; o.FIRST_BYTES = 512; o.MOST_BYTES = 3000; main()" if ranges else "main()"
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    command = [sys.executable, "-c", code, "build", *arguments, "--shard-size", "20000", "--no-fsync"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        while sum(request.startswith("GET") and "/07 " in request for request in list(proxy.requests)) < asked:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
        return process.returncode, time.monotonic() - began, said
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("when", ["scan", "whole", "ranges", "decoding"])
def test_a_request_that_hangs_does_not_keep_a_command_from_ending(
    stored: str, proxy: Proxy, folder: Path, tmp_path: Path, number: int, workers: str, when: str
) -> None:
    sound = {"scan": 0, "whole": 1, "ranges": 4, "decoding": 12}[when]
    proxy.fail(Fault(), times=sound, part="/07 ")
    proxy.fail(Fault(delay_s=60), part="/07 ")
    out = tmp_path / "out"
    arguments = [stored, "-o", os.fspath(out), "--workers", workers]
    code, seconds, said = ended(proxy, arguments, number, asked=sound + 1, ranges=sound > 1)
    assert code == (130 if number == signal.SIGINT else 143)
    assert "Traceback" not in said
    assert seconds < 5  # of 60
    proxy.heal()
    assert run.build(stored, out, options_of(on_error="fail"), workers=1, fsync=False).manifest.skipped == 0
    assert files_of(out) == built(folder, tmp_path / "from-folder")
