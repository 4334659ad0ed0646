"""What a build is to its workers: folders and a token that they must see, and be of the same versions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from audiochunk.errors import MachineError, ObjectLostError, RecordingError, StoreError, printable, reason
from audiochunk.pipeline.executors import Cluster, Workers
from audiochunk.pipeline.inputs import is_store
from audiochunk.pipeline.packed import Packed
from audiochunk.pipeline.places import holds, objects_at, remove_place, temporary_place, write_place
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.requests import attempt
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.versions import differences, versions
from audiochunk.signal.opening import modified_ns, open_file

_SAMPLES = 16  # recordings that a worker is asked about before a build
_NAMED = 3
MOUNT = "mount the same folder at the same path on every machine"
LATER = "another build has taken over there"
TOKEN = "token"


class Site(Packed, frozen=True):
    """What a worker must be and see.

    Attributes:
        versions: of what makes the bytes of shards.
        root: the input folder, absolute, or its URL.
        token: a file in the build folder, absolute, or its URL, and
        content: what it holds.
        scratch: folder for shards that go into a store, absolute; empty where each machine has its own.
    """

    versions: dict[str, str]
    root: bytes
    token: bytes
    content: bytes
    scratch: bytes = b""


class Sample(Packed, frozen=True):
    """A recording by which the input folder is known: its relative path, size, and when it was last written."""

    path: bytes
    bytes: int
    mtime_ns: int


@contextmanager
def site_of_folder(workers: Workers, root: bytes, work: bytes, planned: Plan) -> Iterator[Site | None]:
    """What workers must see of a build into a folder, as `site` gives it; None for those of this machine.

    Args:
        workers: who build shards.
        root: the input folder, absolute, or its URL.
        work: the build folder, absolute, whose lock the caller holds.
        planned: what is built.

    Raises:
        MachineError: a worker is not what it must be, or does not see the folders.
        OSError: the build folder could not be written.
    """
    if workers.executor is None:
        yield None
        return
    with site(workers, root, work, planned) as seen:
        yield seen


@contextmanager
def site(
    workers: Workers, root: bytes, work: bytes, planned: Plan, *, scratch: bytes = b"", token_name: str = TOKEN
) -> Iterator[Site]:
    """What workers must see of a build, with a token for it, once all that are there now do.

    Where shards go into a store, the workers of this machine are like any others.

    Args:
        workers: who build shards.
        root: the input folder, absolute, or its URL.
        work: the build folder, whose lock the caller holds, or its URL.
        planned: what is built.
        scratch: folder for shards that go into a store, where workers are of this machine.
        token_name: what the name of the token begins with.

    Raises:
        MachineError: a worker is not what it must be, or does not see the folders, or another build has taken over.
        OSError: the build folder could not be written.
    """
    token, content = temporary_place(work, token_name), os.urandom(16).hex().encode()
    try:
        _write_token(token, content)
        expected = Site(versions(), root, token, content, scratch if workers.executor is None else b"")
        if isinstance(workers.executor, Cluster):
            found = workers.executor.ask(inspect, expected, tuple(_samples(root, planned)))
            wrong = [f"worker {name}: {problem}" for name, problem in sorted(found.items()) if problem is not None]
            if wrong:
                more = f"\nand {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
                raise MachineError("\n".join(wrong[:_NAMED]) + more)
        yield expected
    finally:
        if is_store(token):
            attempt(partial(remove_place, token))  # the next build clears it away
        else:
            remove_place(token)  # before the seal: whoever is late must find it gone


def _write_token(token: bytes, content: bytes) -> None:
    try:
        write_place(token, content)
    except ObjectLostError:
        raise _taken_over(token) from None


def _samples(root: bytes, planned: Plan) -> Iterator[Sample]:
    """A few recordings, from all over the folder, that are as they were when they were scanned."""
    for recording in planned.recordings.samples(_SAMPLES):
        sample = Sample(recording.path, recording.bytes, recording.mtime_ns)
        if difference(root, sample) is None:
            yield sample


def inspect(expected: Site, samples: tuple[Sample, ...]) -> str | None:
    """What is wrong with this process and the folders that it sees, in words, or None."""
    problem = problem_here(expected)
    if problem is not None:
        return problem
    folder = os.path.dirname(expected.token)
    mine = temporary_place(folder, "written")
    try:
        write_place(mine, b"")
        remove_place(mine)
    except OSError as error:
        return f"cannot write into {printable(folder)} ({reason(error)}); it must be allowed to"
    except StoreError as error:
        return str(error)
    for sample in samples:
        try:
            unlike = difference(expected.root, sample)
        except StoreError as error:
            return str(error)
        if unlike is not None:
            return (
                f"sees another input folder at {printable(expected.root)} ({printable(sample.path)}: {unlike}); {MOUNT}"
            )
    return None


def problem_here(expected: Site) -> str | None:
    """What stands against this process building a shard, in words, or None."""
    differing = differences(versions(), expected.versions)
    if differing:
        return differing
    work = os.path.dirname(expected.token)
    out = os.path.dirname(work)
    for what, folder in (("input", expected.root), ("output", out)):
        if is_store(folder):
            continue
        try:
            os.listdir(folder)  # which also has a network file system look again for what it believed missing
        except OSError as error:
            return f"does not see the {what} folder {printable(folder)} ({reason(error)}); {MOUNT}"
    try:
        if not is_store(work):
            os.listdir(work)
        if holds(expected.token, expected.content):
            return None
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"cannot read {printable(error.filename or expected.token)}: {reason(error)}"
    except StoreError as error:
        return str(error)
    if is_store(work):
        return f"does not see this build at {printable(out)}: {LATER}, or this is another store"
    return f"sees another output folder at {printable(out)}, or a later build in it; {MOUNT}"


def difference(root: bytes, sample: Sample | Scanned) -> str | None:
    """How a recording differs from what it should be, or None.

    Raises:
        StoreError: that could not be told.
    """
    if is_store(root):
        from audiochunk.pipeline.store.source import check_same

        try:
            check_same(objects_at(root.decode()), sample.path, size=sample.bytes, version=sample.mtime_ns)
        except RecordingError as error:
            return str(error.args[1])
        return None
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


def check_token(site: Site) -> None:
    """See that no other build has begun in a store, where there is no lock.

    Raises:
        MachineError: one has, and this one must not go on.
    """
    if not holds(site.token, site.content):
        raise _taken_over(site.token)


def _taken_over(token: bytes) -> MachineError:
    out = os.path.dirname(os.path.dirname(token))
    return MachineError(f"{printable(out)}: {LATER}; this one ends here; build again once that one has ended")
