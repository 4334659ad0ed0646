"""What failed in the tasks of a job array, kept beside the shards for the seal."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from audiochunk.config import BuildConfig, Encoding
from audiochunk.errors import RecordingsError
from audiochunk.pipeline.failures import Failure
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.versions import versions
from audiochunk.storage.files import read_plain, write_whole
from audiochunk.storage.shard import shard_name

PLAN_AGAIN = "run `audiochunk plan` again: with them as they are now, or without, by --on-error skip or --exclude"
_SUFFIX = ".failed.json"


class TaskNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What failed while a shard was made, and by which encoding and versions."""

    encoding: Encoding
    versions: dict[str, str]
    failures: tuple[Failure, ...]


def write_note(result: ShardResult, config: BuildConfig, work: Path) -> None:
    """Keep beside a shard what failed while it was made; also where that ends the task, so that the seal can tell why.

    Raises:
        RecordingsError: something did, with on_error="fail".
        OSError: it could not be written.
    """
    path = note_path(work, shard_name(result.split, result.index, config.compression))
    if not result.failed:
        path.unlink(missing_ok=True)
        return
    note = TaskNote(config.encoding, versions(), result.failed)
    write_whole(path, msgspec.json.encode(note), fsync=False)
    if config.options.on_error == "fail":
        reasons = [(failure.path, failure.reason) for failure in result.failed]
        raise RecordingsError(reasons, len(reasons), PLAN_AGAIN)


def note_path(work: Path, name: str) -> Path:
    """Where the note of a shard lies."""
    return work / f"{name}{_SUFFIX}"


def failed_in_tasks(planned: Plan, work: Path) -> Iterator[Failure]:
    """What failed for a reason that holds, as far as recordings are as they were then."""
    for number, (split, index) in enumerate(planned.shards.places()):
        note = note_of(split, index, planned.config, work)
        if note is not None:
            recordings = {part.recording.path: part.recording for part in planned.shards[number].parts}
            for failure in note.failures:
                if not failure.passing and failure.path in recordings and failure.is_of(recordings[failure.path]):
                    yield failure


def note_of(split: str, index: int, config: BuildConfig, work: Path) -> TaskNote | None:
    """What failed while a shard was made, if it would fail again."""
    path = note_path(work, shard_name(split, index, config.compression))
    try:
        note = msgspec.json.decode(read_plain(path), type=TaskNote)
    except (OSError, ValueError):
        return None
    return note if (note.encoding, note.versions) == (config.encoding, versions()) else None


def remove_notes(work: Path) -> None:
    """Remove those of all tasks."""
    for path in work.glob(f"*{_SUFFIX}"):
        path.unlink(missing_ok=True)
