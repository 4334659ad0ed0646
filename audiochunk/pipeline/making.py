"""The shards of a plan, until each is there and fits the recordings that are known to fail."""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing

from audiochunk.config import BuildConfig
from audiochunk.errors import LEAVE_OUT, InputError, RecordingsError, printable
from audiochunk.pipeline.cluster import elsewhere
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.failures import Failures
from audiochunk.pipeline.plan import Plan, ShardPlan
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask
from audiochunk.pipeline.site import Site
from audiochunk.pipeline.watcher import Watcher

GO_ON = "; the same command goes on from the finished shards"


class Making:
    """The shards of one build.

    Args:
        root: the input folder, absolute.
        work: the build folder, absolute.
        planned: the plan.
        failures: that are known, and those that are found.

    Attributes:
        records: of the shards that are there, by split and index.
        reused: shards that were there before.
        rebuilt: shards that were there, but did not fit or were damaged.
        versions: of the objects that they are in a store, by split and index.
    """

    def __init__(self, root: bytes, work: bytes, planned: Plan, failures: Failures) -> None:
        self._root, self._work, self._plan, self._failures = root, work, planned, failures
        self.records: dict[tuple[str, int], ShardRecord] = {}
        self.versions: dict[tuple[str, int], str] = {}
        self.reused = self.rebuilt = 0

    def shards(
        self,
        workers: Workers,
        watcher: Watcher,
        *,
        site: Site | None,
        fsync: bool,
        meanwhile: Callable[[], bool],
    ) -> None:
        """Build shards, and build those again that hold part of a recording which failed elsewhere.

        Args:
            workers: who build them.
            watcher: told of each.
            site: what workers on other machines must see; None for those of this one.
            fsync: whether they are to be on their way to the disk.
            meanwhile: a piece of work for this process while it waits, and whether there is more of it.

        Raises:
            RecordingsError: recordings failed, with on_error="fail".
            MachineError: a worker died, or the machine refused.
            OSError: a shard could not be written.
        """
        shards = self._plan.shards
        waiting: Sequence[int] = range(len(shards))
        while waiting:
            tasks = (self.task(shards[number]) for number in waiting)
            failed: set[bytes] = set()
            running = elsewhere.build_shards(
                workers,
                tasks,
                site=site,
                fsync=fsync,
                at_most=len(waiting),
                name=describe_and_advise,
                meanwhile=meanwhile,
            )
            # Closed also where an exception keeps this frame, so that no worker outlives it.
            with closing(running) as results:
                for result in results:
                    self._take(result)
                    failed.update(failure.path for failure in result.failed)
                    watcher.finished(result)
            waiting = list(self._outdated(failed)) if failed else ()

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
                reasons = [(failure.path, failure.reason) for failure in result.failed]
                changed = any(failure.passing for failure in result.failed)
                raise RecordingsError(reasons, len(reasons), f"build again, or {LEAVE_OUT}" if changed else LEAVE_OUT)
            self._failures.add(result.failed)
        key = result.split, result.index
        if key not in self.records:  # else this build made it anew, because a recording failed elsewhere
            self.reused += result.reused
            self.rebuilt += result.rebuilt
        self.records[key] = result.record
        if result.version:
            self.versions[key] = result.version

    def _outdated(self, failed: set[bytes]) -> Iterator[int]:
        """Numbers of the shards that were made with part of a recording which failed elsewhere."""
        for number, shard in enumerate(self._plan.shards):
            if any(part.recording.path in failed for part in shard.parts):
                record = self.records[shard.split, shard.index]
                if record.fingerprint != self.task(shard).fingerprint:
                    yield number

    def task(self, shard: ShardPlan) -> ShardTask:
        """The task to make a shard, without the recordings that are known to fail."""
        return shard_task(shard, self._plan.config, root=self._root, work=self._work, without=self._failures.reasons)


def shard_task(
    shard: ShardPlan, config: BuildConfig, *, root: bytes, work: bytes, without: Container[bytes] = ()
) -> ShardTask:
    """The task to make a shard.

    Args:
        shard: of the plan.
        config: of the build.
        root: the input folder, absolute.
        work: the build folder, absolute.
        without: paths of recordings to leave out.
    """
    parts = tuple(part for part in shard.parts if part.path not in without)
    return ShardTask(root, work, shard.split, shard.index, config.encoding, config.compression, parts)


def describe_and_advise(task: ShardTask) -> str:
    """A shard by its name and its first recordings, and that the same command goes on."""
    return f"{_describe(task)}{GO_ON}"


def _describe(task: ShardTask) -> str:
    """A shard by its name and its first recordings, for messages."""
    paths = list(dict.fromkeys(printable(part.path) for part in task.parts))
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return f"shard {task.name}, made of {', '.join(paths[:3])}{more}"
