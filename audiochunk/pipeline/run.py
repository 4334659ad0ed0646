"""Scan -> plan -> shards -> seal."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from audiochunk.config import BuildConfig, Encoding
from audiochunk.errors import ConfigError, InputError, MachineError, RecordingsError, printable, reason
from audiochunk.pipeline import output
from audiochunk.pipeline.executors import run_tasks, usable_cpus
from audiochunk.pipeline.failures import Failures
from audiochunk.pipeline.plan import Plan, ShardPlan, plan
from audiochunk.pipeline.scan import Globs, Scanned, scan
from audiochunk.pipeline.seal import seal
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask, TaskPart, build_shard
from audiochunk.pipeline.splits import (
    Splitter,
    check_split_name,
    in_no_split,
    make_splitter,
    read_split_file,
    table_name,
)
from audiochunk.storage.files import clear_temporaries, locked
from audiochunk.storage.manifest import BUILD_FOLDER, MANIFEST, Manifest

_GO_ON = "; the same command goes on from the finished shards"
_ADVICE = {
    errno.ENOSPC: f"; make room{_GO_ON}",
    errno.EDQUOT: f"; the quota is used up{_GO_ON}",
    errno.EFBIG: f"; a file may not grow so large here (ulimit -f){_GO_ON}",
    errno.EMFILE: f" (ulimit -n){_GO_ON}",
    errno.EACCES: "; choose another --out",
    errno.EROFS: "; choose another --out",
}

_log = logging.getLogger("audiochunk")


class Watcher:
    """Told of a build's progress; the methods of this class do nothing but log what is worth a warning."""

    def scanned(self, recording: Scanned) -> None:
        """A recording was found and looked at."""

    def planned(self, plan: Plan) -> None:
        """The plan is made; shards are built next."""

    def finished(self, result: ShardResult) -> None:
        """A shard is there."""

    def warn(self, sentence: str) -> None:
        """Something that the user should know, and that does not end the build."""
        _log.warning("%s", sentence)


@dataclass(frozen=True, slots=True)
class Built:
    """What a build came to.

    Attributes:
        manifest: of the dataset.
        plan: that it was built by.
        failed: reasons, by path, of recordings left out while decoding.
        reused: shards that were taken over from an interrupted build.
        rebuilt: shards of an interrupted build that were made anew, because they no longer fit or were damaged.
        up_to_date: whether the dataset was there already.
        seconds: of wall time.
    """

    manifest: Manifest
    plan: Plan
    failed: dict[bytes, str]
    reused: int
    rebuilt: int
    up_to_date: bool
    seconds: float


def make_plan(
    source: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
) -> Plan:
    """Scan a folder and plan its dataset, without decoding anything.

    Args:
        source: folder of recordings.
        config: of the dataset. With a `split_file`, its `options.split` is replaced.
        split_file: table of path or folder, tab, split.
        watcher: told of each recording.

    Raises:
        ConfigError: the options do not go together.
        InputError: the folder cannot be read, holds no recordings, or none that makes a chunk.
        RecordingsError: recordings that cannot be used, with `on_error="fail"`.
    """
    watcher = watcher or Watcher()
    table = None
    if split_file is not None:
        if config.options.split is not None:
            raise ConfigError("split and split_file: give one or the other")
        table = read_split_file(Path(split_file))
        options = msgspec.structs.replace(config.options, split=table_name(table))
        config = msgspec.structs.replace(config, options=options)
    splitter = make_splitter(config.options, table)
    root = os.fsencode(source)
    recordings: list[Scanned] = []
    for recording in scan(root, Globs(config.options.include, config.options.exclude)):
        recordings.append(recording)
        watcher.scanned(recording)
    if not recordings:
        raise InputError(root, "no recordings here (no .wav, .flac, .aiff, … that is asked for)")
    failures = [(r.path, r.error) for r in recordings if r.error is not None]
    if failures and config.options.on_error == "fail":
        raise RecordingsError(failures)
    if len(failures) == len(recordings):
        reasons = "; ".join(f"{printable(path)}: {reason}" for path, reason in failures[:3])
        raise InputError(root, f"none of {len(failures):,} recordings can be used: {reasons}")
    splits = _assign(recordings, splitter, config, root)
    planned = plan(recordings, splits, asked=splitter.shares, config=config)
    if not planned.n_chunks:
        raise InputError(
            root,
            f"all recordings are too short for one chunk of {config.encoding.codes_per_chunk:,} samples;"
            " --tail pad or a smaller --chunk-bytes would use them",
        )
    _warn_of_blocks(recordings, config.encoding, watcher)
    for name in planned.names:
        if not any(shard.split == name for shard in planned.shards):
            watcher.warn(f"split {name} gets no chunks")
    return planned


def _assign(recordings: list[Scanned], splitter: Splitter, config: BuildConfig, root: bytes) -> list[str]:
    assigned = [splitter.assign(recording.path) for recording in recordings]
    nowhere = [r.path for r, split in zip(recordings, assigned, strict=True) if split is None]
    if nowhere:
        raise InputError(root, in_no_split(nowhere, config.options))
    splits = [split for split in assigned if split is not None]
    for name in sorted(set(splits)):
        try:
            check_split_name(name)
        except ConfigError as error:
            raise InputError(root, f"{error}") from error
    return splits


def _warn_of_blocks(recordings: list[Scanned], encoding: Encoding, watcher: Watcher) -> None:
    if not isinstance(encoding.block, int):
        return
    for channels in sorted({r.info.channels for r in recordings if r.info is not None}):
        if encoding.is_aligned(channels):
            continue
        aligned = encoding.aligned_block(channels)
        advice = f"--block {aligned} does" if aligned else "no block does"
        watcher.warn(
            f"--block {encoding.block}: a chunk of {encoding.chunk_bytes} bytes does not hold whole blocks of"
            f" all {channels} channels; {advice}"
        )


def build(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
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
        executor: what runs the tasks instead; `workers` is then how many it has.
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
    watcher = watcher or Watcher()
    workers = usable_cpus() if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    folder = Path(out).absolute()
    with _machine_errors(folder):
        found = output.look(folder, overwrite=overwrite)
    if found.manifest is not None and not overwrite and split_file is None:
        output.check_options(found.manifest, folder, config)
    planned = make_plan(source, config, split_file=split_file, watcher=watcher)
    if found.manifest is not None and not overwrite:
        output.check_options(found.manifest, folder, planned.config)
        output.check_recordings(found.manifest, folder, planned)
        failed = output.failed_while_decoding(found.manifest, folder)
        with _machine_errors(folder):
            _finish_seal(folder)
        return Built(found.manifest, planned, failed, 0, 0, True, time.perf_counter() - began)
    watcher.planned(planned)
    with _machine_errors(folder):
        work = folder / BUILD_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        with locked(work / "lock"):
            clear_temporaries(work)
            clear_temporaries(folder, prefix=MANIFEST)
            if overwrite:
                output.clear(found, fsync=fsync)
            failures = Failures(work, planned.recordings)
            run = _Run(os.path.abspath(os.fsencode(source)), os.fsencode(work), planned, failures)
            if executor is None:
                # No more processes than shards: a small build is done before a pool has started.
                workers = min(workers, len(planned.shards))
            run.shards(workers, executor, watcher)
            manifest = seal(planned, run.records, failures.reasons, folder=folder, fsync=fsync)
    return Built(manifest, planned, failures.reasons, run.reused, run.rebuilt, False, time.perf_counter() - began)


@contextmanager
def _machine_errors(folder: Path) -> Iterator[None]:
    """Say in a sentence what the machine refused."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        where = printable(error.filename) if error.filename else printable(str(folder))
        raise MachineError(f"{where}: {reason(error)}{advice}") from error


def _finish_seal(folder: Path) -> None:
    """Remove the build folder of a dataset whose build ended between its last two steps."""
    work = folder / BUILD_FOLDER
    if work.exists():
        with locked(work / "lock"):
            shutil.rmtree(work)


class _Run:
    """The shards of one build, until each has a record that fits the recordings known to fail."""

    def __init__(self, root: bytes, work: bytes, planned: Plan, failures: Failures) -> None:
        self._root, self._work, self._plan, self._failures = root, work, planned, failures
        self.records: dict[tuple[str, int], ShardRecord] = {}
        self.reused = self.rebuilt = 0

    def shards(self, workers: int, executor: Executor | None, watcher: Watcher) -> None:
        """Build shards, and build those again that hold part of a recording which failed elsewhere."""
        waiting = list(self._plan.shards)
        while waiting:
            tasks = (self._task(shard) for shard in waiting)
            failed: set[bytes] = set()
            running = run_tasks(build_shard, tasks, workers=workers, executor=executor, name=_describe)
            # Closed also where an exception keeps this frame, so that no worker outlives it.
            with closing(running) as results:
                for result in results:
                    self._take(result)
                    failed.update(path for path, _ in result.failed)
                    watcher.finished(result)
            waiting = [shard for shard in self._plan.shards if self._is_outdated(shard, failed)]

    def _take(self, result: ShardResult) -> None:
        if result.failed:
            if self._plan.config.options.on_error == "fail":
                raise RecordingsError(list(result.failed))
            self._failures.add(result.failed)
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


def _describe(task: ShardTask) -> str:
    """A shard by its name and its first recordings, for messages."""
    paths = list(dict.fromkeys(printable(part.path) for part in task.parts))
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return f"shard {task.name}, made of {', '.join(paths[:3])}{more}"
