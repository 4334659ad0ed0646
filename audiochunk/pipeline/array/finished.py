"""The shards that lie finished in a build folder, as their records say."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from audiochunk.pipeline.array.saved_plan import SavedPlan
from audiochunk.pipeline.making import shard_task
from audiochunk.pipeline.shards import ShardRecord, fits, record_path
from audiochunk.storage.files import read_plain
from audiochunk.storage.shard import is_shard_name, shard_name


def record_of(work: Path, name: str) -> ShardRecord | None:
    """The record of a shard whose file is there, or has been moved into place, with the size that it says."""
    with suppress(OSError, ValueError):  # DecodeError is a ValueError
        record = msgspec.json.decode(read_plain(record_path(work, name)), type=ShardRecord)
        for place in (work, work.parent):
            with suppress(OSError):
                if (place / name).stat().st_size == record.bytes:
                    return record
    return None


def count_finished(saved: SavedPlan, work: Path) -> tuple[int, int]:
    """How many shards are finished, of whatever plan, and how many of them are those of this plan.

    Only records are read, and nothing of the plan where there are none.
    """
    names = {record.name.removesuffix(".json") for record in work.glob("*.json")}
    finished = {name for name in names if is_shard_name(name) and record_of(work, name) is not None}
    fitting = 0
    if finished:
        shards, config = saved.plan.shards, saved.plan.config
        for number, place in enumerate(shards.places()):
            name = shard_name(*place, config.compression)
            if name in finished:
                record = record_of(work, name)
                task = shard_task(shards[number], config, root=saved.root, work=os.fsencode(work))
                fitting += record is not None and fits(record, task)
    return len(finished), fitting
