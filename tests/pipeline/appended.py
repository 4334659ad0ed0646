"""Recordings whose names say what is in them, and builds that they are added by."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiochunk.config import BuildConfig
from audiochunk.pipeline import run
from audiochunk.pipeline.output import config_of
from audiochunk.pipeline.run import Built

OPTIONS: dict[str, Any] = {"chunk_bytes": 60, "shard_size": 600, "on_error": "skip"}

#: In path order, the first and the second build's are all mixed up.
FIRST = (
    "a/b-stereo.wav",
    "a/clip.wav",
    "a/d.wav",
    "b/empty.wav",
    "b/nan.wav",
    "b/q-long.wav",
    "c/nan-stereo.wav",
    "c/z-24.wav",
)
SECOND = (
    "a/a.wav",
    "a/c-24.wav",
    "b/a-clip-stereo.wav",
    "b/p-nan-long.wav",
    "b/r-empty.wav",
    "c/a-short.wav",
    "c/y-stereo.wav",
    "c/zz.wav",
)
THIRD = ("a/0.wav", "b/n-nan-stereo.wav", "c/z-25-long-stereo.wav")


def write(source: Path, names: Iterable[str]) -> None:
    """Recordings: of 16 bits or 24, or floats where some are NaN or lie beyond full scale; none with "empty"."""
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if "empty" in name:
            path.touch()
            continue
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        frames = 40 if "short" in name else int(rng.integers(300, 900)) + 2000 * ("long" in name)
        noise = rng.uniform(-0.7, 0.7, (frames, 1 + ("stereo" in name)))
        subtype = "FLOAT" if "nan" in name or "clip" in name else "PCM_24" if "-24" in name else "PCM_16"
        if "nan" in name:
            noise[frames // 2] = np.nan
        if "clip" in name:
            noise[:: frames // 7] = 1.5
        sf.write(path, noise.astype(np.float32), 8000, subtype=subtype)


def remove(source: Path, names: Iterable[str]) -> None:
    for name in names:
        (source / name).unlink()


def build(source: Path, out: Path, *, split_file: Path | None = None, workers: int = 1, **options: Any) -> Built:
    config = BuildConfig.make(**(OPTIONS | options))
    return run.build(source, out, config, split_file=split_file, workers=workers, fsync=False)


def append(source: Path, out: Path, *, workers: int = 1, options: dict[str, Any] | None = None, **more: Any) -> Built:
    config = config_of(out, options or {})
    return run.build(source, out, config, workers=workers, append=True, **({"fsync": False} | more))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
