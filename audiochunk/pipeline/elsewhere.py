"""Shards built by workers that may be other machines, which see the folders only as well as they were set up.

Such a worker cannot be told to stop: one that was only cut off, or belongs to a build that was given up, goes on
writing whenever it likes. So it never gives a shard its name. It makes a file that no other has the name of, and the
build, which holds the lock of the folder, names what it accepts and removes the rest. Each task carries what the worker
must be and see; a worker that is late finds the token of its build gone and makes nothing.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from audiochunk.errors import MachineError, RecordingError, printable, reason
from audiochunk.pipeline.executors import Cluster, Workers
from audiochunk.pipeline.packed import Packed
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.shards import ShardResult, ShardTask, build_shard, keep_shard, make_shard
from audiochunk.pipeline.versions import differences, versions
from audiochunk.signal.opening import modified_ns, open_file
from audiochunk.storage.files import fsync_path, temporary, write_whole

_SAMPLES = 16  # recordings that a worker is asked about before a build
_NAMED = 3
_MOUNT = "mount the same folder at the same path on every machine"


class Site(Packed, frozen=True):
    """What a worker must be and see.

    Attributes:
        versions: of what makes the bytes of shards.
        root: the input folder, absolute.
        token: a file in the build folder, absolute, and
        content: what it holds.
    """

    versions: dict[str, str]
    root: bytes
    token: bytes
    content: bytes


class Sample(Packed, frozen=True):
    """A recording by which the input folder is known: its relative path, size, and when it was last written."""

    path: bytes
    bytes: int
    mtime_ns: int


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


@contextmanager
def site(workers: Workers, root: bytes, work: Path, planned: Plan) -> Iterator[Site | None]:
    """What workers on other machines must see of a build, once all that are there now do; None for those of this one.

    Args:
        workers: who build shards.
        root: the input folder, absolute.
        work: the build folder, whose lock the caller holds.
        planned: what is built.

    Raises:
        MachineError: a worker is not what it must be, or does not see the folders.
        OSError: the build folder could not be written.
    """
    if workers.executor is None:
        yield None
        return
    token, content = temporary(work / "token"), os.urandom(16).hex().encode()
    write_whole(token, content, fsync=False)
    try:
        expected = Site(versions(), root, os.fsencode(token), content)
        if isinstance(workers.executor, Cluster):
            found = workers.executor.ask(inspect, expected, tuple(_samples(root, planned)))
            wrong = [f"worker {name}: {problem}" for name, problem in sorted(found.items()) if problem is not None]
            if wrong:
                more = f"\nand {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
                raise MachineError("\n".join(wrong[:_NAMED]) + more)
        yield expected
    finally:
        # Before the seal: whoever is late must find it gone.
        token.unlink(missing_ok=True)


def _samples(root: bytes, planned: Plan) -> Iterator[Sample]:
    """A few recordings, from all over the folder, that are as they were when they were scanned."""
    for recording in planned.recordings.samples(_SAMPLES):
        sample = Sample(recording.path, recording.bytes, recording.mtime_ns)
        if difference(root, sample) is None:
            yield sample


def inspect(expected: Site, samples: tuple[Sample, ...]) -> str | None:
    """What is wrong with this process and the folders that it sees, in words, or None."""
    problem = _problem(expected)
    if problem is not None:
        return problem
    mine = temporary(Path(os.fsdecode(expected.token)))
    try:
        mine.touch(exist_ok=False)
        mine.unlink()
    except OSError as error:
        return f"cannot write into {printable(str(mine.parent))} ({reason(error)}); it must be allowed to"
    for sample in samples:
        unlike = difference(expected.root, sample)
        if unlike is not None:
            return (
                f"sees another input folder at {printable(expected.root)}"
                f" ({printable(sample.path)}: {unlike}); {_MOUNT}"
            )
    return None


def _problem(expected: Site) -> str | None:
    """What stands against this process building a shard."""
    differing = differences(versions(), expected.versions)
    if differing:
        return differing
    token = Path(os.fsdecode(expected.token))
    out = token.parent.parent
    for what, folder in (("input", expected.root), ("output", os.fsencode(out))):
        try:
            os.listdir(folder)  # which also has a network file system look again for what it believed missing
        except OSError as error:
            return f"does not see the {what} folder {printable(folder)} ({reason(error)}); {_MOUNT}"
    try:
        os.listdir(token.parent)
        content = token.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        return f"cannot read {printable(error.filename or str(token))}: {reason(error)}"
    if content != expected.content:
        return f"sees another output folder at {printable(str(out))}, or a later build in it; {_MOUNT}"
    return None


def difference(root: bytes, sample: Sample | Scanned) -> str | None:
    """How a recording differs from what it should be, or None."""
    try:
        fd = open_file(os.path.join(root, sample.path))
    except RecordingError as error:
        return str(error.args[1])
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if status.st_size != sample.bytes:
        return f"{status.st_size:,} bytes there, {sample.bytes:,} here"
    return "last written at another time" if modified_ns(status) != sample.mtime_ns else None


def build_elsewhere(errand: Errand) -> Made:
    """Make a shard under a temporary name, or find it made.

    Raises:
        MachineError: this process is not what it must be, or does not see the folders.
        OSError: the shard could not be written.
    """
    problem = _problem(errand.site)
    if problem is not None:
        raise MachineError(f"worker {_name()}: {problem}")
    result, scratch = make_shard(errand.task)
    if scratch is None:
        return Made(_name(), result, None)
    if errand.fsync:
        # Here: what another machine has in memory, the fsync of the seal need not reach.
        fsync_path(scratch)
    return Made(_name(), result, os.fsencode(scratch))


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
    with closing(running) as all_made:
        for made in all_made:
            yield _accept(made, given.pop((made.result.split, made.result.index)), fsync=fsync)


def _accept(made: Made, task: ShardTask, *, fsync: bool) -> ShardResult:
    """Name the shard that a worker made.

    Raises:
        MachineError: it was made without recordings that are all right here.
    """
    scratch = None if made.scratch is None else Path(os.fsdecode(made.scratch))
    result = made.result
    if any(failure.passing for failure in result.failed):
        # Missing, unreadable or changed, says the worker: that may be so, or it sees another folder.
        if scratch is not None:
            scratch.unlink(missing_ok=True)
        result, scratch = make_shard(task)
        if result.failed != made.result.failed:
            if scratch is not None:
                scratch.unlink(missing_ok=True)
            one = next(failure for failure in made.result.failed if failure.passing)
            raise MachineError(
                f"worker {made.worker}: does not see the recording {printable(one.path)} as it is here ({one.reason});"
                f" {_MOUNT}"
            )
    if scratch is not None:
        keep_shard(scratch, task.name, result.record, fsync=fsync)
    return result
