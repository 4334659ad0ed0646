from fractions import Fraction
from pathlib import Path

import numpy as np

from audiochunk.config import Encoding
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import RecordingRow, read_rows
from audiochunk.tools.facts import collect
from audiochunk.tools.report import contents
from audiochunk.tools.summary import summarize


def row(path: str, **fields: object) -> RecordingRow:
    values = {
        "split": "train",
        "channel": None,
        "sample_rate": 8000,
        "channels": 1,
        "frames": 8000,
        "subtype": "PCM_16",
        "bytes": 2044,
        "first_chunk": 0,
        "chunks": 2,
        "dropped_frames": 4000,
        "clipped": 0,
        "notes": (),
    }
    return RecordingRow(path=path, **{**values, **fields})  # type: ignore[arg-type]


def test_breakdowns_add_up_to_all_recordings() -> None:
    rows = [row("a"), row("b", sample_rate=16_000, split="val"), row("c", channels=2), row("d", error="bad", chunks=0)]
    summary = summarize(rows, encoding=Encoding())
    found = contents.breakdowns(summary)
    assert [breakdown.by for breakdown in found] == ["split", "sample rate", "channels", "subtype"]
    for breakdown in found:
        assert sum(group.recordings for group in breakdown.groups) == 3
        assert sum(group.seconds for group in breakdown.groups) == Fraction(5, 2)
        assert sum(group.chunks for group in breakdown.groups) == 6
        assert sum(group.share for group in breakdown.groups) == 1
    assert [group.name for group in found[1].groups] == ["8,000 Hz", "16,000 Hz"]


def test_many_groups_are_ten_and_the_others() -> None:
    rows = [row(str(rate), sample_rate=rate) for rate in range(1000, 1030)]
    groups = contents.breakdowns(summarize(rows, encoding=Encoding()))[1].groups
    assert len(groups) == 11
    assert (groups[-1].name, groups[-1].recordings) == ("20 others", 20)
    assert sum(group.recordings for group in groups) == 30


def test_a_recording_of_many_streams_has_one_length() -> None:
    rows = [
        row("a", channel=0),
        row("a", channel=1),
        row("b", frames=0),
        row("c", error="bad"),
        row("d", frames=16_000),
    ]
    found = contents.Lengths.of(rows)
    np.testing.assert_array_equal(found.seconds, [1, 2])
    np.testing.assert_array_equal(found.lost_s, [0.5, 0.5])


def test_reasons_come_once_with_all_that_have_them() -> None:
    found = contents.reasons([(b"a", "empty"), (b"b", "cut\x1b"), (b"c", "empty")])
    assert [(reason.text, reason.paths) for reason in found] == [("empty", (b"a", b"c")), ("cut\\x1b", (b"b",))]


def test_copies_in_other_splits_come_first(dataset: Path) -> None:
    facts = collect(dataset)
    found = contents.copies(facts)
    assert [(copy.row.path, copy.of.path) for copy in found] == [("copy b.wav", "copy a.wav")] or [
        (copy.row.path, copy.of.path) for copy in found
    ] == [("copy a.wav", "copy b.wav")]
    assert found[0].is_leak
    assert {(a, b) for a, b, _ in contents.leaks(facts)} == {("train", "val"), ("val", "train")}


def test_stats_that_were_not_asked_for_are_empty(dataset: Path) -> None:
    facts = collect(dataset, stats=["dc"])
    assert contents.copies(facts) == []
    assert list(contents.leaks(facts)) == []
    assert [len(values) for values in contents.loudness(facts)] == [0, 0]


def test_streams_of_nothing_but_silence_have_no_loudness(dataset: Path) -> None:
    facts = collect(dataset)
    rms, peak = contents.loudness(facts)
    used = [row for row in read_rows(dataset, Manifest.read(dataset).recordings) if row.error is None and row.chunks]
    assert len(rms) == len(peak) == len(used) - 1
    assert (rms <= peak).all()
