"""The order of a recordings table: of paths, and anew in each generation."""

from array import array

import numpy as np
import xxhash


class Paths:
    """Looks at the path of one recording after the other.

    Args:
        generations: how many builds the table is of. Where it is of several, equal paths need not be neighbours, and 16
            bytes of each are kept.
    """

    def __init__(self, generations: int) -> None:
        self._restarts_left = generations - 1
        self._before = b""
        self._digests = array("Q") if generations > 1 else None

    def add(self, path: bytes) -> bytes | None:
        """The path that this one should come after and does not, or None where it is as it should be."""
        if self._digests is not None:
            digest = xxhash.xxh3_128_intdigest(path)
            self._digests.extend((digest >> 64, digest & (2**64 - 1)))
        before, self._before = self._before, path
        if path > before:
            return None
        if path < before and self._restarts_left:
            self._restarts_left -= 1
            return None
        self._before = max(before, path)
        return before

    def repeated(self) -> int:
        """How many paths of a table of several generations came before."""
        if not self._digests:
            return 0
        digests = np.frombuffer(self._digests, np.dtype("u8,u8"))
        return len(digests) - len(np.unique(digests))
