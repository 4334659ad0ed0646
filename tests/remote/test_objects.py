import io
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audiochunk.errors import MachineError, StoreError
from audiochunk.storage import objects
from audiochunk.storage.creation import create
from audiochunk.storage.objects import Objects
from tests.waiting import LONG_S

from .servers import ACCESS_KEY, SECRET_KEY, TOKEN, Fault, Proxy

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

BIG = os.urandom(100_000)


@pytest.fixture(params=["s3", "seaweed", "gs", "memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    return f"{request.getfixturevalue(request.param)}/some/folder"


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PIECE_BYTES", 1000)


def test_what_was_written_is_read_found_listed_renamed_and_removed(
    url: str, tmp_path: Path, small_pieces: None
) -> None:
    store = Objects(url)
    assert list(store.list()) == []
    assert store.stat("a/b ü#+%41.wav") is None
    store.write("a/b ü#+%41.wav", b"hello")
    store.write("empty", b"")
    (tmp_path / "big").write_bytes(BIG)
    store.upload(tmp_path / "big", "big")
    assert store.read("a/b ü#+%41.wav") == b"hello"
    assert store.read("a/b ü#+%41.wav", 1, 3) == b"ell"
    assert store.read("big", 999, 4321) == BIG[999:5320]
    assert store.read("empty") == b""
    for name, data in (("big", BIG), ("empty", b"")):
        file = io.BytesIO()
        store.fetch(name, file)
        assert file.getvalue() == data
    listed = {info.name: info for info in store.list()}
    assert {name: info.size for name, info in listed.items()} == {"a/b ü#+%41.wav": 5, "big": len(BIG), "empty": 0}
    assert [info.name for info in store.list("b")] == ["big"]
    assert [info.name for info in store.list("a/")] == ["a/b ü#+%41.wav"]
    assert store.stat("a") is None
    assert {name: store.stat(name) for name in listed} == listed
    assert store.rename("big", "a/bigger", size=len(BIG)) == store.stat("a/bigger")
    assert store.stat("big") is None
    assert store.read("a/bigger") == BIG
    for _ in range(2):
        store.remove("a/bigger")
    assert sorted(info.name for info in store.list()) == ["a/b ü#+%41.wav", "empty"]


def test_version_differs_once_the_content_does(url: str, tmp_path: Path) -> None:
    store = Objects(url)
    store.write("a", b"one")
    if url.startswith("file"):
        os.utime(tmp_path / "store" / "a", (1, 1))  # a while ago, whatever a tick of its clock is
    before = store.stat("a")
    time.sleep(0.01)
    store.write("a", b"two")
    after = store.stat("a")
    assert before is not None
    assert after is not None
    assert "" != before.version != after.version != ""


def test_what_is_not_there_is_no_such_object(url: str) -> None:
    store = Objects(url)
    for use in (
        lambda: store.read("nope"),
        lambda: store.read("nope", 0, 5),
        lambda: store.fetch("nope", io.BytesIO()),
        lambda: store.rename("nope", "x", size=1),
    ):
        with pytest.raises(FileNotFoundError, match=r"there is no such object: '.*/nope'"):
            use()


def test_more_bytes_than_there_are_are_an_error(url: str) -> None:
    store = Objects(url)
    store.write("a", b"hello")
    with pytest.raises(StoreError, match=r"/a: could not be read: 3 bytes came from byte 2 on, not 10"):
        store.read("a", 2, 10)


def test_listing_goes_on_beyond_a_page(server: str, s3: str) -> None:
    names = [f"n/{number:04}" for number in range(1003)]
    for name in [*names, "n/folder/", "other"]:
        urllib.request.urlopen(urllib.request.Request(f"{server}/{s3[5:]}/{name}", b"", method="PUT")).close()
    found = Objects(f"{s3}/n").list()
    assert next(found).name == "0000"
    assert [info.name for info in found] == [name[2:] for name in names[1:]]


def test_large_file_is_put_in_parts(proxy: Proxy, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda size, chunksize=None: 5 * 2**20)
    data = os.urandom(2**20) * 11
    (tmp_path / "big").write_bytes(data)
    proxy.fail(Fault(status=500), times=1, method="PUT")
    Objects(s3).upload(tmp_path / "big", "big")
    assert Objects(s3).read("big") == data
    assert proxy.count("PUT") == 4


def test_failed_upload_leaves_what_was_there(proxy: Proxy, s3: str, tmp_path: Path) -> None:
    store = Objects(s3)
    store.write("a", b"before")
    (tmp_path / "after").write_bytes(BIG)
    proxy.fail(Fault(drop=True), method="PUT")
    with pytest.raises(StoreError, match=r"/a: could not be written: "):
        store.upload(tmp_path / "after", "a")
    with pytest.raises(StoreError, match=r"/a: could not be written: "):
        store.write("a", BIG)
    proxy.heal()
    assert store.read("a") == b"before"


def test_upload_whose_answer_was_lost_is_made_again(proxy: Proxy, s3: str) -> None:
    proxy.fail(Fault(drop_answer=True), times=1, method="PUT")
    Objects(s3).write("a", BIG)
    assert Objects(s3).read("a") == BIG


PASSING = {
    "500": Fault(status=500),
    "503": Fault(status=503),
    "no answer in time": Fault(silent=True),
    "cut": Fault(cut_after=50),
    "short": Fault(keep=50),
    "dropped": Fault(drop=True),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_passing_failure_is_tried_again(
    proxy: Proxy, s3: str, fault: Fault, small_pieces: None, impatient: None
) -> None:
    store = Objects(s3)
    store.write("a", BIG[:5000])
    proxy.fail(fault, times=2)
    assert store.read("a") == BIG[:5000]
    proxy.fail(fault, times=2)
    file = io.BytesIO()
    store.fetch("a", file)
    assert file.getvalue() == BIG[:5000]


@pytest.mark.parametrize("fault", [*PASSING.values(), Fault(status=403)], ids=[*PASSING, "403"])
def test_lasting_failure_is_one_sentence_with_nothing_secret(
    proxy: Proxy, s3: str, fault: Fault, caplog: pytest.LogCaptureFixture, impatient: None
) -> None:
    caplog.set_level("INFO")
    store = Objects(s3)
    store.write("a", BIG[:5000])
    proxy.fail(fault)
    with pytest.raises(StoreError) as caught:
        store.read("a")
    sentence = str(caught.value)
    assert sentence.startswith(f"{s3}/a: could not be read: ")
    assert "\n" not in sentence
    assert 2 <= proxy.count("GET") <= 16 or fault.status == 403
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), MachineError)
    told = sentence + "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store)
    told += repr(pickle.dumps(store)) + repr(pickle.dumps(caught.value))
    assert not [secret for secret in (ACCESS_KEY, SECRET_KEY, TOKEN) if secret in told]


def test_fetch_notices_that_the_object_was_written_to(proxy: Proxy, s3: str, small_pieces: None) -> None:
    store = Objects(s3)
    store.write("a", BIG[:9000])

    class Writer(io.BytesIO):
        def write(self, data: object, /) -> int:
            Objects(s3).write("a", BIG[1:9001])
            return 0

    with pytest.raises(StoreError, match="was written to while it was read"):
        store.fetch("a", Writer())


def test_store_that_is_not_there_is_told(s3: str, environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:  # its port is taken, and does not listen
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        environment.setenv("AWS_ENDPOINT_URL", f"http://user:odd-password@{address}")
        with pytest.raises(StoreError, match="the store cannot be reached") as caught:
            Objects(s3).read("a")
    assert f"the endpoint http://{address}, and try again" in str(caught.value)
    assert "odd-password" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize("given", ["127.0.0.1:15555", "user:odd-password@127.0.0.1:15555", "ftp://127.0.0.1:15555"])
def test_endpoint_that_is_no_url_is_told(environment: pytest.MonkeyPatch, name: str, given: str) -> None:
    environment.setenv(name, given)
    with pytest.raises(StoreError, match=r"15555 is no URL .*; give it as one, such as http://127") as caught:
        Objects("s3://bucket/folder").read("a")
    assert "odd-password" not in "".join(traceback.format_exception(caught.value))


def test_missing_credentials_are_told(s3: str, environment: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    with pytest.raises(StoreError, match=r"no credentials were found.*; set AWS_ACCESS_KEY_ID and AWS_SECRET_"):
        Objects(s3).read("a", 0, 1)


def test_token_in_the_place_of_a_file_name_is_not_told(environment: pytest.MonkeyPatch) -> None:
    import fsspec.config

    pytest.importorskip("gcsfs", reason="no gcsfs: pip install gcsfs")
    environment.setitem(fsspec.config.conf, "gs", {"token": TOKEN})
    with pytest.raises(StoreError) as caught:
        Objects("gs://bucket/folder").read("a", 0, 1)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def _in_fork(use: Callable[[], object]) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=use)
    process.start()
    process.join(LONG_S)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode


def test_fork_of_a_process_that_has_used_a_store_uses_it_too(s3: str) -> None:
    store = Objects(s3)
    store.write("a", BIG)

    def read_in_child() -> None:
        assert store.read("a") == BIG

    def read_in_grandchild() -> None:
        read_in_child()
        assert _in_fork(read_in_child) == 0

    assert _in_fork(read_in_child) == 0
    busy = [threading.Thread(target=lambda: [store.read("a") for _ in range(20)]) for _ in range(3)]
    for thread in busy:
        thread.start()
    assert [_in_fork(read_in_child) for _ in range(4)] == [0] * 4
    for thread in busy:
        thread.join()
    assert _in_fork(read_in_grandchild) == 0
    assert store.read("a") == BIG


def test_threads_share_one(s3: str) -> None:
    store, found = Objects(s3), []
    store.write("a", BIG)
    store = pickle.loads(pickle.dumps(store))
    threads = [threading.Thread(target=lambda: found.append(store.read("a") == BIG)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_process_that_used_a_store_ends_at_once_and_quietly(s3: str) -> None:
    Objects(s3).write("a", b"hello")
    script = f"from audiochunk.storage.objects import Objects; print(Objects({s3!r}).read('a'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'hello'\n", "")


def test_of_several_who_make_an_object_at_once_one_succeeds(url: str) -> None:
    store = Objects(url)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: create(store, "one", b"%d" % n), range(8)))
    if not url.startswith("file"):  # a folder is looked into first
        assert made.count(True) == 1
        assert store.read("one") == b"%d" % made.index(True)
    assert not create(store, "one", b"other")
    assert create(store, "one", store.read("one"))  # an answer that was lost


def test_an_object_that_is_made_although_the_answer_was_lost_is_ones_own(s3: str, proxy: Proxy) -> None:
    proxy.fail(Fault(drop_answer=True), times=1, method="PUT")
    assert create(Objects(s3), "one", b"mine")
    assert proxy.count("PUT") > 1


def test_a_store_that_cannot_make_what_is_new_is_looked_into_first(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def pipe_file(self: MemoryFileSystem, path: str, value: bytes) -> None:
        self.open(path, "wb", data=value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    assert create(Objects(memory), "one", b"mine")
    assert not create(Objects(memory), "one", b"theirs")
    assert Objects(memory).read("one") == b"mine"
