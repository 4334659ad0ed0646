"""One task of a job array."""

import json
import os
from pathlib import Path

import click

from audiochunk.errors import printable


def build_task(
    ctx: click.Context, out: Path | str, task: str, *, workers: int | None, fsync: bool, quiet: bool, as_json: bool
) -> None:
    """Make the shards of a task, and print what it came to."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # so that workers can be forked
    from audiochunk.cli.progress import Progress
    from audiochunk.pipeline.array.job import TaskDone, run_task
    from audiochunk.pipeline.array.task import ArrayTask
    from audiochunk.tools.text import count

    which = ArrayTask.parse(task)
    with Progress(quiet=quiet) as progress:
        done = run_task(out, which, workers=workers, fsync=fsync, watcher=progress)
    is_sealed = done is None
    if done is None:
        done = TaskDone((), 0, 0, {})
    failed = [{"path": printable(path), "reason": printable(reason)} for path, reason in done.failed.items()]
    if as_json:
        found = {
            "task": str(which),
            "shards": list(done.shards),
            "chunks": done.chunks,
            "reused_shards": done.reused,
            "failed": failed,
            "sealed": is_sealed,
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif is_sealed and not quiet:
        click.echo(f"{printable(str(out))} is sealed already; nothing is left to do for task {which}")
    elif not quiet:
        was = "was" if done.reused == 1 else "were"
        reused = f", {done.reused:,} of them {was} there" if done.reused else ""
        click.echo(
            f"{printable(str(out))}: task {which}: {count(len(done.shards), 'shard')}{reused},"
            f" {count(done.chunks, 'chunk')}"
        )
        for item in failed:
            click.echo(f"  left out {item['path']}: {item['reason']}")
    if failed:
        ctx.exit(3)
