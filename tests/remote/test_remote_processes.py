import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import audiochunk
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.sampler import Sampler
from audiochunk.storage import claims
from tests.waiting import LONG_S

from .conftest import put
from .reading import nothing_ahead, total_of, until
from .servers import Proxy

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


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


def _expect(ds: ChunkDataset, total: int) -> None:
    assert total_of(ds) == total


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_what_one_has_fetched(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, method: str
) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    _ = ds[0]  # a client of the store, and its threads, are there when others are forked
    context = multiprocessing.get_context(method)
    total = total_of(audiochunk.open(raw_dataset))
    processes = [context.Process(target=_expect, args=(ds, total)) for _ in range(3)]
    for process in processes:
        process.start()
    assert total_of(ds) == total
    for process in processes:
        process.join(LONG_S)
    assert [process.exitcode for process in processes] == [0] * 3
    for entry in ds.manifest.shards:
        assert proxy.count(f"GET /{s3[5:]}/shards/{entry.name}") <= 1


def test_fork_while_threads_fetch_does_not_hang(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    url = put(raw_dataset, s3)
    total = total_of(audiochunk.open(raw_dataset))
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
        process.join(LONG_S)
    assert [process.exitcode for process in processes] == [0] * 4
    assert total_of(ds) == total


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


# On a machine with one CPU, two workers are more than torch thinks right.
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_data_loader_with_workers_reads_it(raw_dataset: Path, s3: str, cache: Path) -> None:
    torch = pytest.importorskip("torch", reason="no torch")
    ds = audiochunk.open(put(raw_dataset, s3))
    _ = ds[0]
    sampler = Sampler(ds, 4, shuffle="shard", shard_window=2, drop_last=False)
    loader = torch.utils.data.DataLoader(ds, batch_sampler=sampler, num_workers=2, collate_fn=np.asarray)
    found = np.concatenate(list(loader))
    assert found.shape == ds.shape
    assert int(found.sum(dtype=np.int64)) == total_of(audiochunk.open(raw_dataset))


_READ = """
import sys, audiochunk
ds = audiochunk.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
print(int(sum(chunk.sum(dtype="int64") for chunk in ds)))
"""


def test_process_that_is_killed_while_it_fetches_leaves_nothing_that_blocks_or_is_believed(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(raw_dataset, s3)
    total = total_of(audiochunk.open(raw_dataset))
    for half in (0, 5000, 9000):
        process = subprocess.Popen([sys.executable, "-c", _READ, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        proxy.halt_after, proxy.halted = half, 0
        process.stdin.write(b"go\n")
        process.stdin.flush()
        until(lambda: proxy.halted)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stdin.close()
        proxy.halt_after = None
        assert list(cache.glob("*.lock"))

    def wait(_: float) -> None:
        pytest.fail("who is dead was waited for")

    monkeypatch.setattr(claims, "time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
    ds = audiochunk.open(url)
    assert sum(int(ds[i].sum(dtype=np.int64)) for i in range(len(ds))) == total
    until(nothing_ahead)
    assert not list(cache.glob("*.lock"))
