import numpy as np
import pytest

from audiochunk.tools.report import figures
from audiochunk.tools.report.drawing import PRINT, style, svg


@pytest.fixture(autouse=True)
def styled() -> "object":
    with style():
        yield


@pytest.mark.parametrize("seconds", [[1.0], [1e-6, 1e6], [3.0, 3.0], [0.5, 2.0, 7200.0]])
def test_durations_of_any_range_are_drawn(seconds: list[float]) -> None:
    values = np.array(seconds)
    found = svg(lambda palette: figures.durations(palette, values, values / 4), name="d", label="")
    assert ">25<" in found


def test_every_recording_is_in_a_bar_of_the_durations() -> None:
    seconds = np.logspace(-2, 3, 500)
    figure = figures.durations(PRINT, seconds, np.zeros(500))
    assert [axes.patches[0].get_data().values.sum() for axes in figure.axes[:1]] == [500]


@pytest.mark.parametrize("bits", [8, 12, 16, 24])
def test_codes_are_drawn_as_shares_of_all(bits: int) -> None:
    counts = np.zeros(256, np.int64)
    counts[[0, 128]] = 1, 999
    axes = figures.codes(PRINT, counts, bits).axes[0]
    values = axes.patches[0].get_data().values
    assert values[128] == 0.999
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == f"{2**bits - 1:,}"


def test_one_code_alone_is_drawn() -> None:
    counts = np.zeros(256, np.int64)
    counts[128] = 5
    assert figures.codes(PRINT, counts, 8).axes[0].get_ylim()[0] < 1


@pytest.mark.parametrize("rms", [[1.0], [1e-9], [0.5, 0.001]])
def test_levels_of_any_range_are_drawn(rms: list[float]) -> None:
    values = np.array(rms)
    figure = figures.levels(PRINT, values, np.minimum(1, values * 2))
    assert [axes.patches[0].get_data().values.sum() for axes in figure.axes] == [len(rms)] * 2
