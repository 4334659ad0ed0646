"""The seal of a job array: a dataset of the shards that its tasks have made."""

import os
import time
from dataclasses import replace
from pathlib import Path

from audiochunk.errors import MissingShardsError, OutputExistsError, RecordingsError, printable
from audiochunk.pipeline import build_folder, output
from audiochunk.pipeline.array.finished import record_of
from audiochunk.pipeline.array.job import require_input
from audiochunk.pipeline.array.notes import PLAN_AGAIN, failed_in_tasks, note_of
from audiochunk.pipeline.array.saved_plan import SavedPlan
from audiochunk.pipeline.built import Built
from audiochunk.pipeline.executors import Workers, usable_cpus
from audiochunk.pipeline.failures import Failure, Failures
from audiochunk.pipeline.inputs import require_folders
from audiochunk.pipeline.making import shard_task
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.run import machine_errors, make_and_seal
from audiochunk.pipeline.shards import ShardRecord
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import BUILD_FOLDER, PLAN, SEALING, Manifest
from audiochunk.storage.shard import shard_name

_NAMED = 5  # recordings
_RANGES = 40  # of missing shards


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
        InputError: nothing is planned there.
        MissingShardsError: shards are missing; says which.
        RecordingsError: shards have to be made again and cannot be, with on_error="fail".
        OutputExistsError: `out` holds another dataset.
        MachineError: other versions than those of the plan, the machine refused, or another build is at work.
    """
    began = time.perf_counter()
    watcher = watcher or Watcher()
    require_folders(out)
    folder = Path(out).absolute()
    work = folder / BUILD_FOLDER
    with machine_errors(folder):
        found = output.look(folder, overwrite=overwrite)
        name = SEALING if (work / SEALING).exists() else PLAN
        if found is not None and not overwrite and not (work / name).exists():
            build_folder.finish(folder, found)
            return None
        with (
            SavedPlan.opened(work, name=name) as saved,
            build_folder.entered(folder, saved.plan.config, fsync=fsync, clears=False),
        ):
            done = found if not overwrite else None
            if done is not None:
                _finish(saved.plan, done, folder, watcher)
                return None
            built = _seal(saved, work / name, workers=workers, fsync=fsync, overwrite=overwrite, watcher=watcher)
    return replace(built, seconds=time.perf_counter() - began)


def _seal(
    saved: SavedPlan,
    file: Path,
    *,
    workers: int | None,
    fsync: bool,
    overwrite: bool,
    watcher: Watcher,
) -> Built:
    """Seal a plan that lies in `file`."""
    planned, work = saved.plan, file.parent
    folder = work.parent
    names = [shard_name(*key, planned.config.compression) for key in planned.shards.places()]
    records = [record_of(work, name) for name in names]
    failures = Failures(work, planned.config.encoding)
    found_failing: list[Failure] = []
    if planned.config.options.on_error == "skip":
        failures.recall(planned.recordings)
        found_failing = list(failed_in_tasks(planned, work))
    # Until all shards are there, nothing is changed.
    failing = {*failures.reasons, *(failure.path for failure in found_failing)}
    _require_all(saved, records, failing, folder)
    require_input(saved)
    if overwrite:
        output.require_free(folder, names, overwrite=True)
    file.replace(work / SEALING)
    failures.add(found_failing)
    build_folder.clear(folder)
    if overwrite:
        output.clear(folder, fsync=fsync)
    watcher.planned(planned, n_chunks=planned.n_chunks)
    with Workers(usable_cpus() if workers is None else workers) as pool:
        try:
            return make_and_seal(saved.root, folder, planned, pool, failures=failures, fsync=fsync, watcher=watcher)
        except RecordingsError as error:
            raise RecordingsError(error.failures, len(error.failures), PLAN_AGAIN) from error


def _finish(planned: Plan, done: Manifest, folder: Path, watcher: Watcher) -> None:
    """Remove what is left of a plan that has become the dataset in a folder.

    Raises:
        OutputExistsError: that is another dataset.
        DatasetError: its recordings table is damaged.
    """
    work = folder / BUILD_FOLDER
    names = (shard_name(*key, planned.config.compression) for key in planned.shards.places())
    digests = [None if record is None else record.digest for record in (record_of(work, name) for name in names)]
    another = OutputExistsError(str(folder), "holds another dataset", "say --overwrite, or plan elsewhere")
    if done.config != planned.config or digests != [entry.digest for entry in done.shards]:
        raise another
    try:
        output.check_recordings(done, folder, planned, watcher)  # equal ones may have other names
    except OutputExistsError:
        raise another from None
    build_folder.remove(work)


def _require_all(saved: SavedPlan, records: list[ShardRecord | None], failing: set[bytes], folder: Path) -> None:
    """Raise MissingShardsError where a shard is not there, but for those that have to be made again in any case."""
    work, config = folder / BUILD_FOLDER, saved.plan.config
    skips = config.options.on_error == "skip"
    missing, unused = list[int](), dict[bytes, str]()
    for number, (shard, record) in enumerate(zip(saved.plan.shards, records, strict=True)):
        task = shard_task(shard, config, root=saved.root, work=os.fsencode(work))
        if record is None or (
            record.fingerprint != task.fingerprint
            and not any(part.path in failing for part in task.parts)
            and not (skips and note_of(shard.split, shard.index, config, work))
        ):
            missing.append(number)
            note = None if skips else note_of(shard.split, shard.index, config, work)
            unused.update((failure.path, failure.reason) for failure in (note.failures if note else ()))
    if missing:
        advice = (
            f"run their tasks: --task K/{len(records)} makes shard K alone; of N tasks, the one whose number is the"
            " remainder of K by N does"
        )
        if unused:
            why = "; ".join(f"{printable(path)}: {reason}" for path, reason in list(unused.items())[:_NAMED])
            advice = f"tasks ended at {len(unused):,} of the recordings ({why}); {PLAN_AGAIN}"
        are = "is" if len(missing) == 1 else "are"
        found = f"{len(missing):,} of {len(records):,} shards {are} not there: {_ranges(missing)}; {advice}"
        raise MissingShardsError(folder, found, missing, len(records))


def _ranges(numbers: list[int]) -> str:
    """Numbers in order as Slurm takes them, and how many more there are.

    >>> _ranges([2, 5, 6, 7, 9])
    '2,5-7,9'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = ranges[:_RANGES]
    left = sum(last - first + 1 for first, last in ranges[_RANGES:])
    text = ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in shown)
    return f"{text} and {left:,} more (--json lists all)" if left else text
