"""Shards in an object store: made in a local folder, put there under a name of their own, and named by the build.

A store copies what it renames; so a shard has its final name from the first, and only its record lies in the build
folder. The record is there before the shard, so that nobody takes the shard for somebody else's, and it is written once
more with the version that the store gave the shard. As long as the store tells that version, it is the shard that was
made; where it tells another, or none, the shard is fetched and its digest compared.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec
import xxhash

from audiochunk.errors import StoreError
from audiochunk.pipeline.places import in_store, temporary_place
from audiochunk.pipeline.requests import attempt
from audiochunk.pipeline.shards import ShardRecord, ShardResult, ShardTask, fits, make_shard
from audiochunk.pipeline.store.scratch import scratch_folder
from audiochunk.storage.manifest import BUILD_FOLDER
from audiochunk.storage.objects import Objects


class StoredRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of a shard in a store, and the version of the object, "" while that is not known."""

    record: ShardRecord
    version: str


def record_name(name: str) -> str:
    """Where the record of a shard lies, from the output folder on."""
    return f"{BUILD_FOLDER}/{name}.json"


def make(task: ShardTask, *, scratch: bytes) -> tuple[ShardResult, bytes | None]:
    """Put a shard into a store under a temporary name, or find it made; then there is nothing to be named.

    Args:
        task: to make it; its folder is the URL of the build folder.
        scratch: local folder to make it in; empty for that of the system.

    Raises:
        StoreError: the store could not be read or written.
        OSError: the shard could not be written.
    """
    place = temporary_place(task.folder, task.name)
    out, name = in_store(place)
    before = _read(out, task.name)
    if before is not None and (version := _version_believed(before, task, out)) is not None:
        return ShardResult(task.split, task.index, before.record, reused=True, version=version), None
    within = tempfile.TemporaryDirectory(dir=os.fsdecode(scratch)) if scratch else scratch_folder()
    with within as folder:
        result, file = make_shard(msgspec.structs.replace(task, folder=os.fsencode(folder)))
        if file is None:
            raise AssertionError(f"{task.name}: found in a folder that was empty")
        try:
            out.upload(file, name)
        except BaseException:
            attempt(partial(out.remove, name))
            raise
    return msgspec.structs.replace(result, rebuilt=before is not None), place


def keep(scratch: bytes, task: ShardTask, record: ShardRecord, *, check: Callable[[], None]) -> str:
    """Give a shard that was made its name and a record; the version that the object then has.

    Args:
        scratch: URL of the shard.
        task: to make it.
        record: of it.
        check: raises MachineError where another build has taken over.

    Raises:
        MachineError: another build has taken over.
        StoreError: the store refused.
        FileNotFoundError: somebody has removed the shard.
    """
    out, name = in_store(scratch)
    stored = StoredRecord(record, "")
    check()
    out.write(record_name(task.name), msgspec.json.encode(stored))
    try:
        check()
        info = out.rename(name, task.name, size=record.bytes)
    except (StoreError, FileNotFoundError):
        check()  # another build has removed it
        with suppress(StoreError):
            # Where there is a shard, the record says whose it is.
            if out.stat(task.name) is None:
                out.remove(record_name(task.name))
        raise
    check()
    stored = StoredRecord(record, info.version)
    # Not looked for afterwards: were this lost, the first one would have the shard fetched and its digest compared.
    out.write(record_name(task.name), msgspec.json.encode(stored), look=False)
    return info.version


def _version_believed(stored: StoredRecord, task: ShardTask, out: Objects) -> str | None:
    """The version of the object where it is the shard that a task makes, else None."""
    record = stored.record
    if not fits(record, task):
        return None
    info = out.stat(task.name)
    if info is None or info.size != record.bytes:
        return None
    is_known = bool(info.version) and info.version == stored.version
    return info.version if is_known or digest_in(out, task.name) == record.stored else None


def digest_in(out: Objects, name: str) -> str | None:
    """The xxh3-128, in hex, of an object as it is; None where there is none.

    Raises:
        StoreError: it could not be read.
    """
    digest = _Digest()
    try:
        out.fetch(name, digest)  # type: ignore[arg-type]  # of a file, it is only written to
    except FileNotFoundError:
        return None
    return digest.xxh3.hexdigest()


class _Digest:
    def __init__(self) -> None:
        self.xxh3 = xxhash.xxh3_128()

    def write(self, data: bytes) -> int:
        self.xxh3.update(data)
        return len(data)


def _read(out: Objects, name: str) -> StoredRecord | None:
    try:
        return msgspec.json.decode(out.read(record_name(name)), type=StoredRecord)
    except (FileNotFoundError, ValueError):  # DecodeError is a ValueError, as is bad UTF-8
        return None
