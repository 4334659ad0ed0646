"""Recordings -> which ranges of which recordings fill which chunks of which shard. Pure; nothing is decoded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from audiochunk.config import BuildConfig
from audiochunk.pipeline.scan import Scanned
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.chunking import Stream
from audiochunk.storage.recordings import RecordingRow, path_fields


class Part(msgspec.Struct, frozen=True, gc=False):
    """A run of chunks of one stream of one recording.

    Attributes:
        recording: its number in the plan.
        channel: of the stream under layout "split", else None.
        first: the first chunk, counted in the stream.
        chunks: how many.
    """

    recording: int
    channel: int | None
    first: int
    chunks: int


class ShardPlan(msgspec.Struct, frozen=True):
    """What one shard holds, were no recording to fail.

    Attributes:
        split: whose shard it is.
        index: its number in the split.
        parts: in order.
    """

    split: str
    index: int
    parts: tuple[Part, ...]

    @property
    def chunks(self) -> int:
        """Chunks of all parts."""
        return sum(part.chunks for part in self.parts)


@dataclass(frozen=True, slots=True)
class Plan:
    """A build before anything is decoded.

    Attributes:
        config: what it is made with.
        recordings: in path order, refused ones included.
        splits: the split of each recording.
        asked: the shares that were asked for, by split; None where a split was only named.
        names: of all splits, those that got nothing included, sorted.
        shards: by split name, then in order.
    """

    config: BuildConfig
    recordings: tuple[Scanned, ...]
    splits: tuple[str, ...]
    asked: Mapping[str, Fraction | None]
    names: tuple[str, ...]
    shards: tuple[ShardPlan, ...]

    @property
    def n_chunks(self) -> int:
        """Chunks of all shards."""
        return sum(shard.chunks for shard in self.shards)


def plan(
    recordings: Sequence[Scanned], splits: Sequence[str], *, asked: Mapping[str, Fraction | None], config: BuildConfig
) -> Plan:
    """The plan for scanned recordings.

    Args:
        recordings: in path order.
        splits: the split of each.
        asked: splits that exist even if they get nothing, with the shares asked for.
        config: gives encoding and shard size.
    """
    per_shard = max(1, config.options.shard_size // config.encoding.chunk_bytes)
    all_names = tuple(sorted({*asked, *splits}))
    parts: dict[str, list[Part]] = {name: [] for name in all_names}
    for number, (recording, split) in enumerate(zip(recordings, splits, strict=True)):
        if recording.info is None:
            continue
        chunks = stream_of(recording.info, config).n_chunks
        for channel in config.encoding.streams(recording.info.channels) if chunks else ():
            parts[split].append(Part(number, channel, 0, chunks))
    shards = [
        ShardPlan(name, index, tuple(held))
        for name in all_names
        for index, held in enumerate(_fill(parts[name], per_shard))
    ]
    return Plan(config, tuple(recordings), tuple(splits), asked, all_names, tuple(shards))


def _fill(parts: Sequence[Part], per_shard: int) -> Iterator[list[Part]]:
    """Cut a sequence of parts into runs of `per_shard` chunks, the last of which may be shorter."""
    held: list[Part] = []
    room = per_shard
    for part in parts:
        first, left = part.first, part.chunks
        while left:
            n = min(left, room)
            held.append(Part(part.recording, part.channel, first, n))
            first, left, room = first + n, left - n, room - n
            if not room:
                yield held
                held, room = [], per_shard
    if held:
        yield held


def stream_of(info: AudioInfo, config: BuildConfig) -> Stream:
    """The shape of a recording's stream, or of each of its streams."""
    return Stream.of(info.frames, info.channels, config.encoding)


def rows(
    plan: Plan,
    *,
    failed: Mapping[bytes, str] | None = None,
    clipped: Mapping[tuple[int, int | None], int] | None = None,
) -> Iterator[RecordingRow]:
    """The recordings table of a plan, in path order.

    Args:
        plan: of the build.
        failed: reasons, by path, of recordings that turned out to be unusable while decoding.
        clipped: samples beyond full scale, by number of the recording and channel.
    """
    failed, clipped = failed or {}, clipped or {}
    next_chunk = dict.fromkeys(plan.names, 0)
    for number, (recording, split) in enumerate(zip(plan.recordings, plan.splits, strict=True)):
        info = recording.info
        error = recording.error or failed.get(recording.path)
        channels: tuple[int | None, ...] = (None,)
        chunks = dropped = 0
        if info is not None and error is None:
            stream = stream_of(info, plan.config)
            channels = plan.config.encoding.streams(info.channels)
            chunks, dropped = stream.n_chunks, info.frames - stream.whole_frames
        fields = path_fields(recording.path)
        path, path_hex = fields["path"], fields.get("path_hex")
        for channel in channels:
            yield RecordingRow(
                path=path,
                path_hex=path_hex,
                split=split,
                channel=channel,
                sample_rate=info.sample_rate if info else 0,
                channels=info.channels if info else 0,
                frames=info.frames if info else 0,
                subtype=info.subtype if info else "",
                bytes=recording.bytes,
                first_chunk=next_chunk[split],
                chunks=chunks,
                dropped_frames=dropped,
                clipped=clipped.get((number, channel), 0),
                notes=info.notes if info else (),
                error=error,
            )
            next_chunk[split] += chunks
