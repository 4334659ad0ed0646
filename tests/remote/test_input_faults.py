"""Recordings in a store that is asked through something that fails, hangs, or answers for others."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError, StoreError
from audiochunk.pipeline import run
from audiochunk.pipeline.store import parts as remote_parts
from audiochunk.pipeline.store import source as object_source
from audiochunk.pipeline.store.scan import walk_objects
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects
from tests.waiting import LONG_S, wait_until

from .conftest import read_timeout
from .made import Between, built, files_of, put
from .servers import Fault, Proxy


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


def ended(proxy: Proxy, arguments: list[str], number: int, *, asked: int, ranges: bool) -> tuple[int, str]:
    """Begin a build that waits for answers for ever, and end it once a recording was asked for so many times.

    Returns:
        Its exit code, and what it said.
    """
    code = "from audiochunk.pipeline.store import parts as r, source as o; from audiochunk.cli import main; "
    code += "r.WHOLE_BYTES = 0; o.FIRST_BYTES = 512; o.MOST_BYTES = 3000; main()" if ranges else "main()"
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    environment["FSSPEC_S3"] = json.dumps(read_timeout(100 * LONG_S))
    command = [sys.executable, "-c", code, "build", *arguments, "--shard-size", "20000", "--no-fsync"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def is_asked_for() -> bool:
        assert process.poll() is None
        return sum(request.startswith("GET") and "/07 " in request for request in list(proxy.requests)) >= asked

    try:
        wait_until(is_asked_for, "a request")
        process.send_signal(number)
        said = process.communicate(timeout=LONG_S)[1]
        return process.returncode, said
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
    proxy.fail(Fault(silent=True), part="/07 ")
    out = tmp_path / "out"
    arguments = [stored, "-o", os.fspath(out), "--workers", workers]
    code, said = ended(proxy, arguments, number, asked=sound + 1, ranges=sound > 1)
    assert code == (130 if number == signal.SIGINT else 143), said
    assert "Traceback" not in said
    proxy.heal()
    assert run.build(stored, out, options_of(on_error="fail"), workers=1, fsync=False).manifest.skipped == 0
    assert files_of(out) == built(folder, tmp_path / "from-folder")


# -- keys and URLs


def a_wav(seed: int) -> bytes:
    file = io.BytesIO()
    samples = np.random.default_rng(seed).integers(-3000, 3000, 5000, np.int16)
    sf.write(file, samples, 8000, format="WAV")
    return file.getvalue()


def test_keys_of_s3_come_in_the_order_of_their_bytes_and_odd_ones_are_refused(s3: str, tmp_path: Path) -> None:
    good = ["a-b.wav", "a.wav", "a.wav/c.wav", "ä.wav"]
    odd = ["a//b.wav", "q.wav?versionId=2.wav", "x/../c.wav"]
    store = Objects(f"{s3}/rec")
    for number, name in enumerate([*good, *odd]):
        key, body = f"rec/{name}", a_wav(number)
        store.call("written", name, lambda fs, k=key, b=body: fs.call_s3("put_object", Bucket=s3[5:], Key=k, Body=b))
    out = tmp_path / "out"
    result = run.build(f"{s3}/rec", out, options_of(), workers=1)
    assert result.manifest.skipped == 3
    rows = [json.loads(line) for line in (out / "recordings.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == sorted([*good, *odd], key=str.encode)
    assert [row["path"] for row in rows if "error" in row] == sorted(odd)
    assert "cannot be asked for by its name" in str([row.get("error") for row in rows])
    dataset = audiochunk.open(out)
    for number, name in enumerate(good):
        codes = np.concatenate([dataset[i] for i in range(len(dataset)) if dataset.locate(i).path == name])
        samples, _ = sf.read(io.BytesIO(a_wav(number)), dtype="int16")
        assert np.array_equal(codes, ((samples >> 8) + 128)[: len(codes)])
        assert len(codes) == 4096


def test_a_name_that_is_no_text_is_refused_and_keeps_its_place(memory: str, tmp_path: Path) -> None:
    for name in ("a.wav", "x\udcff.wav", "x\ufffd.wav"):
        Objects(memory).write(name, a_wav(1))
    assert [(one.path[:1], one.error) for one in walk_objects(memory.encode())] == [
        (b"a", None),
        (b"x", "a key that is no UTF-8"),
        (b"x", None),
    ]
    assert run.build(memory, tmp_path / "out", options_of(), workers=1).manifest.skipped == 1


@pytest.mark.parametrize("url", ["s3://bkt/\udcff", "memory://x/\ud800"])
def test_a_url_that_is_no_text_is_refused_in_a_sentence(url: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no UTF-8"):
        run.build(url, tmp_path / "out", options_of(), workers=1)
    with pytest.raises(ConfigError, match="no UTF-8"):
        run.build(folder, url, options_of(), workers=1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/rec", "HTTPS://example.org/rec"])
def test_recordings_are_not_read_by_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not read by HTTP"):
        run.build(url, tmp_path / "out", options_of(), workers=1)


def test_an_object_of_unknown_length_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match=r"a\.wav: the store does not say how long it is"):
        ObjectInfo.of("a.wav", {"name": "a.wav", "size": None})
