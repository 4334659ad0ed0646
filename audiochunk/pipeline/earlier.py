"""The dataset that a build adds recordings to."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path

from audiochunk.errors import InputError, printable
from audiochunk.pipeline.compare import Comparison
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.totals import Totals
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import RECORDINGS, Manifest
from audiochunk.storage.recordings import RecordingRow, RowsWriter, read_in_path_order


class Earlier:
    """A dataset, none of whose shards is read or changed.

    Args:
        folder: where it lies.
        manifest: of it.
        watcher: told of its rows.

    Attributes:
        manifest: the same.
    """

    def __init__(self, folder: Path, manifest: Manifest, watcher: Watcher) -> None:
        self.manifest = manifest
        self._folder, self._watcher = folder, watcher
        self._totals = Totals(manifest.splits)
        self._comparison = Comparison(self._rows())

    def is_new(self, recording: Scanned, split: str | None) -> bool:
        """Whether the dataset has no such recording; they are asked for in path order. None is no split at all.

        Raises:
            DatasetError: the recordings table is damaged.
        """
        return self._comparison.is_new(recording, split)

    def compared(self) -> Comparison:
        """What differs, when all recordings were asked for.

        Raises:
            DatasetError: the recordings table is damaged.
        """
        self._comparison.finish()
        return self._comparison

    def require_all(self, root: bytes) -> None:
        """See, when all recordings in the folder `root` were asked for, that those of the dataset are as they were.

        Those that were refused need not be: they stay left out.

        Raises:
            InputError: some are gone or changed; says how many and names one of each.
            DatasetError: the recordings table is damaged.
        """
        compared = self.compared()
        if n := compared.refused.n:
            self._watcher.warn(
                f"of the recordings that were refused, {n:,} gone or changed, {printable(compared.refused.first)} for"
                " one; what was refused stays left out until the dataset is built anew"
            )
        if wrong := compared.not_as_before:
            new = f", and {compared.new.n:,} new" if compared.new.n else ""
            raise InputError(
                root,
                f"of the recordings that the dataset was made from, {wrong}{new}; to add to it, INPUT holds the old"
                " recordings as they were and the new ones beside them: bring the old ones back, or say --overwrite for"
                " a dataset of nothing but what is there now",
            )

    @property
    def ends(self) -> dict[str, tuple[int, int]]:
        """By split: how many shards and chunks it has."""
        shards = dict.fromkeys(self.manifest.splits, 0)
        for entry in self.manifest.shards:
            shards[entry.split] += 1
        return {name: (shards[name], totals.chunks) for name, totals in self.manifest.splits.items()}

    def totals(self, names: Iterable[str]) -> Totals:
        """What its rows come to, to be added to; `names` are of splits that exist even where it has none of them."""
        totals = deepcopy(self._totals)
        totals.name(names)
        return totals

    def copy_rows(self, writer: RowsWriter) -> None:
        """Write its rows into a table that more are to follow in.

        Raises:
            DatasetError: the recordings table is damaged.
            OSError: the table could not be written.
        """
        writer.copy(self._folder / RECORDINGS, self.manifest.recordings)

    def _rows(self) -> Iterator[RecordingRow]:
        self._watcher.sealing_begins()
        for row in read_in_path_order(self._folder, self.manifest.recordings, several=self.manifest.generations > 1):
            self._totals.add(row)
            self._watcher.sealing(row)
            yield row
