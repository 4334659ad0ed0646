"""The recordings that turned out to be unusable while they were decoded, remembered across interrupted builds."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from audiochunk.pipeline.scan import Scanned
from audiochunk.storage.files import write_whole

_NAME = "failed.json"


class _Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path_hex: str
    bytes: int
    mtime_ns: int
    reason: str


class Failures:
    """Reasons by path, kept in a build folder.

    Args:
        folder: the build folder; what lies there of recordings that have changed since is forgotten.
        recordings: of the scan.
    """

    def __init__(self, folder: Path, recordings: Sequence[Scanned]) -> None:
        self._file = folder / _NAME
        self._recordings = {recording.path: recording for recording in recordings}
        self.reasons: dict[bytes, str] = {}
        for failure in self._load():
            path = bytes.fromhex(failure.path_hex)
            now = self._recordings.get(path)
            if now is not None and (now.bytes, now.mtime_ns) == (failure.bytes, failure.mtime_ns):
                self.reasons[path] = failure.reason

    def _load(self) -> list[_Failure]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=list[_Failure])
        except (FileNotFoundError, ValueError):  # DecodeError is a ValueError, as is bad UTF-8
            return []

    def add(self, failed: Iterable[tuple[bytes, str]]) -> None:
        """Remember more, durably enough for a kill."""
        self.reasons.update(failed)
        failures = [
            _Failure(path.hex(), now.bytes, now.mtime_ns, reason)
            for path, reason in sorted(self.reasons.items())
            if (now := self._recordings.get(path)) is not None
        ]
        write_whole(self._file, msgspec.json.encode(failures), fsync=False)
