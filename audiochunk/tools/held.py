"""What the rows of a split come to, counted anew."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from audiochunk.signal.chunking import Stream
from audiochunk.storage.manifest import SplitTotals
from audiochunk.storage.recordings import RecordingRow

_MOST_ENDS = 1024


@dataclass(slots=True)
class Held:
    """What the rows of one split come to, all of it counted anew from their frames and channels.

    Attributes:
        chunks: of the recordings that were used.
        recordings: that were used.
        frames_by_rate: of these, by sample rate.
        planned: chunks, those included that were lost with recordings which failed while decoding.
        padded: of each stream that ends in padding, the number of its last chunk in the split, and the codes in that
            chunk that are real.
    """

    chunks: int = 0
    recordings: int = 0
    frames_by_rate: dict[int, int] = field(default_factory=dict)
    planned: int = 0
    padded: list[tuple[int, int]] = field(default_factory=list)
    _lost_from: list[int] = field(default_factory=list)
    _lost_before: list[int] = field(default_factory=lambda: [0])
    _follows: int = 0  # the first chunk that the row before leads to, right or wrong

    @property
    def totals(self) -> SplitTotals:
        """As the manifest must have them."""
        seconds = sum(Fraction(frames, rate) for rate, frames in self.frames_by_rate.items() if rate)
        frames = sum(self.frames_by_rate.values())
        return SplitTotals(chunks=self.chunks, recordings=self.recordings, frames=frames, seconds=int(seconds))

    def chunks_between(self, start: int, stop: int) -> int:
        """Chunks there are of those that the plan numbers `start` to `stop`."""
        start, stop = min(start, self.planned), min(stop, self.planned)
        return stop - start - (self._lost(stop) - self._lost(start))

    def generations(self, shards: Sequence[int], per_shard: int) -> list[int]:
        """Of how many builds, at least, the shards up to each one are, the others of which added recordings.

        Args:
            shards: how many chunks each has.
            per_shard: chunks of each one but the last of a build, as planned.

        Returns:
            As many numbers as there are shards, or fewer: then the next one can hold no such part of the recordings.
            All are 0 where so many were lost in a row that nothing can be said.
        """
        kept = [at - lost for at, lost in zip(self._lost_from, self._lost_before, strict=False)]
        least: list[int] = []
        ends = {0: 0}  # where the shards so far may end, as the plan numbers chunks, and those that are not full
        for number, n in enumerate(shards, 1):
            following: dict[int, int] = {}
            for start, not_full in ends.items():
                full = start + per_shard
                if full <= self.planned and self.chunks_between(start, full) == n:
                    following[full] = min(not_full, following.get(full, not_full))
                # Else it ends with a recording: between, before or after some that follow each other and were lost.
                until = self.chunks_between(0, start) + n
                for lost in range(bisect_left(kept, until), bisect_right(kept, until) + 1):
                    end = until + self._lost_before[lost]
                    if start < end < full and end <= self.planned:
                        following[end] = min(not_full + 1, following.get(end, not_full + 1))
            if number == len(shards):
                following = {end: not_full for end, not_full in following.items() if end == self.planned}
            if not following:
                break
            if len(following) > _MOST_ENDS:
                return [0] * len(shards)
            ends = following
            least.append(min(ends.values()))
        return least

    def add(self, row: RecordingRow, stream: Stream) -> int:
        """Count one stream of a recording that was used; gives the number that its first chunk must have."""
        first = self._place(row)
        self.chunks += stream.n_chunks
        self.planned += stream.n_chunks
        real = stream.real_codes(stream.n_chunks - 1, 1) if stream.n_chunks else 0
        if stream.n_chunks and real < stream.codes_per_chunk:
            self.padded.append((self.chunks - 1, real))
        return first

    def lose(self, row: RecordingRow, chunks: int) -> int:
        """Count a refused recording that the plan gave `chunks` chunks; gives the number of the chunk that follows."""
        if chunks:
            self._lost_from.append(self.planned)
            self._lost_before.append(self._lost_before[-1] + chunks)
            self.planned += chunks
        return self._place(row)

    def _place(self, row: RecordingRow) -> int:
        # A row that is wrong is found once: those that go on from it are right again.
        first = self._follows if row.first_chunk == self._follows else self.chunks
        self._follows = row.first_chunk + row.chunks
        return first

    def _lost(self, before: int) -> int:
        """Chunks that were lost of those that the plan numbers less than `before`."""
        n = bisect_right(self._lost_from, before)
        if not n:
            return 0
        run = self._lost_before[n] - self._lost_before[n - 1]
        return self._lost_before[n - 1] + min(run, before - self._lost_from[n - 1])
