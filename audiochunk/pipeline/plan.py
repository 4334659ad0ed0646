"""Recordings -> which ranges of which recordings fill which chunks of which shard. Pure; nothing is decoded."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import SupportsIndex, overload

import msgspec

from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError, MachineError
from audiochunk.pipeline.catalog import Catalog
from audiochunk.pipeline.parts import Part
from audiochunk.pipeline.scan import Scanned
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.chunking import Stream
from audiochunk.storage.shard import shard_name

MOST_SHARDS = 2**21  # more than any manifest names: a plan of more is not made to its end


class ShardPlan(msgspec.Struct, frozen=True):
    """What one shard holds, were no recording to fail.

    Attributes:
        split: whose shard it is.
        index: its number in the split.
        parts: in order.
    """

    split: str
    index: int
    parts: tuple[Part, ...]

    @property
    def chunks(self) -> int:
        """Chunks of all parts."""
        return sum(part.chunks for part in self.parts)


class Layout(msgspec.Struct):
    """Where the chunks of a split lie.

    Attributes:
        first_shard: number of its first shard: that of shards which are there already.
        first_chunk: the same, of chunks.
        chunks: how many there are.
        starts: of each shard three numbers: that of the recording with which it begins, in the catalog; of the stream
            in the recording; of the chunk in the stream.
    """

    first_shard: int = 0
    first_chunk: int = 0
    chunks: int = 0
    starts: "array[int]" = msgspec.field(default_factory=lambda: array("Q"))

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.starts) // 3

    def check(self, config: BuildConfig, *, recordings: int) -> None:
        """See that shards are as many as the chunks need, and begin within so many recordings.

        Raises:
            ValueError: they are not.
        """
        if self.chunks < 0 or len(self.starts) != 3 * -(-self.chunks // chunks_per_shard(config)):
            raise ValueError(f"{len(self.starts)} numbers of shards for {self.chunks} chunks")
        if any(number >= recordings for number in self.starts[::3]):
            raise ValueError(f"a shard begins with none of {recordings} recordings")


class Planner:
    """Makes a plan while recordings come in, in path order.

    Args:
        config: gives encoding and shard size.
        asked: splits that exist even if they get nothing, with the shares asked for.
        ends: of splits that are there already, how many shards and chunks they have.
    """

    def __init__(
        self,
        config: BuildConfig,
        asked: Mapping[str, Fraction | None],
        ends: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self._config, self._asked = config, asked
        self._per_shard = chunks_per_shard(config)
        self._catalog = Catalog()
        self._n_shards = 0
        self._layouts: dict[str, Layout] = {name: Layout() for name in asked}
        for name, (shards, chunks) in (ends or {}).items():
            self._layouts[name] = Layout(first_shard=shards, first_chunk=chunks)

    def add(self, recording: Scanned, split: str) -> None:
        """Take in the next recording.

        Raises:
            ConfigError: no manifest could name so many shards.
            MachineError: the catalog could not be written.
        """
        number = len(self._catalog)
        self._catalog.add(recording, split)
        layout = self._layouts.get(split)
        if layout is None:
            layout = self._layouts[split] = Layout()
        if recording.info is None:
            return
        in_stream = Stream.count_chunks(recording.info.frames, recording.info.channels, self._config.encoding)
        before, shards = layout.chunks, layout.shards
        layout.chunks += in_stream * len(self._config.encoding.streams(recording.info.channels))
        self._n_shards += -(-layout.chunks // self._per_shard) - shards
        if self._n_shards > MOST_SHARDS:
            raise too_many_shards(self._n_shards, self._config, or_more=True)
        for chunk in range(-before % self._per_shard, layout.chunks - before, self._per_shard):
            layout.starts.extend((number, *divmod(chunk, in_stream)))

    def plan(self) -> "Plan":
        """The plan of the recordings so far."""
        return Plan(self._config, self._catalog, self._asked, dict(sorted(self._layouts.items())))


def plan(
    recordings: Iterable[Scanned],
    splits: Iterable[str],
    *,
    asked: Mapping[str, Fraction | None],
    config: BuildConfig,
) -> "Plan":
    """The plan of recordings in path order, given the split of each; the rest as for `Planner`.

    Raises:
        MachineError: the catalog could not be written.
    """
    planner = Planner(config, asked)
    for recording, split in zip(recordings, splits, strict=True):
        planner.add(recording, split)
    return planner.plan()


@dataclass(frozen=True, slots=True)
class Plan:
    """A build before anything is decoded.

    Attributes:
        config: what it is made with.
        recordings: in path order, refused ones included, each with its split.
        asked: the shares that were asked for, by split; None where a split was only named.
        layouts: of all splits, those that got nothing included, by name, sorted.
    """

    config: BuildConfig
    recordings: Catalog
    asked: Mapping[str, Fraction | None]
    layouts: Mapping[str, Layout]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all splits, sorted."""
        return tuple(self.layouts)

    @property
    def shards(self) -> "ShardPlans":
        """By split name, then in order."""
        return ShardPlans(self)

    @property
    def n_chunks(self) -> int:
        """Chunks of all shards."""
        return sum(layout.chunks for layout in self.layouts.values())


class ShardPlans(Sequence[ShardPlan]):
    """The shards of a plan. What each holds is found when it is asked for, from the recording on that it begins with.

    Args:
        plan: whose they are.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._names = plan.names  # there may be as many as recordings
        # Of each split, the number of its first shard, and at the end that of all.
        self._bounds = [0, *accumulate(layout.shards for layout in plan.layouts.values())]

    def __len__(self) -> int:
        return self._bounds[-1]

    @overload
    def __getitem__(self, index: SupportsIndex) -> ShardPlan: ...
    @overload
    def __getitem__(self, index: slice) -> list[ShardPlan]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> ShardPlan | list[ShardPlan]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        return self._shard(*self.place(range(len(self))[index]))

    def __iter__(self) -> Iterator[ShardPlan]:
        return (self._shard(*key) for key in self.places())

    def places(self) -> Iterator[tuple[str, int]]:
        """(split, index in it) of all shards."""
        for split, layout in self._plan.layouts.items():
            for number in range(layout.shards):
                yield split, layout.first_shard + number

    def place(self, number: int) -> tuple[str, int]:
        """(split, index in it) of one shard."""
        at = bisect_right(self._bounds, number) - 1
        split = self._names[at]
        return split, self._plan.layouts[split].first_shard + number - self._bounds[at]

    def n_chunks(self, number: int) -> int:
        """Chunks of one shard."""
        split, index = self.place(number)
        layout, per_shard = self._plan.layouts[split], chunks_per_shard(self._plan.config)
        return min(per_shard, layout.chunks - (index - layout.first_shard) * per_shard)

    def _shard(self, split: str, index: int) -> ShardPlan:
        plan, layout, encoding = self._plan, self._plan.layouts[split], self._plan.config.encoding
        per_shard = chunks_per_shard(plan.config)
        at = index - layout.first_shard
        room = min(per_shard, layout.chunks - at * per_shard)
        number, stream, first = layout.starts[3 * at : 3 * at + 3]
        parts: list[Part] = []
        for recording in plan.recordings.of_split(split, number):
            if recording.info is None:
                continue
            in_stream = Stream.count_chunks(recording.info.frames, recording.info.channels, encoding)
            if not in_stream:
                continue
            channels = encoding.streams(recording.info.channels)
            if stream >= len(channels) or first >= in_stream:
                break
            for channel in channels[stream:]:
                n = min(in_stream - first, room)
                parts.append(Part(recording, channel, first, n))
                room, first = room - n, 0
                if not room:
                    return ShardPlan(split, index, tuple(parts))
            stream = 0
        name = shard_name(split, index, plan.config.compression)
        raise MachineError(f"the plan of shard {name} does not fit its recordings: plan again")


def too_many_shards(n: int, config: BuildConfig, *, or_more: bool = False) -> ConfigError:
    """What is wrong with a plan of `n` shards, or more."""
    return ConfigError(
        f"{n:,} shards{' and more' if or_more else ''} are more than a manifest names, about a million; a larger shard"
        f" size makes fewer: it is {config.options.shard_size:,} bytes"
    )


def chunks_per_shard(config: BuildConfig) -> int:
    """Chunks of every shard but the last of a split."""
    return max(1, config.options.shard_size // config.encoding.chunk_bytes)


def stream_of(info: AudioInfo, config: BuildConfig) -> Stream:
    """The shape of a recording's stream, or of each of its streams."""
    return Stream.of(info.frames, info.channels, config.encoding)
