"""Each recording has one flaw, which is known; the findings are to name it, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiochunk.tools.facts import collect

from .known import Wave, build, speech
from .test_facts_source import a_law, mu_law


def findings(folder: Path, recordings: dict[str, Wave], **options: Any) -> list[str]:
    return collect(build(folder, recordings, **{"bits": 16, **options})).findings()


def wide(seed: int, low_bits: int = 8) -> Wave:
    """24-bit samples in int32 whose lowest bits are all used but for so many."""
    rng = np.random.Generator(np.random.PCG64(seed))
    samples = (speech(seed).astype(np.int32) << 8) + rng.integers(0, 256, 20_000, np.int32)
    return (samples >> low_bits << low_bits) << 8


def mean_free(samples: Wave) -> Wave:
    return samples - np.rint(samples.mean()).astype(samples.dtype)


@pytest.mark.parametrize(
    ("quantizer", "bits"), [("linear", 8), ("linear", 12), ("linear", 16), ("linear", 24), ("mulaw", 8), ("mulaw", 16)]
)
def test_speech_has_nothing_wrong_with_it(tmp_path: Path, quantizer: str, bits: int) -> None:
    waves = {"mono.wav": speech(1), "stereo.wav": np.stack([speech(2), speech(3)], 1), "short.wav": speech(4, 800),
             "wide.wav": wide(5, 0), "narrow.wav": speech(7), "law.wav": speech(8)}  # fmt: skip
    subtypes = {"narrow.wav": "PCM_U8", "law.wav": "ULAW"}
    found = findings(tmp_path, waves, bits=bits, quantizer=quantizer, subtypes=subtypes)
    # Codes of more bits than a source has are a fact about the dataset, and not about the source.
    assert [sentence for sentence in found if f"bits in codes of {bits}" not in sentence] == []


def test_codes_with_more_bits_than_the_recordings_are_named(tmp_path: Path) -> None:
    found = findings(tmp_path, {"a.wav": speech(1), "b.wav": speech(2)}, bits=24)
    assert found == [
        "2 recordings have 16 bits in codes of 24 (a.wav, b.wav): bytes that are always 0 make every ratio better;"
        " compare at --bits 16."
    ]
    assert findings(tmp_path / "as they are", {"a.wav": speech(1), "b.wav": wide(2, 0)}, bits=16) == []


def test_quiet_and_short_recordings_are_no_8_bit_audio(tmp_path: Path) -> None:
    clicks = np.zeros(20_000, np.int16)
    clicks[::2000] = 256
    waves = {"quiet.wav": speech(1, peak=0.003), "short.wav": np.resize(speech(2, 200) >> 8 << 8, 800)[:800],
             "clicks.wav": clicks}  # fmt: skip
    waves["short.wav"][200:] = 0
    assert not any("bits" in sentence or "codes" in sentence for sentence in findings(tmp_path, waves))


def test_a_leak_comes_first_and_names_both(tmp_path: Path) -> None:
    waves = {"train/a.wav": speech(1), "train/b.wav": np.stack([speech(2)] * 2, 1), "val/c.wav": speech(1),
             "val/d.wav": speech(4)}  # fmt: skip
    first, second, *others = findings(tmp_path, waves, split="folders")
    assert first == (
        "1 recording is in another split too, chunk for chunk (val/c.wav in val = train/a.wav in train):"
        " a leak; what is tested on was trained on."
    )
    assert second == "26 chunks of val (50 %) are also in train: a model may have learned them by heart."
    assert len(others) == 1


def test_recordings_that_share_only_chunks_are_told_from_copies(tmp_path: Path) -> None:
    tail = speech(2, 768 * 5)
    waves = {"train/a.wav": np.concatenate([speech(1, 768 * 20), tail]),
             "val/b.wav": np.concatenate([speech(3, 768 * 5), tail])}  # fmt: skip
    assert findings(tmp_path, waves, split="folders") == [
        "5 chunks of val (50 %) are also in train, some in other recordings (most in val/b.wav): a model may have"
        " learned them by heart.",
        "5 more chunks (14.3 %) repeat an earlier one, most in val/b.wav: a loop or a test tone perhaps; a model can"
        " learn them by heart.",
    ]


def test_copies_within_a_split_are_counted(tmp_path: Path) -> None:
    waves = {f"{name}.wav": speech(1) for name in "abcde"}
    (sentence,) = findings(tmp_path, waves)
    assert sentence == (
        "4 recordings repeat another of the same split, chunk for chunk (b.wav = a.wav; c.wav = a.wav; d.wav = a.wav;"
        " 1 more): counted twice in every average."
    )


def test_silent_recordings_are_no_copies(tmp_path: Path) -> None:
    waves = {"a.wav": np.zeros(9000, np.int16), "b.wav": np.zeros(9000, np.int16), "c.wav": speech(1)}
    silent, chunks = findings(tmp_path, waves)
    assert silent.startswith("2 recordings are nothing but silence (a.wav, b.wav)")
    assert chunks.startswith("45.8 % of chunks hold one value throughout, which is digital silence in 45.8 % (most in")


@pytest.mark.parametrize("layout", ["blocks", "split"])
def test_mono_stored_twice_is_named(tmp_path: Path, layout: str) -> None:
    waves = {"two.wav": np.stack([speech(1)] * 2, 1), "three.wav": np.stack([speech(2)] * 3, 1), "x.wav": speech(3)}
    sentences = findings(tmp_path, waves, layout=layout)
    assert sentences[-1].startswith("2 recordings have the same samples in all channels (three.wav, two.wav): mono")


def test_what_is_silent_only_at_these_bits_is_not_said_to_be_silence(tmp_path: Path) -> None:
    hum = np.resize(np.array([8, 24, 40, 24], np.int16), 9000)  # what A-law keeps as it is, and less than a step
    waves = {"a.wav": hum, "b.wav": np.zeros(9000, np.int16), "c.wav": speech(1)}
    subtypes = {"a.wav": "ALAW", "b.wav": "PCM_U8"}
    first, second, chunks = findings(tmp_path, waves, subtypes=subtypes, bits=8)
    assert first == "1 recording is nothing but silence (b.wav): coded for nothing by any model."
    assert second == "At 8 bits, 1 recording has no code but that of silence (a.wav): coded for nothing by any model."
    assert chunks.startswith("43.5 % of chunks hold one code throughout at 8 bits, that of silence in 43.5 % (most in")
    all_bits = findings(tmp_path / "all bits", waves, subtypes=subtypes, bits=16)
    assert next(s for s in all_bits if "silence" in s) == first
    assert not any("no code but" in s for s in all_bits)


@pytest.mark.parametrize("layout", ["blocks", "split"])
def test_channels_that_differ_only_in_bits_that_were_cut_have_the_same_codes(tmp_path: Path, layout: str) -> None:
    left = speech(1) & ~np.int16(255)
    near = np.stack([left, left + np.int16(100)], 1)
    waves = {"near.wav": near, "three.wav": np.stack([near[:, 0], near[:, 1], speech(2)], 1),
             "still.wav": np.stack([speech(3), np.resize(np.array([5, 90], np.int16), 20_000)], 1)}  # fmt: skip
    found = [s for s in findings(tmp_path, waves, bits=8, layout=layout) if "channel" in s]
    assert found == [
        "At 8 bits, 1 recording has the same codes in all channels (near.wav): no more to code than mono stored more"
        " than once; a codec that looks across channels pays for one, a model of bytes for all.",
        "At 8 bits, 1 recording has the same codes in some channels (three.wav).",
        "At 8 bits, 1 recording has a channel of one code throughout (still.wav): that part costs nothing.",
    ]
    assert not any("channel" in s for s in findings(tmp_path / "all of them", waves, bits=16, layout=layout))


def test_codes_of_8_bit_audio_are_all_that_there_was(tmp_path: Path) -> None:
    # Another recording was cut, this one was not.
    quiet = np.resize(np.array([0, -256], np.int16), 20_000)
    waves = {"quiet.wav": quiet, "a.wav": speech(1)}
    assert not any("less than a step" in s for s in findings(tmp_path, waves, subtypes={"quiet.wav": "PCM_U8"}, bits=8))


@pytest.mark.parametrize("quantizer", ["linear", "mulaw"])
@pytest.mark.parametrize("peak", [0.01, 0.02])
def test_quiet_audio_is_not_said_to_be_mu_law(tmp_path: Path, quantizer: str, peak: float) -> None:
    found = findings(tmp_path, {"a.wav": speech(1, peak=peak)}, bits=12, quantizer=quantizer)
    assert not any("decoded from" in sentence for sentence in found)


def test_a_square_wave_is_not_called_clipped_for_certain(tmp_path: Path) -> None:
    square = np.resize(np.repeat(np.array([32767, -32768], np.int16), 40), 20_000)
    (sentence,) = [s for s in findings(tmp_path, {"a.wav": square}) if "full scale" in s]
    assert "clipped, or a waveform with flat tops; 500 times" in sentence


def test_a_silent_channel_is_no_silent_recording(tmp_path: Path) -> None:
    sentences = findings(tmp_path, {"a.wav": np.stack([speech(1), speech(1) * 0], 1)}, layout="split")
    assert [sentence.split("(")[0] for sentence in sentences] == [
        "1 recording has a channel without any signal ",
        "50 % of chunks hold one value throughout, which is digital silence in 50 % ",
    ]


def test_a_dead_channel_is_named(tmp_path: Path) -> None:
    (sentence,) = [s for s in findings(tmp_path, {"a.wav": np.stack([speech(1), speech(1) * 0], 1)}) if "channel" in s]
    assert sentence.startswith("1 recording has a channel without any signal (a.wav)")


def test_bits_that_are_always_0_are_named(tmp_path: Path) -> None:
    waves = {"a.wav": wide(1), "b.wav": wide(2), "c.wav": wide(3, 0), "d.wav": speech(4) >> 8 << 8, "e.wav": speech(5)}
    sentence, other = findings(tmp_path, waves, bits=24)
    assert other.startswith("2 recordings have 8 to 16 bits in codes of 24 (d.wav, e.wav):")
    assert sentence == (
        "3 recordings use fewer bits than the format has: 16 of 24 in 2 (a.wav, b.wav), 8 of 16 in 1 (d.wav). The low"
        " bits are always 0, which FLAC leaves out and gzip finds in part: compare with fewer bits raw."
    )


def test_what_the_dataset_has_not_kept_is_not_missed(tmp_path: Path) -> None:
    assert findings(tmp_path, {"a.wav": wide(1), "b.wav": speech(4) >> 8 << 8}, bits=8) == []


@pytest.mark.parametrize("bits", [12, 16, 24])
def test_8_bit_audio_in_disguise_is_named(tmp_path: Path, bits: int) -> None:
    mu, a = (np.array([law(byte) for byte in range(256)], np.int16) for law in (mu_law, a_law))
    rng = np.random.Generator(np.random.PCG64(1))
    waves = {
        "mu.wav": rng.choice(mu[np.abs(mu) < 30_000], 20_000),
        "a.wav": rng.choice(a[np.abs(a) < 30_000], 20_000),
        "scaled.wav": mean_free(np.rint((speech(3) >> 8) * 187.7).astype(np.int16)),
    }
    found = findings(tmp_path, waves, bits=bits)
    (sentence,) = (sentence for sentence in found if "bits in codes of" not in sentence)
    assert sentence == (
        "3 recordings hold no more than 8 bits: decoded from mu-law in 1 (mu.wav), decoded from A-law in 1 (a.wav),"
        " rescaled, to go by the even grid, in 1 (scaled.wav). At most 256 codes occur, which a model or an entropy"
        " coder finds out."
    )


def test_a_clipped_recording_is_named_with_how_often(tmp_path: Path) -> None:
    loud = speech(1)
    loud[[100, 101, 102, 5000, 5001]] = 32767  # three in a row, and two
    loud[9000:9004] = -32768
    (sentence,) = findings(tmp_path, {"a.wav": loud, "b.wav": speech(2)})
    assert sentence == (
        "1 recording stays at full scale for 3 samples or more: clipped, or a waveform with flat tops; 2 times,"
        " 0.0351 % of its samples (most in a.wav)."
    )


@pytest.mark.parametrize(("quantizer", "bits"), [("linear", 8), ("linear", 12), ("mulaw", 8)])
def test_in_coarse_codes_loud_is_not_said_to_be_clipped(tmp_path: Path, quantizer: str, bits: int) -> None:
    sine = np.rint(32767 * np.sin(np.arange(30_011) / 137.7)).astype(np.int16)
    (sentence,) = findings(tmp_path, {"a.wav": sine}, bits=bits, quantizer=quantizer)
    assert sentence.startswith("1 recording stays in the outermost code for 3 samples or more: loud, and perhaps")


def test_a_sine_at_full_scale_is_not_clipped(tmp_path: Path) -> None:
    sine = np.rint(32767 * np.sin(np.arange(30_011) / 37.7)).astype(np.int16)
    assert findings(tmp_path, {"a.wav": sine}) == []


def test_quiet_audio_is_what_8_bits_do_not_keep(tmp_path: Path) -> None:
    (sentence,) = findings(tmp_path, {"a.wav": speech(1, peak=0.003), "b.wav": speech(2)}, bits=8)
    assert sentence == (
        "50 % of chunks hold no codes but 127 and 128 (most in a.wav): audio of less than a step of 8 bits; more bits"
        " would tell it from silence."
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_a_dc_offset_is_named_with_its_size(tmp_path: Path, bits: int) -> None:
    waves = {"a.wav": mean_free(speech(1)) + np.int16(655), "b.wav": mean_free(speech(2)) + np.int16(150)}
    (sentence,) = findings(tmp_path, waves, bits=bits)
    assert sentence.startswith("1 recording has a DC offset of 1 % of full scale or more, up to 2.0 % (a.wav)")


def test_the_real_recordings_are_known(recordings: Path, tmp_path: Path) -> None:
    from audiochunk.config import BuildConfig
    from audiochunk.pipeline import run

    config = BuildConfig.make(bits=24, chunk_bytes=1536, on_error="skip", split="train=0.8,val=0.2")
    run.build(recordings, tmp_path / "out", config, workers=1, fsync=False)
    facts = collect(tmp_path / "out")
    found = {row.path: number for number, row in enumerate(facts.rows)}

    def of(path: str, column: str) -> Any:
        return facts.columns[column][found[path]]

    # soundfile's own view of the samples, read as int32: low bytes, channels, and copies.
    assert of("music_24bit/signed_24bit.wav", "effective_bits") == 16
    assert of("speech_8k_mono_fsdd/0_nicolas_1.wav", "effective_bits") == 8
    assert of("speech_16k_mono/jfk.wav", "effective_bits") == 16
    assert of("music_24bit/lmms24bit.wav", "copied_channels") == of("aiff/bloop.aif", "copied_channels") == 1
    assert of("music_44k1_stereo/music.wav", "copied_channels") == 0
    assert of("torture/audiomentations/digital_silence.wav", "silent_samples") > 0
    copy = of("torture/wavefile/M1F1-int12WE-AFsp.wav", "duplicate_of")
    assert facts.rows[copy].path.startswith("torture/wavefile/M1F1-int12WE-AFsp")
    assert facts.findings()[0].startswith("3 recordings are in another split too")
