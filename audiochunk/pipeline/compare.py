"""The recordings that a dataset was made from beside those that are there now."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from audiochunk.errors import printable
from audiochunk.pipeline.scan import Scanned
from audiochunk.storage.recordings import RecordingRow


@dataclass(slots=True)
class Counted:
    """Recordings that differ in one way: how many there are, and the first of them."""

    n: int = 0
    first: bytes = b""

    def add(self, path: bytes) -> None:
        """Count one."""
        self.first = self.first if self.n else path
        self.n += 1


class Comparison:
    """Compares recordings, as they come from a scan, with the rows of a dataset; both in path order.

    Args:
        rows: of the recordings table.

    Attributes:
        new: recordings that no row is of.
        gone: those that were used, and are not there any more.
        changed: those that were used, and whose split, size or header is another one.
        refused: those that were refused, and are gone or changed; nothing of them is in chunks.
    """

    def __init__(self, rows: Iterable[RecordingRow]) -> None:
        self._rows = _one_a_path(rows)
        self._row = next(self._rows, None)
        self.new, self.gone, self.changed, self.refused = Counted(), Counted(), Counted(), Counted()

    def is_new(self, recording: Scanned, split: str | None) -> bool:
        """Compare the next recording; whether no row is of it."""
        while self._row is not None and self._row.path_bytes < recording.path:
            self._lose()
        if self._row is None or self._row.path_bytes != recording.path:
            self.new.add(recording.path)
            return True
        if _of_row(self._row) != _of_recording(recording, split):
            (self.changed if self._row.error is None else self.refused).add(recording.path)
        self._row = next(self._rows, None)
        return False

    def finish(self) -> None:
        """There are no more recordings."""
        while self._row is not None:
            self._lose()

    def __str__(self) -> str:
        """What differs, in words; empty where nothing does."""
        new = _in_words("new", self.new) if self.new.n else ""
        refused = _in_words("once refused and gone or changed", self.refused) if self.refused.n else ""
        return "; ".join(filter(None, (new, self.not_as_before, refused)))

    @property
    def not_as_before(self) -> str:
        """What is gone or changed of what was used, in words; empty where nothing is."""
        counts = (("gone", self.gone), ("changed", self.changed))
        return "; ".join(_in_words(what, counted) for what, counted in counts if counted.n)

    def _lose(self) -> None:
        if self._row is not None:
            (self.gone if self._row.error is None else self.refused).add(self._row.path_bytes)
        self._row = next(self._rows, None)


def _in_words(what: str, counted: Counted) -> str:
    return f"{counted.n:,} {what}, {printable(counted.first)} for one"


def _one_a_path(rows: Iterable[RecordingRow]) -> Iterator[RecordingRow]:
    """The first row of each recording: those of its channels say the same."""
    before = None
    for row in rows:
        if row.path_bytes != before:
            yield row
        before = row.path_bytes


def _of_row(row: RecordingRow) -> tuple[object, ...]:
    return row.split, row.bytes, row.sample_rate, row.channels, row.frames, row.subtype, row.notes


def _of_recording(recording: Scanned, split: str | None) -> tuple[object, ...]:
    info = recording.info
    if info is None:
        return split, recording.bytes, 0, 0, 0, "", ()
    return split, recording.bytes, info.sample_rate, info.channels, info.frames, info.subtype, info.notes
