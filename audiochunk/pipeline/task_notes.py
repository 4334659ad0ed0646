"""What failed in the tasks of a job array, kept beside the shards for the seal."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from audiochunk.config import Encoding
from audiochunk.errors import RecordingsError
from audiochunk.pipeline.failures import Failure
from audiochunk.pipeline.plan import Plan, ShardPlan
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.versions import versions
from audiochunk.storage.files import write_whole
from audiochunk.storage.shard import shard_name

_SUFFIX = ".failed.json"


class TaskNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What failed while a shard was made: by which encoding and versions, and whether more did for a passing reason."""

    encoding: Encoding
    versions: dict[str, str]
    failures: list[Failure]
    passing: bool


def write_note(result: ShardResult, shard: ShardPlan, planned: Plan, work: Path) -> None:
    """Keep beside a shard what failed while it was made.

    Raises:
        RecordingsError: something did, with on_error="fail".
        OSError: it could not be written.
    """
    path = note_path(work, shard_name(shard.split, shard.index, planned.config.compression))
    if not result.failed:
        path.unlink(missing_ok=True)
        return
    if planned.config.options.on_error == "fail":
        raise RecordingsError(list(result.failed))
    recordings = {planned.recordings[part.recording].path: planned.recordings[part.recording] for part in shard.parts}
    found = [Failure.of(recordings[path], reason) for path, reason in result.failed if path not in result.passing]
    note = TaskNote(planned.config.encoding, versions(), found, bool(result.passing))
    write_whole(path, msgspec.json.encode(note), fsync=False)


def note_path(work: Path, name: str) -> Path:
    """Where the note of a shard lies."""
    return work / f"{name}{_SUFFIX}"


def failed_in_tasks(planned: Plan, work: Path) -> Iterator[tuple[bytes, str]]:
    """(path, reason) of what failed for a reason that holds, as far as recordings are as they were then."""
    for shard in planned.shards:
        recordings = {r.path.hex(): r for r in (planned.recordings[part.recording] for part in shard.parts)}
        note = note_of(shard, planned, work)
        for failure in note.failures if note is not None else ():
            recording = recordings.get(failure.path_hex)
            if recording is not None and failure.is_of(recording):
                yield recording.path, failure.reason


def note_of(shard: ShardPlan, planned: Plan, work: Path) -> TaskNote | None:
    """What failed while a shard was made, if it would fail again."""
    path = note_path(work, shard_name(shard.split, shard.index, planned.config.compression))
    try:
        note = msgspec.json.decode(path.read_bytes(), type=TaskNote)
    except (OSError, ValueError):
        return None
    return note if (note.encoding, note.versions) == (planned.config.encoding, versions()) else None


def remove_notes(work: Path) -> None:
    """Remove those of all tasks."""
    for path in work.glob(f"*{_SUFFIX}"):
        path.unlink(missing_ok=True)
