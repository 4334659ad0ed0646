"""What fuzzing starts from: golden files, real recordings that break readers, and small shards."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from targets import CHUNKS, ENCODING

from audiochunk.config import Compression
from audiochunk.storage.shard import ShardSpec, ShardWriter

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
MAX_BYTES = 8192


def seeds(target: str) -> Iterator[bytes]:
    """Inputs for a target; whatever is longer is cut to its first 8192 bytes."""
    if target in ("raw_shard", "zstd_shard"):
        yield _written(Compression(chunks_per_frame=3) if target == "zstd_shard" else None)
        return
    pattern = {"manifest": "manifest.json", "recordings": "recordings.jsonl", "riff": "*.wav"}[target]
    folders = [GOLDEN]
    if target == "riff" and (audio := _real_recordings()) is not None:
        folders.append(audio / "torture")
    for folder in folders:
        for file in sorted(folder.rglob(pattern)):
            with file.open("rb") as opened:
                yield opened.read(MAX_BYTES)


def _real_recordings() -> Path | None:
    beside = Path(__file__).resolve().parents[3] / "shared" / "audio"
    folder = Path(os.environ.get("AUDIOCHUNK_TEST_AUDIO", beside))
    return folder if folder.is_dir() else None


def _written(compression: Compression | None) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shard"
        with ShardWriter(path, ShardSpec("train", 0, CHUNKS, ENCODING), compression) as writer:
            writer.room(64 * CHUNKS)[:] = np.tile(np.arange(64, dtype=np.uint8), CHUNKS)
            writer.finish()
        return path.read_bytes()
