"""A plan that is kept in the build folder, so that other processes and machines can build its shards."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import msgspec
import xxhash

from audiochunk.config import BuildConfig
from audiochunk.errors import InputError, MachineError
from audiochunk.pipeline.catalog import Catalog
from audiochunk.pipeline.pages import PageIndex, pack_numbers, unpack_numbers
from audiochunk.pipeline.plan import Layout, Plan
from audiochunk.pipeline.versions import differences, versions
from audiochunk.storage.files import fsync_path, open_plain, temporary, write_all
from audiochunk.storage.manifest import PLAN, SEALING
from audiochunk.storage.shard import SPLIT_NAME

_BEGIN = struct.Struct("<16sQ")
_NOTHING = "nothing is planned here: run `audiochunk plan` first"


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a saved plan says of itself; the recordings lie before it in the file.

    Attributes:
        versions: of what made it, and must make the shards.
        root: the input folder, absolute.
        config: of the dataset.
        asked: splits that exist even if they get nothing, and the shares asked for as "n/d".
        layouts: of the splits, by name: chunks, and where shards begin.
        recordings: how many there are.
        names: of splits, as the recordings number them.
        pages: where the recordings lie.
        token: random, so that no two plans that were written are the same file.
    """

    versions: dict[str, str]
    root: bytes
    config: BuildConfig
    asked: dict[str, str | None]
    layouts: dict[str, tuple[int, bytes]]
    recordings: int
    names: tuple[str, ...]
    pages: PageIndex
    token: bytes


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan in a file, from which a task reads only what its shards need.

    The file begins with the xxh3-128 of its end, and where in it that end begins: what the plan says of itself. Between
    them lie the recordings.

    Attributes:
        plan: the plan.
        root: the input folder, absolute.
    """

    plan: Plan
    root: bytes

    def write(self, work: Path) -> None:
        """Keep the plan in a build folder, durably. Tasks that read another before name no shard any more.

        Raises:
            OSError: it could not be written.
        """
        planned = self.plan
        scratch = temporary(work / PLAN)
        try:
            with scratch.open("x+b", buffering=0) as file:
                pages, end = planned.recordings.write(file, _BEGIN.size)
                head = _Head(
                    versions(),
                    self.root,
                    planned.config,
                    {name: None if share is None else str(share) for name, share in planned.asked.items()},
                    {name: (layout.chunks, pack_numbers(layout.starts)) for name, layout in planned.layouts.items()},
                    len(planned.recordings),
                    tuple(planned.recordings.names),
                    pages,
                    os.urandom(16),
                )
                data = msgspec.msgpack.encode(head)
                file.seek(end)
                write_all(file.fileno(), data)
                file.seek(0)
                write_all(file.fileno(), _BEGIN.pack(xxhash.xxh3_128_digest(data), end))
                os.fsync(file.fileno())
            scratch.replace(work / PLAN)
            fsync_path(work)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise

    @classmethod
    @contextmanager
    def opened(cls, work: Path, *, name: str = PLAN) -> "Iterator[SavedPlan]":
        """The plan that is kept in a build folder, under the name for tasks or that for a seal.

        Raises:
            InputError: there is none, or it is damaged.
            MachineError: it was made by other versions than those here.
            OSError: it could not be read.
        """
        try:
            file = open_plain(work / name)
        except (FileNotFoundError, NotADirectoryError) as error:
            what = "a seal has begun; only `audiochunk seal` goes on" if (work / SEALING).exists() else _NOTHING
            raise InputError(work.parent, what) from error
        with file:
            begin = file.read(_BEGIN.size)
            digest, end = _BEGIN.unpack(begin.ljust(_BEGIN.size, b"\0"))
            size = os.fstat(file.fileno()).st_size
            file.seek(min(end, size))
            data = file.read()
            if xxhash.xxh3_128_digest(data) != digest:
                raise InputError(work / name, "the plan is damaged: run `audiochunk plan` again")
            try:
                _check_versions(msgspec.msgpack.decode(data, type=_Versions).versions)
                head = msgspec.msgpack.decode(data, type=_Head)
                planned = _plan_of(head, file)
            except (ValueError, ArithmeticError) as error:  # DecodeError is a ValueError
                raise InputError(work / name, f"not a plan ({error}): run `audiochunk plan` again") from error
            yield cls(planned, head.root)


def _plan_of(head: _Head, file: IO[bytes]) -> Plan:
    """The plan of which `head` is the head.

    Raises:
        ValueError: it is none.
    """
    for name in head.layouts:
        if SPLIT_NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} cannot be the name of a split")
    if unknown := set(head.names) - head.layouts.keys():
        raise ValueError(f"recordings of splits that have no shards: {sorted(unknown)}")
    catalog = Catalog.read(file, head.pages, recordings=head.recordings, names=head.names)
    asked = {name: None if share is None else Fraction(share) for name, share in head.asked.items()}
    layouts = {
        name: Layout(chunks=chunks, starts=unpack_numbers(starts)) for name, (chunks, starts) in head.layouts.items()
    }
    for layout in layouts.values():
        layout.check(head.config, recordings=head.recordings)
    return Plan(head.config, catalog, asked, layouts)


def digest_of_plan(work: Path) -> bytes:
    """What tells the plan in a build folder from every other; empty where there is none."""
    try:
        with open_plain(work / PLAN) as file:
            return file.read(_BEGIN.size)[:16]
    except OSError:
        return b""


class _Versions(msgspec.Struct):
    versions: dict[str, str]


def _check_versions(made_by: dict[str, str]) -> None:
    """Raise MachineError where a plan was made by other versions than those here, which might make other bytes."""
    problem = differences(versions(), made_by)
    if problem is not None:
        raise MachineError(f"this machine {problem}")
