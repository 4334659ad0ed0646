"""The recordings that turned out to be unusable while they were decoded, remembered across interrupted builds."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from audiochunk.config import Encoding
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.versions import versions
from audiochunk.storage.files import write_whole

FAILURES = "failed.json"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recording that could not be decoded, as it was then: its path in hex, its size, when it was last written."""

    path_hex: str
    bytes: int
    mtime_ns: int
    reason: str

    @classmethod
    def of(cls, recording: Scanned, reason: str) -> "Failure":
        """The failure of a recording."""
        return cls(recording.path.hex(), recording.bytes, recording.mtime_ns, reason)

    def is_of(self, recording: Scanned) -> bool:
        """Whether it is about a recording as it is now."""
        return (recording.path.hex(), recording.bytes, recording.mtime_ns) == (self.path_hex, self.bytes, self.mtime_ns)


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    encoding: Encoding
    versions: dict[str, str]
    failures: list[Failure]


class Failures:
    """Reasons by path, kept in a build folder.

    What an earlier build found is believed only where this one would find it too: with the same encoding (which decides
    which frames are decoded), the same libraries, and files of the same size and time.

    Args:
        folder: the build folder.
        recordings: of the scan.
        encoding: of the chunks.
    """

    def __init__(self, folder: Path, recordings: Sequence[Scanned], encoding: Encoding) -> None:
        self._file = folder / FAILURES
        self._encoding = encoding
        self._recordings = {recording.path: recording for recording in recordings}
        self._passing: set[bytes] = set()
        self.reasons: dict[bytes, str] = {}

    def recall(self) -> None:
        """Take over what an interrupted build has found."""
        try:
            saved = msgspec.json.decode(self._file.read_bytes(), type=_Saved)
            by_path = {bytes.fromhex(failure.path_hex): failure for failure in saved.failures}
        except (FileNotFoundError, ValueError):  # DecodeError is a ValueError, as is bad UTF-8
            return
        if saved.encoding != self._encoding or saved.versions != versions():
            return
        for path, failure in by_path.items():
            now = self._recordings.get(path)
            if now is not None and failure.is_of(now):
                self.reasons[path] = failure.reason

    def add(self, failed: Iterable[tuple[bytes, str]], *, passing: Iterable[bytes] = ()) -> None:
        """Remember more, durably enough for a kill; but those that are `passing` for this build only."""
        self.reasons.update(failed)
        self._passing.update(passing)
        failures = [
            Failure.of(self._recordings[path], reason)
            for path, reason in sorted(self.reasons.items())
            if path not in self._passing
        ]
        saved = _Saved(self._encoding, versions(), failures)
        write_whole(self._file, msgspec.json.encode(saved), fsync=False)
