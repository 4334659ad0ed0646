"""Samples <-> chunks of whole streams: all encodings there are, and the rule of the papers restated."""

from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import Bits, ByteOrder, Encoding, Layout, Quantizer, Tail
from audiochunk.errors import ConfigError
from audiochunk.signal.chunking import Stream
from audiochunk.signal.encode import arrange, decode, encode
from audiochunk.signal.quantize import dequantize, quantize, silence


def every_encoding(chunk_bytes: int) -> list[Encoding]:
    """All combinations that `Encoding` takes, with blocks that are aligned and blocks that are not."""
    encodings = []
    for bits in get_args(Bits):
        for quantizer in get_args(Quantizer):
            for order in get_args(ByteOrder):
                for layout in get_args(Layout):
                    for block in ("auto", 1, 5) if layout == "blocks" else (None,):
                        for tail in get_args(Tail):
                            how = {"bits": bits, "quantizer": quantizer, "byte_order": order, "layout": layout}
                            try:
                                encoding = Encoding(**how, block=block, tail=tail, chunk_bytes=chunk_bytes)
                            except ConfigError:
                                continue
                            encodings.append(encoding)
    return encodings


ENCODINGS = every_encoding(24)


def noise(frames: int, channels: int, dtype: str) -> npt.NDArray[np.signedinteger]:
    """Samples of the whole range, both ends among them."""
    limits = np.iinfo(dtype)
    samples = np.random.default_rng(frames * 8 + channels).integers(
        limits.min, limits.max, (frames, channels), dtype, endpoint=True
    )
    samples.flat[:2] = [limits.min, limits.max][: samples.size]
    return samples


def streams_by_hand(samples: npt.NDArray[np.signedinteger], encoding: Encoding) -> list[list[int]]:
    """The samples of every stream of a recording, in their order."""
    rows = samples.tolist()
    channels = samples.shape[1]
    if encoding.layout == "mono":
        return [[sum(row) // channels for row in rows]]
    if encoding.layout == "split":
        return [[row[channel] for row in rows] for channel in range(channels)]
    block = encoding.block_for(channels)
    stream = []
    for start in range(0, len(rows), block):
        for channel in range(channels):
            stream += [row[channel] for row in rows[start : start + block]]
    return [stream]


def chunks_by_hand(stream: list[int], encoding: Encoding, dtype: str) -> list[bytes]:
    codes = quantize(np.array(stream, dtype), bits=encoding.bits, quantizer=encoding.quantizer).tolist()
    coded = b"".join(code.to_bytes(encoding.bytes_per_code, encoding.byte_order) for code in codes)
    chunks = [coded[at : at + encoding.chunk_bytes] for at in range(0, len(coded), encoding.chunk_bytes)]
    missing = -len(coded) % encoding.chunk_bytes
    if missing and encoding.tail == "drop":
        return chunks[:-1]
    quiet = silence(bits=encoding.bits).to_bytes(encoding.bytes_per_code, encoding.byte_order)
    if missing:
        chunks[-1] += quiet * (missing // encoding.bytes_per_code)
    return chunks


def test_no_combination_was_forgotten() -> None:
    # (4 linear and 3 mulaw) at little, without 8 bits at big: 7 + 5 codings, 5 arrangements, 2 tails.
    assert len(ENCODINGS) == (7 + 5) * 5 * 2
    assert len(set(ENCODINGS)) == len(ENCODINGS)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_decode_gives_the_whole_frames_back(channels: int, dtype: str) -> None:
    for encoding in ENCODINGS:
        for frames in (1, 5, 23, 24, 25, 100):
            check_round_trip(noise(frames, channels, dtype), encoding)


def check_round_trip(samples: npt.NDArray[np.signedinteger], encoding: Encoding) -> None:
    frames, channels = samples.shape
    whole = Stream.of(frames, channels, encoding).whole_frames
    decoded = []
    for channel in encoding.streams(channels):
        chunks = encode(samples, encoding, channel=channel)
        decoded.append(decode(chunks, encoding, frames=frames, channels=channels))
        if encoding.stored_as == "U16":
            stored = chunks.view("<u2")
            assert np.array_equal(decode(stored, encoding, frames=frames, channels=channels), decoded[-1])
    back = np.concatenate(decoded, axis=1)
    kept = samples[:whole]
    if encoding.layout == "mono":
        kept = np.array(streams_by_hand(samples, encoding)[0], samples.dtype)[:whole, None]
    how = {"bits": encoding.bits, "quantizer": encoding.quantizer}
    assert back.shape == kept.shape
    assert np.array_equal(back, dequantize(quantize(kept, **how), **how))
    if encoding.quantizer == "linear" and encoding.bits >= 8 * samples.itemsize:
        assert np.array_equal(back >> 8 * (back.itemsize - samples.itemsize), kept)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_encode_is_every_step_by_hand(channels: int, dtype: str) -> None:
    for encoding in ENCODINGS:
        for frames in (1, 23, 24, 25, 100):
            samples = noise(frames, channels, dtype)
            for channel, stream in zip(encoding.streams(channels), streams_by_hand(samples, encoding), strict=True):
                chunks = encode(samples, encoding, channel=channel)
                assert chunks.dtype == np.uint8
                assert [row.tobytes() for row in chunks] == chunks_by_hand(stream, encoding, dtype), (encoding, frames)


@pytest.mark.parametrize("bits", get_args(Bits))
@pytest.mark.parametrize(("frames", "channels"), [(0, 1), (0, 2), (1, 1)])
def test_what_makes_no_chunk_comes_back_empty(frames: int, channels: int, bits: Bits) -> None:
    samples = np.zeros((frames, channels), np.int16)
    for encoding in ENCODINGS:
        if encoding.bits == bits:
            chunks = encode(samples, encoding, channel=encoding.streams(channels)[0])
            padded = frames > 0 and encoding.tail == "pad"
            assert chunks.shape == (1 if padded else 0, encoding.chunk_bytes)
            back = decode(chunks, encoding, frames=frames, channels=channels)
            assert back.shape == (frames if padded else 0, channels if encoding.layout == "blocks" else 1)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(ENCODINGS),
    st.integers(24, 200),
    st.integers(1, 8),
    st.integers(1, 30),
    st.sampled_from(["int16", "int32"]),
)
def test_any_size_makes_the_round_trip(encoding: Encoding, frames: int, channels: int, block: int, dtype: str) -> None:
    if encoding.layout == "blocks":
        encoding = Encoding(
            bits=encoding.bits,
            quantizer=encoding.quantizer,
            byte_order=encoding.byte_order,
            chunk_bytes=encoding.chunk_bytes,
            block=block,
            tail=encoding.tail,
        )
    check_round_trip(noise(frames, channels, dtype), encoding)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(ENCODINGS),
    st.integers(0, 120),
    st.integers(1, 5),
    st.integers(1, 40),
    st.data(),
)
def test_spans_read_and_arranged_are_the_stream(
    encoding: Encoding, frames: int, channels: int, max_frames: int, data: st.DataObject
) -> None:
    samples = noise(frames, channels, "int16")
    stream = Stream.of(frames, channels, encoding)
    first = data.draw(st.integers(0, stream.n_chunks))
    n = stream.n_chunks - first
    by_hand = streams_by_hand(samples, encoding)
    for channel, expected in zip(encoding.streams(channels), by_hand, strict=True):
        pieces = []
        for span in stream.spans(first, n, max_frames=max_frames):
            read = samples[span.start : span.start + span.frames]
            pieces += arrange(read, span, encoding, channel=channel).tolist()
        size = encoding.codes_per_chunk
        assert pieces == expected[first * size : (first + n) * size]


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e.tail == "pad" and e.layout == "blocks"], ids=str)
def test_padding_is_the_code_of_silence(encoding: Encoding) -> None:
    loud = np.full((7, 1), np.iinfo(np.int16).max, np.int16)
    last = encode(loud, encoding)[-1].tobytes()
    real = (7 * encoding.bytes_per_code - 1) % encoding.chunk_bytes + 1
    quiet = silence(bits=encoding.bits).to_bytes(encoding.bytes_per_code, encoding.byte_order)
    assert real < len(last)
    assert last[real:] == quiet * ((len(last) - real) // encoding.bytes_per_code)
    assert last[:real].find(quiet) == -1


# -- what the papers' reference does


def lmic_patches(utterance: list[int]) -> list[bytes]:
    """16-bit mono as 8 bits, in patches of 2048 bytes without the incomplete last: the rule in plain words."""
    as_bytes = bytes((sample >> 8) + 128 for sample in utterance)
    patches = [as_bytes[at : at + 2048] for at in range(0, len(as_bytes), 2048)]
    if patches and len(patches[-1]) < 2048:
        patches.pop()
    return patches


@pytest.mark.parametrize("frames", [1, 2047, 2048, 2049, 4095, 4096, 4097, 50_000])
def test_chunks_of_16_bit_mono_are_the_patches_of_the_reference(frames: int) -> None:
    samples = noise(frames, 1, "int16")
    chunks = encode(samples, Encoding())
    assert [row.tobytes() for row in chunks] == lmic_patches(samples[:, 0].tolist())


@pytest.mark.parametrize(
    ("encoding", "channels", "samples_a_channel", "rate", "milliseconds"),
    [
        (Encoding(), 1, 2048, 16_000, 128.0),
        (Encoding(), 1, 2048, 44_100, 46.4),
        (Encoding(bits=16), 1, 1024, 44_100, 23.2),
        (Encoding(), 2, 1024, 44_100, 23.2),
        (Encoding(bits=16), 2, 512, 44_100, 11.6),
    ],
)
def test_a_chunk_of_2048_bytes_lasts_as_long_as_the_papers_say(
    encoding: Encoding, channels: int, samples_a_channel: int, rate: int, milliseconds: float
) -> None:
    assert encoding.codes_per_chunk == samples_a_channel * channels
    if channels > 1:
        assert encoding.block_for(channels) == samples_a_channel
        assert encoding.is_aligned(channels)
    assert round(1000 * samples_a_channel / rate, 1) == milliseconds
    one = encode(np.zeros((samples_a_channel, channels), np.int16), encoding)
    assert one.shape == (1, 2048)


def test_a_stereo_chunk_holds_one_block_of_each_channel() -> None:
    samples = np.empty((2048, 2), np.int16)
    samples[:, 0], samples[:, 1] = 256, -256
    chunks = encode(samples, Encoding())
    assert chunks.shape == (2, 2048)
    for chunk in chunks:
        assert chunk[:1024].tolist() == [129] * 1024
        assert chunk[1024:].tolist() == [127] * 1024
