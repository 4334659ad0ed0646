"""How shards are compressed."""

import re
from typing import Any, Literal

import msgspec

from audiochunk.config.checks import checked
from audiochunk.errors import ConfigError

MAX_FRAME_BYTES = 2**30  # ZSTD_SEEKABLE_MAX_FRAME_DECOMPRESSED_SIZE


class Compression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How shards are compressed.

    Attributes:
        codec: always "zstd", in its seekable format.
        level: 1 to 22.
        chunks_per_frame: chunks that are compressed together; reading one decodes them all.
    """

    codec: Literal["zstd"] = "zstd"
    level: int = 3
    chunks_per_frame: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 22:
            raise ConfigError(f"zstd levels are 1 to 22, not {self.level}")
        if not 1 <= self.chunks_per_frame <= 2**16:
            raise ConfigError(f"chunks_per_frame must lie in 1 to 65536, not {self.chunks_per_frame}")

    @classmethod
    def parse(cls, text: str, *, chunks_per_frame: int | None = None) -> "Compression | None":
        """What "none", "zstd" or "zstd:LEVEL" means.

        Raises:
            ConfigError: another text, a level out of range, or chunks_per_frame without compression.

        >>> Compression.parse("zstd:9")
        Compression(codec='zstd', level=9, chunks_per_frame=8)
        """
        if text == "none":
            if chunks_per_frame is not None:
                raise ConfigError("chunks_per_frame means nothing without compression")
            return None
        match = re.fullmatch(r"zstd(?::(\d{1,3}))?", text) if isinstance(text, str) else None
        if match is None:
            raise ConfigError(f"compression is none, zstd or zstd:LEVEL, not {text!r}")
        given: dict[str, Any] = {}
        if match[1] is not None:
            given["level"] = int(match[1])
        if chunks_per_frame is not None:
            given["chunks_per_frame"] = chunks_per_frame
        return checked(cls, given)
