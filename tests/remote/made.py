"""Recordings, in a folder and in a store, and what a build makes of either."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

import audiochunk
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.objects import Objects

KINDS = {"wav": "PCM_16", "flac": "PCM_24", "aiff": "PCM_16", "caf": "FLOAT", "w64": "PCM_24", "au": "ULAW"}


def make_recordings(folder: Path, *, n: int = 18, frames: int = 6000) -> Path:
    """A few recordings of all kinds, in folders, some with names that sort oddly; and a file that is none."""
    for i in range(n):
        extension, subtype = list(KINDS.items())[i % len(KINDS)]
        path = folder / ("a", "a b", "a-", "Ä")[i % 4] / f"{i:02} ü+%.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).normal(0, 0.3, (frames + 97 * i, 1 + i % 2)).clip(-1, 1)
        sf.write(path, noise, 8000, subtype=subtype)
    (folder / "a" / "notes.txt").write_text("not a recording")
    return folder


def put(folder: Path, url: str) -> None:
    """Have a store hold what a folder holds."""
    objects = Objects(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            objects.write(path.relative_to(folder).as_posix(), path.read_bytes())


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, by name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def objects_of(url: str) -> dict[str, bytes]:
    """The bytes of all objects below a URL, by name."""
    objects = Objects(url)
    return {info.name: objects.read(info.name) for info in objects.list()}


def built(source: str | os.PathLike[str], out: Path, **options: Any) -> dict[str, bytes]:
    """The files of a dataset that is built."""
    audiochunk.build(source, out, **{"workers": 1, "fsync": False, "shard_size": 20_000, **options})
    return files_of(out)


class Between(Watcher):
    """Does something once the plan is made."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def planned(self, plan: Plan, *, n_chunks: int) -> None:
        self._act()
