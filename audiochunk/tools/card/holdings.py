"""What a dataset holds, as cards tell it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from audiochunk.errors import DatasetError
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import RecordingRow, read_rows
from audiochunk.storage.remote import open_in
from audiochunk.tools.summary import Summary, Tally

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a dataset holds.

    Attributes:
        manifest: of the dataset.
        summary: of its recordings.
        table_sha256: of the recordings table, in hex.
        table_bytes: its size.
        columns: fields that rows of the table have, in the order of their names.
    """

    manifest: Manifest
    summary: Summary
    table_sha256: str
    table_bytes: int
    columns: tuple[str, ...]


def look(folder: "Folder") -> Holdings:
    """What the dataset in a folder holds, without its shards.

    Raises:
        NoDatasetError: there is none.
        DatasetError: the manifest or the recordings table is damaged.
        OSError: the table could not be read.
    """
    manifest = Manifest.read(folder)
    tally = Tally(manifest.encoding)
    optional: set[str] = set()
    for row in read_rows(folder, manifest.recordings):
        tally.add(row)
        optional.update(name for name in ("error", "path_hex") if getattr(row, name) is not None)
    always = set(RecordingRow.__struct_fields__) - {"error", "path_hex"}
    sha256, n = _sha256_of_rows(folder, manifest)
    return Holdings(manifest, tally.summary(manifest.splits), sha256, n, tuple(sorted(always | optional)))


def checksums(
    folder: "Folder", manifest: Manifest, *, on_bytes: Callable[[int], None] | None = None
) -> Iterator[tuple[str, str]]:
    """Every shard's name and SHA-256 in hex, in the manifest's order.

    Args:
        folder: of the dataset.
        manifest: of the dataset.
        on_bytes: told of the bytes of files as they are read.

    Raises:
        DatasetError: a shard is not there, or has not the size that the manifest gives it.
        OSError: one could not be read.
    """
    for shard in manifest.shards:
        try:
            sha256, n = _sha256(folder, shard.name, on_bytes)
        except FileNotFoundError as error:
            raise DatasetError(folder / shard.name, "there is no such file") from error
        if n != shard.bytes:
            raise DatasetError(folder / shard.name, f"{n:,} bytes, {shard.bytes:,} expected")
        yield shard.name, sha256


def _sha256_of_rows(folder: "Folder", manifest: Manifest) -> tuple[str, int]:
    """Of the recordings table without what a build that adds recordings has left behind its rows."""
    digest, n = hashlib.sha256(), 0
    with open_in(folder, manifest.recordings.name) as file:
        for line in islice(file, manifest.recordings.rows):
            digest.update(line)
            n += len(line)
    return digest.hexdigest(), n


def _sha256(folder: "Folder", name: str, on_bytes: Callable[[int], None] | None = None) -> tuple[str, int]:
    digest, n = hashlib.sha256(), 0
    with open_in(folder, name) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            n += len(piece)
            if on_bytes is not None:
                on_bytes(len(piece))
    return digest.hexdigest(), n
