"""What the page tells, before it is drawn or written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from audiochunk.errors import printable
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts import Facts
from audiochunk.tools.summary import Kind, Summary
from audiochunk.tools.text import rate

_LISTED = 10  # groups of a breakdown; the others are one

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """Recordings that have something in common.

    Attributes:
        name: what that is.
        recordings: how many there are.
        seconds: that they last together.
        chunks: of them.
        share: of all seconds, 0 to 1.
    """

    name: str
    recordings: int
    seconds: Fraction
    chunks: int
    share: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All recordings, by what they have in common; most seconds first."""

    by: str
    groups: tuple[Group, ...]


def breakdowns(summary: Summary) -> tuple[Breakdown, ...]:
    """The recordings by split, sample rate, channels and subtype."""
    ways: tuple[tuple[str, Callable[[Kind], str]], ...] = (
        ("sample rate", lambda kind: rate(kind.sample_rate)),
        ("channels", lambda kind: f"{kind.channels:,}"),
        ("subtype", lambda kind: printable(kind.subtype)),
    )
    splits = {printable(name): (of.recordings, of.seconds, of.chunks) for name, of in summary.splits.items()}
    found = [Breakdown("split", _groups(splits, summary.total.seconds, sort=False))]
    for by, name in ways:
        cells: dict[str, tuple[int, Fraction, int]] = {}
        for kind, of in summary.kinds.items():
            recordings, seconds, chunks = cells.get(name(kind), (0, Fraction(0), 0))
            cells[name(kind)] = recordings + of.recordings, seconds + of.seconds, chunks + of.chunks
        found.append(Breakdown(by, _groups(cells, summary.total.seconds)))
    return tuple(found)


def _groups(cells: dict[str, tuple[int, Fraction, int]], seconds: Fraction, *, sort: bool = True) -> tuple[Group, ...]:
    items = sorted(cells.items(), key=lambda item: -item[1][1]) if sort else list(cells.items())
    rest = items[_LISTED:] if len(items) > _LISTED + 1 else []
    if rest:
        sums = (sum(of[0] for _, of in rest), sum((of[1] for _, of in rest), Fraction(0)), sum(of[2] for _, of in rest))
        items = [*items[:_LISTED], (f"{len(rest):,} others", sums)]
    return tuple(Group(name, *of, share=float(of[1] / seconds) if seconds else 0.0) for name, of in items)


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that is said of recordings, and the paths of those it is said of."""

    text: str
    paths: tuple[bytes, ...]


def reasons(pairs: Iterable[tuple[bytes, str]]) -> list[Reason]:
    """What is said of which recordings, given (path, text) each; most recordings first."""
    by_text: dict[str, list[bytes]] = {}
    for path, text in pairs:
        by_text.setdefault(printable(text), []).append(path)
    found = [Reason(text, tuple(paths)) for text, paths in by_text.items()]
    return sorted(found, key=lambda reason: -len(reason.paths))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of each recording that lasts at all: (recordings,) seconds, and of these, those that are in no chunk."""

    seconds: Floats
    lost_s: Floats

    @classmethod
    def of(cls, rows: Iterable[RecordingRow]) -> "Lengths":
        """The lengths of the recordings that the rows are about."""
        found = np.fromiter(
            (
                (row.frames / row.sample_rate, row.dropped_frames / row.sample_rate)
                for row in rows
                if row.error is None and not row.channel and row.frames
            ),
            np.dtype("f8,f8"),
        )
        return cls(found["f0"].copy(), found["f1"].copy())


@dataclass(frozen=True, slots=True)
class Copy:
    """Two streams whose chunks are all the same."""

    row: RecordingRow
    of: RecordingRow

    @property
    def is_leak(self) -> bool:
        """Whether they are in different splits."""
        return self.row.split != self.of.split


def copies(facts: Facts) -> list[Copy]:
    """The recordings that are copies of others, those in other splits first."""
    firsts = facts.columns["duplicate_of"] if "duplicates" in facts.stats else np.zeros(0, np.int64)
    found = [Copy(facts.rows[i], facts.rows[firsts[i]]) for i in np.flatnonzero(firsts >= 0).tolist()]
    return sorted(found, key=lambda copy: not copy.is_leak)


def leaks(facts: Facts) -> Iterator[tuple[str, str, int]]:
    """Pairs of splits that share chunks: how many of the first are in the second, too."""
    names = list(facts.splits) if "duplicates" in facts.stats else []
    for a, b in np.argwhere(facts.shared[: len(names)]).tolist():
        yield names[a], names[b], int(facts.shared[a, b])


def loudness(facts: Facts) -> tuple[Floats, Floats]:
    """RMS and peak of the streams that are not silent throughout, full scale being 1."""
    if "loudness" not in facts.stats:
        return np.zeros(0), np.zeros(0)
    rms, peak = facts.columns["rms"], facts.columns["peak"]
    sounds = np.nan_to_num(rms) > 0
    return rms[sounds], peak[sounds]
