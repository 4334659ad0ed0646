"""Recordings that are added to a dataset: old shards stay, new ones follow, and nothing depends on who makes them."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import (
    ConfigError,
    DatasetError,
    InputError,
    NoDatasetError,
    OutputDamagedError,
    OutputExistsError,
    RecordingsError,
)
from audiochunk.pipeline import run
from audiochunk.pipeline.output import config_of
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.watcher import Watcher
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import RecordingRow, read_rows
from audiochunk.storage.shard import digest_file
from audiochunk.tools.against import verify_against
from audiochunk.tools.verify import verify

from .appended import FIRST, SECOND, THIRD, append, build, files_of, remove, write

V1 = Path(__file__).parents[1] / "golden" / "v1"
SHARES = {"split": "train=0.6,val=0.4", "split_seed": 3}
ENCODINGS: list[dict[str, Any]] = [
    {},
    {"bits": 16, "tail": "pad", **SHARES},
    {"bits": 24, "layout": "split", "compress": "zstd:1", "chunks_per_frame": 3, **SHARES},
    {"bits": 12, "layout": "mono", "tail": "pad", "split": "folders"},
    {"layout": "split", "tail": "pad", "byte_order": "big", "bits": 16, "group_by": "folder", **SHARES},
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "wavs", FIRST)
    return tmp_path / "wavs"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def rows_of(folder: Path) -> list[RecordingRow]:
    return list(read_rows(folder, Manifest.read(folder).recordings))


def chunks_of(folder: Path, split: str) -> "np.ndarray[Any, Any]":
    with ChunkDataset(folder, split) as ds:
        return ds.gather(np.arange(len(ds)))


# What an append makes.


@pytest.mark.parametrize("options", ENCODINGS, ids=str)
def test_the_chunks_are_those_before_and_then_those_of_the_new_recordings_alone(
    source: Path, out: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    first = build(source, out, **options).manifest
    old_table = (out / "recordings.jsonl").read_bytes()
    old = {name: chunks_of(out, name) for name in first.splits}
    write(source, SECOND)
    appended = append(source, out)
    write(tmp_path / "alone", SECOND)
    alone = build(tmp_path / "alone", tmp_path / "second", **options).manifest

    manifest = Manifest.read(out)
    assert manifest == appended.manifest
    assert (manifest.generations, manifest.skipped) == (2, first.skipped + alone.skipped)
    assert alone.skipped == 2
    assert manifest.config == first.config
    assert set(manifest.splits) == set(first.splits) | set(alone.splits)
    for name in manifest.splits:
        new = chunks_of(tmp_path / "second", name) if name in alone.splits else old[name][:0]
        np.testing.assert_array_equal(chunks_of(out, name), np.concatenate([old[name], new]))
    # The table: old rows byte for byte, then those of the others, whose chunks have other numbers.
    table = (out / "recordings.jsonl").read_bytes()
    assert table.startswith(old_table)
    before = {name: totals.chunks for name, totals in first.splits.items()}
    assert rows_of(out)[first.recordings.rows :] == [
        msgspec.structs.replace(row, first_chunk=row.first_chunk + before.get(row.split, 0))
        for row in rows_of(tmp_path / "second")
    ]
    assert verify(out) == []
    assert verify_against(out, source) == []


@pytest.mark.parametrize("options", ENCODINGS, ids=str)
def test_the_totals_are_those_of_a_dataset_of_all_recordings(
    source: Path, out: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    build(source, out, **options)
    for names in (SECOND, THIRD):
        write(source, names)
        append(source, out)
    whole = build(source, tmp_path / "whole", **options).manifest
    manifest = Manifest.read(out)
    assert manifest.generations == 3
    assert (manifest.splits, manifest.skipped, manifest.recordings.rows) == (
        whole.splits,
        whole.skipped,
        whole.recordings.rows,
    )
    assert {(row.path, row.channel): (row.split, row.chunks, row.clipped) for row in rows_of(out)} == {
        (row.path, row.channel): (row.split, row.chunks, row.clipped) for row in rows_of(tmp_path / "whole")
    }
    assert any(row.clipped for row in rows_of(out))


def test_old_shards_are_neither_read_nor_touched(source: Path, out: Path) -> None:
    first = build(source, out, **SHARES).manifest
    for shard in first.shards:
        (out / shard.name).write_bytes(b"?" * shard.bytes)
    before = {shard.name: ((out / shard.name).stat(), (out / shard.name).read_bytes()) for shard in first.shards}
    write(source, SECOND)
    manifest = append(source, out, fsync=True).manifest
    assert {shard.name for shard in first.shards} < {shard.name for shard in manifest.shards}
    for name, (status, data) in before.items():
        now = (out / name).stat()
        assert (now.st_ino, now.st_mtime_ns, now.st_ctime_ns) == (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        assert (out / name).read_bytes() == data
    for shard in set(manifest.shards) - set(first.shards):
        assert digest_file(out / shard.name) == shard.digest


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_dataset_that_lacks_a_shard_is_not_added_to(source: Path, out: Path, damage: str) -> None:
    shard = build(source, out).manifest.shards[1]
    write(source, SECOND)
    (out / shard.name).unlink() if damage == "gone" else os.truncate(out / shard.name, shard.bytes - 1)
    before = files_of(out)
    with pytest.raises(OutputDamagedError, match=rf"holds a damaged dataset \({shard.name}: "):
        append(source, out)
    assert {name: data for name, data in files_of(out).items() if not name.startswith(".build")} == before
    (out / shard.name).write_bytes(bytes(shard.bytes))
    assert append(source, out).manifest.generations == 2


def test_the_shards_of_a_split_go_on_where_it_ended(source: Path, out: Path) -> None:
    first = build(source, out, **SHARES).manifest
    write(source, SECOND)
    manifest = append(source, out).manifest
    for split in manifest.splits:
        before = [shard for shard in first.shards if shard.split == split]
        now = [shard for shard in manifest.shards if shard.split == split]
        assert now[: len(before)] == before
        assert [shard.name for shard in now] == [f"{split}-{n:05d}.safetensors" for n in range(len(now))]
        assert len(now) > len(before) > 1
    assert [shard.split for shard in manifest.shards] == sorted(shard.split for shard in manifest.shards)


@pytest.mark.parametrize("workers", [2, 3, "threads"])
def test_workers_do_not_change_a_byte(source: Path, out: Path, tmp_path: Path, workers: int | str) -> None:
    other = tmp_path / "other"
    for folder, n in ((out, 1), (other, workers)):
        remove(source, set(SECOND) & {str(p.relative_to(source)) for p in source.rglob("*.wav")})
        build(source, folder, **SHARES)
        write(source, SECOND)
        if isinstance(n, int):
            append(source, folder, workers=n)
        else:
            with ThreadPoolExecutor(3) as threads:
                append(source, folder, workers=3, executor=threads)
    assert files_of(out) == files_of(other)


def test_the_plain_build_finds_a_dataset_of_three_generations_up_to_date(source: Path, out: Path) -> None:
    build(source, out, layout="split")
    for names in (SECOND, THIRD):
        write(source, names)
        append(source, out)
    before = files_of(out)
    assert build(source, out, layout="split").up_to_date
    assert append(source, out).up_to_date
    assert files_of(out) == before


def test_nothing_new_makes_no_generation(source: Path, out: Path) -> None:
    build(source, out)
    for path in out.iterdir():
        os.utime(path, (1, 1))  # so that one that is written anew differs in any file system
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = append(source, out)
    assert again.up_to_date
    assert again.manifest.generations == 1
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_refused_recordings_alone_are_a_generation_without_chunks(source: Path, out: Path) -> None:
    """One whose header says so, and one that turns out to be damaged: it would have had shards."""
    first = build(source, out).manifest
    write(source, ["a/nan.wav", "a/e-empty.wav"])
    manifest = append(source, out).manifest
    shards = [shard for shard in manifest.shards if shard not in first.shards]
    assert shards
    assert all(shard.chunks == 0 for shard in shards)
    assert (manifest.generations, manifest.skipped) == (2, first.skipped + 2)
    assert manifest.splits == first.splits
    assert verify(out) == []
    write(source, ["a/f-empty.wav"])
    last = append(source, out).manifest
    assert (last.generations, last.shards, last.dataset_id) == (3, manifest.shards, manifest.dataset_id)
    assert last.recordings.rows == manifest.recordings.rows + 1
    assert verify(out) == []
    assert verify_against(out, source) == []


@pytest.mark.parametrize("becomes", ["gone", "repaired"])
def test_a_refused_recording_that_is_gone_or_repaired_stays_left_out(source: Path, out: Path, becomes: str) -> None:
    write(source, ["a/e-empty.wav"])
    first = build(source, out).manifest
    if becomes == "gone":
        (source / "a" / "e-empty.wav").unlink()
    else:
        write(source, ["a/repaired.wav"])
        (source / "a" / "repaired.wav").replace(source / "a" / "e-empty.wav")
    write(source, ["a/new.wav"])
    warnings: list[str] = []
    watcher = Watcher()
    watcher.warn = warnings.append  # type: ignore[method-assign]
    manifest = append(source, out, watcher=watcher).manifest
    assert any("refused, 1 gone or changed, a/e-empty.wav for one" in warning for warning in warnings)
    assert manifest.generations == 2
    assert manifest.recordings.rows > first.recordings.rows
    assert verify(out) == []


def test_a_recording_too_short_for_a_chunk_is_a_row(source: Path, out: Path) -> None:
    first = build(source, out).manifest
    write(source, ["a/a-short.wav"])
    manifest = append(source, out).manifest
    assert (manifest.shards, manifest.generations) == (first.shards, 2)
    assert manifest.splits["train"].recordings == first.splits["train"].recordings + 1
    assert verify(out) == []


def test_the_library_appends_with_the_options_of_the_dataset(source: Path, out: Path) -> None:
    audiochunk.build(source, out, bits=16, chunk_bytes=64, on_error="skip", workers=1)
    write(source, SECOND)
    manifest = audiochunk.build(source, out, append=True, workers=1)
    assert (manifest.generations, manifest.encoding.bits) == (2, 16)
    with pytest.raises(OutputExistsError, match="bits 16 → 8"):
        audiochunk.build(source, out, append=True, bits=8, workers=1)


# Splits.


def test_splits_by_share_keep_everybodys_side(source: Path, out: Path) -> None:
    build(source, out, **SHARES)
    write(source, SECOND)
    append(source, out)
    assert {row.split for row in rows_of(out)} == {"train", "val"}
    # `verify` computes the rule anew of every row; that it does is tested by a row in the wrong split.
    assert verify(out) == []


@pytest.mark.parametrize("name", ["d/new.wav", "d/empty.wav"])
def test_a_new_folder_is_a_new_split_be_it_of_refused_recordings(source: Path, out: Path, name: str) -> None:
    build(source, out, split="folders")
    write(source, [name])
    manifest = append(source, out).manifest
    assert sorted(manifest.splits) == ["a", "b", "c", "d"]
    assert (manifest.splits["d"].chunks > 0) == ("empty" not in name)
    assert verify(out) == []


def test_a_table_may_have_grown_and_its_digest_is_in_the_manifest(source: Path, out: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.tsv"
    table.write_text("a\ttrain\nb\tval\nc\ttrain\n")
    first = build(source, out, split_file=table).manifest
    write(source, ["d/new.wav", "a/a.wav"])
    table.write_text("a\ttrain\nb\tval\nc\ttrain\nd\tval\na/a.wav\ttest\nnowhere\tspare\n")
    manifest = append(source, out, split_file=table).manifest
    assert {row.path: row.split for row in rows_of(out)[first.recordings.rows :]} == {
        "a/a.wav": "test",
        "d/new.wav": "val",
    }
    assert manifest.options.split != first.options.split
    assert sorted(manifest.splits) == ["spare", "test", "train", "val"]
    assert verify(out) == []
    assert build(source, out, split_file=table).up_to_date


@pytest.mark.parametrize("moved", ["a\tval\nb\tval\nc\ttrain\n", "b\tval\nc\ttrain\n"])
def test_a_table_that_puts_an_old_recording_elsewhere_or_nowhere_is_refused(
    source: Path, out: Path, tmp_path: Path, moved: str
) -> None:
    table = tmp_path / "splits.tsv"
    table.write_text("a\ttrain\nb\tval\nc\ttrain\n")
    build(source, out, split_file=table)
    write(source, ["b/new.wav"])
    table.write_text(moved)
    before = files_of(out)
    with pytest.raises(InputError, match=r"the dataset was made from, 3 changed, a/b-stereo\.wav for one"):
        append(source, out, split_file=table)
    assert files_of(out) == before


def test_a_dataset_whose_splits_are_those_of_a_table_needs_it(source: Path, out: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.tsv"
    table.write_text(".\ttrain\n")
    build(source, out, split_file=table)
    write(source, SECOND)
    with pytest.raises(ConfigError, match=r"splits are those of a table: .*--split-file"):
        append(source, out)


@pytest.mark.parametrize("options", [{}, SHARES, {"split": "folders"}], ids=str)
def test_a_table_for_a_dataset_that_has_none_is_refused(
    source: Path, out: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    table = tmp_path / "splits.tsv"
    table.write_text(".\ttrain\n")
    build(source, out, **options)
    write(source, SECOND)
    with pytest.raises((ConfigError, OutputExistsError), match="split") as refused:
        append(source, out, split_file=table)
    assert refused.value.exit_code == 2


def test_a_new_recording_in_no_split_is_named(source: Path, out: Path) -> None:
    build(source, out, split="folders")
    write(source, ["loose.wav"])
    with pytest.raises(InputError, match=r"in no split: loose\.wav"):
        append(source, out)


# What is refused.


@pytest.mark.parametrize("change", ["gone", "grown", "header", "unusable"])
def test_an_old_recording_that_is_not_as_it_was_is_named_and_nothing_is_changed(
    source: Path, out: Path, change: str
) -> None:
    build(source, out)
    write(source, SECOND)
    victim = source / "a/d.wav"
    if change == "gone":
        victim.unlink()
    elif change == "grown":
        victim.write_bytes(victim.read_bytes() + b"more")
    elif change == "header":
        data = bytearray(victim.read_bytes())
        data[24:28] = (16_000).to_bytes(4, "little")
        victim.write_bytes(data)
    else:
        victim.write_bytes(b"\0" * victim.stat().st_size)
    before = files_of(out)
    name = str(victim.relative_to(source))
    word = "gone" if change == "gone" else "changed"
    said = rf"wavs: of the recordings .*, 1 {word}, {name} for one, and \d+ new; .*--overwrite"
    with pytest.raises(InputError, match=said):
        append(source, out)
    assert files_of(out) == before


def test_all_that_are_gone_are_counted(source: Path, out: Path) -> None:
    manifest = build(source, out).manifest
    n_used = sum(split.recordings for split in manifest.splits.values())
    shutil.rmtree(source)
    source.mkdir()
    with pytest.raises(InputError, match=rf"{n_used} gone, a/b-stereo\.wav for one"):
        append(source, out)


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_new_recording_that_is_damaged_ends_an_append_or_is_skipped(source: Path, out: Path, on_error: str) -> None:
    remove(source, ["b/nan.wav", "c/nan-stereo.wav", "b/empty.wav"])
    build(source, out, on_error="fail")
    write(source, ["b/nan.wav", "d.wav"])
    before = files_of(out)
    if on_error == "fail":
        with pytest.raises(RecordingsError, match=r"b/nan\.wav: holds NaN"):
            append(source, out)
        assert before.items() <= files_of(out).items()
        assert verify(out) == []
    manifest = append(source, out, options={"on_error": "skip"}).manifest
    assert (manifest.skipped, manifest.options.on_error, manifest.generations) == (1, "skip", 2)
    assert verify(out) == []
    with pytest.raises(OutputExistsError, match="--on-error skip → fail"):
        append(source, out, options={"on_error": "fail"})


@pytest.mark.parametrize(
    ("made", "given", "named"),
    [
        ({}, {"bits": 16}, "bits 8 → 16"),
        ({}, {"layout": "mono"}, "block auto → none, --layout blocks → mono"),
        ({}, {"shard_size": "1MiB"}, "shard-size 600 → 1MiB"),
        ({}, {"compress": "zstd"}, "compress none → "),
        ({"compress": "zstd:9", "chunks_per_frame": 4}, {"compress": "none"}, "compress .* → none"),
        ({"compress": "zstd:9", "chunks_per_frame": 4}, {"compress": "zstd:3"}, "compress"),
        ({"compress": "zstd:9"}, {"chunks_per_frame": 3}, "compress"),
        ({}, {"split": "train=1"}, "split none → train=1"),
        (SHARES, {"split_seed": 4}, "split-seed 3 → 4"),
        ({}, {"exclude": ["*.flac"]}, "exclude none → "),
        ({"tail": "pad"}, {"tail": "drop"}, "tail pad → drop"),
    ],
)
def test_other_options_than_those_of_the_dataset_are_named_and_refused(
    source: Path, out: Path, made: dict[str, Any], given: dict[str, Any], named: str
) -> None:
    build(source, out, **made)
    write(source, SECOND)
    before = files_of(out)
    with pytest.raises(OutputExistsError, match=rf"made with other options \(--{named}.*leave them out") as refused:
        append(source, out, options=given)
    assert refused.value.exit_code == 2
    assert files_of(out) == before


@pytest.mark.parametrize(
    ("made", "given"),
    [
        ({"compress": "zstd:9", "chunks_per_frame": 4}, {"compress": "zstd:9"}),
        ({"compress": "zstd:9", "chunks_per_frame": 4}, {"chunks_per_frame": 4}),
        (SHARES, SHARES),
        ({"layout": "mono"}, {"layout": "mono", "block": "auto"}),
        ({}, {"bits": 8, "shard_size": "600", "include": []}),
    ],
)
def test_the_same_options_may_be_given_again(
    source: Path, out: Path, made: dict[str, Any], given: dict[str, Any]
) -> None:
    build(source, out, **made)
    write(source, ["new.wav"])
    assert append(source, out, options=given).manifest.generations == 2


def test_the_options_of_every_golden_dataset_are_found_in_it() -> None:
    for file in V1.glob("*/manifest.json"):
        assert config_of(file.parent, {}) == Manifest.read(file.parent).config


@pytest.mark.parametrize("folder", ["nowhere", "empty", "unfinished"])
def test_there_must_be_a_dataset(source: Path, tmp_path: Path, folder: str) -> None:
    out = tmp_path / folder
    if folder != "nowhere":
        (out / ".build" if folder == "unfinished" else out).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    sentence = "there is no dataset to add recordings to; build it without --append"
    with pytest.raises(NoDatasetError, match=sentence) as refused:
        append(source, out)
    assert refused.value.exit_code == 4
    with pytest.raises(NoDatasetError, match=sentence):
        run.build(source, out, BuildConfig(), append=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_append_and_overwrite_do_not_go_together(source: Path, out: Path) -> None:
    build(source, out)
    with pytest.raises(ConfigError, match="append and overwrite"):
        append(source, out, overwrite=True)


def test_a_plain_build_says_that_append_would_add_them(source: Path, out: Path) -> None:
    build(source, out)
    write(source, SECOND)
    with pytest.raises(OutputExistsError, match=rf"{len(SECOND)} new, a/a\.wav for one.*; say --append to add them"):
        build(source, out)
    (source / "a/d.wav").unlink()
    with pytest.raises(OutputExistsError, match="1 gone") as refused:
        build(source, out)
    assert "--append" not in str(refused.value)


@pytest.mark.parametrize("what", ["file", "shard", "link to nothing", "folder"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_what_is_in_the_way_of_a_new_shard_is_not_overwritten(
    source: Path, out: Path, tmp_path: Path, what: str, interrupted: bool
) -> None:
    first = build(source, out).manifest
    write(source, SECOND)
    name = f"train-{len(first.shards):05d}.safetensors"
    if interrupted and what != "shard":

        class Stop(Watcher):
            def finished(self, result: ShardResult) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            append(source, out, watcher=Stop())
        assert (out / ".build" / f"{name}.json").exists()
    if what == "file":
        (out / name).write_text("mine")
    elif what == "shard":
        shutil.copy(out / first.shards[0].name, out / name)
    elif what == "folder":
        (out / name).mkdir()
    else:
        (out / name).symlink_to(tmp_path / "nothing")
    manifest, table = ((out / each).read_bytes() for each in ("manifest.json", "recordings.jsonl"))
    status = (out / name).lstat()
    with pytest.raises(OutputExistsError, match=rf"{name}: is in the way of a shard"):
        append(source, out)
    assert (out / name).lstat() == status
    assert [(out / each).read_bytes() for each in ("manifest.json", "recordings.jsonl")] == [manifest, table]


def test_a_damaged_table_is_not_added_to(source: Path, out: Path) -> None:
    build(source, out)
    write(source, SECOND)
    table = out / "recordings.jsonl"
    table.write_bytes(table.read_bytes().replace(b'"frames":', b'"frames":1', 1))
    before = files_of(out)
    with pytest.raises(DatasetError, match="not the recordings that the manifest names"):
        append(source, out)
    assert files_of(out) == before


def test_a_dataset_that_became_another_one_during_the_scan_is_not_added_to(source: Path, out: Path) -> None:
    build(source, out)
    write(source, SECOND)

    class Meanwhile(Watcher):
        def planned(self, plan: object, *, n_chunks: int) -> None:
            append(source, out)

    with pytest.raises(OutputExistsError, match="meanwhile"):
        append(source, out, watcher=Meanwhile())
    assert Manifest.read(out).generations == 2
    assert verify(out) == []


def test_what_lies_beside_a_dataset_stays(source: Path, out: Path) -> None:
    build(source, out)
    (out / "notes.txt").write_text("mine")
    (out / "README.md").write_text("mine, too")
    write(source, SECOND)
    append(source, out)
    assert ((out / "notes.txt").read_text(), (out / "README.md").read_text()) == ("mine", "mine, too")
    assert sorted(os.listdir(out)) == sorted(
        ["README.md", "manifest.json", "notes.txt", "recordings.jsonl", *(s.name for s in Manifest.read(out).shards)]
    )


def test_who_has_a_dataset_open_goes_on_reading_it(source: Path, out: Path) -> None:
    build(source, out)
    wanted = chunks_of(out, "train")
    with ChunkDataset(out) as ds, ChunkDataset(out) as looked_at:
        rows = list(looked_at.recordings)
        write(source, SECOND)
        append(source, out)
        # Neither shards nor the table were opened before.
        np.testing.assert_array_equal(ds.gather(np.arange(len(ds))), wanted)
        assert list(ds.recordings) == list(looked_at.recordings) == rows
        assert len(ChunkDataset(out)) > len(ds) == len(wanted)
