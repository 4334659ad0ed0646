"""All that a dataset is made with, in one."""

from collections.abc import Collection
from typing import Any

import msgspec

from audiochunk.config.checks import checked, require_known
from audiochunk.config.compression import MAX_FRAME_BYTES, Compression
from audiochunk.config.encoding import Encoding
from audiochunk.config.options import Options, parse_size, size_in_words
from audiochunk.errors import ConfigError

#: All of them, as on the command line; "_" is "-" there.
OPTIONS = (*Encoding.__struct_fields__, *Options.__struct_fields__, "compress", "chunks_per_frame")


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides the bytes of a dataset, besides the recordings."""

    encoding: Encoding = Encoding()
    options: Options = Options()
    compression: Compression | None = None

    def __post_init__(self) -> None:
        if self.compression is not None:
            frame = self.compression.chunks_per_frame * self.encoding.chunk_bytes
            if frame > MAX_FRAME_BYTES:
                raise ConfigError(f"a zstd frame of {frame:,} bytes; seekable ones have at most {MAX_FRAME_BYTES:,}")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, which JSON can hold."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "BuildConfig":
        """The configuration that `to_dict` gave.

        Raises:
            ConfigError: it is not one.
        """
        return checked(cls, plain)

    def differences(self, other: "BuildConfig", *, but: Collection[str] = ()) -> list[str]:
        """What is otherwise in another configuration, each as "--option ours → theirs"; of options not in `but`."""
        have, want = self._flat(), other._flat()
        return [
            f"--{key.replace('_', '-')} {_shown(key, have[key])} → {_shown(key, want[key])}"
            for key in want
            if have[key] != want[key] and key not in but
        ]

    def altered(self, **options: Any) -> "BuildConfig":
        """The same with other options, given as for `make`.

        Raises:
            ConfigError: as `make` does.
        """
        flat = {**msgspec.structs.asdict(self.encoding), **msgspec.structs.asdict(self.options)}
        if self.compression is not None and options.get("compress") != "none":
            flat["compress"] = f"{self.compression.codec}:{self.compression.level}"
            flat["chunks_per_frame"] = self.compression.chunks_per_frame
        return BuildConfig.make(**(flat | options))

    def _flat(self) -> dict[str, Any]:
        parts = self.to_dict()
        return {**parts["encoding"], **parts["options"], "compress": parts["compression"]}

    @classmethod
    def make(cls, **options: Any) -> "BuildConfig":
        """A configuration from one flat set of options, named as on the command line.

        Args:
            options: fields of `Encoding` and `Options`; `compress` ("none", "zstd", "zstd:9") and `chunks_per_frame`;
                `shard_size` also as text ("32MiB").

        Raises:
            ConfigError: an unknown option, a value of the wrong type or out of range, or a senseless combination.

        >>> BuildConfig.make(bits=16, layout="mono").encoding.block is None
        True
        """
        require_known(options, OPTIONS)
        compression = Compression.parse(
            options.pop("compress", "none"), chunks_per_frame=options.pop("chunks_per_frame", None)
        )
        for globs in ("include", "exclude"):
            if isinstance(options.get(globs), str):
                options[globs] = [options[globs]]
        if isinstance(options.get("shard_size"), str):
            options["shard_size"] = parse_size(options["shard_size"])
        encoding = {k: options.pop(k) for k in Encoding.__struct_fields__ if k in options}
        # "auto" is what a block is when nobody asks for one: fine with every layout.
        if encoding.get("layout", "blocks") != "blocks" and encoding.get("block", "auto") == "auto":
            encoding["block"] = None
        return cls(
            encoding=checked(Encoding, encoding),
            options=checked(Options, options),
            compression=compression,
        )


def _shown(key: str, value: object) -> str:
    """A value as one would type it."""
    if isinstance(value, dict):
        return f"{value['codec']}:{value['level']} with {value['chunks_per_frame']} chunks a frame"
    if isinstance(value, list) and value:
        return ", ".join(map(str, value))
    if key == "shard_size" and isinstance(value, int):
        return size_in_words(value)
    return "none" if value in (None, [], ()) else str(value)
