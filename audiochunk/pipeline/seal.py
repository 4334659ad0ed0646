"""The last step of a build: make everything durable, then write the manifest, whose presence makes the dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from audiochunk.pipeline import build_folder
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.rows import Records
from audiochunk.pipeline.table import Table
from audiochunk.pipeline.totals import Totals
from audiochunk.storage.files import fsync_path, write_whole
from audiochunk.storage.manifest import (
    BUILD_FOLDER,
    MANIFEST,
    RECORDINGS,
    Manifest,
    RecordingsEntry,
    ShardEntry,
    dataset_id,
)
from audiochunk.storage.shard import shard_name


def seal(
    plan: Plan,
    records: Records,
    failed: Mapping[bytes, str],
    *,
    folder: Path,
    table: Table,
    fsync: bool,
    earlier: Manifest | None = None,
) -> Manifest:
    """Turn the finished shards of a build into a dataset.

    Each step leaves either a build that can be gone on with or a dataset. The caller holds the lock.

    Args:
        plan: of the build.
        records: of every shard, by (split, index).
        failed: reasons, by path, of recordings left out while decoding.
        folder: the output folder; the shards lie in its build folder, or already in place.
        table: of the recordings, in the build folder; it may not be finished.
        fsync: whether the result must survive a loss of power.
        earlier: of the dataset in the folder, that the shards are added to. It stays one at every step: the new table
            begins with the rows of the old one.

    Raises:
        OSError: a step failed.
    """
    build = folder / BUILD_FOLDER
    made = entries_of(plan, records)
    recordings = table.finish(failed, records)
    names = [*(shard.name for shard in made), RECORDINGS]
    # What an interrupted seal has moved into place already may not have been made durable by it.
    moving = {name for name in names if (build / name).exists()}
    if fsync:
        for name in names:
            fsync_path((build if name in moving else folder) / name)
    for name in filter(moving.__contains__, names):
        (build / name).replace(folder / name)
    shards = [*(earlier.shards if earlier is not None else ()), *made]
    shards.sort(key=lambda shard: shard.split)  # of a split, those that were there stay the first
    build_folder.remove_stale(folder, {shard.name for shard in shards})
    if fsync:
        fsync_path(folder)
    manifest = manifest_of(
        plan, shards, recordings, table.totals, generations=1 if earlier is None else earlier.generations + 1
    )
    write_whole(folder / MANIFEST, manifest.encode(), fsync=fsync)
    if fsync:
        fsync_path(folder)
    build_folder.remove(build)
    return manifest


def entries_of(plan: Plan, records: Records) -> list[ShardEntry]:
    """What the manifest says of the shards of a plan, in its order."""
    return [
        ShardEntry(
            name=shard_name(split, index, plan.config.compression),
            split=split,
            chunks=records[split, index].chunks,
            bytes=records[split, index].bytes,
            digest=records[split, index].digest,
        )
        for split, index in plan.shards.places()
    ]


def manifest_of(
    plan: Plan, shards: Sequence[ShardEntry], recordings: RecordingsEntry, totals: Totals, *, generations: int = 1
) -> Manifest:
    """The manifest of a dataset: of all its shards, and what all rows of its table come to."""
    return Manifest(
        encoding=plan.config.encoding,
        options=plan.config.options,
        compression=plan.config.compression,
        splits=totals.splits(),
        shards=tuple(shards),
        recordings=recordings,
        skipped=totals.skipped,
        generations=generations,
        dataset_id=dataset_id(plan.config.encoding, (shard.digest for shard in shards)),
    )
