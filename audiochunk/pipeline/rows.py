"""A plan, and what became of its shards -> the rows of the recordings table."""

from collections.abc import Iterator, Mapping

from audiochunk.pipeline.plan import Plan, chunks_per_shard, stream_of
from audiochunk.pipeline.shards import ShardRecord
from audiochunk.storage.recordings import RecordingRow, path_fields

Records = Mapping[tuple[str, int], ShardRecord]


def rows(
    plan: Plan, *, failed: Mapping[bytes, str] | None = None, records: Records | None = None
) -> Iterator[RecordingRow]:
    """The rows of a plan's recordings, in path order.

    Args:
        plan: of the build.
        failed: reasons, by path, of recordings that turned out to be unusable while decoding.
        records: of all shards, which say what was clipped; nothing was, where they are not given.
    """
    failed = failed or {}
    next_chunk = {name: layout.first_chunk for name, layout in plan.layouts.items()}
    clipped = {name: _Clipped(plan, name, records) for name in plan.names} if records is not None else {}
    for recording, split in plan.recordings.placed():
        info = recording.info
        error = recording.error or failed.get(recording.path)
        channels: tuple[int | None, ...] = (None,)
        chunks = dropped = 0
        if info is not None:
            stream = stream_of(info, plan.config)
            streams = plan.config.encoding.streams(info.channels)
            if error is None:
                channels, chunks, dropped = streams, stream.n_chunks, info.frames - stream.whole_frames
            elif split in clipped:
                clipped[split].skip(len(streams) * stream.n_chunks)
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
                clipped=clipped[split].take(chunks) if split in clipped else 0,
                notes=info.notes if info else (),
                error=error,
            )
            next_chunk[split] += chunks


class _Clipped:
    """Samples beyond full scale, of one stream after the other of a split, as the records of its shards say.

    Args:
        plan: of the build.
        split: whose streams they are.
        records: of all shards.
    """

    def __init__(self, plan: Plan, split: str, records: Records) -> None:
        self._split, self._records = split, records
        self._per_shard, self._first_shard = chunks_per_shard(plan.config), plan.layouts[split].first_shard
        self._chunk = 0  # the next one in the plan
        self._shard, self._part = -1, 0  # the next part, of those that were made
        self._by_part: dict[int, int] = {}

    def take(self, chunks: int) -> int:
        """Those of the next stream, which has so many chunks."""
        clipped, end = 0, self._chunk + chunks
        while self._chunk < end:
            shard, within = divmod(self._chunk, self._per_shard)
            if shard != self._shard:
                self._shard, self._part = shard, 0
                self._by_part = self._records[self._split, self._first_shard + shard].clipped_by_part
            clipped += self._by_part.get(self._part, 0)
            self._part += 1
            self._chunk += min(end - self._chunk, self._per_shard - within)
        return clipped

    def skip(self, chunks: int) -> None:
        """Pass over chunks that were left out."""
        self._chunk += chunks
