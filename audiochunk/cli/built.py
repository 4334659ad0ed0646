"""The summary of a dataset that was built, or planned."""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiochunk.errors import printable

if TYPE_CHECKING:
    from audiochunk.pipeline.built import Built
    from audiochunk.pipeline.plan import Plan
    from audiochunk.storage.manifest import ShardEntry
    from audiochunk.tools.summary import Tally

_SHOWN = 50  # refused recordings that are listed by name
_MUCH_LOSS = 0.05


def report_on(plan: "Plan", built: "Built | None", tally: "Tally") -> dict[str, Any]:
    """The summary of a build, or of a plan where nothing was built; the numbers that are printed."""
    from audiochunk.pipeline.rows import rows
    from audiochunk.storage.shard import shard_name
    from audiochunk.tools.summary import plain

    encoding = plan.config.encoding
    if built is None:
        for row in rows(plan):
            tally.add(row)
    summary = tally.summary(plan.names)
    entries: Collection[ShardEntry] = ()
    if built is not None:
        made = {shard_name(*place, plan.config.compression) for place in plan.shards.places()}
        entries = [entry for entry in built.manifest.shards if built.up_to_date or entry.name in made]
    report = plain(summary, encoding) | {"shards": len(plan.shards) if built is None else len(entries)}
    for name, split in report["splits"].items():
        share = plan.asked.get(name)
        split["asked"] = None if share is None else float(share)
    if built is not None:
        report |= {
            "up_to_date": built.up_to_date,
            "dataset_id": built.manifest.dataset_id,
            "clipped": summary.total.clipped,
            "bytes_on_disk": sum(entry.bytes for entry in entries),
            "generations": built.manifest.generations,
            "dataset_chunks": sum(split.chunks for split in built.manifest.splits.values()),
            "dataset_shards": len(built.manifest.shards),
            "reused_shards": built.reused,
            "rebuilt_shards": built.rebuilt,
            "seconds": built.seconds,
        }
    return report


def print_report(plan: "Plan", report: dict[str, Any], *, out: Path | str, verb: str) -> None:
    """Print what `report_on` gave; `verb` says what became of the folder `out`."""
    from audiochunk.tools.text import count, duration, percent, size

    def line(label: str, text: str) -> None:
        click.echo(f"  {label:<11} {text}".rstrip())

    where = printable(str(out))
    if "seconds" not in report:
        click.echo(f"{verb} {where}:")
    elif report["up_to_date"]:
        click.echo(f"{where} is up to date (contents not compared; `audiochunk verify --against` does)")
    else:
        took = report["seconds"]
        rate = "" if report["reused_shards"] else f", {size(int(report['bytes'] / took))}/s"
        click.echo(f"{verb} {where} in {duration(took)}{rate}")
    line("encoding", report["encoding"])
    line("recordings", f"{report['recordings']:,}, {duration(report['seconds_of_audio'])}")
    if report["too_short"]:
        line("", f"{report['too_short']:,} of them too short for a chunk")
    line("chunks", f"{report['chunks']:,} of {count(report['chunk_bytes'], 'byte')}")
    shards = f"{report['shards']:,}, {size(report['bytes'])}"
    if plan.config.compression and "bytes_on_disk" in report:
        shards += f", {size(report['bytes_on_disk'])} compressed"
    line("shards", shards)
    if report.get("dataset_shards", 0) > report["shards"]:
        line("", f"with which the dataset has {report['dataset_shards']:,}, and {report['dataset_chunks']:,} chunks")
    if report.get("reused_shards") and verb != "sealed":
        line("", f"{report['reused_shards']:,} of them taken over from an interrupted build")
    if report.get("rebuilt_shards"):
        whose = "of the tasks" if verb == "sealed" else "of an interrupted build"
        line("", f"{report['rebuilt_shards']:,} {whose} no longer fitted and were built again")
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
    _print_notes(report)
    _print_skipped(report, where)
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


def _print_notes(report: dict[str, Any]) -> None:
    first: dict[str, dict[str, str]] = {}
    for note in report["notes"]:
        first.setdefault(note["note"].partition(":")[0], note)
    for kind, n in report["notes_by_kind"].items():
        one = f" ({first[kind]['path']} for one: {first[kind]['note']})" if kind in first else ""
        click.echo(f"  {kind}: {n:,}{one}")


def _print_skipped(report: dict[str, Any], where: str) -> None:
    n = report["recordings_skipped"]
    if not n:
        return
    click.echo(f"skipped {n:,}:")
    for item in report["skipped"][:_SHOWN]:
        click.echo(f"  {item['path']}: {item['reason']}")
    if n > _SHOWN:
        click.echo(f"  and {n - _SHOWN:,} more: audiochunk inspect {shlex.quote(where)} --all")
