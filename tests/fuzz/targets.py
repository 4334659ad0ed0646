"""What is fuzzed: each target takes any bytes, and may end with one of our errors, and in no other way.

A target is a function of bytes that returns whether they were accepted, so that a run can say how often that was.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import xxhash

from audiochunk.config import Compression, Encoding
from audiochunk.errors import DatasetError, RecordingError
from audiochunk.reader.recordings import Recordings
from audiochunk.reader.shards import ShardArray
from audiochunk.signal.audio import Recording, probe_source
from audiochunk.signal.riff import HEAD_BYTES, _parse_any, parse_header
from audiochunk.signal.wav import WavError
from audiochunk.storage.manifest import Manifest, RecordingsEntry, ShardEntry
from audiochunk.storage.recordings import read_rows

#: The encoding of the shards that the shard targets pretend to read.
ENCODING = Encoding(chunk_bytes=64)
CHUNKS = 7
_FRAMES_READ = 4096


def riff(data: bytes) -> bool:
    """The header of a WAV file, and reading what it says is there."""
    fd = os.memfd_create("fuzz")
    try:
        os.write(fd, data)
        try:
            header = parse_header(fd, len(data))
            assert header == _parse_any(fd, len(data), data[:HEAD_BYTES])
        except WavError:
            return False
        if header is None or header.form is None:
            return False  # not ours but libsndfile's
        info = probe_source(fd, b"fuzz.wav")
        assert info.form is not None
        assert info.form.offset + info.frames * info.channels * info.form.width <= max(len(data), info.form.offset)
        assert info.channels > 0
        assert 0 < info.sample_rate < 2**31
        with Recording(os.dup(fd), info, b"fuzz.wav") as recording:
            frames = min(info.frames, _FRAMES_READ // info.channels + 1)
            for start in {0, max(0, info.frames - frames)}:
                assert len(recording.read(start, frames).samples) == frames
    except RecordingError:
        return False
    finally:
        os.close(fd)
    return True


def manifest(data: bytes) -> bool:
    """manifest.json: whatever is accepted is its own canonical form."""
    try:
        found = Manifest.decode(data, Path("manifest.json"))
    except DatasetError:
        return False
    assert found.encode() == data
    return True


def recordings(data: bytes) -> bool:
    """recordings.jsonl, with the digest that it has."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recordings.jsonl").write_bytes(data)
        rows = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
        entry = RecordingsEntry(name="recordings.jsonl", rows=rows, digest=xxhash.xxh3_128_hexdigest(data))
        try:
            found = list(read_rows(Path(folder), entry))
            assert all(isinstance(row.path_bytes, bytes) for row in found)
            for split in {row.split for row in found}:
                columns = Recordings.read(Path(folder), entry, split=split)
                assert columns == [row for row in found if row.split == split]
        except DatasetError:
            return False
    return True


def _shard(data: bytes, name: str, compression: Compression | None) -> bool:
    """A shard that a manifest names, with the size that it has."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        entry = ShardEntry(name=name, split="train", chunks=CHUNKS, bytes=len(data), digest="0" * 32)
        with closing(ShardArray(Path(folder), [entry], ENCODING, compression)) as array:
            try:
                for number in range(CHUNKS):
                    assert array.chunk(number).shape == (64,)
            except DatasetError:
                return False
    return True


def raw_shard(data: bytes) -> bool:
    """A raw shard."""
    return _shard(data, "train-00000.safetensors", None)


def zstd_shard(data: bytes) -> bool:
    """A compressed shard: seek table and frames."""
    return _shard(data, "train-00000.safetensors.zst", Compression(chunks_per_frame=3))


TARGETS: dict[str, Callable[[bytes], bool]] = {
    target.__name__: target for target in (riff, manifest, recordings, raw_shard, zstd_shard)
}
