"""Ways to damage a dataset, and to seal the damage in: with digests that are right again, only the content is wrong."""

import json
import shutil
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import xxhash
import zstandard

from audiochunk.config import Encoding
from audiochunk.storage.manifest import dataset_id
from audiochunk.tools.finding import Finding

V1 = Path(__file__).resolve().parents[1] / "golden" / "v1"


def copy(name: str, to: Path) -> Path:
    """A golden dataset to be damaged."""
    return Path(shutil.copytree(V1 / name, to / name))


def places(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.file, finding.place) for finding in findings]


def flip(file: Path, at: int) -> None:
    """Change one bit of one byte; negative offsets count from the end."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the recordings table, which stays in canonical form."""
    file = folder / "recordings.jsonl"
    rows = [json.loads(line) for line in file.read_bytes().splitlines()]
    change(rows)
    file.write_bytes(b"".join(msgspec.json.encode(row, order="sorted") + b"\n" for row in rows))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest, which stays in canonical form."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_bytes())
    change(manifest)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n")


def reseal(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    """Give a dataset the sizes and digests of what now lies in it, after a change of the manifest."""

    def all_of_it(manifest: dict[str, Any]) -> None:
        change(manifest)
        for shard in manifest["shards"]:
            data = (folder / shard["name"]).read_bytes()
            shard["bytes"] = len(data)
            if shard["name"].endswith(".zst"):
                data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
            shard["digest"] = xxhash.xxh3_128_hexdigest(data)
        table = (folder / "recordings.jsonl").read_bytes()
        manifest["recordings"] |= {"rows": table.count(b"\n"), "digest": xxhash.xxh3_128_hexdigest(table)}
        encoding = msgspec.convert(manifest["encoding"], Encoding)
        manifest["dataset_id"] = dataset_id(encoding, (shard["digest"] for shard in manifest["shards"]))

    edit_manifest(folder, all_of_it)


def zstd_frames(file: Path) -> list[bytes]:
    """The zstd frames of a compressed shard, without the seek table."""
    data = file.read_bytes()
    (n,) = struct.unpack("<I", data[-9:-5])
    sizes = struct.unpack(f"<{2 * n}I", data[-9 - 8 * n : -9])[::2]
    return [data[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(n)]


def write_zstd_frames(file: Path, frames: Sequence[bytes], contents: Sequence[int]) -> None:
    """A compressed shard of these frames, and a seek table that gives their real sizes and claims those contents."""
    table = b"".join(struct.pack("<II", len(frame), size) for frame, size in zip(frames, contents, strict=True))
    table += struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    file.write_bytes(b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table)


def compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)
