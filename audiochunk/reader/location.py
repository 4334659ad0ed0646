"""Where a chunk came from: from its number to the recording, its channels and its frames."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.reader.recordings import Recordings
from audiochunk.signal.chunking import Stream
from audiochunk.storage.recordings import RecordingRow


@dataclass(frozen=True, slots=True)
class Location:
    """Where a chunk came from.

    Attributes:
        path: of the recording, relative to the input folder.
        channels: numbers of those that are in the chunk, in ascending order.
        first_frame: the first of the recording's frames that any of them has in the chunk, and
        last_frame: the last.
        sample_rate: in Hz.
        chunk: number of the chunk in its stream.
        recording: the whole row of the recordings table.
    """

    path: str
    channels: tuple[int, ...]
    first_frame: int
    last_frame: int
    sample_rate: int
    chunk: int
    recording: RecordingRow


class Locator:
    """Finds where the chunks of one split came from.

    Args:
        rows: of the split, in the table's order.
        encoding: of the chunks.
    """

    def __init__(self, rows: Recordings, encoding: Encoding) -> None:
        self._rows, self._encoding = rows, encoding

    def locate(self, number: int) -> Location:
        """Where the chunk of that number in the split came from."""
        # Rows without chunks have the first chunk of the next one with some, and come before it.
        row = self._rows[int(np.searchsorted(self._rows.first_chunk, number, side="right")) - 1]
        chunk = number - row.first_chunk
        spans = list(stream_of(row, self._encoding).spans(chunk, 1, max_frames=max(1, row.frames)))
        if row.channel is not None:
            channels: tuple[int, ...] = (row.channel,)
        elif self._encoding.layout == "mono" or any(span.channel is None for span in spans):
            channels = tuple(range(row.channels))
        else:
            channels = tuple(sorted({span.channel for span in spans if span.channel is not None}))
        return Location(
            path=row.path,
            channels=channels,
            first_frame=min(span.start for span in spans),
            last_frame=max(span.start + span.frames for span in spans) - 1,
            sample_rate=row.sample_rate,
            chunk=chunk,
            recording=row,
        )


def stream_of(row: RecordingRow, encoding: Encoding) -> Stream:
    """The stream that a row of the recordings table is about."""
    return Stream.of(row.frames, row.channels, encoding)


# Of a recording of more, the number of codes may need more than 64 bits.
_MOST_FRAMES = 2**46


def chunk_counts(rows: Recordings, encoding: Encoding) -> npt.NDArray[np.int64]:
    """(n,) how many chunks the stream of each row is cut into; 0 of refused ones, -1 where 64 bits do not hold it."""
    codes = np.where(rows.is_used, rows.frames, 0)
    if encoding.layout == "blocks":
        codes *= rows.channels
    found, rest = np.divmod(codes, encoding.codes_per_chunk)
    if encoding.tail == "pad":
        found += rest > 0
    for number in np.flatnonzero(rows.is_used & (rows.frames > _MOST_FRAMES)).tolist():
        exact = Stream.of(int(rows.frames[number]), int(rows.channels[number]), encoding).n_chunks
        found[number] = exact if exact < 2**63 else -1
    return found
