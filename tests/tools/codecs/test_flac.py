"""FLAC files of the right format, which libsndfile decodes by itself to the same samples."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

from audiochunk.tools.codecs.codec import Stopwatch
from audiochunk.tools.codecs.flac import FlacCodec, flac_rate
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.codecs.sound import CodecError

from .sounds import BITS, Made, noise, tone

FLAC_5, FLAC_8 = CODECS["flac-5"], CODECS["flac-8"]
DEPTH = {8: 8, 12: 16, 16: 16, 24: 24}


def written(sound: Made, codec: FlacCodec) -> io.BytesIO:
    file = io.BytesIO()
    codec._encode(sound, file, Stopwatch())
    file.seek(0)
    return file


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("bits", BITS)
def test_the_file_has_the_sounds_own_format(bits: int, channels: int) -> None:
    sound = tone(5000, bits=bits, channels=channels, sample_rate=22_050)
    file = written(sound, FLAC_8)
    assert FLAC_8.measure([sound])[0].compressed_bytes == file.getbuffer().nbytes
    # STREAMINFO, RFC 9639, 8.2: after 18 bytes 20 bits of rate, 3 of channels, 5 of depth, 36 of frames.
    told = int.from_bytes(file.getbuffer()[18:26], "big")
    assert (told >> 44, (told >> 41) % 8 + 1, (told >> 36) % 32 + 1) == (22_050, channels, DEPTH[bits])
    assert told % 2**36 == 5000
    samples, _ = sf.read(file, dtype="int32", always_2d=True)
    assert (samples >> (32 - bits) == sound.samples).all()


def test_nothing_but_a_comment_stands_before_the_audio() -> None:
    data = written(tone(100), FLAC_8).getvalue()
    kinds, at = [], 4
    while not kinds or kinds[-1] < 128:
        kind, length = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        kinds.append(kind)
        at += 4 + length
    assert kinds == [0, 128 + 4]  # STREAMINFO and, last, VORBIS_COMMENT


def test_more_than_eight_channels_are_one_with_all_samples() -> None:
    sound = tone(500, channels=9)
    samples, _ = sf.read(written(sound, FLAC_5), dtype="int16", always_2d=True)
    assert samples.shape == (4500, 1)
    assert (samples[:, 0] == sound.samples.reshape(-1)).all()


def test_the_levels_are_those_of_the_command() -> None:
    sound = tone(40_000, channels=2)
    sizes = [FlacCodec("any", level=level).measure([sound])[0].compressed_bytes for level in (0, 5, 8)]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[1] == FLAC_5.measure([sound])[0].compressed_bytes
    assert sizes[2] == FLAC_8.measure([sound])[0].compressed_bytes
    file = io.BytesIO()
    samples = sound.samples.astype(np.int16)
    sf.write(file, samples, sound.sample_rate, format="FLAC", subtype="PCM_16")  # at libFLAC's default, 5
    assert sizes[1] == file.getbuffer().nbytes


def test_codes_of_12_bits_take_no_more_than_12() -> None:
    assert FLAC_5.measure([noise(4096, bits=12)])[0].compressed_bytes < 4096 * 12 // 8 + 150


@pytest.mark.parametrize(("rate", "expected"), [(1, 1), (65_535, 65_535), (65_536, 65_530), (655_360, 655_350)])
def test_rates_that_flac_lacks_are_the_nearest_below(rate: int, expected: int) -> None:
    assert flac_rate(rate) == expected


def test_a_sound_that_is_not_what_it_was_is_caught() -> None:
    @dataclass(frozen=True)
    class Changing(Made):
        def frames(self) -> Iterator[npt.NDArray[np.int32]]:
            yield self.samples
            self.samples[3] += 1

    with pytest.raises(CodecError, match="flac-5: what it decoded differs"):
        FLAC_5.measure([Changing(tone(100).samples, 16)])
