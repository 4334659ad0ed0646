"""Datasets that recordings were added to: `verify` finds nothing in sound ones, and what is wrong in others."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import Encoding
from audiochunk.pipeline.output import config_of
from audiochunk.storage.manifest import Manifest
from audiochunk.tools.against import verify_against
from audiochunk.tools.verify import verify

from ..pipeline.appended import FIRST, SECOND, THIRD, append, build, write  # noqa: TID252  # made once, used by both
from .damage import edit_manifest, edit_rows, places, reseal

KINDS = ("", "-nan", "-24", "-stereo", "-nan-stereo", "-nan-long", "-clip", "-empty", "-short", "-long-stereo")
NAMES = st.builds("{}/{}{}.wav".format, st.sampled_from("ab"), st.integers(0, 99), st.sampled_from(KINDS))
OPTIONS = st.fixed_dictionaries(
    {
        "bits": st.sampled_from([8, 12, 16, 24]),
        "layout": st.sampled_from(["blocks", "mono", "split"]),
        "tail": st.sampled_from(["drop", "pad"]),
        "compress": st.sampled_from(["none", "zstd:1"]),
        "split": st.sampled_from([None, "folders", "train=0.5,val=0.5"]),
        "shard_size": st.sampled_from([60, 180, 600, 6000]),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(NAMES, min_size=1, max_size=6), min_size=2, max_size=4), OPTIONS)
def test_a_sound_dataset_of_any_generations_is_sound(generations: list[set[str]], options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "wavs"), Path(folder, "shards")
        write(source, ["a/always.wav", "b/always.wav", *generations[0]])
        build(source, out, **options)
        made = 1
        for names in generations[1:]:
            there = set(source.rglob("*.wav"))
            write(source, {name for name in names if source / name not in there})
            made += set(source.rglob("*.wav")) != there
            manifest = append(source, out).manifest
            assert manifest.generations == made
            assert verify(out) == []
        assert verify_against(out, source) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three generations in two splits, with recordings that were lost while decoding."""
    write(tmp_path / "wavs", FIRST)
    build(tmp_path / "wavs", tmp_path / "shards", split="train=0.6,val=0.4", split_seed=3)
    for names in (SECOND, THIRD):
        write(tmp_path / "wavs", names)
        append(tmp_path / "wavs", tmp_path / "shards")
    assert verify(tmp_path / "shards") == []
    return tmp_path / "shards"


def row_of(rows: list[dict[str, Any]], path: str) -> dict[str, Any]:
    return next(row for row in rows if row["path"] == path)


def test_a_path_twice_in_two_generations_is_found(folder: Path) -> None:
    def repeat(rows: list[dict[str, Any]]) -> None:
        # In its own generation, the order stays right.
        row_of(rows, "b/a-clip-stereo.wav")["path"] = "a/d.wav"
        row_of(rows, "a/d.wav")["split"] = row_of(rows, "a/d.wav")["split"]

    edit_rows(folder, repeat)
    reseal(folder)
    assert ("recordings.jsonl", "paths") in places(verify(folder))
    [finding] = [finding for finding in verify(folder) if finding.place == "paths"]
    assert (finding.expected, finding.found) == ("every recording once", "1 of them again")


@pytest.mark.parametrize("generations", [1, 2])
def test_more_restarts_of_the_order_than_generations_are_found(folder: Path, generations: int) -> None:
    edit_manifest(folder, lambda manifest: manifest.update(generations=generations))
    found = [finding for finding in verify(folder) if finding.place.endswith(", path")]
    assert [finding.expected.startswith("one that comes after ") for finding in found].count(True) >= 1
    first_wrong = FIRST[-1] if generations == 1 else SECOND[-1]
    assert found[0].expected == f"one that comes after {first_wrong}"


def test_rows_that_are_swapped_within_a_generation_are_found(folder: Path) -> None:
    def swap(rows: list[dict[str, Any]]) -> None:
        rows[-1], rows[-2] = rows[-2], rows[-1]

    edit_rows(folder, swap)
    reseal(folder)
    assert any(place.endswith(", path") for _, place in places(verify(folder)))


@pytest.mark.parametrize("path", ["a/clip.wav", "a/c-24.wav", "a/0.wav"])
def test_a_recording_in_the_wrong_split_is_found_in_every_generation(folder: Path, path: str) -> None:
    def move(rows: list[dict[str, Any]]) -> None:
        row = row_of(rows, path)
        row["split"] = {"train": "val", "val": "train"}[row["split"]]

    edit_rows(folder, move)
    reseal(folder)
    [finding] = [finding for finding in verify(folder) if finding.place.endswith(f"({path}), split")]
    assert "as the rule has it" in finding.expected


@pytest.mark.parametrize("lost", [False, True])
def test_shards_that_are_too_many_for_the_generations_are_found(tmp_path: Path, lost: bool) -> None:
    folder = tmp_path / "shards"
    write(tmp_path / "wavs", ["a.wav", "c.wav", "d.wav", *(["b-nan.wav"] if lost else [])])
    build(tmp_path / "wavs", folder, shard_size=300)
    write(tmp_path / "wavs", ["bb.wav", "e.wav", *(["c-nan.wav"] if lost else [])])
    append(tmp_path / "wavs", folder)
    assert verify(folder) == []
    reseal(folder, lambda manifest: manifest["options"].update(shard_size=600))
    [finding] = verify(folder)
    assert (finding.place, finding.expected) == ("shards of train that are not full", "at most 2")
    reseal(folder, lambda manifest: manifest["options"].update(shard_size=240))
    [finding] = verify(folder)
    assert finding.place == "chunks of train-00000.safetensors"
    assert finding.expected == "what recordings fill it with, at most 4"


def test_another_number_for_the_first_chunk_of_a_later_generation_is_found(folder: Path) -> None:
    def shift(rows: list[dict[str, Any]]) -> None:
        row_of(rows, "c/zz.wav")["first_chunk"] += 1

    edit_rows(folder, shift)
    reseal(folder)
    assert [place for _, place in places(verify(folder)) if place.endswith("(c/zz.wav), first_chunk")]


def test_rows_behind_those_of_the_dataset_are_found_where_no_build_is_unfinished(folder: Path) -> None:
    table = folder / "recordings.jsonl"
    n = Manifest.read(folder).recordings.rows
    table.write_bytes(table.read_bytes() + table.read_bytes().splitlines(keepends=True)[-1])
    assert ("recordings.jsonl", "rows") in places(verify(folder))
    (folder / ".build").mkdir()
    assert verify(folder) == []
    assert Manifest.read(folder).recordings.rows == n


def test_against_its_recordings_an_append_that_was_cut_is_the_dataset_before(folder: Path, tmp_path: Path) -> None:
    table = folder / "recordings.jsonl"
    (folder / ".build").mkdir()
    extra = msgspec.json.decode(table.read_bytes().splitlines()[-1]) | {"path": "c/zzz.wav"}
    table.write_bytes(table.read_bytes() + msgspec.json.encode(extra, order="sorted") + b"\n")
    assert verify_against(folder, tmp_path / "wavs") == []
    write(tmp_path / "wavs", ["c/zzz.wav"])
    [finding] = verify_against(folder, tmp_path / "wavs")
    assert (finding.file, finding.expected) == ("c/zzz.wav", "no recording that the dataset lacks")


@pytest.mark.parametrize("path", ["a/clip.wav", "a/c-24.wav", "a/0.wav"])
def test_a_changed_recording_of_any_generation_is_found_against_it(folder: Path, tmp_path: Path, path: str) -> None:
    file = tmp_path / "wavs" / path
    data = bytearray(file.read_bytes())
    data[200:204] = bytes(4)
    file.write_bytes(data)
    [finding] = verify_against(folder, tmp_path / "wavs")
    assert f"({path})" in finding.place


def test_the_encoding_is_that_of_the_dataset(folder: Path) -> None:
    assert config_of(folder, {}).encoding == Encoding(chunk_bytes=60)
