"""Build one shard: a pure function of its task, so that it does not matter who runs it, or how often."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from audiochunk.config import Compression, Encoding
from audiochunk.errors import DatasetError, PassingRecordingError, RecordingError
from audiochunk.pipeline.failures import Failure
from audiochunk.pipeline.inputs import opened_input
from audiochunk.pipeline.packed import Packed
from audiochunk.pipeline.parts import Part, reason_of, write_part
from audiochunk.pipeline.versions import versions
from audiochunk.signal.encoder import Encoder
from audiochunk.signal.pcm import Octets
from audiochunk.storage.files import begin_write_back, read_plain, temporary, write_whole
from audiochunk.storage.manifest import Count
from audiochunk.storage.shard import BUFFER_BYTES, ShardSpec, ShardWriter, digest_file, digest_stored, shard_name

_MOST_CLIPPED = 2**55  # samples of a shard; a million shards of so many are what a row can say
_Bytes = bytes  # the type, where a field takes its name


class ShardTask(Packed, frozen=True):
    """One shard to build.

    Attributes:
        root: the input folder, absolute.
        folder: where the finished shard and its record go, absolute.
        split: whose shard it is.
        index: its number in the split.
        encoding: of the chunks.
        compression: of the file.
        parts: in order.
    """

    root: bytes
    folder: bytes
    split: str
    index: int
    encoding: Encoding
    compression: Compression | None
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The shard's file name."""
        return shard_name(self.split, self.index, self.compression)

    @property
    def fingerprint(self) -> str:
        """A digest of everything that the bytes of the shard depend on, the versions of the libraries included."""
        where_it_does_not_matter = msgspec.structs.replace(self, root=b"", folder=b"")
        digest = xxhash.xxh3_128(msgspec.json.encode(versions(), order="sorted"))
        digest.update(msgspec.msgpack.encode(where_it_does_not_matter))
        return digest.hexdigest()


class ShardRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished shard, as its record beside it says.

    Attributes:
        fingerprint: of the task that it is the result of.
        chunks: that it holds.
        bytes: of its file.
        digest: xxh3-128, in hex, of the uncompressed file, and
        stored: of the file as it is.
        clipped: samples in chunks that lay beyond full scale, of the parts that have some; see `clipped_by_part`.
    """

    fingerprint: str
    chunks: int
    bytes: int
    digest: str
    stored: str
    clipped: _Bytes = b""

    @property
    def clipped_by_part(self) -> dict[int, int]:
        """Samples beyond full scale, by number of the part."""
        return msgspec.msgpack.decode(self.clipped, type=dict[Count, Count]) if self.clipped else {}


class ShardResult(msgspec.Struct, frozen=True):
    """What became of a task.

    Attributes:
        index: of the task's shard in its split, and
        split: that split.
        record: of the shard that was made.
        failed: recordings that could not be decoded; the shard was made without them.
        reused: whether the shard was there already.
        rebuilt: whether one was there that did not fit, or was damaged.
        version: of the object that it is in a store, as that tells it.
    """

    split: str
    index: int
    record: ShardRecord
    failed: tuple[Failure, ...] = ()
    reused: bool = False
    rebuilt: bool = False
    version: str = ""


def build_shard(task: ShardTask, *, fsync: bool = False) -> ShardResult:
    """Make a shard and its record, or find them made.

    Recordings that cannot be decoded are left out whole, all of them at once, and reported. With `fsync`, the shard is
    on its way to the disk when this returns, while the next one is made.

    Raises:
        OSError: the shard could not be written.
    """
    result, scratch = make_shard(task)
    if scratch is not None:
        try:
            keep_shard(scratch, task.name, result.record, fsync=fsync)
        finally:
            scratch.unlink(missing_ok=True)
    return result


def make_shard(task: ShardTask) -> tuple[ShardResult, Path | None]:
    """Make a shard under a temporary name, or find it made; then there is no file to be kept.

    Raises:
        OSError: the shard could not be written; then nothing of it is left.
    """
    found = find_shard(task)
    if found is not None:
        return ShardResult(task.split, task.index, found, reused=True), None
    folder = Path(os.fsdecode(task.folder))
    rebuilt = record_path(folder, task.name).exists()
    failed: dict[bytes, Failure] = {}
    while True:
        good = tuple(part for part in task.parts if part.path not in failed)
        effective = msgspec.structs.replace(task, parts=good)
        scratch = temporary(folder / task.name)
        try:
            written = _write(effective, scratch)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        if isinstance(written, ShardRecord):
            result = ShardResult(
                task.split,
                task.index,
                written,
                failed=tuple(failed.values()),
                rebuilt=rebuilt,
            )
            return result, scratch
        scratch.unlink(missing_ok=True)
        failed |= {failure.path: failure for failure in _failures(task, written)}


def _failures(task: ShardTask, failed: dict[bytes, RecordingError]) -> Iterator[Failure]:
    parts = {part.path: part for part in task.parts}
    for path, error in failed.items():
        part, reason = parts[path], error.args[1]
        is_passing = isinstance(error, PassingRecordingError)
        # What libsndfile says depends on where it begins; plain data can only hold NaN.
        if not is_passing and part.info.form is None:
            with suppress(PassingRecordingError):
                reason = reason_of(part.recording, task.encoding, root=task.root)
        yield Failure(path, part.recording.bytes, part.recording.mtime_ns, reason, is_passing)


def keep_shard(scratch: Path, name: str, record: ShardRecord, *, fsync: bool) -> None:
    """Give a shard that was made its name, in the folder where it is, and a record.

    Raises:
        OSError: so it could not be.
    """
    file = scratch.with_name(name)
    scratch.replace(file)
    if fsync:
        begin_write_back(file)
    write_whole(record_path(file.parent, name), msgspec.json.encode(record), fsync=False)


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a shard lies."""
    return folder / f"{name}.json"


def fits(record: ShardRecord, task: ShardTask) -> bool:
    """Whether a record is that of the shard which a task makes."""
    try:
        clipped = record.clipped_by_part
    except ValueError:
        return False
    if any(part >= len(task.parts) for part in clipped) or sum(clipped.values()) > _MOST_CLIPPED:
        return False
    return record.fingerprint == task.fingerprint and record.chunks == sum(part.chunks for part in task.parts)


def find_shard(task: ShardTask) -> ShardRecord | None:
    """The record of a shard that is there already, in the task's folder or sealed beside it, if its digests match."""
    folder = Path(os.fsdecode(task.folder))
    try:
        record = msgspec.json.decode(read_plain(record_path(folder, task.name)), type=ShardRecord)
    except (OSError, ValueError):  # DecodeError is a ValueError, as is bad UTF-8
        return None
    if not fits(record, task):
        return None
    try:
        # The seal moves what is in the task's folder over what is beside it: so that alone counts where both are.
        file = folder / task.name if os.path.lexists(folder / task.name) else folder.parent / task.name
        if file.stat().st_size != record.bytes or digest_stored(file) != record.stored:
            return None
        return record if (digest_file(file) if task.compression else record.stored) == record.digest else None
    except (OSError, DatasetError):
        return None


def _write(task: ShardTask, file: Path) -> ShardRecord | dict[bytes, RecordingError]:
    """Write the shard, or, where recordings fail, give the errors of all that do, by path."""
    spec = ShardSpec(task.split, task.index, sum(part.chunks for part in task.parts), task.encoding)
    failed: dict[bytes, RecordingError] = {}
    clipped: dict[int, int] = {}
    with (
        ShardWriter(file, spec, task.compression) as writer,
        opened_input(task.root, task.parts, task.encoding) as folder,
    ):
        encoder = Encoder(task.encoding, writer.room, n_bytes=BUFFER_BYTES)
        for number, part in enumerate(task.parts):
            try:
                if n_clipped := write_part(part, encoder, root=task.root, folder=folder):
                    clipped[number] = n_clipped
            except RecordingError as error:
                if not failed:
                    # The rest is only looked at: the shard has to be written anew without it.
                    encoder = Encoder(task.encoding, _spare, n_bytes=BUFFER_BYTES)
                failed.setdefault(part.path, error)
        encoder.flush()
        if failed:
            return failed
        written = writer.finish()
    packed = msgspec.msgpack.encode(clipped) if clipped else b""
    return ShardRecord(task.fingerprint, spec.chunks, written.bytes, written.digest, written.stored, packed)


def _spare(n: int) -> Octets:
    return np.empty(n, np.uint8)
