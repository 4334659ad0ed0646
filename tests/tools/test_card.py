"""Cards: what they say is so, they can be read by what they are for, and nobody's edits are lost."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import yaml

import audiochunk
from audiochunk.config import Encoding
from audiochunk.errors import ConfigError, DatasetError, OutputExistsError
from audiochunk.storage.manifest import Manifest, dataset_id
from audiochunk.storage.recordings import read_rows
from audiochunk.tools.card.about import About
from audiochunk.tools.card.card import write_card
from audiochunk.tools.card.croissant import lacking
from audiochunk.tools.card.marks import CROISSANT, README, is_untouched, of_another
from audiochunk.tools.card.readme import escape
from audiochunk.tools.verify import verify

from .damage import V1, copy, edit_manifest, edit_rows, places, reseal
from .known import build, speech

GOLDEN = sorted(path.parent.name for path in V1.glob("*/manifest.json"))
ABOUT = About(
    name="Birds & <bees>",
    license="CC-BY-4.0",
    url="https://huggingface.co/datasets/me/birds",
    creators=("Ada L.",),
    organizations=("The Society",),
    published="2026-03-01",
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """25 chunks of 64 bytes in the split train, of 7 recordings; 2 more were refused."""
    return copy("u8-blocks", tmp_path)


def front_matter(folder: Path) -> dict[str, Any]:
    _, head, _ = (folder / README).read_text().split("---\n", 2)
    found = yaml.safe_load(head)
    assert isinstance(found, dict)
    return found


def snippets(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / README).read_text(), re.DOTALL)


def run(code: str, folder: Path) -> str:
    root = str(Path(audiochunk.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# README.md


def test_the_front_matter_says_what_the_hub_asks_for(raw: Path) -> None:
    write_card(raw, ABOUT)
    assert front_matter(raw) == {
        "license": "cc-by-4.0",
        "pretty_name": "Birds & <bees>",
        "size_categories": ["n<1K"],
        "tags": ["audio", "audiochunk"],
        "viewer": False,
    }


def test_what_nobody_said_is_left_out(raw: Path) -> None:
    write_card(raw, About(name="x"))
    assert "license" not in front_matter(raw)
    made = json.loads((raw / CROISSANT).read_text())
    assert not {"license", "url", "creator", "datePublished", "version"} & made.keys()


def test_a_license_that_is_a_url_is_another_one_with_a_link(raw: Path) -> None:
    write_card(raw, About(name="x", license="https://example.org/terms"))
    assert front_matter(raw)["license"] == "other"
    assert front_matter(raw)["license_link"] == "https://example.org/terms"
    assert json.loads((raw / CROISSANT).read_text())["license"] == "https://example.org/terms"


@pytest.mark.parametrize(
    "name",
    [
        'a: "b" # c',
        "- x",
        "---",
        "yes",
        "1.0",
        "{a}",
        "*a",
        "&a",
        "!a",
        "%",
        "@",
        "'",
        "\\n",
        "käfer 模 🐦",
        "a\u00a0b",
    ],
)
def test_a_name_comes_back_whole_from_yaml(raw: Path, name: str) -> None:
    with contextlib.suppress(ConfigError):  # of a name that a terminal cannot show
        write_card(raw, About(name=name), overwrite=True)
        assert front_matter(raw)["pretty_name"] == name


def test_a_name_is_shown_as_it_is() -> None:
    assert escape("[a](http://b) <script> `c` *d* e_f 1 | 2") == (r"\[a\](http://b) \<script\> \`c\` \*d\* e\_f 1 \| 2")


@pytest.mark.parametrize(
    ("chunks", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**12, "n>1T")]
)
def test_size_categories_count_chunks(raw: Path, chunks: int, category: str) -> None:
    # Chunks of one byte, so that the manifest alone can claim any number of them.
    def claim(manifest: dict[str, Any]) -> None:
        manifest["encoding"] |= {"chunk_bytes": 1}
        del manifest["shards"][1:]
        manifest["shards"][0] |= {"chunks": chunks, "bytes": 4096 + chunks}
        manifest["splits"]["train"]["chunks"] = chunks
        manifest["dataset_id"] = dataset_id(Encoding(chunk_bytes=1), [manifest["shards"][0]["digest"]])

    edit_manifest(raw, claim)
    write_card(raw, ABOUT)
    assert front_matter(raw)["size_categories"] == [category]


def test_the_figures_are_those_of_the_dataset(raw: Path) -> None:
    write_card(raw, ABOUT)
    text = (raw / README).read_text()
    assert "| `train` | 25 | 7 | 3.6 s |" in text
    assert "- skipped: 2 recordings" in text
    assert "- clipped: 1 sample" in text
    assert "`5277cb00a473b645a8ec8592a11290dd`" in text
    assert "| 44,100 Hz | 2 | `PCM_24` | 1 | 5.83 ms |" in text
    assert "format: audiochunk, version 1" in text


def test_no_recording_is_named(raw: Path) -> None:
    rows = list(read_rows(raw, Manifest.read(raw).recordings))
    write_card(raw, ABOUT)
    for file in (README, CROISSANT):
        text = (raw / file).read_text()
        assert not [row.path for row in rows if row.path in text]
        assert not [row.error for row in rows if row.error and row.error in text]


def test_a_subtype_cannot_leave_its_cell(raw: Path) -> None:
    def spoil(rows: list[dict[str, Any]]) -> None:
        rows[1]["subtype"] = "x` | <script>\n# y"

    edit_rows(raw, spoil)
    reseal(raw)
    write_card(raw, ABOUT)
    text = (raw / README).read_text()
    assert "<script>" not in text
    assert "| 44,100 Hz | 2 | `x? ? ?script??n? y` | 1 | 5.83 ms |" in text


@pytest.mark.parametrize("name", GOLDEN)
def test_the_python_in_a_card_runs_and_sees_the_chunks(tmp_path: Path, name: str) -> None:
    folder = copy(name, tmp_path)
    write_card(folder, ABOUT)
    ours, without = snippets(folder)
    split = re.search(r'split="(\w+)"', ours)
    assert split is not None
    ds = audiochunk.open(folder, split=split[1])
    assert run(ours, folder).startswith(f"{len(ds)} {ds.shape} {ds.dtype}\n")
    first = next(shard.chunks for shard in ds.manifest.shards if shard.split == split[1] and shard.chunks)
    printed = run(f"{without}\nimport hashlib; print(hashlib.sha256(chunks.tobytes()).hexdigest())", folder)
    expected = hashlib.sha256(np.ascontiguousarray(ds[list(range(first))]).tobytes()).hexdigest()
    assert printed.splitlines() == [str((first, ds.shape[1])), expected]


def test_a_dataset_without_chunks_has_a_card(raw: Path) -> None:
    def empty(manifest: dict[str, Any]) -> None:
        manifest["shards"] = []
        manifest["splits"]["train"]["chunks"] = 0

    def drop(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row |= {"chunks": 0, "first_chunk": 0}

    edit_rows(raw, drop)
    reseal(raw, empty)
    write_card(raw, ABOUT)
    [ours] = snippets(raw)
    assert run(ours, raw).startswith("0 (0, 64) uint8")
    assert len(records(raw, "recordings")) == 9


# croissant.json


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        pytest.fail("something wants the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@contextlib.contextmanager
def mlcroissant() -> Iterator[Any]:
    """The module, whose own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("mlcroissant")


def issues(folder: Path) -> str:
    """What mlcroissant says of a file that it takes; it raises for another."""
    with mlcroissant() as mlc:
        context = mlc.Dataset(folder / CROISSANT).metadata.ctx
        assert context.conforms_to.value == "http://mlcommons.org/croissant/1.1"
        return str(context.issues.report())


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    """Records without the prefix of their fields, text as text."""
    with mlcroissant() as mlc:
        return [
            {
                key.removeprefix(f"{name}/"): value.decode() if isinstance(value, bytes) else value
                for key, value in record.items()
            }
            for record in mlc.Dataset(folder / CROISSANT).records(name)
        ]


@pytest.mark.parametrize("with_checksums", [False, True])
@pytest.mark.parametrize("name", GOLDEN)
def test_mlcroissant_finds_no_error_and_misses_only_what_has_no_answer(
    tmp_path: Path, name: str, with_checksums: bool
) -> None:
    folder = copy(name, tmp_path)
    write_card(folder, ABOUT, with_checksums=with_checksums)
    said = issues(folder)
    assert "error" not in said
    assert re.findall(r'Property "\S+/(\w+)" is recommended', said) == ["citeAs", "version"]
    assert len(said.splitlines()) == 3


def test_mlcroissant_sees_what_is_wrong(raw: Path) -> None:
    write_card(raw, ABOUT)
    made = json.loads((raw / CROISSANT).read_text())
    del made["distribution"][1]["sha256"]
    (raw / CROISSANT).write_text(json.dumps(made))
    with mlcroissant() as mlc, pytest.raises(mlc.ValidationError, match="sha256"):
        mlc.Dataset(raw / CROISSANT)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_recordings_table_comes_back_as_records(tmp_path: Path, name: str) -> None:
    folder = copy(name, tmp_path)
    write_card(folder, ABOUT)
    rows = list(read_rows(folder, Manifest.read(folder).recordings))
    made = records(folder, "recordings")
    assert len(made) == len(rows)
    for record, row in zip(made, rows, strict=True):
        for column, value in record.items():
            expected = getattr(row, column)
            assert value == (list(expected) if column == "notes" else expected), column
        assert set(row.__struct_fields__) - record.keys() <= {"error", "path_hex"}


def test_a_path_that_is_no_text_comes_back_too(tmp_path: Path) -> None:
    source = tmp_path / "wavs"
    source.mkdir()
    with open(os.fsencode(source) + b"/\xff.wav", "wb") as file:
        file.write((V1 / "wavs" / "speech" / "mono-16.wav").read_bytes())
    audiochunk.build(source, tmp_path / "out", chunk_bytes=64, workers=1, fsync=False)
    write_card(tmp_path / "out", ABOUT)
    [record] = records(tmp_path / "out", "recordings")
    assert (record["path"], record["path_hex"]) == ("\ufffd.wav", "ff2e776176")


def test_splits_and_encoding_are_records(tmp_path: Path) -> None:
    folder = copy("u8-mulaw-shares", tmp_path)
    write_card(folder, ABOUT)
    manifest = Manifest.read(folder)
    made = {record["name"]: record for record in records(folder, "splits")}
    assert {name: record["url"] for name, record in made.items()} == {
        "train": "cr:TrainingSplit",
        "val": "cr:ValidationSplit",
    }
    for name, totals in manifest.splits.items():
        for column in ("chunks", "recordings", "frames", "seconds"):
            assert made[name][column] == getattr(totals, column)
    [encoding] = records(folder, "encoding")
    assert (encoding["bits"], encoding["quantizer"], encoding["vocab_size"]) == (8, "mulaw", 256)


def test_file_sets_hold_the_shards_of_their_split_and_no_others(tmp_path: Path) -> None:
    wavs = {f"{split}/{n}.wav": speech(n) for split in ("a", "a-00000", "b") for n in range(2)}
    folder = build(tmp_path, wavs, split="folders", shard_size=1536 * 4)
    write_card(folder, ABOUT)
    made = json.loads((folder / CROISSANT).read_text())
    for file_set in made["distribution"]:
        if file_set["@type"] == "cr:FileSet":
            found = sorted(path.name for glob in file_set["includes"] for path in folder.glob(glob))
            split = file_set["@id"].removeprefix("shards/")
            assert found == [shard.name for shard in Manifest.read(folder).shards if shard.split == split]


def test_checksums_are_those_of_the_files(raw: Path) -> None:
    told: list[int] = []
    write_card(raw, ABOUT, with_checksums=True, on_bytes=told.append)
    made = json.loads((raw / CROISSANT).read_text())
    files = {file["@id"]: file for file in made["distribution"] if file["@type"] == "cr:FileObject"}
    assert files.keys() == {path.name for path in raw.iterdir()} - {README, CROISSANT}
    for name, file in files.items():
        data = (raw / name).read_bytes()
        assert (file["sha256"], file["contentSize"]) == (hashlib.sha256(data).hexdigest(), f"{len(data)} B")
    assert sum(told) == sum(shard.bytes for shard in Manifest.read(raw).shards)


def test_a_shard_of_another_size_has_no_checksum(raw: Path) -> None:
    os.truncate(raw / "train-00001.safetensors", 4600)
    with pytest.raises(DatasetError, match=r"train-00001\.safetensors: 4,600 bytes, 4,736 expected"):
        write_card(raw, ABOUT, with_checksums=True)
    assert not (raw / README).exists()


def test_a_dataset_that_lacks_a_shard_is_damaged(raw: Path) -> None:
    (raw / "train-00001.safetensors").unlink()
    with pytest.raises(DatasetError, match=r"train-00001\.safetensors: there is no such file"):
        write_card(raw, ABOUT, with_checksums=True)
    assert not (raw / README).exists()
    write_card(raw, ABOUT)  # which reads none


def test_rows_of_an_append_that_is_not_finished_are_not_told_of(raw: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(raw, whole)
    table = raw / "recordings.jsonl"
    table.write_bytes(table.read_bytes() + table.read_bytes().splitlines(keepends=True)[0])
    for folder in (raw, whole):
        write_card(folder, ABOUT)
    for name in (README, CROISSANT):
        assert (raw / name).read_bytes() == (whole / name).read_bytes()


def test_what_croissant_requires_is_known() -> None:
    assert lacking(About(name="x")) == {
        "license": "--license",
        "url": "--url",
        "creator": "--creator or --organization",
        "datePublished": "--published",
    }
    assert lacking(ABOUT) == {}


@pytest.mark.parametrize(
    ("license_", "expected"),
    [
        ("cc0-1.0", "https://spdx.org/licenses/CC0-1.0.html"),
        ("CC-BY-NC-SA-4.0", "https://spdx.org/licenses/CC-BY-NC-SA-4.0.html"),
        ("mit", {"@type": "sc:CreativeWork", "name": "mit"}),
    ],
)
def test_a_license_is_a_url_where_one_follows(raw: Path, license_: str, expected: object) -> None:
    write_card(raw, About(name="x", license=license_))
    assert json.loads((raw / CROISSANT).read_text())["license"] == expected
    assert "license" not in issues(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "\udcff"},
        {"creators": (" ",)},
        {"organizations": ("a\x1bb",)},
        {"description": "\n"},
        {"description": "a\x00"},
        {"license": "my license"},
        {"license": "ftp://x"},
        {"url": "example.org"},
        {"url": 'https://x"y'},
        {"published": "1.3.2026"},
        {"published": "2026-13-01"},
        {"published": "20260301"},
    ],
    ids=str,
)
def test_what_cannot_be_said_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        About(**{"name": "x", **wrong})


# Both files


def test_the_same_dataset_makes_the_same_files_wherever_it_lies(raw: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(raw, tmp_path / "elsewhere"))
    first = write_card(raw, ABOUT, with_checksums=True)
    assert write_card(other, ABOUT, with_checksums=True) == first
    for name in (README, CROISSANT):
        assert (raw / name).read_bytes() == (other / name).read_bytes()
        assert first[name] == (raw / name).stat().st_size


def test_a_card_that_nobody_has_edited_is_replaced(raw: Path) -> None:
    write_card(raw, About(name="x", description="A\n\nB 模"))
    assert is_untouched(README, (raw / README).read_bytes())
    assert is_untouched(CROISSANT, (raw / CROISSANT).read_bytes())
    write_card(raw, ABOUT)
    assert front_matter(raw)["pretty_name"] == "Birds & <bees>"


@pytest.mark.parametrize("name", [README, CROISSANT])
@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.replace(b"25", b"26", 1),
        lambda data: data + b"\n",
        lambda data: b"\n" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"",
        lambda data: b"# My own\n",
        lambda data: b"[" * 10**5,
        lambda data: b'{"a": "\\ud800"}',
        lambda data: b"\xff",
    ],
)
def test_an_edited_card_is_replaced_only_where_that_is_asked_for(raw: Path, name: str, edit: Any) -> None:
    write_card(raw, ABOUT)
    (raw / name).write_bytes(edit((raw / name).read_bytes()))
    before = {file: (raw / file).read_bytes() for file in (README, CROISSANT)}
    with pytest.raises(
        OutputExistsError, match=f"{name}: was not written by audiochunk, or was edited since; .*--over"
    ):
        write_card(raw, About(name="x"))
    assert {file: (raw / file).read_bytes() for file in before} == before
    write_card(raw, About(name="x"), overwrite=True)
    assert is_untouched(name, (raw / name).read_bytes())


def test_a_link_a_fifo_and_a_folder_are_not_ours(raw: Path, tmp_path: Path) -> None:
    write_card(raw, ABOUT)
    target = (raw / README).rename(tmp_path / "mine.md")
    (raw / README).symlink_to(target)
    with pytest.raises(OutputExistsError, match="edited since"):
        write_card(raw, ABOUT)
    (raw / README).unlink()
    os.mkfifo(raw / README)
    with pytest.raises(OutputExistsError, match="edited since"):
        write_card(raw, ABOUT)
    (raw / README).unlink()
    (raw / README).mkdir()
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="is a folder"):
            write_card(raw, ABOUT, overwrite=overwrite)


def test_a_card_may_lie_elsewhere(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    write_card(raw, ABOUT, out=tmp_path / "drafts")
    assert sorted(os.listdir(tmp_path / "drafts")) == [README, CROISSANT]
    assert not (raw / README).exists()
    with pytest.raises(ConfigError, match="is not a folder; make it first"):
        write_card(raw, ABOUT, out=tmp_path / "nowhere")


# Beside a dataset


def test_a_card_is_no_finding_and_one_of_another_dataset_is(raw: Path) -> None:
    write_card(raw, ABOUT)
    (raw / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (raw / ".cache" / "huggingface").mkdir(parents=True)
    assert verify(raw) == []
    edit_rows(raw, lambda rows: rows[1].update(notes=["something else"]))
    reseal(raw)
    assert places(verify(raw)) == [(README, "dataset"), (CROISSANT, "dataset")]
    write_card(raw, ABOUT)
    assert verify(raw) == []


def test_a_card_of_somebody_else_is_no_finding(raw: Path) -> None:
    (raw / README).write_text("# My own\n")
    for text in ("{}", "[]", "", "[" * 10**5, '{"distribution": 1}', '{"distribution": [{"@id": 1}, 2]}'):
        (raw / CROISSANT).write_text(text)
        assert verify(raw) == []


def test_an_edited_card_still_says_what_it_is_of(raw: Path, tmp_path: Path) -> None:
    write_card(raw, ABOUT)
    other = Manifest.read(copy("u8-blocks-zstd", tmp_path))
    edited = (raw / README).read_bytes() + b"See also: nothing.\n"
    (raw / README).write_bytes(edited)
    assert list(of_another(raw, Manifest.read(raw))) == []
    assert list(of_another(raw, other)) == [README, CROISSANT]


@pytest.mark.parametrize("name", [README, CROISSANT, ".gitattributes"])
def test_a_folder_of_that_name_is_a_finding(raw: Path, name: str) -> None:
    (raw / name).mkdir()
    assert places(verify(raw)) == [(name, "name")]


@pytest.mark.parametrize("names", [[], ["pip"], ["huggingface", "pip"]], ids=str)
def test_another_cache_is_a_finding(raw: Path, names: list[str]) -> None:
    (raw / ".cache").mkdir()
    for name in names:
        (raw / ".cache" / name).mkdir()
    assert places(verify(raw)) == [(".cache", "name")]


def test_a_build_finds_a_dataset_with_a_card_up_to_date_and_leaves_the_card_alone(tmp_path: Path) -> None:
    folder = build(tmp_path, {"a.wav": speech(1), "b.wav": speech(2)})
    write_card(folder, ABOUT)
    (folder / ".gitattributes").touch()
    before = {name: (folder / name).read_bytes() for name in (README, CROISSANT, ".gitattributes")}
    os.utime(folder / "manifest.json", (1, 1))
    sealed = (folder / "manifest.json").stat().st_mtime_ns
    build(tmp_path, {})
    assert (folder / "manifest.json").stat().st_mtime_ns == sealed
    audiochunk.build(tmp_path / "wavs", folder, bits=16, workers=1, fsync=False, overwrite=True)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert places(verify(folder)) == [(README, "dataset"), (CROISSANT, "dataset")]
