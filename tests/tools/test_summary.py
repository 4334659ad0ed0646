from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiochunk.config import BuildConfig, Encoding
from audiochunk.pipeline import run
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.histogram import entropy, histogram, most_entropy
from audiochunk.tools.summary import Kind, describe_encoding, summarize


def row(path: str, **fields: object) -> RecordingRow:
    values = {
        "split": "train",
        "channel": None,
        "sample_rate": 8000,
        "channels": 1,
        "frames": 1000,
        "subtype": "PCM_16",
        "bytes": 2044,
        "first_chunk": 0,
        "chunks": 2,
        "dropped_frames": 100,
        "clipped": 0,
        "notes": (),
    }
    return RecordingRow(path=path, **{**values, **fields})  # type: ignore[arg-type]


def test_recordings_are_summed_by_split_and_kind() -> None:
    rows = [row("a"), row("b", split="val", frames=500, chunks=0), row("c", sample_rate=44_100, channels=2, chunks=9)]
    summary = summarize(rows, encoding=Encoding(chunk_bytes=400), splits=["test"])
    assert (summary.total.recordings, summary.total.empty, summary.total.chunks) == (3, 1, 11)
    assert summary.total.seconds == Fraction(1500, 8000) + Fraction(1000, 44_100)
    assert {name: totals.recordings for name, totals in summary.splits.items()} == {"test": 0, "train": 2, "val": 1}
    assert [(kind.sample_rate, totals.chunks) for kind, totals in summary.kinds.items()] == [(44_100, 9), (8000, 2)]
    assert summary.total.tail_loss == 300 / 2500
    assert {name: totals.samples for name, totals in summary.splits.items()} == {"test": 0, "train": 4400, "val": 0}
    assert [totals.samples for totals in summary.kinds.values()] == [3600, 800]


@pytest.mark.parametrize(
    ("encoding", "channels", "samples"),
    [
        (Encoding(), [None], 3 * 2048),
        (Encoding(bits=16), [None], 3 * 1024),
        (Encoding(bits=24, chunk_bytes=30), [None], 3 * 10),
        (Encoding(layout="mono", block=None), [None], 3 * 2048 * 2),
        (Encoding(layout="split", block=None), [0, 1], 2 * 3 * 2048),
    ],
)
def test_samples_are_those_that_went_into_chunks(encoding: Encoding, channels: list[int | None], samples: int) -> None:
    rows = [row("a", channels=2, channel=channel, chunks=3) for channel in channels]
    summary = summarize([*rows, row("b", error="empty", chunks=0)], encoding=encoding)
    assert summary.total.samples == samples
    assert [totals.samples for totals in (*summary.splits.values(), *summary.kinds.values())] == [samples] * 2


def test_a_recording_split_over_rows_counts_once() -> None:
    rows = [row("a", channels=2, channel=channel, clipped=3) for channel in (0, 1)]
    total = summarize(rows, encoding=Encoding(layout="split", block=None)).total
    assert (total.recordings, total.frames, total.dropped_frames) == (1, 1000, 100)
    assert (total.chunks, total.clipped) == (4, 6)


def test_refused_recordings_count_for_nothing_but_are_listed() -> None:
    summary = summarize(
        [row("a"), row("b", error="empty", chunks=0), row("c", notes=("lossy: GSM610",))], encoding=Encoding()
    )
    assert summary.total.recordings == 2
    assert summary.refused == ((b"b", "empty"),)
    assert summary.notes == ((b"c", "lossy: GSM610"),)


def test_nothing_has_no_tail_loss() -> None:
    total = summarize([], encoding=Encoding()).total
    assert (total.tail_loss, total.samples) == (0.0, 0)


def test_entropy_of_fair_dice_and_of_a_constant() -> None:
    assert entropy(np.arange(64)) == pytest.approx(6)
    assert entropy(np.zeros(9, int)) == 0
    assert entropy(np.array([], int)) == 0
    assert entropy(np.array([0, 0, 0, 1])) == pytest.approx(0.811278, abs=1e-6)


@pytest.mark.parametrize(
    ("bits", "n_codes", "most"), [(8, 0, 0), (8, 1, 0), (8, 64, 6), (8, 256, 8), (8, 2**20, 8), (24, 2**20, 20)]
)
def test_entropy_is_bounded_by_the_codes_and_their_number(bits: int, n_codes: int, most: float) -> None:
    assert most_entropy(bits, n_codes) == most


@pytest.mark.parametrize("bits", [8, 12, 16, 24])
def test_a_histogram_counts_every_code_once_and_no_padding(tmp_path: Path, bits: int) -> None:
    (tmp_path / "in").mkdir()
    ramp = (np.arange(7000) * 9 - 31_500).astype(np.int16)
    sf.write(tmp_path / "in" / "a.wav", ramp, 8000, subtype="PCM_16")
    config = BuildConfig.make(bits=bits, tail="pad", chunk_bytes=1536)
    run.build(tmp_path / "in", tmp_path / "out", config, workers=1)
    ds = ChunkDataset(tmp_path / "out")
    found = histogram([ds])
    expected = np.histogram(ramp, bins=64, range=(-(2**15), 2**15))[0]
    np.testing.assert_array_equal(found.bins, expected)
    assert found.chunks == found.of == len(ds)
    assert found.most == pytest.approx(min(bits, np.log2(7000)))
    assert 0 < found.entropy <= found.most + 1e-9
    few = histogram([ds], max_chunks=2)
    # Two chunks, the first and the last, which is padded: fewer codes can say less.
    assert few.entropy <= few.most + 1e-9
    assert few.most == pytest.approx(min(bits, np.log2(few.bins.sum())))
    assert (few.chunks, few.of) == (2, len(ds))


@pytest.mark.parametrize(
    ("encoding", "kind", "lasting"),
    [
        (Encoding(), Kind(16_000, 1, "PCM_16"), "128 ms of mono at 16 kHz"),
        (Encoding(), Kind(44_100, 1, "PCM_16"), "46.4 ms of mono at 44.1 kHz"),
        (Encoding(bits=16), Kind(44_100, 1, "PCM_16"), "23.2 ms of mono at 44.1 kHz"),
        (Encoding(block=1024), Kind(44_100, 2, "PCM_16"), "23.2 ms of stereo at 44.1 kHz"),
        (Encoding(layout="split", block=None), Kind(16_000, 2, "PCM_16"), "128 ms of one channel at 16 kHz"),
    ],
)
def test_an_encoding_in_words_says_how_long_a_chunk_lasts(encoding: Encoding, kind: Kind, lasting: str) -> None:
    assert describe_encoding(encoding, [kind]).endswith(f"; a chunk is {lasting}")
