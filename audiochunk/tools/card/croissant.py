"""croissant.json: a dataset as Croissant 1.1 metadata, https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html"""

import hashlib
from collections.abc import Mapping
from typing import Any

from audiochunk.storage.manifest import MANIFEST, Manifest
from audiochunk.storage.shard import shard_name
from audiochunk.tools.card.about import About
from audiochunk.tools.card.holdings import Holdings
from audiochunk.tools.card.marks import mark_croissant
from audiochunk.tools.summary import describe_encoding

Node = dict[str, Any]

_SAFETENSORS = "https://github.com/huggingface/safetensors"
# Of Croissant's own vocabulary.
_WORDS = (
    "annotation",
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "excludes",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "readLines",
    "repeated",
    "replace",
    "samplingRate",
    "sdVersion",
    "separator",
    "source",
    "subField",
    "transform",
    "unArchive",
    "value",
)
# That of the specification's appendix 1, and the keys that mlcroissant 1.1 misses in it. The appendix has schema.org
# under http; mlcroissant knows it only under https (mlcommons/croissant#1018).
_CONTEXT: Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in _WORDS},
}
_MEANINGS = {
    "train": "cr:TrainingSplit",
    "val": "cr:ValidationSplit",
    "valid": "cr:ValidationSplit",
    "validation": "cr:ValidationSplit",
    "dev": "cr:ValidationSplit",
    "test": "cr:TestSplit",
}
# docs/format.md, "recordings.jsonl"
_COLUMNS = {
    "bytes": ("sc:Integer", "Size of the recording's file."),
    "channel": ("sc:Integer", "The stream's channel, from 0, where every channel is a stream of its own."),
    "channels": ("sc:Integer", "Of the recording."),
    "chunks": ("sc:Integer", "Of the stream."),
    "clipped": ("sc:Integer", "Floats that had to be limited to full scale."),
    "dropped_frames": ("sc:Integer", "Frames that are not in chunks with every channel."),
    "error": ("sc:Text", "Why the recording was refused."),
    "first_chunk": ("sc:Integer", "Number of the stream's first chunk in its split, from 0."),
    "frames": ("sc:Integer", "Of the recording: samples of one channel."),
    "notes": ("sc:Text", "What was unusual about the recording."),
    "path": ("sc:Text", "Of the recording, relative to the folder that the dataset was built from."),
    "path_hex": ("sc:Text", "The bytes of a path that is not UTF-8, in hexadecimal digits."),
    "sample_rate": ("sc:Integer", "In Hz."),
    "split": ("sc:Text", "Where the recording went."),
    "subtype": ("sc:Text", "How the recording's samples are stored, in libsndfile's words."),
}


def croissant(held: Holdings, about: About, *, description: str, checksums: Mapping[str, str] | None = None) -> bytes:
    """croissant.json of a dataset, beside whose files it must lie; the same bytes for the same arguments.

    Described are all files, the recordings table as records that can be read by it, the splits and the encoding as
    records with their values. Chunks are not records: Croissant knows no safetensors.

    Args:
        held: what the dataset holds.
        about: what is said of it.
        description: of the dataset.
        checksums: the SHA-256 of every shard in hex, by name; with them every shard is described by itself.
    """
    made: Node = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": about.name,
        "description": description,
        "identifier": held.manifest.dataset_id,
        "keywords": ["audio", "audiochunk"],
    }
    if about.license is not None:
        named = {"@type": "sc:CreativeWork", "name": about.license_id}
        made["license"] = about.license_url or named
    if about.url is not None:
        made["url"] = about.url
    creators = [{"@type": "sc:Person", "name": name} for name in about.creators]
    creators += [{"@type": "sc:Organization", "name": name} for name in about.organizations]
    if creators:
        made["creator"] = creators
    if about.published is not None:
        made["datePublished"] = about.published
    made["distribution"] = _files(held, checksums or {})
    made["recordSet"] = [_recordings(held), _splits(held.manifest), _encoding(held)]
    return mark_croissant(made)


def lacking(about: About) -> dict[str, str]:
    """What Croissant requires and nobody has said, in its words, and the options of `audiochunk card` that say it."""
    said = {
        "license": (about.license, "--license"),
        "url": (about.url, "--url"),
        "creator": (about.creators or about.organizations, "--creator or --organization"),
        "datePublished": (about.published, "--published"),
    }
    return {name: option for name, (value, option) in said.items() if not value}


def _files(held: Holdings, checksums: Mapping[str, str]) -> list[Node]:
    manifest = held.manifest
    encoded = manifest.encode()
    files = [
        _file(MANIFEST, len(encoded), hashlib.sha256(encoded).hexdigest(), "application/json"),
        _file(manifest.recordings.name, held.table_bytes, held.table_sha256, "application/jsonlines"),
    ]
    formats = [_SAFETENSORS] if manifest.compression is None else ["application/zstd", _SAFETENSORS]
    files += [
        _file(shard.name, shard.bytes, checksums[shard.name], formats)
        for shard in manifest.shards
        if shard.name in checksums
    ]
    for split in sorted(manifest.splits):
        names = [shard.name for shard in manifest.shards if shard.split == split]
        if names:
            files.append(
                {
                    "@type": "cr:FileSet",
                    "@id": f"shards/{split}",
                    "name": f"shards/{split}",
                    "description": f"The shards of the split {split}, which hold its chunks one after the other.",
                    "encodingFormat": formats,
                    "includes": _globs(split, len(names), manifest),
                }
            )
    return files


def _file(name: str, size: int, sha256: str, formats: str | list[str]) -> Node:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": formats,
        "sha256": sha256,
    }


def _globs(split: str, n: int, manifest: Manifest) -> list[str]:
    """Globs of the first `n` shards of a split, of which no shard of another split is one: `train-*` would be."""
    ending = shard_name(split, 0, manifest.compression).removeprefix(f"{split}-00000")
    widths = range(5, max(5, len(str(n - 1))) + 1)
    return [f"{split}-{'[0-9]' * width}{ending}" for width in widths]


def _recordings(held: Holdings) -> Node:
    name = held.manifest.recordings.name
    fields = []
    for column in held.columns:
        data_type, description = _COLUMNS[column]
        field = _field(f"recordings/{column}", data_type, description)
        field["source"] = {"fileObject": {"@id": name}, "extract": {"column": column}}
        if column == "split":
            field["references"] = {"field": {"@id": "splits/name"}}
        if column == "notes":
            field |= {"isArray": True, "arrayShape": "-1"}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": "recordings",
        "name": "recordings",
        "description": "One record for each stream of every recording; a refused recording has one, with 0 chunks.",
        "field": fields,
    }


def _splits(manifest: Manifest) -> Node:
    columns = ("chunks", "recordings", "frames", "seconds")
    data = []
    for split, totals in sorted(manifest.splits.items()):
        row: Node = {"splits/name": split, "splits/url": _MEANINGS.get(split)}
        data.append(row | {f"splits/{column}": getattr(totals, column) for column in columns})
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "What each split holds. The seconds are rounded down.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            _field("splits/name", "sc:Text", "Of the split."),
            _field("splits/url", ["sc:URL", "cr:Split"], "What the split is for, where its name says so."),
            *(_field(f"splits/{column}", "sc:Integer", f"In the split: {column}.") for column in columns),
        ],
        "data": data,
    }


def _encoding(held: Holdings) -> Node:
    encoding = held.manifest.encoding
    values = {
        "bits": (encoding.bits, "Of a code."),
        "quantizer": (encoding.quantizer, "How a sample became a code."),
        "byte_order": (encoding.byte_order, "Of codes of more than one byte."),
        "chunk_bytes": (encoding.chunk_bytes, "Of a chunk."),
        "codes_per_chunk": (encoding.codes_per_chunk, "In a chunk."),
        "layout": (encoding.layout, "What becomes of channels."),
        "block": (
            None if encoding.block is None else str(encoding.block),
            "Samples of one channel that follow each other, with layout blocks.",
        ),
        "tail": (encoding.tail, "What became of an incomplete last chunk."),
        "dtype": (encoding.stored_as, "Of the tensor in a shard, as safetensors spells it."),
        "vocab_size": (encoding.vocab_size, "Values that an element of the tensor can take."),
        "format_version": (held.manifest.format_version, "Of audiochunk's format."),
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "encoding",
        "name": "encoding",
        "description": f"How samples became the bytes of chunks: {describe_encoding(encoding, held.summary.kinds)}.",
        "field": [
            _field(f"encoding/{name}", "sc:Integer" if isinstance(value, int) else "sc:Text", description)
            for name, (value, description) in values.items()
        ],
        "data": [{f"encoding/{name}": value for name, (value, _) in values.items()}],
    }


def _field(name: str, data_type: str | list[str], description: str) -> Node:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": description,
        "dataType": data_type,
    }
