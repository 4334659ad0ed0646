"""Random numbers that follow from a key: the same on every machine and with every version of every library.

All of it is arithmetic on integers below 2**64, written out in docs/orders.md. The generator is SplitMix64 (Steele,
Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), whose n-th word needs none of those before it.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

# 2**64 / golden ratio, made odd; and the multipliers of Stafford's mixing function 13, as SplitMix64 has them.
_GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_ONES = 2**64 - 1

# What a key is for: the number that tells keys of one seed apart.
EPOCH, SHARDS, WITHIN, CROPS, MIX, PERIOD, CHOICE = range(1, 8)
_LOW = np.uint64(2**32 - 1)


def derive(*numbers: int) -> int:
    """A key that follows from integers, each `0 <= number < 2**64`; other integers make an unrelated one.

    >>> hex(derive(7, 1, 0))
    '0xfbca662387d9c66d'
    """
    key = 0
    for number in numbers:
        key = _scrambled((key + number + _GAMMA) & _ONES)
    return key


def words(key: int, numbers: npt.NDArray[np.int64] | Words) -> Words:
    """The words with these numbers, of any shape, in the sequence of a key: SplitMix64's outputs, counted from 0."""
    return scramble(np.uint64(key) + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA))


def scramble(z: Words) -> Words:
    """SplitMix64's mixing function, a bijection of 64-bit words: in place, and returned."""
    shifted = np.right_shift(z, np.uint64(30))
    z ^= shifted
    z *= np.uint64(_FIRST)
    np.right_shift(z, np.uint64(27), out=shifted)
    z ^= shifted
    z *= np.uint64(_SECOND)
    np.right_shift(z, np.uint64(31), out=shifted)
    z ^= shifted
    return z


def below(random: Words, n: int | Words) -> npt.NDArray[np.int64]:
    """Numbers in [0, n) from random words, of the same shape: ⌊word · n / 2**64⌋, n at most 2**63.

    No number is more likely than another by more than one part in 2**64 / n (Lemire: Fast Random Integer Generation in
    an Interval, 2019, without the rejection).
    """
    n = np.asarray(n, np.uint64)
    thirty_two = np.uint64(32)
    high, low = random >> thirty_two, random & _LOW
    n_high, n_low = n >> thirty_two, n & _LOW
    # The upper half of a product of 128 bits, from four of 64.
    middle = high * n_low + (low * n_low >> thirty_two)
    other = low * n_high + (middle & _LOW)
    upper: Words = high * n_high + (middle >> thirty_two) + (other >> thirty_two)
    return upper.view(np.int64)


def _scrambled(z: int) -> int:
    z = (z ^ z >> 30) * _FIRST & _ONES
    z = (z ^ z >> 27) * _SECOND & _ONES
    return z ^ z >> 31
