import itertools
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard

import audiochunk
from audiochunk.errors import DatasetError, NoDatasetError, StoreError
from audiochunk.reader.ahead import Ahead
from audiochunk.storage.objects import Objects

from .conftest import put
from .reading import assert_same, nothing_ahead, until
from .servers import Fault, Proxy

DAMAGE: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "flipped": (lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:], "it is not that shard|is damaged"),
    "cut": (lambda data: data[:-1], "bytes; the manifest says"),
    "longer": (lambda data: data + b"\0", "bytes; the manifest says"),
    "missing": (lambda data: None, "is missing"),
    "zeros": (lambda data: bytes(len(data)), "it is not that shard|is damaged"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("prefix", ["train-00001", "recordings"])
def test_damaged_object_is_refused_and_not_kept(
    dataset: Path, memory: str, cache: Path, damage: Callable[[bytes], bytes | None], said: str, prefix: str
) -> None:
    if prefix == "recordings" and damage is DAMAGE["longer"][0]:
        pytest.skip("what follows the rows is not looked at: a build may be adding them")
    url = put(dataset, memory)
    store = Objects(url)
    (name,) = [info.name for info in store.list(prefix)]
    before = store.read(name)
    damaged = damage(before)
    store.remove(name)
    if damaged is not None:
        store.write(name, damaged)
    ds = audiochunk.open(url)
    if prefix == "recordings":
        said = "is missing" if damaged is None else "not the recordings that the manifest names"
        with pytest.raises(DatasetError, match=rf"{url}/{name}: ({said})"):
            _ = ds.recordings
    else:
        with pytest.raises(DatasetError, match=rf"{url}/{name}: .*({said})"):
            list(ds)
    store.write(name, before)
    assert_same(ds, audiochunk.open(dataset))


def test_compressed_object_that_is_a_bomb_is_not_decompressed_whole(dataset: Path, memory: str, cache: Path) -> None:
    if not (dataset / "train-00000.safetensors.zst").exists():
        pytest.skip("not compressed")
    url = put(dataset, memory)
    size = (dataset / "train-00000.safetensors.zst").stat().st_size
    bomb = zstandard.ZstdCompressor().compress(bytes(2**31)) if size > 10**6 else _frames_of_zeros(size)
    Objects(url).write("train-00000.safetensors.zst", bomb)
    begun = time.process_time()
    with pytest.raises(DatasetError, match="it is not that shard"):
        _ = audiochunk.open(url)[0]
    assert time.process_time() - begun < 2


def _frames_of_zeros(size: int) -> bytes:
    """So many bytes that decompress to a hundred thousand times as many."""
    frame = zstandard.ZstdCompressor().compress(bytes(2**25))
    many = frame * (size // len(frame))
    return many + b"\x50\x2a\x4d\x18" + (size - len(many) - 8).to_bytes(4, "little") + bytes(size - len(many) - 8)


def test_rows_that_a_later_build_has_begun_to_add_are_not_of_the_dataset(
    raw_dataset: Path, memory: str, cache: Path
) -> None:
    url, local = put(raw_dataset, memory), audiochunk.open(raw_dataset)
    table = Objects(url).read("recordings.jsonl")
    for more in (table, bytes(10**6), b"{"):
        Objects(url).write("recordings.jsonl", table + more)
        for path in cache.glob("*.jsonl"):
            path.unlink()
        assert audiochunk.open(url).recordings == local.recordings
        (kept,) = cache.glob("*.jsonl")
        assert kept.read_bytes() == table


def test_shard_that_is_another_is_fetched_once_more_and_no_more_often(
    dataset: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, fetch, fetched = put(dataset, memory), Objects.fetch, []
    (name,) = [info.name for info in Objects(url).list("train-00001")]
    data = Objects(url).read(name)
    Objects(url).write(name, data[:700] + bytes([data[700] ^ 1]) + data[701:])

    def noted(self: Objects, name: str, *args: Any, **options: Any) -> None:
        fetched.append(name)
        fetch(self, name, *args, **options)

    ds = audiochunk.open(url)
    first = ds.manifest.shards[0].chunks
    monkeypatch.setattr(Objects, "fetch", noted)
    with pytest.raises(DatasetError, match=r"it is not that shard|is damaged"):
        _ = ds[first]
    assert fetched == [name] * 2


def test_bytes_that_change_on_the_way_are_fetched_again(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    proxy.fail(Fault(flip=6000), times=1, part="train-00000")
    np.testing.assert_array_equal(ds[0], audiochunk.open(raw_dataset)[0])


@pytest.mark.parametrize(
    "fault",
    [Fault(status=503), Fault(cut_after=3000), Fault(keep=3000), Fault(drop=True), Fault(silent=True)],
    ids=repr,
)
def test_passing_failures_are_not_seen(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, fault: Fault, impatient: None
) -> None:
    url = put(raw_dataset, s3)
    for part in ("manifest.json", "train-00000", "recordings.jsonl"):
        proxy.fail(fault, times=1, part=part)
    ds = audiochunk.open(url)
    np.testing.assert_array_equal(ds[0], audiochunk.open(raw_dataset)[0])
    assert len(ds.recordings)


def test_lasting_failure_is_of_the_store_and_gone_when_it_is(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path
) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    proxy.fail(Fault(status=500), part="train-00000")
    with pytest.raises(StoreError, match=r"train-00000.safetensors: could not be read: the store fails"):
        _ = ds[0]
    proxy.heal()
    np.testing.assert_array_equal(ds[0], audiochunk.open(raw_dataset)[0])


def test_no_dataset_and_one_that_is_damaged(raw_dataset: Path, s3: str, cache: Path) -> None:
    with pytest.raises(NoDatasetError, match=f"{s3}/nothing: no dataset here: there is no manifest.json"):
        audiochunk.open(f"{s3}/nothing")
    with pytest.raises(NoDatasetError, match="s3://no-such-bucket/shards: there is no such bucket: look at its name"):
        audiochunk.open("s3://no-such-bucket/shards")
    Objects(f"{s3}/begun").write(".build/marker", b"")
    with pytest.raises(NoDatasetError, match=f"{s3}/begun: this build is not finished: run it again"):
        audiochunk.open(f"{s3}/begun")
    Objects(s3).write("manifest.json", b"{}")
    with pytest.raises(DatasetError, match=f"{s3}/manifest.json: not a manifest"):
        audiochunk.open(s3)


def test_no_dataset_where_objects_may_not_be_listed(proxy: Proxy, s3: str, cache: Path) -> None:
    proxy.fail(Fault(status=403, code="AccessDenied"), part="prefix=nothing/.build")
    with pytest.raises(NoDatasetError, match=r"no dataset here: there is no manifest\.json"):
        audiochunk.open(f"{s3}/nothing")
    assert any("prefix=nothing/.build" in request for request in proxy.requests)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "no dataset here: there is no manifest.json"),
        (410, "no dataset here: there is no manifest.json"),
        (403, "access is denied"),
        (500, "the store fails, again and again"),
        (None, "the store cannot be reached"),
    ],
)
def test_web_server_that_has_no_dataset_is_told_from_one_that_does_not_answer(
    environment: pytest.MonkeyPatch, cache: Path, status: int | None, said: str
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status or 404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/shards"
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever).start()
        error: type[Exception] = NoDatasetError if status in (404, 410) else StoreError
        with pytest.raises(error, match=said):
            audiochunk.open(url)
        if status is not None:
            server.shutdown()


def test_dataset_that_was_replaced_since_it_was_pickled_is_refused(
    dataset: Path, other_dataset: Path, memory: str, cache: Path
) -> None:
    url = put(dataset, memory)
    ds = audiochunk.open(url)
    pickled = pickle.dumps(ds)
    put(other_dataset, memory)
    with pytest.raises(DatasetError, match=rf"{url}: is not the dataset {ds.dataset_id} any more"):
        _ = pickle.loads(pickled)[0]


def test_manifest_that_is_replaced_while_it_is_read_is_read_again(
    raw_dataset: Path, other_dataset: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Objects.read
    for before, after in ((raw_dataset, other_dataset), (other_dataset, raw_dataset)):
        url, replaced = put(before, memory), []

        def read_late(self: Objects, name: str, *at: int, after: Path = after, replaced: list[int] = replaced) -> bytes:
            if not replaced:
                put(after, memory)
            replaced.append(1)
            return read(self, name, *at)

        monkeypatch.setattr(Objects, "read", read_late)
        assert audiochunk.open(url).manifest == audiochunk.open(after).manifest
        assert len(replaced) == 2


def test_manifest_that_is_always_replaced_is_of_the_store(
    raw_dataset: Path, other_dataset: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, each = Objects.read, itertools.cycle([raw_dataset, other_dataset])
    url = put(next(each), memory)

    def read_late(self: Objects, name: str, *at: int) -> bytes:
        put(next(each), memory)
        return read(self, name, *at)

    monkeypatch.setattr(Objects, "read", read_late)
    with pytest.raises(StoreError, match=r"manifest.json: was replaced each time that it was read"):
        audiochunk.open(url)


@pytest.mark.parametrize("at", [100, 4096, -5])
def test_file_that_was_damaged_in_the_cache_is_fetched_anew(dataset: Path, memory: str, cache: Path, at: int) -> None:
    url, local = put(dataset, memory), audiochunk.open(dataset)
    with audiochunk.open(url) as ds:
        assert_same(ds, local)
    for path in cache.iterdir():
        if at == 100 or path.suffix != ".safetensors":  # the chunks of raw shards are not checked where they are read
            data = bytearray(path.read_bytes())
            data[min(at, len(data) - 1)] ^= 1
            path.write_bytes(data)
    assert_same(audiochunk.open(url), local)
    until(nothing_ahead)
    for path in cache.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    ds = audiochunk.open(url)
    assert ds.recordings == local.recordings
    np.testing.assert_array_equal(ds.gather([5, 1]), local.gather([5, 1]))


def test_file_that_is_damaged_in_the_cache_while_it_is_mapped(dataset: Path, memory: str, cache: Path) -> None:
    if not (dataset / "train-00000.safetensors.zst").exists():
        pytest.skip("the chunks of raw shards are not checked where they are read")
    ds, local = audiochunk.open(put(dataset, memory)), audiochunk.open(dataset)
    _ = ds[0]
    for path in cache.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    np.testing.assert_array_equal(np.stack(list(ds)), np.stack(list(local)))


def test_dataset_is_read_while_its_cache_is_removed_again_and_again(
    dataset: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, fetch, fetched = put(dataset, memory), Objects.fetch, set()

    def fetch_and_remove(self: Objects, name: str, *args: Any, **options: Any) -> None:
        fetch(self, name, *args, **options)
        if name not in fetched:
            fetched.add(name)
            shutil.rmtree(cache.parent)

    monkeypatch.setattr(Objects, "fetch", fetch_and_remove)
    monkeypatch.setattr(Ahead, "want", lambda *args, **options: None)  # two at once remove what the other fetches anew
    assert_same(audiochunk.open(url), audiochunk.open(dataset))
    assert len(fetched) > 5


def test_table_without_the_end_of_a_line_is_not_read_whole(
    raw_dataset: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(raw_dataset, memory)
    Objects(url).write("recordings.jsonl", bytes(2**25))
    read, longest = Objects._piece, []

    def piece(self: Objects, name: str, start: int, size: int) -> bytes:
        longest.append(start + size)
        return read(self, name, start, size)

    monkeypatch.setattr(Objects, "_piece", piece)
    rows = audiochunk.open(raw_dataset).manifest.recordings.rows
    with pytest.raises(DatasetError, match="not the recordings that the manifest names"):
        _ = audiochunk.open(url).recordings
    assert max(longest) == rows * 2**16 < 2**25


@pytest.mark.parametrize("digest", ["../../outside", "/outside", "", "0" * 31 + "/"])
def test_manifest_cannot_name_a_file_outside_of_the_cache(
    raw_dataset: Path, memory: str, cache: Path, tmp_path: Path, digest: str
) -> None:
    manifest = audiochunk.open(raw_dataset).manifest
    recordings = msgspec.structs.replace(manifest.recordings, digest=digest)
    url = put(raw_dataset, memory)
    Objects(url).write("manifest.json", msgspec.structs.replace(manifest, recordings=recordings).encode())
    with pytest.raises(DatasetError, match=r"recordings.jsonl: .* in the manifest is no digest"):
        _ = audiochunk.open(url).recordings
    assert not list(tmp_path.glob("**/outside*"))
