"""audiochunk seal"""

import json
import os
from pathlib import Path

import click

from audiochunk.cli.built import print_report, report_on
from audiochunk.cli.paths import OutFolder
from audiochunk.errors import MissingShardsError, printable


@click.command()
@click.option("--out", "-o", required=True, type=OutFolder(), help="Folder of the dataset.")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Processes. [default: the CPUs it may use]")
@click.option(
    "--fsync/--no-fsync", default=True, show_default=True, help="Whether the dataset survives a loss of power."
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset in --out.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@click.pass_context
def seal(
    ctx: click.Context,
    /,
    out: Path | str,
    *,
    workers: int | None,
    fsync: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a dataset of the shards that the tasks of a plan have made, or say which are missing.

    Shards that hold part of a recording which failed in another task are made again without it.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # so that workers can be forked
    from audiochunk.cli.progress import Progress
    from audiochunk.pipeline.array.seal import seal_tasks

    with Progress(quiet=quiet) as progress:
        try:
            built = seal_tasks(out, workers=workers, fsync=fsync, overwrite=overwrite, watcher=progress)
        except MissingShardsError as error:
            if as_json:
                *_, missing, n_shards = error.args
                click.echo(json.dumps({"missing": missing, "shards": n_shards}))
            raise
    if built is None:
        if as_json:
            click.echo(json.dumps({"sealed": True}))
        elif not quiet:
            click.echo(f"{printable(str(out))} is sealed already")
        return
    report = report_on(built, progress.tally)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        print_report(built.plan, report, out=out, verb="sealed")
    if report["skipped"]:
        ctx.exit(3)
