"""audiochunk inspect"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiochunk.cli.facts import check_stats, find_facts, print_facts
from audiochunk.cli.paths import DatasetFolder
from audiochunk.cli.report import save_picture
from audiochunk.cli.show import show_chunk, show_recording
from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder
    from audiochunk.tools.facts import Facts

_SHOWN = 10  # refused recordings and kinds that are listed without --all


@click.command()
@click.argument("folder", metavar="DIR|URL", type=DatasetFolder())
@click.option("--chunk", metavar="I", type=int, help="Show one chunk: where it comes from, codes, waveform.")
@click.option("--recording", metavar="PATH", help="Show one recording, named as in the dataset.")
@click.option("--split", metavar="NAME", help="The split that --chunk counts in. [default: the only one, or train]")
@click.option(
    "--all", "show_all", is_flag=True, help="List all skipped recordings, kinds and notes, not the first ten."
)
@click.option(
    "--stats",
    metavar="all|NAME,…",
    help="Look at all chunks for what changes a result: depth, silence, dc, clipping, channels, loudness, codes,"
    " duplicates.",
)
@click.option("--cache", is_flag=True, help="With --stats: take what was found from DIR.facts.json, or keep it there.")
@click.option(
    "--workers", metavar="N", type=click.IntRange(1), help="With --stats: processes. [default: the CPUs it may use]"
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also draw the codes and some recordings into a PNG file.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def inspect(
    folder: "Folder",
    *,
    chunk: int | None,
    recording: str | None,
    split: str | None,
    show_all: bool,
    stats: str | None,
    cache: bool,
    workers: int | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Tell what the dataset in the folder DIR, or at a URL such as s3://bucket/shards, holds."""
    if chunk is not None and recording is not None:
        raise ConfigError("--chunk and --recording: give one or the other")
    if split is not None and chunk is None:
        raise ConfigError("--split says which split --chunk counts in; give both")
    if stats is None and (cache or workers is not None):
        raise ConfigError("--cache and --workers mean nothing without --stats")
    if stats is not None and (chunk is not None or recording is not None):
        raise ConfigError("--stats is of the whole dataset; leave out --chunk and --recording")
    if plot is not None:
        if chunk is not None or recording is not None:
            raise ConfigError("--plot is of the whole dataset; leave out --chunk and --recording")
        if stats is not None:
            check_stats(stats)
        save_picture(folder, plot)
    if chunk is not None:
        show_chunk(folder, chunk, split, as_json=as_json)
    elif recording is not None:
        show_recording(folder, recording, as_json=as_json)
    else:
        facts = None if stats is None else find_facts(folder, stats, cache=cache, workers=workers)
        _show_dataset(folder, facts, show_all=show_all, as_json=as_json)


def _show_dataset(folder: "Folder", facts: "Facts | None", *, show_all: bool, as_json: bool) -> None:
    report = _report(folder) | ({} if facts is None else {"facts": facts.plain()})
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    from audiochunk.tools.text import count, duration, percent, size, table

    def line(label: str, text: str) -> None:
        click.echo(f"  {label:<11} {text}".rstrip())

    click.echo(printable(str(folder)))
    line("encoding", report["encoding"])
    line(
        "stored as",
        f"{report['stored_as']}, {report['vocab_size']:,} values, chunks of {count(report['chunk_bytes'], 'byte')}",
    )
    line("dataset id", report["dataset_id"])
    compression = report["compression"]
    packed = (
        ""
        if compression is None
        else (
            f", zstd level {compression['level']} with {count(compression['chunks_per_frame'], 'chunk')} a frame:"
            f" {size(report['bytes_on_disk'])}, {percent(report['bytes_on_disk'] / max(1, report['bytes']))}"
        )
    )
    line("shards", f"{report['shards']:,}, {size(report['bytes'])}{packed}")
    line("recordings", f"{report['recordings']:,}, {duration(report['seconds_of_audio'])}")
    if report["too_short"]:
        line("", f"{report['too_short']:,} of them too short for a chunk")
    splits = [
        (
            f"  {name}",
            count(s["chunks"], "chunk"),
            count(s["shards"], "shard"),
            count(s["recordings"], "recording"),
            duration(s["seconds_of_audio"]),
        )
        for name, s in report["splits"].items()
    ]
    click.echo("\n".join(table(splits, right=(1, 2, 3, 4))))
    line("tail loss", f"{percent(report['tail_loss'])} of frames, in incomplete last chunks")
    if report["clipped"]:
        line("clipped", f"{percent(report['clipped_share'])} of samples lay beyond full scale")
    shown = report["kinds"] if show_all else report["kinds"][:_SHOWN]
    click.echo("  recordings by sample rate, channels and subtype:")
    kinds = [
        (
            f"    {k['sample_rate']:,} Hz",
            f"{k['channels']} ch",
            k["subtype"],
            f"{k['recordings']:,}",
            duration(k["seconds_of_audio"]),
            count(k["chunks"], "chunk"),
            "" if k["aligned"] else "not aligned",
        )
        for k in shown
    ]
    click.echo("\n".join(table(kinds, right=(0, 1, 3, 4, 5))))
    if len(shown) < len(report["kinds"]):
        click.echo(f"    and {len(report['kinds']) - len(shown)} more kinds: --all")
    _print_histogram(report["histogram"], report["bits"])
    if facts is not None:
        print_facts(facts)
    notes = [f"{n['path']}: {n['note']}" for n in report["notes"]]
    _print_list("notes", notes, sum(report["notes_by_kind"].values()), show_all=show_all)
    skipped = [f"{s['path']}: {s['reason']}" for s in report["skipped"]]
    _print_list("skipped", skipped, report["recordings_skipped"], show_all=show_all)


def _print_histogram(histogram: dict[str, Any], bits: int) -> None:
    import numpy as np

    from audiochunk.tools.sketch import bars

    most = f"{histogram['most_entropy']:.3g}"
    seen = "all" if histogram["chunks"] == histogram["of"] else f"{histogram['chunks']:,} of {histogram['of']:,}"
    click.echo(f"  codes       {histogram['entropy']:.2f} bits of entropy a sample, of at most {most} ({seen} chunks)")
    click.echo(f"  0 |{bars(np.array(histogram['bins']))}| {2**bits - 1:,}")


def _print_list(title: str, lines: list[str], n: int, *, show_all: bool) -> None:
    """Print the first of `n` lines, or all that are there."""
    if not lines:
        return
    click.echo(f"  {title} ({n:,}):")
    shown = lines if show_all else lines[:_SHOWN]
    for text in shown:
        click.echo(f"    {text}")
    if len(shown) < n:
        click.echo(f"    and {n - len(shown):,} more: {'recordings.jsonl' if show_all else '--all'}")


def _report(folder: "Folder") -> dict[str, Any]:
    """What there is to say of a dataset; the numbers that are printed."""
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.manifest import Manifest
    from audiochunk.storage.recordings import read_rows
    from audiochunk.tools.histogram import histogram
    from audiochunk.tools.summary import plain, summarize

    manifest = Manifest.read(folder)
    rows = read_rows(folder, manifest.recordings)
    summary = summarize(rows, encoding=manifest.encoding, splits=manifest.splits)
    codes = histogram([ChunkDataset(folder, split) for split in sorted(manifest.splits)])
    total, encoding = summary.total, manifest.encoding
    report = plain(summary, encoding)
    for name, split in report["splits"].items():
        split["shards"] = sum(shard.split == name for shard in manifest.shards)
    return report | {
        "dataset_id": manifest.dataset_id,
        "bits": encoding.bits,
        "stored_as": encoding.stored_as,
        "vocab_size": encoding.vocab_size,
        "compression": manifest.config.to_dict()["compression"],
        "shards": len(manifest.shards),
        "bytes_on_disk": sum(shard.bytes for shard in manifest.shards),
        "clipped": total.clipped,
        "clipped_share": total.clipped / max(1, total.samples),
        "histogram": {
            "bins": codes.bins.tolist(),
            "entropy": round(codes.entropy, 6),
            "most_entropy": round(codes.most, 6),
            "chunks": codes.chunks,
            "of": codes.of,
        },
    }
