"""Benchmarks are scripts that find their modules beside them; tests find them there too."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# First, as where a script is run: an installed package may have the name of one.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import contenders
import corpora


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora made of pieces that take no time to make."""
    monkeypatch.setattr(corpora, "PIECES_S", (0.31, 0.37, 0.43))


@pytest.fixture
def job(tmp_path: Path, short_pieces: None) -> Callable[..., contenders.Job]:
    """A few short recordings of a corpus to build from."""

    def make(name: str, *, recordings: int = 3, seconds: float = 0.7) -> contenders.Job:
        corpus = dataclasses.replace(corpora.CORPORA[name], seconds=seconds)
        source = corpora.make(corpus, tmp_path / "corpora", recordings=recordings)
        return contenders.Job(corpus, source, recordings, tmp_path / "out")

    return make
