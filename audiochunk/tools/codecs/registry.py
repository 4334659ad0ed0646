"""The codecs that sounds are measured with, by name."""

from audiochunk.tools.codecs import commands, octets
from audiochunk.tools.codecs.codec import Codec
from audiochunk.tools.codecs.commands import CommandCodec
from audiochunk.tools.codecs.flac import FlacCodec
from audiochunk.tools.codecs.lpc_rice import LpcRice
from audiochunk.tools.codecs.octets import OctetCodec

_ALL: list[Codec] = [
    OctetCodec("gzip-9", octets.gzip_9, octets.gunzip, octets.zlib_version),
    OctetCodec("bz2", octets.bzip2, octets.bunzip2, octets.python_version),
    OctetCodec("lzma", octets.xz, octets.unxz, octets.python_version),
    OctetCodec("zstd-3", octets.zstd_3, octets.unzstd, octets.zstd_version),
    OctetCodec("zstd-19", octets.zstd_19, octets.unzstd, octets.zstd_version),
    OctetCodec("brotli", octets.brotli, octets.unbrotli, octets.brotli_version, is_there=octets.has_brotli),
    FlacCodec("flac-5", level=5),
    FlacCodec("flac-8", level=8),
    CommandCodec("wavpack", commands.wavpack, commands.wvunpack, suffix=".wv", unsigned_8=True, package="wavpack"),
    CommandCodec("flac-cli-8", commands.flac_8, commands.unflac, suffix=".flac", unsigned_8=False, package="flac"),
    LpcRice("lpc-rice"),
]
CODECS: dict[str, Codec] = {codec.name: codec for codec in _ALL}
