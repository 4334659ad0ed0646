"""Build one shard: a pure function of its task, so that it does not matter who runs it, or how often."""

import os
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from audiochunk.config import Compression, Encoding
from audiochunk.errors import DatasetError, PassingRecordingError, RecordingError
from audiochunk.pipeline.packed import Packed
from audiochunk.pipeline.versions import versions
from audiochunk.signal.audio import AudioInfo, Recording, check_regular, open_file, opened
from audiochunk.signal.chunking import Span, Stream
from audiochunk.signal.encode import arrange
from audiochunk.signal.floats import Mask
from audiochunk.signal.packing import pack, silence
from audiochunk.signal.pcm import Octets, PcmBatch, is_direct
from audiochunk.signal.quantize import quantize
from audiochunk.signal.wav import WavForm
from audiochunk.storage.files import fsync_soon, temporary, write_whole
from audiochunk.storage.shard import BUFFER_BYTES, ShardSpec, ShardWriter, digest_file, digest_stored, shard_name

_PADDED_AT_ONCE = 2**16  # codes


class TaskPart(msgspec.Struct, frozen=True, gc=False):
    """A run of chunks of one stream, with all that is needed to read it.

    Attributes:
        path: of the recording, relative to the input folder.
        bytes: of its file, and
        mtime_ns: when that was last written: it must not have changed since.
        info: what it holds.
        channel: of the stream under layout "split", else None.
        first: the first chunk, counted in the stream.
        chunks: how many.
    """

    path: bytes
    bytes: int
    mtime_ns: int
    info: AudioInfo
    channel: int | None
    first: int
    chunks: int


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
    parts: tuple[TaskPart, ...]

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
        clipped: samples in chunks that lay beyond full scale, for each part.
    """

    fingerprint: str
    chunks: int
    bytes: int
    digest: str
    stored: str
    clipped: tuple[int, ...]


class ShardResult(msgspec.Struct, frozen=True):
    """What became of a task.

    Attributes:
        index: of the task's shard in its split, and
        split: that split.
        record: of the shard that was made.
        failed: (path, reason) of recordings that could not be decoded; the shard was made without them.
        passing: paths of those among them that failed for a reason which may be gone next time.
        reused: whether the shard was there already.
        rebuilt: whether one was there that did not fit, or was damaged.
    """

    split: str
    index: int
    record: ShardRecord
    failed: tuple[tuple[bytes, str], ...] = ()
    passing: tuple[bytes, ...] = ()
    reused: bool = False
    rebuilt: bool = False


def build_shard(task: ShardTask, *, fsync: bool = False) -> ShardResult:
    """Make a shard and its record, or find them made.

    Recordings that cannot be decoded are left out whole, all of them at once, and reported. With `fsync`, the shard is
    on its way to the disk when this returns, while the next one is made.

    Raises:
        OSError: the shard could not be written.
    """
    found = find_shard(task)
    if found is not None:
        return ShardResult(task.split, task.index, found, reused=True)
    folder = Path(os.fsdecode(task.folder))
    rebuilt = record_path(folder, task.name).exists()
    failed: dict[bytes, RecordingError] = {}
    while True:
        good = tuple(part for part in task.parts if part.path not in failed)
        effective = msgspec.structs.replace(task, parts=good)
        scratch = temporary(folder / task.name)
        try:
            written = _write(effective, scratch)
            if isinstance(written, ShardRecord):
                scratch.replace(folder / task.name)
                if fsync:
                    fsync_soon(folder / task.name)
                write_whole(record_path(folder, task.name), msgspec.json.encode(written), fsync=False)
                return ShardResult(
                    task.split,
                    task.index,
                    written,
                    failed=tuple((path, error.args[1]) for path, error in failed.items()),
                    passing=tuple(p for p, error in failed.items() if isinstance(error, PassingRecordingError)),
                    rebuilt=rebuilt,
                )
            failed |= written
        finally:
            scratch.unlink(missing_ok=True)


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a shard lies."""
    return folder / f"{name}.json"


def find_shard(task: ShardTask) -> ShardRecord | None:
    """The record of a shard that is there already, in the task's folder or sealed beside it, if its digests match."""
    folder = Path(os.fsdecode(task.folder))
    try:
        record = msgspec.json.decode(record_path(folder, task.name).read_bytes(), type=ShardRecord)
    except (OSError, ValueError):  # DecodeError is a ValueError, as is bad UTF-8
        return None
    if record.fingerprint != task.fingerprint:
        return None
    for place in (folder, folder.parent):
        try:
            file = place / task.name
            if file.stat().st_size != record.bytes or digest_stored(file) != record.stored:
                continue
            if (digest_file(file) if task.compression else record.stored) == record.digest:
                return record
        except (OSError, DatasetError):
            continue
    return None


def _write(task: ShardTask, file: Path) -> ShardRecord | dict[bytes, RecordingError]:
    """Write the shard, or, where recordings fail, give the errors of all that do, by path."""
    spec = ShardSpec(task.split, task.index, sum(part.chunks for part in task.parts), task.encoding)
    failed: dict[bytes, RecordingError] = {}
    clipped: list[int] = []
    with ShardWriter(file, spec, task.compression) as writer, opened(task.root) as dir_fd:
        batch = PcmBatch(task.encoding, writer.room, n_bytes=BUFFER_BYTES)
        for part in task.parts:
            try:
                if part.info.form and is_direct(part.info.form, task.encoding, channels=part.info.channels):
                    _add_part(task, part, batch, part.info.form, dir_fd)
                    clipped.append(0)
                    continue
                batch.flush()
                beyond = 0
                with closing(encode_part(task, part, dir_fd=dir_fd)) as pieces:
                    for data, clipped_here in pieces:
                        beyond += clipped_here
                        if not failed:
                            writer.room(data.size)[:] = data
                clipped.append(beyond)
            except RecordingError as error:
                if not failed:
                    # The rest is only looked at: the shard has to be written anew without it.
                    batch = PcmBatch(task.encoding, _spare, n_bytes=BUFFER_BYTES)
                failed.setdefault(part.path, error)
        batch.flush()
        if failed:
            return failed
        written = writer.finish()
    return ShardRecord(task.fingerprint, spec.chunks, written.bytes, written.digest, written.stored, tuple(clipped))


def _spare(n: int) -> Octets:
    return np.empty(n, np.uint8)


def _add_part(task: ShardTask, part: TaskPart, batch: PcmBatch, form: WavForm, dir_fd: int | None) -> None:
    """Put the chunks of a part into a batch.

    Raises:
        RecordingError: the recording changed since it was scanned, or cannot be read.
    """
    channels = part.info.channels
    stream = Stream.of(part.info.frames, channels, task.encoding)
    fd = _open(task, part, dir_fd)
    try:
        try:
            for span in stream.spans(part.first, part.chunks, max_frames=batch.max_frames(form, channels)):
                batch.add(fd, part.path, form, span, channels=channels, channel=part.channel)
        except RecordingError:
            _check_unchanged(fd, part)
            raise
        # One look, afterwards, tells of a file that was another one already and of one that changed while it was read.
        _check_unchanged(fd, part)
        batch.pad(_padding(stream, part))
    finally:
        os.close(fd)


def encode_part(
    task: ShardTask, part: TaskPart, *, dir_fd: int | None = None
) -> Generator[tuple[Octets, int], None, None]:
    """The bytes of a part's chunks, piece by piece, each with the number of its samples beyond full scale.

    Raises:
        RecordingError: the recording changed since it was scanned, or cannot be decoded.
    """
    encoding = task.encoding
    stream = Stream.of(part.info.frames, part.info.channels, encoding)
    fd = _open(task, part, dir_fd)
    with Recording(fd, part.info, part.path) as recording:
        _check_unchanged(fd, part)
        for span in stream.spans(part.first, part.chunks, max_frames=recording.max_frames):
            decoded = recording.read(span.start, span.frames)
            if _count(decoded.invalid, span, part, encoding):
                raise RecordingError(part.path, "holds NaN or infinite samples")
            samples = arrange(decoded.samples, span, encoding, channel=part.channel)
            codes = quantize(samples, bits=encoding.bits, quantizer=encoding.quantizer)
            yield pack(codes, encoding), _count(decoded.clipped, span, part, encoding)
        padding = _padding(stream, part)
        for start in range(0, padding, _PADDED_AT_ONCE):
            yield silence(min(padding - start, _PADDED_AT_ONCE), encoding), 0
        _check_unchanged(fd, part)


def _open(task: ShardTask, part: TaskPart, dir_fd: int | None) -> int:
    return open_file(part.path if dir_fd is not None else os.path.join(task.root, part.path), dir_fd=dir_fd)


def _padding(stream: Stream, part: TaskPart) -> int:
    """Codes that complete the last chunk of a part."""
    return part.chunks * stream.codes_per_chunk - stream.real_codes(part.first, part.chunks)


def _check_unchanged(fd: int, part: TaskPart) -> None:
    now = os.fstat(fd)
    check_regular(now, part.path)
    if (now.st_size, now.st_mtime_ns) != (part.bytes, part.mtime_ns):
        raise PassingRecordingError(
            part.path,
            f"changed while the dataset was built: {part.bytes:,} bytes when it was scanned,"
            f" {now.st_size:,} now; build again",
        )


def _count(mask: Mask | None, span: Span, part: TaskPart, encoding: Encoding) -> int:
    """How many of the samples that a span puts into the stream are marked."""
    if mask is None:
        return 0
    channel = part.channel if encoding.layout == "split" else span.channel
    return int(np.count_nonzero(mask if channel is None else mask[:, channel]))
