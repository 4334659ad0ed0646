"""Runs: the chunks of one stream, as far as they lie in a view of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from audiochunk.reader.recordings import Recordings
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


class Runs(Sequence[Run]):
    """The runs in a view of a split, in order; streams without chunks there have none.

    Args:
        recordings: of the split.
        view: numbers of the chunks in the view, one after the other.

    Attributes:
        recordings: of the split, and
        row: (n,) int64, the number of each run's row among them.
        first: (n,) int64, as in `Run`, like
        chunks: (n,) int64, and
        before: (n,) int64.
    """

    def __init__(self, recordings: Recordings, view: range) -> None:
        self.recordings = recordings
        first = np.maximum(recordings.first_chunk, view.start)
        chunks = np.minimum(recordings.first_chunk + recordings.chunks, view.stop) - first
        self.row: npt.NDArray[np.int64] = np.flatnonzero(chunks > 0)
        self.first: npt.NDArray[np.int64] = first[self.row] - view.start
        self.chunks: npt.NDArray[np.int64] = chunks[self.row]
        self.before: npt.NDArray[np.int64] = first[self.row] - recordings.first_chunk[self.row]

    def __len__(self) -> int:
        return len(self.row)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        numbers = (int(column[index]) for column in (self.first, self.chunks, self.before))
        return Run(self.recordings[int(self.row[index])], *numbers)
