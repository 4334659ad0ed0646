from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.config import Encoding
from audiochunk.tools.facts.full_scale import FullScale, RunCounter
from audiochunk.tools.facts.source import effective_bits, limits

from .test_facts_source import row


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


@given(st.data(), st.integers(1, 2), st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "ULAW"]))
def test_full_scale_is_that_of_all_codes_whatever_the_pieces(data: st.DataObject, channels: int, subtype: str) -> None:
    # Code 0, and the largest ones of 7, 8, 9 and 16 bits; the ones of mu-law, and silence.
    codes = {"ULAW": [32768 - 32124, 32768 + 32124, 32768]}.get(subtype, [0, 65024, 65280, 65408, 65535, 32768])
    drawn = data.draw(st.lists(st.lists(st.sampled_from(codes), min_size=channels, max_size=channels), min_size=1))
    frames = np.repeat(np.array(drawn, np.uint16), data.draw(st.integers(1, 3)), axis=0)
    cuts = data.draw(st.lists(st.integers(1, len(frames)), max_size=4))
    encoding = Encoding(bits=16)
    counter = FullScale(row(subtype, channels), encoding, channels=channels)
    for piece in np.split(frames, sorted(cuts)):
        if len(piece):
            counter.add(piece.T)
    bits = effective_bits(int(np.bitwise_or.reduce(frames.reshape(-1) ^ 32768)), 16)
    low, high = limits(row(subtype, channels), encoding, bits)
    runs = [naive_runs(flags.tolist(), 3) for flags in (frames <= low, frames >= high)]
    assert counter.finish(bits) == (runs[0][0] + runs[1][0], runs[0][1] + runs[1][1])
