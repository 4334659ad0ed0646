"""What a dataset is made with: the encoding, and the options that choose and place recordings.

All of these values are frozen, check themselves when made (also when decoded from JSON), and are written into the
manifest as they are.
"""

from audiochunk.config.build import BuildConfig
from audiochunk.config.compression import MAX_FRAME_BYTES, Compression
from audiochunk.config.encoding import MAX_BLOCK, Bits, ByteOrder, Encoding, Layout, Quantizer, Tail
from audiochunk.config.options import OnError, Options, parse_size

__all__ = [
    "MAX_BLOCK",
    "MAX_FRAME_BYTES",
    "Bits",
    "BuildConfig",
    "ByteOrder",
    "Compression",
    "Encoding",
    "Layout",
    "OnError",
    "Options",
    "Quantizer",
    "Tail",
    "parse_size",
]
