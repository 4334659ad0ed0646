"""Recordings of which everything is known, and datasets of them."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiochunk.config import BuildConfig
from audiochunk.pipeline import run

RATE = 8000
Wave = np.ndarray[Any, Any]


def speech(seed: int, frames: int = 20_000, peak: float = 0.5) -> Wave:
    """Something like speech: noise that comes and goes; int16, no sample beyond `peak` of full scale."""
    rng = np.random.Generator(np.random.PCG64(seed))
    noise = rng.normal(0, 1, frames) * (1 + np.sin(np.arange(frames) / 900))
    return np.rint(noise / np.abs(noise).max() * peak * 32767).astype(np.int16)


def build(folder: Path, recordings: dict[str, Wave], *, subtypes: dict[str, str] | None = None, **options: Any) -> Path:
    """A dataset of recordings by path; int32 samples are written as PCM_24, others as PCM_16, unless told otherwise."""
    for name, samples in recordings.items():
        path = folder / "wavs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        usual = "PCM_24" if samples.dtype == np.int32 else "PCM_16"
        sf.write(path, samples, RATE, subtype=(subtypes or {}).get(name, usual))
    config = BuildConfig.make(**{"on_error": "skip", "chunk_bytes": 1536, **options})
    run.build(folder / "wavs", folder / "out", config, workers=1, fsync=False)
    return folder / "out"
