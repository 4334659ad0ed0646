from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from audiochunk.config import Encoding
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.report import pictures
from audiochunk.tools.report.clip import Clip, Playback
from audiochunk.tools.report.drawing import PRINT, style, svg
from audiochunk.tools.report.picture import draw, picture


@pytest.mark.parametrize(("n", "columns"), [(1, 600), (7, 3), (600, 600), (9999, 600)])
def test_an_envelope_holds_the_least_and_the_largest_of_every_run(n: int, columns: int) -> None:
    values = np.random.Generator(np.random.PCG64(n)).integers(0, 1000, n)
    at, low, high = pictures.envelope(values, columns)
    runs = np.split(values, np.linspace(0, n, min(n, columns), endpoint=False).astype(int)[1:])
    assert low.tolist() == [run.min() for run in runs]
    assert high.tolist() == [run.max() for run in runs]
    assert (np.diff(at) > 0).all()


@pytest.mark.parametrize("hz", [500, 2000, 7000])
def test_a_tone_is_darkest_at_its_frequency(hz: int) -> None:
    rate = 16_000
    tone = np.sin(2 * np.pi * hz * np.arange(rate) / rate)[:, None]
    found = pictures.spectrogram(tone, rate)
    row = found.mean(axis=1).argmax()
    assert (len(found) - row - 0.5) / len(found) * rate / 2 == pytest.approx(hz, abs=100)
    assert found.max() == 1


@pytest.mark.parametrize("n", [1, 2, 100, 5000])
def test_silence_has_an_empty_spectrogram_of_any_length(n: int) -> None:
    found = pictures.spectrogram(np.zeros((n, 2)), 8000)
    assert not found.any()
    assert found.shape[1] == min(n, 312)


@pytest.mark.parametrize("n", [1, 2, 2048, 100_000])
@pytest.mark.parametrize("bits", [8, 24])
def test_chunks_of_any_length_are_drawn(n: int, bits: int) -> None:
    codes = np.arange(n) % 2**bits
    assert "var(--accent)" in svg(lambda palette: pictures.chunk(palette, codes), name="c", label="")


def test_a_picture_of_a_dataset_follows_from_its_seed(dataset: Path) -> None:
    first = picture(dataset, gallery=2, seed=1)
    assert first.startswith(b"\x89PNG")
    assert picture(dataset, gallery=2, seed=1) == first
    assert picture(dataset, gallery=2, seed=2) != first


def test_names_that_no_font_has_are_drawn_escaped(dataset: Path) -> None:
    assert picture(dataset, gallery=12).startswith(b"\x89PNG")


def test_an_empty_dataset_has_a_picture(empty_dataset: Path) -> None:
    assert picture(empty_dataset).startswith(b"\x89PNG")


@pytest.mark.parametrize("sample_rate", [1, 100, 44_100, 2_147_483_647])
@pytest.mark.parametrize(("start", "n", "channels"), [(0, 1, 1), (3, 2, 2), (7, 4000, 1), (10**9, 700, 2)])
def test_clips_of_any_rate_place_and_length_are_drawn(sample_rate: int, start: int, n: int, channels: int) -> None:
    row = RecordingRow(
        path="a.wav",
        split="train",
        channel=None,
        sample_rate=sample_rate,
        channels=channels,
        frames=start + n,
        subtype="PCM_16",
        bytes=0,
        first_chunk=0,
        chunks=1,
        dropped_frames=0,
        clipped=0,
        notes=(),
    )
    samples = (np.arange(n * channels) % 200).astype(np.int16).reshape(n, channels)
    clip = Clip(
        row=row,
        encoding=Encoding(),
        playback=Playback.of(row, Encoding()),
        start=start,
        samples=samples,
        chunk=0,
        chunk_frames=(start, start + n - 1),
        chunk_channels=tuple(range(channels)),
        codes=None,
        chunk_samples=None,
        max_repeated=0,
    )
    found = svg(lambda palette: pictures.clip(palette, clip), name="c", label="")
    assert found.count("<image ") == 1
    assert "nan" not in found
    assert ">seconds<" in found


def test_the_blue_box_of_a_picture_is_explained(dataset: Path) -> None:
    with style():
        (legend,) = draw(dataset, gallery=3, seed=0).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "one chunk of 2,048 bytes, in each of 3 recordings drawn at random; ±: peak, full scale being 1"
    ]
    assert to_rgba(legend.get_patches()[0].get_edgecolor()) == to_rgba(PRINT.accent)


def test_a_picture_without_recordings_explains_nothing(dataset: Path) -> None:
    with style():
        assert draw(dataset, gallery=0, seed=0).legends == []
