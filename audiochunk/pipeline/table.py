"""The recordings table of a build, written while workers make shards and this process has nothing else to do."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from audiochunk.pipeline.earlier import Earlier
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.rows import Records, rows
from audiochunk.pipeline.totals import Totals
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import RecordingsEntry
from audiochunk.storage.recordings import RowsWriter

_AT_ONCE = 256  # rows; about a millisecond


class Table:
    """Writes the rows of a plan, at first as they are if nothing fails from now on and nothing is clipped.

    A context manager, which removes what is not finished.

    Args:
        plan: of the build.
        path: of the table.
        failed: reasons, by path, of recordings that are known to fail while decoding.
        watcher: told of every row of the plan.
        earlier: the dataset whose rows come first, or None.

    Attributes:
        totals: of all rows that were written.

    Raises:
        OSError: it could not be written.
    """

    def __init__(
        self, plan: Plan, path: Path, failed: Mapping[bytes, str], watcher: Watcher, earlier: Earlier | None = None
    ) -> None:
        self._plan, self._path, self._watcher, self._earlier = plan, path, watcher, earlier
        self._assumed = dict(failed)
        self._begin(self._assumed, None)

    def _begin(self, failed: Mapping[bytes, str], records: Records | None) -> None:
        self._rows = rows(self._plan, failed=failed, records=records)
        self._writer = RowsWriter(self._path)
        self.totals = Totals(self._plan.names)
        self._watcher.sealing_begins()
        if self._earlier is not None:
            self.totals = self._earlier.totals(self._plan.names)
            self._earlier.copy_rows(self._writer)

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write_some(self) -> bool:
        """Write a few rows; whether there are more."""
        some = list(islice(self._rows, _AT_ONCE))
        for row in some:
            self._writer.write(row)
            self.totals.add(row)
            self._watcher.sealing(row)
        return bool(some)

    def finish(self, failed: Mapping[bytes, str], records: Records) -> RecordingsEntry:
        """Write the rest, or all anew where something failed or was clipped; then the table is in its place.

        Args:
            failed: reasons, by path, of all recordings that failed while decoding.
            records: of all shards.

        Raises:
            OSError: it could not be written.
        """
        if failed != self._assumed or any(record.clipped for record in records.values()):
            self._writer.close()
            self._begin(failed, records)
        while self.write_some():
            pass
        return self._writer.finish()
