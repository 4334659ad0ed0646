"""Damage one thing of a sound dataset, and find just that."""

import errno
import os
import re
import shutil
import stat
import struct
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import zstandard

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import MachineError, NoDatasetError
from audiochunk.pipeline import build_folder
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import read_rows
from audiochunk.tools.finding import Finding
from audiochunk.tools.verify import verify

from .damage import V1, compress, copy, edit_manifest, flip, places, reseal, write_zstd_frames, zstd_frames

FIRST, SECOND = "train-00000.safetensors", "train-00001.safetensors"
GOLDEN = sorted(path.parent.name for path in V1.glob("*/manifest.json"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Shards of 8, 10 and 7 chunks of 64 bytes; the first one lost two with a recording that holds NaN."""
    return copy("u8-blocks", tmp_path)


@pytest.fixture
def zst(tmp_path: Path) -> Path:
    """The same, compressed, with three chunks in a zstd frame."""
    return copy("u8-blocks-zstd", tmp_path)


# Sound datasets


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_dataset_is_sound(name: str) -> None:
    assert verify(V1 / name) == []


def test_a_copy_sealed_anew_is_the_golden_dataset(raw: Path, zst: Path) -> None:
    for folder in (raw, zst):
        before = (folder / "manifest.json").read_bytes()
        reseal(folder)
        assert (folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bits": 12, "tail": "pad", "layout": "split", "shard_size": "100k"},
        {"bits": 24, "chunk_bytes": 1536, "compress": "zstd", "split": "train=0.9,val=0.1", "tail": "pad"},
    ],
)
def test_a_dataset_of_real_recordings_is_sound(recordings: Path, tmp_path: Path, options: dict[str, object]) -> None:
    audiochunk.build(recordings, tmp_path / "out", workers=1, on_error="skip", fsync=False, **options)
    looked_at: list[int] = []
    assert verify(tmp_path / "out", on_bytes=looked_at.append) == []
    manifest = audiochunk.open(tmp_path / "out").manifest
    assert sum(looked_at) == sum(shard.chunks for shard in manifest.shards) * manifest.encoding.chunk_bytes


def test_the_reader_sees_what_was_verified(raw: Path) -> None:
    flip(raw / SECOND, -1)
    assert audiochunk.open(raw)[17] is not None  # it does not compare digests
    assert places(verify(raw)) == [(SECOND, "digest")]


# Manifest and files


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoDatasetError):
        verify(tmp_path)
    with pytest.raises(NoDatasetError):
        verify(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"bits": 8', b'"bits": 9'),
        (b'"bits": 8', b'"bits":  8'),
        (b'"format_version": 1', b'"format_version": 2'),
        (b'"skipped": 2', b'"skipped": 2,\n  "skipped": 2'),
        (b'"skipped": 2', b'"skipped": 2,\n  "zebra": 2'),
        (b'"dataset_id": "5277', b'"dataset_id": "6277'),
        (b"}", b""),
        (b'"compression": null', b'"compression": {"chunks_per_frame": 65536, "codec": "zstd", "level": 3}'),
    ],
)
def test_an_edited_manifest_is_the_only_finding(raw: Path, old: bytes, new: bytes) -> None:
    file = raw / "manifest.json"
    assert file.read_bytes().count(old)
    file.write_bytes(file.read_bytes().replace(old, new))
    (raw / FIRST).unlink()
    [finding] = verify(raw)
    assert (finding.file, finding.place) == ("manifest.json", "content")
    assert finding.found.endswith("; nothing else was checked")


def test_options_that_only_together_make_no_sense_are_found(zst: Path) -> None:
    def change(manifest: dict) -> None:
        manifest["compression"]["chunks_per_frame"] = 65536
        manifest["encoding"]["chunk_bytes"] = 2**20

    reseal(zst, change)
    assert places(verify(zst)) == [("manifest.json", "content")]


def test_a_manifest_that_is_no_file_is_not_waited_for(raw: Path) -> None:
    (raw / "manifest.json").unlink()
    os.mkfifo(raw / "manifest.json")
    assert places(verify(raw)) == [("manifest.json", "type")]


@pytest.mark.parametrize("name", ["notes.txt", "train-00003.safetensors", "manifest.json.host.1.ab.tmp", "a\x1bb"])
def test_a_foreign_file_is_found(raw: Path, name: str) -> None:
    (raw / name).write_bytes(b"?")
    [finding] = verify(raw)
    assert (finding.file, finding.place) == (name.replace("\x1b", "\\x1b"), "name")


def test_a_build_folder_that_a_kill_at_the_very_end_left_is_no_finding(raw: Path) -> None:
    with build_folder.entered(raw, BuildConfig(), fsync=False):
        pass
    assert (raw / ".build" / "build.json").exists()
    assert verify(raw) == []


def test_a_build_folder_that_is_not_ours_is_found(raw: Path) -> None:
    (raw / ".build" / "deep").mkdir(parents=True)
    [finding] = verify(raw)
    assert (finding.file, finding.found) == (".build", "another one")


def test_a_finding_reads_as_a_sentence() -> None:
    finding = Finding("a.safetensors", "size", "4,608 bytes", "4,607")
    assert str(finding) == "a.safetensors: size: expected 4,608 bytes, found 4,607"


# Raw shards


def test_a_missing_shard_is_found(raw: Path) -> None:
    (raw / SECOND).unlink()
    assert verify(raw) == [Finding(SECOND, "type", "a regular file", "no such file or directory")]


@pytest.mark.parametrize("to", ["elsewhere", FIRST])
def test_a_symlinked_shard_is_found_once_if_its_content_is_right(raw: Path, tmp_path: Path, to: str) -> None:
    shard = tmp_path / to
    (raw / FIRST).rename(shard)
    (raw / FIRST).symlink_to(shard)
    assert verify(raw) == [Finding(FIRST, "type", "a regular file", f"a link to {shard}")]


def test_a_link_to_nothing_and_one_to_itself_are_found_once(raw: Path) -> None:
    for name, to in ((FIRST, "nowhere"), (SECOND, SECOND)):
        (raw / name).unlink()
        (raw / name).symlink_to(to)
    assert places(verify(raw)) == [(FIRST, "type"), (SECOND, "type")]


def test_a_fifo_and_a_folder_in_the_place_of_shards_are_found(raw: Path) -> None:
    for name in (FIRST, SECOND):
        (raw / name).unlink()
    os.mkfifo(raw / FIRST)
    (raw / SECOND).mkdir()
    assert places(verify(raw)) == [(FIRST, "type"), (SECOND, "type")]


@pytest.mark.parametrize("name", ["manifest.json", "recordings.jsonl", SECOND])
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, r"permission denied$"),
        (errno.ENFILE, r"too many open files in system \(fs\.file-max\)$"),
        (errno.ENOMEM, r"cannot allocate memory \(ulimit -v, vm\.max_map_count\)$"),
    ],
)
def test_what_the_machine_does_not_let_one_read_is_no_damage(
    raw: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, said: str
) -> None:
    really_open = os.open

    def refusing(path: str | Path, *arguments: object, **options: object) -> int:
        if Path(path).name == name:
            raise OSError(number, os.strerror(number), path)
        return really_open(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(MachineError, match=rf"{re.escape(name)}: cannot be read: {said}"):
        verify(raw)
    monkeypatch.undo()
    assert verify(raw) == []


def test_a_file_that_cannot_be_opened_for_its_own_sake_is_found(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = os.open

    def failing(path: str | Path, *arguments: object, **options: object) -> int:
        if Path(path).name == SECOND:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return really_open(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", failing)
    assert verify(raw) == [Finding(SECOND, "type", "a regular file", "input/output error")]


def test_an_error_while_reading_is_found_and_the_other_shards_are_read(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread, bad = os.pread, (raw / FIRST).stat().st_ino

    def failing(fd: int, n: int, at: int) -> bytes:
        if os.fstat(fd).st_ino == bad and at:
            raise OSError(5, "Input/output error")
        return pread(fd, n, at)

    monkeypatch.setattr(os, "pread", failing)
    flip(raw / SECOND, 4200)
    [first, second] = verify(raw)
    assert (first.file, first.place, first.found) == (FIRST, "byte 4,096", "input/output error")
    assert (second.file, second.place) == (SECOND, "digest")


@pytest.mark.parametrize("at", [4096, 4096 + 64 * 9, -1])
def test_a_flipped_byte_of_data_is_found(raw: Path, at: int) -> None:
    flip(raw / SECOND, at)
    assert places(verify(raw)) == [(SECOND, "digest")]


@pytest.mark.parametrize("at", [0, 7, 8, 100, 318, 4095])
def test_a_flipped_byte_of_a_header_is_found_and_the_data_is_known_to_be_right(raw: Path, at: int) -> None:
    flip(raw / FIRST, at)
    assert places(verify(raw)) == [(FIRST, f"header byte {at:,}")]


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 5000, 4735])
def test_a_truncated_shard_is_found(raw: Path, size: int) -> None:
    os.truncate(raw / SECOND, size)
    assert verify(raw) == [Finding(SECOND, "size", "4,736 bytes", f"{size:,}")]


def test_a_longer_shard_is_found(raw: Path) -> None:
    with (raw / SECOND).open("ab") as file:
        file.write(b"\0")
    assert verify(raw) == [Finding(SECOND, "size", "4,736 bytes", "4,737")]


def test_swapped_shards_are_found_by_header_and_digest(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", np.arange(-5000, 5000, dtype=np.int16), 8000)
    folder = tmp_path / "out"
    audiochunk.build(tmp_path / "in", folder, workers=1, chunk_bytes=64, shard_size=640, fsync=False)
    (folder / FIRST).rename(tmp_path / "x")
    (folder / SECOND).rename(folder / FIRST)
    (tmp_path / "x").rename(folder / SECOND)
    found = verify(folder)
    assert [(f.file, f.place.split(",")[0]) for f in found] == [
        (FIRST, "header byte 232"),
        (FIRST, "digest"),
        (SECOND, "header byte 232"),
        (SECOND, "digest"),
    ]
    assert [(f.expected[2], f.found[2]) for f in found[::2]] == [("0", "1"), ("1", "0")]


def test_damage_everywhere_is_found_everywhere(raw: Path) -> None:
    flip(raw / FIRST, 20)
    flip(raw / FIRST, 4200)
    os.truncate(raw / SECOND, 4700)
    (raw / "train-00002.safetensors").unlink()
    (raw / "x").touch()
    flip(raw / "recordings.jsonl", 9)
    assert {
        ("x", "name"),
        (FIRST, "header byte 20"),
        (FIRST, "digest"),
        (SECOND, "size"),
        ("train-00002.safetensors", "type"),
        ("recordings.jsonl", "digest"),
    } <= set(places(verify(raw)))


def test_a_shard_larger_than_memory_would_hold_is_read_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = 48_000_000
    sf.write(tmp_path / "in" / "a.wav", np.arange(frames, dtype=np.int16), 48_000)
    audiochunk.build(tmp_path / "in", tmp_path / "out", workers=1, shard_size="1GiB", fsync=False)
    assert (tmp_path / "out" / FIRST).stat().st_size > 40_000_000
    tracemalloc.start()
    try:
        assert verify(tmp_path / "out") == []
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


# Compressed shards

ZST = f"{FIRST}.zst"  # zstd frames: header, 3 chunks, 3 chunks, 2 chunks
CONTENTS = [4096, 192, 192, 128]


def test_a_flipped_byte_of_a_zstd_frame_is_found_and_the_other_frames_are_read(zst: Path) -> None:
    frames = zstd_frames(zst / ZST)
    for number in (1, 3):
        flip(zst / ZST, sum(map(len, frames[:number])) + len(frames[number]) // 2)
    starts = [sum(map(len, frames[:number])) for number in (1, 3)]
    assert places(verify(zst)) == [(ZST, f"zstd frame {n}, byte {at:,}") for n, at in zip((1, 3), starts, strict=True)]


@pytest.mark.parametrize("number", range(4))
def test_a_flipped_checksum_of_a_zstd_frame_is_found(zst: Path, number: int) -> None:
    frames = zstd_frames(zst / ZST)
    flip(zst / ZST, sum(map(len, frames[: number + 1])) - 1)
    assert places(verify(zst)) == [(ZST, f"zstd frame {number}, byte {sum(map(len, frames[:number])):,}")]


def test_the_unused_bit_of_a_frame_header_is_found(zst: Path) -> None:
    file = zst / ZST
    data = bytearray(file.read_bytes())
    data[4] |= 0x10
    file.write_bytes(data)
    assert places(verify(zst)) == [(ZST, "zstd frame 0, byte 0")]


@pytest.mark.parametrize("size", [0, 5, 300, -1, -60])
def test_a_cut_compressed_shard_is_found(zst: Path, size: int) -> None:
    whole = (zst / ZST).stat().st_size
    os.truncate(zst / ZST, size if size >= 0 else whole + size)
    assert places(verify(zst)) == [(ZST, "size")]


def test_bytes_after_the_seek_table_are_found_and_do_not_hide_the_frames(zst: Path) -> None:
    flip(zst / ZST, len(zstd_frames(zst / ZST)[0]) - 1)
    with (zst / ZST).open("ab") as file:
        file.write(b"more")
    assert places(verify(zst)) == [(ZST, "size"), (ZST, "zstd frame 0, byte 0")]
    reseal_size = (zst / ZST).stat().st_size
    edit_manifest(zst, lambda manifest: manifest["shards"][0].update(bytes=reseal_size))
    assert any(place.startswith("seek table") for _, place in places(verify(zst)))


@pytest.mark.parametrize("from_end", [1, 4, 5, 6, 9, 9 + 8 * 4 + 1, 9 + 8 * 4 + 8])
def test_a_seek_table_with_a_wrong_constant_is_found_and_the_frames_are_still_read(zst: Path, from_end: int) -> None:
    flip(zst / ZST, -from_end)
    [finding] = verify(zst)
    assert (finding.file, finding.place.split(",")[0]) == (ZST, "seek table")
    assert len(finding.expected) == len(finding.found)


def test_a_seek_table_that_lies_about_content_is_found(zst: Path) -> None:
    write_zstd_frames(zst / ZST, zstd_frames(zst / ZST), [4096, 192, 191, 128])
    assert verify(zst) == [Finding(ZST, "seek table, zstd frame 2", "192 bytes of content", "191")]


def test_a_seek_table_that_lies_about_sizes_is_found(zst: Path) -> None:
    flip(zst / ZST, -9 - 8 * 2)
    [finding] = verify(zst)
    assert (finding.file, finding.place) == (ZST, "seek table")
    assert "add up" in finding.expected
    assert finding.found.endswith("the zstd frames were not looked at")


def test_a_frame_that_lies_about_its_content_is_found(zst: Path) -> None:
    frames = zstd_frames(zst / ZST)
    frames[2] = compress(zstandard.ZstdDecompressor().decompress(frames[2])[:-1])
    write_zstd_frames(zst / ZST, frames, CONTENTS)
    reseal(zst)
    [finding] = [f for f in verify(zst) if f.file == ZST]
    assert finding.place.startswith("zstd frame 2")
    assert (finding.expected, finding.found) == ("192 bytes of content", "a claim of 191")


def test_a_frame_that_claims_100_gigabytes_is_found_and_not_allocated(zst: Path) -> None:
    frames = zstd_frames(zst / ZST)
    # magic number, descriptor: 8 bytes of content size, single segment, checksum; then one block of 1 byte, repeated
    block = (1 | 1 << 1 | 192 << 3).to_bytes(3, "little") + b"x"
    frames[1] = struct.pack("<IBQ", 0xFD2FB528, 0b11100100, 10**11) + block + bytes(4)
    assert zstandard.get_frame_parameters(frames[1]).content_size == 10**11
    write_zstd_frames(zst / ZST, frames, CONTENTS)
    edit_manifest(zst, lambda manifest: manifest["shards"][0].update(bytes=(zst / ZST).stat().st_size))
    tracemalloc.start()
    try:
        [finding] = verify(zst)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert finding.place.startswith("zstd frame 1")
    assert finding.found == "a claim of 100,000,000,000"


def test_frames_without_size_checksum_or_content_are_found(zst: Path) -> None:
    frames = zstd_frames(zst / ZST)
    plain = [zstandard.ZstdDecompressor().decompress(frame) for frame in frames]
    frames[1] = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(plain[1])
    frames[2] = zstandard.ZstdCompressor(write_checksum=False).compress(plain[2])
    frames[3] = struct.pack("<II", 0x184D2A5E, 128) + bytes(128)
    write_zstd_frames(zst / ZST, frames, CONTENTS)
    edit_manifest(zst, lambda manifest: manifest["shards"][0].update(bytes=(zst / ZST).stat().st_size))
    found = verify(zst)
    assert [f.place.split(",")[0] for f in found] == ["zstd frame 1", "zstd frame 2", "zstd frame 3"]
    assert [f.found for f in found[:2]] == ["no size", "none"]


def test_other_data_in_sound_frames_is_found_by_its_digest(zst: Path) -> None:
    frames = zstd_frames(zst / ZST)
    frames[2] = compress(bytes(192))
    write_zstd_frames(zst / ZST, frames, CONTENTS)
    edit_manifest(zst, lambda manifest: manifest["shards"][0].update(bytes=(zst / ZST).stat().st_size))
    assert places(verify(zst)) == [(ZST, "digest")]


def test_another_header_in_a_sound_frame_is_found(zst: Path) -> None:
    frames = zstd_frames(zst / ZST)
    header = bytearray(zstandard.ZstdDecompressor().decompress(frames[0]))
    header[4095] = 0
    frames[0] = compress(bytes(header))
    write_zstd_frames(zst / ZST, frames, CONTENTS)
    edit_manifest(zst, lambda manifest: manifest["shards"][0].update(bytes=(zst / ZST).stat().st_size))
    assert places(verify(zst)) == [(ZST, "header byte 4,095")]


def test_a_manifest_that_names_more_frames_than_a_file_can_hold_allocates_nothing(zst: Path) -> None:
    def change(manifest: dict) -> None:
        manifest["shards"][2]["chunks"] += 10**15
        manifest["splits"]["train"]["chunks"] += 10**15

    reseal(zst, change)
    found = places(verify(zst))
    assert ("train-00002.safetensors.zst", "seek table") in found
    assert ("manifest.json", "splits.train.chunks") in found


# Codes, and what a shard holds, with digests that are right


@pytest.mark.parametrize("name", ["u16-12bit-folders", "u8-12bit-big"])
def test_a_12_bit_code_out_of_range_is_found(tmp_path: Path, name: str) -> None:
    folder = copy(name, tmp_path)
    file = min(folder.glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    code = 4096 + 64 * 2 + 2 * 5  # code 5 of chunk 2
    data[code + ("big" not in name)] |= 0x10
    file.write_bytes(data)
    reseal(folder)
    [finding] = verify(folder)
    assert (finding.file, finding.place, finding.expected) == (file.name, "chunk 2, code 5", "codes below 4,096")
    assert 4096 <= int(finding.found.replace(",", "")) < 8192
    file.write_bytes(bytes(data[:4096]) + b"\xff" * (len(data) - 4096))
    reseal(folder)
    assert any(f.found == f"65,535 and {len(data) // 2 - 2049:,} more like it" for f in verify(folder))


@pytest.mark.parametrize("name", ["u16-pad", "u8-split-zstd", "u8-24bit-big", "u16-12bit-folders", "u8-16bit-big-mono"])
def test_padding_that_is_not_silent_is_found(tmp_path: Path, name: str) -> None:
    folder = copy(name, tmp_path)
    file = min(folder.glob("*.safetensors*"))
    manifest = Manifest.read(folder)
    encoding = manifest.encoding
    # 257 frames end in padding: the last chunk of this recording, or of its first channel.
    row = next(row for row in read_rows(folder, manifest.recordings) if row.path == "music/stereo-24.wav")
    last = row.first_chunk + row.chunks - 1
    at = 4096 + (last + 1) * encoding.chunk_bytes - 1
    if file.suffix == ".zst":
        frames = zstd_frames(file)
        contents = [len(zstandard.ZstdDecompressor().decompress(frame)) for frame in frames]
        plain = bytearray(b"".join(map(zstandard.ZstdDecompressor().decompress, frames)))
        plain[at] ^= 1
        bounds = np.cumsum([0, *contents]).tolist()
        frames = [compress(bytes(plain[a:b])) for a, b in pairwise(bounds)]
        write_zstd_frames(file, frames, contents)
    else:
        flip(file, at)
    reseal(folder)
    [finding] = verify(folder)
    codes = encoding.codes_per_chunk
    assert (finding.file, finding.place) == (file.name, f"chunk {last}, code {codes - 1}")
    assert finding.expected.endswith("as padding")


def test_a_shard_with_a_chunk_too_many_and_one_with_one_too_few_are_found(raw: Path) -> None:
    first, second = (bytearray((raw / name).read_bytes()) for name in (FIRST, SECOND))
    second[4096:4096] = first[-64:]
    del first[-64:]
    for data, old, new in ((first, 8, 7), (second, 10, 11)):
        old_json, new_json = (f'[0,{n * 64}],"dtype":"U8","shape":[{n},64]}}}}' for n in (old, new))
        at = data.index(old_json.encode())
        data[at:4096] = new_json.encode().ljust(4096 - at)
    (raw / FIRST).write_bytes(first)
    (raw / SECOND).write_bytes(second)

    def change(manifest: dict) -> None:
        manifest["shards"][0]["chunks"], manifest["shards"][1]["chunks"] = 7, 11

    reseal(raw, change)
    assert verify(raw) == [
        Finding("manifest.json", f"chunks of {FIRST}", "8", "7"),
        Finding("manifest.json", f"chunks of {SECOND}", "10", "11"),
    ]


def test_another_shard_size_is_found(raw: Path) -> None:
    reseal(raw, lambda manifest: manifest["options"].update(shard_size=6400))
    assert verify(raw) == [Finding("manifest.json", "shards of train", "1", "3")]


def test_verify_changes_nothing(raw: Path) -> None:
    for path in raw.iterdir():
        os.utime(path, (1, 1))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in raw.iterdir()}
    for path in raw.iterdir():
        path.chmod(stat.S_IRUSR)
    raw.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert verify(raw) == []
    finally:
        raw.chmod(stat.S_IRWXU)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in raw.iterdir()} == before
    shutil.rmtree(raw)
