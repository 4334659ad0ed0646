"""recordings.jsonl, line by line: what each must say, and what all of them come to."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING

import msgspec
import xxhash

from audiochunk.errors import ConfigError, printable, reason
from audiochunk.pipeline.scan import Globs
from audiochunk.pipeline.splits import FILE_PREFIX, Splitter, make_splitter
from audiochunk.signal.audio import EXTENSIONS
from audiochunk.signal.chunking import Stream
from audiochunk.storage.manifest import MANIFEST, RECORDINGS, Manifest, SplitTotals
from audiochunk.storage.recordings import RecordingRow, path_fields
from audiochunk.storage.remote import is_being_built
from audiochunk.tools.finding import Finding
from audiochunk.tools.held import Held
from audiochunk.tools.paths import Paths
from audiochunk.tools.stored import open_file

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

MAX_LINE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the recordings table: its number, from 1, and its bytes; what it says; the path that it is of."""

    number: int
    data: bytes
    row: RecordingRow
    path: bytes

    @property
    def place(self) -> str:
        """Where this is, in words."""
        return f"line {self.number:,} ({printable(self.path)})"


def read_lines(fd: int, digest: "xxhash.xxh3_128 | None" = None) -> Iterator[Line | Finding]:
    """The rows of a recordings table, one in memory at a time; a finding for each line that is none.

    Args:
        fd: the open table; closed at the end.
        digest: updated with the bytes of all lines.
    """
    decoder = msgspec.json.Decoder(RecordingRow)
    number = 0
    with os.fdopen(fd, "rb") as file:
        try:
            # No row is longer. A line that is comes in parts, which are no rows.
            while data := file.readline(MAX_LINE_BYTES):
                number += 1
                if digest is not None:
                    digest.update(data)
                try:
                    row = decoder.decode(data)
                    yield Line(number, data, row, row.path_bytes)
                except (msgspec.DecodeError, ValueError, RecursionError) as error:
                    yield Finding(RECORDINGS, f"line {number:,}", "a row of the table", str(error))
        except OSError as error:
            yield Finding(RECORDINGS, f"line {number + 1:,}", "a file that can be read", reason(error))


def check_table(folder: "Folder", manifest: Manifest) -> tuple[dict[str, Held] | None, list[Finding]]:
    """What the rows of each split come to, and all that is wrong with them.

    Returns:
        By the name of each split that the manifest or a row names; None where there are lines that cannot be read.
    """
    fd, wrong = open_file(folder, RECORDINGS)
    if fd is None:
        return None, wrong
    check = _Table(manifest)
    digest = xxhash.xxh3_128()
    rows, all_read = 0, True
    # What a build that adds recordings has appended is not of the dataset until its manifest is.
    n_lines = manifest.recordings.rows if is_being_built(folder) else None
    lines = islice(read_lines(fd, digest), n_lines)
    for path, group in groupby(lines, lambda line: None if isinstance(line, Finding) else line.path):
        for line in (same := list(group)):
            rows += 1
            if isinstance(line, Finding):
                found = f"{line.found}; neither totals, padding nor the chunks of shards were compared with the table"
                wrong.append(replace(line, found=found))
                all_read = False
        if path is not None:
            check.recording([line for line in same if isinstance(line, Line)])
    wrong += check.findings
    if rows != manifest.recordings.rows:
        wrong.append(Finding(RECORDINGS, "rows", f"{manifest.recordings.rows:,}", f"{rows:,}"))
    elif digest.hexdigest() != manifest.recordings.digest:
        wrong.append(Finding(RECORDINGS, "digest", manifest.recordings.digest, digest.hexdigest()))
    if not all_read:
        return None, wrong
    return check.held, [*wrong, *check.totals()]


class _Table:
    """What is known of the table's rows so far; `findings` is all that was wrong."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest, self._encoding, self._options = manifest, manifest.encoding, manifest.options
        self._globs = Globs(manifest.options.include, manifest.options.exclude)
        self._skipped = 0
        self._paths = Paths(manifest.generations)
        self._splitter: Splitter | None = None
        self._ruled: set[str] = set()  # splits that the rule has put something into
        self.held = {name: Held() for name in manifest.splits}
        self.findings: list[Finding] = []
        if re.fullmatch(FILE_PREFIX + "[0-9a-f]{32}", self._options.split or ""):
            return  # the rule is a table of its own, which is not in the dataset
        try:
            self._splitter = make_splitter(self._options)
        except ConfigError as error:
            self.findings.append(Finding(MANIFEST, "options.split", "a rule of splits", str(error)))

    def recording(self, lines: list[Line]) -> None:
        """Check the rows of the next recording."""
        first = lines[0]
        for line in lines:
            if line.row.encode() != line.data or path_fields(line.path) != _path_fields(line.row):
                begins = f"{line.data[:80]!r}{' …' if line.data[80:] else ''}"
                self._wrong(line, "", "the canonical form of a row", begins)
        if (before := self._paths.add(first.path)) is not None:
            self._wrong(first, "path", f"one that comes after {printable(before)}", "one that does not")
        self._check_path(first)
        self._check_split(first)
        row = first.row
        by_channel = self._encoding.layout == "split" and row.error is None
        n_rows = row.channels if by_channel else 1
        if len(lines) != n_rows:
            self._wrong(first, "rows of the recording", f"{n_rows:,}", f"{len(lines):,}")
        for number, line in enumerate(lines[:n_rows]):
            channel = number if by_channel else None
            if line.row.channel != channel:
                self._wrong(line, "channel", shown(channel), shown(line.row.channel))
            for name in ("split", "sample_rate", "channels", "frames", "subtype", "bytes", "notes", "error"):
                mine, wanted = getattr(line.row, name), getattr(row, name)
                if mine != wanted:
                    self._wrong(line, name, f"{shown(wanted)} as in line {first.number:,}", shown(mine))
        self._count(lines[:n_rows])

    def totals(self) -> Iterator[Finding]:
        """What of the manifest's sums is not that of the rows."""
        for name, said in self._manifest.splits.items():
            counted = self.held[name].totals
            for what in SplitTotals.__struct_fields__:
                expected, found = getattr(counted, what), getattr(said, what)
                if expected != found:
                    yield Finding(MANIFEST, f"splits.{name}.{what}", f"{expected:,}", f"{found:,}")
        if repeated := self._paths.repeated():
            yield Finding(RECORDINGS, "paths", "every recording once", f"{repeated:,} of them again")
        if self._skipped != self._manifest.skipped:
            yield Finding(MANIFEST, "skipped", f"{self._skipped:,}", f"{self._manifest.skipped:,}")
        if self._splitter is not None:
            names = sorted({*self._splitter.shares, *self._ruled})
            if names != sorted(self._manifest.splits):
                yield Finding(MANIFEST, "splits", ", ".join(names), ", ".join(self._manifest.splits))

    def _wrong(self, line: Line, place: str, expected: str, found: str) -> None:
        self.findings.append(Finding(RECORDINGS, f"{line.place}{place and ', '}{place}", expected, found))

    def _check_path(self, line: Line) -> None:
        parts = line.path.split(b"/")
        is_folder = not parts[-1] and line.row.error is not None  # one that could not be listed
        if is_folder:
            parts.pop()
        if b"\0" in line.path or not {b"", b".", b".."}.isdisjoint(parts):
            self._wrong(line, "path", "one that is relative, without empty parts, . and ..", printable(line.path))
        elif not is_folder:
            if os.path.splitext(line.path)[1].lower() not in EXTENSIONS:
                self._wrong(line, "path", "the extension of a recording", printable(parts[-1]))
            if not self._globs.want(line.path):
                self._wrong(line, "path", "one that include and exclude let through", printable(line.path))
        if line.row.error is not None and self._options.on_error == "fail":
            self._wrong(line, "error", "none with on_error fail", line.row.error)

    def _check_split(self, line: Line) -> None:
        found = line.row.split
        rule = None if self._splitter is None else self._splitter.assign(line.path)
        if rule is not None:
            self._ruled.add(rule)
        if found not in self._manifest.splits:
            self._wrong(line, "split", " or ".join(sorted(self._manifest.splits)), shown(found))
        elif self._splitter is not None and rule != found:
            self._wrong(line, "split", f"{shown(rule)}, as the rule has it", found)

    def _count(self, lines: list[Line]) -> None:
        """Add up the rows of one recording, and compare them with what its frames and channels make of them."""
        for line in lines:
            row = line.row
            held = self.held.setdefault(row.split, Held())
            stream = Stream.of(row.frames, row.channels, self._encoding) if row.channels else _NO_STREAM
            most_clipped = 0
            expected: dict[str, object]
            if row.error is None:
                if not (row.channels and row.sample_rate):
                    found = f"{row.channels:,} at {row.sample_rate:,} Hz"
                    self._wrong(line, "channels", "some, at some sample rate", found)
                mixed = row.channels if self._encoding.layout == "mono" else 1
                most_clipped = mixed * stream.real_codes(0, stream.n_chunks)
                dropped = row.frames - stream.whole_frames
                first = held.add(row, stream)
                expected = {"first_chunk": first, "chunks": stream.n_chunks, "dropped_frames": dropped}
                if not row.channel:
                    held.recordings += 1
                    frames = held.frames_by_rate.get(row.sample_rate, 0) + row.frames
                    held.frames_by_rate[row.sample_rate] = frames
            else:
                self._skipped += 1
                streams = row.channels if self._encoding.layout == "split" else 1
                first = held.lose(row, streams * stream.n_chunks)
                expected = {"first_chunk": first, "chunks": 0, "dropped_frames": 0}
                if not row.channels:  # its header could not be read
                    expected |= {"sample_rate": 0, "frames": 0, "subtype": "", "notes": ()}
            for name, value in expected.items():
                if getattr(row, name) != value:
                    self._wrong(line, name, shown(value), shown(getattr(row, name)))
            if row.clipped > most_clipped:
                self._wrong(line, "clipped", f"at most {most_clipped:,}", f"{row.clipped:,}")


_NO_STREAM = Stream(frames=0, channels=1, block=1, codes_per_chunk=1, pads=False)


def _path_fields(row: RecordingRow) -> dict[str, str]:
    """The fields that name the recording, as `path_fields` would have them."""
    return {"path": row.path} | ({} if row.path_hex is None else {"path_hex": row.path_hex})


def shown(value: object) -> str:
    """A field of a row as a finding shows it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return "; ".join(map(printable, value))
    return f"{value:,}" if isinstance(value, int) else printable(str(value)) or "nothing"
