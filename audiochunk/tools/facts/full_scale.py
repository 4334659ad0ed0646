"""Runs of samples that stay at full scale."""

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.signal.quantize import Codes
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts.source import NARROWEST, limits

LEAST = 3  # samples in a run; a peak that is not clipped seldom has more than two at the same value


class RunCounter:
    """Counts runs of flagged samples, each channel apart, in pieces that follow each other.

    Args:
        channels: how many.
        least: samples that make a run.
    """

    def __init__(self, channels: int, *, least: int = LEAST) -> None:
        self._least = least
        self._open = [0] * channels  # samples at the end of the last piece that may go on in the next
        self._runs = self._samples = 0

    def add(self, flags: npt.NDArray[np.bool_]) -> None:
        """Count a piece: (frames, channels)."""
        if not len(flags):
            return
        if not flags.any():
            self.interrupt()
            return
        for channel, column in enumerate(flags.T):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], column, [False]])))
            starts, ends = edges[::2], edges[1::2]
            if not starts.size or starts[0] > 0:
                self._close([channel])
            if not starts.size:
                continue
            lengths = ends - starts
            lengths[0] += self._open[channel]
            self._open[channel] = 0
            if ends[-1] == len(column):
                self._open[channel] = int(lengths[-1])
                lengths = lengths[:-1]
            long = lengths[lengths >= self._least]
            self._runs += len(long)
            self._samples += int(long.sum())

    def interrupt(self) -> None:
        """Count what a piece of at least one frame without any flag would."""
        self._close(range(len(self._open)))

    def finish(self) -> tuple[int, int]:
        """How many runs there were, and how many samples they have together; nothing may be added afterwards."""
        self.interrupt()
        return self._runs, self._samples

    def _close(self, channels: "range | list[int]") -> None:
        for channel in channels:
            if self._open[channel] >= self._least:
                self._runs += 1
                self._samples += self._open[channel]
            self._open[channel] = 0


class FullScale:
    """Counts runs at the smallest and at the largest code that a recording can have.

    How many bits it uses, and so which code is the largest that it can have, is known only when all were seen. But then
    none of its codes is beyond that one: the runs that count are those at the largest code there is, or none.

    Args:
        row: of the stream.
        encoding: of its codes.
        channels: that it has.
    """

    def __init__(self, row: RecordingRow, encoding: Encoding, *, channels: int) -> None:
        self._row, self._encoding, self._channels = row, encoding, channels
        # The nearest to silence that full scale can be.
        self._low, self._high = limits(row, encoding, NARROWEST)
        self._lows, self._highs = RunCounter(channels), RunCounter(channels)

    def add(self, planes: Codes) -> None:
        """Look at codes: (channels, frames), at least one frame."""
        low, high = int(planes.min()), int(planes.max())
        if low < self._low:
            self._low, self._lows = low, RunCounter(self._channels)
        if high > self._high:
            self._high, self._highs = high, RunCounter(self._channels)
        for counter, is_there, code in (
            (self._lows, low == self._low, self._low),
            (self._highs, high == self._high, self._high),
        ):
            if is_there:
                counter.add((planes == code).T)
            else:
                counter.interrupt()

    def finish(self, effective_bits: int) -> tuple[int, int]:
        """How many runs there were, and how many samples they have together; nothing may be added afterwards.

        Args:
            effective_bits: of all codes.
        """
        low, high = limits(self._row, self._encoding, effective_bits)
        none = 0, 0
        of_lows = self._lows.finish() if self._low <= low else none
        of_highs = self._highs.finish() if self._high >= high else none
        return of_lows[0] + of_highs[0], of_lows[1] + of_highs[1]
