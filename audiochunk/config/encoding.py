"""How samples become the bytes of chunks."""

from typing import Literal

import msgspec

from audiochunk.config.checks import require
from audiochunk.config.compression import MAX_FRAME_BYTES
from audiochunk.errors import ConfigError

Bits = Literal[8, 12, 16, 24]
Quantizer = Literal["linear", "mulaw"]
ByteOrder = Literal["little", "big"]
Layout = Literal["blocks", "mono", "split"]
Tail = Literal["drop", "pad"]

MAX_BLOCK = 2**40  # longer than any recording, and no product with it overflows 64 bits


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
        require(self.bits, Bits, "bits")
        require(self.quantizer, Quantizer, "quantizer")
        require(self.byte_order, ByteOrder, "byte_order")
        require(self.layout, Layout, "layout")
        require(self.tail, Tail, "tail")
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
            size = "1 byte" if self.chunk_bytes == 1 else f"{self.chunk_bytes} bytes"
            raise ConfigError(
                f"a chunk of {size} does not hold whole {self.bits}-bit codes"
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
