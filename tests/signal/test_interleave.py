"""Samples <-> blocks."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.errors import ConfigError
from audiochunk.signal.interleave import deinterleave, interleave, mix_down

SIZES = {"frames": st.integers(0, 50), "channels": st.integers(1, 8), "block": st.integers(1, 60)}
DTYPES = st.sampled_from(["int16", "int32", "uint8", "uint16", "float32", ">i2"])


def numbered(frames: int, channels: int, dtype: str = "int16") -> npt.NDArray[np.generic]:
    """Samples that are all different, so that no two can be mistaken for each other."""
    return np.arange(frames * channels).reshape(frames, channels).astype(dtype)


def naive_interleave(rows: list[list[int]], channels: int, block: int) -> list[int]:
    stream = []
    for start in range(0, len(rows), block):
        for channel in range(channels):
            stream += [row[channel] for row in rows[start : start + block]]
    return stream


@settings(deadline=None, max_examples=150)
@given(**SIZES, dtype=DTYPES)
def test_deinterleave_undoes_interleave(frames: int, channels: int, block: int, dtype: str) -> None:
    samples = numbered(frames, channels, dtype)
    back = deinterleave(interleave(samples, block=block), channels=channels, block=block)
    assert back.dtype == samples.dtype
    assert back.shape == samples.shape
    assert back.tolist() == samples.tolist()


@settings(deadline=None, max_examples=150)
@given(**SIZES, dtype=DTYPES)
def test_interleave_is_the_naive_loop(frames: int, channels: int, block: int, dtype: str) -> None:
    samples = numbered(frames, channels, dtype)
    stream = interleave(samples, block=block)
    assert stream.dtype == samples.dtype
    assert stream.shape == (frames * channels,)
    assert stream.tolist() == naive_interleave(samples.tolist(), channels, block)


@settings(deadline=None, max_examples=100)
@given(**SIZES)
def test_interleave_undoes_deinterleave(frames: int, channels: int, block: int) -> None:
    stream = np.arange(frames * channels, dtype=np.int32)
    samples = deinterleave(stream, channels=channels, block=block)
    assert samples.shape == (frames, channels)
    assert interleave(samples, block=block).tolist() == stream.tolist()


def test_five_stereo_frames_in_blocks_of_two() -> None:
    samples = np.array([[1, -1], [2, -2], [3, -3], [4, -4], [5, -5]], np.int16)
    assert interleave(samples, block=2).tolist() == [1, 2, -1, -2, 3, 4, -3, -4, 5, -5]


def test_blocks_of_one_are_ordinary_interleaving() -> None:
    samples = numbered(7, 3)
    assert interleave(samples, block=1).tolist() == samples.ravel().tolist()


def test_a_block_of_all_frames_lays_channels_end_to_end() -> None:
    samples = numbered(7, 3)
    assert interleave(samples, block=7).tolist() == samples.T.ravel().tolist()


@pytest.mark.parametrize("block", [1, 3, 4, 5, 100])
def test_mono_keeps_its_order_whatever_the_block(block: int) -> None:
    samples = numbered(4, 1)
    assert interleave(samples, block=block).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("frames", [3, 4, 5, 7, 8, 9])
def test_eight_channels_one_short_exact_and_one_over_a_block(frames: int) -> None:
    samples = numbered(frames, 8)
    assert interleave(samples, block=4).tolist() == naive_interleave(samples.tolist(), 8, 4)


def test_interleave_takes_strided_and_read_only_samples() -> None:
    samples = numbered(20, 6)[::2, ::3]
    samples.flags.writeable = False
    assert interleave(samples, block=4).tolist() == naive_interleave(samples.tolist(), 2, 4)


def test_interleave_returns_a_copy() -> None:
    samples = np.zeros((4, 1), np.int16)
    interleave(samples, block=4)[:] = 7
    assert not samples.any()


@pytest.mark.parametrize("block", [0, -1])
def test_a_block_below_one_is_refused(block: int) -> None:
    with pytest.raises(ConfigError, match=f"block must be at least 1 sample, not {block}"):
        interleave(np.zeros((2, 2), np.int16), block=block)
    with pytest.raises(ConfigError, match=f"block must be at least 1 sample, not {block}"):
        deinterleave(np.zeros(4, np.int16), channels=2, block=block)


def test_deinterleave_refuses_a_broken_frame() -> None:
    with pytest.raises(ConfigError, match="5 samples are no whole frames of 2 channels"):
        deinterleave(np.zeros(5, np.int16), channels=2, block=1)


@settings(deadline=None, max_examples=100)
@given(st.data(), st.integers(0, 20), st.integers(1, 8), st.sampled_from([16, 32]))
def test_mix_down_is_the_floor_of_the_mean(data: st.DataObject, frames: int, channels: int, width: int) -> None:
    values = st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1)
    rows = data.draw(st.lists(st.lists(values, min_size=channels, max_size=channels), min_size=frames, max_size=frames))
    samples = np.array(rows, f"int{width}").reshape(frames, channels)
    mixed = mix_down(samples)
    assert mixed.dtype == samples.dtype
    assert mixed.tolist() == [[sum(row) // channels] for row in rows]


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_mix_down_does_not_overflow_at_full_scale(dtype: str, channels: int) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    samples = np.array([[low] * channels, [high] * channels], dtype)
    assert mix_down(samples).tolist() == [[low], [high]]


def test_mix_down_of_one_over_and_one_under_zero_goes_down() -> None:
    assert mix_down(np.array([[0, -1], [0, 1]], np.int16)).tolist() == [[-1], [0]]
