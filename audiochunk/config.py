"""What a dataset is made with: the encoding, and the options that choose and place recordings.

All of these values are frozen, check themselves when made (also when decoded from JSON), and are written into the
manifest as they are.
"""

import re
from typing import Any, Literal, TypeVar, get_args

import msgspec

from audiochunk.errors import ConfigError

Bits = Literal[8, 12, 16, 24]
Quantizer = Literal["linear", "mulaw"]
ByteOrder = Literal["little", "big"]
Layout = Literal["blocks", "mono", "split"]
Tail = Literal["drop", "pad"]
OnError = Literal["fail", "skip"]

MAX_BLOCK = 2**40  # longer than any recording, and no product with it overflows 64 bits
MAX_FRAME_BYTES = 2**30  # ZSTD_SEEKABLE_MAX_FRAME_DECOMPRESSED_SIZE

T = TypeVar("T", bound=msgspec.Struct)

_SIZE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"\s*(\d{1,15})\s*([kmg]i?)?b?\s*", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Bytes meant by "32MiB", "5M" or "4096". k, M, G are powers of 1000; Ki, Mi, Gi of 1024; a final B may be there.

    Raises:
        ConfigError: the text is not such a size.

    >>> parse_size("32MiB"), parse_size("5k"), parse_size("4096")
    (33554432, 5000, 4096)
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(f"size {text!r} is not a number of bytes like 4096, 500k, 32MiB or 1G")
    return int(match[1]) * _SIZE_UNITS[(match[2] or "").lower()]


class Encoding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How samples become the bytes of chunks. Equal encodings make equal bytes of equal samples.

    Attributes:
        bits: bits of a code; `0 <= code < 2**bits`.
        quantizer: "linear" (arithmetic shift) or "mulaw" (ITU-T G.711's curve in its continuous form, 8 to 16 bits).
        byte_order: of codes that take more than one byte. With "big" they are stored, and read back, as bytes.
        chunk_bytes: bytes of one chunk.
        block: samples of one channel that follow each other under layout "blocks"; "auto" is the block with which
            a chunk holds one block of every channel. None under the other layouts.
        layout: "blocks" interleaves channels block by block, "mono" takes the floor of their mean, "split" makes
            every channel a stream of its own.
        tail: what becomes of a stream's incomplete last chunk: "drop", or "pad" with the code of silence.

    Raises:
        ConfigError: a combination that has no meaning. (msgspec.ValidationError when decoded.)
    """

    bits: Bits = 8
    quantizer: Quantizer = "linear"
    byte_order: ByteOrder = "little"
    chunk_bytes: int = 2048
    block: int | Literal["auto"] | None = "auto"
    layout: Layout = "blocks"
    tail: Tail = "drop"

    def __post_init__(self) -> None:
        _require(self.bits, Bits, "bits")
        _require(self.quantizer, Quantizer, "quantizer")
        _require(self.byte_order, ByteOrder, "byte_order")
        _require(self.layout, Layout, "layout")
        _require(self.tail, Tail, "tail")
        if type(self.chunk_bytes) is not int or type(self.block) not in (int, str, type(None)):
            raise ConfigError(f"chunk_bytes and block are whole numbers, not {self.chunk_bytes} and {self.block}")
        if self.quantizer == "mulaw" and self.bits == 24:
            raise ConfigError("quantizer mulaw takes 8, 12 or 16 bits, not 24")
        if self.byte_order == "big" and self.bits == 8:
            raise ConfigError("byte order big means nothing at 8 bits: a code is one byte")
        if self.chunk_bytes < 1:
            raise ConfigError(f"chunk_bytes must be at least 1, not {self.chunk_bytes}")
        if self.chunk_bytes > MAX_FRAME_BYTES:
            raise ConfigError(f"chunk_bytes must be at most {MAX_FRAME_BYTES}, not {self.chunk_bytes}")
        width, rest = self.bytes_per_code, self.chunk_bytes % self.bytes_per_code
        if rest:
            below = self.chunk_bytes - rest
            near = f"{below} or {below + width}" if below else f"{width}"
            raise ConfigError(
                f"a chunk of {self.chunk_bytes} bytes does not hold whole {self.bits}-bit codes"
                f" of {width} bytes; the nearest sizes that do: {near}"
            )
        if self.layout == "blocks":
            if self.block is None or (isinstance(self.block, str) and self.block != "auto"):
                raise ConfigError(f"block must be at least 1 sample, or auto, not {self.block}")
            if self.block != "auto" and self.block < 1:
                raise ConfigError(f"block must be at least 1 sample, or auto, not {self.block}")
            if self.block != "auto" and self.block > MAX_BLOCK:
                raise ConfigError(f"block must be at most {MAX_BLOCK} samples, not {self.block}")
        elif self.block is not None:
            raise ConfigError(f"block means nothing with layout {self.layout}")

    @property
    def bytes_per_code(self) -> int:
        """Bytes that one code takes: 1, 2 or 3."""
        return (self.bits + 7) // 8

    @property
    def codes_per_chunk(self) -> int:
        """Codes, and so samples, in one chunk."""
        return self.chunk_bytes // self.bytes_per_code

    @property
    def stored_as(self) -> Literal["U8", "U16"]:
        """The safetensors dtype of the chunks: U16 where a code is one little-endian 16-bit word, else U8."""
        return "U16" if self.bytes_per_code == 2 and self.byte_order == "little" else "U8"

    @property
    def tokens_per_chunk(self) -> int:
        """Elements of one chunk as stored: bytes, or 16-bit codes."""
        return self.chunk_bytes // (2 if self.stored_as == "U16" else 1)

    @property
    def vocab_size(self) -> int:
        """Number of values that a stored element can take: 256 where it is a byte, else 2**bits."""
        return 256 if self.stored_as == "U8" else 1 << self.bits

    def block_for(self, channels: int) -> int:
        """Samples in a block of a recording with so many channels; with one channel, blocks do not matter."""
        if self.layout != "blocks" or channels == 1:
            return self.codes_per_chunk
        if self.block == "auto" or self.block is None:
            return max(1, self.codes_per_chunk // channels)
        return self.block

    def is_aligned(self, channels: int) -> bool:
        """Whether every chunk holds equally many whole blocks of every channel."""
        if self.layout != "blocks" or channels == 1:
            return True
        return self.codes_per_chunk % (self.block_for(channels) * channels) == 0

    def aligned_block(self, channels: int) -> int | None:
        """The largest aligned block for so many channels, or None where there is none."""
        block, rest = divmod(self.codes_per_chunk, channels)
        return block if not rest else None

    def streams(self, channels: int) -> tuple[int | None, ...]:
        """The streams of a recording: its channel numbers under layout "split", else one of all channels (None)."""
        return tuple(range(channels)) if self.layout == "split" else (None,)


def _require(value: object, choices: Any, name: str) -> None:
    if not any(type(value) is type(choice) and value == choice for choice in get_args(choices)):
        raise ConfigError(f"{name} is one of {', '.join(map(str, get_args(choices)))}, not {value!r}")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which recordings a dataset takes, and where it puts them.

    Attributes:
        split: None (everything is "train"), "train=0.98,val=0.02", "folders", or "file:" and the digest of a table.
        group_by: what never straddles two splits: "recording", "folder", or "folder:N".
        split_seed: seed of the splits by share, 0 to 2**64 - 1.
        shard_size: bytes of chunks in a shard, before compression.
        include: globs, one of which a recording's path must match; none means all.
        exclude: globs, none of which it may match.
        on_error: whether a recording that cannot be used ends the build ("fail") or is left out ("skip").
    """

    split: str | None = None
    group_by: str = "recording"
    split_seed: int = 0
    shard_size: int = 32 * 2**20
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        _require(self.on_error, OnError, "on_error")
        if not re.fullmatch(r"recording|folder(:[1-9]\d{0,3})?", self.group_by):
            raise ConfigError(f"group_by is recording, folder or folder:N with N from 1, not {self.group_by!r}")
        for text in (self.split or "", *self.include, *self.exclude):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ConfigError(f"{text!a} is not UTF-8; a glob can have ? in the place of a byte") from error
        if not 0 <= self.split_seed < 2**64:
            raise ConfigError(f"split_seed must lie in 0 to 2**64 - 1, not {self.split_seed}")
        if self.shard_size < 1:
            raise ConfigError(f"shard_size must be at least 1 byte, not {self.shard_size}")
        if self.shard_size >= 2**63:
            raise ConfigError(f"shard_size must be less than 2**63 bytes, not {self.shard_size}")


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
        return _checked(cls, given)


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
        return _checked(cls, plain)

    def differences(self, other: "BuildConfig") -> list[str]:
        """What is otherwise in another configuration, each as "option ours → theirs"."""
        have, want = self._flat(), other._flat()
        return [f"{key} {_shown(have[key])} → {_shown(want[key])}" for key in want if have[key] != want[key]]

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
            encoding=_checked(Encoding, encoding),
            options=_checked(Options, options),
            compression=compression,
        )


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['codec']}:{value['level']} with {value['chunks_per_frame']} chunks a frame"
    return "none" if value in (None, [], ()) else str(value)


def _checked(kind: type[T], fields: dict[str, Any]) -> T:
    """An instance whose field types were checked as well, which calling the class would not do."""
    try:
        return msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        sentence, _, field = str(error).partition(" - at `$.")
        raise ConfigError(f"{field.rstrip('`')}: {sentence}" if field else sentence) from error
