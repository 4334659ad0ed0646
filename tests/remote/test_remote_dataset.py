import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import audiochunk
from audiochunk.errors import ConfigError, NoDatasetError
from audiochunk.reader import raw, remote_files
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.storage.cache import FETCHED

from .conftest import put
from .reading import assert_same, nothing_ahead, until
from .servers import Proxy


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
        until(nothing_ahead)
        largest = max(path.stat().st_size for path in dataset.iterdir())
        kept = [path.stat().st_size for path in (folder / FETCHED).iterdir()]
        assert kept
        assert sum(kept) <= max(limit, largest)


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
    for path in (Path("s3:/bucket/x"), "./s3:/bucket/x", os.fspath(tmp_path / "nope")):
        with pytest.raises(NoDatasetError, match="no dataset here"):
            audiochunk.open(path)
