"""The manifest and the recordings table: their canonical bytes, and what is refused."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import BuildConfig, Compression, Encoding, Options
from audiochunk.errors import DatasetError, NoDatasetError
from audiochunk.storage import manifest as module
from audiochunk.storage.manifest import Manifest, RecordingsEntry, ShardEntry, SplitTotals, dataset_id
from audiochunk.storage.shard import SPLIT_NAME, shard_name

PATH = Path("shards/manifest.json")


def make(
    chunks: dict[str, list[int]],
    *,
    digest: str = "ab" * 16,
    encoding: Encoding | None = None,
    compression: Compression | None = None,
    **fields: Any,
) -> Manifest:
    """A manifest of splits with so many chunks in each of their shards, sound but for what `fields` says."""
    encoding = encoding or Encoding()
    shards = tuple(
        ShardEntry(
            name=shard_name(split, index, compression),
            split=split,
            chunks=n,
            bytes=4096 + n * encoding.chunk_bytes,
            digest=digest,
        )
        for split in sorted(chunks)
        for index, n in enumerate(chunks[split])
    )
    sound: dict[str, Any] = {
        "options": Options(),
        "splits": {
            split: SplitTotals(chunks=sum(n), recordings=1, frames=4000, seconds=0) for split, n in chunks.items()
        },
        "shards": shards,
        "recordings": RecordingsEntry(name="recordings.jsonl", rows=3, digest="ef" * 16),
        "skipped": 1,
        "dataset_id": dataset_id(encoding, (shard.digest for shard in shards)),
    }
    return Manifest(encoding=encoding, compression=compression, **(sound | fields))


EXAMPLE = make(
    {"train": [2, 1], "val": []},
    encoding=Encoding(bits=16),
    compression=Compression(level=9),
    options=Options(split="train=0.98,val=0.02", include=("*.wav", "Käfer\n\x7f\u2028\x1f/*"), on_error="skip"),
)
COUNTS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=10)
ENCODINGS = [Encoding(), Encoding(bits=24, chunk_bytes=3, block=5), Encoding(layout="mono", block=None)]
MANIFESTS = st.builds(
    make,
    st.dictionaries(st.from_regex(SPLIT_NAME, fullmatch=True), st.lists(st.integers(0, 2**40), max_size=3), max_size=3),
    digest=st.from_regex("[0-9a-f]{32}", fullmatch=True),
    encoding=st.sampled_from(ENCODINGS),
    compression=st.none() | st.builds(Compression, level=st.integers(1, 22)),
    options=st.builds(
        Options,
        split=st.none() | TEXTS,
        split_seed=st.integers(0, 2**64 - 1),
        shard_size=st.integers(1, 2**63 - 1),
        include=st.lists(TEXTS, max_size=3).map(tuple),
        exclude=st.lists(TEXTS, max_size=3).map(tuple),
    ),
    recordings=st.builds(RecordingsEntry, name=st.just("recordings.jsonl"), rows=COUNTS, digest=TEXTS),
    skipped=COUNTS,
    generations=COUNTS.map(lambda n: max(n, 1)),
)


def shard_changed(*, compression: Compression | None = None, **fields: Any) -> Manifest:
    """A manifest of one chunk in one shard, whose entry says something else."""
    sound = make({"train": [1]}, compression=compression)
    return msgspec.structs.replace(sound, shards=(msgspec.structs.replace(sound.shards[0], **fields),))


def shards_reversed(chunks: dict[str, list[int]]) -> Manifest:
    sound = make(chunks)
    return msgspec.structs.replace(sound, shards=sound.shards[::-1])


def canonical(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


@given(MANIFESTS)
@settings(deadline=None, max_examples=100)
def test_a_manifest_comes_back_from_its_bytes(manifest: Manifest) -> None:
    data = manifest.encode()
    assert Manifest.decode(data, PATH) == manifest
    assert data == canonical(msgspec.to_builtins(manifest))


def test_a_manifest_is_this_text() -> None:
    data = EXAMPLE.encode()
    assert data == canonical(json.loads(data))
    assert data.startswith(
        b'{\n  "compression": {\n    "chunks_per_frame": 8,\n    "codec": "zstd",\n    "level": 9\n  },\n'
        b'  "dataset_id": "d759cbe052d10aea050d0cc0da5eb1e8",\n'
    )
    assert data.endswith(b'      "recordings": 1,\n      "seconds": 0\n    }\n  }\n}\n')
    assert '"Käfer\\n\x7f\u2028\\u001f/*"'.encode() in data
    assert b'"exclude": [],\n' in data
    assert b'"format": "audiochunk",\n  "format_version": 1,\n  "generations": 1,\n' in data


def test_a_manifest_holds_what_the_dataset_was_built_with() -> None:
    assert EXAMPLE.config == BuildConfig(
        encoding=EXAMPLE.encoding, options=EXAMPLE.options, compression=EXAMPLE.compression
    )


def test_a_manifest_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(EXAMPLE.encode())
    assert Manifest.read(tmp_path) == EXAMPLE


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(NoDatasetError, match=r"no dataset here: there is no manifest\.json") as refused:
        Manifest.read(tmp_path)
    assert refused.value.args[0] == tmp_path


def test_a_missing_folder_and_a_file_are_no_datasets(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, missing in (("nowhere", "such folder"), ("file", r"manifest\.json")):
        with pytest.raises(NoDatasetError, match=f"no dataset here: there is no {missing}$"):
            Manifest.read(tmp_path / name)


def test_an_unfinished_build_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / ".build").mkdir()
    with pytest.raises(NoDatasetError, match="this build is not finished: run it again"):
        Manifest.read(tmp_path)


def test_a_manifest_that_is_too_big_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = EXAMPLE.encode()
    (tmp_path / "manifest.json").write_bytes(data)
    monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", len(data))
    assert Manifest.read(tmp_path) == EXAMPLE
    monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", len(data) - 1)
    with pytest.raises(DatasetError, match=f"bytes; a manifest has at most {len(data) - 1:,}"):
        Manifest.read(tmp_path)


# Damage, each to a manifest that is otherwise canonical.


def refused(data: bytes) -> str:
    with pytest.raises(DatasetError) as error:
        Manifest.decode(data, PATH)
    assert error.value.args[0] == PATH
    return str(error.value)


def objects(value: Any, *, named_freely: bool = False) -> Iterator[dict[str, Any]]:
    """All JSON objects within a value, but those whose keys are names that somebody chose."""
    if isinstance(value, dict):
        if not named_freely:
            yield value
        for key, inner in value.items():
            yield from objects(inner, named_freely=key == "splits")
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


N_OBJECTS = len(list(objects(json.loads(EXAMPLE.encode()))))
FIELDS = [(n, key) for n, found in enumerate(objects(json.loads(EXAMPLE.encode()))) for key in found]


def altered(number: int, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The example with a change to one of its objects."""
    tree = json.loads(EXAMPLE.encode())
    change(list(objects(tree))[number])
    return canonical(tree)


def test_the_example_passes_unaltered() -> None:
    assert N_OBJECTS == 9
    assert Manifest.decode(altered(0, lambda _: None), PATH) == EXAMPLE


@pytest.mark.parametrize("number", range(N_OBJECTS))
def test_an_unknown_field_is_refused_by_name(number: int) -> None:
    message = refused(altered(number, lambda found: found.update(bitrate=1)))
    assert "unknown field `bitrate`" in message


@pytest.mark.parametrize(("number", "key"), FIELDS)
def test_a_missing_field_is_refused(number: int, key: str) -> None:
    refused(altered(number, lambda found: found.pop(key)))


@pytest.mark.parametrize(("number", "key"), FIELDS)
def test_a_field_of_another_type_is_refused(number: int, key: str) -> None:
    refused(altered(number, lambda found: found.update({key: 0.5})))


@pytest.mark.parametrize(
    ("number", "key"), [(n, k) for n, k in FIELDS if isinstance(list(objects(json.loads(EXAMPLE.encode())))[n][k], int)]
)
def test_an_integer_that_is_written_as_a_float_is_refused(number: int, key: str) -> None:
    refused(altered(number, lambda found: found.update({key: float(found[key])})))


@pytest.mark.parametrize("value", [-1, 2**63, 2**64, 10**30])
@pytest.mark.parametrize(
    ("number", "key"),
    [(n, k) for n, k in FIELDS if k in ("chunks", "bytes", "recordings", "frames", "seconds", "rows", "skipped")],
)
def test_a_count_out_of_range_is_refused(number: int, key: str, value: int) -> None:
    refused(altered(number, lambda found: found.update({key: value})))


@pytest.mark.parametrize("generations", [0, -1, 2**63])
def test_a_number_of_generations_that_cannot_be_is_refused(generations: int) -> None:
    assert "generations" in refused(altered(0, lambda found: found.update(generations=generations)))


@pytest.mark.parametrize("version", [2, 3, 10**6, 2**64])
def test_a_higher_version_is_refused_as_one(version: int) -> None:
    # Whatever else that version knows: what matters is that a newer audiochunk is needed.
    message = refused(altered(0, lambda found: found.update(format_version=version, novelty=[1.5])))
    assert f"format version {version}; this audiochunk reads up to 1: a newer one is needed" in message


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None, [1]])
def test_another_version_is_refused(version: Any) -> None:
    refused(altered(0, lambda found: found.update(format_version=version)))


def test_another_format_is_refused() -> None:
    assert "format" in refused(altered(0, lambda found: found.update(format="webdataset")))


def test_options_without_meaning_are_refused() -> None:
    message = refused(EXAMPLE.encode().replace(b'"bits": 16', b'"bits": 24'))
    assert "a chunk of 2048 bytes does not hold whole 24-bit codes" in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'  "skipped": 1,\n', b'  "skipped": 1,\n  "skipped": 1,\n'),
        (b'  "skipped": 1,\n', b'  "skipped": 0,\n  "skipped": 1,\n'),
        (b'    "bits": 16,\n', b'    "bits": 8,\n    "bits": 16,\n'),
        (b'"skipped": 1', b'"skipped":1'),
        (b'"skipped": 1', b'"skipped": -0'),
        (b'"audiochunk"', b'"\\u0061udiochunk"'),
        (b"\n}\n", b"\n}"),
        (b"\n}\n", b"\n}\n\n"),
        (b"{\n  ", b"\xef\xbb\xbf{\n  "),
        (b"{\n  ", b"{\r\n  "),
        ("ä".encode(), b"\\u00e4"),
    ],
)
def test_bytes_that_one_would_not_write_are_refused(old: bytes, new: bytes) -> None:
    data = EXAMPLE.encode()
    assert old in data
    refused(data.replace(old, new, 1))


def test_a_duplicate_key_says_what_may_be_wrong() -> None:
    data = EXAMPLE.encode().replace(b'  "skipped": 1,\n', b'  "skipped": 0,\n  "skipped": 1,\n')
    assert "not in canonical form: it was edited, or has a key twice" in refused(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\0" * 100,
        b"not JSON",
        b"[]\n",
        b"{}\n",
        b"1\n",
        b"null\n",
        b'"manifest"\n',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format_version": 1, "shards": ' + b"[" * 100_000,
        b'{"format_version": 1, "encoding": ' + b'{"a":' * 100_000,
        b'{"format_version": 1, "novelty": ' + b"[" * 100_000,
        b'{"format_version": ' + b"9" * 10_000 + b"}",
        b'{"format_version": 1e400}',
        b'{"format_version": NaN}',
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    assert "not a manifest" in refused(data)


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xb0\x80", b"\\ud800", b"\\udc80 ", b"\x00", b"\\x41"])
def test_text_that_is_not_unicode_is_refused(text: bytes) -> None:
    data = EXAMPLE.encode()
    assert b"*.wav" in data
    refused(data.replace(b"*.wav", text))


@given(st.integers(0, len(EXAMPLE.encode()) - 1))
@settings(deadline=None, max_examples=100)
def test_a_cut_manifest_is_refused(length: int) -> None:
    refused(EXAMPLE.encode()[:length])


@given(at=st.integers(0, len(EXAMPLE.encode()) - 1), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_a_flipped_byte_is_refused_or_another_manifest(at: int, flip: int) -> None:
    data = bytearray(EXAMPLE.encode())
    data[at] ^= flip
    try:
        manifest = Manifest.decode(bytes(data), PATH)
    except DatasetError:
        return
    assert manifest != EXAMPLE
    assert manifest.encode() == data


# Manifests in canonical form that contradict themselves.


@pytest.mark.parametrize(
    ("manifest", "finding"),
    [
        (make({"train": [1]}, dataset_id="01" * 16), "dataset_id is not that of the shards"),
        (
            make({"train": [1]}, recordings=RecordingsEntry(name="../rows", rows=0, digest="")),
            "the recordings table is not recordings.jsonl",
        ),
        (make({"a/b": [1]}), "'a/b' cannot be the name of a split"),
        (make({"..": []}), "'..' cannot be the name of a split"),
        (make({"train": [1]}, splits={}), "a shard is of a split that is not listed"),
        (make({"train": [1], "val": [2]}, splits=make({"train": [1]}).splits), "a shard is of a split"),
        (make({"train": [2, 3]}, splits=make({"train": [4]}).splits), "split train: 4 chunks, its shards have 5"),
        (make({"train": [2], "x": []}, splits=make({"train": [2], "x": [1]}).splits), "split x: 1 chunks"),
        (make({"train": [1]}, digest=""), "train-00000.safetensors: no digest"),
        (make({"train": [1]}, digest="AB" * 16), "train-00000.safetensors: no digest"),
        (shard_changed(bytes=6143), "6143 bytes cannot hold 1 chunks"),
        (shard_changed(name="train-00001.safetensors"), "the names of the shards"),
        (shard_changed(name="../train-00000.safetensors"), "the names of the shards"),
        (shard_changed(name="train-00000.safetensors", compression=Compression()), "the names of the shards"),
        (shard_changed(split="val"), "the names of the shards"),
        (shards_reversed({"train": [1, 1]}), "the names of the shards"),
        (shards_reversed({"train": [1], "val": [1]}), "the names of the shards"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(manifest: Manifest, finding: str) -> None:
    assert re.search(finding, refused(manifest.encode()))


# The identity of a dataset.


@pytest.mark.parametrize("encoding", [Encoding(), Encoding(bits=24, chunk_bytes=3, layout="split", block=None)])
@pytest.mark.parametrize("digests", [[], ["ab" * 16], ["ab" * 16, "cd" * 16]])
def test_dataset_id_is_of_the_encoding_and_all_shards(encoding: Encoding, digests: list[str]) -> None:
    text = json.dumps(msgspec.to_builtins(encoding), sort_keys=True, separators=(",", ":"))
    wanted = xxhash.xxh3_128_hexdigest("\n".join([text, *digests]).encode())
    assert dataset_id(encoding, digests) == wanted


def test_dataset_id_heeds_order_and_encoding() -> None:
    ids = {
        dataset_id(Encoding(), ["ab", "cd"]),
        dataset_id(Encoding(), ["cd", "ab"]),
        dataset_id(Encoding(), ["abcd"]),
        dataset_id(Encoding(tail="pad"), ["ab", "cd"]),
    }
    assert len(ids) == 4
