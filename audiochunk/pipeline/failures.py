"""The recordings that turned out to be unusable while they were decoded, remembered across interrupted builds."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from audiochunk.config import Encoding
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.versions import versions
from audiochunk.storage.files import open_plain, write_whole

FAILURES = "failed.jsonl"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recording that could not be decoded, as it was then.

    Attributes:
        path: of the recording.
        bytes: of its file.
        mtime_ns: when that was last written.
        reason: why.
        passing: whether that may be gone next time.
    """

    path: bytes
    bytes: int
    mtime_ns: int
    reason: str
    passing: bool = False

    def is_of(self, recording: Scanned) -> bool:
        """Whether it is about a recording as it is now."""
        now = recording.path, recording.bytes, recording.mtime_ns
        return now == (self.path, self.bytes, self.mtime_ns)


class _Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the file: what the failures were found with."""

    encoding: Encoding
    versions: dict[str, str]


class Failures:
    """Reasons by path, kept in a build folder: a file of lines, the first of which says what they were found with.

    What an earlier build found is believed only where this one would find it too: with the same encoding (which decides
    which frames are decoded), the same libraries, and files of the same size and time.

    Args:
        folder: the build folder.
        encoding: of the chunks.
    """

    def __init__(self, folder: Path, encoding: Encoding) -> None:
        self._file = folder / FAILURES
        self._made = _Made(encoding, versions())
        self._goes_on = False  # whether what is in the file counts
        self.reasons: dict[bytes, str] = {}

    def recall(self, recordings: Iterable[Scanned]) -> None:
        """Take over what an interrupted build has found; `recordings` are those of the scan."""
        found = {failure.path: failure for failure in self._read()}
        if not found:
            return
        holding = [found[r.path] for r in recordings if r.path in found and found[r.path].is_of(r)]
        # Whole, because a line may be cut where the build was.
        write_whole(self._file, self._lines(holding, first=True), fsync=False)
        self._goes_on = True
        self.reasons.update((failure.path, failure.reason) for failure in holding)

    def add(self, failed: Iterable[Failure]) -> None:
        """Remember more, durably enough for a kill; but those that may pass for this build only."""
        failed = list(failed)
        self.reasons.update((failure.path, failure.reason) for failure in failed)
        lasting = self._lines((failure for failure in failed if not failure.passing), first=not self._goes_on)
        with self._file.open("ab" if self._goes_on else "wb") as file:
            file.write(lasting)
        self._goes_on = True

    def _lines(self, failures: Iterable[Failure], *, first: bool) -> bytes:
        lines: list[msgspec.Struct] = [self._made] if first else []
        return msgspec.json.Encoder().encode_lines([*lines, *failures])

    def _read(self) -> Iterator[Failure]:
        try:
            with open_plain(self._file) as file:
                if msgspec.json.decode(file.readline(), type=_Made) == self._made:
                    for line in file:
                        yield msgspec.json.decode(line, type=Failure)
        except (FileNotFoundError, ValueError):  # DecodeError is a ValueError, as is bad UTF-8
            return
