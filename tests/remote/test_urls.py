import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import audiochunk
from audiochunk.cli import cli
from audiochunk.errors import ConfigError
from audiochunk.pipeline.inputs import require_folders
from audiochunk.storage.objects import Objects
from audiochunk.storage.urls import is_url, local_path


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:odd-secret@bucket/x", "with a user, a password or a query"),
        ("s3://odd-secret@bucket", "with a user, a password or a query"),
        ("s3://bucket/x?token=odd-secret", "with a user, a password or a query"),
        ("s3://bucket/x::file://odd-secret", "with another URL"),
        ("simplecache::s3://odd-secret/x", "^simplecache::…: a URL that leads to another one is not taken"),
        ("zip://odd-secret::file:///x.zip", "with another URL"),
        ("zip:///odd-secret.zip", "^zip:// is no store, but a way to files in one"),
        ("simplecache://odd-secret", "^simplecache:// is no store"),
        ("ftp://odd-secret/x", "^ftp:// is not taken: it would have to be told more than a folder"),
        ("hdfs://odd-secret/x", "^hdfs:// "),
        ("odd://bucket/x", "no store is known by odd://"),
        ("s3:///", "a bucket or a folder must follow"),
        ("http://host/x#odd-secret", "^http:// with #, ; or %3F in the URL is not taken"),
        ("HTTPS://host/x;token=odd-secret", "^https:// with #, ; or %3F"),
        ("https://host/x%3Ftoken=odd-secret", "^https:// with #, ; or %3F"),
        ("https://host/x%3ftoken=odd-secret", "^https:// with #, ; or %3F"),
        ("bucket/x", "not a URL"),
    ],
)
def test_url_that_is_not_taken_is_told_without_what_is_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Objects(url)
    assert "odd-secret" not in str(caught.value)


@pytest.mark.parametrize("sign", ["#", ";token=", "%3F", "%3f"])
def test_web_addresses_are_refused_without_what_may_be_secret(sign: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    url = f"https://127.0.0.1:9/x{sign}odd-secret"
    for act in (
        lambda: audiochunk.open(url),
        lambda: audiochunk.build(url, tmp_path / "out"),
        lambda: audiochunk.build(tmp_path / "in", url),
        lambda: audiochunk.build(tmp_path / "in", url, append=True),
        lambda: require_folders(url),
        lambda: call("inspect", url),
    ):
        with pytest.raises(ConfigError) as caught:
            act()
        assert "odd-secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a#b", "a;b", "a%3Fb"])
def test_keys_of_stores_may_have_what_ends_a_path_in_a_web_address(name: str) -> None:
    assert Objects(f"s3://bucket/{name}").url == f"s3://bucket/{name}"


@pytest.mark.parametrize(
    "url", ["s3://key:odd-secret@bucket/x", "gs://bucket/x?token=odd-secret", "https://host/x#odd-secret"]
)
def test_job_arrays_refuse_urls_without_what_is_secret(url: str, tmp_path: Path) -> None:
    for places in ((url, tmp_path), (tmp_path, url)):
        with pytest.raises(ConfigError) as caught:
            require_folders(*places)
        assert "odd-secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="s3://bucket/x: a job array needs folders"):
        require_folders("s3://bucket/x")


@pytest.mark.parametrize("slip", ["s3:/odd-secret/x", "s3:x", "S3:/x", "gs:/x", "hf:datasets/x", "file:/x", "https:/x"])
def test_url_that_lacks_slashes_is_no_folder(slip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = rf"^{slip.lower().partition(':')[0]}:… is no URL without two slashes"
    (tmp_path / "in").mkdir()
    for act in (
        lambda: audiochunk.build("in", slip),
        lambda: audiochunk.build(slip, "out"),
        lambda: audiochunk.open(slip),
        lambda: call("build", "in", "--out", slip),
        lambda: call("inspect", slip),
        lambda: call("decode", "in", "--all", "--out", slip),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            act()
        assert "odd-secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def call(*arguments: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    raise ConfigError(result.output.removeprefix("audiochunk: "))


def test_folder_that_is_named_like_a_scheme_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "a.wav", np.zeros(4096), 8000)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "a.wav").rename("s3:/a.wav")
    audiochunk.build("./s3:", "./gs:/x", workers=1)
    audiochunk.build(Path("s3:"), Path("hf:/x"), workers=1)
    assert len(audiochunk.open("./gs:/x")) == len(audiochunk.open(Path("hf:/x"))) == 2


def test_missing_library_is_told_with_what_to_install(environment: pytest.MonkeyPatch) -> None:
    how = "which is not installed: pip install 'audiochunk[remote]'"
    for scheme, library, also in (
        ("s3", "s3fs", ""),
        ("gs", "gcsfs", " gcsfs"),
        ("hf", "huggingface_hub", " huggingface_hub"),
        ("abfs", "adlfs", ", and what fsspec's documentation says"),
        ("memory", "fsspec", ""),
    ):
        environment.setitem(sys.modules, library, None)
        environment.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
        with pytest.raises(ConfigError) as caught:
            Objects(f"{scheme}://bucket/x")
        assert str(caught.value) == f"{scheme}:// URLs need {library}, {how}{also}"


def test_only_text_with_a_scheme_is_a_url() -> None:
    assert is_url("s3://bucket")
    assert is_url("memory://")
    assert is_url("simplecache::s3://bucket")
    assert not any(map(is_url, ("bucket", "a::b", "::s3://b", "/a/b", "./s3:/b", "c:\\x", "://x", Path("s3://bucket"))))
    assert local_path("file:///a/b/") == Path("/a/b")
    assert local_path("s3://bucket") is None
    with pytest.raises(ConfigError, match="three slashes"):
        local_path("file://a/b")


def test_file_url_means_the_path_that_it_was_made_of(tmp_path: Path) -> None:
    for name in ("my set", "ü#?%41", "100%", "b\udcff"):
        assert local_path((tmp_path / name).as_uri()) == tmp_path / name
    assert local_path("file:///data/my set") == Path("/data/my set")
