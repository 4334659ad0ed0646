"""The shard file: what other readers make of it, how it is cut, and every way in which one can be damaged."""

import errno
import io
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import Compression, Encoding
from audiochunk.errors import DatasetError
from audiochunk.storage import shard
from audiochunk.storage.seekable import decompress_frame, read_seek_table
from audiochunk.storage.shard import (
    DATA_OFFSET,
    ShardSpec,
    ShardWriter,
    Written,
    digest_file,
    is_shard_file,
    shard_name,
)

SMALL = Encoding(chunk_bytes=6)
FOUR_CHUNKS_A_FRAME = Compression(chunks_per_frame=4)
FOOTER = struct.Struct("<IBI")
PATH = Path("train-00000.safetensors.zst")


def noise(n_bytes: int, *, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, n_bytes, np.uint8).tobytes()


def spec_for(data: bytes, encoding: Encoding) -> ShardSpec:
    return ShardSpec("train", 0, len(data) // encoding.chunk_bytes, encoding)


def write(
    path: Path,
    data: bytes,
    *,
    encoding: Encoding = SMALL,
    compression: Compression | None = None,
    cuts: list[int] | None = None,
) -> Written:
    """Write a shard in pieces that begin at `cuts`."""
    edges = [0, *sorted(cuts or []), len(data)]
    with ShardWriter(path, spec_for(data, encoding), compression) as writer:
        for start, end in pairwise(edges):
            fill(writer, memoryview(data)[start:end])
        return writer.finish()


def fill(writer: ShardWriter, data: memoryview) -> None:
    writer.room(len(data))[:] = np.frombuffer(data, np.uint8)


def frames_of(file: bytes) -> list[bytes]:
    """The frames of a compressed shard, still compressed."""
    table = read_seek_table(memoryview(file), PATH)
    ends = np.cumsum(table["compressed"], dtype=np.int64)
    return [file[end - size : end] for end, size in zip(ends, table["compressed"], strict=True)]


@pytest.mark.parametrize("n_chunks", [0, 1, 3, 4, 5, 8, 9])
def test_frames_come_back_as_they_were_written(tmp_path: Path, n_chunks: int) -> None:
    data = noise(n_chunks * SMALL.chunk_bytes)
    write(tmp_path / PATH, data, compression=FOUR_CHUNKS_A_FRAME)
    file = (tmp_path / PATH).read_bytes()
    sizes = read_seek_table(memoryview(file), PATH)["decompressed"].tolist()
    whole, rest = divmod(n_chunks, 4)
    assert sizes == [DATA_OFFSET] + whole * [24] + ([rest * 6] if rest else [])
    frames = [decompress_frame(memoryview(f), size, PATH) for f, size in zip(frames_of(file), sizes, strict=True)]
    assert frames[0] == spec_for(data, SMALL).header()
    assert b"".join(frames[1:]) == data


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        (Encoding(), np.uint8),
        (Encoding(bits=12), np.uint16),
        (Encoding(bits=16, chunk_bytes=6), np.uint16),
        (Encoding(bits=16, byte_order="big"), np.uint8),
        (Encoding(bits=24, chunk_bytes=3), np.uint8),
    ],
    ids=lambda value: f"{value.bits}-{value.byte_order}" if isinstance(value, Encoding) else "",
)
@pytest.mark.parametrize("n_chunks", [0, 1, 7])
def test_safetensors_and_memmap_read_a_raw_shard(
    tmp_path: Path, encoding: Encoding, dtype: type[np.generic], n_chunks: int
) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    data = noise(n_chunks * encoding.chunk_bytes)
    path = tmp_path / "val-00007.safetensors"
    with ShardWriter(path, ShardSpec("val", 7, n_chunks, encoding), None) as writer:
        fill(writer, memoryview(data))
        written = writer.finish()
    wanted = np.frombuffer(data, dtype).reshape(n_chunks, encoding.tokens_per_chunk)

    (name, read) = load_file(path).popitem()
    assert name == "chunks"
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, wanted)
    with safe_open(path, framework="numpy") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata.pop("encoding")) == {
        "bits": encoding.bits,
        "block": "auto",
        "byte_order": encoding.byte_order,
        "chunk_bytes": encoding.chunk_bytes,
        "layout": "blocks",
        "quantizer": "linear",
        "tail": "drop",
    }
    assert metadata == {"format": "audiochunk", "format_version": "1", "split": "val", "index": "7"}

    assert path.stat().st_size == written.bytes == 4096 + len(data)
    if data:
        mapped = np.memmap(path, dtype, "r", offset=4096, shape=wanted.shape)
        np.testing.assert_array_equal(mapped, wanted)


def test_the_header_is_this_text_padded_to_4096_bytes() -> None:
    header = ShardSpec("train", 3, 2, Encoding(bits=16, layout="mono", block=None)).header()
    text = (
        r'{"__metadata__":{"encoding":"{\"bits\":16,\"block\":null,\"byte_order\":\"little\",\"chunk_bytes\":2048,'
        r'\"layout\":\"mono\",\"quantizer\":\"linear\",\"tail\":\"drop\"}","format":"audiochunk",'
        r'"format_version":"1","index":"3","split":"train"},'
        r'"chunks":{"data_offsets":[0,4096],"dtype":"U16","shape":[2,1024]}}'
    )
    assert header == (4088).to_bytes(8, "little") + text.encode() + b" " * (4088 - len(text))


def test_the_longest_names_and_numbers_fit_into_the_header() -> None:
    encoding = Encoding(chunk_bytes=2**30, block=2**31 - 1)
    assert len(ShardSpec("x" * 64, 10**9, 2**63, encoding).header()) == 4096


@pytest.mark.parametrize("level", [1, 3, 19])
def test_the_zstd_command_gives_back_the_raw_shard(tmp_path: Path, level: int) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("there is no zstd command here")
    data = noise(600) + bytes(6000)
    raw, compressed = tmp_path / "a.safetensors", tmp_path / "a.safetensors.zst"
    write(raw, data)
    write(compressed, data, compression=Compression(level=level, chunks_per_frame=4))
    out = subprocess.run([zstd, "-dc", compressed], capture_output=True, check=True).stdout
    assert out == raw.read_bytes()
    assert compressed.stat().st_size < raw.stat().st_size


def test_pyzstd_seeks_in_a_compressed_shard(tmp_path: Path) -> None:
    pyzstd = pytest.importorskip("pyzstd")
    data = noise(6 * 21)
    write(tmp_path / "raw", data)
    write(tmp_path / PATH, data, compression=FOUR_CHUNKS_A_FRAME)
    raw = (tmp_path / "raw").read_bytes()
    with pyzstd.SeekableZstdFile(tmp_path / PATH) as file:
        assert file.read() == raw
        for chunk in (20, 0, 7, 3, 4):
            file.seek(DATA_OFFSET + 6 * chunk)
            assert file.read(6) == data[6 * chunk : 6 * chunk + 6]


def test_python_zstandard_streams_a_compressed_shard(tmp_path: Path) -> None:
    data = noise(6 * 9)
    write(tmp_path / "raw", data)
    write(tmp_path / PATH, data, compression=FOUR_CHUNKS_A_FRAME)
    with (tmp_path / PATH).open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert io.BufferedReader(reader).read() == (tmp_path / "raw").read_bytes()


@pytest.mark.parametrize("n_chunks", [0, 1, 9])
def test_the_digest_is_of_the_uncompressed_file(tmp_path: Path, n_chunks: int) -> None:
    data = noise(n_chunks * SMALL.chunk_bytes)
    raw, compressed = tmp_path / "a.safetensors", tmp_path / "a.safetensors.zst"
    written = write(raw, data)
    written_compressed = write(compressed, data, compression=FOUR_CHUNKS_A_FRAME)
    digest = xxhash.xxh3_128_hexdigest(raw.read_bytes())
    assert written == Written(raw.stat().st_size, digest, xxhash.xxh3_128_hexdigest(raw.read_bytes()))
    assert written_compressed == Written(
        compressed.stat().st_size, digest, xxhash.xxh3_128_hexdigest(compressed.read_bytes())
    )
    assert digest_file(raw) == digest_file(compressed) == digest


def test_the_digest_of_a_known_shard_stays(tmp_path: Path) -> None:
    # A change here is a change of the format: it needs a new version.
    written = write(tmp_path / "a.safetensors", bytes(range(36)))
    assert written == Written(4132, "b4472c8f7a1fffdd8aa107d9f42cd6bd", "b4472c8f7a1fffdd8aa107d9f42cd6bd")


@pytest.mark.parametrize("compression", [None, FOUR_CHUNKS_A_FRAME], ids=["raw", "zstd"])
@given(cuts=st.lists(st.integers(0, 150), max_size=12))
@settings(deadline=None, max_examples=40)
def test_it_does_not_matter_how_writes_are_cut(compression: Compression | None, cuts: list[int]) -> None:
    data = noise(150)
    with tempfile.TemporaryDirectory() as folder:
        one, many = Path(folder, "one"), Path(folder, "many")
        assert write(one, data, compression=compression) == write(many, data, compression=compression, cuts=cuts)
        assert one.read_bytes() == many.read_bytes()


@pytest.mark.parametrize("compression", [None, Compression(level=1, chunks_per_frame=3)], ids=["raw", "zstd"])
@pytest.mark.parametrize("piece", [2**18 - 4096 - 1, 2**18 - 4096, 2**18, 100_003])
def test_pieces_around_the_buffer_size_are_all_written(
    tmp_path: Path, compression: Compression | None, piece: int
) -> None:
    encoding = Encoding(chunk_bytes=50_000)
    data = noise(700_000)
    name = "a.safetensors.zst" if compression else "a.safetensors"
    cuts = list(range(piece, len(data), piece))
    written = write(tmp_path / name, data, encoding=encoding, compression=compression, cuts=cuts)
    assert written.digest == xxhash.xxh3_128_hexdigest(spec_for(data, encoding).header() + data)
    assert digest_file(tmp_path / name) == written.digest


def test_a_written_buffer_may_be_used_again(tmp_path: Path) -> None:
    buffer = bytearray(6)
    for name, compression in (("raw", None), ("a.zst", FOUR_CHUNKS_A_FRAME)):
        with ShardWriter(tmp_path / name, ShardSpec("train", 0, 3, SMALL), compression) as writer:
            for value in (1, 2, 3):
                buffer[:] = bytes([value]) * 6
                fill(writer, memoryview(buffer))
            digest = writer.finish().digest
        assert digest_file(tmp_path / name) == digest
    assert (tmp_path / "raw").read_bytes()[DATA_OFFSET:] == b"\1" * 6 + b"\2" * 6 + b"\3" * 6


@pytest.mark.parametrize("compression", [None, FOUR_CHUNKS_A_FRAME], ids=["raw", "zstd"])
@pytest.mark.parametrize("n_bytes", [0, 17])
def test_a_shard_of_fewer_bytes_than_it_says_is_not_finished(
    tmp_path: Path, compression: Compression | None, n_bytes: int
) -> None:
    with ShardWriter(tmp_path / "a", ShardSpec("train", 0, 3, SMALL), compression) as writer:
        fill(writer, memoryview(bytes(n_bytes)))
        with pytest.raises(ValueError, match=str(18 - n_bytes)):
            writer.finish()


@pytest.mark.parametrize("n_bytes", [2, 3])
def test_there_is_no_room_for_more_than_a_shard_says(tmp_path: Path, n_bytes: int) -> None:
    with ShardWriter(tmp_path / "a", ShardSpec("train", 0, 3, SMALL), None) as writer:
        fill(writer, memoryview(bytes(17)))
        with pytest.raises(ValueError, match=f"{n_bytes} bytes at once; 1 are left"):
            writer.room(n_bytes)


def test_a_shard_larger_than_the_writer_s_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "BUFFER_BYTES", 10)
    data = noise(18)
    for cuts in ([3, 9, 10, 17], [10], [9, 9]):
        written = write(tmp_path / f"{cuts}", data, cuts=cuts)
        assert (tmp_path / f"{cuts}").read_bytes()[DATA_OFFSET:] == data
        assert written.digest == xxhash.xxh3_128_hexdigest((tmp_path / f"{cuts}").read_bytes())


def test_a_writer_takes_no_file_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        ShardWriter(path, ShardSpec("train", 0, 0, SMALL), None)
    assert path.read_bytes() == b"mine"


def test_a_writer_that_could_not_begin_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real_open = os.open

    def remembering(*arguments: Any, **options: Any) -> int:
        opened.append(real_open(*arguments, **options))
        return opened[-1]

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", remembering)
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            ShardWriter(tmp_path / "a", ShardSpec("train", 0, 0, SMALL), FOUR_CHUNKS_A_FRAME)
    (fd,) = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(fd)


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: real_write(fd, data[:1000]))
        digest = write(tmp_path / "a", noise(6000)).digest
    assert digest_file(tmp_path / "a") == digest


@pytest.mark.parametrize(
    ("split", "index", "compression", "name"),
    [
        ("train", 0, None, "train-00000.safetensors"),
        ("val", 12345, None, "val-12345.safetensors"),
        ("a.b-c_d", 123456, None, "a.b-c_d-123456.safetensors"),
        ("train", 1, Compression(), "train-00001.safetensors.zst"),
    ],
)
def test_shards_are_named_by_split_and_number(
    split: str, index: int, compression: Compression | None, name: str
) -> None:
    assert shard_name(split, index, compression) == name


# Damage: the header.

HEADER = ShardSpec("train", 0, 2, SMALL)


def test_a_header_passes_its_own_check() -> None:
    HEADER.check_header(HEADER.header(), PATH)


@given(at=st.integers(0, 4095), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=60)
def test_a_changed_header_byte_is_named(at: int, flip: int) -> None:
    head = bytearray(HEADER.header())
    head[at] ^= flip
    with pytest.raises(DatasetError, match=rf"^train-00000\.safetensors\.zst: header byte {at}: expected b"):
        HEADER.check_header(bytes(head), PATH)


def test_a_header_of_another_shard_is_refused_where_it_differs() -> None:
    other = ShardSpec("train", 1, 2, SMALL)
    at = HEADER.header().index(b'"index":"0"') + len('"index":"')
    with pytest.raises(DatasetError, match=f"header byte {at}: expected b'0\"") as refused:
        HEADER.check_header(other.header(), PATH)
    assert "the shard is not the one that the manifest names" in str(refused.value)


@pytest.mark.parametrize("length", [0, 1, 8, 4095])
def test_a_short_header_is_refused(length: int) -> None:
    with pytest.raises(DatasetError, match=f"the header takes 4096 bytes, {length} are there"):
        HEADER.check_header(HEADER.header()[:length], PATH)


# Damage: the seek table.


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A shard of 9 chunks in frames of 4: four frames with the header's."""
    path = tmp_path_factory.mktemp("shard") / PATH
    write(path, noise(9 * 6), compression=FOUR_CHUNKS_A_FRAME)
    return path.read_bytes()


TABLE_BYTES = 8 + 4 * 8 + 9  # four frames


def with_entry(file: bytes, number: int, *, compressed: int | None = None, decompressed: int | None = None) -> bytes:
    start = len(file) - 9 - (4 - number) * 8
    entry = list(struct.unpack("<II", file[start : start + 8]))
    entry = [old if new is None else new for old, new in zip(entry, (compressed, decompressed), strict=True)]
    return file[:start] + struct.pack("<II", *entry) + file[start + 8 :]


def test_the_seek_table_lies_where_this_file_says(compressed: bytes) -> None:
    start = len(compressed) - TABLE_BYTES
    assert compressed[start : start + 8] == struct.pack("<II", 0x184D2A5E, TABLE_BYTES - 8)
    assert compressed[-9:] == FOOTER.pack(4, 0, 0x8F92EAB1)
    assert with_entry(compressed, 2) == compressed


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda f: b"", "0 bytes are no compressed shard"),
        (lambda f: f[:16], "16 bytes are no compressed shard"),
        (lambda f: f[:-1], "does not end with a seek table"),
        (lambda f: f[:-TABLE_BYTES], "does not end with a seek table"),
        (lambda f: f[: len(f) // 2], "does not end with a seek table"),
        (lambda f: f + b"\0", "does not end with a seek table"),
        (lambda f: f[:-1] + bytes([f[-1] ^ 1]), "does not end with a seek table"),
        (lambda f: f[:-9] + FOOTER.pack(4, 0x80, 0x8F92EAB1), "does not end with a seek table"),
        (lambda f: f[:-9] + FOOTER.pack(3, 0, 0x8F92EAB1), "of 3 frames does not begin where it must"),
        (lambda f: f[:-9] + FOOTER.pack(5, 0, 0x8F92EAB1), "of 5 frames does not begin where it must"),
        (lambda f: f[:-9] + FOOTER.pack(2**32 - 1, 0, 0x8F92EAB1), "4294967295 frames does not begin where it must"),
        (lambda f: f[-TABLE_BYTES + 1 :], "of 4 frames does not begin where it must"),
        (
            lambda f: f[:-TABLE_BYTES] + struct.pack("<I", 0x184D2A50) + f[-TABLE_BYTES + 4 :],
            "does not begin where it must",
        ),
        (
            lambda f: f[: -TABLE_BYTES + 4] + struct.pack("<I", TABLE_BYTES) + f[-TABLE_BYTES + 8 :],
            "does not begin where it must",
        ),
        (lambda f: f[1:], "the seek table accounts for"),
        (lambda f: b"\0" + f, "the seek table accounts for"),
        (lambda f: f[-TABLE_BYTES:], "the seek table accounts for"),
        (lambda f: with_entry(f, 1, compressed=0), "the seek table accounts for"),
        (lambda f: with_entry(f, 1, compressed=2**32 - 1), "the seek table accounts for"),
    ],
)
def test_a_damaged_seek_table_is_refused(compressed: bytes, damage: Callable[[bytes], bytes], finding: str) -> None:
    with pytest.raises(DatasetError, match=finding):
        read_seek_table(memoryview(damage(compressed)), PATH)


def test_sizes_that_only_add_up_in_32_bits_are_refused(compressed: bytes) -> None:
    sizes = [len(frame) for frame in frames_of(compressed)]
    file = with_entry(with_entry(compressed, 0, compressed=2**31 + sizes[0]), 1, compressed=2**31 + sizes[1])
    with pytest.raises(DatasetError, match=f"accounts for {2**32 + sum(sizes)} bytes, {sum(sizes)} are there"):
        read_seek_table(memoryview(file), PATH)


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_a_seek_table_of_random_bytes_is_never_more_than_refused(compressed: bytes, data: st.DataObject) -> None:
    table = data.draw(st.binary(min_size=0, max_size=60)) + data.draw(
        st.sampled_from([b"", FOOTER.pack(4, 0, 0x8F92EAB1), FOOTER.pack(0, 0, 0x8F92EAB1)])
    )
    with pytest.raises(DatasetError):
        read_seek_table(memoryview(compressed[:-TABLE_BYTES] + table), PATH)


# Damage: frames.


def frame_of(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True, **options).compress(data)


DATA = noise(2048)
FRAME = frame_of(DATA)


def claiming(size: int) -> bytes:
    """A frame whose header gives that content size, with one empty last block behind it."""
    return struct.pack("<IBQ", 0xFD2FB528, 0b1110_0000, size) + (1).to_bytes(3, "little")


@pytest.mark.parametrize(
    ("frame", "finding"),
    [
        (claiming(100 * 10**9), "a frame claims 100000000000 bytes, the seek table says 2048"),
        (claiming(2**64 - 3), "a frame claims 18446744073709551613 bytes, the seek table says 2048"),
        (claiming(2048), "a zstd frame is damaged"),
        (frame_of(noise(2049)), "a frame claims 2049 bytes, the seek table says 2048"),
        (frame_of(noise(2047)), "a frame claims 2047 bytes, the seek table says 2048"),
        (frame_of(b""), "a frame claims 0 bytes, the seek table says 2048"),
        (frame_of(DATA, write_content_size=False), "bytes, the seek table says 2048"),
        (FRAME + FRAME, "a zstd frame is damaged"),
        (FRAME + b"\0", "a zstd frame is damaged"),
        (FRAME[:-1], "a zstd frame is damaged"),
        (FRAME[:6], "a zstd frame is damaged"),
        (b"", "a zstd frame is damaged"),
        (b"\0" + FRAME[1:], "a zstd frame is damaged"),
        (FRAME[:1000] + bytes([FRAME[1000] ^ 4]) + FRAME[1001:], "a zstd frame is damaged"),
        (FRAME[:-1] + bytes([FRAME[-1] ^ 1]), "a zstd frame is damaged"),
        (struct.pack("<II", 0x184D2A50, 2048) + DATA, "a zstd frame is damaged"),
        (DATA, "a zstd frame is damaged"),
    ],
)
def test_a_damaged_frame_is_refused(frame: bytes, finding: str) -> None:
    with pytest.raises(DatasetError, match=finding):
        decompress_frame(memoryview(frame), 2048, PATH)


@given(at=st.integers(0, len(FRAME) - 1), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=100)
def test_a_flipped_bit_never_changes_what_a_frame_gives(at: int, bit: int) -> None:
    frame = bytearray(FRAME)
    frame[at] ^= 1 << bit
    try:
        found = decompress_frame(memoryview(frame), 2048, PATH)
    except DatasetError:
        return
    assert found == DATA  # a bit of the frame header has no meaning


# Damage: whole files.


def test_the_digest_of_a_damaged_compressed_shard_is_a_dataset_error(tmp_path: Path, compressed: bytes) -> None:
    path = tmp_path / PATH
    header_frame = len(frames_of(compressed)[0])
    damaged = bytearray(compressed)
    damaged[header_frame + 20] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match="a zstd frame is damaged") as refused:
        digest_file(path)
    assert refused.value.args[0] == path


def test_the_digest_of_a_cut_shard_differs(tmp_path: Path, compressed: bytes) -> None:
    whole, cut = tmp_path / "whole.zst", tmp_path / "cut.zst"
    whole.write_bytes(compressed)
    cut.write_bytes(compressed[: len(frames_of(compressed)[0]) + 10])
    assert digest_file(cut) != digest_file(whole)


def test_a_shard_is_known_by_its_name_and_its_header(tmp_path: Path, compressed: bytes) -> None:
    raw, zst = tmp_path / "a-00000.safetensors", tmp_path / "a-00000.safetensors.zst"
    write(raw, noise(60))
    zst.write_bytes(compressed)
    assert is_shard_file(raw)
    assert is_shard_file(zst)
    raw.rename(tmp_path / "a.safetensors")
    assert not is_shard_file(tmp_path / "a.safetensors")


def foreign_safetensors() -> bytes:
    from safetensors.numpy import save

    return save({"chunks": np.zeros((2, 6), np.uint8)}, metadata={"made by": "somebody else"})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a-00000.safetensors", b""),
        ("a-00000.safetensors", b"short"),
        ("a-00000.safetensors", bytes(10_000)),
        ("a-00000.safetensors", foreign_safetensors()),
        ("a-00000.safetensors.zst", b""),
        ("a-00000.safetensors.zst", HEADER.header()),
        ("a-00000.safetensors.zst", frame_of(bytes(4096))),
        ("a-00000.safetensors.zst", frame_of(HEADER.header() + bytes(12))),
        ("a-00000.safetensors.zst", claiming(4096)),
        ("a-00000.safetensors.zst", claiming(100 * 10**9)),
    ],
)
def test_what_audiochunk_did_not_write_is_no_shard(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert not is_shard_file(path)


def test_a_folder_and_a_missing_file_are_no_shards(tmp_path: Path) -> None:
    (tmp_path / "a-00000.safetensors").mkdir()
    assert not is_shard_file(tmp_path / "a-00000.safetensors")
    assert not is_shard_file(tmp_path / "b-00000.safetensors")


def test_a_fifo_is_no_shard_whatever_comes_out_of_it(tmp_path: Path) -> None:
    # Nor is it waited for: with no writer at the other end, opening it would never return.
    path = tmp_path / "a-00000.safetensors"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fd, HEADER.header() + bytes(4096))
        assert not is_shard_file(path)
    finally:
        os.close(fd)


def test_an_array_as_the_encoder_gives_it_can_be_written(tmp_path: Path) -> None:
    chunks: npt.NDArray[np.uint8] = np.arange(18, dtype=np.uint8)
    with ShardWriter(tmp_path / "a", ShardSpec("train", 0, 3, SMALL), None) as writer:
        fill(writer, chunks.data)
        writer.finish()
    assert (tmp_path / "a").read_bytes()[DATA_OFFSET:] == chunks.tobytes()
