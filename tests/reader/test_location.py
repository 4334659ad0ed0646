from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiochunk.config import BuildConfig, Encoding
from audiochunk.pipeline import run
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.location import Locator
from audiochunk.storage.recordings import RecordingRow

from .made import recordings


def row(path: str, first_chunk: int, chunks: int, *, frames: int, error: str | None = None) -> RecordingRow:
    """A mono recording."""
    return RecordingRow(
        path=path,
        split="train",
        channel=None,
        sample_rate=8000,
        channels=1,
        frames=frames,
        subtype="PCM_16",
        bytes=44,
        first_chunk=first_chunk,
        chunks=chunks,
        dropped_frames=0,
        clipped=0,
        notes=(),
        error=error,
    )


@pytest.mark.parametrize(("number", "path", "chunk"), [(0, "b", 0), (1, "b", 1), (2, "e", 0), (3, "g", 0), (4, "g", 1)])
def test_recordings_without_chunks_are_passed_over(tmp_path: Path, number: int, path: str, chunk: int) -> None:
    rows = [
        row("a", 0, 0, frames=1),
        row("b", 0, 2, frames=9),
        row("c", 2, 0, frames=0),
        row("d", 2, 0, frames=50, error="refused"),
        row("e", 2, 1, frames=4),
        row("f", 3, 0, frames=3),
        row("g", 3, 2, frames=8),
        row("h", 5, 0, frames=3),
    ]
    where = Locator(recordings(tmp_path, rows), Encoding(chunk_bytes=4)).locate(number)
    assert (where.path, where.chunk) == (path, chunk)
    assert (where.first_frame, where.last_frame) == (4 * chunk, 4 * chunk + 3)
    assert where.recording in rows


def test_a_worked_location(tmp_path: Path) -> None:
    """Stereo, blocks of 3: chunk 0 is L0 L1 L2 R0, chunk 1 is R1 R2 L3 L4, chunk 2 is L5 R3 R4 R5."""
    (tmp_path / "in").mkdir()
    left, right = np.arange(6) * 256, np.arange(10, 16) * 256
    sf.write(tmp_path / "in" / "a.wav", np.stack([left, right], 1).astype(np.int16), 8000, subtype="PCM_16")
    config = BuildConfig.make(chunk_bytes=4, block=3)
    run.build(tmp_path / "in", tmp_path / "out", config, workers=1)
    ds = ChunkDataset(tmp_path / "out")
    assert [ds[i].tolist() for i in range(3)] == [
        [128, 129, 130, 138],
        [139, 140, 131, 132],
        [133, 141, 142, 143],
    ]
    places = [(w.channels, w.first_frame, w.last_frame, w.chunk) for w in map(ds.locate, range(3))]
    assert places == [((0, 1), 0, 2, 0), ((0, 1), 1, 4, 1), ((0, 1), 3, 5, 2)]
    waves = ds.waveform(1)
    assert [np.rint(w * 128).astype(int).tolist() for w in waves] == [[3, 4], [11, 12]]
