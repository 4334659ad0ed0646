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
    from audiochunk.pipeline.preview import Preview
    from audiochunk.storage.manifest import Manifest, ShardEntry
    from audiochunk.tools.summary import Tally

_SHOWN = 50  # refused recordings that are listed by name
_MUCH_LOSS = 0.05


def report_on(came: "Built | Preview", tally: "Tally") -> dict[str, Any]:
    """The summary of a build, or of what one would come to; the numbers that are printed."""
    from audiochunk.pipeline.built import Built
    from audiochunk.pipeline.rows import rows
    from audiochunk.storage.shard import shard_name
    from audiochunk.tools.summary import plain

    plan, manifest = came.plan, came.manifest
    encoding = plan.config.encoding
    if not isinstance(came, Built) and not came.up_to_date:
        for row in rows(plan):
            tally.add(row)
    summary = tally.summary(plan.names)
    entries: Collection[ShardEntry] = ()
    if manifest is not None:
        made = {shard_name(*place, plan.config.compression) for place in plan.shards.places()}
        entries = [entry for entry in manifest.shards if came.up_to_date or entry.name in made]
    n_shards = len(entries) if isinstance(came, Built) or came.up_to_date else len(plan.shards)
    report = plain(summary, encoding) | {"shards": n_shards}
    for name, split in report["splits"].items():
        share = plan.asked.get(name)
        split["asked"] = None if share is None else float(share)
    report["up_to_date"] = came.up_to_date
    if manifest is not None:
        report |= _of_dataset(came, manifest, report)
    if isinstance(came, Built):
        report |= {
            "dataset_id": came.manifest.dataset_id,
            "clipped": summary.total.clipped,
            "bytes_on_disk": sum(entry.bytes for entry in entries),
            "reused_shards": came.reused,
            "rebuilt_shards": came.rebuilt,
            "seconds": came.seconds,
        }
    return report


def _of_dataset(came: "Built | Preview", manifest: "Manifest", report: dict[str, Any]) -> dict[str, Any]:
    """What the whole dataset has, with what is added to it; of each split, too."""
    from audiochunk.pipeline.built import Built

    is_added = not (isinstance(came, Built) or came.up_to_date)  # to what the manifest counts
    for name, split in report["splits"].items():
        had = manifest.splits.get(name)
        for what in ("recordings", "chunks"):
            split[f"dataset_{what}"] = (getattr(had, what) if had else 0) + is_added * split[what]
    return {
        "generations": manifest.generations + is_added,
        "dataset_chunks": sum(split["dataset_chunks"] for split in report["splits"].values()),
        "dataset_shards": len(manifest.shards) + is_added * report["shards"],
    }


def print_report(plan: "Plan", report: dict[str, Any], *, out: Path | str, verb: str) -> None:
    """Print what `report_on` gave; `verb` says what became of the folder `out`."""
    from audiochunk.tools.text import count, duration, percent, size

    def line(label: str, text: str) -> None:
        click.echo(f"  {label:<11} {text}".rstrip())

    where = printable(str(out))
    if report["up_to_date"]:
        click.echo(f"{where} is up to date (contents not compared; `audiochunk verify --against` does)")
    elif "seconds" not in report:
        click.echo(f"{verb} {where}:")
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
    is_part = report.get("dataset_shards", 0) > report["shards"]
    if is_part:
        line("", f"with which the dataset has {report['dataset_shards']:,}, and {report['dataset_chunks']:,} chunks")
    if report.get("reused_shards") and verb != "sealed":
        line("", f"{report['reused_shards']:,} of them taken over from an interrupted build")
    if report.get("rebuilt_shards"):
        whose = "tasks" if verb == "sealed" else "an interrupted build"
        was = "was" if report["rebuilt_shards"] == 1 else "were"
        found = count(report["rebuilt_shards"], "shard")
        line("", f"{found} of {whose} did not fit or {was} damaged, and {was} built again")
    group_by = plan.config.options.group_by
    placed = "recordings" if group_by == "recording" else f"groups (--group-by {group_by})"
    for name, split in report["splits"].items():
        got = f"{count(split['chunks'], 'chunk')} of {count(split['recordings'], 'recording')}"
        of = "dataset_chunks" if is_part else "chunks"
        if is_part:
            line(name, f"{got}, with which it has")
            got = f"{count(split[of], 'chunk')} of {count(split['dataset_recordings'], 'recording')}"
        if split["asked"] is not None:
            share = percent(split[of] / max(1, report[of]))
            got += f": {share} of all chunks; asked for: {percent(split['asked'])} of {placed}"
        line("" if is_part else name, got)
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


def print_old_card(out: Path, manifest: "Manifest") -> None:
    """Say so where a card in the folder is of the dataset that was there before."""
    from audiochunk.tools.card.marks import of_another

    if names := list(of_another(out, manifest)):
        are = "is" if len(names) == 1 else "are"
        click.echo(f"{' and '.join(names)} {are} of the dataset before: audiochunk card {shlex.quote(str(out))}")


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
    click.echo("  recordings by sample rate, channels and subtype, most chunks first:")
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
