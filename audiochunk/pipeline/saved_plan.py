"""A plan that is kept in the build folder, so that other processes and machines can build its shards."""

import os
from fractions import Fraction
from pathlib import Path

import msgspec
import xxhash

from audiochunk.config import BuildConfig
from audiochunk.errors import InputError, MachineError
from audiochunk.pipeline.plan import Plan, plan
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.versions import differences, versions
from audiochunk.storage.files import open_plain, write_whole

PLAN = "plan.msgpack"
SEALING = "sealing.msgpack"  # the plan while it is sealed: tasks read only the other name
_DIGEST_BYTES = 16
_NOTHING = "nothing is planned here: run `audiochunk plan` first"


class SavedPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plan follows from.

    Attributes:
        versions: of what made it, and must make the shards.
        root: the input folder, absolute.
        config: of the dataset.
        asked: splits that exist even if they get nothing, and the shares asked for as "n/d".
        recordings: in path order.
        names: of splits.
        splits: of each recording, the number of its split's name.
        token: random, so that no two plans that were written are the same file.
    """

    versions: dict[str, str]
    root: bytes
    config: BuildConfig
    asked: dict[str, str | None]
    recordings: tuple[Scanned, ...]
    names: tuple[str, ...]
    splits: tuple[int, ...]
    token: bytes

    @classmethod
    def of(cls, planned: Plan, root: bytes) -> "SavedPlan":
        """What a plan of the recordings in the folder `root` is saved as."""
        numbers = {name: number for number, name in enumerate(planned.names)}
        asked = {name: None if share is None else str(share) for name, share in planned.asked.items()}
        splits = tuple(numbers[split] for split in planned.splits)
        return cls(versions(), root, planned.config, asked, planned.recordings, planned.names, splits, b"")

    def plan(self) -> Plan:
        """The plan."""
        asked = {name: None if share is None else Fraction(share) for name, share in self.asked.items()}
        splits = [self.names[number] for number in self.splits]
        return plan(self.recordings, splits, asked=asked, config=self.config)

    def write(self, work: Path) -> None:
        """Keep the plan in a build folder, durably. Tasks that read another before name no shard any more.

        Raises:
            OSError: it could not be written.
        """
        data = msgspec.msgpack.encode(msgspec.structs.replace(self, token=os.urandom(16)))
        write_whole(work / PLAN, xxhash.xxh3_128_digest(data) + data, fsync=True)

    @classmethod
    def read(cls, work: Path, *, name: str = PLAN) -> "SavedPlan":
        """The plan that is kept in a build folder, under the name for tasks or that for a seal.

        Raises:
            InputError: there is none, or it is damaged.
            MachineError: it was made by other versions than those here.
            OSError: it could not be read.
        """
        try:
            with open_plain(work / name) as file:
                data = file.read()
        except (FileNotFoundError, NotADirectoryError) as error:
            what = "a seal has begun; only `audiochunk seal` goes on" if (work / SEALING).exists() else _NOTHING
            raise InputError(work.parent, what) from error
        body = data[_DIGEST_BYTES:]
        if xxhash.xxh3_128_digest(body) != data[:_DIGEST_BYTES]:
            raise InputError(work / PLAN, "the plan is damaged: run `audiochunk plan` again")
        try:
            made_by = msgspec.msgpack.decode(body, type=_Versions).versions
            _check_versions(made_by)
            return msgspec.msgpack.decode(body, type=cls)
        except msgspec.DecodeError as error:
            raise InputError(work / PLAN, f"not a plan ({error}): run `audiochunk plan` again") from error


def digest_of_plan(work: Path) -> bytes:
    """What tells the plan in a build folder from every other; empty where there is none."""
    try:
        with open_plain(work / PLAN) as file:
            return file.read(_DIGEST_BYTES)
    except OSError:
        return b""


class _Versions(msgspec.Struct):
    versions: dict[str, str]


def _check_versions(made_by: dict[str, str]) -> None:
    """Raise MachineError where a plan was made by other versions than those here, which might make other bytes."""
    problem = differences(versions(), made_by)
    if problem is not None:
        raise MachineError(f"this machine {problem}")
