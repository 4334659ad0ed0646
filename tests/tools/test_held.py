"""Shards of several builds beside what the recordings of a split come to."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.signal.chunking import Stream
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.held import Held

#: Of each recording, in order: its chunks; whether it was lost while decoding; whether a build ends with it.
RECORDINGS = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), min_size=1, max_size=14)


def stream(chunks: int) -> Stream:
    return Stream(frames=chunks, channels=1, block=1, codes_per_chunk=1, pads=False)


def row(first_chunk: int, chunks: int, *, lost: bool) -> RecordingRow:
    common: dict[str, Any] = dict.fromkeys(("bytes", "clipped", "dropped_frames", "frames"), 0)
    return RecordingRow(
        **common,
        path="a.wav",
        split="train",
        channel=None,
        channels=1,
        sample_rate=1,
        subtype="PCM_16",
        notes=(),
        first_chunk=first_chunk,
        chunks=0 if lost else chunks,
        error="NaN" if lost else None,
    )


def held_of(recordings: list[tuple[int, bool, bool]]) -> Held:
    held = Held()
    for chunks, lost, _ in recordings:
        made = row(held.chunks, chunks, lost=lost)
        if lost:
            held.lose(made, chunks)
        else:
            held.add(made, stream(chunks))
    return held


def shards_of(recordings: list[tuple[int, bool, bool]], per_shard: int) -> Iterator[list[int]]:
    """By build, the chunks in each of its shards."""
    planned: list[bool] = []  # of each chunk, whether it is there
    for number, (chunks, lost, ends) in enumerate(recordings, 1):
        planned += [not lost] * chunks
        if ends or number == len(recordings):
            yield [sum(planned[at : at + per_shard]) for at in range(0, len(planned), per_shard)]
            planned = []


def fewest(recordings: list[tuple[int, bool, bool]], shards: list[int], per_shard: int) -> int | None:
    """Of how many builds such shards can be, at least, of those that make any: all ways are tried."""
    best = None
    for ways in range(2 ** (len(recordings) - 1)):
        cut = [(chunks, lost, bool(ways >> at & 1)) for at, (chunks, lost, _) in enumerate(recordings)]
        builds = list(shards_of(cut, per_shard))
        if [n for build in builds for n in build] == shards:
            not_full = sum(sum(planned) % per_shard > 0 for planned in planned_of(cut))
            best = not_full if best is None else min(best, not_full)
    return best


def planned_of(recordings: list[tuple[int, bool, bool]]) -> Iterator[list[int]]:
    """By build, the chunks of its recordings as planned."""
    build: list[int] = []
    for number, (chunks, _, ends) in enumerate(recordings, 1):
        build.append(chunks)
        if ends or number == len(recordings):
            yield build
            build = []


@settings(max_examples=300, deadline=None)
@given(RECORDINGS, st.integers(1, 7))
def test_the_shards_of_builds_are_taken_for_no_more_builds_than_there_were(
    recordings: list[tuple[int, bool, bool]], per_shard: int
) -> None:
    builds = list(shards_of(recordings, per_shard))
    shards = [n for build in builds for n in build]
    least = held_of(recordings).generations(shards, per_shard)
    assert len(least) == len(shards)
    assert not least or least[-1] <= len(builds)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=7), st.data())
def test_other_shards_are_taken_for_as_many_builds_as_they_need_or_for_none(
    recordings: list[tuple[int, bool, bool]], data: st.DataObject
) -> None:
    """Chunks within a recording that was not lost may seem the end of a build, so that fewer is no contradiction."""
    per_shard = data.draw(st.integers(1, 4))
    shards = [n for build in shards_of(recordings, per_shard) for n in build]
    if shards:
        at = data.draw(st.integers(0, len(shards) - 1))
        shards[at : at + 1] = data.draw(st.sampled_from([[], [shards[at] + 1], [shards[at], 0], [shards[at] + 5]]))
    least = held_of(recordings).generations(shards, per_shard)
    wanted = fewest(recordings, shards, per_shard)
    if wanted is not None and shards:
        assert len(least) == len(shards)
        assert least[-1] <= wanted
    assert all(n <= per_shard for n in shards[: len(least)])


def test_worked_by_hand() -> None:
    """Ten chunks, of which a lost recording has those from 4 to 6; shards of 5; the first build ends with chunk 7."""
    recordings = [(4, False, False), (3, True, True), (3, False, True)]
    held = held_of(recordings)
    assert list(shards_of(recordings, 5)) == [[4, 0], [3]]
    assert held.generations([4, 0, 3], 5) == [0, 1, 2]
    # As one build, they would be 4 and 3.
    assert held.generations([4, 3], 5) == [0, 0]
    # What is lost may also belong to the first shard's build, or begin the next one.
    assert held.generations([4, 2, 1], 5) == [0, 1, 2]
    assert held.generations([4, 4], 5) == [0]
    assert held.generations([5, 2], 5) == []
    assert held.generations([7], 10) == [0]
    assert held.generations([7], 11) == [1]
    assert held.generations([1] * 7, 11) == [1, 2, 3, 4, 5, 6, 7]


def test_thousands_of_recordings_that_were_lost_in_a_row_take_no_time() -> None:
    recordings = [(3, True, False)] * 20_000
    held = held_of([(5, False, False), *recordings, (5, False, False)])
    shards = [n for build in shards_of([(5, False, False), *recordings, (5, False, False)], 10_000) for n in build]
    assert held.generations(shards, 10_000) in ([0] * len(shards), [0] * (len(shards) - 1) + [1])
    rng = np.random.default_rng(0)
    many = [(int(rng.integers(0, 9)), bool(rng.integers(0, 2)), False) for _ in range(20_000)]
    shards = [n for build in shards_of(many, 7) for n in build]
    least = held_of(many).generations(shards, 7)
    assert len(least) == len(shards) > 10_000
    assert least[-1] <= 1
