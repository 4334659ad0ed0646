"""A build in three commands: plan, tasks on any machines that see the folders, seal."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from audiochunk.config import BuildConfig
from audiochunk.errors import InputError, MachineError, OutputExistsError, printable
from audiochunk.pipeline import build_folder, output
from audiochunk.pipeline.array_task import ArrayTask
from audiochunk.pipeline.elsewhere import difference
from audiochunk.pipeline.executors import Workers, usable_cpus
from audiochunk.pipeline.failures import Failures
from audiochunk.pipeline.making import describe_and_advise, shard_task
from audiochunk.pipeline.plan import Plan, ShardPlan
from audiochunk.pipeline.prepare import make_plan
from audiochunk.pipeline.run import Built, machine_errors, make_and_seal
from audiochunk.pipeline.saved_plan import PLAN, SEALING, SavedPlan, digest_of_plan
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask, keep_shard, make_shard, record_path
from audiochunk.pipeline.task_notes import failed_in_tasks, note_of, note_path, remove_notes, write_note
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.files import fsync_path
from audiochunk.storage.manifest import BUILD_FOLDER, Manifest
from audiochunk.storage.shard import shard_name

_NAMED = 5  # missing shards
_SAMPLES = 16  # recordings that tell whether a machine sees the input


def save_plan(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Plan:
    """Scan a folder, plan its dataset, and keep the plan in the build folder of `out`, for tasks and a seal.

    Args:
        source: folder of recordings.
        out: folder of the dataset.
        config: what decides its bytes.
        split_file: table of path or folder, tab, split.
        workers: processes to scan with; None means as many as this process may use CPUs.
        overwrite: whether there may be a dataset in `out`; it stays until the seal.
        watcher: told of progress and warnings.

    Raises:
        ConfigError, InputError, RecordingsError, OutputExistsError, MachineError: as `build` does.
    """
    folder = Path(out).absolute()
    with machine_errors(folder):
        _require_no_dataset(folder, overwrite=overwrite)
    with Workers(usable_cpus() if workers is None else workers) as at_work:
        planned = make_plan(source, config, split_file=split_file, watcher=watcher, workers=at_work)
    saved = SavedPlan.of(planned, os.path.abspath(os.fsencode(source)))
    with machine_errors(folder), build_folder.entered(folder, planned.config, fsync=True, clears=False) as (work, _):
        _require_no_dataset(folder, overwrite=overwrite)
        build_folder.take_back_plan(work)
        remove_notes(work)
        saved.write(work)
    return planned


def _require_no_dataset(folder: Path, *, overwrite: bool) -> None:
    if output.look(folder, overwrite=overwrite).manifest is not None and not overwrite:
        raise OutputExistsError(str(folder), "holds a dataset", "choose another --out, or say --overwrite")


def _require_input(saved: SavedPlan) -> None:
    """See that this machine sees the recordings that were planned.

    Raises:
        MachineError: of a few from all over the folder, it sees none as it was.
    """
    usable = [recording for recording in saved.recordings if recording.info is not None]
    some = usable[:: max(1, len(usable) // _SAMPLES)][:_SAMPLES]
    if some and all(difference(saved.root, recording) is not None for recording in some):
        raise MachineError(
            f"this machine does not see the recordings in {printable(saved.root)} as they were planned; mount the same"
            " folder at the same path on every machine"
        )


@dataclass(frozen=True, slots=True)
class TaskDone:
    """What a task came to.

    Attributes:
        shards: names of those that it is to make, in order.
        chunks: in them.
        reused: shards that were there already.
        failed: reasons, by path, of recordings that could not be decoded; its shards were made without them.
    """

    shards: tuple[str, ...]
    chunks: int
    reused: int
    failed: dict[bytes, str]


def run_task(
    out: str | os.PathLike[str],
    task: ArrayTask,
    *,
    workers: int | None = None,
    fsync: bool = True,
    watcher: Watcher | None = None,
) -> TaskDone:
    """Make the shards of one task of a plan; when this returns they survive a loss of power.

    Several tasks may run at once, and each more than once. None holds the lock of the build.

    Args:
        out: folder of the dataset, planned by `save_plan`.
        task: which shards.
        workers: processes to use; None means as many as this process may use CPUs.
        fsync: whether the shards must survive a loss of power.
        watcher: told of progress.

    Raises:
        InputError: nothing is planned there.
        RecordingsError: recordings that cannot be decoded, with `on_error="fail"`.
        MachineError: other versions than those of the plan, or the machine refused.
    """
    watcher = watcher or Watcher()
    folder = Path(out).absolute()
    work = folder / BUILD_FOLDER
    with machine_errors(folder):
        digest = digest_of_plan(work)
        saved = SavedPlan.read(work)
        _require_input(saved)
        planned = saved.plan()
        by_key = {(shard.split, shard.index): shard for shard in planned.shards}
        mine = planned.shards[task.number :: task.count]
        tasks = (shard_task(shard, planned, root=saved.root, work=os.fsencode(work)) for shard in mine)
        watcher.planned(replace(planned, shards=mine))
        chunks = reused = 0
        failed: dict[bytes, str] = {}
        with Workers(usable_cpus() if workers is None else workers) as pool:
            build = partial(_build_planned, plan=digest, fsync=fsync)
            for result in pool.run(build, tasks, at_most=len(mine), name=describe_and_advise):
                if digest_of_plan(work) == digest:
                    write_note(result, by_key[result.split, result.index], planned, work)
                failed.update(result.failed)
                chunks, reused = chunks + result.record.chunks, reused + result.reused
                watcher.finished(result)
        names = tuple(shard_name(shard.split, shard.index, planned.config.compression) for shard in mine)
        if fsync:
            for name in names:
                # A seal that was interrupted may have moved it into place.
                fsync_path(work / name if (work / name).exists() else folder / name)
                fsync_path(record_path(work, name))
                if note_path(work, name).exists():
                    fsync_path(note_path(work, name))
            fsync_path(work)
    return TaskDone(names, chunks, reused, dict(sorted(failed.items())))


def _build_planned(task: ShardTask, *, plan: bytes, fsync: bool) -> ShardResult:
    """Make a shard, unless the plan is another one by then: so a task that is late does not meddle.

    Raises:
        MachineError: the plan is another one, or is being sealed.
        OSError: the shard could not be written.
    """
    work = Path(os.fsdecode(task.folder))

    def require_plan() -> None:
        if digest_of_plan(work) != plan:
            raise MachineError(f"shard {task.name}: another plan was made meanwhile, or a seal has begun; not kept")

    try:
        result, scratch = make_shard(task)
    except FileNotFoundError:
        require_plan()  # with the end of a seal the build folder is gone
        raise
    if scratch is None:
        return result
    try:
        require_plan()
        keep_shard(scratch, task.name, result.record, fsync=fsync)
    finally:
        scratch.unlink(missing_ok=True)
    return result


def seal_tasks(
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    fsync: bool = True,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Built | None:
    """Make a dataset of the shards that tasks have made; None where that has been done before.

    All shards are read and compared with their digests. Those that hold part of a recording which failed in another
    task are made again without it.

    Args:
        out: folder of the dataset, planned by `save_plan`.
        workers: processes to use; None means as many as this process may use CPUs.
        fsync: whether the dataset must survive a loss of power once this returns.
        overwrite: whether a dataset in `out` may be replaced.
        watcher: told of progress and warnings.

    Raises:
        InputError: nothing is planned there, or shards are missing; says which.
        OutputExistsError: `out` holds another dataset.
        MachineError: other versions than those of the plan, the machine refused, or another build is at work.
    """
    began = time.perf_counter()
    watcher = watcher or Watcher()
    folder = Path(out).absolute()
    work = folder / BUILD_FOLDER
    with machine_errors(folder):
        found = output.look(folder, overwrite=overwrite)
        name = SEALING if (work / SEALING).exists() else PLAN
        if found.manifest is not None and not overwrite and not (work / name).exists():
            build_folder.finish(folder)
            return None
        saved = SavedPlan.read(work, name=name)
        planned = saved.plan()
        with build_folder.entered(folder, planned.config, fsync=fsync, clears=False):
            records = [_record(work, shard, planned) for shard in planned.shards]
            if found.manifest is not None and not overwrite:
                if not _is_of(found.manifest, planned, records):
                    raise OutputExistsError(str(folder), "holds another dataset", "say --overwrite, or plan elsewhere")
                build_folder.remove(work)
                return None
            failures = Failures(work, planned.recordings, planned.config.encoding)
            found_failing: dict[bytes, str] = {}
            if planned.config.options.on_error == "skip":
                failures.recall()
                found_failing = dict(failed_in_tasks(planned, work))
            # Until all shards are there, nothing is changed.
            _require_all(saved, planned, records, {*failures.reasons, *found_failing}, folder)
            _require_input(saved)
            (work / name).replace(work / SEALING)
            failures.add(found_failing.items())
            build_folder.clear(folder)
            if overwrite:
                output.clear(folder, fsync=fsync)
            watcher.planned(planned)
            with Workers(usable_cpus() if workers is None else workers) as pool:
                built = make_and_seal(
                    saved.root, folder, planned, pool, failures=failures, fsync=fsync, watcher=watcher
                )
    return replace(built, seconds=time.perf_counter() - began)


def _is_of(manifest: Manifest, planned: Plan, records: list[ShardRecord | None]) -> bool:
    """Whether a dataset is what a plan came to, so that only the end of its seal is missing."""
    digests = [record.digest for record in records if record is not None]
    return (
        manifest.config == planned.config
        and len(digests) == len(records)
        and digests == [entry.digest for entry in manifest.shards]
    )


def _record(work: Path, shard: ShardPlan, planned: Plan) -> ShardRecord | None:
    """The record of a shard whose file is there, or has been moved into place, with the size that it says."""
    name = shard_name(shard.split, shard.index, planned.config.compression)
    with suppress(OSError, ValueError):  # DecodeError is a ValueError
        record = msgspec.json.decode(record_path(work, name).read_bytes(), type=ShardRecord)
        for place in (work, work.parent):
            with suppress(OSError):
                if (place / name).stat().st_size == record.bytes:
                    return record
    return None


def _require_all(
    saved: SavedPlan, planned: Plan, records: list[ShardRecord | None], failing: set[bytes], folder: Path
) -> None:
    """Raise InputError where a shard is not there, but for those that have to be made again in any case."""
    work = folder / BUILD_FOLDER
    missing = []
    for number, (shard, record) in enumerate(zip(planned.shards, records, strict=True)):
        task = shard_task(shard, planned, root=saved.root, work=os.fsencode(work))
        if record is None or (
            record.fingerprint != task.fingerprint
            and not any(part.path in failing for part in task.parts)
            and note_of(shard, planned, work) is None
        ):
            missing.append((number, task.name))
    if missing:
        some = ", ".join(f"{name} (number {number:,})" for number, name in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise InputError(
            folder,
            f"{len(missing):,} of {len(records):,} shards are not there: {some}{more}; run their tasks: with"
            " --task I/N, I is the remainder of the number by N",
        )
