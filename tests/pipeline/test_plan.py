"""The plan: every chunk of every recording once, in path order, in shards of one size."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import BuildConfig
from audiochunk.pipeline.parts import Part
from audiochunk.pipeline.plan import Layout, Plan, ShardPlan, plan
from audiochunk.pipeline.rows import rows
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.shards import ShardRecord
from audiochunk.signal.audio import AudioInfo
from audiochunk.storage.recordings import RecordingRow

NAMES = ("test", "train", "val")
CONFIGS = st.builds(
    BuildConfig.make,
    bits=st.sampled_from([8, 16]),
    chunk_bytes=st.sampled_from([2, 6, 8, 10]),
    shard_size=st.integers(1, 60),
    tail=st.sampled_from(["drop", "pad"]),
    layout=st.just("blocks"),
    block=st.sampled_from(["auto", 1, 3, 7]),
) | st.builds(
    BuildConfig.make,
    chunk_bytes=st.integers(1, 9),
    shard_size=st.integers(1, 60),
    tail=st.sampled_from(["drop", "pad"]),
    layout=st.sampled_from(["mono", "split"]),
)
INPUTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 3), st.sampled_from(NAMES), st.booleans(), st.booleans()), max_size=8
)


def recording(number: int, frames: int, channels: int, *, error: str | None = None) -> Scanned:
    info = None if error else AudioInfo(8000, channels, frames, "PCM_16", notes=(f"note {number}",))
    return Scanned(f"{number:03d}.wav".encode(), 100 + number, 10**18 + number, info, error)


def codes_of(frames: int, channels: int, config: BuildConfig) -> list[tuple[int, int | None]]:
    """(frame, channel) behind every code of one stream, in order, as nested loops would have it."""
    if config.encoding.layout != "blocks" or channels == 1:
        return [(frame, None) for frame in range(frames)]
    block = config.encoding.block_for(channels)
    return [
        (frame, channel)
        for start in range(0, frames, block)
        for channel in range(channels)
        for frame in range(start, min(start + block, frames))
    ]


def count_chunks(frames: int, channels: int, config: BuildConfig) -> int:
    codes = len(codes_of(frames, channels, config))
    per_chunk = config.encoding.chunk_bytes // config.encoding.bytes_per_code
    return -(-codes // per_chunk) if config.encoding.tail == "pad" else codes // per_chunk


def count_dropped(frames: int, channels: int, config: BuildConfig) -> int:
    """Frames that are not in chunks with every channel."""
    codes = codes_of(frames, channels, config)
    per_chunk = config.encoding.chunk_bytes // config.encoding.bytes_per_code
    lost = codes[count_chunks(frames, channels, config) * per_chunk :]
    return len({frame for frame, _ in lost})


def channels_of(channels: int, config: BuildConfig) -> list[int | None]:
    return list(range(channels)) if config.encoding.layout == "split" else [None]


def expand(part: Part) -> list[tuple[int, int | None, int]]:
    return [(int(part.recording.path[:3]), part.channel, n) for n in range(part.first, part.first + part.chunks)]


@given(inputs=INPUTS, config=CONFIGS)
@settings(deadline=None, max_examples=200)
def test_shards_hold_every_chunk_once_and_in_order(
    inputs: list[tuple[int, int, str, bool, bool]], config: BuildConfig
) -> None:
    recordings = [
        recording(n, frames, channels, error="broken" if refused else None)
        for n, (frames, channels, _, refused, _) in enumerate(inputs)
    ]
    splits = [split for _, _, split, _, _ in inputs]
    failed = {r.path: "failed" for r, (*_, fails) in zip(recordings, inputs, strict=True) if fails and r.info}
    made = plan(recordings, splits, asked={"train": None}, config=config)
    per_shard = max(1, config.options.shard_size // config.encoding.chunk_bytes)

    assert made.names == tuple(sorted({"train", *splits}))
    for name in made.names:
        wanted = [
            (n, channel, k)
            for n, (frames, channels, split, refused, _) in enumerate(inputs)
            if split == name and not refused
            for channel in channels_of(channels, config)
            for k in range(count_chunks(frames, channels, config))
        ]
        shards = [shard for shard in made.shards if shard.split == name]
        held = [[code for part in shard.parts for code in expand(part)] for shard in shards]
        assert held == [wanted[at : at + per_shard] for at in range(0, len(wanted), per_shard)]
        assert [shard.index for shard in shards] == list(range(len(shards)))
        assert [shard.chunks for shard in shards] == [len(codes) for codes in held]
        assert all(part.chunks > 0 for shard in shards for part in shard.parts)
    assert [shard.split for shard in made.shards] == sorted(shard.split for shard in made.shards)
    assert made.n_chunks == sum(shard.chunks for shard in made.shards)

    assert list(made.shards) == made.shards[:] == [made.shards[n] for n in range(len(made.shards))]
    assert list(made.shards.places()) == [(shard.split, shard.index) for shard in made.shards]
    assert [made.shards.n_chunks(n) for n in range(len(made.shards))] == [shard.chunks for shard in made.shards]

    # The table of the same plan, with and without recordings that turned out not to be usable.
    for failures in ({}, failed):
        next_chunk = dict.fromkeys(made.names, 0)
        wanted_rows = []
        for r, (frames, channels, split, refused, _) in zip(recordings, inputs, strict=True):
            out = refused or r.path in failures
            chunks = 0 if out else count_chunks(frames, channels, config)
            for channel in [None] if out else channels_of(channels, config):
                dropped = 0 if out else count_dropped(frames, channels, config)
                wanted_rows.append((r.path, split, channel, next_chunk[split], chunks, dropped))
                next_chunk[split] += chunks
        assert [
            (row.path_bytes, row.split, row.channel, row.first_chunk, row.chunks, row.dropped_frames)
            for row in rows(made, failed=failures)
        ] == wanted_rows


@given(inputs=INPUTS, config=CONFIGS, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_what_was_clipped_is_counted_for_the_stream_that_it_was_clipped_in(
    inputs: list[tuple[int, int, str, bool, bool]], config: BuildConfig, seed: int
) -> None:
    recordings = [
        recording(n, frames, channels, error="broken" if refused else None)
        for n, (frames, channels, _, refused, _) in enumerate(inputs)
    ]
    failed = {r.path: "failed" for r, (*_, fails) in zip(recordings, inputs, strict=True) if fails and r.info}
    made = plan(recordings, [split for _, _, split, _, _ in inputs], asked={}, config=config)
    random = Random(seed)
    records, wanted = {}, Counter[tuple[bytes, int | None]]()
    for shard in made.shards:
        parts = [part for part in shard.parts if part.recording.path not in failed]
        clipped = {n: random.randrange(1, 100) for n in range(len(parts)) if random.random() < 0.4}
        records[shard.split, shard.index] = record(clipped)
        for n, samples in clipped.items():
            wanted[parts[n].recording.path, parts[n].channel] += samples
    found = {(row.path_bytes, row.channel): row.clipped for row in rows(made, failed=failed, records=records)}
    assert {key: clipped for key, clipped in found.items() if clipped} == wanted


def record(clipped: dict[int, int]) -> ShardRecord:
    return ShardRecord("", 0, 0, "", "", msgspec.msgpack.encode(clipped) if clipped else b"")


def make(*sizes: tuple[int, int], **options: Any) -> Plan:
    """The plan of recordings of (frames, channels), all in one split; chunks of 4 bytes, 3 to a shard."""
    config = BuildConfig.make(**({"chunk_bytes": 4, "shard_size": 12} | options))
    recordings = [recording(n, frames, channels) for n, (frames, channels) in enumerate(sizes)]
    return plan(recordings, ["train"] * len(sizes), asked={}, config=config)


def test_a_plan_worked_by_hand() -> None:
    # 22 codes are 5 chunks and 2 codes; 3 are none; 8 are 2 chunks.
    made = make((11, 2), (3, 1), (8, 1))
    first, _, third = made.recordings
    assert list(made.shards) == [
        ShardPlan("train", 0, (Part(first, None, 0, 3),)),
        ShardPlan("train", 1, (Part(first, None, 3, 2), Part(third, None, 0, 1))),
        ShardPlan("train", 2, (Part(third, None, 1, 1),)),
    ]
    assert [shard.chunks for shard in made.shards] == [3, 3, 1]
    table = list(rows(made))
    assert [(row.first_chunk, row.chunks, row.dropped_frames) for row in table] == [(0, 5, 1), (5, 0, 3), (5, 2, 0)]


def test_split_makes_a_row_and_a_part_of_every_channel() -> None:
    made = make((9, 2), layout="split")
    (only,) = made.recordings
    assert [part for shard in made.shards for part in shard.parts] == [
        Part(only, 0, 0, 2),
        Part(only, 1, 0, 1),
        Part(only, 1, 1, 1),
    ]
    table = list(rows(made))
    assert [(row.channel, row.first_chunk, row.chunks, row.dropped_frames) for row in table] == [
        (0, 0, 2, 1),
        (1, 2, 2, 1),
    ]


@pytest.mark.parametrize(
    ("frames", "tail", "dropped"),
    [(0, "drop", 0), (1, "drop", 1), (3, "drop", 3), (4, "drop", 0), (5, "drop", 1), (1, "pad", 0), (5, "pad", 0)],
)
def test_dropped_frames_of_one_channel_are_those_after_the_last_chunk(frames: int, tail: str, dropped: int) -> None:
    (row,) = rows(make((frames, 1), tail=tail))
    assert row.dropped_frames == dropped
    assert row.chunks == (-(-frames // 4) if tail == "pad" else frames // 4)


def test_a_frame_that_lost_a_channel_is_dropped() -> None:
    # Blocks of 3 of two channels: LLLRRR, of which the chunk of 4 codes holds LLLR: only frame 0 is whole.
    (row,) = rows(make((3, 2), block=3))
    assert (row.chunks, row.dropped_frames) == (1, 2)


@pytest.mark.parametrize(("shard_size", "per_shard"), [(1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (400, 100)])
def test_a_shard_holds_what_fits_and_at_least_one_chunk(shard_size: int, per_shard: int) -> None:
    made = make((4 * 210, 1), shard_size=shard_size)
    assert {shard.chunks for shard in made.shards[:-1]} == {per_shard}
    assert 1 <= made.shards[-1].chunks <= per_shard


def test_recordings_that_fill_shards_exactly_leave_no_empty_one() -> None:
    assert [shard.chunks for shard in make((12, 1), (12, 1)).shards] == [3, 3]


def test_recordings_without_chunks_make_no_shards_but_rows() -> None:
    made = make((0, 1), (3, 1))
    assert list(made.shards) == []
    assert [row.chunks for row in rows(made)] == [0, 0]


def test_splits_that_were_asked_for_exist_and_are_sorted() -> None:
    config = BuildConfig.make()
    asked = {"val": Fraction(1, 2), "train": Fraction(1, 2), "empty": None}
    made = plan([recording(0, 2048, 1)], ["val"], asked=asked, config=config)
    assert made.names == ("empty", "train", "val")
    assert made.asked == asked
    assert [shard.split for shard in made.shards] == ["val"]


def test_the_table_says_what_is_known_of_every_recording() -> None:
    config = BuildConfig.make(chunk_bytes=4, layout="split")
    recordings = [
        recording(0, 9, 2),
        recording(1, 0, 0, error="the file is empty"),
        recording(2, 8, 2),
        recording(3, 4, 1),
    ]
    made = plan(recordings, ["train"] * 4, asked={}, config=config)
    # Two chunks of either channel of the first, none of the third, one of the last.
    records = {("train", 0): record({1: 7, 2: 2})}
    table = list(rows(made, failed={b"002.wav": "decoding ended"}, records=records))
    known: dict[str, Any] = {
        "split": "train",
        "sample_rate": 8000,
        "subtype": "PCM_16",
        "clipped": 0,
        "notes": ("note 0",),
    }
    assert table == [
        RecordingRow(
            path="000.wav",
            channel=0,
            channels=2,
            frames=9,
            bytes=100,
            first_chunk=0,
            chunks=2,
            dropped_frames=1,
            **known,
        ),
        RecordingRow(
            path="000.wav",
            channel=1,
            channels=2,
            frames=9,
            bytes=100,
            first_chunk=2,
            chunks=2,
            dropped_frames=1,
            **(known | {"clipped": 7}),
        ),
        RecordingRow(
            path="001.wav",
            split="train",
            channel=None,
            sample_rate=0,
            channels=0,
            frames=0,
            subtype="",
            bytes=101,
            first_chunk=4,
            chunks=0,
            dropped_frames=0,
            clipped=0,
            notes=(),
            error="the file is empty",
        ),
        RecordingRow(
            path="002.wav",
            channel=None,
            channels=2,
            frames=8,
            bytes=102,
            first_chunk=4,
            chunks=0,
            dropped_frames=0,
            error="decoding ended",
            **(known | {"notes": ("note 2",)}),
        ),
        RecordingRow(
            path="003.wav",
            channel=0,
            channels=1,
            frames=4,
            bytes=103,
            first_chunk=4,
            chunks=1,
            dropped_frames=0,
            **(known | {"clipped": 2, "notes": ("note 3",)}),
        ),
    ]


def test_a_shard_is_found_without_a_look_at_all_splits() -> None:
    """There may be as many splits as recordings."""

    class Counting(dict[str, Layout]):
        looks = 0

        def __iter__(self) -> Iterator[str]:
            Counting.looks += 1
            return super().__iter__()

    names = [f"s{number:02}" for number in range(50)]
    made = plan([recording(number, 4 * 2048, 1) for number in range(50)], names, asked={}, config=BuildConfig.make())
    shards = replace(made, layouts=Counting(made.layouts)).shards
    looks = Counting.looks
    assert [shards.place(number) for number in range(50)] == [(name, 0) for name in names]
    assert [shards[number].chunks for number in range(50)] == [4] * 50
    assert [shards.n_chunks(number) for number in range(50)] == [4] * 50
    assert Counting.looks == looks
