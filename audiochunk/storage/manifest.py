"""manifest.json and recordings.jsonl: what they say, to and from their canonical bytes."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import xxhash

from audiochunk.config import BuildConfig, Compression, Encoding, Options
from audiochunk.errors import DatasetError, NoDatasetError, reason
from audiochunk.storage.files import open_plain, temporary
from audiochunk.storage.shard import DATA_OFFSET, FORMAT_VERSION, SPLIT_NAME, shard_name

MANIFEST = "manifest.json"
RECORDINGS = "recordings.jsonl"
BUILD_FOLDER = ".build"
MAX_MANIFEST_BYTES = 2**28  # a million shards
MAX_ROW_BYTES = 2**16  # a path of 4096 bytes twice, once in hex, and a few notes

_Bytes = bytes  # the type, where a field takes its name
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class SplitTotals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a split holds.

    Attributes:
        chunks: in all its shards.
        recordings: that were used, those too short for a chunk included.
        frames: of these, dropped ones included.
        seconds: of these, the exact sum rounded down.
    """

    chunks: Count
    recordings: Count
    frames: Count
    seconds: Count


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shard: its file's name and size, its chunks, and the xxh3-128 of the uncompressed file in hex."""

    name: str
    split: str
    chunks: Count
    bytes: Count
    digest: str


class RecordingsEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recordings table: its file's name, how many rows it has, and its xxh3-128 in hex."""

    name: str
    rows: Count
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a dataset but its recordings and chunks; see docs/format.md.

    Attributes:
        encoding: of the chunks.
        options: which recordings were taken, and how they were placed.
        compression: of the shards, or None.
        splits: what each holds, by name; a split that was asked for may hold nothing.
        shards: by split name, then in order.
        recordings: the table of them.
        skipped: recordings that were refused.
        generations: 1, and one more for every later build that added recordings.
        dataset_id: xxh3-128, in hex, of the encoding and all shards; see `dataset_id`.
    """

    format: Literal["audiochunk"] = "audiochunk"
    format_version: Literal[1] = 1
    encoding: Encoding
    options: Options
    compression: Compression | None
    splits: dict[str, SplitTotals]
    shards: tuple[ShardEntry, ...]
    recordings: RecordingsEntry
    skipped: Count
    generations: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] = 1
    dataset_id: str

    @property
    def config(self) -> BuildConfig:
        """What the dataset was built with."""
        return BuildConfig(encoding=self.encoding, options=self.options, compression=self.compression)

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, two spaces of indentation, UTF-8, a newline at the end."""
        compact = msgspec.json.encode(self, order="sorted")
        return msgspec.json.format(compact, indent=2) + b"\n"

    @classmethod
    def decode(cls, data: bytes, path: Path) -> "Manifest":
        """The manifest in the bytes of a file.

        Raises:
            DatasetError: they are no manifest of a version that is known here, or not in canonical form.
        """
        try:
            version = msgspec.json.decode(data, type=_Version).format_version
            if version > FORMAT_VERSION:
                raise DatasetError(
                    path,
                    f"format version {version}; this audiochunk reads up to {FORMAT_VERSION}: a newer one is needed",
                )
            manifest = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise DatasetError(path, f"not a manifest: {error}") from error
        except (RecursionError, UnicodeDecodeError) as error:
            raise DatasetError(path, "not a manifest: not JSON that one would write") from error
        if manifest.encode() != data:
            raise DatasetError(path, "not in canonical form: it was edited, or has a key twice")
        manifest._check(path)
        return manifest

    def _check(self, path: Path) -> None:
        """Compare all that follows from something else with it."""

        def require(holds: bool, what: str) -> None:
            if not holds:
                raise DatasetError(path, what)

        require(self.recordings.name == RECORDINGS, f"the recordings table is not {RECORDINGS}")
        held = {split: list(shards) for split, shards in groupby(self.shards, lambda s: s.split)}
        wanted = [
            shard_name(split, index, self.compression) for split in sorted(held) for index in range(len(held[split]))
        ]
        names = [shard.name for shard in self.shards]
        require(names == wanted, "the names of the shards are not those of its splits, in order")
        require(held.keys() <= self.splits.keys(), "a shard is of a split that is not listed")
        for split, totals in self.splits.items():
            require(SPLIT_NAME.fullmatch(split) is not None, f"{split!r} cannot be the name of a split")
            chunks = sum(shard.chunks for shard in held.get(split, ()))
            require(totals.chunks == chunks, f"split {split}: {totals.chunks} chunks, its shards have {chunks}")
        for shard in self.shards:
            require(re.fullmatch(r"[0-9a-f]{32}", shard.digest) is not None, f"{shard.name}: no digest")
            raw = DATA_OFFSET + shard.chunks * self.encoding.chunk_bytes
            require(
                shard.bytes == raw if self.compression is None else shard.bytes > 0,
                f"{shard.name}: {shard.bytes} bytes cannot hold {shard.chunks} chunks",
            )
        require(
            self.dataset_id == dataset_id(self.encoding, (shard.digest for shard in self.shards)),
            "dataset_id is not that of the shards",
        )

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of the dataset in `folder`.

        Raises:
            NoDatasetError: there is none.
            DatasetError: it is damaged, or could not be read.
        """
        path = folder / MANIFEST
        try:
            with open_plain(path) as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(size) if size <= MAX_MANIFEST_BYTES else b""
        except (FileNotFoundError, NotADirectoryError) as error:
            if (folder / BUILD_FOLDER).exists():
                raise NoDatasetError(folder, "this build is not finished: run it again") from error
            raise NoDatasetError(folder, f"no dataset here: there is no {MANIFEST}") from error
        except OSError as error:
            raise DatasetError(path, f"cannot be read: {reason(error)}") from error
        if size > MAX_MANIFEST_BYTES:
            raise DatasetError(path, f"{size:,} bytes; a manifest has at most {MAX_MANIFEST_BYTES:,}")
        return cls.decode(data, path)


class _Version(msgspec.Struct):
    format_version: int


def dataset_id(encoding: Encoding, digests: Iterable[str]) -> str:
    """The identity of a dataset's chunks, however its shards are compressed.

    It is the xxh3-128, in hex, of the encoding as compact JSON with sorted keys and, each after a newline, the digests
    of all shards in the manifest's order.
    """
    digest = xxhash.xxh3_128(msgspec.json.encode(encoding, order="sorted"))
    for shard in digests:
        digest.update(b"\n" + shard.encode())
    return digest.hexdigest()


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


def read_rows(folder: Path, entry: RecordingsEntry) -> Iterator[RecordingRow]:
    """The rows of the recordings table, in path order.

    Raises:
        DatasetError: the table is not the one that the manifest names, at the latest after its last row.
    """
    path = folder / entry.name
    try:
        yield from _read_rows(path, entry)
    except OSError as error:
        raise DatasetError(path, f"cannot be read: {reason(error)}") from error


def _read_rows(path: Path, entry: RecordingsEntry) -> Iterator[RecordingRow]:
    decoder = msgspec.json.Decoder(RecordingRow)
    digest = xxhash.xxh3_128()
    rows = 0
    with open_plain(path) as file:
        while line := file.readline(MAX_ROW_BYTES):
            digest.update(line)
            rows += 1
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise DatasetError(path, f"line {rows}: {error}") from error
    if rows != entry.rows or digest.hexdigest() != entry.digest:
        raise DatasetError(path, "not the recordings that the manifest names: the digest differs")
