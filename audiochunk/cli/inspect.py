"""audiochunk inspect"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.manifest import RecordingRow

_SHOWN = 10  # refused recordings and kinds that are listed without --all
_CODES = 16  # codes of a chunk that are shown
_OUTLINED = 512  # chunks that the waveform of a recording is made of


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--chunk", metavar="I", type=int, help="Show one chunk: where it comes from, codes, waveform.")
@click.option("--recording", metavar="PATH", help="Show one recording, named as in the dataset.")
@click.option("--split", metavar="NAME", help="The split that --chunk counts in. [default: the only one, or train]")
@click.option(
    "--all", "show_all", is_flag=True, help="List all skipped recordings, kinds and notes, not the first ten."
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def inspect(
    folder: Path, *, chunk: int | None, recording: str | None, split: str | None, show_all: bool, as_json: bool
) -> None:
    """Tell what the dataset in the folder DIR holds."""
    if chunk is not None and recording is not None:
        raise ConfigError("--chunk and --recording: give one or the other")
    if split is not None and chunk is None:
        raise ConfigError("--split says which split --chunk counts in; give both")
    if chunk is not None:
        _show_chunk(folder, chunk, split, as_json=as_json)
    elif recording is not None:
        _show_recording(folder, recording, as_json=as_json)
    else:
        _show_dataset(folder, show_all=show_all, as_json=as_json)


def _show_dataset(folder: Path, *, show_all: bool, as_json: bool) -> None:
    report = _report(folder)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    from audiochunk.cli.text import count, duration, percent, size, table

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
    _print_list("notes", [f"{n['path']}: {n['note']}" for n in report["notes"]], show_all=show_all)
    _print_list("skipped", [f"{s['path']}: {s['reason']}" for s in report["skipped"]], show_all=show_all)


def _print_histogram(histogram: dict[str, Any], bits: int) -> None:
    import numpy as np

    from audiochunk.tools.sketch import bars

    most = f"{histogram['most_entropy']:.3g}"
    seen = "all" if histogram["chunks"] == histogram["of"] else f"{histogram['chunks']:,} of {histogram['of']:,}"
    click.echo(f"  codes       {histogram['entropy']:.2f} bits of entropy a sample, of at most {most} ({seen} chunks)")
    click.echo(f"  0 |{bars(np.array(histogram['bins']))}| {2**bits - 1:,}")


def _print_list(title: str, lines: list[str], *, show_all: bool) -> None:
    if not lines:
        return
    click.echo(f"  {title} ({len(lines):,}):")
    for text in lines if show_all else lines[:_SHOWN]:
        click.echo(f"    {text}")
    if len(lines) > _SHOWN and not show_all:
        click.echo(f"    and {len(lines) - _SHOWN:,} more: --all")


def _report(folder: Path) -> dict[str, Any]:
    """What there is to say of a dataset; the numbers that are printed."""
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.manifest import Manifest, read_rows
    from audiochunk.tools.summary import describe_encoding, histogram, summarize

    manifest = Manifest.read(folder)
    rows = read_rows(folder, manifest.recordings)
    summary = summarize(rows, encoding=manifest.encoding, splits=manifest.splits)
    codes = histogram([ChunkDataset(folder, split) for split in sorted(manifest.splits)])
    total, encoding = summary.total, manifest.encoding
    return {
        "dataset_id": manifest.dataset_id,
        "encoding": describe_encoding(encoding, summary.kinds),
        "bits": encoding.bits,
        "stored_as": encoding.stored_as,
        "vocab_size": encoding.vocab_size,
        "chunk_bytes": encoding.chunk_bytes,
        "compression": None
        if manifest.compression is None
        else {
            "level": manifest.compression.level,
            "chunks_per_frame": manifest.compression.chunks_per_frame,
        },
        "shards": len(manifest.shards),
        "chunks": total.chunks,
        "bytes": total.chunks * encoding.chunk_bytes,
        "bytes_on_disk": sum(shard.bytes for shard in manifest.shards),
        "recordings": total.recordings,
        "too_short": total.empty,
        "seconds_of_audio": float(total.seconds),
        "tail_loss": total.tail_loss,
        "clipped": total.clipped,
        "clipped_share": total.clipped / max(1, total.samples),
        "splits": {
            name: {
                "chunks": split.chunks,
                "shards": sum(shard.split == name for shard in manifest.shards),
                "recordings": split.recordings,
                "seconds_of_audio": float(split.seconds),
            }
            for name, split in summary.splits.items()
        },
        "kinds": [
            {
                "sample_rate": kind.sample_rate,
                "channels": kind.channels,
                "subtype": printable(kind.subtype),
                "recordings": totals.recordings,
                "seconds_of_audio": float(totals.seconds),
                "chunks": totals.chunks,
                "aligned": encoding.is_aligned(kind.channels),
            }
            for kind, totals in summary.kinds.items()
        ],
        "histogram": {
            "bins": codes.bins.tolist(),
            "entropy": round(codes.entropy, 6),
            "most_entropy": round(codes.most, 6),
            "chunks": codes.chunks,
            "of": codes.of,
        },
        "notes": [{"path": printable(path), "note": printable(note)} for path, note in summary.notes],
        "skipped": [{"path": printable(path), "reason": printable(reason)} for path, reason in summary.refused],
    }


def _show_chunk(folder: Path, i: int, split: str | None, *, as_json: bool) -> None:
    from audiochunk.cli.text import count
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.manifest import Manifest
    from audiochunk.tools.summary import entropy, most_entropy

    splits = Manifest.read(folder).splits
    ds = ChunkDataset(folder, split or (next(iter(splits)) if len(splits) == 1 else "train"))
    if not -len(ds) <= i < len(ds):
        raise ConfigError(f"there is no chunk {i}: split {ds.split} has {count(len(ds), 'chunk')}")
    i %= len(ds)
    where, codes, wave = ds.locate(i), ds.codes(i), ds.waveform(i)
    if as_json:
        found = {
            "split": ds.split,
            "chunk": i,
            "path": printable(where.recording.path_bytes),
            "channels": list(where.channels),
            "first_frame": where.first_frame,
            "last_frame": where.last_frame,
            "sample_rate": where.sample_rate,
            "aligned": not isinstance(wave, list),
            "entropy": entropy(codes),
            "codes": codes.tolist(),
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(
        f"chunk {i:,} of {len(ds):,} in {ds.split}: chunk {where.chunk:,} of {printable(where.recording.path_bytes)}"
    )
    begin, end = where.first_frame / where.sample_rate, (where.last_frame + 1) / where.sample_rate
    click.echo(
        f"  frames {where.first_frame:,} to {where.last_frame:,}, {begin:.4f} s to {end:.4f} s"
        f" at {where.sample_rate:,} Hz; {_channels(where.channels)}"
    )
    click.echo(
        f"  {count(codes.size, 'code')}, {codes.min():,} to {codes.max():,}, {entropy(codes):.2f} bits of entropy each,"
        f" of at most {most_entropy(ds.encoding.bits, codes.size):.3g}"
    )
    click.echo(f"  first codes: {' '.join(map(str, codes[:_CODES]))}{' …' if codes.size > _CODES else ''}")
    waves = wave if isinstance(wave, list) else list(wave.T)
    # Mixed to mono, many channels have one waveform.
    labels = [str(channel) for channel in where.channels] if len(waves) == len(where.channels) else ["all"]
    for label, samples in zip(labels, waves, strict=True):
        _print_wave(label, samples)


def _channels(channels: tuple[int, ...]) -> str:
    return f"channel{'s' if len(channels) > 1 else ''} {', '.join(map(str, channels))}"


def _print_wave(channel: str, samples: "npt.NDArray[np.float32]", part: str = "") -> None:
    from audiochunk.tools.sketch import waveform

    peak = float(abs(samples).max())
    click.echo(f"  channel {channel}, peak {peak:.4f} of full scale{part}:")
    for text in waveform(samples):
        click.echo(f"  {text}")


def _show_recording(folder: Path, name: str, *, as_json: bool) -> None:
    import msgspec

    from audiochunk.cli.text import count, duration, percent
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.manifest import Manifest, read_rows

    manifest = Manifest.read(folder)
    found = [
        row
        for row in read_rows(folder, manifest.recordings)
        if row.path_bytes == os.fsencode(name) or name in (row.path, printable(row.path_bytes))
    ]
    if not found:
        raise ConfigError(f"there is no recording {printable(name)!r} in {printable(str(folder))}")
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(row) for row in found], indent=2, ensure_ascii=False))
        return
    first = found[0]
    click.echo(f"{printable(first.path_bytes)} in {first.split}")
    if first.sample_rate:
        seconds = first.frames / first.sample_rate
        click.echo(
            f"  {printable(first.subtype)}, {first.sample_rate:,} Hz, {count(first.channels, 'channel')},"
            f" {count(first.frames, 'frame')}, {duration(seconds)}, a file of {first.bytes:,} bytes"
        )
    for note in first.notes:
        click.echo(f"  note: {printable(note)}")
    if first.error is not None:
        click.echo(f"  skipped: {printable(first.error)}")
        return
    loss = first.dropped_frames / first.frames if first.frames else 0.0
    click.echo(f"  {count(first.dropped_frames, 'frame')} dropped at the end ({percent(loss)})")
    ds = ChunkDataset(folder, first.split)
    for row in found:
        label = "all" if row.channel is None else str(row.channel)
        if not row.chunks:
            click.echo("  too short for a chunk")
            continue
        click.echo(
            f"  {count(row.chunks, 'chunk')}:"
            f" {row.first_chunk:,} to {row.first_chunk + row.chunks - 1:,} in {row.split}"
        )
        if row.clipped:
            click.echo(f"  {count(row.clipped, 'sample')} lay beyond full scale")
        part = f", {_OUTLINED} of its chunks looked at" if row.chunks > _OUTLINED else ""
        _print_wave(label, _outline(ds, row), part)


def _outline(ds: "ChunkDataset", row: "RecordingRow") -> "npt.NDArray[np.float32]":
    """Samples of at most so many chunks of a recording, evenly spread and in order, of all channels."""
    import numpy as np

    numbers = np.unique(np.linspace(row.first_chunk, row.first_chunk + row.chunks - 1, _OUTLINED).astype(int))
    waves = (ds.waveform(int(number)) for number in numbers)
    return np.concatenate([np.concatenate(w) if isinstance(w, list) else w.reshape(-1) for w in waves])
