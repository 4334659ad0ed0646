from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.tools.facts.full_scale import RunCounter


def naive_runs(flags: list[list[bool]], least: int) -> tuple[int, int]:
    lengths = [len(list(run)) for channel in zip(*flags, strict=True) for flag, run in groupby(channel) if flag]
    return sum(n >= least for n in lengths), sum(n for n in lengths if n >= least)


@given(st.data(), st.integers(1, 3), st.integers(1, 5))
def test_runs_are_counted_whatever_the_pieces(data: st.DataObject, channels: int, least: int) -> None:
    flags = data.draw(st.lists(st.lists(st.booleans(), min_size=channels, max_size=channels), max_size=60))
    cuts = data.draw(st.lists(st.integers(0, len(flags)), max_size=6))
    counter = RunCounter(channels, least=least)
    for piece in np.split(np.array(flags, np.bool_).reshape(-1, channels), sorted(cuts)):
        counter.add(piece)
    assert counter.finish() == naive_runs(flags, least)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["..xx.", "xxx"], (1, 3)),
        (["..xx", "x...", ""], (1, 3)),
        (["xx", "xx", "xx"], (1, 6)),
        (["xx", ".", "x"], (0, 0)),
        (["xxx.", "....", "xxx"], (2, 6)),
    ],
)
def test_runs_go_on_in_the_next_piece(pieces: list[str], expected: tuple[int, int]) -> None:
    counter = RunCounter(1)
    for piece in pieces:
        counter.add(np.array([[c == "x"] for c in piece], np.bool_).reshape(-1, 1))
    assert counter.finish() == expected
