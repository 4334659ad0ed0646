"""Which recordings a dataset takes, and where it puts them."""

import re
from typing import Literal

import msgspec

from audiochunk.config.checks import require
from audiochunk.errors import ConfigError

OnError = Literal["fail", "skip"]

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


def size_in_words(n: int) -> str:
    """Bytes as `parse_size` takes them, in the largest unit of which they are a whole number.

    >>> size_in_words(33554432), size_in_words(5000), size_in_words(600)
    ('32MiB', '5kB', '600')
    """
    for unit in sorted(_SIZE_UNITS, key=lambda unit: -_SIZE_UNITS[unit]):
        if unit and n >= _SIZE_UNITS[unit] and n % _SIZE_UNITS[unit] == 0:
            return f"{n // _SIZE_UNITS[unit]}{unit if unit == 'k' else unit.capitalize()}B"
    return str(n)


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
        require(self.on_error, OnError, "on_error")
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
