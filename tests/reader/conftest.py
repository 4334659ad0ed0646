"""The reader's ways to have shards in memory, each of which must give the same."""

from collections.abc import Callable
from typing import Any

import pytest

from audiochunk.reader import raw

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
    """Sets how many shards the reader keeps mapped."""

    def set_to(count: int) -> None:
        monkeypatch.setattr("audiochunk.reader.raw.MOST_MAPPED", count)
        monkeypatch.setattr("audiochunk.reader.compressed.MOST_MAPPED", count)

    return set_to
