"""Change the recordings table, and find just that."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import audiochunk
from audiochunk.storage.manifest import Manifest
from audiochunk.tools.finding import Finding
from audiochunk.tools.table import MAX_LINE_BYTES, check_table
from audiochunk.tools.verify import verify

from .damage import V1, copy, edit_manifest, edit_rows, flip, places, reseal

TABLE = "recordings.jsonl"
# Rows of u8-blocks, by their numbers from 0: what they are, and how findings call them.
NAN, STEREO, FLOAT, THREE, WIDE, KAEFER, MONO, SHORT, TEXT = range(9)
LINE = {
    NAN: "line 1 (music/nan.wav)",
    FLOAT: "line 3 (music/stereo-float.wav)",
    THREE: "line 4 (music/three-16.wav)",
    KAEFER: "line 6 (speech/käfer-8.wav)",
    MONO: "line 7 (speech/mono-16.wav)",
    SHORT: "line 8 (speech/short.wav)",
    TEXT: "line 9 (x.wav)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy("u8-blocks", tmp_path)


def swap(rows: list[Any], i: int, j: int) -> None:
    rows[i], rows[j] = rows[j], rows[i]


# Without new digests


def test_a_missing_table_is_found_and_the_shards_are_read(folder: Path) -> None:
    (folder / TABLE).unlink()
    flip(folder / "train-00001.safetensors", -1)
    assert places(verify(folder)) == [(TABLE, "type"), ("train-00001.safetensors", "digest")]


def test_a_linked_table_is_found(folder: Path, tmp_path: Path) -> None:
    (folder / TABLE).rename(tmp_path / "elsewhere")
    (folder / TABLE).symlink_to(tmp_path / "elsewhere")
    assert places(verify(folder)) == [(TABLE, "type")]


def test_a_changed_row_is_found_by_the_digest(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows[MONO].update(subtype="PCM_24"))
    assert places(verify(folder)) == [(TABLE, "digest")]


def test_a_changed_number_is_found_where_it_is_as_well(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows[FLOAT].update(dropped_frames=9))
    assert places(verify(folder)) == [(TABLE, f"{LINE[FLOAT]}, dropped_frames"), (TABLE, "digest")]


def test_swapped_rows_are_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: swap(rows, SHORT, TEXT))
    assert places(verify(folder)) == [(TABLE, "line 9 (speech/short.wav), path"), (TABLE, "digest")]


def test_a_duplicated_row_is_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows.insert(MONO, rows[MONO]))
    assert verify(folder) == [
        Finding(TABLE, f"{LINE[MONO]}, rows of the recording", "1", "2"),
        Finding(TABLE, "rows", "9", "10"),
    ]


def test_a_lost_row_is_found_by_all_that_counted_it(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows.pop(KAEFER))
    assert places(verify(folder)) == [
        (TABLE, "line 6 (speech/mono-16.wav), first_chunk"),
        (TABLE, "rows"),
        *(("manifest.json", f"splits.train.{what}") for what in ("chunks", "recordings", "frames")),
    ]


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"path":"\xf0"}\n', b"x" * (MAX_LINE_BYTES + 9)]
)
def test_a_line_that_is_no_row_is_found_and_the_others_are_read(folder: Path, line: bytes) -> None:
    lines = (folder / TABLE).read_bytes().splitlines(keepends=True)
    lines[3] = line
    lines[8] = lines[8].replace(b'"split":"train"', b'"split":"val"')
    (folder / TABLE).write_bytes(b"".join(lines))
    found = verify(folder)
    assert (found[0].file, found[0].place) == (TABLE, "line 4")
    assert "neither totals" in found[0].found
    assert any(place.endswith("(x.wav), split") for _, place in places(found))
    assert {finding.file for finding in found} == {TABLE}


# With digests that are right


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: swap(rows, SHORT, TEXT), ["line 9 (speech/short.wav), path"]),
        (lambda rows: rows.insert(MONO, rows[MONO]), [f"{LINE[MONO]}, rows of the recording"]),
        (lambda rows: rows[MONO].update(first_chunk=22), [f"{LINE[MONO]}, first_chunk"]),
        (lambda rows: rows[TEXT].update(first_chunk=24), [f"{LINE[TEXT]}, first_chunk"]),
        (lambda rows: rows[MONO].update(chunks=5), [f"{LINE[MONO]}, chunks"]),
        (lambda rows: rows[MONO].update(dropped_frames=0), [f"{LINE[MONO]}, dropped_frames"]),
        (lambda rows: rows[MONO].update(clipped=257), [f"{LINE[MONO]}, clipped"]),
        (lambda rows: rows[NAN].update(clipped=1), [f"{LINE[NAN]}, clipped"]),
        (lambda rows: rows[NAN].update(dropped_frames=1), [f"{LINE[NAN]}, dropped_frames"]),
        (lambda rows: rows[TEXT].update(frames=1), [f"{LINE[TEXT]}, frames"]),
        (lambda rows: rows[TEXT].update(notes=["odd"]), [f"{LINE[TEXT]}, notes"]),
        (lambda rows: rows[TEXT].update(channel=0), [f"{LINE[TEXT]}, channel"]),
        (lambda rows: rows[MONO].update(channel=0), [f"{LINE[MONO]}, channel"]),
        (lambda rows: rows[SHORT].update(path="speech/../short.wav"), ["line 8 (speech/../short.wav), path"] * 2),
        (lambda rows: rows[TEXT].update(path="/x.wav"), ["line 9 (/x.wav), path"] * 2),
        (lambda rows: rows[TEXT].update(path="x//y.wav"), ["line 9 (x//y.wav), path"]),
        (lambda rows: rows[TEXT].update(path="x/"), []),
        (lambda rows: rows[SHORT].update(path="speech/short.txt"), ["line 8 (speech/short.txt), path"]),
        (lambda rows: rows[MONO].update(path="speech/m\0.wav"), ["line 7 (speech/m\\x00.wav), path"]),
    ],
)
def test_what_a_row_says_is_compared_with_what_follows_from_the_rest(
    folder: Path, change: Any, expected: list[str]
) -> None:
    edit_rows(folder, change)
    reseal(folder)
    assert places(verify(folder)) == [(TABLE, place) for place in expected]


def test_a_row_that_is_not_canonical_is_found(folder: Path) -> None:
    table = folder / TABLE
    for old, new in ((b'{"bytes":1586', b'{"bytes": 1586'), (b'"frames":97,', b'"frames":97,"path_hex":null,')):
        assert old in table.read_bytes()
        table.write_bytes(table.read_bytes().replace(old, new))
    table.write_bytes(table.read_bytes()[:-1])
    reseal(folder, lambda manifest: None)
    edit_manifest(folder, lambda manifest: manifest["recordings"].update(rows=9))
    assert places(verify(folder)) == [
        (TABLE, "line 2 (music/stereo-24.wav)"),
        (TABLE, LINE[THREE]),
        (TABLE, LINE[TEXT]),
    ]


@pytest.mark.parametrize("field", ["chunks", "recordings", "frames", "seconds"])
def test_wrong_totals_are_found(folder: Path, field: str) -> None:
    reseal(folder, lambda manifest: manifest["splits"]["train"].update({field: manifest["splits"]["train"][field] + 1}))
    [finding] = verify(folder)
    expected = "content" if field == "chunks" else f"splits.train.{field}"  # chunks do not even add up to the shards'
    assert (finding.file, finding.place) == ("manifest.json", expected)


def test_a_wrong_count_of_refused_recordings_is_found(folder: Path) -> None:
    reseal(folder, lambda manifest: manifest.update(skipped=3))
    assert verify(folder) == [Finding("manifest.json", "skipped", "2", "3")]


def test_refused_recordings_where_none_may_be_are_found(folder: Path) -> None:
    reseal(folder, lambda manifest: manifest["options"].update(on_error="fail"))
    assert places(verify(folder)) == [(TABLE, f"{LINE[NAN]}, error"), (TABLE, f"{LINE[TEXT]}, error")]


@pytest.mark.parametrize(
    ("options", "row"),
    [({"exclude": ["three*"]}, THREE), ({"include": ["music/*", "speech*", "*sp*/*"]}, TEXT)],
)
def test_recordings_that_the_globs_leave_out_are_found(folder: Path, options: dict[str, Any], row: int) -> None:
    reseal(folder, lambda manifest: manifest["options"].update(options))
    assert places(verify(folder)) == [(TABLE, f"{LINE[row]}, path")]


# Splits


def test_a_recording_in_a_split_that_is_not_there_is_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows[TEXT].update(split="val", first_chunk=0))
    reseal(folder)
    assert places(verify(folder)) == [(TABLE, f"{LINE[TEXT]}, split")]


@pytest.mark.parametrize("name", ["u8-mulaw-shares", "u16-split-shares", "u16-12bit-folders"])
def test_a_recording_in_another_split_than_the_rule_gives_is_found(tmp_path: Path, name: str) -> None:
    folder = copy(name, tmp_path)
    manifest = Manifest.read(folder)
    rows = [json.loads(line) for line in (folder / TABLE).read_bytes().splitlines()]
    i = max(i for i, row in enumerate(rows) if "error" in row)  # moving one without chunks moves no other
    other = next(split for split in sorted(manifest.splits) if split != rows[i]["split"])
    first = next((row["first_chunk"] for row in rows[i:] if row["split"] == other), manifest.splits[other].chunks)
    edit_rows(folder, lambda rows: rows[i].update(split=other, first_chunk=first))
    reseal(folder)
    [finding] = verify(folder)
    assert (finding.file, finding.place) == (TABLE, f"line {i + 1} ({rows[i]['path']}), split")
    assert (finding.expected, finding.found) == (f"{rows[i]['split']}, as the rule has it", other)


@pytest.mark.parametrize("rule", ["train=x", "file:00", "", "train=0"])
def test_a_rule_of_splits_that_is_none_is_found(folder: Path, rule: str) -> None:
    reseal(folder, lambda manifest: manifest["options"].update(split=rule))
    assert places(verify(folder)) == [("manifest.json", "options.split")]


def test_a_split_that_nobody_asked_for_is_found(folder: Path) -> None:
    totals = {"chunks": 0, "recordings": 0, "frames": 0, "seconds": 0}
    reseal(folder, lambda manifest: manifest["splits"].update(val=totals))
    assert verify(folder) == [Finding("manifest.json", "splits", "train", "train, val")]


# Channels in rows of their own


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda rows: rows[2].update(sample_rate=1), "line 3 (music/stereo-24.wav), sample_rate"),
        (lambda rows: rows[2].update(notes=["x"]), "line 3 (music/stereo-24.wav), notes"),
        (lambda rows: rows.insert(2, rows[1]), "line 2 (music/stereo-24.wav), rows of the recording"),
    ],
)
def test_rows_of_channels_that_do_not_belong_together_are_found(tmp_path: Path, change: Any, place: str) -> None:
    folder = copy("u8-split-zstd", tmp_path)
    edit_rows(folder, change)
    reseal(folder)
    assert (TABLE, place) in places(verify(folder))


def test_swapped_channels_are_found(tmp_path: Path) -> None:
    folder = copy("u8-split-zstd", tmp_path)

    def change(rows: list[dict[str, Any]]) -> None:
        rows[1]["channel"], rows[2]["channel"] = 1, 0

    edit_rows(folder, change)
    reseal(folder)
    assert places(verify(folder)) == [
        (TABLE, "line 2 (music/stereo-24.wav), channel"),
        (TABLE, "line 3 (music/stereo-24.wav), channel"),
    ]


# Numbers that nobody has


@pytest.mark.parametrize("field", ["frames", "channels", "sample_rate", "chunks", "first_chunk", "bytes"])
@pytest.mark.parametrize("row", [NAN, MONO, TEXT])
@pytest.mark.parametrize("name", ["u8-blocks", "u8-split-zstd"])
def test_absurd_numbers_take_neither_time_nor_memory(tmp_path: Path, name: str, row: int, field: str) -> None:
    folder = copy(name, tmp_path)
    edit_rows(folder, lambda rows: rows[row].update({field: 2**63 - 1}))
    found = verify(folder)
    assert (TABLE, "digest") in places(found)
    edit_rows(folder, lambda rows: rows[row].update({field: 0}))
    verify(folder)


def test_paths_that_are_not_utf8_and_folders_that_cannot_be_listed_are_sound(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    (tmp_path / "in").mkdir()
    wav = (V1 / "wavs" / "speech" / "mono-16.wav").read_bytes()
    for name in (b"caf\xe9 \x1b.wav", b"z.wav"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path / "in"), name))).write_bytes(wav)
    audiochunk.build(tmp_path / "in", folder, workers=1, chunk_bytes=64, fsync=False)
    assert verify(folder) == []
    refused = {"bytes": 0, "channels": 0, "chunks": 0, "dropped_frames": 0, "frames": 0, "sample_rate": 0}

    def add(rows: list[dict[str, Any]]) -> None:
        rows.insert(1, rows[1] | refused | {"path": "locked/", "subtype": "", "error": "cannot be listed"})

    edit_rows(folder, add)
    reseal(folder, lambda m: (m.update(skipped=1), m["options"].update(on_error="skip")))
    assert verify(folder) == []
    edit_rows(folder, lambda rows: rows[0].update(path_hex=rows[0]["path_hex"].upper()))
    reseal(folder)
    assert (TABLE, "line 1") in {(file, place.split(" (")[0]) for file, place in places(verify(folder))}


def test_what_the_rows_come_to_is_counted(folder: Path) -> None:
    held, wrong = check_table(folder, Manifest.read(folder))
    assert wrong == []
    assert held is not None
    train = held["train"]
    assert (train.chunks, train.planned, train.recordings) == (25, 27, 7)
    assert [train.chunks_between(at, at + 10) for at in (0, 10, 20, 30)] == [8, 10, 7, 0]
    assert [train.chunks_between(0, stop) for stop in range(4)] == [0, 0, 0, 1]
