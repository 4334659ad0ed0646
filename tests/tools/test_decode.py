import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.config import Encoding
from audiochunk.errors import ConfigError, DatasetError, OutputExistsError, RecordingError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.signal import audio
from audiochunk.signal.quantize import quantize
from audiochunk.signal.sndfile import bits_of
from audiochunk.storage.recordings import RecordingRow, path_fields
from audiochunk.tools import decode as decoding
from audiochunk.tools.decode import (
    WavFormat,
    decode_all,
    decode_chunk,
    decode_recording,
    tree,
    wav_format,
    write_wav,
)

EXACT = ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "ULAW", "ALAW", "ALAC_16", "ALAC_24")


def row_of(path: bytes, *, chunks: int = 1, channels: int = 1, subtype: str = "PCM_16") -> RecordingRow:
    return RecordingRow(
        bytes=0,
        channel=None,
        channels=channels,
        chunks=chunks,
        clipped=0,
        dropped_frames=0,
        first_chunk=0,
        frames=0,
        notes=(),
        sample_rate=8000,
        split="train",
        subtype=subtype,
        **path_fields(path),
    )


def targets(*paths: bytes) -> list[bytes]:
    return [file.target for file in tree(map(row_of, paths))]


@pytest.mark.parametrize(
    ("encoding", "subtype", "channels", "bits"),
    [
        (Encoding(), "PCM_16", 1, 8),
        (Encoding(bits=12), "PCM_16", 1, 16),
        (Encoding(bits=16), "PCM_U8", 1, 8),
        (Encoding(bits=16), "PCM_24", 1, 16),
        (Encoding(bits=24, chunk_bytes=1536), "PCM_16", 2, 16),
        (Encoding(bits=24, chunk_bytes=1536), "FLOAT", 2, 24),
        (Encoding(bits=24, chunk_bytes=1536, layout="mono", block=None), "PCM_U8", 2, 16),
        (Encoding(bits=16, layout="mono", block=None), "PCM_U8", 1, 8),
        (Encoding(quantizer="mulaw"), "PCM_16", 1, 16),
        (Encoding(bits=12, quantizer="mulaw"), "PCM_16", 1, 24),
        (Encoding(bits=16, quantizer="mulaw"), "PCM_16", 1, 32),
    ],
)
def test_a_wav_has_the_fewest_bits_that_hold_the_recording(
    encoding: Encoding, subtype: str, channels: int, bits: int
) -> None:
    found = wav_format([row_of(b"a.wav", channels=channels, subtype=subtype)], encoding)
    assert found == WavFormat(8000, 1 if encoding.layout == "mono" else channels, bits)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_code_of_mu_law_is_quantized_to_itself_again(bits: int, tmp_path: Path) -> None:
    folder = tmp_path / "wavs"
    folder.mkdir()
    # All codes: every 16-bit sample, and at 16 bits the finer steps around 0 as well.
    samples = np.arange(-(2**31), 2**31, 2**14, dtype=np.int64)
    samples = np.concatenate([samples, np.arange(-(2**18), 2**18)]).astype(np.int32)
    sf.write(folder / "a.wav", samples[:, None], 8000, subtype="PCM_32")
    audiochunk.build(folder, tmp_path / "shards", bits=bits, quantizer="mulaw", tail="pad", workers=1)
    decode_all(tmp_path / "shards", tmp_path / "out", splits=["train"])
    again = quantize(audio.read(tmp_path / "out" / "a.wav"), bits=bits, quantizer="mulaw")
    assert np.array_equal(again, quantize(samples[:, None], bits=bits, quantizer="mulaw"))


def test_samples_are_rounded_and_stay_within_full_scale(tmp_path: Path) -> None:
    samples = np.array([[-(2**31)], [-(2**15) - 1], [-(2**15)], [2**15 - 1], [2**15], [2**31 - 1]], np.int32)
    write_wav(tmp_path / "a.wav", [samples], WavFormat(8000, 1, 16), frames=6)
    assert sf.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [-32768, -1, 0, 0, 1, 32767]


def test_what_is_longer_than_wav_can_be_is_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MOST_WAV_BYTES", 199)
    samples = np.arange(100, dtype=np.int16)[:, None]
    write_wav(tmp_path / "a.wav", [samples[:60], samples[60:]], WavFormat(8000, 1, 16), frames=100)
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RF64"
    assert audio.read(tmp_path / "a.wav").tolist() == samples.tolist()


def test_a_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield np.zeros((10, 1), np.int16)
        raise DatasetError("shard", "is damaged")

    with pytest.raises(DatasetError):
        write_wav(tmp_path / "a.wav", pieces(), WavFormat(8000, 1, 16), frames=20)
    assert list(tmp_path.iterdir()) == []


def test_more_channels_than_libsndfile_writes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1,025 channels"):
        write_wav(tmp_path / "a.wav", [], WavFormat(8000, 1025, 16), frames=0)


def test_the_tree_is_that_of_the_recordings_with_the_extension_wav() -> None:
    assert targets(b"a/x.flac", b"a/y.WAV", b"b.wav", b"c.aif") == [b"a/x.wav", b"a/y.wav", b"b.wav", b"c.wav"]


def test_of_names_that_collide_the_wav_keeps_its_own_and_others_keep_their_extension() -> None:
    assert targets(b"a.flac", b"a.wav") == [b"a.flac.wav", b"a.wav"]
    assert targets(b"a.aif", b"a.flac") == [b"a.aif.wav", b"a.flac.wav"]
    assert targets(b"a.WAV", b"a.wav") == [b"a.WAV.wav", b"a.wav"]
    assert targets(b"x/a.flac", b"y/a.flac") == [b"x/a.wav", b"y/a.wav"]


def test_names_that_collide_again_are_numbered() -> None:
    assert targets(b"a.flac", b"a.flac.wav", b"a.wav") == [b"a.flac.2.wav", b"a.flac.wav", b"a.wav"]
    found = targets(b"a.aif", b"a.flac", b"a.flac.aif", b"a.flac.au", b"a.flac.wav", b"a.wav")
    assert len(set(found)) == 6


def test_a_file_and_a_folder_of_one_name_are_told_apart() -> None:
    assert targets(b"a.flac", b"a.wav/b.wav") == [b"a.flac.wav", b"a.wav/b.wav"]
    assert targets(b"x/a.flac", b"x/a.flac.wav/b.wav", b"x/a.wav/c.flac") == [
        b"x/a.flac.2.wav",
        b"x/a.flac.wav/b.wav",
        b"x/a.wav/c.wav",
    ]


def test_recordings_without_chunks_have_no_file_and_take_no_name() -> None:
    files = tree([row_of(b"a.flac"), row_of(b"a.wav", chunks=0)])
    assert [(file.recording, file.target) for file in files] == [(b"a.flac", b"a.wav")]


@pytest.mark.parametrize("path", [b"/etc/a.wav", b"../a.wav", b"a/../../b.wav", b"a//b.wav", b"./a.wav", b"a\0.wav"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path: bytes) -> None:
    with pytest.raises(DatasetError, match="not a path within a folder"):
        tree([row_of(path)])


def make_tree(folder: Path) -> None:
    rng = np.random.default_rng(3)
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(["a.flac", "a.wav", "deep/b.aiff", "deep/short.wav"]):
        frames = 9 if "short" in name else 5000 + 7 * number
        sf.write(folder / name, rng.integers(-(2**15), 2**15, (frames, 1 + number % 2), np.int16), 8000 + number)


@pytest.mark.parametrize("layout", ["blocks", "split"])
@pytest.mark.parametrize("workers", [1, 2])
def test_all_recordings_come_back(tmp_path: Path, workers: int, layout: str) -> None:
    make_tree(tmp_path / "wavs")
    audiochunk.build(
        tmp_path / "wavs", tmp_path / "shards", bits=16, tail="pad", layout=layout, split="train=0.5,val=0.5", workers=1
    )
    seen: list[bytes] = []
    files = decode_all(
        tmp_path / "shards",
        tmp_path / "out",
        splits=["train", "val"],
        workers=workers,
        on_file=lambda file: seen.append(file.recording),
    )
    assert sorted(seen) == [file.recording for file in files]
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert found == {"a.flac.wav", "a.wav", "deep/b.wav", "deep/short.wav"}
    for file in files:
        source, rate = sf.read(tmp_path / "wavs" / os.fsdecode(file.recording), dtype="int16", always_2d=True)
        decoded, its_rate = sf.read(tmp_path / "out" / os.fsdecode(file.target), dtype="int16", always_2d=True)
        assert its_rate == rate
        assert np.array_equal(decoded, source)


def test_names_as_long_as_names_can_be_come_back(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    name = "語" * 83 + ".wav"  # 253 bytes
    sf.write(tmp_path / "wavs" / name, np.zeros(5000, np.int16), 8000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", workers=1)
    decode_all(tmp_path / "shards", tmp_path / "out", splits=["train"])
    assert os.listdir(tmp_path / "out") == [name]
    ds = audiochunk.open(tmp_path / "shards")
    decode_recording(ds, ds.recordings, tmp_path / name)
    assert (tmp_path / name).exists()


def test_files_that_are_there_are_not_replaced_unless_asked(tmp_path: Path) -> None:
    make_tree(tmp_path / "wavs")
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", workers=1)
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "b.wav").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"holds deep/b\.wav"):
        decode_all(tmp_path / "shards", tmp_path / "out", splits=["train"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]
    decode_all(tmp_path / "shards", tmp_path / "out", splits=["train"], overwrite=True)
    assert (tmp_path / "out" / "deep" / "b.wav").read_bytes()[:4] == b"RIFF"


def test_the_channels_of_a_chunk_that_is_not_aligned_lie_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    stereo = np.arange(-6000, 6000, dtype=np.int16).reshape(2, -1).T
    sf.write(tmp_path / "wavs" / "a.wav", stereo, 8000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", bits=16, block=700, workers=1)
    ds = audiochunk.open(tmp_path / "shards")
    assert decode_chunk(ds, 0, tmp_path / "chunk.wav") == WavFormat(8000, 2, 16)
    decoded = sf.read(tmp_path / "chunk.wav", dtype="int16")[0]
    assert decoded[:, 0].tolist() == stereo[:700, 0].tolist()
    assert decoded[:, 1].tolist() == [*stereo[: 1024 - 700, 1].tolist(), *[0] * (2 * 700 - 1024)]


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_every_real_recording_comes_back_within_a_step_and_pcm_exactly(
    recordings: Path, tmp_path: Path, bits: int
) -> None:
    options = {"chunk_bytes": 1536} if bits == 24 else {}
    audiochunk.build(
        recordings, tmp_path / "shards", bits=bits, tail="pad", on_error="skip", workers=2, fsync=False, **options
    )
    files = decode_all(tmp_path / "shards", tmp_path / "out", splits=["train"], workers=2)
    exact, rows = 0, ChunkDataset(tmp_path / "shards").recordings
    for file in files:
        assert {rows[number].path_bytes for number in file.numbers} == {file.recording}
        source = audio.read(recordings / os.fsdecode(file.recording)).astype(np.int64)
        source <<= 32 - 8 * audio.read(recordings / os.fsdecode(file.recording), frames=0).itemsize
        path = tmp_path / "out" / os.fsdecode(file.target)
        decoded = audio.read(path).astype(np.int64) << (32 - 8 * audio.read(path, frames=0).itemsize)
        assert decoded.shape == source.shape, file
        error = source - decoded
        assert error.min() >= 0
        assert error.max() < 1 << (32 - bits)
        subtype = rows[file.numbers[0]].subtype
        if subtype in EXACT and bits_of(subtype) <= bits:
            assert not error.any(), file
            exact += 1
    assert len(files) > 400
    assert exact > {8: 10, 16: 200, 24: 300}[bits]


def test_a_real_dataset_opens_again_from_its_decoded_files(recordings: Path, tmp_path: Path) -> None:
    """Encoding what was decoded gives the same chunks: decoding lost nothing that the dataset had."""
    audiochunk.build(
        recordings, tmp_path / "one", on_error="skip", include=["*/music_44k1_stereo/*", "speech*"], workers=2
    )
    decode_all(tmp_path / "one", tmp_path / "wavs", splits=["train"])
    audiochunk.build(tmp_path / "wavs", tmp_path / "two", workers=2)
    one, two = ChunkDataset(tmp_path / "one"), ChunkDataset(tmp_path / "two")
    assert len(one) > 0
    assert np.array_equal(np.array(one[:]), np.array(two[:]))


def test_damage_is_found_rather_than_decoded(tmp_path: Path) -> None:
    make_tree(tmp_path / "wavs")
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", compress="zstd", workers=1)
    shard = next((tmp_path / "shards").glob("*.zst"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises((DatasetError, RecordingError)):
        decode_all(tmp_path / "shards", tmp_path / "out", splits=["train"])
