"""Object stores to read from and write to: S3 on loopback, with and without faults, and fsspec's own in memory."""

import itertools
import os
from collections.abc import Iterator

import pytest

pytest.importorskip("fsspec", reason="no fsspec: pip install 'audiochunk[remote]'")
pytest.importorskip("s3fs", reason="no s3fs: pip install 'audiochunk[remote]'")
pytest.importorskip("moto.server", reason="no moto: pip install 'audiochunk[dev]'")

from audiochunk.storage import objects

from .servers import ACCESS_KEY, SECRET_KEY, TOKEN, Proxy, make_bucket, proxy_to, s3_server

_names = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of the machine's own configuration, odd credentials, and no long waiting."""
    import fsspec.config

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
    patient = {"config_kwargs": {"connect_timeout": 0.5, "read_timeout": 0.5}}
    monkeypatch.setattr(fsspec.config, "conf", {"s3": patient})
    monkeypatch.setattr(objects, "PAUSES_S", (0.0, 0.0, 0.0))
    return monkeypatch


@pytest.fixture
def s3(server: str, environment: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket."""
    environment.setenv("AWS_ENDPOINT_URL", server)
    name = f"bucket-{next(_names)}"
    make_bucket(server, name)
    return f"s3://{name}"


@pytest.fixture
def proxy(server: str, s3: str, environment: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What comes between the test and the server from here on; the bucket is that of `s3`."""
    with proxy_to(server) as proxy:
        environment.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def memory(environment: pytest.MonkeyPatch) -> str:
    """The URL of an empty folder in the memory of this process."""
    from fsspec.implementations.memory import MemoryFileSystem

    environment.setattr(MemoryFileSystem, "store", {})
    environment.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return "memory://folder"
