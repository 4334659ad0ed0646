"""docs/format.md is enough to read a dataset by, and says nothing untrue.

The reader in this file is written from that page, in plain loops, and uses nothing of audiochunk. It reads all golden
datasets, and every chunk is made again from the golden recordings.
"""

import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import xxhash
import zstandard

TESTS = Path(__file__).parent
V1 = TESTS / "golden" / "v1"
PAGE = (TESTS.parent / "docs" / "format.md").read_text(encoding="utf-8")
NAMES = sorted(path.parent.name for path in V1.glob("*/manifest.json"))
UNUSABLE = {"music/nan.wav", "x.wav"}
EXPECTED = json.loads((V1 / "expected.json").read_bytes())
LATER = {name: expected["later"] for name, expected in EXPECTED.items() if "later" in expected}

Json = dict[str, Any]
on_all = pytest.mark.parametrize("name", NAMES)


# A reader, by the page.


def digest(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def code_bytes(encoding: Json) -> int:
    return {8: 1, 12: 2, 16: 2, 24: 3}[encoding["bits"]]


def shard_header(shard: Json, index: int, encoding: Json) -> bytes:
    wide = code_bytes(encoding) == 2 and encoding["byte_order"] == "little"
    described = {
        "__metadata__": {
            "encoding": compact(encoding),
            "format": "audiochunk",
            "format_version": "1",
            "index": str(index),
            "split": shard["split"],
        },
        "chunks": {
            "data_offsets": [0, shard["chunks"] * encoding["chunk_bytes"]],
            "dtype": "U16" if wide else "U8",
            "shape": [shard["chunks"], encoding["chunk_bytes"] // (2 if wide else 1)],
        },
    }
    return struct.pack("<Q", 4088) + compact(described).encode().ljust(4088, b" ")


def decompress(data: bytes, shard: Json, encoding: Json, per_frame: int) -> bytes:
    """The uncompressed shard, zstd frame by zstd frame as the seek table has them."""
    frames, descriptor, magic = struct.unpack("<IBI", data[-9:])
    assert (descriptor, magic) == (0, 0x8F92EAB1)
    begin = len(data) - 9 - 8 * frames - 8
    assert struct.unpack("<II", data[begin : begin + 8]) == (0x184D2A5E, 8 * frames + 9)
    pieces, at, left = [], 0, shard["chunks"]
    for number in range(frames):
        entry = begin + 8 + 8 * number
        compressed, decompressed = struct.unpack("<II", data[entry : entry + 8])
        frame = data[at : at + compressed]
        stated = zstandard.get_frame_parameters(frame)
        assert stated.has_checksum
        n = min(per_frame, left) if number else 0
        assert stated.content_size == decompressed == (n * encoding["chunk_bytes"] if number else 4096)
        pieces.append(zstandard.ZstdDecompressor().decompress(frame))
        at, left = at + compressed, left - n
    assert (at, left) == (begin, 0)
    return b"".join(pieces)


@dataclass
class Dataset:
    manifest: Json
    rows: list[Json]
    chunks: dict[str, list[bytes]]


@cache
def read_dataset(folder: Path) -> Dataset:
    """A whole dataset, everything about it verified that can be."""
    data = (folder / "manifest.json").read_bytes()
    manifest = json.loads(data)
    assert json.dumps(manifest, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n" == data
    generations = 2 if folder.name in LATER else 1
    assert (manifest["format"], manifest["format_version"], manifest["generations"]) == ("audiochunk", 1, generations)
    encoding, compression = manifest["encoding"], manifest["compression"]
    named = "\n".join([compact(encoding), *(shard["digest"] for shard in manifest["shards"])])
    assert digest(named.encode()) == manifest["dataset_id"]

    chunks: dict[str, list[bytes]] = {split: [] for split in manifest["splits"]}
    index = dict.fromkeys(chunks, 0)
    for shard in manifest["shards"]:
        split = shard["split"]
        assert shard["name"] == f"{split}-{index[split]:05d}.safetensors" + (".zst" if compression else "")
        content = (folder / shard["name"]).read_bytes()
        assert len(content) == shard["bytes"]
        if compression:
            content = decompress(content, shard, encoding, compression["chunks_per_frame"])
        size = encoding["chunk_bytes"]
        assert len(content) == 4096 + shard["chunks"] * size
        assert content[:4096] == shard_header(shard, index[split], encoding)
        assert digest(content) == shard["digest"]
        chunks[split] += [content[4096 + i * size : 4096 + (i + 1) * size] for i in range(shard["chunks"])]
        index[split] += 1
    assert [shard["split"] for shard in manifest["shards"]] == sorted(shard["split"] for shard in manifest["shards"])

    table = (folder / manifest["recordings"]["name"]).read_bytes()
    assert digest(table) == manifest["recordings"]["digest"]
    rows = [json.loads(line) for line in table.splitlines()]
    assert "".join(compact(row) + "\n" for row in rows).encode() == table
    assert len(rows) == manifest["recordings"]["rows"]
    return Dataset(manifest, rows, chunks)


# From recordings to chunks, by the page.


@dataclass
class Recording:
    rate: int
    subtype: str
    width: int
    frames: list[tuple[int, ...]]
    limited: list[tuple[bool, ...]]


@cache
def read_wav(path: str) -> Recording:
    """The samples of one of the golden recordings, whose headers are all 44 bytes long."""
    data = (V1 / "wavs" / path).read_bytes()
    tag, channels, rate, bits, size = struct.unpack("<20xHHI6xH4xI", data[:44])
    width, samples, limited = 32 if bits > 16 else 16, [], []
    for at in range(44, 44 + size, bits // 8):
        raw = data[at : at + bits // 8]
        if tag == 3:
            wanted = round(Fraction(struct.unpack("<f", raw)[0]) * 2**31)  # to even, as the page says
            sample = max(-(2**31), min(2**31 - 1, wanted))
        elif bits == 8:
            wanted = sample = (raw[0] - 128) * 2**8
        else:
            wanted = sample = int.from_bytes(raw, "little", signed=True) * 2 ** (width - bits)
        samples.append(sample)
        limited.append(sample != wanted)
    subtype = "FLOAT" if tag == 3 else "PCM_U8" if bits == 8 else f"PCM_{bits}"
    by_frame = [tuple(samples[i : i + channels]) for i in range(0, len(samples), channels)]
    marks = [tuple(limited[i : i + channels]) for i in range(0, len(samples), channels)]
    return Recording(rate, subtype, width, by_frame, marks)


def linear(sample: int, bits: int, width: int) -> int:
    return math.floor(Fraction(sample) * Fraction(2) ** (bits - width)) + 2 ** (bits - 1)


@cache
def mulaw(sample: int, bits: int, width: int) -> int:
    with localcontext() as context:
        context.prec = 40
        mu = Decimal(2**bits - 1)
        x = Decimal(sample) / 2 ** (width - 1)
        y = ((1 + mu * abs(x)).ln() / (1 + mu).ln()).copy_sign(x)
        return int(((y + 1) / 2 * mu + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


QUANTIZERS = {"linear": linear, "mulaw": mulaw}


def place(p: int, *, frames: int, channels: int, block: int) -> tuple[int, int, int, int, int]:
    """(g, o, b, channel, frame) of code number p."""
    g = p // (block * channels)
    o = p - g * block * channels
    b = min(block, frames - g * block)
    return g, o, b, o // b, g * block + o % b


@dataclass
class Stream:
    chunks: list[bytes]
    dropped_frames: int
    clipped: int


def interleaved(recording: Recording, encoding: Json) -> tuple[int, int]:
    """C and B of a recording's streams."""
    channels = len(recording.frames[0]) if encoding["layout"] == "blocks" else 1
    if encoding["block"] in (None, "auto"):
        return channels, max(1, encoding["chunk_bytes"] // code_bytes(encoding) // channels)
    return channels, encoding["block"]


def make_stream(recording: Recording, encoding: Json, channel: int | None) -> Stream:
    """All chunks of one stream, a sample at a time."""
    bits, size, order = encoding["bits"], code_bytes(encoding), encoding["byte_order"]
    frames, layout = recording.frames, encoding["layout"]
    channels, block = interleaved(recording, encoding)
    n, k = len(frames) * channels, encoding["chunk_bytes"] // size
    n_chunks = n // k + (1 if encoding["tail"] == "pad" and n % k else 0)
    out, clipped, seen = bytearray(), 0, [0] * len(frames)
    for p in range(n_chunks * k):
        code = 2 ** (bits - 1)
        if p < n:
            *_, at, frame = place(p, frames=len(frames), channels=channels, block=block)
            used = range(len(frames[frame])) if layout == "mono" else [at if channel is None else channel]
            sample = sum(frames[frame][c] for c in used) // len(used)
            code = QUANTIZERS[encoding["quantizer"]](sample, bits, recording.width)
            clipped += sum(recording.limited[frame][c] for c in used)
            seen[frame] += 1
        out += code.to_bytes(size, order)
    chunks = [bytes(out[i : i + k * size]) for i in range(0, len(out), k * size)]
    return Stream(chunks, sum(count < channels for count in seen), clipped)


def dropped_frames(frames: int, channels: int, block: int, real: int) -> int:
    """By the page's formula, where `make_stream` counts."""
    g = real // (block * channels)
    b = min(block, frames - g * block)
    return frames - (g * block + max(0, real - g * block * channels - (channels - 1) * b))


def split_of(path: str, options: Json) -> str:
    if options["split"] is None:
        return "train"
    if options["split"] == "folders":
        return path.partition("/")[0]
    if options["split"].startswith("file:"):
        table = split_table()
        around = [path]
        while "/" in around[-1]:
            around.append(around[-1].rpartition("/")[0])
        return next(table[at] for at in (*around, ".") if at in table)
    shares = [item.split("=") for item in options["split"].split(",")]
    drawn = drawn_for(path, options)
    total = sum(Fraction(share) for _, share in shares)
    so_far = Fraction(0)
    for name, share in shares:
        so_far += Fraction(share) / total
        if drawn < so_far * 2**64:
            return name
    raise AssertionError("the shares add up to 1")


def drawn_for(path: str, options: Json) -> int:
    group = path
    if options["group_by"] != "recording":
        folders = path.split("/")[:-1]
        n = options["group_by"].partition(":")[2]
        group = "/".join(folders[: int(n)] if n else folders)
    return xxhash.xxh3_64_intdigest(struct.pack("<Q", options["split_seed"]) + group.encode())


def split_table() -> dict[str, str]:
    lines = (V1 / "splits.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


# What the two come to.


@on_all
def test_a_golden_dataset_is_what_the_page_says(name: str) -> None:
    dataset = read_dataset(V1 / name)
    totals = dataset.manifest["splits"]
    assert set(dataset.chunks) == set(totals)
    for split, chunks in dataset.chunks.items():
        used = [row for row in dataset.rows if row["split"] == split and "error" not in row]
        recordings = {row["path"]: row for row in used}.values()
        assert totals[split] == {
            "chunks": len(chunks),
            "recordings": len(recordings),
            "frames": sum(row["frames"] for row in recordings),
            "seconds": math.floor(sum(Fraction(row["frames"], row["sample_rate"]) for row in recordings)),
        }
    assert dataset.manifest["skipped"] == sum("error" in row for row in dataset.rows)


@on_all
def test_every_chunk_follows_from_the_recordings(name: str) -> None:
    dataset = read_dataset(V1 / name)
    encoding = dataset.manifest["encoding"]
    wanted: dict[str, list[bytes]] = {split: [] for split in dataset.chunks}
    for row in dataset.rows:
        assert ("error" in row) == (row["path"] in UNUSABLE)
        assert row["first_chunk"] == len(wanted[row["split"]])
        if "error" in row:
            assert (row["chunks"], row["dropped_frames"], row["clipped"], row["channel"]) == (0, 0, 0, None)
            continue
        recording = read_wav(row["path"])
        stream = make_stream(recording, encoding, row["channel"])
        wanted[row["split"]] += stream.chunks
        assert row == {
            "path": row["path"],
            "split": row["split"],
            "channel": row["channel"],
            "sample_rate": recording.rate,
            "channels": len(recording.frames[0]),
            "frames": len(recording.frames),
            "subtype": recording.subtype,
            "bytes": (V1 / "wavs" / row["path"]).stat().st_size,
            "first_chunk": row["first_chunk"],
            "chunks": len(stream.chunks),
            "dropped_frames": stream.dropped_frames,
            "clipped": stream.clipped,
            "notes": [],
        }
    assert wanted == dataset.chunks


@on_all
def test_the_formula_for_dropped_frames_is_what_counting_gives(name: str) -> None:
    dataset = read_dataset(V1 / name)
    encoding = dataset.manifest["encoding"]
    for row in dataset.rows:
        if "error" not in row:
            channels, block = interleaved(read_wav(row["path"]), encoding)
            k = encoding["chunk_bytes"] // code_bytes(encoding)
            real = min(row["frames"] * channels, row["chunks"] * k)
            assert dropped_frames(row["frames"], channels, block, real) == row["dropped_frames"]


@on_all
def test_rows_are_in_path_order_and_in_their_splits(name: str) -> None:
    dataset = read_dataset(V1 / name)
    options = dataset.manifest["options"]
    there = [path for path in (V1 / "wavs").rglob("*") if path.is_file()]
    paths = sorted((path.relative_to(V1 / "wavs").as_posix() for path in there), key=str.encode)
    if options["include"]:
        assert options["include"] == ["*/*"]
        paths = [path for path in paths if "/" in path]
    if options["exclude"]:
        assert options["exclude"] == ["nan.wav"]
        paths = [path for path in paths if path.rpartition("/")[2] != "nan.wav"]
    later = LATER.get(name, [])
    paths = [path for path in paths if path not in later] + [path for path in paths if path in later]
    wanted = []
    for path in paths:
        split_channels = dataset.manifest["encoding"]["layout"] == "split" and path not in UNUSABLE
        channels = range(len(read_wav(path).frames[0])) if split_channels else [None]
        wanted += [(path, channel, split_of(path, options)) for channel in channels]
    assert [(row["path"], row["channel"], row["split"]) for row in dataset.rows] == wanted


def test_the_table_of_splits_has_the_digest_that_the_manifest_names() -> None:
    lines = [f"{path}\t{split}\n" for path, split in sorted(split_table().items(), key=lambda item: item[0].encode())]
    options = read_dataset(V1 / "u16-pad").manifest["options"]
    assert options["split"] == f"file:{digest(''.join(lines).encode())}"


# The examples on the page.


def marked(kind: str) -> Iterator[tuple[str, str]]:
    """What stands behind `<!-- kind: ... -->`, and the fenced block or table that follows."""
    pattern = rf"<!-- {kind}: (.*) -->\n(?:```\w+\n([\s\S]*?)\n```|((?:\|.*\n)+))"
    for found in re.finditer(pattern, PAGE):
        yield found[1], found[2] or found[3]


def cells(table: str) -> list[list[str]]:
    """The rows of a table below its heading, without backquotes."""
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def tables(heading: str) -> list[list[str]]:
    """The rows of the table whose heading begins like this."""
    found = re.search(rf"^\| {re.escape(heading)}.*\n(?:\|.*\n)+", PAGE, re.MULTILINE)
    assert found, heading
    return cells(found[0])


def test_every_example_is_found() -> None:
    kinds = ("dump", "file", "dataset_id", "places", "codes", "shares")
    assert sum(len(list(marked(kind))) for kind in kinds) == PAGE.count("<!-- ") == 8


def test_files_on_the_page_are_golden_files() -> None:
    for file, text in marked("file"):
        assert f"{text}\n".encode() == (V1 / file).read_bytes()


def test_dumps_on_the_page_show_golden_files() -> None:
    for file, text in marked("dump"):
        data = (V1 / file).read_bytes()
        for line in text.splitlines():
            if gap := re.fullmatch(r" +([0-9a-f]{2}) in every byte from ([0-9a-f]+) to ([0-9a-f]+)", line):
                value, first, last = (int(number, 16) for number in gap.groups())
                assert data[first : last + 1] == bytes([value]) * (last + 1 - first)
                continue
            at, digits, shown = int(line[:8], 16), line[10:49], line[51:].rstrip()
            row = bytes.fromhex(digits.replace(" ", ""))
            assert data[at : at + len(row)] == row
            assert "".join(chr(c) if 32 <= c < 127 else "." for c in row).rstrip() == shown


def test_the_id_on_the_page_is_that_of_its_bytes() -> None:
    for name, text in marked("dataset_id"):
        assert digest(text.encode()) == read_dataset(V1 / name).manifest["dataset_id"]


def test_sums_on_the_page_are_right() -> None:
    sums = re.findall(r"[\d,]+(?: [-+×/]\s[\d,]+)+ =\s[\d,]+\d", PAGE)
    quotients = re.findall(r"⌊(\d+) / (\d+)⌋ = (\d+)", PAGE)
    assert len(sums) >= 12
    assert len(quotients) >= 2
    assert all(int(a) // int(b) == int(c) for a, b, c in quotients)
    for text in sums:
        left, _, right = text.replace(",", "").partition("=")
        total = Fraction(0)
        for sign, term in re.findall(r"(^|[-+])\s*(\d+(?:\s*[×/]\s*\d+)*)", left.strip()):
            product = Fraction(1)
            for operation, number in re.findall(r"(^|[×/])\s*(\d+)", term):
                product = product / int(number) if operation == "/" else product * int(number)
            total += -product if sign == "-" else product
        assert total == int(right), text


def test_numbers_of_the_shards_on_the_page_are_right() -> None:
    first = (V1 / "u8-blocks" / "train-00000.safetensors").read_bytes()
    assert len(first) == 4608
    assert len(first[8:4096].rstrip()) == 306
    last = (V1 / "u8-blocks-zstd" / "train-00002.safetensors.zst").read_bytes()
    assert len(last) == 779
    assert struct.unpack("<8I", last[738:770])[::2] == (243, 205, 205, 77)


def test_places_on_the_page_are_right() -> None:
    for given, table in marked("places"):
        frames, channels, block = (int(number) for number in re.findall(r"\d+", given))
        for row in cells(table):
            p, *found = map(int, row)
            assert (p, *place(p, frames=frames, channels=channels, block=block)) == (p, *found)


def test_codes_on_the_page_are_right() -> None:
    for given, table in marked("codes"):
        width, bits = (int(number) for number in re.findall(r"\d+", given))
        for sample, *codes in cells(table):
            s = int(sample)
            assert [linear(s, bits, width), mulaw(s, bits, width)] == [int(code) for code in codes], sample


def test_shares_on_the_page_are_right() -> None:
    for name, table in marked("shares"):
        options = read_dataset(V1 / name).manifest["options"]
        for path, drawn, split in cells(table):
            assert (drawn_for(path, options), split_of(path, options)) == (int(drawn), split)


def test_the_page_has_a_table_entry_for_every_field_that_is_there() -> None:
    datasets = [read_dataset(V1 / name) for name in NAMES]
    manifest = next(dataset.manifest for dataset in datasets if dataset.manifest["compression"])
    rows = [row for dataset in datasets for row in dataset.rows]
    objects: dict[str, set[str]] = {
        "field of a manifest": {*manifest},
        "field of `encoding`": {*manifest["encoding"]},
        "field of `options`": {*manifest["options"]},
        "field of `compression`": {*manifest["compression"]},
        "field of a split": {*manifest["splits"]["train"]},
        "field of a shard": {*manifest["shards"][0]},
        "field of `recordings`": {*manifest["recordings"]},
        "field of a row": {"path_hex"}.union(*rows),  # every golden path is UTF-8
    }
    for heading, fields in objects.items():
        assert {row[0] for row in tables(heading)} == fields, heading


def test_the_page_has_every_subtype() -> None:
    from audiochunk.signal.sndfile import SUBTYPES

    dtypes = {"integers of width 16": "int16", "integers of width 32": "int32", "floats": "float64"}
    listed = {name: dtypes[kind] for kind, names in tables("taken as") for name in names.split(", ")}
    assert listed == {name: subtype.dtype for name, subtype in SUBTYPES.items()}
