"""audiochunk build"""

import gc
import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiochunk.config import BuildConfig
from audiochunk.errors import printable

if TYPE_CHECKING:
    from audiochunk.pipeline.plan import Plan
    from audiochunk.pipeline.run import Built
    from audiochunk.tools.summary import Tally

_SHOWN = 50  # refused recordings that are listed by name
_MUCH_LOSS = 0.05


def _block(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if value.isdecimal():
        return int(value)
    raise click.BadParameter("a number of samples, or auto")


def _executor(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value != "local" and not re.fullmatch(r"dask://[^/\s]+:\d{1,5}", value):
        raise click.BadParameter("local, or dask://HOST:PORT")
    return value


@click.command()
@click.argument("source", metavar="INPUT")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--bits", type=click.Choice(["8", "12", "16", "24"]), default="8", show_default=True, help="Bits of a code."
)
@click.option(
    "--block",
    metavar="N|auto",
    default="auto",
    callback=_block,
    help="Samples of one channel that follow each other; auto: a chunk holds one block of every channel.",
    show_default=True,
)
@click.option("--chunk-bytes", metavar="N", type=int, default=2048, show_default=True, help="Bytes of a chunk.")
@click.option(
    "--layout",
    type=click.Choice(["blocks", "mono", "split"]),
    default="blocks",
    show_default=True,
    help="Channels: interleaved block by block, mixed to one, or every one a stream of its own.",
)
@click.option(
    "--quantizer", type=click.Choice(["linear", "mulaw"]), default="linear", show_default=True, help="Samples to codes."
)
@click.option(
    "--byte-order",
    type=click.Choice(["little", "big"]),
    default="little",
    show_default=True,
    help="Of codes of more than one byte.",
)
@click.option(
    "--tail",
    type=click.Choice(["drop", "pad"]),
    default="drop",
    show_default=True,
    help="The incomplete last chunk of a recording: drop it, or pad it with silence.",
)
@click.option("--split", metavar="SPEC", help="train=0.98,val=0.02 or folders. [default: everything is train]")
@click.option(
    "--split-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Table of path or folder, tab, split.",
)
@click.option(
    "--group-by",
    metavar="GROUP",
    default="recording",
    show_default=True,
    help="What --split keeps together: recording, folder, or folder:N for the first N parts of the path.",
)
@click.option("--split-seed", metavar="N", type=int, default=0, show_default=True, help="Another draw of the splits.")
@click.option(
    "--shard-size", metavar="SIZE", default="32MiB", show_default=True, help="Of a shard, before compression."
)
@click.option(
    "--compress", metavar="none|zstd[:LEVEL]", default="none", show_default=True, help="Compression of the shards."
)
@click.option("--chunks-per-frame", metavar="N", type=int, help="Chunks that zstd compresses together. [default: 8]")
@click.option("--include", metavar="GLOB", multiple=True, help="Take only recordings that match. Repeatable.")
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out recordings that match. Repeatable.")
@click.option(
    "--workers", metavar="N", type=click.IntRange(min=1), help="Processes. [default: the CPUs this process may use]"
)
@click.option(
    "--executor",
    metavar="local|dask://HOST:PORT",
    default="local",
    show_default=True,
    callback=_executor,
    help="Who builds the shards: processes here, or the workers of a Dask scheduler (docs/cluster.md).",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Recordings that cannot be used: end the build, or leave them out and exit with 3.",
)
@click.option(
    "--fsync/--no-fsync", default=True, show_default=True, help="Whether the dataset survives a loss of power."
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset in --out.")
@click.option("--dry-run", is_flag=True, help="Only say what would be built; decode nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@click.pass_context
def build(
    ctx: click.Context,
    /,
    source: str,
    out: Path,
    *,
    bits: str,
    split_file: Path | None,
    workers: int | None,
    executor: str,
    fsync: bool,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Build a dataset in --out from the recordings in the folder INPUT.

    Recordings are WAV files and whatever else libsndfile reads without loss (FLAC, AIFF, W64, CAF, AU), found by
    extension. A build that was interrupted goes on when the same command is given again. The bytes of the dataset do
    not depend on who builds it, or how many.
    """
    options = {key: value for key, value in options.items() if value is not None}
    config = BuildConfig.make(bits=int(bits), **options)

    # Only one thread, so that workers can be forked: the linear algebra of numpy, which is not used, would begin more.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nothing of what is loaded is ever garbage, and to look for some in it takes a sixth of the start of a build.
    gc.disable()
    from audiochunk.cli.progress import Progress
    from audiochunk.pipeline import prepare, run

    gc.freeze()
    gc.enable()

    with Progress(config.encoding, quiet=quiet) as progress:
        if dry_run:
            run.check_output(out, config, overwrite=overwrite)
            planned = prepare.make_plan(source, config, split_file=split_file, watcher=progress)
        else:
            built = run.build(
                source,
                out,
                config,
                split_file=split_file,
                workers=workers,
                executor=executor,
                fsync=fsync,
                overwrite=overwrite,
                watcher=progress,
            )
            planned = built.plan
    report = _report(planned, None if dry_run else built, progress.tally)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        _print(planned, report, source, out)
    if report["skipped"]:
        ctx.exit(3)


def _report(plan: "Plan", built: "Built | None", tally: "Tally") -> dict[str, Any]:
    """The summary of a build, or of a plan where nothing was built; the numbers that are printed."""
    from audiochunk.pipeline.plan import rows
    from audiochunk.tools.summary import plain

    encoding = plan.config.encoding
    if built is None or built.up_to_date:
        for row in rows(plan, failed=built.failed, clipped=built.clipped) if built else rows(plan):
            tally.add(row)
    summary = tally.summary(plan.names)
    report = plain(summary, encoding) | {"shards": len(plan.shards)}
    for name, split in report["splits"].items():
        share = plan.asked.get(name)
        split["asked"] = None if share is None else float(share)
    if built is not None:
        report |= {
            "up_to_date": built.up_to_date,
            "dataset_id": built.manifest.dataset_id,
            "clipped": summary.total.clipped,
            "bytes_on_disk": sum(shard.bytes for shard in built.manifest.shards),
            "reused_shards": built.reused,
            "rebuilt_shards": built.rebuilt,
            "seconds": built.seconds,
        }
    return report


def _print(plan: "Plan", report: dict[str, Any], source: str, out: Path) -> None:
    from audiochunk.tools.text import count, duration, percent, size

    def line(label: str, text: str) -> None:
        click.echo(f"  {label:<11} {text}".rstrip())

    where = printable(str(out))
    if "seconds" not in report:
        click.echo(f"would build {where} from {printable(source)}:")
    elif report["up_to_date"]:
        click.echo(f"{where} is up to date (contents not compared; `audiochunk verify --against` does)")
    else:
        took = report["seconds"]
        rate = "" if report["reused_shards"] else f", {size(int(report['bytes'] / took))}/s"
        click.echo(f"built {where} in {duration(took)}{rate}")
    line("encoding", report["encoding"])
    line("recordings", f"{report['recordings']:,}, {duration(report['seconds_of_audio'])}")
    if report["too_short"]:
        line("", f"{report['too_short']:,} of them too short for a chunk")
    line("chunks", f"{report['chunks']:,} of {count(report['chunk_bytes'], 'byte')}")
    shards = f"{report['shards']:,}, {size(report['bytes'])}"
    if plan.config.compression and "bytes_on_disk" in report:
        shards += f", {size(report['bytes_on_disk'])} compressed"
    line("shards", shards)
    if report.get("reused_shards"):
        line("", f"{report['reused_shards']:,} of them taken over from an interrupted build")
    if report.get("rebuilt_shards"):
        line("", f"{report['rebuilt_shards']:,} of an interrupted build no longer fitted and were built again")
    for name, split in report["splits"].items():
        got = f"{count(split['chunks'], 'chunk')} of {count(split['recordings'], 'recording')}"
        if split["asked"] is not None:
            share = split["chunks"] / max(1, report["chunks"])
            got += f": {percent(share)} of chunks, {percent(split['asked'])} of groups asked for"
        line(name, got)
    line("tail loss", f"{percent(report['tail_loss'])} of frames, in incomplete last chunks")
    if report["tail_loss"] > _MUCH_LOSS:
        line("", "that is much: --tail pad keeps them, smaller --chunk-bytes lose fewer")
    if report.get("clipped"):
        line("clipped", f"{count(report['clipped'], 'sample')} lay beyond full scale")
    if len(report["kinds"]) > 1 or "seconds" not in report:
        _print_kinds(report["kinds"])
    _print_notes(report["notes"])
    _print_skipped(report["skipped"], where)
    if "seconds" in report:
        click.echo(f"next: audiochunk inspect {shlex.quote(where)}")


def _print_kinds(kinds: list[dict[str, Any]]) -> None:
    from audiochunk.tools.text import duration, table

    shown = kinds[:8]
    cells = [
        (
            f"{k['sample_rate']:,} Hz",
            f"{k['channels']} ch",
            k["subtype"],
            f"{k['recordings']:,}",
            duration(k["seconds_of_audio"]),
        )
        for k in shown
    ]
    click.echo("  recordings by sample rate, channels and subtype:")
    for text in table(cells, right=(0, 1, 3, 4)):
        click.echo(f"    {text}")
    if len(kinds) > len(shown):
        click.echo(f"    and {len(kinds) - len(shown)} more kinds")


def _print_notes(notes: list[dict[str, str]]) -> None:
    by_kind: dict[str, list[dict[str, str]]] = {}
    for note in notes:
        by_kind.setdefault(note["note"].partition(":")[0], []).append(note)
    for kind, found in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        click.echo(f"  {kind}: {len(found):,} ({found[0]['path']} for one: {found[0]['note']})")


def _print_skipped(skipped: list[dict[str, str]], where: str) -> None:
    if not skipped:
        return
    click.echo(f"skipped {len(skipped):,}:")
    for item in skipped[:_SHOWN]:
        click.echo(f"  {item['path']}: {item['reason']}")
    if len(skipped) > _SHOWN:
        click.echo(f"  and {len(skipped) - _SHOWN:,} more: audiochunk inspect {shlex.quote(where)} --all")
