"""The build folder: whose it is, who holds it, and what goes when it goes."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash
from msgspec.structs import replace

from audiochunk.config import BuildConfig, Encoding, Options
from audiochunk.errors import MachineError, OutputExistsError
from audiochunk.pipeline import build_folder
from audiochunk.pipeline.build_folder import entered, finish, is_ours, remove
from audiochunk.pipeline.versions import versions
from audiochunk.storage.manifest import Manifest, RecordingsEntry, dataset_id

OURS = b'{"format":"audiochunk"}'
NOTHING = Manifest(
    encoding=Encoding(),
    options=Options(),
    compression=None,
    splits={},
    shards=(),
    recordings=RecordingsEntry(name="recordings.jsonl", rows=0, digest=xxhash.xxh3_128_hexdigest(b"")),
    skipped=0,
    dataset_id=dataset_id(Encoding(), []),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder."""
    (tmp_path / "shards").mkdir()
    return tmp_path / "shards"


@pytest.fixture
def work(folder: Path) -> Path:
    """A build folder that nothing is in."""
    (folder / ".build").mkdir()
    return folder / ".build"


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# Whose it is.


@pytest.mark.parametrize(
    "names", [[], ["lock"], ["build.json.host.1.0a.tmp"], ["build.json.a.tmp", "build.json.b.tmp", "lock"]], ids=str
)
def test_a_folder_in_which_a_build_was_killed_before_it_could_say_so_is_ours(work: Path, names: list[str]) -> None:
    for name in names:
        (work / name).touch()
    assert is_ours(work)


@pytest.mark.parametrize("marker", [OURS, b'{"format": "audiochunk", "versions": {}, "novelty": 1}\n'])
def test_a_folder_that_says_so_is_ours_whatever_else_is_in_it(work: Path, marker: bytes) -> None:
    (work / "build.json").write_bytes(marker)
    (work / "notes.txt").touch()
    assert is_ours(work)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "failed.jsonl",
        "train-00000.safetensors",
        "build",
        "build.jsonx",
        "lock.old",
        "Lock",
        ".lock",
        "ninja",
    ],
)
def test_a_folder_with_anything_else_and_no_marker_is_not_ours(work: Path, name: str) -> None:
    for present in ("lock", name):
        (work / present).touch()
    assert not is_ours(work)


@pytest.mark.parametrize(
    "marker",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"audiochunk"',
        OURS[:-1],
        b'{"format":"webdataset"}',
        b'{"format":["audiochunk"]}',
        b'{"format":null}',
        b'{"Format":"audiochunk"}',
        b"\xff\xfe",
        b'{"format":"\xff"}',
        b'{"format":' + b"[" * 100_000,
    ],
    ids=lambda marker: ascii(marker[:30]),
)
def test_a_marker_of_somebody_else_is_not_ours(work: Path, marker: bytes) -> None:
    (work / "build.json").write_bytes(marker)
    assert not is_ours(work)


def test_a_file_and_nothing_are_not_ours(folder: Path) -> None:
    assert not is_ours(folder / ".build")
    (folder / ".build").touch()
    assert not is_ours(folder / ".build")


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_is_not_ours_wherever_it_leads(folder: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "build.json").write_bytes(OURS)
    (folder / ".build").symlink_to(tmp_path / target)
    assert not is_ours(folder / ".build")


# Who holds it.


@pytest.mark.parametrize("fsync", [False, True])
def test_both_folders_are_made_and_marked(tmp_path: Path, fsync: bool) -> None:
    folder = tmp_path / "a" / "b" / "shards"
    with entered(folder, BuildConfig(), fsync=fsync) as (work, _):
        assert work == folder / ".build"
        assert names(work) == ["build.json", "lock"]
        assert is_ours(work)
        marker = {"config": BuildConfig().to_dict(), "format": "audiochunk", "versions": versions()}
        assert json.loads((work / "build.json").read_bytes()) == marker
    assert is_ours(work)  # it stays for the build that goes on


def test_names_of_new_folders_are_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(build_folder, "fsync_path", synced.append)
    with entered(tmp_path / "a" / "shards", BuildConfig(), fsync=False):
        pass
    assert synced == []
    with entered(tmp_path / "b" / "shards", BuildConfig(), fsync=True):
        pass
    assert set(synced) >= {tmp_path / "b", tmp_path}


def test_only_one_build_is_in_the_folder(folder: Path) -> None:
    with (
        entered(folder, BuildConfig(), fsync=False),
        pytest.raises(MachineError, match="shards: another build is at work here; wait for it or stop it"),
        entered(folder, BuildConfig(), fsync=False),
    ):
        pass
    with entered(folder, BuildConfig(), fsync=False):
        pass


def test_what_killed_builds_left_under_temporary_names_goes(folder: Path, work: Path) -> None:
    for path in ("build.json.h.1.0.tmp", "lock"):
        (work / path).touch()
    for path in ("manifest.json.h.1.0.tmp", "mine.tmp", "manifest.json.bak"):
        (folder / path).touch()
    with entered(folder, BuildConfig(), fsync=False):
        assert names(work) == ["build.json", "lock"]
        assert names(folder) == [".build", "manifest.json.bak", "mine.tmp"]


def test_what_a_build_can_go_on_from_stays(folder: Path) -> None:
    with entered(folder, BuildConfig(), fsync=False) as (work, _):
        (work / "train-00000.safetensors").write_bytes(b"shard")
    with entered(folder, BuildConfig(), fsync=False):
        assert (work / "train-00000.safetensors").read_bytes() == b"shard"


def link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder / ".build").symlink_to(folder.parent / "elsewhere")


def foreign(folder: Path) -> None:
    (folder / ".build").mkdir()
    (folder / ".build" / "x.tmp").write_bytes(b"mine")


@pytest.mark.parametrize("make", [link, foreign])
def test_a_folder_that_is_not_ours_is_not_entered_nor_changed(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder)
    (folder / "manifest.json.h.1.0.tmp").touch()
    before = sorted(folder.parent.rglob("*"))
    with (
        pytest.raises(OutputExistsError, match=r"\.build: is not a build folder of audiochunk's; choose another --out"),
        entered(folder, BuildConfig(), fsync=False),
    ):
        pass
    assert sorted(folder.parent.rglob("*")) == before


# What goes when it goes.

WRITTEN = [
    "build.json",
    "lock",
    "failed.jsonl",
    "recordings.jsonl",
    "train-00000.safetensors",
    "train-00000.safetensors.json",
    "val-00001.safetensors.zst",
    "val-00001.safetensors.zst.json",
    "train-00002.safetensors.host.1.0a.tmp",
]


def fill(work: Path, *more: str) -> None:
    for name in (*WRITTEN, *more):
        (work / name).write_bytes(OURS)


def test_all_that_a_build_writes_is_removed_with_the_folder(folder: Path, work: Path) -> None:
    fill(work)
    remove(work)
    assert names(folder) == []


def test_what_somebody_else_put_there_stays(work: Path) -> None:
    kept = ["notes.txt", "mine.json", "train.safetensors", "manifest.json", "sub"]
    fill(work, *kept[:-1])
    (work / "sub").mkdir()
    remove(work)
    # With the marker, by which the next build knows the folder.
    assert names(work) == sorted(["build.json", *kept])


def test_the_lock_and_then_the_marker_go_last(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(work)
    unlink = Path.unlink
    left: list[str] = []

    def remembering(path: Path, missing_ok: bool = False) -> None:
        left.append(path.name)
        # A kill before any of these leaves a folder that the next build knows.
        assert is_ours(work)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", remembering)
    remove(work)
    assert left[-2:] == ["lock", "build.json"]
    assert sorted(left) == sorted(WRITTEN)


def test_a_build_that_ended_between_its_last_steps_is_finished(folder: Path, work: Path) -> None:
    fill(work)
    (folder / "manifest.json").write_bytes(NOTHING.encode())
    (folder / "recordings.jsonl").touch()
    (folder / "manifest.json.host.12.0a.tmp").touch()
    finish(folder, NOTHING)
    assert names(folder) == ["manifest.json", "recordings.jsonl"]


def test_nothing_is_finished_of_a_dataset_that_is_another_one_by_now(folder: Path, work: Path) -> None:
    fill(work)
    (folder / "manifest.json").write_bytes(replace(NOTHING, skipped=1).encode())
    (folder / "recordings.jsonl").touch()
    before = names(work)
    finish(folder, NOTHING)
    assert names(work) == before


def test_there_is_nothing_to_finish_without_a_build_folder(folder: Path) -> None:
    finish(folder, NOTHING)
    assert names(folder) == []


@pytest.mark.parametrize("make", [link, foreign])
def test_a_folder_that_is_not_ours_is_not_finished(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder)
    before = sorted(folder.parent.rglob("*"))
    finish(folder, NOTHING)
    assert sorted(folder.parent.rglob("*")) == before


def test_a_folder_that_another_build_holds_is_not_finished(folder: Path) -> None:
    with entered(folder, BuildConfig(), fsync=False) as (work, _):
        with pytest.raises(MachineError, match="another build is at work here"):
            finish(folder, NOTHING)
        assert names(work) == ["build.json", "lock"]


def test_a_later_build_is_told_what_the_interrupted_one_was_begun_with(folder: Path) -> None:
    first = BuildConfig.make(bits=16, shard_size="1MiB")
    with entered(folder, first, fsync=False) as (_, before):
        assert before is None
    with entered(folder, BuildConfig(), fsync=False) as (_, before):
        assert before == first
    assert first.differences(BuildConfig()) == ["--bits 16 → 8", "--shard-size 1MiB → 32MiB"]
