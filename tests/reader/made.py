"""Datasets of any shape, written byte by byte from the format page, with no help from the builder."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
import zstandard

from audiochunk.config import BuildConfig
from audiochunk.reader.recordings import Recordings
from audiochunk.storage.manifest import Manifest, RecordingsEntry, ShardEntry, SplitTotals, dataset_id
from audiochunk.storage.recordings import RecordingRow, RowsWriter
from audiochunk.storage.shard import ShardSpec, shard_name


def make(folder: Path, sizes: Sequence[int], **options: Any) -> np.ndarray[Any, Any]:
    """Write a dataset whose shards have so many chunks each; returns all its chunks."""
    config = BuildConfig.make(**options)
    encoding = config.encoding
    folder.mkdir()
    # Few values, so that there is something to compress.
    codes = np.random.Generator(np.random.PCG64(sum(sizes))).integers(
        0, 9, (sum(sizes), encoding.chunk_bytes), np.uint8
    )
    entries, first = [], 0
    for number, size in enumerate(sizes):
        spec = ShardSpec("train", number, size, encoding)
        raw = spec.header() + codes[first : first + size].tobytes()
        first += size
        name = shard_name("train", number, config.compression)
        data = raw
        if config.compression is not None:
            data = compressed(raw, config.compression.chunks_per_frame * encoding.chunk_bytes)
        (folder / name).write_bytes(data)
        digest = xxhash.xxh3_128_hexdigest(raw)
        entries.append(ShardEntry(name=name, split="train", chunks=size, bytes=len(data), digest=digest))
    (folder / "recordings.jsonl").touch()
    manifest = Manifest(
        encoding=encoding,
        options=config.options,
        compression=config.compression,
        splits={"train": SplitTotals(chunks=sum(sizes), recordings=0, frames=0, seconds=0)},
        shards=tuple(entries),
        recordings=RecordingsEntry(name="recordings.jsonl", rows=0, digest=xxhash.xxh3_128_hexdigest(b"")),
        skipped=0,
        dataset_id=dataset_id(encoding, (entry.digest for entry in entries)),
    )
    (folder / "manifest.json").write_bytes(manifest.encode())
    return codes.view("<u2" if encoding.stored_as == "U16" else np.uint8)


def compressed(raw: bytes, frame_bytes: int) -> bytes:
    """A shard in the zstd seekable format."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    parts = [raw[:4096], *(raw[at : at + frame_bytes] for at in range(4096, len(raw), frame_bytes))]
    frames = [compressor.compress(part) for part in parts]
    table = b"".join(struct.pack("<II", len(f), len(p)) for f, p in zip(frames, parts, strict=True))
    table += struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    return b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table


def recordings(folder: Path, rows: Sequence[RecordingRow], split: str = "train") -> Recordings:
    """Rows of one split, read from a table of these."""
    writer = RowsWriter(folder / "recordings.jsonl")
    for row in rows:
        writer.write(row)
    return Recordings.read(folder, writer.finish(), split=split)
