"""Keyed permutations of the numbers below n: uniform, in memory that does not grow with n."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError
from audiochunk.reader.keyed import Words, below, scramble, words

MOST = 2**62
# Fewer numbers are shuffled one by one: a Feistel network has then too few keys for so few bits, and shows.
_FEISTEL_FROM = 2**16
# Luby and Rackoff need 4 against whoever may ask both ways; more rounds bring it closer to uniform (Patarin 2004: 7).
_ROUNDS = 8


class Permutation:
    """The numbers 0 to n − 1 in an order that follows from a key.

    From n = 2**16 on, a Feistel network (Luby, Rackoff: How to Construct Pseudorandom Permutations from Pseudorandom
    Functions, 1988) of 8 rounds on the fewest bits that hold n − 1, followed until it comes to a number below n: cycle
    walking (Black, Rogaway: Ciphers with Arbitrary Finite Domains, 2002). Where the bits are odd in number, one half
    has one more. For smaller n, a table made with the algorithm of Fisher and Yates (Durstenfeld's form, 1964).

    Args:
        n: how many numbers, at most 2**62.
        key: below 2**64.

    Raises:
        ConfigError: more numbers.
    """

    def __init__(self, n: int, key: int) -> None:
        if not 0 <= n <= MOST:
            raise ConfigError(f"{n} numbers: there may be 0 to 2**62")
        self._n = n
        self._table: npt.NDArray[np.int64] | None = None
        if n < _FEISTEL_FROM:
            self._table = _shuffled(n, key)
            return
        bits = (n - 1).bit_length()
        self._left_bits, self._right_bits = bits // 2, bits - bits // 2
        self._round_keys = words(key, np.arange(_ROUNDS))

    def __call__(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers at these positions, each `0 <= position < n`: of the same shape, int64."""
        if self._table is not None:
            return self._table[positions]
        found = self._network(positions.astype(np.uint64).reshape(-1))
        beyond = np.flatnonzero(found >= np.uint64(self._n))
        while beyond.size:
            again = self._network(found[beyond])
            found[beyond] = again
            beyond = beyond[again >= np.uint64(self._n)]
        return found.view(np.int64).reshape(positions.shape)

    def _network(self, numbers: Words) -> Words:
        right_bits = np.uint64(self._right_bits)
        left = numbers >> right_bits
        right = numbers & np.uint64((1 << self._right_bits) - 1)
        for turn, key in enumerate(self._round_keys):
            if turn % 2 == 0:
                left ^= scramble(right + key) >> np.uint64(64 - self._left_bits)
            else:
                right ^= scramble(left + key) >> np.uint64(64 - self._right_bits)
        return left << right_bits | right


@lru_cache(maxsize=16)
def permutation(n: int, key: int) -> Permutation:
    """`Permutation(n, key)`, the last few of which are kept: a table takes milliseconds to make."""
    return Permutation(n, key)


def _shuffled(n: int, key: int) -> npt.NDArray[np.int64]:
    order = list(range(n))
    last = np.arange(n, dtype=np.int64)
    others = below(words(key, last), (last + 1).astype(np.uint64)).tolist()
    for i in range(n - 1, 0, -1):
        j = others[i]
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)
