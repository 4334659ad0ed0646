"""What codecs, bounds and models make of the same chunks, before it is drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audiochunk.errors import printable

if TYPE_CHECKING:
    from audiochunk.tools.evaluate import Evaluation, Row

_MODEL = "model:"
_TITLES = {
    "chunked": "each chunk alone",
    "chunked-header-once": "each chunk alone, headers counted once: to put beside a model, which has none",
    "whole": "the chunks of each recording together",
    "bound": "entropies of codes in hindsight: for codecs that see a code alone, or with the one before it",
}
# What codecs are put in order by: the first of these that there is. It is the one that models are put beside.
_ORDER = ("chunked-header-once", "chunked", "whole", "bound")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the chart: how it looks, which is its convention or "model", and its length in % of raw."""

    look: str
    percent: float

    @property
    def figure(self) -> str:
        """Its length in digits: about three."""
        return f"{self.percent:,.1f}" if self.percent >= 10 else f"{self.percent:.2f}"


@dataclass(frozen=True, slots=True)
class Group:
    """The bars of one codec, bound or model."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Sizes that were counted in the same way.

    Attributes:
        convention: which way.
        title: what it means.
        rows: as `audiochunk evaluate --json` has them, smallest first.
    """

    convention: str
    title: str
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows of an evaluation, and the chunks that they are about.

    Attributes:
        rows: one at least.
        splits: names of those that the chunks are in.
        n_chunks: how many they are.
        first: of how many of the split, from its first, that models have scores of; None without models.
        max_chunks: that were asked for; None means all.
        seed: of their choice.
        warnings: what of it looks like a mistake, in sentences.
    """

    rows: "tuple[Row, ...]"
    splits: tuple[str, ...]
    n_chunks: int
    first: int | None = None
    max_chunks: int | None = None
    seed: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, evaluation: "Evaluation", rows: "list[Row]", *, max_chunks: int | None = None, seed: int = 0
    ) -> "Comparison":
        """What an evaluation found, and the options that it was made with."""
        return cls(
            rows=tuple(rows),
            splits=tuple(evaluation.splits),
            n_chunks=evaluation.n_chunks,
            first=evaluation.first,
            max_chunks=max_chunks,
            seed=seed,
            warnings=tuple(evaluation.warnings()),
        )

    @property
    def raw_bytes(self) -> int:
        """Of the chunks."""
        return self.rows[0].raw_bytes

    @property
    def samples(self) -> int:
        """That the chunks hold."""
        return self.rows[0].samples

    def parts(self) -> Iterator[Part]:
        """The sizes there are, by convention."""
        for convention, title in _TITLES.items():
            sizes = [(row.compressed_bytes, row) for row in self.rows if row.convention == convention]
            known = sorted(((size, row) for size, row in sizes if size is not None), key=lambda pair: pair[0])
            if known:
                rows = tuple(row.plain() | {"codec": printable(row.codec)} for _, row in known)
                yield Part(convention, title, rows)

    def groups(self) -> list[Group]:
        """The bars of the chart: smallest codec, bound or model first, by the sizes that models are put beside."""
        by_name: dict[str, dict[str, float]] = {}
        for row in self.rows:
            if row.compressed_bytes is not None:
                by_name.setdefault(row.codec, {})[row.convention] = 100 * row.compressed_bytes / row.raw_bytes
        found = sorted(by_name.items(), key=lambda item: _place(item[1]))
        return [Group(printable(name), _bars(name, sizes)) for name, sizes in found]

    def looks(self) -> list[str]:
        """Of the bars of the chart, in the order of its legend."""
        found = {bar.look for group in self.groups() for bar in group.bars}
        return [look for look in ("chunked", "chunked-header-once", "whole", "model", "bound") if look in found]

    def most_percent(self) -> float:
        """What the chart goes up to, in % of raw: 100 or more."""
        return max([100.0, *(bar.percent for group in self.groups() for bar in group.bars)])

    def versions(self) -> dict[str, list[str]]:
        """Codecs by what makes their bytes, and its version."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.version is not None and row.compressed_bytes is not None:
                names = found.setdefault(printable(row.version), [])
                if row.codec not in names:
                    names.append(row.codec)
        return found

    def missing(self) -> dict[str, str]:
        """Why there is no size of something, by its name."""
        return {printable(row.codec): printable(row.missing) for row in self.rows if row.missing is not None}


def _place(sizes: dict[str, float]) -> float:
    return next(sizes[name] for name in _ORDER if name in sizes)


def _bars(name: str, sizes: dict[str, float]) -> tuple[Bar, ...]:
    # A model has no header: its conventions are one bar.
    if name.startswith(_MODEL):
        return (Bar("model", _place(sizes)),)
    return tuple(Bar(convention, sizes[convention]) for convention in _TITLES if convention in sizes)
