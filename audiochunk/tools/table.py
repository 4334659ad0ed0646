"""recordings.jsonl, line by line: what each must say, and what all of them come to."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import msgspec
import xxhash

from audiochunk.errors import ConfigError, printable, reason
from audiochunk.pipeline.scan import Globs
from audiochunk.pipeline.splits import FILE_PREFIX, Splitter, make_splitter
from audiochunk.signal.audio import EXTENSIONS
from audiochunk.signal.chunking import Stream
from audiochunk.storage.manifest import MANIFEST, RECORDINGS, Manifest, RecordingRow, SplitTotals, path_fields
from audiochunk.tools.stored import Finding, count_of, open_file

MAX_LINE_BYTES = 2**20


@dataclass(slots=True)
class Held:
    """What the rows of one split come to, all of it counted anew from their frames and channels.

    Attributes:
        chunks: of the recordings that were used.
        recordings: that were used.
        frames_by_rate: of these, by sample rate.
        planned: chunks, those included that were lost with recordings which failed while decoding.
        padded: of each stream that ends in padding, the number of its last chunk in the split, and the codes in that
            chunk that are real.
    """

    chunks: int = 0
    recordings: int = 0
    frames_by_rate: dict[int, int] = field(default_factory=dict)
    planned: int = 0
    padded: list[tuple[int, int]] = field(default_factory=list)
    _lost_from: list[int] = field(default_factory=list)
    _lost_before: list[int] = field(default_factory=lambda: [0])
    _follows: int = 0  # the first chunk that the row before leads to, right or wrong

    @property
    def totals(self) -> SplitTotals:
        """As the manifest must have them."""
        seconds = sum(Fraction(frames, rate) for rate, frames in self.frames_by_rate.items() if rate)
        frames = sum(self.frames_by_rate.values())
        return SplitTotals(chunks=self.chunks, recordings=self.recordings, frames=frames, seconds=int(seconds))

    def chunks_between(self, start: int, stop: int) -> int:
        """Chunks there are of those that the plan numbers `start` to `stop`."""
        start, stop = min(start, self.planned), min(stop, self.planned)
        return stop - start - (self._lost(stop) - self._lost(start))

    def add(self, row: RecordingRow, stream: Stream) -> Iterator[tuple[str, int, int]]:
        """Count one stream of a recording that was used; gives what of its place is (name, expected, found)."""
        # A row that is wrong is named once: those that go on from it are right again.
        if row.first_chunk not in (self.chunks, self._follows):
            yield "first_chunk", self.chunks, row.first_chunk
        self._follows = row.first_chunk + row.chunks
        self.chunks += stream.n_chunks
        self.planned += stream.n_chunks
        real = stream.real_codes(stream.n_chunks - 1, 1) if stream.n_chunks else 0
        if stream.n_chunks and real < stream.codes_per_chunk:
            self.padded.append((self.chunks - 1, real))

    def lose(self, row: RecordingRow, chunks: int) -> Iterator[tuple[str, int, int]]:
        """Count a refused recording that the plan gave `chunks` chunks."""
        yield from self.add(row, Stream(0, 1, 1, 1, False))
        if chunks:
            self._lost_from.append(self.planned)
            self._lost_before.append(self._lost_before[-1] + chunks)
            self.planned += chunks

    def _lost(self, before: int) -> int:
        """Chunks that were lost of those that the plan numbers less than `before`."""
        n = bisect_right(self._lost_from, before)
        if not n:
            return 0
        run = self._lost_before[n] - self._lost_before[n - 1]
        return self._lost_before[n - 1] + min(run, before - self._lost_from[n - 1])


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the recordings table.

    Attributes:
        number: from 1.
        row: what it says, or None where it cannot be read.
        path: of the recording, as the file system has it.
        wrong: (expected, found) of the line as a whole, or None.
    """

    number: int
    row: RecordingRow | None
    path: bytes = b""
    wrong: tuple[str, str] | None = None

    @property
    def place(self) -> str:
        """Where this is, in words."""
        return f"line {self.number:,}" + (f" ({printable(self.path)})" if self.row else "")


def read_lines(folder: Path, digest: "xxhash.xxh3_128 | None" = None) -> Iterator[Line | Finding]:
    """The lines of a dataset's recordings table, one in memory at a time; findings where the file cannot be read."""
    decoder = msgspec.json.Decoder(RecordingRow)
    fd, wrong = open_file(folder, RECORDINGS)
    yield from wrong
    if fd is None:
        return
    number = 0
    with os.fdopen(fd, "rb") as file:
        try:
            # Nothing that was written is longer; a line that is comes in parts, none of which can be read.
            while data := file.readline(MAX_LINE_BYTES):
                number += 1
                if digest is not None:
                    digest.update(data)
                yield _line(number, data, decoder)
        except OSError as error:
            yield Finding(RECORDINGS, f"line {number + 1:,}", "a file that can be read", reason(error))


def _line(number: int, data: bytes, decoder: "msgspec.json.Decoder[RecordingRow]") -> Line:
    try:
        row = decoder.decode(data)
        path = row.path_bytes
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return Line(number, None, b"", ("a row of the table", str(error)))
    if row.encode() != data:
        return Line(number, row, path, ("the canonical form of a row", f"{data[:80]!r}{' …' if data[80:] else ''}"))
    return Line(number, row, path)


def check_table(folder: Path, manifest: Manifest) -> tuple[dict[str, Held] | None, list[Finding]]:
    """What the rows of each split come to, and all that is wrong with them.

    Returns:
        By the name of the split, of all that the manifest or a row names; None where some row cannot be read, or
        there are no rows.
    """
    check = _Table(manifest)
    findings = list(check.run(folder))
    if check.unread:
        return None, findings
    return check.held, [*findings, *check.totals()]


class _Table:
    def __init__(self, manifest: Manifest) -> None:
        self._manifest, self._encoding, self._options = manifest, manifest.encoding, manifest.options
        self._globs = Globs(manifest.options.include, manifest.options.exclude)
        self._splitter: Splitter | None = None
        self.held = {name: Held() for name in manifest.splits}
        self.unread = False
        self._refused = 0

    def run(self, folder: Path) -> Iterator[Finding]:
        """All findings but those of the totals."""
        if not (self._options.split or "").startswith(FILE_PREFIX):
            try:
                self._splitter = make_splitter(self._options)
            except ConfigError as error:
                yield Finding(MANIFEST, "options.split", "a rule of splits", str(error))
        entry, digest = self._manifest.recordings, xxhash.xxh3_128()
        findings: list[Finding] = []
        lines = self._lines(folder, digest, findings)
        before, n_rows = b"", 0
        for path, group in groupby(lines, lambda line: line.path):
            same = list(group)
            n_rows = same[-1].number
            for line, row, what, expected, found in self._recording(before, path, same):
                findings.append(Finding(RECORDINGS, f"{line}{what and ', '}{what}", expected, found))
            before = max(before, path)
            yield from findings
            findings.clear()
        yield from findings
        self.unread |= bool(findings)
        if self.unread and not n_rows:
            return
        if n_rows != entry.rows:
            yield Finding(RECORDINGS, "rows", f"{entry.rows:,}", f"{n_rows:,}")
        elif digest.hexdigest() != entry.digest:
            yield Finding(RECORDINGS, "digest", entry.digest, digest.hexdigest())
