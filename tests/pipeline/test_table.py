"""The recordings table: the same rows however early it was begun, and whatever failed meanwhile."""

import os
from pathlib import Path

import msgspec
import pytest

from audiochunk.config import BuildConfig
from audiochunk.pipeline.plan import Plan, plan
from audiochunk.pipeline.rows import rows
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.shards import ShardRecord
from audiochunk.pipeline.table import Table
from audiochunk.pipeline.watcher import Watcher
from audiochunk.signal.audio import AudioInfo
from audiochunk.storage.recordings import RecordingRow, read_rows


class Remembering(Watcher):
    """Keeps the rows that it was told of since the table was last begun."""

    def __init__(self) -> None:
        self.rows: list[RecordingRow] = []
        self.times_begun = 0

    def sealing_begins(self) -> None:
        self.rows, self.times_begun = [], self.times_begun + 1

    def sealing(self, row: RecordingRow) -> None:
        self.rows.append(row)


@pytest.fixture
def planned() -> Plan:
    """Six hundred recordings in two splits, every seventh refused."""
    recordings = [
        Scanned(b"%03d.wav" % n, 999, n, None, "no audio")
        if n % 7 == 0
        else Scanned(b"%03d.wav" % n, 999, n, AudioInfo(8000 + n % 2, 1, 100 * n, "PCM_16"))
        for n in range(600)
    ]
    splits = ["val" if n % 5 == 0 else "train" for n in range(600)]
    return plan(recordings, splits, asked={"test": None}, config=BuildConfig.make(chunk_bytes=64, on_error="skip"))


@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 9])
def test_the_table_is_that_of_the_plan(planned: Plan, tmp_path: Path, pieces: int) -> None:
    watcher = Remembering()
    with Table(planned, tmp_path / "recordings.jsonl", {}, watcher) as table:
        more = [table.write_some() for _ in range(pieces)]
        assert more == [True, True, True, False, False, False, False, False, False][:pieces]
        entry = table.finish({}, {})
    wanted = list(rows(planned))
    assert list(read_rows(tmp_path, entry)) == wanted == watcher.rows
    assert table.totals.skipped == sum(row.error is not None for row in wanted)
    assert set(table.totals.splits()) == {"test", "train", "val"}
    for name, totals in table.totals.splits().items():
        used = [row for row in wanted if row.split == name and row.error is None]
        assert totals.recordings == len(used)
        assert totals.chunks == sum(row.chunks for row in used)
        assert totals.frames == sum(row.frames for row in used)
    assert watcher.times_begun == 1
    assert os.listdir(tmp_path) == ["recordings.jsonl"]


@pytest.mark.parametrize("pieces", [0, 1, 9])
@pytest.mark.parametrize(
    ("known", "failed", "clipped", "times_begun"),
    [
        ({b"003.wav": "damaged"}, {b"003.wav": "damaged"}, {}, 1),
        ({}, {b"003.wav": "damaged"}, {}, 2),
        ({b"003.wav": "damaged"}, {b"003.wav": "damaged", b"004.wav": "NaN"}, {}, 2),
        ({}, {}, {1: 3}, 2),
    ],
)
def test_what_turned_out_meanwhile_is_in_the_table(
    planned: Plan,
    tmp_path: Path,
    pieces: int,
    known: dict[bytes, str],
    failed: dict[bytes, str],
    clipped: dict[int, int],
    times_begun: int,
) -> None:
    watcher = Remembering()
    packed = msgspec.msgpack.encode(clipped) if clipped else b""
    records = {place: ShardRecord("", 0, 0, "", "", packed) for place in planned.shards.places()}
    found = dict(known)
    with Table(planned, tmp_path / "recordings.jsonl", found, watcher) as table:
        for _ in range(pieces):
            table.write_some()
        found.update(failed)  # as a build does
        entry = table.finish(found, records)
    wanted = list(rows(planned, failed=failed, records=records))
    assert list(read_rows(tmp_path, entry)) == wanted == watcher.rows
    assert any(row.clipped for row in wanted) == bool(clipped)
    assert table.totals.skipped == sum(row.error is not None for row in wanted)
    assert watcher.times_begun == times_begun
    assert os.listdir(tmp_path) == ["recordings.jsonl"]


def test_a_table_that_is_not_finished_is_not_there(planned: Plan, tmp_path: Path) -> None:
    with Table(planned, tmp_path / "recordings.jsonl", {}, Watcher()) as table:
        table.write_some()
        assert len(os.listdir(tmp_path)) == 1
        assert not (tmp_path / "recordings.jsonl").exists()
    assert os.listdir(tmp_path) == []
