"""What a dataset, or the plan of one, comes to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from audiochunk.config import Encoding
from audiochunk.errors import printable
from audiochunk.storage.recordings import RecordingRow

MOST_LISTED = 100_000  # refused recordings, and notes, that are kept one by one


@dataclass(frozen=True, slots=True)
class Kind:
    """Recordings that are alike: sample_rate in Hz, channels, and subtype as libsndfile spells it."""

    sample_rate: int
    channels: int
    subtype: str


@dataclass(slots=True)
class Totals:
    """Sums over recordings; a recording counts once, however many rows its channels have.

    Attributes:
        recordings: that are used.
        empty: of these, those too short for a chunk.
        seconds: exact.
        frames: of the recordings.
        dropped_frames: of these, those that are not in chunks with every channel.
        chunks: of all their streams.
        samples: of the recordings that went into chunks, padding and, under layout "mono", every channel included.
        clipped: of these, those that lay beyond full scale.
    """

    recordings: int = 0
    empty: int = 0
    seconds: Fraction = Fraction(0)
    frames: int = 0
    dropped_frames: int = 0
    chunks: int = 0
    samples: int = 0
    clipped: int = 0

    def add(self, other: "Totals") -> None:
        """Count others in."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def tail_loss(self) -> float:
        """Share of frames that are dropped, 0 to 1."""
        return self.dropped_frames / self.frames if self.frames else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What the recordings of a dataset come to.

    Attributes:
        total: over all that are used.
        splits: by split, those with nothing included.
        kinds: by rate, channels and subtype, most chunks first.
        refused: (path as bytes, reason) of the first `MOST_LISTED`, in the table's order, of
        n_refused: recordings.
        notes: (path as bytes, note) of the first `MOST_LISTED`, in the table's order.
        noted: how many notes there are, by what they say before the colon.
    """

    total: Totals
    splits: dict[str, Totals]
    kinds: dict[Kind, Totals]
    refused: tuple[tuple[bytes, str], ...]
    n_refused: int
    notes: tuple[tuple[bytes, str], ...]
    noted: dict[str, int]


def plain(summary: Summary, encoding: Encoding) -> dict[str, Any]:
    """A summary as values that JSON can hold and a terminal can show; seconds are floats."""

    def totals(of: Totals) -> dict[str, Any]:
        return {"recordings": of.recordings, "seconds_of_audio": float(of.seconds), "chunks": of.chunks}

    return {
        "encoding": describe_encoding(encoding, summary.kinds),
        "chunk_bytes": encoding.chunk_bytes,
        "bytes": summary.total.chunks * encoding.chunk_bytes,
        **totals(summary.total),
        "too_short": summary.total.empty,
        "tail_loss": summary.total.tail_loss,
        "splits": {name: totals(split) for name, split in summary.splits.items()},
        "kinds": [
            {
                "sample_rate": kind.sample_rate,
                "channels": kind.channels,
                "subtype": printable(kind.subtype),
                "aligned": encoding.is_aligned(kind.channels),
                **totals(of),
            }
            for kind, of in summary.kinds.items()
        ],
        "notes_by_kind": {printable(kind): n for kind, n in summary.noted.items()},
        "notes": [{"path": printable(path), "note": printable(note)} for path, note in summary.notes],
        "recordings_skipped": summary.n_refused,
        "skipped": [{"path": printable(path), "reason": printable(reason)} for path, reason in summary.refused],
    }


class Tally:
    """Sums up the rows of a recordings table as they come, in path order.

    Args:
        encoding: of the chunks.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        # Rows are counted once, by split and kind together; all sums are made of these.
        self._cells: dict[tuple[str, int, int, str], Totals] = {}
        self._refused: list[tuple[bytes, str]] = []
        self._notes: list[tuple[bytes, str]] = []
        self._n_refused, self._noted = 0, dict[str, int]()

    def add(self, row: RecordingRow) -> None:
        """Count a row in."""
        if row.error is not None:
            self._n_refused += 1
            if len(self._refused) < MOST_LISTED:
                self._refused.append((row.path_bytes, row.error))
            return
        key = row.split, row.sample_rate, row.channels, row.subtype
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Totals()
        cell.chunks += row.chunks
        cell.clipped += row.clipped
        if not row.channel:
            cell.recordings += 1
            cell.empty += row.chunks == 0
            cell.frames += row.frames
            cell.dropped_frames += row.dropped_frames
            if row.notes:
                self._note(row)

    def _note(self, row: RecordingRow) -> None:
        for note in row.notes:
            kind = note.partition(":")[0]
            self._noted[kind] = self._noted.get(kind, 0) + 1
        if len(self._notes) < MOST_LISTED:
            self._notes += [(row.path_bytes, note) for note in row.notes]

    def summary(self, splits: Iterable[str] = ()) -> Summary:
        """What the rows so far come to; `splits` are names that exist even where no row is of them."""
        total, by_split, by_kind = Totals(), {name: Totals() for name in splits}, dict[Kind, Totals]()
        for (split, rate, channels, subtype), cell in self._cells.items():
            mixed = channels if self._encoding.layout == "mono" else 1
            samples = cell.chunks * self._encoding.codes_per_chunk * mixed
            whole = replace(cell, seconds=Fraction(cell.frames, rate), samples=samples)
            kind = Kind(rate, channels, subtype)
            for totals in (total, by_split.setdefault(split, Totals()), by_kind.setdefault(kind, Totals())):
                totals.add(whole)
        kinds = dict(sorted(by_kind.items(), key=lambda item: (-item[1].chunks, -item[1].recordings, str(item[0]))))
        noted = dict(sorted(self._noted.items(), key=lambda item: (-item[1], item[0])))
        return Summary(
            total,
            dict(sorted(by_split.items())),
            kinds,
            tuple(self._refused),
            self._n_refused,
            tuple(self._notes),
            noted,
        )


def summarize(rows: Iterable[RecordingRow], *, encoding: Encoding, splits: Iterable[str] = ()) -> Summary:
    """Sum up the rows of a recordings table, given in path order; `splits` are listed even where no row is of them."""
    tally = Tally(encoding)
    for row in rows:
        tally.add(row)
    return tally.summary(splits)


def describe_encoding(encoding: Encoding, kinds: Iterable[Kind] = ()) -> str:
    """An encoding in words, with how long a chunk lasts for the first kind of recordings.

    >>> describe_encoding(Encoding(block=1024), [Kind(44100, 2, "PCM_16")])
    '8-bit linear, blocks of 1024 samples a channel; a chunk is 23.2 ms of stereo at 44.1 kHz'
    """
    words = [f"{encoding.bits}-bit {encoding.quantizer}"]
    if encoding.bytes_per_code > 1:
        words.append(f"{encoding.byte_order}-endian")
    words.append(_describe_layout(encoding))
    if encoding.tail == "pad":
        words.append("tails padded with silence")
    lasting = [f"{_lasting(encoding, kind)} of {_describe_kind(encoding, kind)}" for kind in kinds][:1]
    return ", ".join(words) + "".join(f"; a chunk is {text}" for text in lasting)


def _describe_layout(encoding: Encoding) -> str:
    if encoding.layout == "mono":
        return "channels mixed to mono"
    if encoding.layout == "split":
        return "every channel a stream of its own"
    if encoding.block == "auto":
        return "blocks as long as a chunk allows"
    return f"blocks of {encoding.block} samples a channel"


def _describe_kind(encoding: Encoding, kind: Kind) -> str:
    names = {1: "mono", 2: "stereo"}
    channels = names.get(kind.channels, f"{kind.channels} channels") if encoding.layout == "blocks" else "one channel"
    return f"{channels} at {kind.sample_rate / 1000:g} kHz"


def _lasting(encoding: Encoding, kind: Kind) -> str:
    channels = kind.channels if encoding.layout == "blocks" else 1
    seconds = encoding.codes_per_chunk / channels / kind.sample_rate
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
