"""The recordings table of a build, written while workers make shards and this process has nothing else to do."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path

from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.rows import Records, rows
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import RecordingsEntry, SplitTotals
from audiochunk.storage.recordings import RecordingRow, RowsWriter

_AT_ONCE = 256  # rows; about a millisecond


class Table:
    """Writes the rows of a plan, at first as they are if nothing fails from now on and nothing is clipped.

    A context manager, which removes what is not finished.

    Args:
        plan: of the build.
        path: of the table.
        failed: reasons, by path, of recordings that are known to fail while decoding.
        watcher: told of every row.

    Raises:
        OSError: it could not be written.
    """

    def __init__(self, plan: Plan, path: Path, failed: Mapping[bytes, str], watcher: Watcher) -> None:
        self._plan, self._path, self._watcher = plan, path, watcher
        self._assumed = dict(failed)
        self._begin(self._assumed, None)

    def _begin(self, failed: Mapping[bytes, str], records: Records | None) -> None:
        self._rows = rows(self._plan, failed=failed, records=records)
        self._writer = RowsWriter(self._path)
        self._totals = {name: _Totals() for name in self._plan.names}
        self._watcher.sealing_begins()
        #: Rows of recordings that were refused.
        self.skipped = 0

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write_some(self) -> bool:
        """Write a few rows; whether there are more."""
        some = list(islice(self._rows, _AT_ONCE))
        for row in some:
            self._writer.write(row)
            self._totals[row.split].add(row)
            self.skipped += row.error is not None
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

    @property
    def splits(self) -> dict[str, SplitTotals]:
        """What each split holds, once the table is finished."""
        return {name: totals.split_totals() for name, totals in self._totals.items()}


class _Totals:
    """What a split holds, row by row. A recording counts once, however many rows its channels have."""

    def __init__(self) -> None:
        self._chunks = self._recordings = 0
        self._frames_by_rate: dict[int, int] = {}

    def add(self, row: RecordingRow) -> None:
        if row.error is not None:
            return
        self._chunks += row.chunks
        if not row.channel:
            self._recordings += 1
            self._frames_by_rate[row.sample_rate] = self._frames_by_rate.get(row.sample_rate, 0) + row.frames

    def split_totals(self) -> SplitTotals:
        return SplitTotals(
            chunks=self._chunks,
            recordings=self._recordings,
            frames=sum(self._frames_by_rate.values()),
            seconds=int(sum(Fraction(frames, rate) for rate, frames in self._frames_by_rate.items())),
        )
