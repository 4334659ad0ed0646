"""What a signal takes, worked out by hand, and that the rest gives it back."""

import numpy as np
import pytest

from audiochunk.tools.codecs import subframes

from .sounds import BITS, extremes, noise, tone


def encoded(signal: list[int] | np.ndarray, *, depth: int) -> tuple[int, subframes.Subframes]:
    rows = np.array(signal, np.int64).reshape(1, -1)
    found = subframes.encode(rows, np.array([depth]))
    assert (found.decode() == rows).all()
    return int(found.bits[0]), found


@pytest.mark.parametrize(
    ("value", "bits"), [(0, 8 + 16), (1, 8 + 16), (-1, 8 + 16), (4, 8 + 2 + 14), (-32768, 8 + 15 + 1)]
)
def test_one_value_is_said_once(value: int, bits: int) -> None:
    for n in (1, 2, 1000):
        assert encoded([value] * n, depth=16)[0] == bits


def test_a_ramp_is_its_two_first_samples_and_a_bit_for_each_other() -> None:
    bits, found = encoded(np.arange(100) * 3 + 1, depth=16)
    assert found.orders[0] == 2
    assert bits == 8 + 2 * 16 + 6 + 4 + 98  # 2 warm-up samples, one partition (50 samples are two), k = 0


def test_noise_is_written_as_it_is() -> None:
    bits, found = encoded(noise(1000, bits=16).samples, depth=16)
    assert bits == 8 + 1000 * 16
    assert found.orders[0] == 0


def test_low_bits_that_are_zero_are_left_out_once() -> None:
    samples = noise(1000, bits=8).samples.astype(np.int64)
    bits, found = encoded(samples << 8, depth=16)
    assert found.wasted[0] == 8
    assert bits == 8 + 8 + 1000 * 8


def test_what_can_be_predicted_takes_the_bits_of_what_cannot() -> None:
    # 0.25 * sine + noise of sigma 32.8 at 16 bits: H = log2(32.8 * sqrt(2 pi e)) = 7.08
    bits, found = encoded(tone(4096).samples, depth=16)
    assert found.orders[0] > 4
    assert 7.08 < bits / 4096 < 7.6


@pytest.mark.parametrize("n", [1, 2, 3, 12, 13, 14, 100, 4096])
@pytest.mark.parametrize("bits", BITS)
def test_every_signal_comes_back_and_takes_at_most_what_it_is(bits: int, n: int) -> None:
    made = [tone(n, bits=bits), noise(n, bits=bits), extremes(n, bits=bits, channels=1)]
    rows = np.stack([sound.samples[:, 0] for sound in made]).astype(np.int64)
    found = subframes.encode(rows, np.full(3, bits))
    assert (found.decode() == rows).all()
    assert (found.bits <= 8 + n * bits).all()
    assert (found.bits == [encoded(row, depth=bits)[0] for row in rows]).all()


def test_some_of_the_signals_are_what_they_were() -> None:
    rows = np.stack([noise(50, seed=seed).samples[:, 0] for seed in range(4)]).astype(np.int64)
    found = subframes.encode(rows, np.full(4, 16)).take(np.array([3, 1]))
    assert (found.decode() == rows[[3, 1]]).all()
    assert len(found.bits) == 2
