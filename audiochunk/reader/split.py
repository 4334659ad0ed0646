"""One split of a dataset as it lies on disk or in a store: what all views of it share."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from audiochunk.errors import ConfigError, DatasetError, printable
from audiochunk.reader.location import Locator, chunk_counts, stream_of
from audiochunk.reader.recordings import Recordings
from audiochunk.reader.shards import ShardArray
from audiochunk.storage.manifest import Manifest

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

_CHECKED_AT_OPEN = 1000  # shards whose sizes are looked at when a dataset is opened


class Split:
    """One split of a dataset. Pickled, it is its path and the identity that it must have where it is opened again.

    Args:
        folder: of the dataset.
        name: of the split.
    """

    def __init__(self, folder: "Folder", name: str) -> None:
        self.folder, self.name = folder, name
        self._expected_id: str | None = None

    @cached_property
    def manifest(self) -> Manifest:
        """What the dataset says of itself.

        Raises:
            DatasetError: there is no dataset, it is damaged, or it is not the one that was pickled.
            ConfigError: it has no such split.
        """
        manifest = Manifest.read(self.folder)
        if self._expected_id not in (None, manifest.dataset_id):
            raise DatasetError(str(self.folder), f"is not the dataset {self._expected_id} any more")
        if self.name not in manifest.splits:
            raise ConfigError(f"no split {self.name!r} here; there are: {', '.join(sorted(manifest.splits))}")
        return manifest

    @cached_property
    def chunks(self) -> ShardArray:
        """All chunks of the split.

        Raises:
            DatasetError: one of the first shards is missing, or has another size.
        """
        entries = [shard for shard in self.manifest.shards if shard.split == self.name]
        array = ShardArray(self.folder, entries, self.manifest.encoding, self.manifest.compression)
        array.files.check_sizes(_CHECKED_AT_OPEN)
        return array

    @cached_property
    def recordings(self) -> Recordings:
        """Rows of the recordings table for this split, in the table's order.

        Raises:
            DatasetError: they are damaged, or say something else than the manifest.
        """
        found = Recordings.read(self.folder, self.manifest.recordings, split=self.name)
        self._check(found)
        return found

    def _check(self, rows: Recordings) -> None:
        """Compare where rows say their chunks are with what follows from their frames."""
        expected = chunk_counts(rows, self.manifest.encoding)
        ends = np.cumsum(expected)
        wrong = np.flatnonzero((rows.chunks != expected) | (rows.first_chunk != ends - expected))
        path = self.folder / self.manifest.recordings.name
        if wrong.size:
            # Before the first that is wrong, all are right.
            before = int(ends[wrong[0] - 1]) if wrong[0] else 0
            row = rows[int(wrong[0])]
            count = stream_of(row, self.manifest.encoding).n_chunks if row.error is None else 0
            what = f"{printable(row.path)}: chunks {row.first_chunk} + {row.chunks}, expected {before} + {count}"
            raise DatasetError(path, what)
        chunks = int(ends[-1]) if len(rows) else 0
        if chunks != len(self.chunks):
            what = f"{chunks} chunks of split {self.name}; the manifest says {len(self.chunks)}"
            raise DatasetError(path, what)

    @cached_property
    def locator(self) -> Locator:
        """What finds where chunks came from."""
        return Locator(self.recordings, self.manifest.encoding)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "name": self.name, "_expected_id": self.manifest.dataset_id}
