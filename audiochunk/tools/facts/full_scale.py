"""Runs of samples that stay at full scale."""

import numpy as np
import numpy.typing as npt

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
            self._close(range(len(self._open)))
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

    def finish(self) -> tuple[int, int]:
        """How many runs there were, and how many samples they have together; nothing may be added afterwards."""
        self._close(range(len(self._open)))
        return self._runs, self._samples

    def _close(self, channels: "range | list[int]") -> None:
        for channel in channels:
            if self._open[channel] >= self._least:
                self._runs += 1
                self._samples += self._open[channel]
            self._open[channel] = 0
