import itertools
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk.reader.concat import ConcatDataset
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.rows import Rows
from audiochunk.reader.sampler import Sampler
from audiochunk.storage.cache import Cache
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.remote import RemoteFolder

from .conftest import put
from .reading import nothing_ahead, total_of, until
from .servers import Proxy

# From 3.12 on, Python warns of every fork of a process that has threads; that it works is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def test_iteration_has_the_next_shards_fetched(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    proxy.requests.clear()
    chunks = iter(ds)
    next(chunks)
    until(lambda: proxy.count("GET") >= 5)
    until(nothing_ahead)
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
    until(nothing_ahead)
    for path in cache.iterdir():
        path.unlink()
    proxy.requests.clear()
    next(iter(sampler))
    until(lambda: proxy.count("GET") >= 4)
    until(nothing_ahead)
    fetched = {int(name[-17:-12]) for name in proxy.requests if name.startswith("GET")}
    assert fetched == set(first[: len(fetched)])
    assert len(fetched) == 4 if shuffle == "shard" else 5


def test_sampler_of_views_has_shards_fetched(raw_dataset: Path, memory: str, cache: Path) -> None:
    url = put(raw_dataset, memory)
    local = audiochunk.open(raw_dataset)

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


def test_sampler_has_shards_fetched_ahead_through_all_windows(
    raw_dataset: Path, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry for entry in audiochunk.open(raw_dataset).manifest.shards if entry.split == "train"]
    largest, needed = max(entry.bytes for entry in entries), []
    ds = audiochunk.open(put(raw_dataset, memory), cache=tmp_path / "c", cache_bytes=8 * largest)
    fetch = RemoteFolder._fetch

    def noted(self: RemoteFolder, info: ObjectInfo, *args: Any, **options: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            needed.append(info.name)
        fetch(self, info, *args, **options)

    monkeypatch.setattr(RemoteFolder, "_fetch", noted)
    for batch in Sampler(ds, 2, shuffle="shard", shard_window=3, seed=3):
        until(nothing_ahead)  # a step that takes long
        time.sleep(0.02)  # so that files of one step were opened before those of the next, in ticks of their clock
        ds.gather(batch)
    # More than a quarter of the cache is a window, and two are less than all of it.
    assert len(entries) > 2 * 3
    assert needed == []


def test_cache_that_is_too_small_has_nothing_fetched_ahead(raw_dataset: Path, memory: str, tmp_path: Path) -> None:
    url, local = put(raw_dataset, memory), audiochunk.open(raw_dataset)
    largest = max(entry.bytes for entry in local.manifest.shards)
    for shards, expected in ((0, 0), (3, 0), (4, 3), (8, 4)):
        cache = Cache(tmp_path / str(shards), shards * largest)
        ds = audiochunk.open(url, cache=cache.folder, cache_bytes=cache.limit)
        chunks = iter(ds)
        next(chunks)
        until(nothing_ahead)
        assert len([path for path in cache.files.iterdir() if path.suffix == ".safetensors"]) == 1 + expected
        np.testing.assert_array_equal(np.stack([ds[0], *chunks]), np.stack(list(local)))


def test_process_without_threads_to_spare_reads_all(
    raw_dataset: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ds = audiochunk.open(put(raw_dataset, memory))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        assert total_of(ds) == total_of(audiochunk.open(raw_dataset))
        assert len(list(ds)) == len(ds)


def test_shard_is_asked_for_twice_and_fetched_once(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    ds = audiochunk.open(put(raw_dataset, s3))
    proxy.requests.clear()
    _ = ds[0]
    assert [request.split()[0] for request in proxy.requests] == ["HEAD", "GET", "HEAD"]


def test_shards_of_a_batch_are_fetched_at_once(dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    ds, local = audiochunk.open(put(dataset, s3)), audiochunk.open(dataset)
    sizes = ds.shard_sizes
    assert sizes is not None
    firsts = np.cumsum([0, *sizes[:-1]])[[0, 2, 4, 6]]
    fetching, most = 0, 0
    lock, fetch = threading.Lock(), RemoteFolder._fetch

    def noted(self: RemoteFolder, info: ObjectInfo, *args: Any, **options: Any) -> None:
        nonlocal fetching, most
        with lock:
            fetching += 1
            most = max(most, fetching)
        fetch(self, info, *args, **options)
        with lock:
            fetching -= 1

    proxy.latency_s = 0.1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemoteFolder, "_fetch", noted)
        np.testing.assert_array_equal(ds.gather(firsts), local.gather(firsts))
        until(nothing_ahead)
    assert most > 1
    assert proxy.count(f"GET /{s3[5:]}/shards/train-") == len(firsts)


def test_cache_that_is_too_small_for_an_order_is_warned_of(raw_dataset: Path, memory: str, tmp_path: Path) -> None:
    url, local = put(raw_dataset, memory), audiochunk.open(raw_dataset)
    sizes = sorted(entry.bytes for entry in local.manifest.shards if entry.split == "train")
    window, whole = sum(sizes[-4:]), sum(sizes)

    def sample(limit: int, **options: Any) -> None:
        ds = audiochunk.open(url, cache=tmp_path, cache_bytes=limit)
        Sampler(options.pop("view", lambda ds: ds)(ds), 2, **options)

    for shuffle, needed, advice in (("shard", window, "a smaller shard_window"), (True, whole, 'shuffle="shard"')):
        options = {"shuffle": shuffle, "shard_window": 2}
        sample(needed, **options)  # warnings are errors here
        said = rf"holds {needed - 1:,} bytes, .* have {needed:,}: .*cache_bytes={needed} \(.*, or take {advice}$"
        with pytest.warns(UserWarning, match=said) as found:
            sample(needed - 1, **options)
        assert [Path(warning.filename).name for warning in found] == [Path(__file__).name]
    sample(0, shuffle=False)
    drawn = rf"shards that rows at random are read from have {whole:,}: .*\(AUDIOCHUNK_CACHE_BYTES\)$"
    views = (
        lambda ds: audiochunk.mix([(ds, 1), (local, 1)]),
        lambda ds: audiochunk.mix([(ds[:9], 1), (ds[5:], 1)]),
        lambda ds: ds.crops(100),
    )
    for view in views:
        sample(whole, view=view)
        with pytest.warns(UserWarning, match=drawn):
            sample(whole - 1, view=view)
    both = rf"two windows of 2 shards have {window:,}"
    with pytest.warns(UserWarning, match=both):
        sample(window - 1, view=lambda ds: ConcatDataset([local, ds]), shuffle="shard", shard_window=2)
    with pytest.warns(UserWarning, match=f"have {sum(entry.bytes for entry in local.manifest.shards[:3]):,}: they"):
        sample(1, view=lambda ds: ds[: sum(ds.shard_sizes[:3])].windows(2))


def test_a_slice_is_fetched_from_the_shards_that_it_is_in(raw_dataset: Path, memory: str, tmp_path: Path) -> None:
    ds = audiochunk.open(put(raw_dataset, memory), cache=tmp_path)
    assert ds.shard_sizes is not None
    n, sizes = len(ds), [entry.bytes for entry in ds.manifest.shards if entry.split == "train"]
    windows, twice, crops = ds.windows(2), ConcatDataset([ds, ds]), ds.crops(ds.width)[:9]
    drawn = ConcatDataset([crops, ds])

    def fetched(view: Rows) -> list[int]:
        return sorted(size for shards in view.fetched_bytes().values() for size in shards.values())

    def of(*chunks: int) -> list[int]:
        ends = np.cumsum(ds.shard_sizes)
        first, last = np.searchsorted(ends, [min(chunks), max(chunks)], side="right").tolist()
        return sorted(sizes[first : last + 1])

    first_of_last = windows.chunk(-1)
    for view, expected in (
        (windows, of(windows.chunk(0), first_of_last + 1)),
        (windows[:2], of(windows.chunk(0), windows.chunk(1) + 1)),
        (windows[-1:], of(first_of_last, first_of_last + 1)),
        (windows[7:2:-2], of(windows.chunk(3), windows.chunk(7) + 1)),
        (ds[4:].windows(2)[:1], of(4 + ds[4:].windows(2).chunk(0), 5 + ds[4:].windows(2).chunk(0))),
        (twice, sorted(sizes)),
        (twice[:4], of(0, 3)),
        (twice[n - 1 : n], of(n - 1)),
        (twice[n + 4 : n : -1], of(1, 4)),
        (twice[n - 1 : n + 1], sorted(of(0) + of(n - 1))),
        (drawn[len(crops) :][:4], of(0, 3)),
        (drawn[:1], sorted(sizes)),
    ):
        assert fetched(view) == expected, view
    assert [view.fetched_bytes() for view in (windows[:0], twice[:0])] == [{}, {}]


def test_what_lies_in_a_store_says_so(raw_dataset: Path, memory: str, cache: Path) -> None:
    ds, local = audiochunk.open(put(raw_dataset, memory)), audiochunk.open(raw_dataset)
    for fetched, of in ((True, ds), (False, local)):
        views = (
            of[3:],
            of.windows(2),
            of.crops(100),
            audiochunk.mix([(local, 1), (of, 1)]),
            ConcatDataset([local, of]),
        )
        assert [view.is_fetched for view in views] == [fetched] * len(views)


def test_iteration_over_several_has_the_next_shards_fetched(raw_dataset: Path, memory: str, cache: Path) -> None:
    ds, local = audiochunk.open(put(raw_dataset, memory)), audiochunk.open(raw_dataset)
    rows = iter(ConcatDataset([local, ds]))
    for _ in range(len(local) + 1):
        next(rows)
    until(nothing_ahead)
    assert len(list(cache.iterdir())) == 5
