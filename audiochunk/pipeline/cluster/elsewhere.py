"""Shards built by workers that may be other machines, which see the folders only as well as they were set up.

Such a worker cannot be told to stop: one that was only cut off, or belongs to a build that was given up, goes on
writing whenever it likes. So it never gives a shard its name. It makes a file, or an object, that no other has the name
of, and the build, which holds the lock of the folder, names what it accepts and removes the rest. Each task carries
what the worker must be and see; a worker that is late finds the token of its build gone and makes nothing.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec

from audiochunk.errors import MachineError, ObjectLostError, printable
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.inputs import is_store
from audiochunk.pipeline.packed import Packed
from audiochunk.pipeline.places import remove_place
from audiochunk.pipeline.requests import MOMENT_S, Requests
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask, build_shard, keep_shard, make_shard
from audiochunk.pipeline.site import MOUNT, Site, check_token, problem_here
from audiochunk.storage.files import fsync_path

_NAMED_AT_ONCE = 8  # shards in a store: each takes a dozen requests, one after the other


class Errand(Packed, frozen=True):
    """A task, for a worker that may be on another machine."""

    site: Site
    task: ShardTask
    fsync: bool


class Made(Packed, frozen=True):
    """What became of an errand: who did it, and the shard under a temporary name, unless it was there already."""

    worker: str
    result: ShardResult
    scratch: bytes | None


def build_elsewhere(errand: Errand) -> Made:
    """Make a shard under a temporary name, or find it made.

    Raises:
        MachineError: this process is not what it must be, or does not see the folders.
        OSError: the shard could not be written.
    """
    problem = problem_here(errand.site)
    if problem is not None:
        raise MachineError(f"worker {_name()}: {problem}")
    try:
        result, scratch = _make(errand.task, errand.site)
    except ObjectLostError:
        check_token(errand.site)  # another build has removed it
        raise
    if scratch is None:
        return Made(_name(), result, None)
    if not is_store(scratch):
        if errand.fsync:
            # Here: what another machine has in memory, the fsync of the seal need not reach.
            fsync_path(Path(os.fsdecode(scratch)))
    elif (problem := problem_here(errand.site)) is not None:
        _discard(scratch)  # it is too late: nobody else would clear this away
        raise MachineError(f"worker {_name()}: {problem}")
    return Made(_name(), result, scratch)


def _name() -> str:
    """What this process is called: its address where it is a worker of Dask."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            return str(distributed.get_worker().address)
        except ValueError:
            pass
    return f"{os.uname().nodename}, process {os.getpid()}"


def build_shards(
    workers: Workers,
    tasks: Iterable[ShardTask],
    *,
    site: Site | None,
    fsync: bool,
    at_most: int,
    name: Callable[[ShardTask], str],
    meanwhile: Callable[[], bool],
) -> Generator[ShardResult, None, None]:
    """Results of tasks as they come, their shards in the build folder.

    Args:
        workers: who build them.
        tasks: of the shards.
        site: what workers on other machines must see, or None for those of this one.
        fsync: whether the shards must survive a loss of power.
        at_most: how many tasks there are.
        name: what to call a task.
        meanwhile: what this process does while it waits, and whether there is more of it.

    Raises:
        MachineError: workers died, or do not see what this process does.
        OSError: a shard could not be written.
    """
    if site is None:
        build_one = partial(build_shard, fsync=fsync)
        with closing(workers.run(build_one, tasks, at_most=at_most, name=name, meanwhile=meanwhile)) as results:
            yield from results
        return
    given: dict[tuple[str, int], ShardTask] = {}

    def errands() -> Iterator[Errand]:
        for task in tasks:
            given[task.split, task.index] = task
            yield Errand(site, task, fsync)

    running = workers.run(
        build_elsewhere, errands(), at_most=at_most, name=lambda errand: name(errand.task), meanwhile=meanwhile
    )
    accept = partial(_accept, site=site, fsync=fsync)
    with closing(running) as all_made:
        pairs = ((made, given.pop((made.result.split, made.result.index))) for made in all_made)
        if is_store(site.token):
            yield from _in_threads(accept, pairs)
        else:
            yield from (accept(made, task) for made, task in pairs)


def _in_threads(
    accept: Callable[[Made, ShardTask], ShardResult], pairs: Iterator[tuple[Made, ShardTask]]
) -> Iterator[ShardResult]:
    waiting: deque[Future[ShardResult]] = deque()
    with Requests(_NAMED_AT_ONCE, moment_s=MOMENT_S) as threads:
        for made, task in pairs:
            waiting.append(threads.submit(accept, made, task))
            while waiting and (waiting[0].done() or len(waiting) > _NAMED_AT_ONCE):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _accept(made: Made, task: ShardTask, *, site: Site, fsync: bool) -> ShardResult:
    """Name the shard that a worker made.

    Raises:
        MachineError: it was made without recordings that are all right here, or another build has begun.
    """
    result, scratch = made.result, made.scratch
    if any(failure.passing for failure in result.failed):
        # Missing, unreadable or changed, says the worker: that may be so, or it sees another folder.
        _discard(scratch)
        result, scratch = _make(task, site)
        if result.failed != made.result.failed:
            _discard(scratch)
            one = next(failure for failure in made.result.failed if failure.passing)
            advice = "try again" if is_store(task.root) else MOUNT
            raise MachineError(
                f"worker {made.worker}: does not see the recording {printable(one.path)} as it is here ({one.reason});"
                f" {advice}"
            )
    if scratch is None:
        return result
    version = _keep(scratch, task, result.record, site=site, fsync=fsync)
    return msgspec.structs.replace(result, version=version)


def _make(task: ShardTask, site: Site) -> tuple[ShardResult, bytes | None]:
    if is_store(task.folder):
        from audiochunk.pipeline.store import shards as stored_shards

        return stored_shards.make(task, scratch=site.scratch)
    result, scratch = make_shard(task)
    return result, None if scratch is None else os.fsencode(scratch)


def _discard(scratch: bytes | None) -> None:
    if scratch is not None:
        remove_place(scratch)


def _keep(scratch: bytes, task: ShardTask, record: ShardRecord, *, site: Site, fsync: bool) -> str:
    if is_store(task.folder):
        from audiochunk.pipeline.store import shards as stored_shards

        return stored_shards.keep(scratch, task, record, check=partial(check_token, site))
    keep_shard(Path(os.fsdecode(scratch)), task.name, record, fsync=fsync)
    return ""
