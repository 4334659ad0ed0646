"""Marks in the files of a card, by which one that nobody has edited is known, and one of another dataset."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import xxhash

from audiochunk.storage.manifest import MANIFEST, Manifest
from audiochunk.storage.remote import open_in

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

README, CROISSANT = "README.md", "croissant.json"

_MARK = re.compile(rb"<!-- audiochunk card: manifest ([0-9a-f]{32}), text ([0-9a-f]{32}) -->\n")
_FIRST = "1.0.0"
_MOST_BYTES = 2**28  # a card with the checksums of a million shards


def mark_readme(text: str, manifest: Manifest) -> bytes:
    """A card with its mark as the last line: the xxh3-128 of the dataset's manifest, and of all lines above."""
    body = text.encode()
    of_dataset, of_body = (xxhash.xxh3_128_hexdigest(data) for data in (manifest.encode(), body))
    return body + f"<!-- audiochunk card: manifest {of_dataset}, text {of_body} -->\n".encode()


def mark_croissant(made: dict[str, Any]) -> bytes:
    """Croissant metadata as JSON, whose `sdVersion` has the xxh3-128 of all the rest as its build.

    JSON has no comments, and the build of a version is the only text that Croissant leaves to the writer.
    """
    digest = xxhash.xxh3_128_hexdigest(_to_json(made))
    return _to_json({**made, "sdVersion": f"{_FIRST}+{digest}"})


def is_untouched(name: str, data: bytes) -> bool:
    """Whether a file of a card is as it was written."""
    if name == README:
        mark = _last_mark(data)
        if mark is None or mark.end() < len(data):
            return False
        return xxhash.xxh3_128_hexdigest(data[: mark.start()]).encode() == mark[2]
    made = _parse(data)
    if made is None:
        return False
    made.pop("sdVersion", None)
    with suppress(ValueError, RecursionError):  # of what no JSON of ours has in it
        return mark_croissant(made) == data
    return False


def of_another(folder: "Folder", manifest: Manifest) -> Iterator[str]:
    """The files of a card in the folder of a dataset that say that they were made for one with another manifest.

    Edited ones say it, too; those that do not say are not judged.
    """
    for name in (README, CROISSANT):
        with suppress(OSError), open_in(folder, name) as file:
            if _is_of_another(name, file.read(_MOST_BYTES), manifest):
                yield name


def _is_of_another(name: str, data: bytes, manifest: Manifest) -> bool:
    if name == README:
        mark = _last_mark(data)
        return mark is not None and mark[1].decode() != xxhash.xxh3_128_hexdigest(manifest.encode())
    files = (_parse(data) or {}).get("distribution")
    if not isinstance(files, list):
        return False
    said = [file.get("sha256") for file in files if isinstance(file, dict) and file.get("@id") == MANIFEST]
    return bool(said) and said != [hashlib.sha256(manifest.encode()).hexdigest()]


def _last_mark(data: bytes) -> re.Match[bytes] | None:
    mark = None
    for found in _MARK.finditer(data):  # a description may hold one, too
        mark = found
    return mark


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        made = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None


def _to_json(made: dict[str, Any]) -> bytes:
    return json.dumps(made, indent=2, ensure_ascii=False).encode() + b"\n"
