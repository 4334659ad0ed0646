import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audiochunk.tools.sketch import bars, waveform


def test_bars_are_as_high_as_their_values_and_only_zero_is_empty() -> None:
    assert bars(np.array([0, 1, 100, 50])) == " ▁█▄"
    assert bars(np.array([0, 0])) == "  "


def test_a_waveform_spans_its_lines_from_peak_to_peak() -> None:
    lines = waveform(np.array([1, -1, 0, 0], np.float32), width=4, height=3)
    assert lines == ["█", "──██".replace("─", "─"), " █"]


def test_silence_is_a_line() -> None:
    assert waveform(np.zeros(10, np.float32), width=5, height=3) == ["", "─────", ""]


def test_nothing_is_no_lines() -> None:
    assert waveform(np.zeros(0, np.float32)) == []


@given(arrays(np.float32, st.integers(1, 200), elements=st.floats(-1, 1, width=32)), st.integers(1, 80))
def test_a_waveform_has_the_size_that_was_asked_for(samples: np.ndarray, width: int) -> None:
    lines = waveform(samples, width=width, height=7)
    assert len(lines) == 7
    assert max(map(len, lines)) <= width
