"""audiochunk build"""

import gc
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from audiochunk.cli.built import print_old_card, print_report, report_on
from audiochunk.cli.options import dataset_options
from audiochunk.cli.paths import OutFolder
from audiochunk.cli.task import build_task
from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError

if TYPE_CHECKING:
    from audiochunk.pipeline.built import Built
    from audiochunk.pipeline.preview import Preview


_NOT_OF_A_PLAN = {  # why they do not go with --task
    "executor": "a task runs in processes of this machine, as many as --workers says",
    "append": "a plan is of a whole dataset; add recordings without one, by `audiochunk build INPUT --append`",
    "dry_run": "`audiochunk plan` has said what there is to build; before it, `audiochunk build INPUT --dry-run` does",
    "overwrite": "a task replaces no dataset; say it to `audiochunk plan` and `audiochunk seal`",
}


def _executor(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value != "local" and not re.fullmatch(r"dask://[^/\s]+:\d{1,5}", value):
        raise click.BadParameter("local, or dask://HOST:PORT")
    return value


@click.command()
@click.argument("source", metavar="INPUT", required=False)
@click.option("--out", "-o", required=True, type=OutFolder(), help="Folder of the dataset, or its URL.")
@dataset_options
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Processes. [default: the CPUs it may use]")
@click.option(
    "--executor",
    metavar="local|dask://HOST:PORT",
    default="local",
    show_default=True,
    callback=_executor,
    help="Who builds the shards: processes here, or the workers of a Dask scheduler (docs/cluster.md).",
)
@click.option(
    "--fsync/--no-fsync", default=True, show_default=True, help="Whether the dataset survives a loss of power."
)
@click.option(
    "--task", metavar="I/N|auto", help="Make the shards of one task of a plan; without INPUT and its options."
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset in --out.")
@click.option(
    "--append",
    is_flag=True,
    help="Add what is new in INPUT, beside the recordings that the dataset in --out was made from, with its options.",
)
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be built, or added with --append; decode and write nothing."
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@click.pass_context
def build(
    ctx: click.Context,
    /,
    source: str | None,
    out: Path | str,
    *,
    bits: str,
    split_file: Path | None,
    workers: int | None,
    executor: str,
    fsync: bool,
    task: str | None,
    overwrite: bool,
    append: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Build a dataset in --out from the recordings in the folder INPUT; both may be URLs (docs/remote.md).

    Recordings are WAV files and whatever else libsndfile reads without loss (FLAC, AIFF, W64, CAF, AU), found by
    extension. A build that was interrupted goes on when the same command is given again. The bytes of the dataset do
    not depend on who builds it, or how many.
    """
    if task is not None:
        _refuse_options_of_a_plan(ctx)
        build_task(ctx, out, task, workers=workers, fsync=fsync, quiet=quiet, as_json=as_json)
        return
    if source is None:
        raise ConfigError("give INPUT, the folder of recordings; or --task, after `audiochunk plan`")
    if append and overwrite:
        raise ConfigError("--append does not go with --overwrite")
    options = {"bits": int(bits)} | {key: value for key, value in options.items() if value is not None}
    if append:
        from audiochunk.pipeline.output import config_of

        config = config_of(out, {key: value for key, value in options.items() if _is_given(ctx, key)})
    else:
        config = BuildConfig.make(**options)

    # Only one thread, so that workers can be forked: the linear algebra of numpy, which is not used, would begin more.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nothing of what is loaded is ever garbage, and to look for some in it takes a sixth of the start of a build.
    gc.disable()
    from audiochunk.cli.progress import Progress
    from audiochunk.pipeline import preview, run

    gc.freeze()
    gc.enable()

    what: dict[str, Any] = {"split_file": split_file, "workers": workers, "overwrite": overwrite, "append": append}
    with Progress(config.encoding, quiet=quiet) as progress:
        came: Built | Preview
        if dry_run:
            came = preview.preview(source, out, config, **what, watcher=progress)
        else:
            came = run.build(source, out, config, **what, executor=executor, fsync=fsync, watcher=progress)
    report = report_on(came, progress.tally)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        verbs = ("would build", "would add to") if dry_run else ("built", "added to")
        print_report(came.plan, report, out=out, verb=verbs[append])
        if came.manifest is not None and isinstance(out, Path):
            print_old_card(out, came.manifest)
    if report["skipped"]:
        ctx.exit(3)


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _refuse_options_of_a_plan(ctx: click.Context) -> None:
    goes = {"out", "workers", "fsync", "task", "quiet", "as_json"}
    for param in ctx.command.params:
        if param.name not in goes and _is_given(ctx, param.name or ""):
            name = "INPUT" if param.name == "source" else param.opts[0]
            why = _NOT_OF_A_PLAN.get(param.name or "", "the plan has decided")
            raise ConfigError(f"{name} does not go with --task: {why}")
