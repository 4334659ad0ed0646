"""How often which codes occur in one stream, and what follows from that."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.signal.quantize import Codes, dequantize, silence
from audiochunk.tools.codecs.entropy import entropy
from audiochunk.tools.facts.source import effective_bits, levels

Counts = npt.NDArray[np.int64]

_FEW_CODES = 2**15  # are sorted rather than counted in an array of all values
_HALF = 24  # bits at which squares are cut in two, so that no sum of a piece overflows


@dataclass(slots=True)
class Tally:
    """Counts the codes of one stream, piece by piece.

    Attributes:
        encoding: of the codes.
        n: how many there were.
        silent: how many of them are the code of silence.
        used: all of them XOR silence, ORed together.
        low: the smallest, and
        high: the largest; undefined where there were none.
        values: those that occurred, ascending; of 24-bit codes the upper 16 bits.
        counts: how often each did.
    """

    encoding: Encoding
    n: int = 0
    silent: int = 0
    used: int = 0
    low: int = 0
    high: int = 0
    values: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    _dense: Counts | None = None
    _sum: int = 0
    _squares: int = 0

    def add(self, codes: Codes) -> None:
        """Count codes: 1-D."""
        if not codes.size:
            return
        if self.encoding.bits == 24:
            self._add_wide(codes)
            codes = codes >> np.uint32(8)
        if self.n == 0 and codes.size <= _FEW_CODES:
            values, counts = np.unique(codes, return_counts=True)
            self.values, self.counts = values.astype(np.int64), counts.astype(np.int64)
        else:
            size = 2 ** min(16, self.encoding.bits)
            if self._dense is None:
                self._dense = np.zeros(size, np.int64)
                self._dense[self.values] = self.counts
            self._dense += _counted(codes, size)
        self.n += codes.size

    def _add_wide(self, codes: Codes) -> None:
        zero = silence(bits=24)
        low, high = int(codes.min()), int(codes.max())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self.n else (low, high)
        self.used |= int(np.bitwise_or.reduce(codes ^ np.uint32(zero)))
        self.silent += int(np.count_nonzero(codes == zero))
        signed = codes.astype(np.int64) - zero
        self._sum += int(signed.sum())
        signed *= signed
        self._squares += (int((signed >> _HALF).sum()) << _HALF) + int((signed & (1 << _HALF) - 1).sum())

    def finish(self) -> None:
        """Make all attributes what they are said to be; nothing may be added afterwards."""
        if self._dense is not None:
            self.values = np.flatnonzero(self._dense)
            self.counts = self._dense[self.values]
        if self.encoding.bits == 24 or not self.n:
            return
        zero = silence(bits=self.encoding.bits)
        self.low, self.high = int(self.values[0]), int(self.values[-1])
        self.used = int(np.bitwise_or.reduce(self.values ^ zero))
        self.silent = int(self.counts[self.values == zero].sum())

    @property
    def effective_bits(self) -> int:
        """Bits down to the lowest that is ever used."""
        return effective_bits(self.used, self.encoding.bits)

    @property
    def codes(self) -> Counts | None:
        """The different codes, of at most 16 bits; None where more bits than that are used."""
        return self.values if self.encoding.bits <= 16 or self.effective_bits <= 16 else None

    @property
    def entropy(self) -> float:
        """Of single codes, in bits; NaN where there are none, or where they have 24 bits."""
        if not self.n or self.encoding.bits == 24:
            return float("nan")
        return entropy(self.counts)

    def levels(self, *, is_cut: bool) -> tuple[float, float, float]:
        """Mean, root mean square and peak of the samples that the codes stand for, full scale being 1.

        Args:
            is_cut: whether a linear code stands for a step of samples, whose middle is taken then.

        Returns:
            NaN where there are no codes; 0 where all are silence, even if that is the edge of a step.
        """
        if not self.n:
            return (float("nan"),) * 3
        if self.silent == self.n:
            return 0.0, 0.0, 0.0
        encoding, zero = self.encoding, silence(bits=self.encoding.bits)
        if encoding.bits == 24:
            half = 0.5 if is_cut else 0.0
            mean, square = self._sum / self.n, self._squares / self.n
            peak = np.abs(levels(np.array([self.low, self.high]), encoding, is_cut=is_cut)).max()
            return (mean + half) / zero, float(np.sqrt(square + 2 * half * mean + half * half)) / zero, float(peak)
        if encoding.quantizer == "linear":
            samples = levels(self.values, encoding, is_cut=is_cut)
        else:
            codes = self.values.astype(np.uint16)
            samples = dequantize(codes, bits=encoding.bits, quantizer="mulaw") / 2.0**31
        mean = float((samples * self.counts).sum()) / self.n
        rms = float(np.sqrt((samples * samples * self.counts).sum() / self.n))
        return mean, rms, float(np.abs(samples).max())


def _counted(codes: Codes, size: int) -> Counts:
    """How often each of `size` codes occurs."""
    if codes.dtype != np.uint8:
        return np.bincount(codes, minlength=size)
    # Two at a time: what takes the time is not the counting but to wait for the last count of the same code.
    even = codes.size // 2 * 2
    pairs = np.bincount(codes[:even].view(np.uint16), minlength=size * size).reshape(size, size)
    counts: Counts = pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(codes[even:], minlength=size)
    return counts
