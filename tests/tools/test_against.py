"""A dataset and its recordings: change one of them, and find just that."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import xxhash

import audiochunk
from audiochunk.errors import InputError, NoDatasetError
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import read_rows
from audiochunk.tools.against import verify_against
from audiochunk.tools.finding import Finding
from audiochunk.tools.verify import verify

from .damage import V1, copy, edit_rows, flip, places, reseal, zstd_frames

FIRST, SECOND = "train-00000.safetensors", "train-00001.safetensors"
GOLDEN = sorted(path.parent.name for path in V1.glob("*/manifest.json"))


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(V1 / "wavs", tmp_path / "wavs"))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_dataset_is_what_its_recordings_make(name: str) -> None:
    done: list[int] = []
    assert verify_against(V1 / name, V1 / "wavs", on_bytes=done.append) == []
    manifest = Manifest.read(V1 / name)
    assert sum(done) == sum(shard.chunks for shard in manifest.shards) * manifest.encoding.chunk_bytes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bits": 16, "layout": "split", "tail": "pad", "shard_size": "100k", "compress": "zstd"},
        {"bits": 12, "layout": "mono", "byte_order": "big", "quantizer": "mulaw", "split": "train=0.5,val=0.5"},
        {"bits": 24, "chunk_bytes": 1536, "block": 1000, "shard_size": "1MiB"},
    ],
)
def test_a_dataset_of_real_recordings_is_what_they_make(
    recordings: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    audiochunk.build(recordings, tmp_path / "out", workers=2, on_error="skip", fsync=False, **options)
    looked_into: list[bytes] = []
    assert verify_against(tmp_path / "out", recordings, on_recording=looked_into.append) == []
    rows = (tmp_path / "out" / "recordings.jsonl").read_bytes().splitlines()
    assert len(looked_into) == len(set(looked_into)) <= len(rows)
    assert len(looked_into) > 500


@pytest.mark.parametrize("name", GOLDEN)
def test_one_changed_sample_is_found_where_it_is(wavs: Path, name: str) -> None:
    file = wavs / "speech" / "mono-16.wav"
    data = bytearray(file.read_bytes())
    data[44 + 2 * 5 : 44 + 2 * 6] = b"\xff\x7f"  # sample 5 becomes full scale
    file.write_bytes(data)
    [finding] = verify_against(V1 / name, wavs)
    manifest = Manifest.read(V1 / name)
    row = next(row for row in read_rows(V1 / name, manifest.recordings) if row.path == "speech/mono-16.wav")
    chunk = row.first_chunk
    for shard in (shard for shard in manifest.shards if shard.split == row.split):
        if chunk < shard.chunks:
            break
        chunk -= shard.chunks
    assert (finding.file, finding.place) == (shard.name, f"chunk {chunk}, code 5 (speech/mono-16.wav)")
    assert "ff" in finding.expected
    assert f"of {row.chunks * manifest.encoding.chunk_bytes:,} differ" in finding.found


def test_one_byte_that_differs_is_one(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(2048, np.int16), 8000, subtype="PCM_16")
    wavs = tmp_path / "wavs"
    wavs.mkdir()
    (tmp_path / "a.wav").rename(wavs / "a.wav")
    audiochunk.build(wavs, tmp_path / "out", workers=1, fsync=False)
    data = bytearray((wavs / "a.wav").read_bytes())
    data[-2:] = b"\xff\x7f"
    (wavs / "a.wav").write_bytes(data)
    [finding] = verify_against(tmp_path / "out", wavs)
    assert finding.found.endswith("; 1 byte of 2,048 differs")


def test_changed_data_whose_digests_are_right_is_found(tmp_path: Path) -> None:
    folder = copy("u8-blocks", tmp_path)
    flip(folder / SECOND, 4096 + 64 * 2 + 7)
    reseal(folder)
    assert verify(folder) == []
    [finding] = verify_against(folder, V1 / "wavs")
    assert (finding.file, finding.place) == (SECOND, "chunk 2, code 7 (music/stereo-float.wav)")


def test_a_wrong_count_of_clipped_samples_is_found(tmp_path: Path) -> None:
    folder = copy("u8-blocks", tmp_path)
    edit_rows(folder, lambda rows: rows[2].update(clipped=2))
    reseal(folder)
    assert verify(folder) == []
    assert verify_against(folder, V1 / "wavs") == [Finding("music/stereo-float.wav", "clipped", "2", "1")]


@pytest.mark.parametrize("path", ["music/three-16.wav", "music/nan.wav", "x.wav"])
def test_a_missing_recording_is_found(wavs: Path, path: str) -> None:
    (wavs / path).unlink()
    assert verify_against(V1 / "u8-blocks", wavs) == [Finding(path, "file", "the recording", "nothing")]
    assert verify_against(V1 / "u8-blocks", wavs, share=Fraction(1, 10**9)) != []


def test_a_new_recording_is_found_if_the_dataset_would_take_it(wavs: Path) -> None:
    for path in ("new.wav", "speech/Neu.WAV", "notes.txt"):
        (wavs / path).write_bytes((wavs / "x.wav").read_bytes())
    assert places(verify_against(V1 / "u8-blocks", wavs)) == [("new.wav", "file"), ("speech/Neu.WAV", "file")]
    # This one takes only what lies in folders.
    assert places(verify_against(V1 / "u16-12bit-folders", wavs)) == [("speech/Neu.WAV", "file")]


def test_a_recording_that_was_refused_and_can_be_used_now_is_found(wavs: Path) -> None:
    good = (wavs / "speech" / "short.wav").read_bytes()
    (wavs / "x.wav").write_bytes(good)
    nan = bytearray((wavs / "music" / "nan.wav").read_bytes())
    nan[44 + 4 * 40 : 48 + 4 * 40] = bytes(4)
    (wavs / "music" / "nan.wav").write_bytes(nan)
    found = verify_against(V1 / "u8-blocks", wavs)
    assert places(found) == [("music/nan.wav", "content"), ("x.wav", "size"), ("x.wav", "content")]
    assert found[0].expected == "what was refused: holds NaN or infinite samples"


def test_a_recording_that_cannot_be_used_any_more_is_found(wavs: Path) -> None:
    floats = bytearray((wavs / "music" / "stereo-float.wav").read_bytes())
    floats[44:48] = b"\xff\xff\xff\xff"
    (wavs / "music" / "stereo-float.wav").write_bytes(floats)
    (wavs / "speech" / "short.wav").write_bytes(b"\0" * 54)
    found = verify_against(V1 / "u8-blocks", wavs)
    assert places(found) == [("music/stereo-float.wav", "content"), ("speech/short.wav", "content")]
    assert found[0].found == "holds NaN or infinite samples"


def test_another_header_is_found_field_by_field(wavs: Path) -> None:
    file = wavs / "speech" / "mono-16.wav"
    samples, _ = sf.read(file, dtype="int16")
    sf.write(file, samples, 8000, subtype="PCM_16")
    found = verify_against(V1 / "u8-blocks", wavs)
    assert found == [Finding("speech/mono-16.wav", "sample_rate", "16,000", "8,000")]
    sf.write(file, np.stack([samples, samples], 1)[:-1], 16_000, subtype="PCM_24")
    found = verify_against(V1 / "u8-blocks", wavs)
    assert [f.place for f in found] == ["size", "channels", "frames", "subtype"]


def test_a_sample_is_chosen_by_the_paths_alone(wavs: Path) -> None:
    share = Fraction(2, 5)
    first: list[bytes] = []
    again: list[bytes] = []
    assert verify_against(V1 / "u8-blocks", wavs, share=share, on_recording=first.append) == []
    assert verify_against(V1 / "u16-pad", V1 / "wavs", share=share, on_recording=again.append) == []
    paths = [os.fsencode(p.relative_to(wavs)) for p in wavs.rglob("*.wav")]
    chosen = sorted(path for path in paths if xxhash.xxh3_64_intdigest(path) < 2 * 2**64 // 5)
    assert first == again == chosen
    assert 0 < len(chosen) < len(paths)
    # Only those are looked into; what is left of the progress is passed over.
    for path in paths:
        if path not in chosen and path != b"x.wav":
            flip(wavs / os.fsdecode(path), -1)
    done: list[int] = []
    assert verify_against(V1 / "u8-blocks", wavs, share=share, on_bytes=done.append) == []
    assert sum(done) == 25 * 64


def test_what_hinders_the_comparison_is_found_once(tmp_path: Path) -> None:
    raw, zst = copy("u8-blocks", tmp_path), copy("u8-blocks-zstd", tmp_path)
    (raw / FIRST).unlink()
    os.truncate(raw / SECOND, 4096 + 64)
    assert verify_against(raw, V1 / "wavs") == [
        Finding(FIRST, "type", "a regular file", "no such file or directory"),
        Finding(SECOND, "content", "chunks to compare with the recordings", "the end of the file"),
    ]
    frame = len(zstd_frames(zst / f"{FIRST}.zst")[0])
    flip(zst / f"{FIRST}.zst", frame + 40)
    assert places(verify_against(zst, V1 / "wavs")) == [(f"{FIRST}.zst", f"zstd frame 1, byte {frame}")]


def test_rows_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    folder = copy("u8-blocks", tmp_path)

    def change(rows: list[dict]) -> None:
        rows[1]["first_chunk"] = 10**15
        rows[2]["chunks"] = 10**15
        rows[3]["split"] = "val"
        rows[4]["channel"] = 3
        rows[5]["path"] = "../../etc/passwd"

    edit_rows(folder, change)
    assert places(verify_against(folder, V1 / "wavs")) == [
        ("recordings.jsonl", "split train"),
        ("music/stereo-float.wav", "chunks"),
        ("music/three-16.wav", "split"),
        ("speech-32.wav", "chunks"),
        ("../../etc/passwd", "file"),
        ("speech/käfer-8.wav", "file"),
    ]


def test_no_dataset_no_table_and_no_recordings(tmp_path: Path) -> None:
    folder = copy("u8-blocks", tmp_path)
    with pytest.raises(InputError):
        verify_against(folder, tmp_path / "nowhere")
    with pytest.raises(NoDatasetError):
        verify_against(tmp_path, V1 / "wavs")
    (folder / "recordings.jsonl").unlink()
    assert places(verify_against(folder, V1 / "wavs")) == [("recordings.jsonl", "type")]
    (folder / "manifest.json").write_bytes(b"{}")
    assert places(verify_against(folder, V1 / "wavs")) == [("manifest.json", "content")]


def test_however_small_the_share_one_recording_is_compared() -> None:
    compared: list[bytes] = []
    share = Fraction(1, 10**9)
    assert verify_against(V1 / "u8-blocks", V1 / "wavs", share=share, on_recording=compared.append) == []
    [path] = compared
    rows = [row for row in audiochunk.open(V1 / "u8-blocks").recordings if row.path_bytes == path]
    assert rows[0].chunks
