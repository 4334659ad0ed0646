"""Datasets on the Hugging Face Hub, by way of huggingface_hub, against a Hub on loopback."""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import audiochunk
from audiochunk.cli import cli
from audiochunk.errors import ConfigError, DatasetError, NoDatasetError, StoreError
from audiochunk.storage.objects import Objects

from .hub import REPO, SIGNATURE, Hub, hub_server
from .made import built
from .reading import assert_same
from .servers import TOKEN, Fault, proxy_to

pytest.importorskip("huggingface_hub", reason="no huggingface_hub: pip install 'audiochunk[dev]'")

URL = f"hf://datasets/{REPO}"


@pytest.fixture
def hub(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty repository, and nothing of the machine's own sign-in."""
    from huggingface_hub import constants

    environment.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with hub_server() as hub:
        point_to(hub.url, environment)
        yield hub


def point_to(endpoint: str, environment: pytest.MonkeyPatch) -> None:
    """Have the Hub be there; the library reads HF_ENDPOINT when it is imported."""
    import fsspec.config

    environment.setitem(fsspec.config.conf, "hf", {"endpoint": endpoint})


def say(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_dataset_in_a_repository_is_the_same_as_in_a_folder(hub: Hub, dataset: Path, cache: Path) -> None:
    hub.commit(dataset)
    hub.commit(dataset, revision="v1 #1", under="deep/er ü/")
    hub.page = 4
    local = audiochunk.open(dataset)
    for url in (URL, f"{URL}@v1%20%231/deep/er ü"):
        ds = audiochunk.open(url)
        assert ds.is_fetched
        assert_same(ds, local)
    # Each file once, although there are two of each, and no more of it than there is.
    sizes = {path.name: path.stat().st_size for path in dataset.iterdir() if path.name != "manifest.json"}
    sent = {name: size for name, size in hub.sent.items() if not name.endswith("manifest.json")}
    assert sent == {name: sizes[name] for name in sent}
    assert {entry.name for entry in local.manifest.shards if entry.split == "train"} <= set(sent)
    hub.requests.clear()
    _ = list(audiochunk.open(URL))
    assert not hub.count("safetensors")


def test_commands_read_from_the_hub(hub: Hub, raw_dataset: Path, wavs: Path, cache: Path, tmp_path: Path) -> None:
    hub.commit(raw_dataset, under="shards/")
    hub.commit(wavs, under="wavs/")
    url = f"{URL}/shards"
    assert f"{len(audiochunk.open(raw_dataset)):,} chunks" in say("inspect", url)
    say("decode", url, "--chunk", "3", "-o", str(tmp_path / "hub.wav"))
    say("decode", str(raw_dataset), "--chunk", "3", "-o", str(tmp_path / "local.wav"))
    assert (tmp_path / "hub.wav").read_bytes() == (tmp_path / "local.wav").read_bytes()
    assert "6 compared with" in say("verify", url, "--against", f"{URL}/wavs")
    shards = hub.files["main"]
    shards["shards/train-00001.safetensors"] = shards["shards/train-00002.safetensors"]
    done = CliRunner().invoke(cli, ["verify", url])
    assert done.exit_code == 5
    assert "train-00001.safetensors" in done.output


def test_hub_is_where_its_variable_says(hub: Hub, raw_dataset: Path, cache: Path) -> None:
    hub.commit(raw_dataset)
    hub.token = TOKEN
    done = subprocess.run(
        [sys.executable, "-m", "audiochunk", "verify", URL],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sound: ")


def test_recordings_are_read_from_the_hub(hub: Hub, wavs: Path, tmp_path: Path) -> None:
    hub.commit(wavs, under="wavs/")
    assert built(f"{URL}/wavs", tmp_path / "one") == built(wavs, tmp_path / "two")


def test_hub_is_not_built_into(hub: Hub, wavs: Path) -> None:
    for url in (f"{URL}/shards", "hf://buckets/ada/birds"):
        with pytest.raises(ConfigError, match=r"every file that is written is a commit"):
            audiochunk.build(wavs, url, workers=1)
    assert hub.requests == []


def test_what_is_not_there_is_told(hub: Hub, raw_dataset: Path, environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoDatasetError, match=r"no dataset here: there is no manifest\.json"):
        audiochunk.open(URL)
    hub.commit(raw_dataset)
    with pytest.raises(StoreError, match="the repository has no such revision"):
        audiochunk.open(f"{URL}@v2")
    with pytest.raises(NoDatasetError, match=r"no dataset here: there is no manifest\.json"):
        audiochunk.open(f"{URL}/deep")
    with pytest.raises(StoreError, match="there is no such repository, or these credentials may not see it"):
        audiochunk.open("hf://datasets/ada/fish")
    hub.token = TOKEN
    for token in ("", "another"):
        environment.setenv("HF_TOKEN", token)
        with pytest.raises(StoreError, match="there is no such repository, or these credentials may not see it"):
            audiochunk.open(URL)
    environment.setenv("HF_TOKEN", TOKEN)
    ds = audiochunk.open(URL)
    del hub.files["main"]["train-00000.safetensors"]
    with pytest.raises(DatasetError, match=r"train-00000\.safetensors: is missing") as caught:
        _ = ds[0]
    assert not [secret for secret in (TOKEN, SIGNATURE) if secret in "".join(traceback.format_exception(caught.value))]


def test_what_came_after_the_folder_was_listed_is_seen(hub: Hub, raw_dataset: Path, cache: Path) -> None:
    hub.commit(raw_dataset)
    late = hub.files["main"].pop("train-00001.safetensors")
    ds, local = audiochunk.open(URL), audiochunk.open(raw_dataset)
    np.testing.assert_array_equal(ds[0], local[0])
    second = next(entry.chunks for entry in local.manifest.shards)
    with pytest.raises(DatasetError, match="is missing"):
        _ = ds[second]
    hub.files["main"]["train-00001.safetensors"] = late
    np.testing.assert_array_equal(ds[second], local[second])


def test_objects_that_are_replaced_are_read_and_listed_as_they_are(hub: Hub) -> None:
    store = Objects(URL)
    for data in (b"first", b"the second is longer", b"third"):
        hub.files["main"] = {"a": data, data.decode(): b""}
        assert store.read("a") == data
        assert [info.name for info in store.list()] == sorted(["a", data.decode()])


def test_passing_faults_change_nothing(
    hub: Hub, raw_dataset: Path, cache: Path, environment: pytest.MonkeyPatch
) -> None:
    hub.commit(raw_dataset)
    with proxy_to(hub.url) as proxy:
        point_to(proxy.url, environment)
        proxy.fail(Fault(status=503), times=1, part="/signed/main/train-00000")
        proxy.fail(Fault(keep=9), times=1, part="/signed/main/train-00001")
        proxy.fail(Fault(drop=True), times=1, part="/signed/main/train-00002")
        proxy.fail(Fault(flip=5000), times=1, part="/signed/main/train-00003")
        np.testing.assert_array_equal(
            np.stack(list(audiochunk.open(URL))), np.stack(list(audiochunk.open(raw_dataset)))
        )
        assert not any(rule.left for rule in proxy._rules)


def test_lasting_fault_is_one_sentence_with_nothing_secret(
    hub: Hub, raw_dataset: Path, cache: Path, environment: pytest.MonkeyPatch
) -> None:
    hub.commit(raw_dataset)
    environment.setenv("HF_TOKEN", TOKEN)
    with proxy_to(hub.url) as proxy:
        point_to(proxy.url, environment)
        ds = audiochunk.open(URL)
        proxy.fail(Fault(status=403), part="/signed/")
        with pytest.raises(
            StoreError, match=r"train-00000\.safetensors: could not be read: access is denied"
        ) as caught:
            _ = ds[0]
    assert "\n" not in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in (TOKEN, SIGNATURE) if secret in told]
