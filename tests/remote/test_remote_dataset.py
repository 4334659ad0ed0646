import itertools
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

import audiochunk
from audiochunk.errors import ConfigError, DatasetError, NoDatasetError, StoreError
from audiochunk.reader import raw, remote_files
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.sampler import Sampler
from audiochunk.storage.objects import Objects

from .conftest import put
from .servers import Fault, Proxy

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def assert_same(ds: ChunkDataset, local: ChunkDataset) -> None:
    assert (ds.shape, ds.dtype, ds.dataset_id) == (local.shape, local.dtype, local.dataset_id)
    everything = np.stack(list(local))
    numbers = np.random.default_rng(1).permutation(len(local))
    np.testing.assert_array_equal(ds.gather(numbers), everything[numbers])
    np.testing.assert_array_equal(np.stack(list(ds)), everything)
    np.testing.assert_array_equal(np.stack(list(ds[3:-3])), everything[3:-3])
    np.testing.assert_array_equal(ds[-1], everything[-1])
    assert ds.recordings == local.recordings
    assert ds.locate(5) == local.locate(5)
    path = local.recordings.used[0].path
    np.testing.assert_array_equal(ds.decode(path).samples, local.decode(path).samples)


@pytest.mark.parametrize("store", ["s3", "memory"])
@pytest.mark.parametrize("apart", [False, True])
def test_dataset_in_a_store_is_the_same_as_in_a_folder(
    dataset: Path, cache: Path, store: str, apart: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if apart:
        monkeypatch.setattr(raw, "_MOST_RESERVED", 0)
    url = put(dataset, request.getfixturevalue(store))
    with audiochunk.open(url) as ds, audiochunk.open(dataset) as local:
        assert_same(ds, local)
        copy = pickle.loads(pickle.dumps(ds))
        ds.close()
        assert_same(ds, local)
        assert_same(copy, local)
    assert ds.is_fetched
    assert not local.is_fetched
    assert len(ChunkDataset(url, "val")) == len(ChunkDataset(dataset, "val"))
    with pytest.raises(ConfigError, match="no split 'test' here; there are: train, val"):
        len(audiochunk.open(url, "test"))


def test_file_url_is_a_path(dataset: Path, cache: Path) -> None:
    ds = audiochunk.open(dataset.as_uri())
    assert not ds.is_fetched
    assert_same(ds, audiochunk.open(dataset))
    assert not cache.exists()


def test_nothing_is_fetched_before_it_is_needed_and_nothing_twice(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path
) -> None:
    url = put(raw_dataset, s3)
    proxy.requests.clear()
    ds = audiochunk.open(url)
    assert {request.rpartition("/")[2] for request in proxy.requests} == {"manifest.json"}
    _ = ds[0], ds[1], ds[0]
    assert [request.rpartition("/")[2] for request in proxy.requests if request.startswith("GET")] == [
        "manifest.json",
        "train-00000.safetensors",
    ]
    _ = np.stack(list(ds)), ds.recordings, ds.recordings
    del ds
    again = audiochunk.open(url)
    _ = np.stack(list(again)), again.recordings, list(audiochunk.open(url, "val"))
    # Of shards with equal bytes one is fetched.
    for name in {path.name for path in raw_dataset.iterdir()} - {"manifest.json"}:
        assert proxy.count(f"GET /{s3[5:]}/shards/{name}") <= 1
    kept = {entry.digest for entry in again.manifest.shards} | {again.manifest.recordings.digest}
    assert {path.name.partition("-")[0].partition(".")[0] for path in cache.iterdir()} == kept


def test_shards_that_generations_share_are_fetched_once(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    url, other = put(raw_dataset, s3), put(raw_dataset, f"{s3}/copy")
    _ = list(audiochunk.open(url))
    proxy.requests.clear()
    _ = list(audiochunk.open(other))
    assert {request.rpartition("/")[2] for request in proxy.requests} == {"manifest.json"}


def test_cache_that_holds_less_than_the_dataset(dataset: Path, memory: str, tmp_path: Path) -> None:
    url, local = put(dataset, memory), audiochunk.open(dataset)
    for limit in (0, 40_000):
        folder = tmp_path / str(limit)
        ds = audiochunk.open(url, cache=folder, cache_bytes=limit)
        held = [ds[i] for i in range(len(ds))]
        np.testing.assert_array_equal(np.stack(held), np.stack(list(local)))
        assert_same(ds, local)
        until(lambda: not [t for t in threading.enumerate() if t.name == "audiochunk-ahead"])
        largest = max(path.stat().st_size for path in dataset.iterdir())
        assert sum(path.stat().st_size for path in folder.iterdir()) <= max(limit, largest)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc/self/maps to look at")
@pytest.mark.parametrize("apart", [False, True])
def test_shards_that_made_room_do_not_stay_mapped(
    dataset: Path, memory: str, tmp_path: Path, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if apart:
        monkeypatch.setattr(raw, "_MOST_RESERVED", 0)
    monkeypatch.setattr(remote_files, "_PART_MAPPED", 2)
    sizes = [entry.bytes for entry in audiochunk.open(dataset).manifest.shards if entry.split == "train"]
    limit, most = sum(sizes) // 2, 0
    ds = audiochunk.open(put(dataset, memory), cache=tmp_path / "few", cache_bytes=limit)
    for i in np.random.default_rng(0).permutation(len(ds)):
        _ = ds[i]
        maps = Path("/proc/self/maps").read_text()
        most = max(most, len(re.findall(rf"{re.escape(str(tmp_path / 'few'))}/", maps)))
    _ = ds.gather(np.arange(len(ds)))
    assert most == limit // 2 // max(sizes) < len(sizes)


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


def test_bytes_that_change_on_the_way_are_fetched_again(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    proxy.fail(Fault(flip=6000), times=1, part="train-00000")
    np.testing.assert_array_equal(ds[0], audiochunk.open(raw_dataset)[0])


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(cut_after=3000), Fault(keep=3000), Fault(drop=True), Fault(delay_s=1)], ids=repr
)
def test_passing_failures_are_not_seen(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, fault: Fault) -> None:
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
    with pytest.raises(NoDatasetError):
        audiochunk.open("s3://no-such-bucket/shards")
    Objects(s3).write("manifest.json", b"{}")
    with pytest.raises(DatasetError, match=f"{s3}/manifest.json: not a manifest"):
        audiochunk.open(s3)


def test_dataset_that_was_replaced_since_it_was_pickled_is_refused(dataset: Path, memory: str, cache: Path) -> None:
    url = put(dataset, memory)
    pickled = pickle.dumps(audiochunk.open(url))
    data = Objects(url).read("manifest.json")
    other = audiochunk.open(dataset).manifest
    Objects(url).write("manifest.json", data.replace(other.dataset_id.encode(), b"0" * 32))
    with pytest.raises(DatasetError, match="dataset_id is not that of the shards"):
        _ = pickle.loads(pickled)[0]


def test_workers_unpickle_without_asking_for_the_manifest_again(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path
) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    first = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(first[0], ds[0])
    proxy.requests.clear()
    for _ in range(5):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(ds))[0], ds[0])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(first))[0], ds[0])
    assert proxy.requests == []


def _sum(ds: ChunkDataset) -> int:
    return int(ds.gather(np.arange(len(ds))).sum(dtype=np.int64))


def _expect(ds: ChunkDataset, total: int) -> None:
    assert _sum(ds) == total


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_what_one_has_fetched(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, method: str
) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    _ = ds[0]  # a client of the store, and its threads, are there when others are forked
    context = multiprocessing.get_context(method)
    total = _sum(audiochunk.open(raw_dataset))
    processes = [context.Process(target=_expect, args=(ds, total)) for _ in range(3)]
    for process in processes:
        process.start()
    assert _sum(ds) == total
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 3
    for entry in ds.manifest.shards:
        assert proxy.count(f"GET /{s3[5:]}/shards/{entry.name}") <= 1


def test_fork_while_threads_fetch_does_not_hang(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    url = put(raw_dataset, s3)
    total = _sum(audiochunk.open(raw_dataset))
    proxy.latency_s = 0.02
    ds = audiochunk.open(url)
    chunks = iter(ds)
    next(chunks)  # the next shards are being fetched from here on
    processes = []
    for _ in range(4):
        processes.append(multiprocessing.get_context("fork").Process(target=_expect, args=(ds, total)))
        processes[-1].start()
        time.sleep(0.03)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert _sum(ds) == total


def test_threads_share_a_dataset(dataset: Path, s3: str, cache: Path) -> None:
    ds, local = audiochunk.open(put(dataset, s3)), audiochunk.open(dataset)
    everything, wrong = np.stack(list(local)), []

    def read(seed: int) -> None:
        numbers = np.random.default_rng(seed).integers(0, len(local), 100)
        if not (ds.gather(numbers) == everything[numbers]).all():
            wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_data_loader_with_workers_reads_it(raw_dataset: Path, s3: str, cache: Path) -> None:
    torch = pytest.importorskip("torch", reason="no torch")
    ds = audiochunk.open(put(raw_dataset, s3))
    _ = ds[0]
    sampler = Sampler(ds, 4, shuffle="shard", shard_window=2, drop_last=False)
    loader = torch.utils.data.DataLoader(ds, batch_sampler=sampler, num_workers=2, collate_fn=np.asarray)
    found = np.concatenate(list(loader))
    assert found.shape == ds.shape
    assert int(found.sum(dtype=np.int64)) == _sum(audiochunk.open(raw_dataset))


_READ = """
import sys, audiochunk
ds = audiochunk.open(sys.argv[1])
print("open", flush=True)
print(int(sum(chunk.sum(dtype="int64") for chunk in ds)))
"""


def test_process_that_is_killed_while_it_fetches_leaves_nothing_that_blocks_or_is_believed(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path
) -> None:
    url = put(raw_dataset, s3)
    total = _sum(audiochunk.open(raw_dataset))
    proxy.bytes_per_s = 60_000
    for after in (0.1, 0.25, 0.4):
        process = subprocess.Popen([sys.executable, "-c", _READ, url], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    proxy.bytes_per_s = 0
    begun = time.monotonic()
    assert _sum(audiochunk.open(url)) == total
    assert time.monotonic() - begun < 20
    assert not list(cache.glob("*.lock"))


def test_iteration_has_the_next_shards_fetched(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    proxy.requests.clear()
    chunks = iter(ds)
    next(chunks)
    until(lambda: proxy.count("GET") >= 5)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "audiochunk-ahead"])
    shards = [request.rpartition("/")[2] for request in proxy.requests if request.startswith("GET")]
    assert sorted(shards) == [f"train-{number:05}.safetensors" for number in range(5)]
    np.testing.assert_array_equal(np.stack([ds[0], *chunks]), np.stack(list(audiochunk.open(raw_dataset))))
    few = iter(audiochunk.open(ds._split.folder)[:5])
    next(few)


@pytest.mark.parametrize("shuffle", ["shard", False])
def test_sampler_has_the_next_shards_fetched(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, shuffle: "bool", request: pytest.FixtureRequest
) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    sampler = Sampler(ds, 2, shuffle=shuffle, shard_window=2, seed=3)
    order = [np.searchsorted(np.cumsum(ds.shard_sizes), batch, side="right") for batch in itertools.islice(sampler, 40)]
    first = list(dict.fromkeys(np.concatenate(order).tolist()))
    sampler = Sampler(ds, 2, shuffle=shuffle, shard_window=2, seed=3)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "audiochunk-ahead"])
    for path in cache.iterdir():
        path.unlink()
    proxy.requests.clear()
    next(iter(sampler))
    until(lambda: proxy.count("GET") >= 4)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "audiochunk-ahead"])
    fetched = {int(name[-17:-12]) for name in proxy.requests if name.startswith("GET")}
    assert fetched == set(first[: len(fetched)])
    assert len(fetched) == 4 if shuffle == "shard" else 5


def test_sampler_of_views_has_shards_fetched(raw_dataset: Path, memory: str, cache: Path) -> None:
    url = put(raw_dataset, memory)
    local = audiochunk.open(raw_dataset)
    from audiochunk.reader.concat import ConcatDataset

    def views(ds: ChunkDataset, other: ChunkDataset) -> list[object]:
        return [ds[5:-5], ds.windows(2), ConcatDataset([other, ds[3:]])]

    for view, same in zip(views(audiochunk.open(url), local), views(audiochunk.open(raw_dataset), local), strict=True):
        for shuffle in ("shard", False, True):
            batches = list(Sampler(view, 3, shuffle=shuffle, shard_window=2))  # type: ignore[arg-type]
            expected = list(Sampler(same, 3, shuffle=shuffle, shard_window=2))  # type: ignore[arg-type]
            np.testing.assert_array_equal(np.stack(batches), np.stack(expected))
            for batch in batches:
                np.testing.assert_array_equal(view.gather(batch), same.gather(batch))  # type: ignore[attr-defined]
    assert any(cache.iterdir())


def test_hub_is_read_through_its_file_system(
    raw_dataset: Path, memory: str, cache: Path, environment: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="no huggingface_hub")
    from fsspec.implementations.memory import MemoryFileSystem

    asked = []

    class FakeHub(MemoryFileSystem):
        """What lies in memory, under the names that the Hub gives it."""

        protocol = "hf"

        def __init__(self, **options: object) -> None:
            asked.append(options)
            super().__init__()

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return MemoryFileSystem._strip_protocol(path.removeprefix("hf://"))

        def info(self, path: str, refresh: bool = False, **options: object) -> object:
            assert refresh
            return super().info(path, **options)

    put(raw_dataset, "memory://datasets/owner/name@v1")
    environment.setitem(sys.modules["fsspec.registry"]._registry, "hf", FakeHub)
    assert hub.HfFileSystem.protocol == "hf"
    ds = audiochunk.open("hf://datasets/owner/name@v1/shards")
    np.testing.assert_array_equal(np.stack(list(ds)), np.stack(list(audiochunk.open(raw_dataset))))
    assert asked[0].pop("use_listings_cache") is False


def test_opening_a_folder_imports_nothing_of_stores(raw_dataset: Path) -> None:
    script = (
        "import sys, audiochunk; ds = audiochunk.open(sys.argv[1]); ds[0], ds.gather([1, 2]), ds.recordings\n"
        "odd = [m for m in sys.modules if m.partition('.')[0] in ('fsspec', 's3fs', 'botocore', 'aiohttp')"
        " or m.startswith(('audiochunk.storage.objects', 'audiochunk.storage.remote', 'audiochunk.storage.cache'))]\n"
        "print(odd)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(raw_dataset)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_path_that_only_looks_like_a_url_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path("s3:/bucket/x"), "s3:/bucket/x", os.fspath(tmp_path / "nope")):
        with pytest.raises(NoDatasetError, match="no dataset here"):
            audiochunk.open(path)
