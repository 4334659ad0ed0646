"""Builds into a store where requests hang, others put and remove what they like, and processes are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import MachineError, OutputExistsError
from audiochunk.pipeline import run
from audiochunk.pipeline.built import Built
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.site import TOKEN
from audiochunk.pipeline.store import build as store_build
from audiochunk.pipeline.store import output as store_output
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.creation import create
from audiochunk.storage.objects import Objects
from tests.waiting import LONG_S, wait_until

from .conftest import read_timeout
from .made import Between, built, make_recordings, objects_of
from .servers import Fault, Proxy

SHARD = 30_000
ROOT = os.fspath(Path(audiochunk.__file__).parents[1])


def make(source: Path, url: str, **options: Any) -> Built:
    named = {key: options.pop(key) for key in ("workers", "overwrite", "watcher") if key in options}
    return run.build(source, url, BuildConfig.make(**{"shard_size": SHARD, **options}), **{"workers": 1, **named})


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset that a local build makes."""
    return built(folder, tmp_path_factory.mktemp("built") / "shards", shard_size=SHARD)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """The folder for temporary files of a command, by a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ac-"))
    yield folder
    shutil.rmtree(folder)


def command(folder: Path, url: str, *more: str, **environment: str) -> "subprocess.Popen[str]":
    """A build that has begun, and waits for answers for ever."""
    patient = json.dumps(read_timeout(100 * LONG_S))
    return subprocess.Popen(
        [sys.executable, "-m", "audiochunk", "build", os.fspath(folder), "-o", url, "--shard-size", str(SHARD), *more],
        env={**os.environ, "PYTHONPATH": ROOT, "FSSPEC_S3": patient, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(proxy: Proxy, process: "subprocess.Popen[str]", method: str, part: str, *, times: int) -> None:
    """Wait until so many requests of that kind have come."""

    def have_come() -> bool:
        assert process.poll() is None
        return sum(request.startswith(method) and part in request for request in list(proxy.requests)) >= times

    wait_until(have_come, f"{method} of {part}")


# -- requests that hang


@pytest.mark.parametrize(
    ("method", "part", "sound", "workers"),
    [
        ("PUT", "token", 0, "1"),
        ("PUT", ".safetensors.HOST", 0, "1"),
        ("PUT", ".safetensors.HOST", 0, "2"),
        ("PUT", "train-00001.safetensors.json", 0, "1"),
        ("PUT", "shards/train-00001.safetensors", 0, "2"),
        ("GET", "token", 3, "1"),
        ("DELETE", "train", 0, "2"),
        ("PUT", "manifest.json", 0, "1"),
    ],
    ids=["token", "upload", "upload-by-a-worker", "record", "copy", "check", "removal", "manifest"],
)
def test_a_request_that_hangs_does_not_keep_a_build_from_ending(
    s3: str, proxy: Proxy, folder: Path, scratch: Path, method: str, part: str, sound: int, workers: str
) -> None:
    """And so does every request from then on, those that clear away included."""
    part = part.replace("HOST", os.uname().nodename.partition(".")[0])
    proxy.fail(Fault(), times=sound, method=method, part=part)
    proxy.fail(Fault(silent=True), method=method, part=part)
    process = command(folder, f"{s3}/shards", "--workers", workers, TMPDIR=os.fspath(scratch))
    try:
        wait_for(proxy, process, method, part, times=sound + 1)
        for any_method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
            proxy.fail(Fault(silent=True), method=any_method)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=LONG_S)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said == "audiochunk: interrupted; the same command goes on from the finished shards\n"
    assert list(scratch.glob("audiochunk-*")) == []
    proxy.heal()
    assert "manifest.json" not in objects_of(f"{s3}/shards") or part == "manifest.json"


def test_a_build_whose_clearing_up_hung_is_gone_on_with(
    s3: str, proxy: Proxy, folder: Path, scratch: Path, expected: dict[str, bytes]
) -> None:
    proxy.fail(Fault(silent=True), method="DELETE")
    proxy.fail(Fault(silent=True), method="PUT", part="train-00003.safetensors")
    process = command(folder, f"{s3}/shards", "--workers", "1", TMPDIR=os.fspath(scratch))
    wait_for(proxy, process, "PUT", "train-00003.safetensors", times=1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LONG_S)
    assert process.returncode == 143
    proxy.heal()
    make(folder, f"{s3}/shards")
    assert objects_of(f"{s3}/shards") == expected


# -- processes that are killed


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_killed_build_has_left_on_this_machine_goes_with_the_next(
    s3: str, proxy: Proxy, folder: Path, scratch: Path, expected: dict[str, bytes], workers: str
) -> None:
    host = os.uname().nodename.partition(".")[0]
    proxy.fail(Fault(silent=True), method="PUT", part=f".safetensors.{host}")
    process = command(folder, f"{s3}/shards", "--workers", workers, TMPDIR=os.fspath(scratch))
    wait_for(proxy, process, "PUT", f".safetensors.{host}", times=1)
    process.kill()
    process.communicate()  # its workers have ended, too, once there is nothing more to read
    assert list(scratch.glob("audiochunk-*/**/*.tmp"))
    proxy.heal()
    again = command(folder, f"{s3}/shards", "--workers", "1", TMPDIR=os.fspath(scratch))
    assert again.communicate()[1] == ""
    assert list(scratch.glob("audiochunk-*")) == []
    assert objects_of(f"{s3}/shards") == expected


# -- what others have there


def test_an_empty_folder_that_a_console_shows_is_empty(
    s3: str, server: str, folder: Path, expected: dict[str, bytes]
) -> None:
    for name in ("", "inner/"):
        there = f"{server}/{s3[5:]}/shards/{name}"
        urllib.request.urlopen(urllib.request.Request(there, b"", method="PUT")).close()
    make(folder, f"{s3}/shards")
    assert objects_of(f"{s3}/shards") == expected


class AtShards(Watcher):
    """Puts an object there with each shard."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name

    def finished(self, result: ShardResult) -> None:
        Objects(self._url).write(self._name, b"mine")


@pytest.mark.parametrize("name", ["mine.txt", "token.txt", "tokens", "notes.tmp", "token-1.tmp"])
def test_what_somebody_else_has_put_into_the_build_folder_stays_and_is_in_nobodys_way(
    memory: str, folder: Path, expected: dict[str, bytes], name: str
) -> None:
    make(folder, memory, watcher=AtShards(memory, f".build/{name}"))
    there = objects_of(memory)
    assert there.pop(f".build/{name}") == b"mine"
    assert json.loads(there.pop(".build/build.json"))["format"] == "audiochunk"
    assert there == expected
    assert make(folder, memory).up_to_date
    make(folder, memory, overwrite=True)
    assert objects_of(memory)[f".build/{name}"] == b"mine"


@pytest.mark.parametrize(
    "name", ["notes.tmp", "token-1.tmp", "a.host.12.0123abcd.tmp/x", "x/a.host.12.0123abcd.tmp", "token"]
)
def test_a_build_folder_of_somebody_else_is_not_taken_for_one_of_audiochunks(
    memory: str, folder: Path, name: str
) -> None:
    Objects(memory).write(f".build/{name}", b"mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="is not a build folder of audiochunk's"):
            make(folder, memory, overwrite=overwrite)
    assert objects_of(memory) == {f".build/{name}": b"mine"}


# -- two builds


def test_a_build_that_is_replaced_while_it_clears_away_removes_nothing_more(
    memory: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(folder, memory)
    remove = Objects.remove

    def then_another(self: Objects, name: str) -> None:
        remove(self, name)
        if name == "manifest.json":
            monkeypatch.setattr(Objects, "remove", remove)
            make(folder, memory, bits=16, overwrite=True)

    monkeypatch.setattr(Objects, "remove", then_another)
    with pytest.raises(MachineError, match="another build has taken over there"):
        make(folder, memory, overwrite=True, chunk_bytes=1024)
    assert objects_of(memory) == built(folder, tmp_path / "shards", shard_size=SHARD, bits=16)


def test_a_build_that_has_made_its_manifest_leaves_the_next_one_alone(
    memory: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next begins before the first has cleared its build folder away."""
    clear, reached, go_on, ends = store_output.clear, Event(), Event(), []

    def wait_and_clear(*args: Any) -> None:
        reached.set()
        assert go_on.wait(LONG_S)
        clear(*args)

    with ThreadPoolExecutor(1) as threads:

        def then_another(out: Objects, name: str, data: bytes) -> bool:
            made = create(out, name, data)
            monkeypatch.setattr(store_build, "create", create)
            monkeypatch.setattr(store_output, "clear", wait_and_clear)
            ends.append(threads.submit(make, folder, memory, bits=16, overwrite=True))
            assert reached.wait(LONG_S)
            return made

        monkeypatch.setattr(store_build, "create", then_another)
        make(folder, memory)
        go_on.set()
        assert not ends[0].result().up_to_date
    assert objects_of(memory) == built(folder, tmp_path / "shards", shard_size=SHARD, bits=16)


# -- how it is asked


def test_a_shard_takes_seventeen_requests(s3: str, proxy: Proxy, folder: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setattr("fsspec.config.conf", {})  # where none is late, none is asked twice

    def asked(url: str, shard_size: int) -> tuple[int, int]:
        made = make(folder, url, shard_size=shard_size, watcher=Between(proxy.requests.clear))
        return len(proxy.requests), len(made.manifest.shards)

    few, some = asked(f"{s3}/few", 60_000)
    more, many = asked(f"{s3}/many", 20_000)
    assert many >= some + 4
    assert more - few == 17 * (many - some)


def test_a_conflict_passes(s3: str, proxy: Proxy, folder: Path, expected: dict[str, bytes]) -> None:
    """Amazon answers so where two create an object at once, and says to try again."""
    conflict = Fault(status=409, code="ConditionalRequestConflict")
    proxy.fail(conflict, times=1, method="PUT", part="manifest.json")
    make(folder, f"{s3}/shards")
    assert objects_of(f"{s3}/shards") == expected


def test_a_url_is_the_same_in_any_locale(s3: str, tmp_path: Path) -> None:
    folder = make_recordings(tmp_path / "recorded", n=3)
    for path in list(folder.rglob("*.*")):
        path.rename(folder / f"{path.name[:2]}{path.suffix}")  # names of files are another matter
    script = "import sys, audiochunk as a; a.build(sys.argv[1], sys.argv[2] + '/\\u00fc', workers=1, shard_size=20000)"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script, os.fspath(folder), s3],
        env={**os.environ, "PYTHONPATH": ROOT, **locale},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert objects_of(f"{s3}/ü") == built(folder, tmp_path / "shards")


def test_tokens_are_called_as_is_known() -> None:
    """Whoever looks for tokens must not pass one over."""
    from audiochunk.pipeline.places import in_store, temporary_place

    for begun in ("", f"{store_output.WORK}{TOKEN}-7.host.1.0123abcd.tmp"):
        _, name = in_store(temporary_place(b"memory://x/.build", store_output.token_after([begun])))
        assert store_output.is_temporary(name.removeprefix(store_output.WORK))
        assert store_output.token_order(name)[0] == (8 if begun else 1)
