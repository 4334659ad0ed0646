"""The recordings table: its rows come back, and damage is found."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.errors import DatasetError
from audiochunk.storage.manifest import RecordingsEntry
from audiochunk.storage.recordings import RecordingRow, path_fields, read_rows


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
        "a blank line": b"\n" + data,
        "empty": b"",
        "no JSON": b"\0" * len(data),
        "deep nesting": b'{"notes":' + b"[" * 100_000 + b"\n" + data,
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
