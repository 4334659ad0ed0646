import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import audiochunk
from audiochunk.cli import cli
from audiochunk.storage.objects import Objects
from audiochunk.tools import histogram

from .conftest import put
from .servers import ACCESS_KEY, SECRET_KEY, TOKEN, Fault, Proxy


def call(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.fixture
def url(s3: str, raw_dataset: Path, cache: Path) -> str:
    return put(raw_dataset, s3)


@pytest.mark.parametrize(
    "options",
    [
        ["inspect"],
        ["inspect", "--json"],
        ["inspect", "--stats", "all", "--workers", 2],
        ["inspect", "--chunk", 3],
        ["inspect", "--recording", "1 ü.wav"],
        ["verify"],
        ["verify", "--json"],
        ["evaluate", "--codec", "gzip-9", "--json", "--workers", 2],
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_command_says_of_a_url_what_it_says_of_the_folder(options: list[object], raw_dataset: Path, url: str) -> None:
    here, there = (call(options[0], where, *options[1:]) for where in (raw_dataset, url))
    assert (here.exit_code, there.exit_code) == (0, 0), there.output
    timed = r'"(en|de)code_(s|mb_s)": [\d.e-]+'
    expected = here.output.replace(str(raw_dataset), url)
    assert re.sub(timed, "", there.output) == re.sub(timed, "", expected)


def test_inspect_fetches_a_few_shards(
    raw_dataset: Path, proxy: Proxy, s3: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histogram, "_MAX_FETCHED", 3)
    url = put(raw_dataset, s3)
    ways = [(where, json.loads(call("inspect", where, "--json").output)["histogram"]) for where in (raw_dataset, url)]
    (_, here), (_, there) = ways
    assert there["of"] == here["of"] == here["chunks"]
    sizes = {split: audiochunk.open(raw_dataset, split).shard_sizes or [] for split in ("train", "val")}
    n = len(sizes["train"])
    assert [proxy.count(f"GET /{s3[5:]}/shards/{split}-") for split in sizes] == [3, 1]
    assert there["chunks"] == sum(sizes["train"][i] for i in (0, (n - 1) // 2, n - 1)) + sizes["val"][0]
    assert abs(there["entropy"] - here["entropy"]) < 1


def test_recordings_are_decoded_from_a_url(raw_dataset: Path, url: str, tmp_path: Path) -> None:
    for where, out in ((raw_dataset, "here"), (url, "there")):
        assert call("decode", where, "--all", "--workers", 2, "-o", tmp_path / out).exit_code == 0
        assert call("decode", where, "--chunk", 3, "-o", tmp_path / out / "chunk.wav").exit_code == 0
    here, there = ({p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("here", "there"))
    assert here == there
    assert len(here) == 7


def test_report_picture_and_card_of_a_url(raw_dataset: Path, url: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert call("report", url, "-o", tmp_path / "a.html").exit_code == 0
    assert "<title>shards" in (tmp_path / "a.html").read_text()
    assert call("inspect", url, "--plot", tmp_path / "a.png").exit_code == 0
    (tmp_path / "out").mkdir()
    assert call("card", url, "--checksums", "-o", tmp_path / "out").exit_code == 0
    (tmp_path / "same").mkdir()
    assert call("card", raw_dataset, "--name", "shards", "--checksums", "-o", tmp_path / "same").exit_code == 0
    for name in ("README.md", "croissant.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    refused = call("card", url)
    assert (refused.exit_code, refused.output) == (
        2,
        f"audiochunk: {url}: a card is written into a folder here; give one with --out, and upload its files\n",
    )


def test_facts_are_not_kept_beside_a_url(url: str) -> None:
    refused = call("inspect", url, "--stats", "all", "--cache")
    assert refused.exit_code == 2
    assert "--cache keeps a file beside a folder, which is not here" in refused.output


def test_verify_finds_damage_that_the_cache_hides(url: str, wavs: Path) -> None:
    assert call("inspect", url, "--stats", "all").exit_code == 0  # all shards are in the cache now
    store = Objects(url)
    data = store.read("train-00001.safetensors")
    store.write("train-00001.safetensors", data[:6000] + bytes([data[6000] ^ 1]) + data[6001:])
    store.remove("val-00000.safetensors")
    store.write("odd.txt", b"?")
    store.write("folder/odd.txt", b"?")
    store.write(".gitattributes", b"")
    found = call("verify", url, "--json", "--against", wavs)
    assert found.exit_code == 5
    findings = {(f["file"], f["place"]) for f in json.loads(found.output)["findings"]}
    assert {("train-00001.safetensors", "digest"), ("val-00000.safetensors", "type")} <= findings
    assert {("odd.txt", "name"), ("folder", "name")} <= findings
    assert not any(file == ".gitattributes" for file, _ in findings)
    assert any(place.endswith("(0 ü.wav)") for _, place in findings)  # compared with its recording


def test_verify_leaves_the_cache_alone(url: str, cache: Path) -> None:
    assert call("verify", url).exit_code == 0
    assert not cache.exists()


def test_what_is_not_there_has_its_exit_code(s3: str, cache: Path) -> None:
    for command in ("inspect", "verify", "evaluate"):
        missing = call(command, f"{s3}/nothing")
        assert missing.exit_code == 4
        assert missing.output == f"audiochunk: {s3}/nothing: no dataset here: there is no manifest.json\n"
        missing = call(command, "s3://no-such-bucket/x")
        assert missing.exit_code == 4
        assert missing.output == "audiochunk: s3://no-such-bucket/x: there is no such bucket: look at its name\n"
    dead = call("inspect", "http://127.0.0.1:1/x")
    assert dead.exit_code == 6
    assert dead.output.startswith("audiochunk: http://127.0.0.1:1/x/manifest.json: could not be asked for: the store")
    odd = call("inspect", "odd://x/y")
    assert (odd.exit_code, odd.output) == (
        2,
        "audiochunk: no store is known by odd://: there are s3://, gs://, hf:// and fsspec's\n",
    )


@pytest.mark.parametrize(
    "fault",
    [Fault(status=403), Fault(status=500), Fault(cut_after=10), Fault(keep=10), Fault(drop=True), Fault(flip=5000)],
    ids=repr,
)
def test_nothing_secret_comes_out_of_any_command(
    raw_dataset: Path,
    proxy: Proxy,
    s3: str,
    cache: Path,
    fault: Fault,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    environment: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO")
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    url, told = put(raw_dataset, s3), ""
    for part in ("manifest.json", "train-00001", "recordings.jsonl"):
        proxy.heal()
        proxy.fail(fault, part=part)
        for options in (["inspect"], ["verify"], ["decode", "--recording", "1 ü.wav", "-o", tmp_path / "a.wav"]):
            shutil.rmtree(cache, ignore_errors=True)
            (tmp_path / "a.wav").unlink(missing_ok=True)
            done = call(options[0], url, *options[1:])
            told += done.output + repr(done.exception)
            assert done.exit_code == 6 or (fault.flip is not None and done.exit_code == 5), done.output
            assert done.output.startswith((f"audiochunk: {url}/{part}", f"{part}")), done.output
    told += caplog.text + "".join(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    assert not [secret for secret in (ACCESS_KEY, SECRET_KEY, TOKEN) if secret in told]


def test_command_that_fails_says_so_in_a_line(raw_dataset: Path, proxy: Proxy, s3: str, cache: Path) -> None:
    url = put(raw_dataset, s3)
    proxy.fail(Fault(drop=True), part="train-00001")
    done = subprocess.run(
        [sys.executable, "-m", "audiochunk", "inspect", url, "--stats", "all"],
        env={**os.environ, "AWS_MAX_ATTEMPTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert done.stdout == ""
    assert re.fullmatch(rf"audiochunk: {url}/train-00001.safetensors: could not be read: .*\n", done.stderr)


def test_user_info_in_a_url_is_not_repeated() -> None:
    refused = call("inspect", "s3://key:odd-secret@bucket/x")
    assert refused.exit_code == 2
    assert "odd-secret" not in refused.output
