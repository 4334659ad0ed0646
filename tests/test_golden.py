"""The golden datasets open, hold the chunks that they were made with, and come out the same when made anew."""

import json
from pathlib import Path
from typing import Any

import pytest
import xxhash
import zstandard

import audiochunk
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import read_rows

from .golden.make_v1 import build

V1 = Path(__file__).parent / "golden" / "v1"
EXPECTED: dict[str, dict[str, Any]] = json.loads((V1 / "expected.json").read_bytes())

on_all = pytest.mark.parametrize("name", sorted(EXPECTED))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_compression(files: dict[str, bytes]) -> dict[str, object]:
    """What does not depend on the version of libzstd."""
    manifest = json.loads(files["manifest.json"])
    for shard in manifest["shards"]:
        del shard["bytes"]
    return {
        "manifest.json": manifest,
        "recordings.jsonl": files["recordings.jsonl"],
        **{
            name: zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
            for name, data in files.items()
            if name.endswith(".zst")
        },
    }


def build_again(name: str, out: Path, *, workers: int = 1) -> None:
    options = dict(EXPECTED[name]["options"])
    if "split_file" in options:
        options["split_file"] = V1 / options["split_file"]
    build(V1 / "wavs", out, later=EXPECTED[name].get("later", []), workers=workers, **options)


def test_every_golden_dataset_is_expected() -> None:
    assert {path.parent.name for path in V1.glob("*/manifest.json")} == set(EXPECTED)


@on_all
def test_a_golden_dataset_opens_and_holds_its_chunks(name: str) -> None:
    for split, hashes in EXPECTED[name]["chunks"].items():
        with audiochunk.open(V1 / name, split) as chunks:
            assert chunks.dataset_id == EXPECTED[name]["dataset_id"]
            assert [xxhash.xxh3_64_hexdigest(chunk.tobytes()) for chunk in chunks] == hashes


@on_all
def test_a_golden_manifest_decodes_and_encodes_to_the_same_bytes(name: str) -> None:
    data = (V1 / name / "manifest.json").read_bytes()
    manifest = Manifest.decode(data, V1 / name)
    assert manifest.encode() == data
    assert set(manifest.splits) == set(EXPECTED[name]["chunks"])
    rows = list(read_rows(V1 / name, manifest.recordings))
    assert b"".join(row.encode() for row in rows) == (V1 / name / "recordings.jsonl").read_bytes()


@on_all
def test_building_anew_gives_the_golden_bytes(name: str, tmp_path: Path) -> None:
    build_again(name, tmp_path / name)
    built, golden = files_of(tmp_path / name), files_of(V1 / name)
    assert built.keys() == golden.keys()
    if "compress" in EXPECTED[name]["options"]:
        assert without_compression(built) == without_compression(golden)
    else:
        assert built == golden


@pytest.mark.parametrize("name", ["u8-blocks", "u8-generations"])
def test_two_workers_give_the_golden_bytes_as_well(name: str, tmp_path: Path) -> None:
    build_again(name, tmp_path / "built", workers=2)
    assert files_of(tmp_path / "built") == files_of(V1 / name)


def test_compression_changes_nothing_but_the_files() -> None:
    raw, compressed = EXPECTED["u8-blocks"], EXPECTED["u8-blocks-zstd"]
    assert (raw["dataset_id"], raw["chunks"]) == (compressed["dataset_id"], compressed["chunks"])


def test_all_encodings_are_covered() -> None:
    encodings = [Manifest.read(V1 / name).encoding for name in EXPECTED]
    assert {(encoding.bits, encoding.byte_order) for encoding in encodings} == {
        (8, "little"),
        *((bits, order) for bits in (12, 16, 24) for order in ("little", "big")),
    }
    assert {(encoding.bits, encoding.quantizer) for encoding in encodings} >= {(bits, "mulaw") for bits in (8, 12, 16)}
    assert {(encoding.layout, encoding.tail) for encoding in encodings} == {
        (layout, tail) for layout in ("blocks", "mono", "split") for tail in ("drop", "pad")
    }
