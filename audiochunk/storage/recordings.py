"""recordings.jsonl, the recordings table: its rows, to and from their canonical lines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import msgspec
import xxhash

from audiochunk.errors import DatasetError, unreadable
from audiochunk.storage.files import open_plain, temporary
from audiochunk.storage.manifest import Count, RecordingsEntry

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

MAX_ROW_BYTES = 2**16  # a path of 4096 bytes twice, once in hex, and a few notes
_BATCH_ROWS = 1024
_PIECE_BYTES = 2**14
_CHANGED = "was changed while it was read"
_ANOTHER = "not the recordings that the manifest names: the digest differs"

_Bytes = bytes  # the type, where a field takes its name


class RecordingRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One stream of one recording in recordings.jsonl.

    Attributes:
        path: relative to the input folder, with "/". Bytes that are not UTF-8 have become U+FFFD.
        path_hex: the path's bytes in hex, where they are not UTF-8; else absent.
        split: where it went.
        channel: None, or the channel's number under layout "split".
        sample_rate: in Hz; 0, like the next three, where the header could not be read.
        channels: of the recording.
        frames: of the recording.
        subtype: as libsndfile spells it, or "".
        bytes: of the recording's file.
        first_chunk: number of its first chunk in its split.
        chunks: how many chunks it has.
        dropped_frames: frames that are not in chunks with every channel.
        clipped: samples in chunks that lay beyond full scale (floats only).
        notes: what was unusual about it.
        error: why it was refused; absent where it was not.
    """

    # In the order of their names, in which canonical JSON has them.
    bytes: Count
    channel: Annotated[int, msgspec.Meta(ge=0, lt=2**16)] | None
    channels: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
    chunks: Count
    clipped: Count
    dropped_frames: Count
    error: str | None = None
    first_chunk: Count
    frames: Count
    notes: tuple[str, ...]
    path: str
    path_hex: str | None = None
    sample_rate: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    split: str
    subtype: str

    def __post_init__(self) -> None:
        if self.error is None and not (self.sample_rate and self.channels):
            raise ValueError(f"{self.sample_rate} Hz and {self.channels} channels of a recording that was not refused")
        if self.path_hex is not None and path_fields(_Bytes.fromhex(self.path_hex)) != {
            "path": self.path,
            "path_hex": self.path_hex,
        }:
            raise ValueError("path and path_hex are not the same name")

    @property
    def path_bytes(self) -> _Bytes:
        """The path as the file system has it."""
        return self.path.encode() if self.path_hex is None else _Bytes.fromhex(self.path_hex)

    def encode(self) -> _Bytes:
        """One line of canonical JSON: sorted keys, no spaces, UTF-8, a newline at the end."""
        return msgspec.json.encode(self) + b"\n"


def path_fields(path: bytes) -> dict[str, Any]:
    """The fields of a row that name a recording: `path`, and `path_hex` where needed."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path": path.decode(errors="replace"), "path_hex": path.hex()}


class RowsWriter:
    """Writes a recordings table row by row, in path order; it is in its place when it is finished.

    Args:
        path: of the table.

    Raises:
        OSError: it could not be made.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._scratch = path, temporary(path)
        self._file = self._scratch.open("xb")
        self._digest, self._rows = xxhash.xxh3_128(), 0

    def write(self, row: RecordingRow) -> None:
        """Append a row."""
        line = row.encode()
        self._file.write(line)
        self._digest.update(line)
        self._rows += 1

    def copy(self, path: Path, entry: RecordingsEntry) -> None:
        """Append the rows of another table, as they are.

        Args:
            path: of the table.
            entry: what the manifest says of it.

        Raises:
            DatasetError: it is not the one that the manifest names.
            OSError: this one could not be written.
        """
        digest, left = xxhash.xxh3_128(), entry.rows
        try:
            file = open_plain(path)
        except OSError as error:
            raise unreadable(path, error) from error
        with file:
            while left and (lines := list(islice(file, min(left, _BATCH_ROWS)))):
                data = b"".join(lines)
                self._file.write(data)
                for each in (digest, self._digest):
                    each.update(data)
                left -= len(lines)
        if left or digest.hexdigest() != entry.digest:
            raise DatasetError(path, _ANOTHER)
        self._rows += entry.rows

    def finish(self) -> RecordingsEntry:
        """Put the table into its place."""
        self._file.close()
        self._scratch.replace(self._path)
        return RecordingsEntry(name=self._path.name, rows=self._rows, digest=self._digest.hexdigest())

    def close(self) -> None:
        """Remove what is not finished."""
        with suppress(OSError):  # of bytes that nobody wants any more
            self._file.close()
        self._scratch.unlink(missing_ok=True)


def read_rows(folder: "Folder", entry: RecordingsEntry) -> Iterator[RecordingRow]:
    """The rows of the recordings table, in path order.

    Raises:
        DatasetError: the table is not the one that the manifest names, at the latest after its last row.
        StoreError: the store that it is in could not be read.
    """
    with open_table(folder, entry) as file:
        for rows, _ in read_batches(file, folder / entry.name, entry):
            yield from rows


@contextmanager
def open_table(folder: "Folder", entry: RecordingsEntry) -> Iterator[BinaryIO]:
    """The recordings table of a dataset, open for reading.

    Raises:
        DatasetError: it is not there, or could not be read, also while it was used.
        MachineError: this process may not read it, or no more files.
        StoreError: the store that it is in could not be read.
    """
    try:
        if isinstance(folder, Path):
            with open_plain(folder / entry.name) as file:
                yield file
        else:
            with folder.table(entry.name, digest=entry.digest, rows=entry.rows) as file:
                yield file
    except OSError as error:
        raise unreadable(folder / entry.name, error) from error


def has_more_rows(folder: Path, entry: RecordingsEntry) -> bool:
    """Whether lines follow in the table's file that are not of the dataset: of a build that was to add to it.

    Raises:
        OSError: it could not be read.
    """
    with open_plain(folder / entry.name) as file:
        for _ in islice(file, entry.rows):
            pass
        return bool(file.read(1))


def read_in_path_order(folder: Path, entry: RecordingsEntry, *, several: bool) -> Iterator[RecordingRow]:
    """The rows of a recordings table in the order of their paths' bytes.

    Args:
        folder: where it lies.
        entry: what the manifest says of it.
        several: whether it may have been added to, so that it is in that order only piece by piece.

    Raises:
        DatasetError: as `read_rows`.
    """
    if not several:
        yield from read_rows(folder, entry)
        return
    # Where the pieces begin: byte and row.
    starts, at, before = [(0, 0)], 0, b""
    path = folder / entry.name
    try:
        with open_plain(path) as file:
            n_rows = 0
            for rows, lines in read_batches(file, path, entry):
                for row, line in zip(rows, lines, strict=True):
                    if row.path_bytes < before:
                        starts.append((at, n_rows))
                    before = row.path_bytes
                    at, n_rows = at + len(line), n_rows + 1
            ends = [*(n for _, n in starts[1:]), entry.rows]
            # Of one file, however many they are: a process may not have many open.
            pieces = [_piece(file.fileno(), path, at, end - n) for (at, n), end in zip(starts, ends, strict=True)]
            yield from merge(*pieces, key=lambda row: row.path_bytes)
    except OSError as error:
        raise unreadable(path, error) from error


def _piece(fd: int, path: Path, at: int, n: int) -> Iterator[RecordingRow]:
    """So many rows of an open table, from byte `at` on, which were all read before."""
    decoder = msgspec.json.Decoder(RecordingRow)
    rest = b""
    while n:
        data = os.pread(fd, _PIECE_BYTES, at)
        if not data:
            raise DatasetError(path, _CHANGED)
        at += len(data)
        *lines, rest = (rest + data).split(b"\n")
        try:
            yield from map(decoder.decode, lines[:n])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DatasetError(path, _CHANGED) from error
        n -= min(n, len(lines))


def read_batches(
    file: BinaryIO, path: Path | str, entry: RecordingsEntry
) -> Iterator[tuple[list[RecordingRow], list[bytes]]]:
    """The rows of an open recordings table in path order, about a thousand at a time, each with its line.

    Args:
        file: the table, from its beginning.
        path: of the table, for messages.
        entry: what the manifest says of it.

    Raises:
        DatasetError: it is not the one that the manifest names, at the latest after its last row.
        OSError: it could not be read.
    """
    decoder = msgspec.json.Decoder(RecordingRow)
    digest = xxhash.xxh3_128()
    n_rows = 0
    read_line = partial(file.readline, MAX_ROW_BYTES)
    # What lies behind is of a build that adds recordings, and has not written its manifest yet.
    while lines := list(islice(iter(read_line, b""), min(_BATCH_ROWS, entry.rows - n_rows))):
        digest.update(b"".join(lines))
        rows = []
        for line in lines:
            n_rows += 1
            try:
                rows.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise DatasetError(path, f"line {n_rows}: {error}") from error
        yield rows, lines
    if n_rows != entry.rows or digest.hexdigest() != entry.digest:
        raise DatasetError(path, _ANOTHER)
