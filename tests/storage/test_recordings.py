"""The recordings table: its rows come back, and damage is found."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.errors import DatasetError
from audiochunk.storage.manifest import RecordingsEntry
from audiochunk.storage.recordings import (
    RecordingRow,
    RowsWriter,
    has_more_rows,
    path_fields,
    read_in_path_order,
    read_rows,
)


def row(path: bytes, **fields: Any) -> RecordingRow:
    common: dict[str, Any] = {
        "split": "train",
        "channel": None,
        "sample_rate": 44100,
        "channels": 2,
        "frames": 5000,
        "subtype": "PCM_16",
        "bytes": 20044,
        "first_chunk": 0,
        "chunks": 4,
        "dropped_frames": 904,
        "clipped": 0,
        "notes": (),
    }
    return RecordingRow(**path_fields(path), **(common | fields))


ROWS = [
    row(b"plain.wav"),
    row("Käfer/日本.wav".encode(), channel=1, notes=("low-justified",)),
    row(b"caf\xe9.wav"),
    row(b"line\nfeed\r\n\x85\x0b\x0c.wav"),
    row("separators\u2028\u2029\x85\x1e.wav".encode()),
    row(b'quote"back\\slash\x00.wav'),
    row("\ufffd.wav".encode()),
    row(b"refused.wav", chunks=0, error="the file is empty (0 bytes)"),
]


def write_table(folder: Path, rows: list[RecordingRow]) -> RecordingsEntry:
    data = b"".join(r.encode() for r in rows)
    (folder / "recordings.jsonl").write_bytes(data)
    return RecordingsEntry(name="recordings.jsonl", rows=len(rows), digest=xxhash.xxh3_128_hexdigest(data))


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []], ids=len)
def test_rows_come_back_from_the_table(tmp_path: Path, rows: list[RecordingRow]) -> None:
    entry = write_table(tmp_path, rows)
    assert list(read_rows(tmp_path, entry)) == rows


def test_names_come_back_from_their_rows() -> None:
    assert [r.path_bytes for r in ROWS[2:5]] == [
        b"caf\xe9.wav",
        b"line\nfeed\r\n\x85\x0b\x0c.wav",
        "separators\u2028\u2029\x85\x1e.wav".encode(),
    ]


@given(st.binary())
@settings(deadline=None)
def test_any_name_comes_back_from_one_line(path: bytes) -> None:
    line = row(path).encode()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = msgspec.json.decode(line, type=RecordingRow)
    assert back.path_bytes == path
    assert (back.path_hex is None) == (path == back.path.encode())


def test_a_row_is_this_line() -> None:
    assert row("Käfer\n.wav".encode(), channel=1, notes=("low-justified",)).encode().decode() == (
        '{"bytes":20044,"channel":1,"channels":2,"chunks":4,"clipped":0,"dropped_frames":904,"first_chunk":0,'
        '"frames":5000,"notes":["low-justified"],"path":"Käfer\\n.wav","sample_rate":44100,"split":"train",'
        '"subtype":"PCM_16"}\n'
    )
    assert row(b"\xe9", error="why").encode().decode() == (
        '{"bytes":20044,"channel":null,"channels":2,"chunks":4,"clipped":0,"dropped_frames":904,"error":"why",'
        '"first_chunk":0,"frames":5000,"notes":[],"path":"\ufffd","path_hex":"e9","sample_rate":44100,'
        '"split":"train","subtype":"PCM_16"}\n'
    )


@pytest.mark.parametrize("r", ROWS, ids=lambda r: ascii(r.path))
def test_a_row_is_what_json_would_write(r: RecordingRow) -> None:
    tree = json.loads(r.encode())
    assert r.encode().decode() == json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def spoil(data: bytes, what: str) -> bytes:
    lines = data.splitlines(keepends=True)
    return {
        "a byte of a name": data.replace(b"plain", b"plaim"),
        "a byte that is not UTF-8": data.replace(b"plain", b"pl\xffin"),
        "the last line missing": b"".join(data.rpartition(b"\n{")[:1]) + b"\n",
        "a line twice": lines[0] + data,
        "lines swapped": b"".join([lines[1], lines[0], *lines[2:]]),
        "no newline at the end": data[:-1],
        "a line cut": data[:-40],
        "an unknown field": data.replace(b'{"bytes"', b'{"album":"x","bytes"', 1),
        "a missing field": data.replace(b'"clipped":0,', b"", 1),
        "a float": data.replace(b'"chunks":4', b'"chunks":4.0', 1),
        "a blank line": lines[0] + b"\n" + b"".join(lines[1:]),
        "empty": b"",
        "no JSON": b"\0" * len(data),
        "deep nesting": lines[0] + b'{"notes":' + b"[" * 100_000 + b"\n" + b"".join(lines[1:]),
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "a byte of a name",
        "a byte that is not UTF-8",
        "the last line missing",
        "a line twice",
        "lines swapped",
        "no newline at the end",
        "a line cut",
        "an unknown field",
        "a missing field",
        "a float",
        "a blank line",
        "empty",
        "no JSON",
        "deep nesting",
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, what: str) -> None:
    table = tmp_path / "recordings.jsonl"
    entry = write_table(tmp_path, ROWS)
    data = table.read_bytes()
    table.write_bytes(spoil(data, what))
    assert table.read_bytes() != data
    with pytest.raises(DatasetError) as error:
        list(read_rows(tmp_path, entry))
    assert error.value.args[0] == table


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    entry = write_table(tmp_path, ROWS)
    table = tmp_path / "recordings.jsonl"
    lines = table.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'"frames"', b'"framez"')
    table.write_bytes(b"\n".join(lines))
    with pytest.raises(DatasetError, match=r"line 3: .*framez"):
        list(read_rows(tmp_path, entry))


def test_another_count_of_rows_is_refused(tmp_path: Path) -> None:
    entry = msgspec.structs.replace(write_table(tmp_path, ROWS), rows=len(ROWS) + 1)
    with pytest.raises(DatasetError, match="not the recordings that the manifest names"):
        list(read_rows(tmp_path, entry))


def test_a_missing_table_is_a_damaged_dataset(tmp_path: Path) -> None:
    entry = RecordingsEntry(name="recordings.jsonl", rows=0, digest="")
    with pytest.raises(DatasetError, match=r"recordings\.jsonl: cannot be read: no such file or directory") as error:
        list(read_rows(tmp_path, entry))
    assert error.value.args[0] == tmp_path / "recordings.jsonl"
    cause = error.value.__cause__
    assert isinstance(cause, FileNotFoundError)
    assert os.fspath(cause.filename) == os.fspath(tmp_path / "recordings.jsonl")


def test_a_folder_in_the_place_of_the_table_is_a_damaged_dataset(tmp_path: Path) -> None:
    (tmp_path / "recordings.jsonl").mkdir()
    with pytest.raises(DatasetError, match=r"recordings\.jsonl: cannot be read: not a regular file"):
        list(read_rows(tmp_path, RecordingsEntry(name="recordings.jsonl", rows=0, digest="")))


@pytest.mark.parametrize("field", ["sample_rate", "channels"])
def test_only_a_refused_recording_has_no_rate_and_no_channels(field: str) -> None:
    assert row(b"a.wav", error="why", **{field: 0}).error == "why"
    with pytest.raises(ValueError, match="of a recording that was not refused"):
        row(b"a.wav", **{field: 0})


# Tables that were added to.


def paths_in_order(tmp_path: Path, *generations: list[bytes]) -> list[bytes]:
    entry = write_table(tmp_path, [row(path) for paths in generations for path in paths])
    return [row.path_bytes for row in read_in_path_order(tmp_path, entry, several=True)]


def test_rows_of_several_generations_come_in_path_order(tmp_path: Path) -> None:
    assert paths_in_order(tmp_path, [b"b", b"e"], [b"c", b"f"], [b"a", b"d"]) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert paths_in_order(tmp_path, [b"a", b"b"], [b"c"]) == [b"a", b"b", b"c"]
    assert paths_in_order(tmp_path, [b"b", b"b", b"d"], [b"a", b"c", b"c"]) == [b"a", b"b", b"b", b"c", b"c", b"d"]
    assert paths_in_order(tmp_path) == []


def test_paths_that_are_not_utf_8_are_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    """As characters, U+FFFD comes before U+1F3B5."""
    music = "🎵".encode()
    assert paths_in_order(tmp_path, [music, b"\xff"], [b"\xfe"]) == [music, b"\xfe", b"\xff"]


def test_two_thousand_generations_need_no_more_open_files_than_one(tmp_path: Path) -> None:
    paths = [[b"%05d.wav" % (number * 2000 + 1999 - n) for number in range(3)] for n in range(2000)]
    entry = write_table(tmp_path, [row(path) for generation in paths for path in generation])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 64), hard))
    try:
        found = [row.path_bytes for row in read_in_path_order(tmp_path, entry, several=True)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == sorted(path for generation in paths for path in generation)


def test_rows_longer_than_what_is_read_at_once_come_whole(tmp_path: Path) -> None:
    rows = [row(b"b/" + b"x" * 3000, notes=("n" * 40_000,)), row(b"c"), row(b"a/" + b"y" * 3000, notes=("m" * 20_000,))]
    entry = write_table(tmp_path, rows)
    assert list(read_in_path_order(tmp_path, entry, several=True)) == [rows[2], rows[0], rows[1]]


@pytest.mark.parametrize("spoiled", [b"", b"x" * 3000])
def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path: Path, spoiled: bytes) -> None:
    entry = write_table(tmp_path, [row(b"%03d" % n, notes=("n" * 2000,)) for n in [*range(50, 99), *range(50)]])
    found = read_in_path_order(tmp_path, entry, several=True)
    next(found)
    (tmp_path / "recordings.jsonl").write_bytes(spoiled)
    with pytest.raises(DatasetError, match="was changed while it was read"):
        list(found)


@pytest.mark.parametrize("several", [False, True])
def test_what_lies_behind_the_rows_of_a_dataset_is_not_read(tmp_path: Path, several: bool) -> None:
    entry = write_table(tmp_path, ROWS)
    assert not has_more_rows(tmp_path, entry)
    with (tmp_path / "recordings.jsonl").open("ab") as file:
        file.write(b'{"half of a row')
    assert has_more_rows(tmp_path, entry)
    assert list(read_rows(tmp_path, entry)) == ROWS
    assert len(list(read_in_path_order(tmp_path, entry, several=several))) == len(ROWS)


def test_a_copy_of_a_table_has_the_same_bytes_and_more_may_follow(tmp_path: Path) -> None:
    entry = write_table(tmp_path, ROWS)
    before = (tmp_path / "recordings.jsonl").read_bytes()
    with (tmp_path / "recordings.jsonl").open("ab") as file:
        file.write(row(b"stray").encode())
    writer = RowsWriter(tmp_path / "new.jsonl")
    writer.copy(tmp_path / "recordings.jsonl", entry)
    writer.write(row(b"z"))
    copied = writer.finish()
    assert (tmp_path / "new.jsonl").read_bytes() == before + row(b"z").encode()
    assert (copied.rows, list(read_rows(tmp_path, copied))[:-1]) == (len(ROWS) + 1, ROWS)


@pytest.mark.parametrize("damage", ["a byte of a name", "the last line missing", "no table"])
def test_a_damaged_table_is_not_copied(tmp_path: Path, damage: str) -> None:
    entry = write_table(tmp_path, ROWS)
    table = tmp_path / "recordings.jsonl"
    if damage == "no table":
        table.unlink()
    else:
        table.write_bytes(spoil(table.read_bytes(), damage))
    writer = RowsWriter(tmp_path / "new.jsonl")
    with pytest.raises(DatasetError):
        writer.copy(table, entry)
    writer.close()
    assert not (tmp_path / "new.jsonl").exists()


def test_a_line_without_an_end_behind_the_rows_is_not_taken_into_memory(tmp_path: Path) -> None:
    entry = write_table(tmp_path, ROWS)
    os.truncate(tmp_path / "recordings.jsonl", 2**33)
    assert has_more_rows(tmp_path, entry)
    assert list(read_rows(tmp_path, entry)) == ROWS
    writer = RowsWriter(tmp_path / "new.jsonl")
    writer.copy(tmp_path / "recordings.jsonl", entry)
    assert msgspec.structs.replace(writer.finish(), name=entry.name) == entry
