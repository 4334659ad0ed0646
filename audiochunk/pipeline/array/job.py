"""A build in three commands, the first two: a plan, and tasks on any machines that see the folders."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audiochunk.config import BuildConfig
from audiochunk.errors import MachineError, NoDatasetError, OutputExistsError, printable
from audiochunk.pipeline import build_folder, output
from audiochunk.pipeline.array.finished import count_finished
from audiochunk.pipeline.array.notes import note_path, remove_notes, write_note
from audiochunk.pipeline.array.saved_plan import SavedPlan, digest_of_plan
from audiochunk.pipeline.array.task import ArrayTask
from audiochunk.pipeline.executors import Workers, usable_cpus
from audiochunk.pipeline.failures import Failure
from audiochunk.pipeline.inputs import require_apart, require_folders
from audiochunk.pipeline.making import describe_and_advise, shard_task
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.prepare import make_plan
from audiochunk.pipeline.run import machine_errors
from audiochunk.pipeline.shards import ShardResult, ShardTask, keep_shard, make_shard, record_path
from audiochunk.pipeline.site import difference
from audiochunk.pipeline.splits import check_split
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.files import fsync_path
from audiochunk.storage.manifest import BUILD_FOLDER, PLAN, SEALING, Manifest
from audiochunk.storage.shard import shard_name

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

    It replaces the plan that is there. `watcher` is warned where that had other options: finished shards stay, but
    tasks make those again that do not fit.

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
    watcher = watcher or Watcher()
    check_split(config.options)
    require_folders(source, out)
    require_apart(source, out)
    folder = Path(out).absolute()
    with machine_errors(folder):
        _require_no_dataset(folder, overwrite=overwrite)
    with Workers(usable_cpus() if workers is None else workers) as at_work:
        planned = make_plan(source, config, split_file=split_file, watcher=watcher, workers=at_work)
    saved = SavedPlan(planned, os.path.abspath(os.fsencode(source)))
    with (
        machine_errors(folder),
        build_folder.entered(folder, planned.config, fsync=True, clears=False) as (work, before),
    ):
        _require_no_dataset(folder, overwrite=overwrite)
        if before is not None and before != planned.config:
            watcher.warn(_other_options(before, saved, work))
        build_folder.take_back_plan(work)
        remove_notes(work)
        saved.write(work)
    return planned


def _other_options(before: BuildConfig, saved: SavedPlan, work: Path) -> str:
    """What becomes of a build folder that a plan with other options replaces the plan in."""
    had_plan = any((work / name).exists() for name in (PLAN, SEALING))
    what = "plan that was here" if had_plan else "build that was interrupted"
    differing = ", ".join(before.differences(saved.plan.config))
    finished, fitting = count_finished(saved, work)
    kept = "no shard of it was finished"
    if finished:
        kept = (
            f"of its finished shards ({finished:,}), {fitting:,} fit; tasks make the others anew: to keep those, plan"
            " again with the options of before"
        )
    return f"the {what} had other options ({differing}); {kept}"


def _require_no_dataset(folder: Path, *, overwrite: bool) -> None:
    if output.look(folder, overwrite=overwrite) is not None and not overwrite:
        raise OutputExistsError(str(folder), "holds a dataset", "choose another --out, or say --overwrite")


def require_input(saved: SavedPlan) -> None:
    """See that this machine sees the recordings that were planned.

    Raises:
        MachineError: of a few from all over the folder, it sees none as it was.
    """
    some = saved.plan.recordings.samples(_SAMPLES)
    if some and all(difference(saved.root, recording) is not None for recording in some):
        raise MachineError(
            f"this machine does not see the recordings in {printable(saved.root)} as they were planned; mount the same"
            " folder at the same path on every machine, or run `audiochunk plan` again if they have all changed"
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
) -> TaskDone | None:
    """Make the shards of one task of a plan; None where the dataset is sealed already.

    When this returns, they survive a loss of power.
    Several tasks may run at once, and each more than once. None holds the lock of the build.

    Args:
        out: folder of the dataset, planned by `save_plan`.
        task: which shards.
        workers: processes to use; None means as many as this process may use CPUs.
        fsync: whether the shards must survive a loss of power.
        watcher: told of progress.

    Raises:
        InputError: nothing is planned there.
        DatasetError: nothing is, and the dataset there is damaged.
        RecordingsError: recordings that cannot be decoded, with `on_error="fail"`.
        MachineError: other versions than those of the plan, or the machine refused.
    """
    watcher = watcher or Watcher()
    require_folders(out)
    folder = Path(out).absolute()
    work = folder / BUILD_FOLDER
    with machine_errors(folder):
        if _is_sealed(folder):
            return None
        digest = digest_of_plan(work)
        with SavedPlan.opened(work) as saved:
            require_input(saved)
            shards, config = saved.plan.shards, saved.plan.config
            mine = range(len(shards))[task.number :: task.count]
            tasks = (shard_task(shards[n], config, root=saved.root, work=os.fsencode(work)) for n in mine)
            watcher.planned(saved.plan, n_chunks=sum(shards.n_chunks(n) for n in mine))
            chunks = reused = 0
            failed: dict[bytes, str] = {}
            with Workers(usable_cpus() if workers is None else workers) as pool:
                build = partial(_build_planned, plan=digest, fsync=fsync)
                for result in pool.run(build, tasks, at_most=len(mine), name=describe_and_advise):
                    if digest_of_plan(work) == digest:
                        write_note(result, config, work)
                    failed.update((failure.path, _reason(failure)) for failure in result.failed)
                    chunks, reused = chunks + result.record.chunks, reused + result.reused
                    watcher.finished(result)
            names = tuple(shard_name(*shards.place(n), config.compression) for n in mine)
            if fsync:
                for name in names:
                    # A seal that was interrupted may have moved it into place.
                    fsync_path(work / name if (work / name).exists() else folder / name)
                    fsync_path(record_path(work, name))
                    if note_path(work, name).exists():
                        fsync_path(note_path(work, name))
                fsync_path(work)
    return TaskDone(names, chunks, reused, dict(sorted(failed.items())))


def _is_sealed(folder: Path) -> bool:
    """Whether there is a dataset in a folder, and no plan for another one."""
    if any((folder / BUILD_FOLDER / name).exists() for name in (PLAN, SEALING)):
        return False
    try:
        Manifest.read(folder)
    except NoDatasetError:
        return False
    return True


def _reason(failure: Failure) -> str:
    return f"{failure.reason}; a new `audiochunk plan` takes it as it is" if failure.passing else failure.reason


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
