"""Scan -> plan -> shards -> seal."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from audiochunk.config import BuildConfig
from audiochunk.errors import (
    ConfigError,
    InputError,
    MachineError,
    OutputExistsError,
    RecordingsError,
    printable,
    reason,
)
from audiochunk.pipeline import build_folder, elsewhere, output
from audiochunk.pipeline.executors import DASK, Workers, executor_of, refuse_to_run_in_a_worker, usable_cpus
from audiochunk.pipeline.failures import Failures
from audiochunk.pipeline.parts import TaskPart
from audiochunk.pipeline.plan import Plan, ShardPlan
from audiochunk.pipeline.prepare import make_plan
from audiochunk.pipeline.seal import clipped_by_stream, seal
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask
from audiochunk.pipeline.table import Table
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import RECORDINGS, Manifest

_GO_ON = "; the same command goes on from the finished shards"
_ADVICE = {
    errno.ENOSPC: f"; make room{_GO_ON}",
    errno.EDQUOT: f"; the quota is used up{_GO_ON}",
    errno.EFBIG: f"; a file may not grow so large here (ulimit -f){_GO_ON}",
    errno.EMFILE: f" (ulimit -n){_GO_ON}",
    errno.EACCES: "; choose another --out",
    errno.EROFS: "; choose another --out",
}


@dataclass(frozen=True, slots=True)
class Built:
    """What a build came to.

    Attributes:
        manifest: of the dataset.
        plan: that it was built by.
        failed: reasons, by path, of recordings left out while decoding.
        clipped: samples beyond full scale, by number of the recording and channel.
        reused: shards that were taken over from an interrupted build.
        rebuilt: shards of an interrupted build that were made anew, because they no longer fit or were damaged.
        up_to_date: whether the dataset was there already.
        seconds: of wall time.
    """

    manifest: Manifest
    plan: Plan
    failed: dict[bytes, str]
    clipped: dict[tuple[int, int | None], int]
    reused: int = 0
    rebuilt: int = 0
    up_to_date: bool = False
    seconds: float = 0.0


def build(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | str | None = None,
    fsync: bool = True,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Built:
    """Build a dataset from a folder of recordings, go on with an interrupted build, or find it up to date.

    Args:
        source: folder of recordings.
        out: folder of the dataset.
        config: what decides its bytes.
        split_file: table of path or folder, tab, split.
        workers: processes to use; None means as many as this process may use CPUs.
        executor: what runs the tasks instead, or its name, "local" or "dask://host:port"; `workers` is then how many it
            has, which a cluster knows itself.
        fsync: whether the dataset must survive a loss of power once this returns.
        overwrite: whether a dataset in `out` may be replaced.
        watcher: told of progress and warnings.

    Raises:
        ConfigError: the options do not go together.
        InputError: nothing can be made of the input.
        RecordingsError: recordings that cannot be used, with `on_error="fail"`.
        OutputExistsError: `out` holds something else.
        MachineError: the folder cannot be written, is locked, or a worker died.
    """
    began = time.perf_counter()
    refuse_to_run_in_a_worker()
    watcher = watcher or Watcher()
    n = usable_cpus() if workers is None else workers
    if n < 1:
        raise ConfigError(f"workers must be at least 1, not {n}")
    if workers is not None and isinstance(executor, str) and executor.startswith(DASK):
        raise ConfigError(f"workers and executor {executor}: a cluster has the workers that it has; leave workers out")
    folder = Path(out).absolute()
    with _machine_errors(folder):
        found = output.look(folder, overwrite=overwrite)
    if found.manifest is not None and not overwrite and split_file is None:
        output.check_options(found.manifest, folder, config)
    with executor_of(executor) as given, Workers(n, given) as at_work:
        planned = make_plan(source, config, split_file=split_file, watcher=watcher, workers=at_work)
        if found.manifest is not None and not overwrite:
            built = _up_to_date(found.manifest, folder, planned)
        else:
            watcher.planned(planned)
            root = os.path.abspath(os.fsencode(source))
            built = _build(root, folder, planned, at_work, fsync=fsync, overwrite=overwrite, watcher=watcher)
    return replace(built, seconds=time.perf_counter() - began)


def _up_to_date(manifest: Manifest, folder: Path, planned: Plan) -> Built:
    output.check_options(manifest, folder, planned.config)
    output.check_recordings(manifest, folder, planned)
    output.check_shards(manifest, folder)
    failed = output.failed_while_decoding(manifest, folder)
    clipped = output.clipped_in(manifest, folder, planned)
    with _machine_errors(folder):
        build_folder.finish(folder)
    return Built(manifest, planned, failed, clipped, up_to_date=True)


def _build(
    root: bytes, folder: Path, planned: Plan, workers: Workers, *, fsync: bool, overwrite: bool, watcher: Watcher
) -> Built:
    with _machine_errors(folder), build_folder.entered(folder, planned.config, fsync=fsync) as (work, before):
        # Once more, now that nobody else can build here.
        found = output.look(folder, overwrite=overwrite)
        if found.manifest is not None and not overwrite:
            raise OutputExistsError(str(folder), "another build has made a dataset here meanwhile", "build again")
        if overwrite:
            output.clear(folder, fsync=fsync)
        if before is not None and before != planned.config:
            differing = ", ".join(before.differences(planned.config))
            watcher.warn(f"the build that was interrupted had other options ({differing}); what still fits is kept")
        failures = Failures(work, planned.recordings, planned.config.encoding)
        if planned.config.options.on_error == "skip":
            failures.recall()
        run = _Run(root, os.fsencode(work), planned, failures)
        with Table(planned, work / RECORDINGS, failures.reasons, watcher) as table:
            with elsewhere.site(workers, root, work, planned) as site:
                run.shards(workers, watcher, site=site, fsync=fsync, meanwhile=table.write_some)
            run.refuse_nothing()
            manifest = seal(planned, run.records, failures.reasons, folder=folder, table=table, fsync=fsync)
    clipped = clipped_by_stream(planned, run.records, failures.reasons)
    return Built(manifest, planned, failures.reasons, clipped, run.reused, run.rebuilt)


def check_output(out: str | os.PathLike[str], config: BuildConfig, *, overwrite: bool) -> None:
    """Raise what `build` would at the sight of the output folder, before it has looked at the input.

    Raises:
        OutputExistsError: it holds something else.
        MachineError: it cannot be read.
    """
    folder = Path(out).absolute()
    with _machine_errors(folder):
        found = output.look(folder, overwrite=overwrite)
    if found.manifest is not None and not overwrite and config.options.split is not None:
        output.check_options(found.manifest, folder, config)


@contextmanager
def _machine_errors(folder: Path) -> Iterator[None]:
    """Say in a sentence what the machine refused."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        where = printable(error.filename) if error.filename else printable(str(folder))
        raise MachineError(f"{where}: {reason(error)}{advice}") from error


class _Run:
    """The shards of one build, until each has a record that fits the recordings known to fail."""

    def __init__(self, root: bytes, work: bytes, planned: Plan, failures: Failures) -> None:
        self._root, self._work, self._plan, self._failures = root, work, planned, failures
        self.records: dict[tuple[str, int], ShardRecord] = {}
        self.reused = self.rebuilt = 0

    def shards(
        self,
        workers: Workers,
        watcher: Watcher,
        *,
        site: elsewhere.Site | None,
        fsync: bool,
        meanwhile: Callable[[], bool],
    ) -> None:
        """Build shards, and build those again that hold part of a recording which failed elsewhere."""
        waiting = list(self._plan.shards)
        while waiting:
            tasks = (self._task(shard) for shard in waiting)
            failed: set[bytes] = set()
            running = elsewhere.build_shards(
                workers,
                tasks,
                site=site,
                fsync=fsync,
                at_most=len(waiting),
                name=_describe_and_advise,
                meanwhile=meanwhile,
            )
            # Closed also where an exception keeps this frame, so that no worker outlives it.
            with closing(running) as results:
                for result in results:
                    self._take(result)
                    failed.update(path for path, _ in result.failed)
                    watcher.finished(result)
            waiting = [shard for shard in self._plan.shards if self._is_outdated(shard, failed)]

    def refuse_nothing(self) -> None:
        """Make no dataset where every recording that had chunks failed.

        Raises:
            InputError: so it is.
        """
        if not any(record.chunks for record in self.records.values()):
            some = "; ".join(f"{printable(path)}: {why}" for path, why in list(self._failures.reasons.items())[:3])
            raise InputError(self._root, f"no recording could be decoded: {some}")

    def _take(self, result: ShardResult) -> None:
        if result.failed:
            if self._plan.config.options.on_error == "fail":
                raise RecordingsError(list(result.failed))
            self._failures.add(result.failed, passing=result.passing)
        key = result.split, result.index
        if key not in self.records:  # else this build made it anew, because a recording failed elsewhere
            self.reused += result.reused
            self.rebuilt += result.rebuilt
        self.records[key] = result.record

    def _is_outdated(self, shard: ShardPlan, failed: set[bytes]) -> bool:
        recordings = self._plan.recordings
        if not any(recordings[part.recording].path in failed for part in shard.parts):
            return False
        return self.records[shard.split, shard.index].fingerprint != self._task(shard).fingerprint

    def _task(self, shard: ShardPlan) -> ShardTask:
        return ShardTask(
            root=self._root,
            folder=self._work,
            split=shard.split,
            index=shard.index,
            encoding=self._plan.config.encoding,
            compression=self._plan.config.compression,
            parts=tuple(self._parts(shard)),
        )

    def _parts(self, shard: ShardPlan) -> Iterator[TaskPart]:
        for part in shard.parts:
            recording = self._plan.recordings[part.recording]
            if recording.info is not None and recording.path not in self._failures.reasons:
                yield TaskPart(
                    path=recording.path,
                    bytes=recording.bytes,
                    mtime_ns=recording.mtime_ns,
                    info=recording.info,
                    channel=part.channel,
                    first=part.first,
                    chunks=part.chunks,
                )


def _describe_and_advise(task: ShardTask) -> str:
    return f"{_describe(task)}{_GO_ON}"


def _describe(task: ShardTask) -> str:
    """A shard by its name and its first recordings, for messages."""
    paths = list(dict.fromkeys(printable(part.path) for part in task.parts))
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return f"shard {task.name}, made of {', '.join(paths[:3])}{more}"
