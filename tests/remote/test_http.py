"""Datasets that a web server has, read by HTTP."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

import audiochunk
from audiochunk.cli import cli
from audiochunk.errors import ConfigError, NoDatasetError, StoreError

from .reading import assert_same
from .servers import Fault, proxy_to


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(environment: pytest.MonkeyPatch, dataset: Path) -> Iterator[str]:
    """The address of a server that has a dataset in shards/; it knows no ranges, and lists folders."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(dataset.parent)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_dataset_of_a_web_server_is_the_same_as_in_a_folder(web: str, dataset: Path, wavs: Path, cache: Path) -> None:
    url = f"{web}/{dataset.name}"
    assert_same(audiochunk.open(url), audiochunk.open(dataset))
    for arguments in (["verify", url], ["verify", url, "--against", str(wavs)], ["inspect", url]):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output


def test_server_that_cannot_be_asked_is_not_one_that_has_no_dataset(
    web: str, raw_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiohttp

    with pytest.raises(NoDatasetError, match=r"no dataset here: there is no manifest\.json"):
        audiochunk.open(f"{web}/nothing")
    with pytest.raises(StoreError, match="the store cannot be reached"):
        audiochunk.open("http://127.0.0.1:9/shards")
    with proxy_to(web) as proxy:
        for status, said in ((403, "access is denied"), (500, "the store fails, again and again")):
            for method in ("HEAD", "GET"):
                proxy.fail(Fault(status=status), method=method)
            with pytest.raises(StoreError, match=said):
                audiochunk.open(f"{proxy.url}/{raw_dataset.name}")
            proxy.heal()
        monkeypatch.setattr("aiohttp.client.DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
        for method in ("HEAD", "GET"):
            proxy.fail(Fault(silent=True), method=method)
        with pytest.raises(StoreError, match="there was no answer in time"):
            audiochunk.open(f"{proxy.url}/{raw_dataset.name}")


def test_http_is_only_read_from(web: str, wavs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="datasets are not built into http://, which is only read from"):
        audiochunk.build(wavs, f"{web}/out", workers=1)
    with pytest.raises(ConfigError, match="recordings are not read by HTTP"):
        audiochunk.build(web, tmp_path / "out", workers=1)
