"""A dataset against the recordings that it was made of: the proof that it is what it says."""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, groupby, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from audiochunk.errors import RecordingError, printable
from audiochunk.pipeline.inputs import absolute, input_root
from audiochunk.pipeline.parts import Part, encode_part
from audiochunk.pipeline.plan import stream_of
from audiochunk.pipeline.scan import Found, Globs, Scanned, probe_found, walk_input
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.pcm import Octets
from audiochunk.storage.manifest import RECORDINGS, Manifest
from audiochunk.storage.recordings import RecordingRow
from audiochunk.storage.shard import ShardSpec
from audiochunk.tools.finding import Finding, count_of
from audiochunk.tools.stored import StoredShard, open_file, open_shard, read_manifest
from audiochunk.tools.table import Line, read_lines, shown

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


def verify_against(
    folder: "Folder",
    source: Path | str,
    *,
    share: Fraction = Fraction(1),
    on_bytes: Callable[[int], None] | None = None,
    on_recording: Callable[[bytes], None] | None = None,
) -> list[Finding]:
    """All that is not in a dataset as its recordings have it.

    Which recordings are there is compared always. What they hold is compared of all, or of a sample: those whose path
    has an xxh3-64 below `share` * 2**64, the same ones every time. Their headers are read and their chunks derived
    anew, and compared with the bytes in the shards. Refused recordings must still be refused. `verify` finds what is
    wrong within the dataset, this only what hinders the comparison.

    Args:
        folder: of the dataset.
        source: folder of the recordings, or its URL.
        share: of the recordings to look into, more than 0, at most 1.
        on_bytes: told of the bytes of chunks as they are compared, or passed over.
        on_recording: told of the path of each recording before it is looked into.

    Returns:
        What was found, in the order of the recordings; those of which the dataset knows nothing come last.

    Raises:
        NoDatasetError: there is no dataset here.
        InputError: the folder of recordings cannot be listed.
        MachineError: a file may not be read, too many are open, or a store could not be read.
    """
    manifest = read_manifest(folder)
    if isinstance(manifest, Finding):
        return [manifest]
    globs = Globs(manifest.options.include, manifest.options.exclude)
    root = absolute(input_root(source))
    there = {found.path: found for found in walk_input(root) if found.path.endswith(b"/") or globs.want(found.path)}
    fd, findings = open_file(folder, RECORDINGS)
    if fd is None:
        return findings
    # However small the share, one recording with chunks is compared: the one that is drawn first.
    every = islice(read_lines(os.dup(fd)), manifest.recordings.rows)
    candidates = (line for line in every if isinstance(line, Line) and line.row.chunks)
    first = min((line.path for line in candidates if line.path in there), key=_drawn, default=None)
    os.lseek(fd, 0, os.SEEK_SET)
    known: set[bytes] = set()
    with _Comparison(folder, manifest, root, on_bytes or _ignore) as comparison:
        # What a build that was to add recordings has left behind these rows is not of the dataset.
        lines = (line for line in islice(read_lines(fd), manifest.recordings.rows) if isinstance(line, Line))
        for path, group in groupby(lines, lambda line: line.path):
            rows = [line.row for line in group]
            known.add(path)
            is_there = path in there
            if is_there and (path == first or _drawn(path) < share * 2**64):
                if on_recording is not None:
                    on_recording(path)
                findings += comparison.recording(there[path], rows)
            else:
                comparison.pass_over(rows)
            if not is_there:
                findings.append(Finding(printable(path), "file", "the recording", "nothing"))
    unknown = (path for path in there if path not in known and globs.want(path))
    findings += (Finding(printable(path), "file", "no recording that the dataset lacks", "one") for path in unknown)
    return list(dict.fromkeys(findings))  # what is wrong with a shard hinders many comparisons, and is told once


def _drawn(path: bytes) -> int:
    """Where a recording falls in 0 to 2**64 - 1; those below the share are compared."""
    return xxhash.xxh3_64_intdigest(path)


def _ignore(_: int) -> None:
    pass


class _Comparison:
    """Compares recordings with a dataset's rows and shards; a context manager that closes the shards."""

    def __init__(self, folder: "Folder", manifest: Manifest, root: bytes, on_bytes: Callable[[int], None]) -> None:
        self._manifest, self._encoding, self._root, self._on_bytes = manifest, manifest.encoding, root, on_bytes
        self._splits = {name: _Split(folder, manifest, name) for name in manifest.splits}

    def __enter__(self) -> "_Comparison":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for split in self._splits.values():
            split.close()

    def pass_over(self, rows: list[RecordingRow]) -> None:
        """Count the chunks of a recording that is not looked into."""
        self._on_bytes(sum(row.chunks for row in rows) * self._encoding.chunk_bytes)

    def recording(self, found: Found, rows: list[RecordingRow]) -> Iterator[Finding]:
        """What of one recording is not as its rows, and the shards, have it."""
        row, path = rows[0], printable(found.path)
        scanned = probe_found(self._root, found)
        if scanned.bytes != row.bytes:
            yield Finding(path, "size", count_of(row.bytes), f"{scanned.bytes:,}")
        info = scanned.info
        if info is None:
            if row.error is None:
                yield Finding(path, "content", "a recording that can be used", f"{scanned.error}")
        elif row.error is not None and not row.channels:
            yield Finding(path, "content", f"what was refused: {row.error}", "a recording that can be used")
        else:
            for name in ("sample_rate", "channels", "frames", "subtype", "notes"):
                expected, here = getattr(row, name), getattr(info, name)
                if expected != here:
                    yield Finding(path, name, shown(expected), shown(here))
            if (row.channels, row.frames) == (info.channels, info.frames):
                if row.error is None:
                    for of_stream in rows:
                        yield from self._stream(of_stream, scanned, info)
                elif self._can_be_decoded(row, scanned, info):
                    yield Finding(path, "content", f"what was refused: {row.error}", "samples that can be decoded")
                return
        self.pass_over(rows)

    def _can_be_decoded(self, row: RecordingRow, scanned: Scanned, info: AudioInfo) -> bool:
        try:
            for channel in self._encoding.streams(info.channels):
                for _ in self._derive(row, scanned, info, channel):
                    pass
        except RecordingError:
            return False
        return True

    def _derive(
        self, row: RecordingRow, scanned: Scanned, info: AudioInfo, channel: int | None
    ) -> Iterator[tuple[Octets, int]]:
        """The chunks of a stream as a build would make them."""
        n_chunks = stream_of(info, self._manifest.config).n_chunks
        part = Part(scanned, channel, 0, n_chunks)
        return encode_part(part, self._encoding, root=self._root)

    def _stream(self, row: RecordingRow, scanned: Scanned, info: AudioInfo) -> Iterator[Finding]:
        path, width = printable(scanned.path), self._encoding.bytes_per_code
        n_chunks = stream_of(info, self._manifest.config).n_chunks
        if row.chunks != n_chunks or row.channel not in self._encoding.streams(info.channels):
            yield Finding(path, "chunks", f"{row.chunks:,} of channel {shown(row.channel)}", f"{n_chunks:,}")
            return
        if row.split not in self._splits:
            yield Finding(path, "split", " or ".join(self._splits), shown(row.split))
            return
        at, clipped, n_wrong = row.first_chunk * self._encoding.chunk_bytes, 0, 0
        first: Finding | None = None
        try:
            for derived, beyond in self._derive(row, scanned, info, row.channel):
                clipped += beyond
                anew = derived
                for run in self._splits[row.split].read(at, len(anew)):
                    expected, anew = anew[: run.n], anew[run.n :]
                    if isinstance(run.data, Finding):
                        yield run.data
                        continue
                    wrong = np.flatnonzero(expected != np.frombuffer(run.data, np.uint8))
                    n_wrong += len(wrong)
                    if len(wrong) and first is None:
                        i = int(wrong[0]) // width * width  # runs are of whole codes
                        chunk, within = divmod(run.at + i, self._encoding.chunk_bytes)
                        place = f"chunk {chunk:,}, code {within // width:,} ({path})"
                        codes = (bytes(some[i : i + width]).hex(" ") for some in (expected, run.data))
                        first = Finding(run.shard, place, *codes)
                at += len(derived)
                self._on_bytes(len(derived))
        except RecordingError as error:
            yield Finding(path, "content", "samples that can be decoded", str(error.args[1]))
            return
        if first is not None:
            of = f"{n_chunks * self._encoding.chunk_bytes:,}"
            more = f"; {count_of(n_wrong)} of {of} {'differs' if n_wrong == 1 else 'differ'}"
            yield replace(first, found=first.found + more)
        if clipped != row.clipped:
            yield Finding(path, "clipped", shown(row.clipped), shown(clipped))


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes of a shard's data: the shard's name, where they begin, how many, and they, or why they cannot be had."""

    shard: str
    at: int
    n: int
    data: bytes | Finding


class _Split:
    """The chunks of a split as one long string of bytes. One shard is open, and one piece of it in memory."""

    def __init__(self, folder: "Folder", manifest: Manifest, name: str) -> None:
        self._folder, self._manifest, self._name = folder, manifest, name
        self._entries = [shard for shard in manifest.shards if shard.split == name]
        chunk_bytes = manifest.encoding.chunk_bytes
        self._starts = [0, *accumulate(shard.chunks * chunk_bytes for shard in self._entries)]
        self._number = self._piece_number = -1
        self._shard: StoredShard | None = None
        self._wrong: Finding | None = None
        self._piece: bytes | Finding = b""

    def close(self) -> None:
        """Close the open shard."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        self._number = self._piece_number = -1

    def read(self, at: int, n: int) -> Iterator[_Run]:
        """The `n` bytes from `at` on, in as many runs as there are pieces and shards."""
        while n:
            number = bisect_right(self._starts, at) - 1
            if number >= len(self._entries):
                have = self._starts[-1] // self._manifest.encoding.chunk_bytes
                beyond = Finding(RECORDINGS, f"split {self._name}", count_of(have, "chunk"), "rows that name others")
                yield _Run("", 0, n, beyond)
                return
            run = self._run(number, at - self._starts[number], min(n, self._starts[number + 1] - at))
            yield run
            at, n = at + run.n, n - run.n

    def _run(self, number: int, at: int, n: int) -> _Run:
        """A run of at most `n` bytes within a shard."""
        name = self._entries[number].name
        if number != self._number:
            self._open(number)
        shard = self._shard
        if shard is None:
            return _Run(name, at, n, self._wrong or _hindered(name))
        piece, within = divmod(at, shard.piece_bytes)
        n = min(n, shard.piece_bytes - within)
        if piece >= shard.n_pieces:
            return _Run(name, at, n, _hindered(name))
        if piece != self._piece_number:
            self._piece, self._piece_number = shard.piece(piece), piece
        if isinstance(self._piece, Finding):
            return _Run(name, at, n, self._piece)
        data = self._piece[within : within + n]
        return _Run(name, at, n, data if len(data) == n else _hindered(name))

    def _open(self, number: int) -> None:
        self.close()
        entry, self._number = self._entries[number], number
        spec = ShardSpec(self._name, number, entry.chunks, self._manifest.encoding)
        self._shard, wrong = open_shard(self._folder, entry, spec, self._manifest.compression)
        self._wrong = wrong[0] if wrong else None


def _hindered(name: str) -> Finding:
    return Finding(name, "content", "chunks to compare with the recordings", "the end of the file")
