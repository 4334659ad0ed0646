"""What rows of the recordings table come to, as the manifest says it."""

from collections.abc import Iterable
from fractions import Fraction

from audiochunk.storage.manifest import SplitTotals
from audiochunk.storage.recordings import RecordingRow


class Totals:
    """Sums over rows, by split.

    Args:
        names: splits that exist even where no row is of them.

    Attributes:
        skipped: rows of recordings that were refused.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._splits: dict[str, _Split] = {}
        self.skipped = 0
        self.name(names)

    def name(self, names: Iterable[str]) -> None:
        """Have splits exist, be it with nothing in them."""
        for name in names:
            self._splits.setdefault(name, _Split())

    def add(self, row: RecordingRow) -> None:
        """Count a row in."""
        if row.error is not None:
            self.skipped += 1
            return
        split = self._splits.get(row.split)
        if split is None:
            split = self._splits[row.split] = _Split()
        split.add(row)

    def splits(self) -> dict[str, SplitTotals]:
        """What each split holds."""
        return {name: split.totals() for name, split in self._splits.items()}


class _Split:
    """Sums over the rows of a split. A recording counts once, however many rows its channels have."""

    def __init__(self) -> None:
        self._chunks = self._recordings = 0
        self._frames_by_rate: dict[int, int] = {}

    def add(self, row: RecordingRow) -> None:
        self._chunks += row.chunks
        if not row.channel:
            self._recordings += 1
            self._frames_by_rate[row.sample_rate] = self._frames_by_rate.get(row.sample_rate, 0) + row.frames

    def totals(self) -> SplitTotals:
        return SplitTotals(
            chunks=self._chunks,
            recordings=self._recordings,
            frames=sum(self._frames_by_rate.values()),
            seconds=int(sum(Fraction(frames, rate) for rate, frames in self._frames_by_rate.items())),
        )
