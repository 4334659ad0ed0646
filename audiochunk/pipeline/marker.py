"""The file by which a build folder is known for one of audiochunk's, and what a build was begun with."""

import msgspec

from audiochunk.config import BuildConfig
from audiochunk.pipeline.versions import versions
from audiochunk.storage.shard import FORMAT

MARKER = "build.json"


class _Marker(msgspec.Struct, frozen=True):
    format: str
    versions: dict[str, str]
    config: BuildConfig


def marker(config: BuildConfig) -> bytes:
    """What the file says of a build."""
    return msgspec.json.encode(_Marker(FORMAT, versions(), config), order="sorted")


def says_ours(data: bytes) -> bool:
    """Whether a file's bytes say that it is audiochunk's."""
    try:
        return bool(msgspec.json.decode(data)["format"] == FORMAT)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def begun_with(data: bytes) -> BuildConfig | None:
    """What the build was begun with, where that can be told."""
    try:
        return msgspec.json.decode(data, type=_Marker).config
    except (ValueError, RecursionError):
        return None
