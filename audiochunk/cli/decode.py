"""audiochunk decode"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiochunk.cli.output import check_file
from audiochunk.cli.paths import DatasetFolder, LocalPath
from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


@click.command()
@click.argument("folder", metavar="DIR|URL", type=DatasetFolder())
@click.option("--recording", metavar="PATH", help="Decode one recording, named as in the dataset.")
@click.option("--chunk", metavar="I", type=int, help="Decode one chunk.")
@click.option("--all", "decode_all", is_flag=True, help="Decode every recording, into a tree like theirs.")
@click.option(
    "-o",
    "--out",
    "out",
    metavar="PATH",
    required=True,
    type=LocalPath(),
    help="The WAV file to write; with --all, the folder for them.",
)
@click.option(
    "--split",
    metavar="NAME",
    help="With --chunk, the split it counts in [default: the only one, or train]; with --all, decode this one only.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    help="With --all: processes to use. [default: the CPUs it may use]",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
def decode(
    folder: "Folder",
    *,
    recording: str | None,
    chunk: int | None,
    decode_all: bool,
    out: Path,
    split: str | None,
    workers: int | None,
    overwrite: bool,
) -> None:
    """Turn chunks of the dataset in the folder DIR, or at a URL, back into WAV files.

    They have the rate and channels of their recordings, and the bits that hold what the dataset has of them. Quantized
    linearly with at least as many --bits as a recording has, its samples come back as they were, but for the tail that
    was dropped.
    """
    if (recording is not None) + (chunk is not None) + decode_all != 1:
        raise ConfigError("give one of --recording, --chunk and --all")
    if split is not None and recording is not None:
        raise ConfigError("--split means nothing with --recording")
    if workers is not None and not decode_all:
        raise ConfigError("--workers means nothing without --all")
    if decode_all:
        _decode_all(folder, out, split, workers, overwrite=overwrite)
        return
    check_file(out, suffix=".wav", overwrite=overwrite)
    if chunk is not None:
        _decode_chunk(folder, out, chunk, split)
    elif recording is not None:
        _decode_recording(folder, out, recording)


def _decode_chunk(folder: "Folder", out: Path, i: int, split: str | None) -> None:
    from audiochunk.cli.show import open_chunk
    from audiochunk.tools.decode import decode_chunk
    from audiochunk.tools.text import count, rate

    ds, i = open_chunk(folder, i, split)
    form, where = decode_chunk(ds, i, out), ds.locate(i)
    click.echo(
        f"{printable(str(out))}: chunk {i:,} of {ds.split}, frames {where.first_frame:,} to {where.last_frame:,} of"
        f" {printable(where.recording.path_bytes)}; {form.bits} bits, {count(form.channels, 'channel')},"
        f" {rate(form.sample_rate)}"
    )
    if not ds.encoding.is_aligned(where.recording.channels):
        click.echo("the chunk is not aligned: each channel begins with its first sample in it", err=True)


def _decode_recording(folder: "Folder", out: Path, name: str) -> None:
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.reader.decode import Frames, rows_named
    from audiochunk.storage.manifest import Manifest
    from audiochunk.storage.recordings import read_rows
    from audiochunk.tools.decode import decode_recording
    from audiochunk.tools.text import count, percent, rate

    manifest = Manifest.read(folder)
    rows = rows_named(read_rows(folder, manifest.recordings), name, where=printable(str(folder)))
    ds = ChunkDataset(folder, rows[0].split)
    if rows[0].error is not None:
        raise ConfigError(f"{printable(rows[0].path_bytes)} was refused: {printable(rows[0].error)}")
    if not rows[0].chunks:
        raise ConfigError(f"{printable(rows[0].path_bytes)} is too short for a chunk: there is nothing to decode")
    form, frames = decode_recording(ds, rows, out), Frames(ds, rows[0]).frames
    lost = rows[0].frames - frames
    click.echo(
        f"{printable(str(out))}: {count(frames, 'frame')}; {form.bits} bits, {count(form.channels, 'channel')},"
        f" {rate(form.sample_rate)}"
        + (f"; {count(lost, 'frame')} ({percent(lost / rows[0].frames)}) are not in chunks" if lost else "")
    )


def _decode_all(folder: "Folder", out: Path, split: str | None, workers: int | None, *, overwrite: bool) -> None:
    from audiochunk.cli.bar import bar
    from audiochunk.pipeline.executors import usable_cpus
    from audiochunk.storage.manifest import MANIFEST, Manifest
    from audiochunk.tools.decode import DecodedFile, decode_all
    from audiochunk.tools.text import count

    manifest = Manifest.read(folder)
    if os.path.lexists(out) and not out.is_dir():
        raise ConfigError(f"{printable(str(out))} is a file; with --all, give a folder")
    if (out / MANIFEST).exists():
        raise ConfigError(f"{printable(str(out))} is the folder of a dataset; choose another")
    if split is not None and split not in manifest.splits:
        raise ConfigError(f"no split {split!r} here; there are: {', '.join(sorted(manifest.splits))}")
    splits = [split] if split is not None else sorted(manifest.splits)
    n_chunks = sum(manifest.splits[name].chunks for name in splits)
    with bar("decode", n_chunks * manifest.encoding.chunk_bytes) as on_bytes:

        def on_file(file: DecodedFile) -> None:
            if on_bytes is not None:
                on_bytes(file.chunks * manifest.encoding.chunk_bytes)

        files = decode_all(
            folder, out, splits=splits, workers=workers or usable_cpus(), overwrite=overwrite, on_file=on_file
        )
    used = sum(manifest.splits[name].recordings for name in splits)
    without = used - len(files)
    rest = f"; {count(without, 'recording')} too short for a chunk" if without else ""
    skipped = f"; {manifest.skipped:,} refused by the build" if manifest.skipped and split is None else ""
    click.echo(f"{printable(str(out))}: {count(len(files), 'WAV file')}{rest}{skipped}")
