"""audiochunk plan"""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click

from audiochunk.cli.built import print_report, report_on
from audiochunk.cli.options import dataset_options
from audiochunk.cli.paths import OutFolder
from audiochunk.config import BuildConfig
from audiochunk.errors import printable


@click.command()
@click.argument("source", metavar="INPUT")
@click.option("--out", "-o", required=True, type=OutFolder(), help="Folder of the dataset.")
@dataset_options
@click.option(
    "--workers", metavar="N", type=click.IntRange(min=1), help="Processes to scan with. [default: the CPUs it may use]"
)
@click.option("--overwrite", is_flag=True, help="There may be a dataset in --out; it stays until the seal.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    source: str,
    out: Path | str,
    *,
    bits: str,
    split_file: Path | None,
    workers: int | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Plan a dataset in --out from the recordings in the folder INPUT, for other machines to build.

    They run `audiochunk build --out DIR --task I/N`, for I from 0 to N - 1; then `audiochunk seal --out DIR` makes the
    dataset. The bytes are those of `audiochunk build` with the same options.
    """
    options = {key: value for key, value in options.items() if value is not None}
    config = BuildConfig.make(bits=int(bits), **options)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # so that workers can be forked
    from audiochunk.cli.progress import Progress
    from audiochunk.pipeline.array.job import save_plan
    from audiochunk.pipeline.preview import Preview

    with Progress(config.encoding, quiet=quiet) as progress:
        planned = save_plan(
            source, out, config, split_file=split_file, workers=workers, overwrite=overwrite, watcher=progress
        )
    report = report_on(Preview(planned), progress.tally)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        print_report(planned, report, out=out, verb="planned")
        n_shards = len(planned.shards)
        where = shlex.quote(printable(str(out)))
        click.echo(f"next: audiochunk build --out {where} --task I/N, for I from 0 to N - 1 (N at most {n_shards:,})")
        click.echo(f"then: audiochunk seal --out {where}")
    if report["skipped"]:
        ctx.exit(3)
