"""Recordings of noise, and what datasets of them are made with."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

RATE = 16_000


def write_recordings(folder: Path) -> None:
    """Mono and stereo, 16 and 24 bit, some too short for a chunk."""
    rng = np.random.Generator(np.random.PCG64(11))
    folder.mkdir()
    for number, (frames, channels) in enumerate([(9000, 1), (300, 1), (7001, 2), (12_345, 2), (0, 1), (5000, 3)]):
        noise = rng.integers(-(2**31), 2**31 - 1, (frames, channels)).astype(np.int32)
        sf.write(folder / f"r{number}.wav", noise, RATE, subtype="PCM_24" if number % 2 else "PCM_16")


OPTIONS: dict[str, dict[str, Any]] = {
    "8-bit": {},
    "16-bit": {"bits": 16},
    "12-bit big": {"bits": 12, "byte_order": "big"},
    "24-bit": {"bits": 24, "chunk_bytes": 1536},
    "zstd": {"compress": "zstd", "chunks_per_frame": 3},
    "mono pad": {"layout": "mono", "tail": "pad"},
    "split pad zstd": {"layout": "split", "tail": "pad", "compress": "zstd:1", "bits": 16},
    "misaligned": {"block": 300, "tail": "pad"},
    "huge block": {"block": 10**9},
}
