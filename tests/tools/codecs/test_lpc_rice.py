"""The estimate beside FLAC and beside what no codec can do."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from audiochunk.tools.codecs import lpc_rice
from audiochunk.tools.codecs.lpc_rice import WINDOW, cut
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.codecs.sound import CodecError

from .sounds import BITS, Made, extremes, noise, tone

LPC_RICE, FLAC_8 = CODECS["lpc-rice"], CODECS["flac-8"]


def size(*sounds: Made) -> int:
    return sum(measured.compressed_bytes for measured in LPC_RICE.measure(sounds))


def test_two_equal_channels_cost_one_and_a_silent_difference() -> None:
    left = tone(2000)
    both = Made(np.repeat(left.samples, 2, axis=1), 16)
    one = lpc_rice.encode(left.samples[None].astype(np.int64), bits=16).bits[0]
    two = lpc_rice.encode(both.samples[None].astype(np.int64), bits=16).bits[0]
    assert two == one + 2 + (8 + 17)  # which pair; a head, and a zero of 17 bits


def test_channels_stand_as_they_are_or_with_their_difference() -> None:
    rng = np.random.default_rng(0)
    loud, soft = rng.normal(0, [[3000], [10]], (2, 4000)).astype(np.int64)
    windows = np.stack([np.stack(channels, axis=1) for channels in [(loud, 0 * soft), (loud, loud + soft)]])
    coded = lpc_rice.encode(windows, bits=16)
    assert (coded.pairs > 0).tolist() == [False, True]
    # With the mean of the two, which is smoother than either of them.
    mean = 8 * tone(4000).samples[:, 0].astype(np.int64)
    assert lpc_rice.encode(np.stack([mean + soft, mean - soft], axis=1)[None], bits=16).pairs.tolist() == [3]


@pytest.mark.parametrize("pair", range(4))
@pytest.mark.parametrize("bits", BITS)
def test_every_pair_of_signals_leads_back_to_two_channels(
    bits: int, pair: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lpc_rice, "_PAIRS", lpc_rice._PAIRS[[pair] * 4])
    for sound in (extremes(100, bits=bits), noise(101, bits=bits, channels=2), tone(64, bits=bits, channels=2)):
        windows = sound.samples[None].astype(np.int64)
        coded = replace(lpc_rice.encode(windows, bits=bits), pairs=np.array([pair]))
        assert (lpc_rice.decode(coded) == windows).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [8, 16, 24])
def test_it_comes_within_3_percent_of_flac_on_a_tone(bits: int, channels: int) -> None:
    sound = tone(16_384, bits=bits, channels=channels)
    headers = FLAC_8.header_bytes(sound)
    flac = FLAC_8.measure([sound])[0].compressed_bytes - headers
    # Of 8 bits libFLAC has coefficients of 6, which are too coarse for a tone.
    assert (0.8 if bits == 8 else 0.97) * flac < size(sound) < 1.03 * flac


@pytest.mark.parametrize("bits", BITS)
def test_white_noise_takes_no_fewer_bits_than_it_has(bits: int) -> None:
    for seed in range(20):
        sound = noise(1024, bits=bits, channels=2, seed=seed)
        assert size(sound) >= 2 * 1024 * bits / 8


def test_gaussian_noise_takes_no_fewer_bits_than_its_entropy() -> None:
    samples = np.rint(np.random.default_rng(0).normal(0, 100, (100_000, 1))).astype(np.int32)
    entropy = 0.5 * np.log2(2 * np.pi * np.e * 100**2)
    assert entropy < 8 * size(Made(samples, 16)) / 100_000 < 1.02 * entropy


def test_long_sounds_are_windows_and_a_rest() -> None:
    sound = tone(3 * WINDOW + 10, channels=2)
    parts = [sound.samples[at : at + WINDOW] for at in range(0, 3 * WINDOW + 10, WINDOW)]
    expected = sum(int(lpc_rice.encode(part[None].astype(np.int64), bits=16).bits[0]) for part in parts)
    assert size(sound) == -(-expected // 8)


@pytest.mark.parametrize("piece", [1, 1000, WINDOW, 10_000])
def test_frames_are_cut_into_windows_however_they_come(piece: int) -> None:
    sound = tone(2 * WINDOW + 1, channels=2)
    pieces = (sound.samples[at : at + piece] for at in range(0, len(sound.samples), piece))
    windows = list(cut(pieces))
    assert [len(window) for window in windows] == [WINDOW, WINDOW, 1]
    assert (np.concatenate(windows) == sound.samples).all()


def test_a_batch_is_what_its_sounds_are_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = [tone(n, bits=bits, hz=300 * n) for n in (100, 64, 5000) for bits in (8, 24)]
    alone = [size(sound) for sound in sounds]
    for at_once in (1, 6000, 2**18):
        monkeypatch.setattr(lpc_rice, "_AT_ONCE", at_once)
        assert [measured.compressed_bytes for measured in LPC_RICE.measure(sounds)] == alone


def test_an_estimate_that_lies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = lpc_rice.decode
    monkeypatch.setattr(lpc_rice, "decode", lambda coded: decode(coded) + 1)
    with pytest.raises(CodecError, match=r"^lpc-rice: the residuals and predictors do not give the samples back$"):
        LPC_RICE.measure([tone(100)])


@pytest.mark.parametrize("folder", ["speech_16k_mono", "music_44k1_stereo"])
def test_it_comes_within_5_percent_of_flac_on_recordings(folder: str, recordings) -> None:
    for path in sorted((recordings / folder).rglob("*.wav"))[:3]:
        samples, sample_rate = sf.read(path, dtype="int16", always_2d=True, frames=100_000)
        sound = Made(samples.astype(np.int32), 16, sample_rate)
        assert size(sound) == pytest.approx(FLAC_8.measure([sound])[0].compressed_bytes, rel=0.05)
