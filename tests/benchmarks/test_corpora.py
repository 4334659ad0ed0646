import dataclasses
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile as sf
from corpora import CORPORA, Corpus, make, paths, pieces, recording

by_corpus = pytest.mark.parametrize("name", CORPORA)
pytestmark = pytest.mark.usefixtures("short_pieces")


def short(name: str, seconds: float = 1.0) -> Corpus:
    return dataclasses.replace(CORPORA[name], seconds=seconds)


@by_corpus
def test_recordings_are_what_the_corpus_says(name: str, tmp_path: Path) -> None:
    corpus = short(name)
    (path,) = paths(make(corpus, tmp_path, recordings=1))
    info = sf.info(path)
    assert (info.samplerate, info.channels, info.frames) == (corpus.rate, corpus.channels, corpus.frames)
    assert (path.suffix, info.subtype) == (corpus.suffix, f"PCM_{corpus.bits}")


def test_full_sizes() -> None:
    sizes = {name: corpus.decoded_bytes * corpus.recordings for name, corpus in CORPORA.items()}
    assert sizes == {"big": 1_587_600_000, "small": 320_000_000, "hires": 1_036_800_000, "flac": 381_024_000}


@by_corpus
def test_the_same_bytes_are_made_again(name: str, tmp_path: Path) -> None:
    made = [paths(make(short(name), tmp_path / where, recordings=2)) for where in ("a", "b")]
    assert [path.read_bytes() for path in made[0]] == [path.read_bytes() for path in made[1]]


def test_a_part_of_a_corpus_is_its_beginning(tmp_path: Path) -> None:
    alone = make(short("small"), tmp_path / "alone", recordings=2)
    make(short("small"), tmp_path / "part", recordings=4)
    part = make(short("small"), tmp_path / "part", recordings=2)
    assert [path.read_bytes() for path in paths(part)] == [path.read_bytes() for path in paths(alone)]


def test_a_corpus_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(short("small"), tmp_path, recordings=2)
    monkeypatch.setattr(corpora, "recording", None)
    assert make(short("small"), tmp_path, recordings=2) == folder


@by_corpus
def test_the_peak_is_at_minus_12_dbfs(name: str) -> None:
    corpus = short(name)
    samples = recording(corpus, pieces(corpus), 0).astype(np.int64)
    peak = np.abs(samples).max() / 2 ** (8 * (2 if corpus.bits == 16 else 4) - 1)
    assert 20 * np.log10(peak) == pytest.approx(-12, abs=0.01)


@by_corpus
def test_sound_is_neither_silent_nor_white(name: str) -> None:
    corpus = short(name)
    samples = recording(corpus, pieces(corpus), 1)[:, 0].astype(float)
    tenths = samples[: len(samples) // 10 * 10].reshape(10, -1)
    assert tenths.std(axis=1).min() > 0
    assert np.mean(samples == 0) < 0.1
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2 + 1e-9
    flatness = np.exp(np.log(power).mean()) / power.mean()
    assert flatness < 0.1  # 1 for one impulse, 0.56 for white noise


@by_corpus
def test_recordings_differ_and_do_not_repeat_themselves(name: str) -> None:
    corpus = short(name, 2.0)
    sounds = pieces(corpus)
    first, second = (recording(corpus, sounds, number) for number in (0, 1))
    assert not np.array_equal(first, second)
    for period in map(len, sounds):
        assert np.mean(first[period:] == first[:-period]) < 0.2


def test_channels_differ() -> None:
    corpus = short("big")
    left, right = recording(corpus, pieces(corpus), 0).T
    assert not np.array_equal(left, right)
