"""The direct way from PCM to codes, against the plain one through samples."""

import os
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audiochunk.config import Encoding
from audiochunk.errors import PassingRecordingError, RecordingError
from audiochunk.signal.chunking import Stream
from audiochunk.signal.encode import encode
from audiochunk.signal.encoder import Encoder
from audiochunk.signal.pcm import encode_pcm, is_direct
from audiochunk.signal.wav import WavForm, to_samples

Octets = npt.NDArray[np.uint8]


class Pcm(NamedTuple):
    """Frames as they lie in a file, (frames, channels, width), and in what form."""

    octets: Octets
    form: WavForm

    @property
    def samples(self) -> npt.NDArray[Any]:
        raw = self.octets if self.form.width == 3 else self.octets.view(self.form.dtype)[..., 0]
        return to_samples(raw, self.form)


def pcm(frames: int, channels: int, width: int, *, big_endian: bool = False, offset: int = 44, seed: int = 0) -> Pcm:
    octets = np.random.default_rng(seed).integers(0, 256, (frames, channels, width), np.uint8)
    return Pcm(octets, WavForm("int", width, big_endian, offset))


class Collected:
    """Room for pieces, and all that was put there."""

    def __init__(self) -> None:
        self._pieces: list[Octets] = []
        self.sizes: list[int] = []

    def room(self, n: int) -> Octets:
        self._pieces.append(np.full(n, 77, np.uint8))
        self.sizes.append(n)
        return self._pieces[-1]

    def all(self) -> bytes:
        return b"".join(piece.tobytes() for piece in self._pieces)


def encode_directly(recordings: list[Pcm], encoding: Encoding, *, n_bytes: int) -> tuple[bytes, list[int]]:
    """All chunks of recordings, one after the other, as a build of one shard makes them."""
    collected = Collected()
    batch = Encoder(encoding, collected.room, n_bytes=n_bytes)
    for octets, form in recordings:
        frames, channels, _ = octets.shape
        assert is_direct(form, encoding, channels=channels)
        with tempfile.TemporaryFile() as file:
            file.write(b"\xee" * form.offset + octets.tobytes())
            file.flush()
            for channel in encoding.streams(channels):
                stream = Stream.of(frames, channels, encoding)
                for span in stream.spans(0, stream.n_chunks, max_frames=batch.max_frames(form, channels)):
                    batch.add(file.fileno(), b"it", form, span, channels=channels, channel=channel)
                batch.pad(stream.n_chunks * stream.codes_per_chunk - stream.real_codes(0, stream.n_chunks))
    batch.flush()
    return collected.all(), collected.sizes


def encode_plainly(recordings: list[Pcm], encoding: Encoding) -> bytes:
    chunks = [
        encode(recording.samples, encoding, channel=channel).tobytes()
        for recording in recordings
        for channel in encoding.streams(recording.octets.shape[1])
    ]
    return b"".join(chunks)


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    bits = draw(st.sampled_from([8, 16, 24]))
    options: dict[str, Any] = {"bits": bits, "tail": draw(st.sampled_from(["drop", "pad"]))}
    options["chunk_bytes"] = draw(st.integers(1, 40)) * (bits // 8)
    options["layout"] = draw(st.sampled_from(["blocks", "blocks", "split", "mono"]))
    options["block"] = draw(st.one_of(st.just("auto"), st.integers(1, 30))) if options["layout"] == "blocks" else None
    if bits > 8:
        options["byte_order"] = draw(st.sampled_from(["little", "big"]))
    return Encoding(**options)


@settings(max_examples=300, deadline=None)
@given(
    encoding=encodings(),
    shapes=st.lists(
        st.tuples(
            st.integers(0, 90),  # frames
            st.sampled_from([1, 1, 2, 2, 3, 4, 6, 8]),
            st.integers(1, 4),  # bytes of a sample
            st.booleans(),  # big-endian
            st.integers(0, 9),  # where the data begins
        ),
        min_size=1,
        max_size=6,
    ),
    n_bytes=st.integers(96, 700),
)
@example(Encoding(chunk_bytes=8), [(1, 2, 2, False, 1)], 96)
@example(Encoding(bits=16, chunk_bytes=8, block=3), [(40, 2, 2, True, 3), (40, 2, 2, False, 3)], 96)
def test_codes_of_pcm_are_those_of_its_samples(
    encoding: Encoding, shapes: list[tuple[int, int, int, bool, int]], n_bytes: int
) -> None:
    recordings = [
        pcm(frames, 1 if encoding.layout == "mono" else channels, width, big_endian=big, offset=offset, seed=seed)
        for seed, (frames, channels, width, big, offset) in enumerate(shapes)
    ]
    assert encode_directly(recordings, encoding, n_bytes=n_bytes)[0] == encode_plainly(recordings, encoding)


def test_a_stereo_recording_by_hand() -> None:
    # Left 0, -1, 256, 32767; right -32768, 1, -256, 255.
    frames = np.array([[0, -32768], [-1, 1], [256, -256], [32767, 255]], "<i2")
    recording = Pcm(frames.view(np.uint8).reshape(4, 2, 2), WavForm("int", 2, False, 44))
    codes, _ = encode_directly([recording], Encoding(chunk_bytes=4, block=2), n_bytes=100)
    assert list(codes) == [128, 127, 0, 128, 129, 255, 127, 128]


def test_small_recordings_are_encoded_together_and_others_on_their_own() -> None:
    encoding = Encoding(chunk_bytes=8)
    alike = [pcm(16, 2, 2, offset=offset, seed=offset) for offset in (44, 80, 45)]
    assert encode_directly(alike, encoding, n_bytes=1000)[1] == [96]
    assert encode_directly([*alike, pcm(16, 2, 3)], encoding, n_bytes=1000)[1] == [96, 32]
    assert encode_directly([*alike, pcm(16, 1, 2)], encoding, n_bytes=1000)[1] == [96, 16]
    assert encode_directly(alike, encoding, n_bytes=130)[1] == [64, 32]


@pytest.mark.parametrize(
    ("form", "options", "channels", "direct"),
    [
        (WavForm("int", 2, False, 44), {}, 2, True),
        (WavForm("int", 3, True, 44), {"bits": 16}, 2, True),
        (WavForm("int", 1, False, 44), {"bits": 24, "chunk_bytes": 6}, 2, True),
        (WavForm("int", 2, False, 44), {"bits": 12}, 2, False),
        (WavForm("int", 2, False, 44), {"quantizer": "mulaw"}, 2, False),
        (WavForm("int", 2, False, 44), {"layout": "mono", "block": None}, 2, False),
        (WavForm("int", 2, False, 44), {"layout": "mono", "block": None}, 1, True),
        (WavForm("int", 3, False, 44, low_bits=20), {}, 2, False),
        (WavForm("float", 4, False, 44), {}, 2, False),
        (WavForm("mulaw", 1, False, 44), {}, 2, False),
    ],
)
def test_only_where_codes_are_bytes_of_samples(
    form: WavForm, options: dict[str, Any], channels: int, direct: bool
) -> None:
    assert is_direct(form, Encoding(**options), channels=channels) == direct


@pytest.fixture
def short() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(44 + 30))
        file.flush()
        yield file.fileno()


def test_a_file_that_ends_before_is_a_failure_of_the_recording(short: int) -> None:
    encoding = Encoding(chunk_bytes=8)
    batch = Encoder(encoding, Collected().room, n_bytes=1000)
    (span,) = Stream.of(16, 1, encoding).spans(0, 2, max_frames=100)
    with pytest.raises(RecordingError, match="the file ends in frame 15"):
        batch.add(short, b"it", WavForm("int", 2, False, 44), span, channels=1, channel=None)


def test_a_file_that_cannot_be_read_is_a_passing_failure(tmp_path: os.PathLike[str]) -> None:
    encoding = Encoding(chunk_bytes=8)
    batch = Encoder(encoding, Collected().room, n_bytes=1000)
    (span,) = Stream.of(16, 1, encoding).spans(0, 2, max_frames=100)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(PassingRecordingError, match="is a directory"):
            batch.add(fd, b"it", WavForm("int", 2, False, 44), span, channels=1, channel=None)
    finally:
        os.close(fd)


def test_an_unaligned_place_can_be_filled() -> None:
    recording = pcm(10, 2, 2)
    encoding = Encoding(bits=16, chunk_bytes=8, block=1)
    out = np.zeros(41, np.uint8)[1:]
    encode_pcm(recording.octets, recording.form, encoding, block=1, out=out)
    assert out.tobytes() == encode(recording.samples, encoding).tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize(("channels", "width"), [(1, 1), (2, 2), (8, 3), (65_535, 1), (65_535, 4), (65_535, None)])
def test_the_most_frames_of_a_span_fit_the_buffer(bits: int, channels: int, width: int | None) -> None:
    n_bytes = 2**19
    encoder = Encoder(Encoding(bits=bits, chunk_bytes=6), Collected().room, n_bytes=n_bytes)
    n = encoder.max_frames(WavForm("int", width, False, 44) if width else None, channels)
    most = max(width or 4, bits // 8) * channels
    assert n >= 1
    assert n * most <= n_bytes < (n + 1) * most
