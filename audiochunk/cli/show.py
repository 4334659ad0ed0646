"""One chunk, or one recording, on the terminal."""

import json
from typing import TYPE_CHECKING

import click

from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.recordings import RecordingRow
    from audiochunk.storage.remote import Folder

_CODES = 16  # codes of a chunk that are shown
_OUTLINED = 512  # chunks that the waveform of a recording is made of


def open_chunk(folder: "Folder", i: int, split: str | None) -> "tuple[ChunkDataset, int]":
    """The split that chunk `i` is in, and its number counted from the front; negative ones count from the end.

    Raises:
        ConfigError: there is no such chunk or split.
    """
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.storage.manifest import Manifest
    from audiochunk.tools.text import count

    splits = Manifest.read(folder).splits
    ds = ChunkDataset(folder, split or (next(iter(splits)) if len(splits) == 1 else "train"))
    if not -len(ds) <= i < len(ds):
        raise ConfigError(f"there is no chunk {i}: split {ds.split} has {count(len(ds), 'chunk')}")
    return ds, i % len(ds)


def show_chunk(folder: "Folder", i: int, split: str | None, *, as_json: bool) -> None:
    """Print where chunk `i` comes from, its first codes, and its waveform."""
    from audiochunk.tools.histogram import entropy, most_entropy
    from audiochunk.tools.text import count

    ds, i = open_chunk(folder, i, split)
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


def show_recording(folder: "Folder", name: str, *, as_json: bool) -> None:
    """Print what is known of a recording, and its waveform."""
    import msgspec

    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.reader.decode import rows_named
    from audiochunk.storage.manifest import Manifest
    from audiochunk.storage.recordings import read_rows
    from audiochunk.tools.text import count, duration, percent

    manifest = Manifest.read(folder)
    found = rows_named(read_rows(folder, manifest.recordings), name, where=printable(str(folder)))
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
