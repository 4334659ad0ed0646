"""Datasets of recordings in an object store: the same bytes as of the same files in a folder, or an honest end."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.config import BuildConfig, Encoding
from audiochunk.errors import ConfigError, InputError, RecordingsError, StoreError
from audiochunk.pipeline import run, scan
from audiochunk.pipeline.parts import Part, write_part
from audiochunk.pipeline.scan import Found
from audiochunk.pipeline.store import parts as remote_parts
from audiochunk.pipeline.store import source as object_source
from audiochunk.pipeline.store.parts import RemoteParts, frame_range
from audiochunk.pipeline.store.scan import probe_objects, walk_objects
from audiochunk.signal.encoder import Encoder
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects
from audiochunk.tools.against import verify_against
from tests.waiting import LONG_S

from .made import Between, built, files_of, put
from .servers import ACCESS_KEY, SECRET_KEY, TOKEN, Fault, Proxy

ENCODINGS: list[dict[str, Any]] = [
    {},
    {"bits": 16, "layout": "split", "tail": "pad", "compress": "zstd"},
    {"layout": "mono", "quantizer": "mulaw", "split": "train=0.6,val=0.4", "group_by": "folder"},
    {"include": ["a*/*.wav", "*.flac"], "exclude": ["a-"]},
]


@pytest.fixture
def by_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recording is small, and windows are."""
    monkeypatch.setattr(remote_parts, "WHOLE_BYTES", 0)
    monkeypatch.setattr(object_source, "FIRST_BYTES", 512)
    monkeypatch.setattr(object_source, "MOST_BYTES", 3000)


def options_of(**options: Any) -> BuildConfig:
    return BuildConfig.make(**{"shard_size": 20_000, **options})


def same_as_folder(url: str, folder: Path, tmp_path: Path, **options: Any) -> None:
    from_folder = built(folder, tmp_path / "from-folder", **options)
    from_store = built(url, tmp_path / "from-store", **options)
    assert from_store == from_folder
    assert len(from_folder) > 3


@pytest.mark.parametrize("options", ENCODINGS, ids=str)
@pytest.mark.parametrize("ranges", [False, True], ids=["whole", "ranges"])
def test_a_dataset_from_memory_is_that_from_the_folder(
    memory: str, folder: Path, tmp_path: Path, options: dict[str, Any], ranges: bool, request: pytest.FixtureRequest
) -> None:
    if ranges:
        request.getfixturevalue("by_ranges")
    put(folder, memory)
    same_as_folder(memory, folder, tmp_path, **options)


def test_a_dataset_from_s3_is_that_from_the_folder(stored: str, folder: Path, tmp_path: Path) -> None:
    same_as_folder(stored, folder, tmp_path)
    assert not audiochunk.build(stored, tmp_path / "from-store", workers=1, shard_size=20_000).skipped  # up to date


def test_ranges_from_s3_give_the_same(stored: str, folder: Path, tmp_path: Path, by_ranges: None) -> None:
    same_as_folder(stored, folder, tmp_path, bits=16)


def test_processes_scan_and_build_from_s3(
    stored: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_AT_ONCE", 3)
    same_as_folder(stored, folder, tmp_path, workers=2)
    assert not multiprocessing.active_children()


def test_an_executor_of_the_caller_builds_from_s3(stored: str, folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        from_store = built(stored, tmp_path / "from-store", workers=3, executor=threads)
    assert from_store == built(folder, tmp_path / "from-folder")


def test_real_recordings_are_the_same_from_a_store(memory: str, recordings: Path, tmp_path: Path) -> None:
    put(recordings, memory)
    options = {"on_error": "skip", "shard_size": "2MiB"}
    same_as_folder(memory, recordings, tmp_path, **options)


def test_real_recordings_are_the_same_by_ranges(memory: str, recordings: Path, tmp_path: Path, by_ranges: None) -> None:
    put(recordings, memory)
    same_as_folder(memory, recordings, tmp_path, on_error="skip", shard_size="2MiB", bits=16, tail="pad")


def test_a_file_url_is_a_folder(folder: Path, tmp_path: Path) -> None:
    assert built(folder.as_uri().replace("%20", " "), tmp_path / "a") == built(folder, tmp_path / "b")


def test_a_dataset_is_verified_against_recordings_in_a_store(
    memory: str, folder: Path, tmp_path: Path, by_ranges: None
) -> None:
    put(folder, memory)
    built(folder, tmp_path / "shards")
    assert verify_against(tmp_path / "shards", memory) == []
    changed = Objects(memory).read("a/00 ü+%.wav")
    Objects(memory).write("a/00 ü+%.wav", changed[:3000] + b"otherwise" + changed[3009:])
    Objects(memory).remove("a/04 ü+%.w64")
    different, missing = verify_against(tmp_path / "shards", memory)
    assert "(a/00 ü+%.wav)" in different.place
    assert (missing.file, missing.place, missing.found) == ("a/04 ü+%.w64", "file", "nothing")


@pytest.mark.parametrize("at", [3, 20, 60])
def test_an_interrupt_while_a_recording_is_decoded_is_no_fault_of_the_recording(
    memory: str, folder: Path, tmp_path: Path, by_ranges: None, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """It comes while libsndfile reads through Python, where an exception would be lost."""
    put(folder, memory)
    read, left = Objects.read, [-1]

    def interrupted(self: Objects, name: str, start: int = 0, size: int | None = None) -> bytes:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return read(self, name, start, size)

    monkeypatch.setattr(Objects, "read", interrupted)
    options = options_of(on_error="skip", include=["*.flac", "*.caf", "*.au"])

    def begin() -> None:
        left[0] = at

    with pytest.raises(KeyboardInterrupt):
        run.build(memory, tmp_path / "out", options, workers=1, watcher=Between(begin))
    assert left[0] <= 0
    assert run.build(memory, tmp_path / "out", options, workers=1).manifest.skipped == 0


# -- what is not as it was


def change(url: str, name: str, data: bytes) -> Callable[[], None]:
    return lambda: Objects(url).write(name, data)


@pytest.mark.parametrize("small", [True, False], ids=["whole", "ranges"])
@pytest.mark.parametrize("what", ["changed", "shorter", "gone"])
def test_a_recording_that_is_not_what_it_was_fails_for_this_build_only(
    memory: str, folder: Path, tmp_path: Path, what: str, small: bool, request: pytest.FixtureRequest
) -> None:
    if not small:
        request.getfixturevalue("by_ranges")
    put(folder, memory)
    name = "a/00 ü+%.wav"
    data = (folder / name).read_bytes()

    def act() -> None:
        if what == "gone":
            Objects(memory).remove(name)
        else:
            Objects(memory).write(name, data[:3000] if what == "shorter" else data[:-1] + b"\0")

    out, watcher = tmp_path / "out", Between(act)
    with pytest.raises(RecordingsError, match=r"there is no such object any more|changed while the dataset was built"):
        run.build(memory, out, options_of(), workers=1, watcher=watcher)
    Objects(memory).write(name, data)
    skipping = run.build(memory, out, options_of(on_error="skip"), workers=1, watcher=watcher)
    assert list(skipping.failed) == [name.encode()]
    assert skipping.manifest.skipped == 1
    Objects(memory).write(name, data)
    whole = built(memory, tmp_path / "whole")
    assert whole == built(folder, tmp_path / "from-folder")


# -- stores and networks that fail


def test_passing_faults_change_nothing(
    stored: str, proxy: Proxy, folder: Path, tmp_path: Path, impatient: None
) -> None:
    proxy.fail(Fault(status=500), times=2, part="list-type")
    proxy.fail(Fault(status=503), times=1, method="HEAD", part="00 ")
    proxy.fail(Fault(cut_after=100), times=2, part="01 ")
    proxy.fail(Fault(keep=50), times=2, part="02 ")
    proxy.fail(Fault(silent=True), times=1, part="03 ")
    proxy.fail(Fault(drop=True), times=2, part="04 ")
    same_as_folder(stored, folder, tmp_path)
    assert not any(rule.left for rule in proxy._rules)


LASTING = [
    Fault(status=500),
    Fault(status=403),
    Fault(cut_after=100),
    Fault(keep=50),
    Fault(drop=True),
    Fault(silent=True),
]


@pytest.mark.parametrize("when", ["scan", "build"])
@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: str(fault).partition("(")[2])
def test_a_network_that_fails_ends_the_build_and_skips_nothing(
    stored: str, proxy: Proxy, folder: Path, tmp_path: Path, fault: Fault, when: str, impatient: None
) -> None:
    proxy.fail(fault, part="07 ") if when == "scan" else None
    out = tmp_path / "out"
    watcher = Between(lambda: proxy.fail(fault, part="07 "))
    with pytest.raises(StoreError, match="could not be read") as caught:
        run.build(stored, out, options_of(on_error="skip"), workers=1, watcher=watcher)
    assert caught.value.exit_code == 6
    assert "07 ü" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in (ACCESS_KEY, SECRET_KEY, TOKEN))
    assert not (out / "manifest.json").exists()
    proxy.heal()
    later = run.build(stored, out, options_of(on_error="skip"), workers=1)
    assert later.manifest.skipped == 0
    assert bool(later.reused) == (when == "build")
    assert files_of(out) == built(folder, tmp_path / "from-folder", on_error="skip")


@pytest.mark.parametrize("kind", ["flac", "aiff", "caf", "w64", "au", "wav"])
@pytest.mark.parametrize("fault", [Fault(status=500), Fault(cut_after=100)], ids=["500", "cut"])
def test_a_network_that_fails_while_a_recording_is_decoded_ends_the_build(
    stored: str, proxy: Proxy, tmp_path: Path, by_ranges: None, kind: str, fault: Fault
) -> None:
    """libsndfile takes what cannot be read for the end of the file; nobody else may."""

    # The first windows come; those after them do not.
    def some_windows_later() -> None:
        proxy.fail(Fault(), times=3, part=f".{kind}")
        proxy.fail(fault, part=f".{kind}")

    options = options_of(on_error="skip", include=[f"*.{kind}"])
    with pytest.raises(StoreError, match="could not be read"):
        run.build(stored, tmp_path / "out", options, workers=1, watcher=Between(some_windows_later))
    proxy.heal()
    assert run.build(stored, tmp_path / "out", options, workers=1).manifest.skipped == 0


def test_a_listing_that_fails_is_not_taken_for_a_short_one(stored: str, proxy: Proxy, tmp_path: Path) -> None:
    for fault in (Fault(status=500), Fault(cut_after=30), Fault(status=403)):
        proxy.heal()
        proxy.fail(fault, part="list-type")
        with pytest.raises(StoreError, match="could not be listed"):
            run.build(stored, tmp_path / "out", options_of(on_error="skip"), workers=1)


def test_processes_hand_a_failure_of_the_network_on(stored: str, proxy: Proxy, tmp_path: Path) -> None:
    watcher = Between(lambda: proxy.fail(Fault(status=403), part="07 "))
    with pytest.raises(StoreError, match=r"07 ü.*access is denied"):
        run.build(stored, tmp_path / "out", options_of(on_error="skip"), workers=2, watcher=watcher)


# -- keys


class Listed(Objects):
    """A store that lists what it is told to."""

    names: tuple[str, ...] = ()

    def list(self, prefix: str = "") -> Any:
        return (ObjectInfo(name, 1, "x") for name in self.names)


def test_an_order_that_is_none_of_paths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiochunk.pipeline.store.scan.objects_at", Listed)
    monkeypatch.setattr(Listed, "names", ("b.wav", "a.wav"))
    with pytest.raises(InputError, match=r"b\.wav came before a\.wav"):
        list(walk_objects(b"memory://x"))


def test_keys_that_are_no_paths_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiochunk.pipeline.store.scan.objects_at", Listed)
    names = ("../c.wav", "/a.wav", "a/.hidden.wav", "a/.wav", "a//b.wav", "a/b.WAV", "a/b.txt", "a/b.wav/")
    monkeypatch.setattr(Listed, "names", names)
    found = {one.path: one.error for one in walk_objects(b"memory://x")}
    assert [path for path, error in found.items() if error is None] == [b"a/.hidden.wav", b"a/b.WAV"]
    assert [path for path, error in found.items() if error] == [b"../c.wav", b"/a.wav", b"a//b.wav"]
    scanned = probe_objects(b"memory://x", (Found(path, error) for path, error in found.items() if error))
    assert [(one.path, one.info) for one in scanned] == [(b"../c.wav", None), (b"/a.wav", None), (b"a//b.wav", None)]


def test_a_bucket_that_is_not_there_says_so(s3: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s3://no-such-bucket/rec: there is no such bucket"):
        run.build("s3://no-such-bucket/rec", tmp_path / "out", options_of(), workers=1)


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/rec", "nosuch://bucket", "s3://bucket/a?token=secret"])
def test_urls_that_are_not_taken_end_as_usage(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run.build(url, tmp_path / "out", options_of(), workers=1)
    assert "secret" not in str(caught.value)


# -- no more than is needed


def test_a_part_in_the_middle_fetches_about_its_own_bytes(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_parts, "WHOLE_BYTES", 2**20)
    monkeypatch.setattr(object_source, "MOST_BYTES", 2**19)
    samples = np.random.default_rng(1).integers(-3000, 3000, (4_000_000, 2), np.int16)
    for name in ("a.wav", "b.flac", "c.aiff"):
        sf.write(tmp_path / name, samples, 48000)
        Objects(memory).write(name, (tmp_path / name).read_bytes())
    asked: list[tuple[str, int, int]] = []
    read = Objects.read

    def counted(self: Objects, name: str, start: int = 0, size: int | None = None) -> bytes:
        asked.append((name, start, size or 0))
        return read(self, name, start, size)

    monkeypatch.setattr(Objects, "read", counted)
    root = memory.encode()
    scanned = list(probe_objects(root, walk_objects(root)))
    assert [(name, size) for name, _, size in sorted(asked)] == [(n, 2**16) for n in ("a.wav", "b.flac", "c.aiff")]
    for one in scanned:
        asked.clear()
        assert one.info is not None
        part = Part(one, None, 2000, 400)
        encoder = Encoder(Encoding(), lambda n: np.empty(n, np.uint8), n_bytes=2**19)
        with RemoteParts(root, [part], Encoding()) as folder:
            write_part(part, encoder, root=root, folder=folder)
        fetched, needed = sum(size for _, _, size in asked), 400 * 2048 * 2
        assert len(frame_range(part, Encoding())) * 4 == needed
        if one.path == b"a.wav":
            assert fetched == needed
        assert needed * 0.75 < fetched < 2 * needed  # FLAC is smaller than its samples
        assert len(asked) < 16


def test_small_recordings_are_asked_for_once_and_several_at_a_time(
    stored: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, seen, now, most = object_source.fetch_whole, threading.Condition(), [0], [0]

    def counted(*args: Any, **kwargs: Any) -> Any:
        with seen:
            now[0] += 1
            most[0] = max(most[0], now[0])
            seen.notify_all()
            assert seen.wait_for(lambda: most[0] >= 4, LONG_S)  # so that a slow one is not alone
        try:
            return fetch(*args, **kwargs)
        finally:
            with seen:
                now[0] -= 1

    monkeypatch.setattr(remote_parts, "fetch_whole", counted)
    proxy.latency_s = 0.1
    watcher = Between(proxy.requests.clear)
    run.build(stored, tmp_path / "out", options_of(layout="split", shard_size="1MiB"), workers=1, watcher=watcher)
    assert 4 <= most[0] <= 16
    gets = [request for request in proxy.requests if request.startswith("GET") and "/rec/" in request]
    assert len(gets) == len(set(gets)) == 18


def test_building_from_a_folder_imports_no_fsspec(folder: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, audiochunk; audiochunk.build(sys.argv[1], sys.argv[2], workers=1);"
        "print([name for name in ('fsspec', 's3fs', 'audiochunk.storage.objects') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, os.fspath(folder), os.fspath(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
