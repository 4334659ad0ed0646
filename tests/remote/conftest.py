"""Object stores to read from and write to: S3 on loopback, with and without faults, and fsspec's own in memory."""

import functools
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiochunk.config import BuildConfig
from audiochunk.pipeline import run
from audiochunk.storage import objects
from audiochunk.storage.cache import FETCHED
from tests.waiting import LONG_S

from .made import make_recordings
from .made import put as put_recordings
from .other_servers import google_server, make_google_bucket, seaweed_server
from .servers import ACCESS_KEY, SECRET_KEY, TOKEN, Proxy, make_bucket, proxy_to, s3_server

_names = itertools.count()


def read_timeout(seconds: float) -> dict[str, Any]:
    """Options of s3fs by which requests are given up after so long."""
    return {"config_kwargs": {"connect_timeout": LONG_S, "read_timeout": seconds}}


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    pytest.importorskip("moto.server", reason="no moto: pip install 'audiochunk[dev]'")
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of the machine's own configuration, odd credentials, and no long waiting."""
    config = pytest.importorskip("fsspec.config", reason="no fsspec: pip install 'audiochunk[remote]'")
    pytest.importorskip("s3fs", reason="no s3fs: pip install 'audiochunk[remote]'")
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_", "HF_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setattr(config, "conf", {"s3": read_timeout(LONG_S)})
    monkeypatch.setattr(objects, "PAUSES_S", (0.0, 0.0, 0.0))
    return monkeypatch


@pytest.fixture
def s3(server: str, environment: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket."""
    environment.setenv("AWS_ENDPOINT_URL", server)
    name = f"bucket-{next(_names)}"
    make_bucket(server, name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def seaweed_endpoint() -> Iterator[str]:
    """The address of a SeaweedFS with one bucket, since each takes up volumes."""
    with seaweed_server() as endpoint:
        import boto3

        who = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        boto3.client("s3", "us-east-1", endpoint_url=endpoint, **who).create_bucket(Bucket="bucket")
        yield endpoint


@pytest.fixture
def seaweed(seaweed_endpoint: str, environment: pytest.MonkeyPatch) -> str:
    """The URL of an empty folder in a SeaweedFS, which checks signatures."""
    # It knows no sessions; and nothing here waits for faults.
    environment.delenv("AWS_SESSION_TOKEN")
    environment.setattr("fsspec.config.conf", {})
    environment.setenv("AWS_ENDPOINT_URL", seaweed_endpoint)
    return f"s3://bucket/{next(_names)}"


@pytest.fixture(scope="session")
def google_endpoint() -> Iterator[str]:
    """The address of a server that speaks as Google Cloud Storage does."""
    pytest.importorskip("gcsfs", reason="no gcsfs: pip install gcsfs")
    with google_server() as endpoint:
        yield endpoint


@pytest.fixture
def gs(google_endpoint: str, environment: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket there."""
    environment.setenv("STORAGE_EMULATOR_HOST", google_endpoint)
    name = f"bucket-{next(_names)}"
    make_google_bucket(google_endpoint, name)
    return f"gs://{name}"


@pytest.fixture
def proxy(server: str, s3: str, environment: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What comes between the test and the server from here on; the bucket is that of `s3`."""
    with proxy_to(server) as proxy:
        environment.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def impatient(server: str, s3: str, environment: pytest.MonkeyPatch) -> None:
    """Requests are given up soon, but not before this machine's server would have answered many times."""
    began = time.monotonic()
    for _ in range(5):
        make_bucket(server, f"{s3[5:]}-asked")
    answered_s = (time.monotonic() - began) / 5
    environment.setattr("fsspec.config.conf", {"s3": read_timeout(max(0.5, 20 * answered_s))})


@pytest.fixture
def memory(environment: pytest.MonkeyPatch) -> str:
    """The URL of an empty folder in the memory of this process."""
    from fsspec.implementations.memory import MemoryFileSystem

    lock, pipe_file = threading.Lock(), MemoryFileSystem.pipe_file

    @functools.wraps(pipe_file)
    def one_by_one(*args: Any, **kwargs: Any) -> None:
        with lock:
            pipe_file(*args, **kwargs)

    environment.setattr(MemoryFileSystem, "store", {})
    environment.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    # It looks whether an object is there, and then makes it; threads may come in between.
    environment.setattr(MemoryFileSystem, "pipe_file", one_by_one)
    return "memory://folder"


@pytest.fixture
def cache(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of an empty cache in which its files are."""
    folder = tmp_path / "cache"
    environment.setenv("AUDIOCHUNK_CACHE", str(folder))
    return folder / FETCHED


@pytest.fixture(scope="session")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("remote") / "wavs"
    folder.mkdir()
    for number in range(6):
        frames = int(rng.integers(4000, 30_000))
        samples = np.cumsum(rng.integers(-300, 301, (frames, 1 + number % 2)), axis=0).astype(np.int16)
        sf.write(folder / f"{number} ü.wav", samples, 8000)
    return folder


@pytest.fixture(scope="session", params=["none", "zstd"])
def dataset(request: pytest.FixtureRequest, wavs: Path) -> Path:
    """The folder of a dataset with a good many shards, and with two splits."""
    return _built(wavs, request.param)


@pytest.fixture(scope="session")
def raw_dataset(wavs: Path) -> Path:
    """The same, not compressed."""
    return _built(wavs, "none")


@pytest.fixture(scope="session")
def other_dataset(wavs: Path) -> Path:
    """A dataset of other bytes."""
    return _built(wavs, "none", chunk_bytes=1024)


def _built(wavs: Path, compress: str, chunk_bytes: int = 2048) -> Path:
    out = wavs.parent / f"{compress}-{chunk_bytes}"
    if not out.exists():
        config = BuildConfig.make(
            shard_size=8 * 2048, split="train=0.8,val=0.2", split_seed=1, compress=compress, chunk_bytes=chunk_bytes
        )
        run.build(wavs, out, config, workers=1, fsync=False)
    return out


def put(dataset: Path, url: str) -> str:
    """Copy a dataset into a store, and give its URL back."""
    store = objects.Objects(f"{url}/shards")
    for path in sorted(dataset.iterdir()):
        store.upload(path, path.name)
    return store.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of several kinds."""
    return make_recordings(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def stored(s3: str, folder: Path) -> str:
    """The URL of the same recordings."""
    put_recordings(folder, f"{s3}/rec")
    return f"{s3}/rec"
