"""manifest.json: what it says, to and from its canonical bytes."""

import os
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import xxhash

from audiochunk.config import BuildConfig, Compression, Encoding, Options
from audiochunk.errors import DatasetError, NoDatasetError, unreadable
from audiochunk.storage.files import open_plain
from audiochunk.storage.shard import DATA_OFFSET, FORMAT_VERSION, SPLIT_NAME, shard_name

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

MANIFEST = "manifest.json"
RECORDINGS = "recordings.jsonl"
BUILD_FOLDER = ".build"
PLAN = "plan.msgpack"  # in the build folder, of a job array
SEALING = "sealing.msgpack"  # the plan while it is sealed: tasks read only the other name
BESIDE = ("README.md", "croissant.json", ".gitattributes")  # no part of a dataset, and no build's to touch
MAX_MANIFEST_BYTES = 2**28  # a million shards

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


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One shard: its file's name and size, its chunks, and the xxh3-128 of the uncompressed file in hex."""

    name: str
    split: str
    chunks: Count
    bytes: Count
    digest: str


def entries_bytes(split: str, shards: int, *, chunks: int, chunk_bytes: int, compression: Compression | None) -> int:
    """At most how many bytes of a manifest the entries of a split take.

    Args:
        split: its name.
        shards: how many it has.
        chunks: that each of them holds at most.
        chunk_bytes: bytes of a chunk.
        compression: of the shards, or None.
    """
    largest = ShardEntry(
        name=shard_name(split, shards, compression),
        split=split,
        chunks=chunks,
        bytes=2 * (DATA_OFFSET + chunks * chunk_bytes),  # what cannot be compressed becomes a little longer
        digest="0" * 32,
    )
    return shards * len(msgspec.json.format(msgspec.json.encode({"shards": [largest]}), indent=2))


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
    def decode(cls, data: bytes, path: Path | str) -> "Manifest":
        """The manifest in the bytes of a file.

        Raises:
            DatasetError: they are no manifest of a version that is known here, or not in canonical form.
        """
        try:
            manifest = msgspec.json.decode(data, type=cls)
        except (RecursionError, UnicodeDecodeError) as error:
            raise DatasetError(path, "not a manifest: not JSON that one would write") from error
        except msgspec.DecodeError as error:
            version = _version_of(data)
            if version > FORMAT_VERSION:
                raise DatasetError(
                    path,
                    f"format version {version}; this audiochunk reads up to {FORMAT_VERSION}: a newer one is needed",
                ) from error
            raise DatasetError(path, f"not a manifest: {error}") from error
        if manifest.encode() != data:
            raise DatasetError(path, "not in canonical form: it was edited, or has a key twice")
        manifest._check(path)
        return manifest

    def _check(self, path: Path | str) -> None:
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
            chunks = sum([shard.chunks for shard in held.get(split, ())])
            require(totals.chunks == chunks, f"split {split}: {totals.chunks} chunks, its shards have {chunks}")
        is_digest, chunk_bytes = re.compile(r"[0-9a-f]{32}").fullmatch, self.encoding.chunk_bytes
        # Nothing but comparisons: there may be a hundred thousand shards.
        for shard in self.shards:
            if is_digest(shard.digest) is None:
                raise DatasetError(path, f"{shard.name}: no digest")
            raw = DATA_OFFSET + shard.chunks * chunk_bytes
            if shard.bytes != raw if self.compression is None else shard.bytes <= 0:
                raise DatasetError(path, f"{shard.name}: {shard.bytes} bytes cannot hold {shard.chunks} chunks")
        require(
            self.dataset_id == dataset_id(self.encoding, (shard.digest for shard in self.shards)),
            "dataset_id is not that of the shards",
        )

    @classmethod
    def read(cls, folder: "Folder") -> "Manifest":
        """The manifest of the dataset in `folder`.

        Raises:
            NoDatasetError: there is none.
            DatasetError: it is damaged, or could not be read.
            MachineError: this process may not read it, or no more files.
            StoreError: the store that the folder is in could not be read.
        """
        if not isinstance(folder, Path):
            return cls.decode(folder.manifest(MANIFEST, MAX_MANIFEST_BYTES), folder / MANIFEST)
        path = folder / MANIFEST
        try:
            with open_plain(path) as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(size) if size <= MAX_MANIFEST_BYTES else b""
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NoDatasetError(folder, _why_none(folder / BUILD_FOLDER)) from error
        except OSError as error:
            raise unreadable(path, error) from error
        if size > MAX_MANIFEST_BYTES:
            raise DatasetError(path, f"{size:,} bytes; a manifest has at most {MAX_MANIFEST_BYTES:,}")
        return cls.decode(data, path)


def _why_none(work: Path) -> str:
    """Why there is no manifest beside what may be a build folder, and what to do."""
    if not work.exists():
        return f"no dataset here: there is no {MANIFEST if work.parent.exists() else 'such folder'}"
    if (work / SEALING).exists():
        return "its seal is not finished: run `audiochunk seal` again"
    if (work / PLAN).exists():
        return "planned, not sealed: run its tasks (`audiochunk build --task`), then `audiochunk seal`"
    return "this build is not finished: run it again"


class _Version(msgspec.Struct):
    format_version: int


def _version_of(data: bytes) -> int:
    """The format version of what may be a manifest that only a newer audiochunk knows; 0 where it says none."""
    try:
        return msgspec.json.decode(data, type=_Version).format_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def dataset_id(encoding: Encoding, digests: Iterable[str]) -> str:
    """The identity of a dataset's chunks, however its shards are compressed.

    It is the xxh3-128, in hex, of the encoding as compact JSON with sorted keys and, each after a newline, the digests
    of all shards in the manifest's order.
    """
    compact = msgspec.json.encode(encoding, order="sorted").decode()
    return xxhash.xxh3_128_hexdigest("\n".join([compact, *digests]).encode())
