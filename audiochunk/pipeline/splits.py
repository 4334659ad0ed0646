"""Which split a recording belongs to. It depends on the recording's own path only, never on what else is there."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import xxhash

from audiochunk.config import Options
from audiochunk.errors import ConfigError, InputError, printable, reason
from audiochunk.storage.shard import SPLIT_NAME

DEFAULT_SPLIT = "train"
FOLDERS = "folders"
FILE_PREFIX = "file:"


@dataclass(frozen=True, slots=True)
class Splitter:
    """A rule that puts recordings into splits.

    Attributes:
        assign: the split of a recording, by its relative path, or None where the rule names none.
        shares: what was asked for, as fractions of 1 by split name; the names alone (None) where no share was.
    """

    assign: Callable[[bytes], str | None]
    shares: dict[str, Fraction | None]


def make_splitter(options: Options, table: dict[bytes, str] | None = None) -> Splitter:
    """The rule that the options describe.

    Args:
        options: `split`, `group_by` and `split_seed` count.
        table: what `read_split_file` gave, where `split` is "file:…".

    Raises:
        ConfigError: `split` is no such rule.
    """
    spec = options.split
    if table is not None:
        return Splitter(_by_table(table), dict.fromkeys(sorted(set(table.values()))))
    if spec is None:
        return Splitter(lambda _: DEFAULT_SPLIT, {DEFAULT_SPLIT: None})
    if spec == FOLDERS:
        return Splitter(_top_folder, {})
    shares = parse_shares(spec)
    return Splitter(_by_share(shares, options), dict(shares))


def check_split(options: Options) -> None:
    """See whether a rule can be followed, before anything is looked at; a table's name can be any.

    Raises:
        ConfigError: it is no rule.
    """
    if not (options.split or "").startswith(FILE_PREFIX):
        make_splitter(options)


def parse_shares(spec: str) -> dict[str, Fraction]:
    """Shares by split, as fractions of their sum, in the order given.

    Raises:
        ConfigError: the text is not of the form "train=0.98,val=0.02".

    >>> parse_shares("train=3,val=1")
    {'train': Fraction(3, 4), 'val': Fraction(1, 4)}
    """
    shares: dict[str, Fraction] = {}
    for item in spec.split(","):
        name, _, share = (part.strip() for part in item.partition("="))
        if not re.fullmatch(r"\d{1,15}(\.\d{1,15})?|\.\d{1,15}", share, re.ASCII):
            raise ConfigError(
                f"split is a list like train=0.98,val=0.02, or the word folders; {item!r} is no such item"
            )
        if name in shares:
            raise ConfigError(f"split {name!r} is given twice")
        check_split_name(name)
        shares[name] = Fraction(share)
    total = sum(shares.values())
    if not total:
        raise ConfigError("the shares of the splits add up to 0")
    return {name: share / total for name, share in shares.items()}


def sum_of_shares(spec: str) -> Fraction:
    """The sum of the shares in a text that `parse_shares` takes; below 1, it may not be what was meant."""
    return sum((Fraction(item.partition("=")[2].strip()) for item in spec.split(",")), Fraction(0))


def check_split_name(name: str) -> None:
    """Split names become parts of file names.

    Raises:
        ConfigError: this one cannot.
    """
    if not SPLIT_NAME.fullmatch(name):
        raise ConfigError(
            f"split name {name!r}: taken are up to 64 letters, digits, '_', '-' and '.', not beginning with '-' or '.'"
        )


def group_of(path: bytes, group_by: str) -> bytes:
    """The bytes by which a recording is placed: all recordings with the same ones go together.

    >>> group_of(b"speaker1/album/a.wav", "folder:1")
    b'speaker1'
    """
    if group_by == "recording":
        return path
    folders = path.split(b"/")[:-1]
    _, _, n = group_by.partition(":")
    return b"/".join(folders[: int(n)] if n else folders)


def _by_share(shares: dict[str, Fraction], options: Options) -> Callable[[bytes], str]:
    """By xxh3_64(seed as 8 little-endian bytes ‖ group) / 2**64 among the cumulative shares."""
    seed = options.split_seed.to_bytes(8, "little")
    bounds: list[tuple[Fraction, str]] = []
    total = Fraction(0)
    for name, share in shares.items():
        total += share
        bounds.append((total * 2**64, name))

    def assign(path: bytes) -> str:
        drawn = xxhash.xxh3_64_intdigest(seed + group_of(path, options.group_by))
        return next(name for bound, name in bounds if drawn < bound)

    return assign


def _top_folder(path: bytes) -> str | None:
    folder, slash, _ = path.partition(b"/")
    return os.fsdecode(folder) if slash else None


def _by_table(table: dict[bytes, str]) -> Callable[[bytes], str | None]:
    def assign(path: bytes) -> str | None:
        at = path
        while at:
            if at in table:
                return table[at]
            at = at.rpartition(b"/")[0]
        return table.get(b".")

    return assign


def read_split_file(file: Path) -> dict[bytes, str]:
    """A table of path or folder, tab, split; "." names the input folder itself. The longest path that fits counts.

    Raises:
        InputError: the file cannot be read, or a line is not of that form.
    """
    table: dict[bytes, str] = {}
    names: dict[str, str] = {}  # one string for all lines of a split: there may be millions of lines
    for number, line in enumerate(_lines(file), 1):
        path, tab, split = line.rpartition(b"\t")
        if not line.strip() or (line.startswith(b"#") and not tab):
            continue
        path = path.rstrip(b"/")
        path = path if path == b"." else path.removeprefix(b"./")
        name = os.fsdecode(split.strip())
        if not tab or not path or path in table:
            what = "path given twice" if tab and path else "expected a path, a tab and the name of a split"
            raise InputError(str(file), f"line {number}: {what}: {printable(line)}")
        try:
            check_split_name(name)
        except ConfigError as error:
            raise InputError(str(file), f"line {number}: {error}") from error
        table[path] = names.setdefault(name, name)
    return table


def _lines(file: Path) -> Iterator[bytes]:
    """The lines of a text file, whatever ends them, one in memory at a time."""
    try:
        with file.open("rb") as opened:
            if opened.peek(3)[:3] == b"\xef\xbb\xbf":
                opened.read(3)
            for line in opened:
                yield from line.splitlines()
    except OSError as error:
        raise InputError(str(file), reason(error)) from error


class UnusedEntries:
    """Entries of a split table that no recording is found by; "." needs none.

    Args:
        table: what `read_split_file` gave.

    Attributes:
        paths: of the entries that none was found by yet.
    """

    def __init__(self, table: dict[bytes, str]) -> None:
        self.table = table
        self.paths = set(table)
        self.paths.discard(b".")

    def use(self, path: bytes) -> None:
        """Count the entry that a recording is found by as used."""
        if self.paths:
            while path and path not in self.table:
                path = path.rpartition(b"/")[0]
            self.paths.discard(path)


def table_name(table: dict[bytes, str]) -> str:
    """What the options say of a split table: "file:" and the xxh3-128 of its lines in order."""
    digest = xxhash.xxh3_128()
    for path in sorted(table):
        digest.update(path + b"\t" + table[path].encode() + b"\n")
    return f"{FILE_PREFIX}{digest.hexdigest()}"


def in_no_split(some: Sequence[bytes], n: int, options: Options) -> str:
    """The sentence for `n` recordings, `some` of which are to be named, that a rule put nowhere."""
    named = ", ".join(printable(path) for path in some)
    more = f" and {n - len(some):,} more" if n > len(some) else ""
    advice = (
        "with --split folders every recording lies in a folder named after its split"
        if options.split == FOLDERS
        else "a line with '.' as its path takes all that no other line names"
    )
    return f"in no split: {named}{more}; {advice}"
