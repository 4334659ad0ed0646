"""Datasets to read, and the reader's ways to have shards in memory, each of which must give the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiochunk.config import BuildConfig
from audiochunk.pipeline import run
from audiochunk.reader import quota, raw

from .recorded import OPTIONS, write_recordings

WAYS: dict[str, dict[str, Any]] = {
    "side by side": {},
    "apart": {},
    "zstd, 1 a frame": {"compress": "zstd", "chunks_per_frame": 1},
    "zstd, 3 a frame": {"compress": "zstd", "chunks_per_frame": 3},
    "zstd, 64 a frame": {"compress": "zstd", "chunks_per_frame": 64},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a dataset that is read in one of the ways."""
    if request.param == "apart":
        monkeypatch.setattr(raw, "_MOST_RESERVED", 0)
    return WAYS[request.param]


@pytest.fixture
def most_mapped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many shards a process may have mapped."""

    def set_to(count: int) -> None:
        monkeypatch.setattr(quota, "most_mapped", lambda: count)

    return set_to


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "wavs"
    write_recordings(folder)
    return folder


@pytest.fixture(scope="module", params=OPTIONS)
def dataset(request: pytest.FixtureRequest, wavs: Path) -> Path:
    out = wavs.parent / request.param
    if not out.exists():
        options = {"shard_size": 7 * 2048, **OPTIONS[request.param]}
        run.build(wavs, out, BuildConfig.make(**options), workers=1, fsync=False)
    return out


@pytest.fixture(scope="module")
def plain(wavs: Path) -> Path:
    out = wavs.parent / "plain"
    run.build(wavs, out, BuildConfig.make(shard_size=7 * 2048, split="train=0.6,val=0.4"), workers=1, fsync=False)
    return out
