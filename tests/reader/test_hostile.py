"""Datasets that somebody made to harm: every way of being wrong is one of our errors, soon and in little memory."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import xxhash
import zstandard

import audiochunk
from audiochunk.errors import DatasetError
from audiochunk.storage import manifest as manifest_module
from audiochunk.storage.manifest import Manifest

CHUNK = 256


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return build(tmp_path, compress="none")


@pytest.fixture
def zstd(tmp_path: Path) -> Path:
    return build(tmp_path, compress="zstd", chunks_per_frame=2)


def build(folder: Path, **options: Any) -> Path:
    (folder / "in").mkdir()
    noise = np.random.Generator(np.random.PCG64(1)).integers(-9000, 9000, 3000).astype(np.int16)
    sf.write(folder / "in" / "a.wav", noise, 8000)
    audiochunk.build(folder / "in", folder / "out", chunk_bytes=CHUNK, shard_size=4 * CHUNK, workers=1, **options)
    return folder / "out"


def read_all(folder: Path) -> list[bytes]:
    return [chunk.tobytes() for chunk in audiochunk.open(folder)]


def use_all(folder: Path) -> None:
    audiochunk.open(folder).locate(0)
    read_all(folder)


def assert_refused(folder: Path, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read_all(folder)


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, keeping it canonical."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def rewrite(path: Path, data: bytes) -> None:
    """Give a shard other bytes, and tell the manifest their number, so that only the bytes are wrong."""
    path.write_bytes(data)
    edit_manifest(path.parent, lambda m: next(s for s in m["shards"] if s["name"] == path.name).update(bytes=len(data)))


def test_an_untouched_dataset_is_read(raw: Path) -> None:
    assert len(read_all(raw)) == 11
    edit_manifest(raw, lambda m: None)
    assert len(read_all(raw)) == 11


@pytest.mark.parametrize(
    "name", ["../out/train-00001.safetensors", "/etc/passwd", "..", "sub/train-00001.safetensors", "train-00001", ""]
)
def test_a_shard_by_any_other_name_is_refused(raw: Path, name: str) -> None:
    edit_manifest(raw, lambda m: m["shards"][1].update(name=name))
    assert_refused(raw, "names of the shards")


@pytest.mark.parametrize("split", ["..", "a/b", "", "-x", "x" * 65, "a\u0000"])
def test_a_split_that_cannot_be_a_file_name_is_refused(raw: Path, split: str) -> None:
    def rename(content: dict[str, Any]) -> None:
        content["splits"][split] = content["splits"].pop("train")
        for index, shard in enumerate(content["shards"]):
            shard.update(split=split, name=f"{split}-{index:05d}.safetensors")

    edit_manifest(raw, rename)
    with pytest.raises(DatasetError, match="cannot be the name of a split"):
        audiochunk.open(raw, split)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(raw: Path, tmp_path: Path) -> None:
    shard = raw / "train-00001.safetensors"
    os.replace(shard, tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    assert_refused(raw, "train-00001.safetensors: is a link out of the dataset's folder")


def test_a_shard_that_is_a_folder_is_refused(raw: Path) -> None:
    (raw / "train-00001.safetensors").unlink()
    (raw / "train-00001.safetensors").mkdir()
    assert_refused(raw, "train-00001.safetensors")


@pytest.mark.parametrize("length", [0, 2, 4087, 4089, 2**32, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(raw: Path, length: int) -> None:
    path = raw / "train-00001.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    assert_refused(raw, "train-00001.safetensors: header byte")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"data_offsets":[0,1024]', b'"data_offsets":[0,9999]'),
        (b'"data_offsets":[0,1024]', b'"data_offsets":[8,1024]'),
        (b'"shape":[4,256]', b'"shape":[9,256]'),
        (b'"dtype":"U8"', b'"dtype":"I8"'),
        (b'"index":"1"', b'"index":"0"'),
        (b'"split":"train"', b'"split":"xrain"'),
        (b'{"__metadata__"', b'{"__metadataX_"'),
    ],
)
def test_a_header_that_says_another_thing_is_refused(raw: Path, old: bytes, new: bytes) -> None:
    path = raw / "train-00001.safetensors"
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    assert_refused(raw, "train-00001.safetensors: header byte")


def test_sizes_in_the_manifest_that_do_not_fit_the_chunks_are_refused(raw: Path) -> None:
    edit_manifest(raw, lambda m: m["shards"][0].update(bytes=5))
    assert_refused(raw, "5 bytes cannot hold 4 chunks")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: m.update(format_version=2), "format version 2; this audiochunk reads up to 1"),
        (lambda m: m.update(format="other"), "not a manifest"),
        (lambda m: m.update(extra=1), "unknown field `extra`"),
        (lambda m: m["encoding"].update(rotation=13), "unknown field `rotation`"),
        (lambda m: m["encoding"].update(bits=7), "bits"),
        (lambda m: m["encoding"].update(chunk_bytes=0), "chunk_bytes"),
        (lambda m: m["encoding"].update(chunk_bytes=2**62), "chunk_bytes"),
        (lambda m: m["shards"][0].update(chunks=-1), "chunks"),
        (lambda m: m["shards"][0].update(chunks=2**70), "chunks"),
        (lambda m: m["shards"][0].update(chunks=1.0), "chunks"),
        (lambda m: m["shards"].pop(), "11 chunks, its shards have 8"),
        (lambda m: m["shards"].reverse(), "names of the shards"),
        (lambda m: m.update(dataset_id="0" * 32), "dataset_id"),
        (lambda m: m["recordings"].update(name="../x"), "recordings"),
        (lambda m: m.pop("splits"), "splits"),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(
    raw: Path, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    edit_manifest(raw, edit)
    assert_refused(raw, words)


def test_a_key_that_is_there_twice_is_refused(raw: Path) -> None:
    path = raw / "manifest.json"
    path.write_text(path.read_text().replace('"skipped": 0', '"skipped": 1,\n  "skipped": 0'))
    assert_refused(raw, "canonical")


def test_a_manifest_of_a_gigabyte_is_refused_by_its_size(raw: Path) -> None:
    os.truncate(raw / "manifest.json", 2**30)
    assert_refused(raw, f"at most {manifest_module.MAX_MANIFEST_BYTES:,}")


def test_a_manifest_of_brackets_is_refused(raw: Path) -> None:
    (raw / "manifest.json").write_bytes(b"[" * 1_000_000)
    assert_refused(raw, "not a manifest")


SEEK_TABLE_FRAMES = 3  # header, 2 chunks, 2 chunks


def parts(path: Path) -> tuple[list[bytes], bytes]:
    """The frames of a compressed shard, and the skippable frame at its end."""
    data = path.read_bytes()
    table_bytes = 8 + SEEK_TABLE_FRAMES * 8 + 9
    sizes = struct.unpack("<" + "I4x" * SEEK_TABLE_FRAMES, data[-table_bytes + 8 : -9])
    frames, at = [], 0
    for size in sizes:
        frames.append(data[at : at + size])
        at += size
    return frames, data[at:]


def with_table(frames: list[bytes], contents: list[int]) -> bytes:
    table = b"".join(struct.pack("<II", len(f), n) for f, n in zip(frames, contents, strict=True))
    table += struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    return b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table


def claiming(size: int) -> bytes:
    """A zstd frame whose header claims `size` bytes, with one empty raw last block."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"


def test_the_parts_of_an_untouched_shard_make_it_again(zstd: Path) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, table = parts(path)
    assert with_table(frames, [4096, 2 * CHUNK, 2 * CHUNK]) == b"".join(frames) + table == path.read_bytes()


@pytest.mark.parametrize("size", [10**11, 2**63, 0, 2 * CHUNK - 1])
def test_a_frame_that_claims_another_size_is_refused_unallocated(zstd: Path, size: int) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, _ = parts(path)
    rewrite(path, with_table([frames[0], claiming(size), frames[2]], [4096, 2 * CHUNK, 2 * CHUNK]))
    assert_refused(zstd, f"train-00000.*a frame claims {size} bytes, the seek table says {2 * CHUNK}")


def test_a_frame_that_holds_less_than_it_claims_is_refused(zstd: Path) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, _ = parts(path)
    rewrite(path, with_table([frames[0], claiming(2 * CHUNK), frames[2]], [4096, 2 * CHUNK, 2 * CHUNK]))
    assert_refused(zstd, "train-00000.*a zstd frame is damaged")


def test_a_frame_that_holds_more_than_it_claims_is_refused(zstd: Path) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, _ = parts(path)
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(10**8))
    rewrite(path, with_table([frames[0], bomb, frames[2]], [4096, 2 * CHUNK, 2 * CHUNK]))
    assert_refused(zstd, "train-00000")


def test_a_second_frame_hidden_behind_the_first_is_refused(zstd: Path) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, _ = parts(path)
    rewrite(path, with_table([frames[0], frames[1] + frames[2], frames[2]], [4096, 2 * CHUNK, 2 * CHUNK]))
    assert_refused(zstd, "train-00000.*a zstd frame is damaged")


def test_a_flipped_byte_in_a_frame_is_refused_or_changes_nothing(zstd: Path) -> None:
    """A few bits of a zstd frame mean nothing; whatever the others are turned to, no wrong byte comes out."""
    right = read_all(zstd)
    refused = 0
    path = zstd / "train-00000.safetensors.zst"
    frames, _ = parts(path)
    for at in range(6, len(frames[1])):
        flipped = bytearray(frames[1])
        flipped[at] ^= 0x10
        rewrite(path, with_table([frames[0], bytes(flipped), frames[2]], [4096, 2 * CHUNK, 2 * CHUNK]))
        try:
            assert read_all(zstd) == right
        except DatasetError:
            refused += 1
    assert refused > len(frames[1]) * 0.9


def test_a_table_of_other_frames_is_refused(zstd: Path) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, _ = parts(path)
    for contents in ([4096, 2 * CHUNK, CHUNK], [4096, CHUNK, 3 * CHUNK], [0, 2 * CHUNK, 2 * CHUNK]):
        rewrite(path, with_table(frames, contents))
        assert_refused(zstd, "seek table is not that of 4 chunks")
    rewrite(path, with_table(frames[:2], [4096, 2 * CHUNK]))
    assert_refused(zstd, "seek table is not that of 4 chunks")


@pytest.mark.parametrize("cut", [1, 5, 9, 17, 40, 300])
def test_a_cut_shard_is_refused(zstd: Path, cut: int) -> None:
    path = zstd / "train-00000.safetensors.zst"
    rewrite(path, path.read_bytes()[:-cut])
    assert_refused(zstd, "train-00000")


@pytest.mark.parametrize("frames", [0, 4, 2**27, 2**32 - 1])
def test_a_table_that_claims_another_number_of_frames_is_refused(zstd: Path, frames: int) -> None:
    path = zstd / "train-00000.safetensors.zst"
    data = path.read_bytes()
    rewrite(path, data[:-9] + struct.pack("<I", frames) + data[-5:])
    assert_refused(zstd, "seek table")


def test_sizes_that_do_not_add_up_to_the_file_are_refused(zstd: Path) -> None:
    path = zstd / "train-00000.safetensors.zst"
    frames, table = parts(path)
    rewrite(path, b"".join(frames) + b"\0" * 7 + table)
    assert_refused(zstd, "the seek table accounts for")


def test_a_table_of_recordings_that_was_edited_is_refused_where_it_is_needed(raw: Path) -> None:
    path = raw / "recordings.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"frames":3000', b'"frames":4000'))
    ds = audiochunk.open(raw)
    assert ds[0].size == CHUNK
    with pytest.raises(DatasetError, match=r"recordings\.jsonl"):
        ds.locate(0)


def test_the_manifest_is_the_only_thing_that_opening_believes(raw: Path) -> None:
    (raw / "train-00007.safetensors").write_bytes(b"not named by the manifest")
    assert len(read_all(raw)) == Manifest.read(raw).splits["train"].chunks


def edit_rows(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the row of the recordings table, and tell the manifest its digest."""
    path = folder / "recordings.jsonl"
    row = json.loads(path.read_text())
    edit(row)
    path.write_text(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")
    digest = xxhash.xxh3_128_hexdigest(path.read_bytes())
    edit_manifest(folder, lambda m: m["recordings"].update(digest=digest))


@pytest.mark.parametrize(
    "fields",
    [
        {"sample_rate": 0},
        {"channels": 0},
        {"first_chunk": 1},
        {"chunks": 12},
        {"chunks": 2**62},
        {"frames": 0},
        {"frames": 2**62},
        {"split": "val"},
        {"error": "refused"},
        {"path_hex": "ff"},
        {"path_hex": "no hex"},
    ],
)
def test_a_row_that_says_what_cannot_be_is_refused(raw: Path, fields: dict[str, Any]) -> None:
    edit_rows(raw, lambda row: row.update(fields))
    with pytest.raises(DatasetError, match=r"recordings\.jsonl"):
        audiochunk.open(raw).locate(0)


def test_a_number_of_chunks_beyond_all_memory_is_refused(zstd: Path) -> None:
    def claim(content: dict[str, Any]) -> None:
        content["shards"][0]["chunks"] = 10**12
        content["splits"]["train"]["chunks"] = 10**12 + 7

    edit_manifest(zstd, claim)
    with pytest.raises(DatasetError, match="seek table is not that of"):
        audiochunk.open(zstd)[0]


def test_a_missing_table_of_recordings_is_named(raw: Path) -> None:
    (raw / "recordings.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"recordings\.jsonl: cannot be read"):
        audiochunk.open(raw).locate(0)


@pytest.mark.parametrize("name", ["manifest.json", "recordings.jsonl", "train-00001.safetensors"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(raw: Path, name: str, kind: str) -> None:
    path = raw / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(DatasetError, match=name):
        use_all(raw)


def test_a_line_without_an_end_is_refused(raw: Path) -> None:
    table = raw / "recordings.jsonl"
    os.truncate(table, table.stat().st_size - 1)  # the end of the last line
    os.truncate(table, 2**33)
    with pytest.raises(DatasetError, match=r"recordings\.jsonl"):
        audiochunk.open(raw).locate(0)


@pytest.mark.parametrize("fields", [{"channels": 2**16}, {"channels": 2**62}, {"sample_rate": 2**31}])
def test_numbers_that_no_recording_has_are_refused(raw: Path, fields: dict[str, int]) -> None:
    edit_rows(raw, lambda row: row.update(fields))
    with pytest.raises(DatasetError, match=r"recordings\.jsonl"):
        audiochunk.open(raw).locate(0)


def test_what_a_hostile_manifest_says_cannot_move_the_cursor(raw: Path) -> None:
    edit_manifest(raw, lambda m: m.update({"sk\x1b[31mX\nipped": 1}))
    with pytest.raises(DatasetError) as caught:
        audiochunk.open(raw)
    assert str(caught.value).isprintable()
