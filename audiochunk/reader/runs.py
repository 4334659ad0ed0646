"""Runs: the chunks of one stream, as far as they lie in a view of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass

from audiochunk.storage.recordings import RecordingRow


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks of one stream that follow each other.

    Attributes:
        recording: the row of the recordings table.
        first: number in the view of the first of them.
        chunks: how many they are.
        before: chunks of the stream that come before them, outside the view.
    """

    recording: RecordingRow
    first: int
    chunks: int
    before: int


def runs(rows: Iterable[RecordingRow], view: range) -> list[Run]:
    """The runs in a view of a split, in order; streams without chunks there have none.

    Args:
        rows: of the split.
        view: numbers of the chunks in the view, one after the other.
    """
    found = []
    for row in rows:
        first, stop = max(row.first_chunk, view.start), min(row.first_chunk + row.chunks, view.stop)
        if first < stop:
            found.append(Run(row, first - view.start, stop - first, first - row.first_chunk))
    return found
