"""Every codec gives back every kind of sound."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from audiochunk.tools.codecs.registry import CODECS

from .sounds import BITS, Made, extremes, noise, tone

COMMANDS = ["wavpack", "flac-cli-8"]


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest):
    codec = CODECS[request.param]
    if advice := codec.missing():
        pytest.skip(f"{codec.name} is missing: {advice}")
    return codec


def test_codecs_stand_in_the_order_of_the_documentation() -> None:
    assert list(CODECS) == [
        *["gzip-9", "bz2", "lzma", "zstd-3", "zstd-19", "brotli"],
        *["flac-5", "flac-8", "wavpack", "flac-cli-8", "lpc-rice"],
    ]
    assert [codec.name for codec in CODECS.values()] == list(CODECS)


@pytest.mark.parametrize("channels", [1, 2, 3, 9])
@pytest.mark.parametrize("bits", BITS)
def test_every_kind_of_sound_comes_back(codec, bits: int, channels: int) -> None:
    sounds = [
        tone(1500, bits=bits, channels=channels),
        noise(257, bits=bits, channels=channels),
        extremes(100, bits=bits, channels=channels),
        Made(np.zeros((700, channels), np.int32), bits),
        tone(1, bits=bits, channels=channels),
    ]
    measured = codec.measure(sounds)
    assert [m.compressed_bytes > 0 for m in measured] == [True] * len(sounds)
    assert all(m.encode_s > 0 and m.decode_s > 0 for m in measured)
    assert measured[3].compressed_bytes < sounds[3].n_bytes


@pytest.mark.parametrize("sample_rate", [1, 65_537, 75_264, 655_351, 1_000_000])
def test_a_sound_of_any_rate_comes_back(codec, sample_rate: int) -> None:
    assert codec.measure([replace(tone(50, channels=2), sample_rate=sample_rate)])[0].compressed_bytes > 0


def test_sounds_of_many_formats_come_back_in_their_order(codec) -> None:
    sounds = [tone(n, bits=bits, channels=channels) for n in (300, 4097) for bits in (8, 16) for channels in (1, 2)]
    together = [m.compressed_bytes for m in codec.measure(sounds)]
    assert together == [codec.measure([sound])[0].compressed_bytes for sound in sounds]


def test_of_no_sounds_there_is_nothing_to_say(codec) -> None:
    assert codec.measure([]) == []


def test_the_size_does_not_depend_on_how_a_sound_is_cut_into_pieces(codec) -> None:
    sound = tone(9000, channels=2)
    sizes = {codec.measure([replace(sound, piece=piece)])[0].compressed_bytes for piece in (100, 4096, 50_000)}
    # Zstandard decides what to look back to by the pieces that it is given.
    assert max(sizes) <= (1.01 if codec.name.startswith("zstd") else 1) * min(sizes)


def test_a_codec_can_be_sent_to_another_process(codec) -> None:
    assert pickle.loads(pickle.dumps(codec)) == codec


def test_the_header_is_the_size_of_next_to_nothing(codec) -> None:
    sound = tone(1000, channels=2)
    header = codec.header_bytes(sound)
    if codec.name in ("flac-5", "flac-8", *COMMANDS, "lpc-rice"):
        assert header == codec.measure([Made(np.zeros((1, 2), np.int32), 16)])[0].compressed_bytes
    else:
        assert header == codec.measure([Made(np.full((1, 1), -128, np.int32), 8)])[0].compressed_bytes
    assert header < codec.measure([sound])[0].compressed_bytes


@pytest.mark.parametrize("name", [name for name in CODECS if name not in (*COMMANDS, "brotli")])
def test_most_codecs_are_always_there(name: str) -> None:
    assert CODECS[name].missing() is None
