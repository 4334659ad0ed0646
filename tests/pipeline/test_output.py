"""The output folder before a build: what is found there, what is refused, and what may be removed."""

import json
import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError, DatasetError, OutputDamagedError, OutputExistsError
from audiochunk.pipeline import run
from audiochunk.pipeline.array.job import save_plan
from audiochunk.pipeline.output import (
    check_options,
    check_recordings,
    clear,
    look,
)
from audiochunk.pipeline.preview import preview
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import RecordingRow
from audiochunk.storage.shard import ShardSpec, ShardWriter

OPTIONS: dict[str, Any] = {"chunk_bytes": 64, "shard_size": 320, "on_error": "skip"}


def write_wav(path: Path, *, frames: int = 400, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(frames * channels, dtype="<i2").tobytes())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        write_wav(tmp_path / "wavs" / name)
    return tmp_path / "wavs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def build(source: Path, folder: Path, **options: Any) -> Manifest:
    config = BuildConfig.make(**(OPTIONS | options))
    return run.build(source, folder, config, workers=1, fsync=False).manifest


def write_shard(path: Path, *, compress: str = "none") -> None:
    config = BuildConfig.make(chunk_bytes=6, compress=compress)
    with ShardWriter(path, ShardSpec("train", 0, 0, config.encoding), config.compression) as writer:
        writer.finish()


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# look


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_missing_and_an_empty_folder_hold_nothing(folder: Path, overwrite: bool) -> None:
    assert look(folder, overwrite=overwrite) is None
    folder.mkdir()
    assert look(folder, overwrite=overwrite) is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_folder(folder: Path, overwrite: bool) -> None:
    folder.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="is a file, not a folder; choose another --out"):
        look(folder, overwrite=overwrite)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["notes.txt"], "notes.txt"),
        (["b", "a", "c"], "a, b, c"),
        (["b", "a", "c", "e", "d"], "a, b, c and 2 more"),
        (["new\nline"], r"new\nline"),
        (["train-00000.safetensors"], "train-00000.safetensors"),
        (["manifest.json.host.1.0.tmp"], "manifest.json.host.1.0.tmp"),
        (["caf\udce9"], r"caf\xe9"),
    ],
)
def test_foreign_files_are_named(folder: Path, names: list[str], named: str) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(OutputExistsError) as refused:
        look(folder, overwrite=False)
    assert str(refused.value).endswith(
        f"shards: is not empty and holds no dataset: {named}; choose another --out, or say --overwrite"
    )
    assert look(folder, overwrite=True) is None


def write_table(path: Path) -> None:
    """A recordings table as a build makes it, of one row."""
    row = RecordingRow(
        path="a.wav",
        split="train",
        channel=None,
        sample_rate=8000,
        channels=1,
        frames=400,
        subtype="PCM_16",
        bytes=844,
        first_chunk=0,
        chunks=6,
        dropped_frames=16,
        clipped=0,
        notes=(),
    )
    path.write_bytes(row.encode())


def test_a_recordings_table_of_ours_without_a_manifest_may_be_overwritten(folder: Path) -> None:
    folder.mkdir()
    write_table(folder / "recordings.jsonl")
    with pytest.raises(OutputExistsError, match=r"is not empty and holds no dataset: recordings\.jsonl; .*--overwrite"):
        look(folder, overwrite=False)
    assert look(folder, overwrite=True) is None


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", b'{"path": "a.wav", "artist": "x"}\n', b"\xff\n", b"path\tsplit\n", b"[" * 10**5, b'{"a":' * 10**5],
    ids=lambda content: ascii(content[:20]),
)
def test_recordings_of_somebody_else_are_never_overwritten(folder: Path, content: bytes, overwrite: bool) -> None:
    folder.mkdir()
    (folder / "recordings.jsonl").write_bytes(content)
    with pytest.raises(OutputExistsError) as refused:
        look(folder, overwrite=overwrite)
    assert str(refused.value).endswith("shards: its recordings.jsonl is not one of audiochunk's; choose another --out")
    assert tree(folder) == {"recordings.jsonl": content}


def test_a_build_with_overwrite_leaves_recordings_of_somebody_else(source: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "recordings.jsonl").write_bytes(b'{"artist": "x"}\n')
    with pytest.raises(OutputExistsError):
        run.build(source, folder, BuildConfig.make(**OPTIONS), workers=1, fsync=False, overwrite=True)
    assert tree(folder) == {"recordings.jsonl": b'{"artist": "x"}\n'}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_dataset_is_found(source: Path, folder: Path, overwrite: bool) -> None:
    manifest = build(source, folder)
    (folder / "README").touch()
    assert look(folder, overwrite=overwrite) == manifest


def make_build_folder(folder: Path) -> None:
    """A build folder as an unfinished build leaves it."""
    (folder / ".build").mkdir(parents=True)
    (folder / ".build" / "build.json").write_bytes(b'{"format":"audiochunk","versions":{}}')


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_unfinished_build_is_found_and_what_belongs_to_it_is_not_foreign(folder: Path, overwrite: bool) -> None:
    make_build_folder(folder)
    # A seal that was cut short: one shard is in place, the table is, and a manifest was being written.
    for name in (
        "train-00000.safetensors",
        ".build/train-00000.safetensors.json",
        "manifest.json.host.12.0a.tmp",
    ):
        (folder / name).touch()
    write_table(folder / "recordings.jsonl")
    # A card that lay beside the dataset which is being replaced.
    for name in ("README.md", "croissant.json", ".gitattributes"):
        (folder / name).touch()
    assert look(folder, overwrite=overwrite) is None


@pytest.mark.parametrize("name", ["notes.txt", "train-00001.safetensors", "other.tmp", "failed", "lock"])
def test_foreign_files_beside_an_unfinished_build_are_named(folder: Path, name: str) -> None:
    make_build_folder(folder)
    for path in (".build/train-00000.safetensors.json", ".build/failed.jsonl", ".build/lock", name):
        (folder / path).touch()
    with pytest.raises(OutputExistsError, match=f"holds no dataset: {name};"):
        look(folder, overwrite=False)
    assert look(folder, overwrite=True) is None


@pytest.mark.parametrize("names", [[], ["lock"], ["lock", "build.json.host.1.0a.tmp"]], ids=str)
def test_a_build_folder_that_could_not_yet_be_marked_is_no_obstacle(folder: Path, names: list[str]) -> None:
    (folder / ".build").mkdir(parents=True)
    for name in names:
        (folder / ".build" / name).touch()
    assert (look(folder, overwrite=False), look(folder, overwrite=True)) == (None, None)


def is_file(work: Path) -> None:
    work.write_bytes(b"mine")


def is_link(work: Path) -> None:
    make_build_folder(work.parent.parent / "elsewhere")
    work.symlink_to(work.parent.parent / "elsewhere" / ".build")


def is_folder_of_another_tool(work: Path) -> None:
    work.mkdir()
    (work / "build.json").write_bytes(b'{"format": "ninja"}')


def is_unmarked(work: Path) -> None:
    work.mkdir()
    (work / "train-00000.safetensors.json").write_bytes(b"mine")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("with_dataset", [False, True])
@pytest.mark.parametrize("make", [is_file, is_link, is_folder_of_another_tool, is_unmarked])
def test_a_build_folder_of_somebody_else_is_refused(
    source: Path, folder: Path, make: Callable[[Path], None], with_dataset: bool, overwrite: bool
) -> None:
    if with_dataset:
        build(source, folder)
    folder.mkdir(exist_ok=True)
    make(folder / ".build")
    before = tree(folder)
    for attempt in (
        lambda: look(folder, overwrite=overwrite),
        lambda: run.build(source, folder, BuildConfig.make(**OPTIONS), workers=1, fsync=False, overwrite=overwrite),
    ):
        with pytest.raises(OutputExistsError) as refused:
            attempt()
        assert str(refused.value).endswith(".build: is not a build folder of audiochunk's; choose another --out")
    assert tree(folder) == before


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{", b"mangled"])
@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_a_mangled_manifest_beside_shards_may_be_overwritten(
    source: Path, folder: Path, compress: str, content: bytes
) -> None:
    build(source, folder, compress=compress)
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(
        OutputDamagedError, match=r"holds a damaged dataset \(.*; choose another --out, or say --overwrite"
    ):
        look(folder, overwrite=False)
    assert look(folder, overwrite=True) is None
    clear(folder, fsync=False)
    assert tree(folder) == {}


def test_a_damaged_manifest_is_refused_and_may_be_overwritten(source: Path, folder: Path) -> None:
    build(source, folder)
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    with pytest.raises(
        OutputDamagedError, match=r"holds a damaged dataset \(.*canonical.*\); choose another --out, or"
    ):
        look(folder, overwrite=False)
    assert look(folder, overwrite=True) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"name": "my web app", "format_version": 1}', b"\xff"])
def test_a_manifest_of_somebody_else_is_never_overwritten(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "train-00000.safetensors").write_bytes(b"named like a shard, and none")
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(OutputDamagedError, match="holds a damaged dataset"):
        look(folder, overwrite=False)
    with pytest.raises(OutputExistsError, match=r"its manifest\.json is not one of audiochunk's; choose another --out"):
        look(folder, overwrite=True)


# check_options


def test_equal_options_pass(source: Path, folder: Path) -> None:
    manifest = build(source, folder, compress="zstd", split="train=1,val=1")
    check_options(manifest, folder, manifest.config)


@pytest.mark.parametrize("split", ["0.9", "train:0.9 val:0.1", ""])
def test_a_rule_of_splits_that_is_none_is_told_before_it_is_compared(source: Path, folder: Path, split: str) -> None:
    build(source, folder)
    config = BuildConfig.make(**OPTIONS, split=split)
    for made in (run.build, preview, save_plan):
        with pytest.raises(ConfigError, match=r"split is a list like train=0\.98,val=0\.02"):
            made(source, folder, config, workers=1)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"bits": 16}, "(--bits 8 → 16)"),
        ({"chunk_bytes": 32, "tail": "pad"}, "(--chunk-bytes 64 → 32, --tail drop → pad)"),
        ({"layout": "mono"}, "(--block auto → none, --layout blocks → mono)"),
        ({"include": ["*.wav"]}, "(--include none → *.wav)"),
        ({"exclude": ["*.mp3", "b/*"]}, "(--exclude none → *.mp3, b/*)"),
        ({"split": "train=1"}, "(--split none → train=1)"),
        ({"on_error": "fail"}, "(--on-error skip → fail)"),
        ({"compress": "zstd:7"}, "(--compress none → "),
        ({"shard_size": "1k"}, "(--shard-size 320 → 1kB)"),
        ({"shard_size": 2**25}, "(--shard-size 320 → 32MiB)"),
    ],
)
def test_other_options_are_named(source: Path, folder: Path, options: dict[str, Any], shown: str) -> None:
    manifest = build(source, folder)
    with pytest.raises(OutputExistsError) as refused:
        check_options(manifest, folder, BuildConfig.make(**(OPTIONS | options)))
    assert "holds a dataset made with other options " + shown in str(refused.value)
    assert str(refused.value).endswith(
        "; say --append to add recordings that are new with the options that it has, choose another --out, or say"
        " --overwrite"
    )
    with pytest.raises(OutputExistsError) as in_a_store:
        check_options(manifest, "s3://bucket/shards", BuildConfig.make(**(OPTIONS | options)))
    assert str(in_a_store.value).endswith("); choose another --out, or say --overwrite")


# check_recordings


def check(source: Path, folder: Path, **options: Any) -> None:
    """What a second build with the same options compares."""
    manifest = Manifest.read(folder)
    check_recordings(manifest, folder, run.make_plan(source, BuildConfig.make(**(OPTIONS | options))), Watcher())


@pytest.mark.parametrize("options", [{}, {"layout": "split"}, {"split": "train=1,val=1"}], ids=str)
def test_the_same_recordings_pass(source: Path, folder: Path, options: dict[str, Any]) -> None:
    write_wav(source / "caf\udce9.wav", channels=2)
    (source / "empty.wav").touch()
    build(source, folder, **options)
    check(source, folder, **options)


def test_other_times_do_not_matter(source: Path, folder: Path) -> None:
    build(source, folder)
    os.utime(source / "a.wav", ns=(0, 0))
    check(source, folder)


def test_nothing_is_to_be_added_to_a_dataset_in_a_store(source: Path, folder: Path) -> None:
    build(source, folder)
    write_wav(source / "new.wav")
    plan = run.make_plan(source, BuildConfig.make(**OPTIONS))
    with pytest.raises(OutputExistsError, match="1 new") as refused:
        check_recordings(Manifest.read(folder), folder, plan, Watcher(), shown="s3://bucket/shards")
    assert str(refused.value).endswith("); choose another --out, or say --overwrite")
    with pytest.raises(OutputExistsError, match="say --append to add them, choose another"):
        check_recordings(Manifest.read(folder), folder, plan, Watcher())


def test_new_gone_and_changed_recordings_are_counted_and_named(source: Path, folder: Path) -> None:
    build(source, folder)
    write_wav(source / "a.wav", frames=401)
    (source / "b.wav").unlink()
    write_wav(source / "new\n1.wav")
    write_wav(source / "new2.wav")
    with pytest.raises(OutputExistsError) as refused:
        check(source, folder)
    assert (
        r"holds a dataset made from other recordings (2 new, new\n1.wav for one; 1 gone, b.wav for one;"
        " 1 changed, a.wav for one); choose another --out, or say --overwrite"
    ) in str(refused.value)


def test_a_recording_that_moved_to_another_split_has_changed(source: Path, folder: Path) -> None:
    manifest = build(source, folder, split="train=1,val=1")
    moved = run.make_plan(source, BuildConfig.make(**(OPTIONS | {"split": "val=1,train=1"})))
    with pytest.raises(OutputExistsError, match=r"3 changed, a\.wav for one"):
        check_recordings(manifest, folder, moved, Watcher())


def test_a_recording_that_could_not_be_used_and_now_can_has_changed(source: Path, folder: Path) -> None:
    (source / "empty.wav").touch()
    build(source, folder)
    write_wav(source / "empty.wav")
    with pytest.raises(OutputExistsError, match=r"1 once refused and gone or changed, empty\.wav for one"):
        check(source, folder)


@pytest.mark.parametrize("layout", ["blocks", "split"])
def test_recordings_that_failed_while_decoding_are_known(source: Path, folder: Path, layout: str) -> None:
    import soundfile as sf

    signal = np.zeros((400, 2), np.float32)
    signal[10, 1] = np.nan
    sf.write(source / "nan.wav", signal, 8000, subtype="FLOAT")
    (source / "empty.wav").touch()
    manifest = build(source, folder, layout=layout)
    assert manifest.skipped == 2
    check(source, folder, layout=layout)


def test_a_damaged_table_of_recordings_is_a_damaged_dataset(source: Path, folder: Path) -> None:
    build(source, folder)
    table = folder / "recordings.jsonl"
    table.write_bytes(table.read_bytes().replace(b'"a.wav"', b'"x.wav"'))
    with pytest.raises(DatasetError, match="not the recordings that the manifest names"):
        check(source, folder)


# clear


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_a_dataset_is_removed_and_nothing_else(source: Path, folder: Path, compress: str, fsync: bool) -> None:
    manifest = build(source, folder, compress=compress)
    assert len(manifest.shards) > 1
    ending = ".zst" if compress == "zstd" else ""
    foreign = {
        f"mine-00000.safetensors{ending}": b"not a shard",
        f"train-99999.safetensors{ending}": bytes(10_000),
        "notes.txt": b"notes",
        "recordings.jsonl.bak": b"",
        "train.safetensors": b"",
        "sub/train-00000.safetensors": b"",
    }
    (folder / "sub").mkdir()
    for name, content in foreign.items():
        (folder / name).write_bytes(content)
    write_shard(folder / "sub" / "val-00000.safetensors")
    foreign["sub/val-00000.safetensors"] = (folder / "sub" / "val-00000.safetensors").read_bytes()
    write_shard(folder / "mine.safetensors")  # one of ours, renamed: no longer a shard of a dataset
    foreign["mine.safetensors"] = (folder / "mine.safetensors").read_bytes()
    look(folder, overwrite=True)
    clear(folder, fsync=fsync)
    assert tree(folder) == foreign


def test_shards_with_names_of_other_splits_and_kinds_are_removed(source: Path, folder: Path) -> None:
    build(source, folder)
    write_shard(folder / "old-00007.safetensors")
    write_shard(folder / "old-123456.safetensors.zst", compress="zstd")
    look(folder, overwrite=True)
    clear(folder, fsync=False)
    assert tree(folder) == {}


def test_a_folder_with_the_name_of_a_shard_stays(source: Path, folder: Path) -> None:
    build(source, folder)
    (folder / "my-00000.safetensors").mkdir()
    look(folder, overwrite=True)
    clear(folder, fsync=False)
    assert os.listdir(folder) == ["my-00000.safetensors"]


def test_the_manifest_goes_first(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(source, folder)
    removed: list[str] = []
    unlink = Path.unlink

    def remembering(path: Path, missing_ok: bool = False) -> None:
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", remembering)
    look(folder, overwrite=True)
    clear(folder, fsync=True)
    assert removed[:2] == ["manifest.json", "recordings.jsonl"]
    assert "train-00000.safetensors" in removed


def test_a_dataset_with_a_damaged_manifest_is_removed(source: Path, folder: Path) -> None:
    build(source, folder)
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    look(folder, overwrite=True)
    clear(folder, fsync=False)
    assert tree(folder) == {}


def test_a_dataset_of_a_later_version_is_removed_only_when_told_to(source: Path, folder: Path) -> None:
    build(source, folder)
    manifest = folder / "manifest.json"
    later = json.loads(manifest.read_bytes()) | {"format_version": 2}
    manifest.write_text(json.dumps(later, indent=2, sort_keys=True) + "\n")
    with pytest.raises(OutputExistsError, match="format version 2"):
        look(folder, overwrite=False)
    look(folder, overwrite=True)
    clear(folder, fsync=False)
    assert tree(folder) == {}


def test_finished_shards_of_an_unfinished_build_stay(folder: Path) -> None:
    make_build_folder(folder)
    write_shard(folder / "train-00000.safetensors")
    (folder / ".build" / "train-00000.safetensors.json").touch()
    write_shard(folder / "train-00001.safetensors")
    write_table(folder / "recordings.jsonl")
    look(folder, overwrite=True)
    clear(folder, fsync=False)
    assert set(tree(folder)) == {
        "train-00000.safetensors",
        ".build/build.json",
        ".build/train-00000.safetensors.json",
        "recordings.jsonl",
    }


def test_there_is_nothing_to_remove_in_an_empty_folder(folder: Path) -> None:
    folder.mkdir()
    look(folder, overwrite=True)
    clear(folder, fsync=True)
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["notes.txt", "failed", "lock", "recordings", "build.json", "mine-00000.safetensors"])
def test_foreign_files_outlive_a_build_that_overwrites(source: Path, folder: Path, name: str) -> None:
    import soundfile as sf

    # A recording that fails makes the build remember it, in a file beside the records of its shards.
    sf.write(source / "nan.wav", np.full(400, np.nan, np.float32), 8000, subtype="FLOAT")
    folder.mkdir()
    (folder / name).write_bytes(b"mine")
    config = BuildConfig.make(**OPTIONS)
    run.build(source, folder, config, workers=1, fsync=False, overwrite=True)
    assert (folder / name).read_bytes() == b"mine"
