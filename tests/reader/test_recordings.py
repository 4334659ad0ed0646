import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.config import Encoding
from audiochunk.errors import DatasetError
from audiochunk.reader.location import chunk_counts, stream_of
from audiochunk.reader.recordings import Recordings
from audiochunk.storage.manifest import RecordingsEntry
from audiochunk.storage.recordings import RecordingRow, path_fields

from .made import recordings

COUNTS = st.integers(0, 2**63 - 1)


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


ROWS = st.builds(
    row,
    st.binary(max_size=20),
    split=st.sampled_from(["train", "val"]),
    channel=st.none() | st.integers(0, 2**16 - 1),
    sample_rate=st.integers(1, 2**31 - 1),
    channels=st.integers(1, 2**16 - 1),
    frames=COUNTS,
    first_chunk=COUNTS,
    chunks=COUNTS,
    notes=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    error=st.none() | st.text(max_size=9),
)


@given(st.lists(ROWS, max_size=9), st.slices(9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_recordings_are_the_rows_of_their_split(tmp_path: Path, rows: list[RecordingRow], part: slice) -> None:
    expected = [row for row in rows if row.split == "train"]
    found = recordings(tmp_path, rows)
    assert found == expected
    assert len(found) == len(expected)
    assert found[part] == expected[part]
    assert found[part][::-1] == expected[part][::-1]
    assert [found[i] for i in range(-len(expected), len(expected))] == expected * 2
    assert found.used == [row for row in expected if row.error is None]
    assert pickle.loads(pickle.dumps(found[part])) == expected[part]
    for name in ("first_chunk", "chunks", "frames", "sample_rate", "channels"):
        assert getattr(found, name).tolist() == [getattr(row, name) for row in expected]
    assert found.channel.tolist() == [-1 if row.channel is None else row.channel for row in expected]
    assert found.is_used.tolist() == [row.error is None for row in expected]


def test_there_is_no_row_beyond_the_last(tmp_path: Path) -> None:
    found = recordings(tmp_path, [row(b"a.wav"), row(b"b.wav")])
    for number in (2, -3):
        with pytest.raises(IndexError):
            found[number]
    assert [r.path for r in found] == ["a.wav", "b.wav"]
    assert found != [found[0]]
    assert found != "ab"
    assert repr(found) == "<2 rows of recordings.jsonl>"


def test_rows_by_path_are_sorted_by_its_bytes(tmp_path: Path) -> None:
    found = recordings(tmp_path, [row(b"b"), row(b"b/c"), row("ä".encode()), row(b"a"), row(b"\xff"), row(b"c")])
    assert [r.path_bytes for r in found.by_path] == sorted(r.path_bytes for r in found)
    in_order = recordings(tmp_path, [row(b"a"), row(b"a", channel=1), row(b"b")])
    assert in_order.by_path is in_order


def test_splits_are_joined_in_their_order(tmp_path: Path) -> None:
    rows = [row(b"a", split="val"), row(b"b"), row(b"c", split="val")]
    parts = [recordings(tmp_path, rows, split) for split in ("train", "val")]
    assert [r.path for r in Recordings.joined(parts)] == ["b", "a", "c"]
    assert [r.path for r in Recordings.joined(parts, in_order=True)] == ["a", "b", "c"]
    assert list(Recordings.joined(parts, in_order=True).first_chunk) == [r.first_chunk for r in rows]
    assert Recordings.joined(parts[:1]) is parts[0]


@given(st.lists(ROWS, max_size=9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("tail", ["drop", "pad"])
@pytest.mark.parametrize("layout", ["blocks", "split"])
def test_chunks_are_counted_exactly_at_any_size(
    tmp_path: Path, layout: Any, tail: Any, rows: list[RecordingRow]
) -> None:
    encoding = Encoding(layout=layout, tail=tail, block="auto" if layout == "blocks" else None, chunk_bytes=1)
    found = recordings(tmp_path, rows)
    exact = [stream_of(row, encoding).n_chunks if row.error is None else 0 for row in found]
    assert chunk_counts(found, encoding).tolist() == [n if n < 2**63 else -1 for n in exact]


@pytest.mark.parametrize("rows", [0, 1, 3, 2**63 - 1])
def test_a_table_of_another_number_of_rows_is_refused(tmp_path: Path, rows: int) -> None:
    data = b"".join(row(path).encode() for path in (b"a.wav", b"b.wav"))
    (tmp_path / "recordings.jsonl").write_bytes(data)
    entry = RecordingsEntry(name="recordings.jsonl", rows=rows, digest=xxhash.xxh3_128_hexdigest(data))
    with pytest.raises(DatasetError, match="not the recordings that the manifest names"):
        Recordings.read(tmp_path, entry, split="train")


def test_a_table_that_claims_to_be_larger_than_all_memory_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "recordings.jsonl"
    table.touch()
    try:
        os.truncate(table, 2**43)
    except OSError:
        pytest.skip("no file may be so long here")
    with pytest.raises(DatasetError, match=r"recordings\.jsonl"):
        Recordings.read(tmp_path, RecordingsEntry(name=table.name, rows=2**62, digest=""), split="train")


def test_columns_cannot_be_written_to(tmp_path: Path) -> None:
    found = recordings(tmp_path, [row(b"a.wav"), row(b"b.wav")])
    for rows in (found, found[1:], pickle.loads(pickle.dumps(found))):
        with pytest.raises(ValueError, match="read-only"):
            rows.first_chunk[0] = 1


def test_a_table_that_is_replaced_leaves_the_rows_as_they_were(tmp_path: Path) -> None:
    rows = [row(b"a.wav"), row(b"b.wav")]
    found = recordings(tmp_path, rows)
    recordings(tmp_path, [row(b"other.wav", chunks=1)])
    assert found == rows
    (tmp_path / "recordings.jsonl").unlink()
    assert found == rows


@pytest.mark.parametrize(("old", "new"), [(b'"chunks":4', b'"chunks":5'), (b'"chunks":4', b'"chunkz":4')])
def test_a_table_that_is_written_into_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    found = recordings(tmp_path, [row(b"a.wav"), row(b"b.wav", frames=1)])
    table = tmp_path / "recordings.jsonl"
    with table.open("r+b") as file:
        data = file.read()
        file.seek(data.rindex(old))
        file.write(new)
    assert found[0].path == "a.wav"
    with pytest.raises(DatasetError, match=r"recordings\.jsonl: was changed since it was read"):
        found[1]


def test_the_table_does_not_stay_open(plain: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    ds = audiochunk.open(plain)
    assert ds.recordings[0].chunks
    assert len(os.listdir("/dev/fd")) == before


def test_a_pickled_dataset_does_not_carry_the_table(plain: Path) -> None:
    ds = audiochunk.open(plain)
    n_bytes = len(pickle.dumps(ds))
    assert ds.recordings
    assert len(pickle.dumps(ds)) == n_bytes
    assert pickle.loads(pickle.dumps(ds)).recordings == ds.recordings


def test_rows_of_more_than_one_batch_come_in_order(tmp_path: Path) -> None:
    rows = [row(b"%05d.wav" % n, split="train" if n % 3 else "val", first_chunk=n) for n in range(3000)]
    for split in ("train", "val"):
        expected = [r for r in rows if r.split == split]
        found = recordings(tmp_path, rows, split)
        assert found == expected
        np.testing.assert_array_equal(found.first_chunk, [r.first_chunk for r in expected])
