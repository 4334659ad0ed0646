"""The recordings of a split: their numbers in columns, and each row made when it is asked for."""

import operator
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, overload

import msgspec
import numpy as np
import numpy.typing as npt

from audiochunk.errors import DatasetError
from audiochunk.reader.mapping import map_file
from audiochunk.storage.manifest import RecordingsEntry
from audiochunk.storage.recordings import RecordingRow, open_table, read_batches

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

# Of each row what windows, crops, locations and surveys compute with, and where its line lies in the table.
_COLUMNS: dict[str, Any] = {
    "first_chunk": np.int64,
    "chunks": np.int64,
    "frames": np.int64,
    "sample_rate": np.int32,
    "channels": np.int32,
    "channel": np.int32,
    "is_used": np.bool_,
    "line_start": np.int64,
    "line_bytes": np.int32,
}
# What tells where a row is, and that it is still the same one.
_ROW = ("line_start", "line_bytes", "first_chunk", "chunks", "frames")
_BATCH_ROWS = 1024
_LEAST_ROW_BYTES = 100  # fewer than the names of its fields take


class Recordings(Sequence[RecordingRow]):
    """Rows of a recordings table, in its order.

    A row takes 49 bytes here, and a microsecond or two to be made again from its line; the table stays mapped for that.
    Slices are views, and arrays are read-only.

    Args:
        table: that the lines are in.
        columns: by name, (n,) each.

    Attributes:
        first_chunk: (n,) int64, numbers of their first chunks in the split.
        chunks: (n,) int64, how many each has.
        frames: (n,) int64, of the recordings.
        sample_rate: (n,) int32, in Hz; 0, like channels, where the header could not be read.
        channels: (n,) int32, of the recordings.
        channel: (n,) int32, the number of the channel under layout "split", else -1.
        is_used: (n,) bool, whether the recording was not refused.
    """

    def __init__(self, table: "_Table", columns: dict[str, npt.NDArray[Any]]) -> None:
        self._table, self._columns = table, columns
        for column in columns.values():
            column.flags.writeable = False  # they are handed out
        self._for_rows = [columns[name] for name in _ROW]
        self.first_chunk: npt.NDArray[np.int64] = columns["first_chunk"]
        self.chunks: npt.NDArray[np.int64] = columns["chunks"]
        self.frames: npt.NDArray[np.int64] = columns["frames"]
        self.sample_rate: npt.NDArray[np.int32] = columns["sample_rate"]
        self.channels: npt.NDArray[np.int32] = columns["channels"]
        self.channel: npt.NDArray[np.int32] = columns["channel"]
        self.is_used: npt.NDArray[np.bool_] = columns["is_used"]

    @classmethod
    def read(cls, folder: "Folder", entry: RecordingsEntry, *, split: str) -> Self:
        """Those of one split, from the table of a dataset.

        Raises:
            DatasetError: the table is not the one that the manifest names.
            StoreError: the store that it is in could not be read.
        """
        path = folder / entry.name
        at = n = 0
        try:
            with open_table(folder, entry) as file:
                # Made whole from the beginning: many small arrays would leave memory behind that nobody else can use.
                most = min(entry.rows, os.fstat(file.fileno()).st_size // _LEAST_ROW_BYTES)
                columns = {name: np.empty(most, dtype) for name, dtype in _COLUMNS.items()}
                for rows, lines in read_batches(file, path, entry):
                    found = _columns_of(rows, lines, at, split)
                    stop = min(n + len(found["line_start"]), most)  # what is beyond will be refused
                    for name, column in found.items():
                        columns[name][n:stop] = column[: stop - n]
                    at, n = at + sum(map(len, lines)), stop
                data = map_file(file.fileno(), at) if at else memoryview(b"")
        except MemoryError as error:
            raise DatasetError(path, f"{entry.rows:,} rows do not fit into memory") from error
        columns = {name: column[:n] for name, column in columns.items()}
        return cls(_Table(path, data), columns)

    @classmethod
    def joined(cls, parts: "Sequence[Recordings]", *, in_order: bool = False) -> "Recordings":
        """Those of several splits of one dataset, at least one, split by split, or in the order of the table."""
        if len(parts) == 1:
            return parts[0]
        order: Any = slice(None)
        if in_order:
            order = np.argsort(np.concatenate([part._columns["line_start"] for part in parts]))
        columns = {name: np.concatenate([part._columns[name] for part in parts])[order] for name in _COLUMNS}
        return cls(parts[0]._table, columns)

    @cached_property
    def restarts(self) -> list[int]:
        """Numbers of the rows with which the order of paths begins, 0, and begins anew; found by a look at all rows."""
        found, before = [0], b""
        for number, row in enumerate(self):
            path = row.path_bytes
            if path < before:
                found.append(number)
            before = path
        return found

    @property
    def by_path(self) -> "Recordings":
        """The same in the order of their paths' bytes, which that of the table is but for what was added later."""
        if len(self.restarts) == 1:
            return self
        paths = [row.path_bytes for row in self]
        return self._taken(np.array(sorted(range(len(self)), key=paths.__getitem__), np.intp))

    @property
    def used(self) -> "Recordings":
        """Those that were not refused."""
        return self if self.is_used.all() else self._taken(self.is_used)

    def __reduce__(self) -> tuple[Any, ...]:
        # The lines themselves: whoever pickles rows, and not the dataset, wants what they say, and not a file.
        starts, sizes = self._columns["line_start"], self._columns["line_bytes"]
        lines = b"".join(self._table.line(*at) for at in zip(starts.tolist(), sizes.tolist(), strict=True))
        moved = self._columns | {"line_start": np.cumsum(sizes, dtype=np.int64) - sizes}
        return _unpickled, (self._table.path, lines, moved)

    def __len__(self) -> int:
        return len(self.first_chunk)

    @overload
    def __getitem__(self, index: SupportsIndex) -> RecordingRow: ...
    @overload
    def __getitem__(self, index: slice) -> "Recordings": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "RecordingRow | Recordings":
        if isinstance(index, slice):
            return self._taken(index)
        at = operator.index(index)
        return self._row(*[column.item(at) for column in self._for_rows])

    def __iter__(self) -> Iterator[RecordingRow]:
        for at in range(0, len(self), _BATCH_ROWS):
            yield from map(self._row, *(column[at : at + _BATCH_ROWS].tolist() for column in self._for_rows))

    def _row(self, start: int, size: int, *numbers: int) -> RecordingRow:
        row = self._table.row(start, size)
        # Whoever writes into the table after it was read may leave lines that are of other recordings.
        if (row.first_chunk, row.chunks, row.frames) != numbers:
            raise DatasetError(self._table.path, "was changed since it was read")
        return row

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list: it may be millions of rows

    def __repr__(self) -> str:
        return f"<{len(self):,} rows of {os.path.basename(self._table.path)}>"

    def _taken(self, which: "slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]") -> "Recordings":
        return Recordings(self._table, {name: column[which] for name, column in self._columns.items()})


class _Table:
    """The lines of a recordings table in memory."""

    def __init__(self, path: Path | str, data: memoryview) -> None:
        self.path, self._data = path, data
        self._decoder = msgspec.json.Decoder(RecordingRow)

    def line(self, start: int, size: int) -> memoryview:
        """One line, a view."""
        return self._data[start : start + size]

    def row(self, start: int, size: int) -> RecordingRow:
        """What one line says.

        Raises:
            DatasetError: it is no row any more.
        """
        try:
            return self._decoder.decode(self.line(start, size))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DatasetError(self.path, f"was changed since it was read: {error}") from error


def _unpickled(path: Path | str, lines: bytes, columns: dict[str, npt.NDArray[Any]]) -> Recordings:
    return Recordings(_Table(path, memoryview(lines)), columns)


def _columns_of(rows: list[RecordingRow], lines: list[bytes], at: int, split: str) -> dict[str, npt.NDArray[Any]]:
    """The columns of those rows that are of the split; the first line begins at byte `at`."""
    line_bytes = np.array([len(line) for line in lines], np.int32)
    line_start = at + np.cumsum(line_bytes, dtype=np.int64) - line_bytes
    mine = [row for row in rows if row.split == split]
    if len(mine) < len(rows):
        is_mine = np.array([row.split == split for row in rows])
        line_start, line_bytes = line_start[is_mine], line_bytes[is_mine]
    # One list a column: taking a tuple from each row, or a generator, is slower.
    return {
        "first_chunk": np.array([row.first_chunk for row in mine], np.int64),
        "chunks": np.array([row.chunks for row in mine], np.int64),
        "frames": np.array([row.frames for row in mine], np.int64),
        "sample_rate": np.array([row.sample_rate for row in mine], np.int32),
        "channels": np.array([row.channels for row in mine], np.int32),
        "channel": np.array([-1 if row.channel is None else row.channel for row in mine], np.int32),
        "is_used": np.array([row.error is None for row in mine], np.bool_),
        "line_start": line_start,
        "line_bytes": line_bytes,
    }
