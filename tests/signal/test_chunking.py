"""Codes <-> chunks, against lists that are built code by code."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from audiochunk.config import Encoding
from audiochunk.signal.chunking import Span, Stream, cut, join

Place = tuple[int, int]  # (frame, channel)


def places(frames: range, channels: int, block: int) -> list[Place]:
    """What stands behind each code of a stream, in its order."""
    listed = []
    for start in range(frames.start, frames.stop, block):
        for channel in range(channels):
            listed += [(frame, channel) for frame in range(start, min(start + block, frames.stop))]
    return listed


def places_of_span(span: Span, channels: int) -> list[Place]:
    frames = range(span.start, span.start + span.frames)
    if span.channel is not None:
        return [(frame, span.channel) for frame in frames]
    return places(frames, channels, span.block)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    return Stream(
        frames=draw(st.integers(0, 60)),
        channels=draw(st.integers(1, 6)),
        block=draw(st.integers(1, 25)),
        codes_per_chunk=draw(st.integers(1, 40)),
        pads=draw(st.booleans()),
    )


# -- cut and join


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 60), st.integers(1, 20), st.sampled_from(["u1", "u2", "u4"]))
def test_join_undoes_cut_with_padding(n: int, size: int, dtype: str) -> None:
    codes = np.arange(n).astype(dtype)
    chunks = cut(codes, size=size, fill=200)
    assert chunks.dtype == codes.dtype
    assert join(chunks, n_codes=n).tolist() == codes.tolist()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 60), st.integers(1, 20), st.sampled_from([None, 0, 200]))
def test_cut_is_the_naive_loop(n: int, size: int, fill: int | None) -> None:
    codes = list(range(n))
    expected = [codes[at : at + size] for at in range(0, n, size)]
    if expected and len(expected[-1]) < size:
        expected[-1] += [fill] * (size - len(expected[-1]))
        expected = expected[:-1] if fill is None else expected
    chunks = cut(np.array(codes, np.uint8), size=size, fill=fill)
    assert chunks.shape == (len(expected), size)
    assert chunks.tolist() == expected


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(1, 20))
def test_join_gives_what_cut_did_not_drop(n: int, size: int) -> None:
    codes = np.arange(n, dtype=np.uint8)
    assert join(cut(codes, size=size), n_codes=n).tolist() == list(range(n - n % size))


def test_cut_drops_only_the_last_chunk() -> None:
    codes = np.array([1, 2, 3, 4, 5, 6, 7], np.uint8)
    assert cut(codes, size=3).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_cut_pads_only_the_last_chunk() -> None:
    codes = np.array([1, 2, 3, 4, 5, 6, 7], np.uint8)
    assert cut(codes, size=3, fill=128).tolist() == [[1, 2, 3], [4, 5, 6], [7, 128, 128]]


@pytest.mark.parametrize(("n", "dropped", "padded"), [(0, 0, 0), (1, 0, 1), (2047, 0, 1), (2048, 1, 1), (2049, 1, 2)])
def test_cut_one_short_exact_and_one_over(n: int, dropped: int, padded: int) -> None:
    codes = np.zeros(n, np.uint8)
    assert cut(codes, size=2048).shape == (dropped, 2048)
    assert cut(codes, size=2048, fill=128).shape == (padded, 2048)


# -- counting


@settings(deadline=None, max_examples=600)
@given(streams())
def test_counts_are_those_of_the_list(stream: Stream) -> None:
    listed = places(range(stream.frames), stream.channels, stream.block)
    chunks = cut(np.zeros(len(listed), np.uint8), size=stream.codes_per_chunk, fill=0 if stream.pads else None)
    assert stream.n_codes == len(listed)
    assert stream.n_chunks == len(chunks)
    in_chunks = set(listed[: chunks.size])
    whole = {f for f in range(stream.frames) if all((f, c) in in_chunks for c in range(stream.channels))}
    assert stream.whole_frames == len(whole)
    assert whole == set(range(len(whole)))


@settings(deadline=None, max_examples=200)
@given(streams(), st.integers(0, 40), st.integers(0, 40))
def test_real_codes_are_those_that_are_not_padding(stream: Stream, first: int, n: int) -> None:
    first = min(first, stream.n_chunks)
    n = min(n, stream.n_chunks - first)
    size = stream.codes_per_chunk
    listed = places(range(stream.frames), stream.channels, stream.block)
    assert stream.real_codes(first, n) == len(listed[first * size : (first + n) * size])


@settings(deadline=None, max_examples=100)
@given(streams())
def test_position_names_frame_and_channel_of_every_code(stream: Stream) -> None:
    listed = places(range(stream.frames), stream.channels, stream.block)
    assert [stream.position(code) for code in range(stream.n_codes)] == listed


def test_a_stereo_stream_by_hand() -> None:
    # Five frames in blocks of two: L0 L1 R0 R1 | L2 L3 R2 R3 | L4 R4, cut into chunks of three codes.
    stream = Stream(frames=5, channels=2, block=2, codes_per_chunk=3, pads=False)
    assert stream.n_codes == 10
    assert stream.n_chunks == 3
    assert stream.whole_frames == 4  # L4 is in a chunk, R4 is not
    assert stream.position(9) == (4, 1)
    assert [stream.position(code) for code in (1, 2, 3)] == [(1, 0), (0, 1), (1, 1)]
    assert replace(stream, pads=True).n_chunks == 4
    assert replace(stream, pads=True).whole_frames == 5
    assert replace(stream, pads=True).real_codes(3, 1) == 1


@pytest.mark.parametrize(("frames", "n_chunks"), [(0, 0), (1, 0), (1023, 0), (1024, 1), (1025, 1), (2048, 2)])
def test_stereo_chunks_one_short_exact_and_one_over(frames: int, n_chunks: int) -> None:
    stream = Stream.of(frames, 2, Encoding())
    assert stream.n_chunks == n_chunks
    assert stream.whole_frames == 1024 * n_chunks


def test_a_block_that_is_cut_in_its_last_channel_keeps_its_first_frames() -> None:
    stream = Stream(frames=10, channels=3, block=4, codes_per_chunk=11, pads=False)
    # One chunk short of a code of the second block; two chunks: 22 of 24 codes of two blocks.
    assert replace(stream, frames=4).whole_frames == 3
    assert stream.n_chunks == 2
    assert stream.whole_frames == 6


@pytest.mark.parametrize(
    ("encoding", "channels", "expected"),
    [
        (Encoding(), 1, (1, 2048, 2048, False)),
        (Encoding(), 2, (2, 1024, 2048, False)),
        (Encoding(), 3, (3, 682, 2048, False)),
        (Encoding(bits=16), 2, (2, 512, 1024, False)),
        (Encoding(block=7, tail="pad"), 8, (8, 7, 2048, True)),
        (Encoding(layout="mono", block=None), 2, (1, 2048, 2048, False)),
        (Encoding(layout="split", block=None, tail="pad"), 8, (1, 2048, 2048, True)),
        (Encoding(chunk_bytes=4), 8, (8, 1, 4, False)),
    ],
)
def test_the_shape_of_a_stream_follows_from_the_encoding(
    encoding: Encoding, channels: int, expected: tuple[int, int, int, bool]
) -> None:
    stream = Stream.of(100, channels, encoding)
    assert stream.frames == 100
    assert (stream.channels, stream.block, stream.codes_per_chunk, stream.pads) == expected


# -- spans


@settings(deadline=None, max_examples=1500)
@given(streams(), st.data(), st.integers(1, 70))
def test_spans_name_the_codes_of_their_chunks_in_order(stream: Stream, data: st.DataObject, max_frames: int) -> None:
    first = data.draw(st.integers(0, stream.n_chunks), label="first chunk")
    n = data.draw(st.integers(0, stream.n_chunks - first), label="chunks")
    size = stream.codes_per_chunk
    needed = places(range(stream.frames), stream.channels, stream.block)[first * size : (first + n) * size]
    spans = list(stream.spans(first, n, max_frames=max_frames))
    named = [place for span in spans for place in places_of_span(span, stream.channels)]
    assert named == needed
    assert all(1 <= span.frames <= max_frames for span in spans)
    read = {frame for span in spans for frame in range(span.start, span.start + span.frames)}
    assert read == {frame for frame, _ in needed}


@settings(deadline=None, max_examples=100)
@given(streams(), st.integers(1, 70))
def test_spans_of_every_chunk_follow_each_other(stream: Stream, max_frames: int) -> None:
    singly = []
    for chunk in range(stream.n_chunks):
        for span in stream.spans(chunk, 1, max_frames=max_frames):
            singly += places_of_span(span, stream.channels)
    kept = stream.n_chunks * stream.codes_per_chunk
    assert singly == places(range(stream.frames), stream.channels, stream.block)[:kept]


def test_whole_groups_come_in_as_few_spans_as_fit() -> None:
    stream = Stream.of(44_100, 2, Encoding())
    assert stream.n_chunks == 43
    spans = list(stream.spans(0, 43, max_frames=10_240))
    assert spans == [Span(at, min(10_240, 43 * 1024 - at), 1024, None) for at in range(0, 43 * 1024, 10_240)]


def test_mono_comes_in_as_few_spans_as_fit() -> None:
    stream = Stream.of(10_000, 1, Encoding())
    spans = list(stream.spans(1, 2, max_frames=3000))
    assert [(span.start, span.frames, span.channel) for span in spans] == [(2048, 3000, None), (5048, 1096, None)]


def test_a_group_that_a_chunk_boundary_cuts_comes_channel_by_channel() -> None:
    stream = Stream(frames=8, channels=2, block=4, codes_per_chunk=6, pads=False)
    # The second chunk: the last two of R in the first block, then all four of L in the second.
    assert list(stream.spans(1, 1, max_frames=100)) == [Span(2, 2, 2, 1), Span(4, 4, 4, 0)]


def test_no_chunks_need_no_frames() -> None:
    stream = Stream.of(100, 2, Encoding())
    assert stream.n_chunks == 0
    assert list(stream.spans(0, 0, max_frames=10)) == []


@given(
    st.integers(0, 10**7),
    st.integers(1, 9),
    st.sampled_from(["blocks", "mono", "split"]),
    st.sampled_from(["drop", "pad"]),
    st.sampled_from([8, 12, 16, 24]),
)
@settings(deadline=None)
def test_chunks_are_counted_alike_without_a_stream(
    frames: int, channels: int, layout: Any, tail: Any, bits: Any
) -> None:
    block = "auto" if layout == "blocks" else None
    encoding = Encoding(bits=bits, layout=layout, tail=tail, block=block, chunk_bytes=1020)
    assert Stream.count_chunks(frames, channels, encoding) == Stream.of(frames, channels, encoding).n_chunks
