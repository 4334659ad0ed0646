"""What lies at an output URL before a build, and what of it may go."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import msgspec

from audiochunk.errors import DatasetError, OutputDamagedError, OutputExistsError, StoreError, printable
from audiochunk.pipeline.failures import FAILURES
from audiochunk.pipeline.marker import MARKER, says_ours
from audiochunk.pipeline.requests import MOMENT_S, Requests
from audiochunk.pipeline.site import TOKEN
from audiochunk.pipeline.store.shards import record_name
from audiochunk.storage.files import TEMPORARY_ENDING
from audiochunk.storage.manifest import BESIDE, BUILD_FOLDER, MANIFEST, MAX_MANIFEST_BYTES, RECORDINGS, Manifest
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects
from audiochunk.storage.recordings import MAX_ROW_BYTES, RecordingRow
from audiochunk.storage.shard import FORMAT, HEAD_BYTES, is_shard_head, is_shard_name

_OVERWRITE = "choose another --out, or say --overwrite"
_ELSEWHERE = "choose another --out"
WORK = f"{BUILD_FOLDER}/"
_MOST_DIGITS = 18  # of a number in a name; more are not audiochunk's
_SHOWN = 3  # names in a message
_AT_ONCE = 32  # objects that are removed, or looked into


@dataclass(frozen=True, slots=True)
class Holding:
    """What there is at an output URL that a build has to know of.

    Attributes:
        out: the URL's objects.
        infos: those with names that audiochunk gives, or that lie in the build folder, by name.
        manifest: of a finished dataset, or None.
    """

    out: Objects
    infos: dict[str, ObjectInfo]
    manifest: Manifest | None = None

    @property
    def is_begun(self) -> bool:
        """Whether there is a build folder."""
        return any(name.startswith(WORK) for name in self.infos)

    def is_recorded(self, name: str) -> bool:
        """Whether a shard is of an unfinished build."""
        return is_shard_name(name) and record_name(name) in self.infos


def look(out: Objects, *, overwrite: bool) -> Holding:
    """What there is at an output URL, if a build may go there.

    Raises:
        OutputExistsError: it is what is not to be overwritten.
        StoreError: it could not be listed or read.
    """
    try:
        infos, some, n_others = _listed(out)
    except FileNotFoundError:
        raise StoreError(out.url, "there is no such bucket", "make it") from None
    found = Holding(out, infos)
    is_begun = found.is_begun
    if is_begun and not _is_ours(found):
        raise OutputExistsError(out.url_of(BUILD_FOLDER), "is not a build folder of audiochunk's", _ELSEWHERE)
    if MANIFEST in infos:
        return Holding(out, infos, _manifest(found, overwrite=overwrite))
    if RECORDINGS in infos and not _is_table(found):
        raise OutputExistsError(out.url, f"its {RECORDINGS} is not one of audiochunk's", _ELSEWHERE)
    if overwrite:
        return found
    foreign = [
        name
        for name in infos
        if not (name.startswith(WORK) or (is_begun and (name in (RECORDINGS, *BESIDE) or found.is_recorded(name))))
    ]
    if foreign or some:
        raise OutputExistsError(
            out.url, f"is not empty and holds no dataset: {_named(foreign + some, len(foreign) + n_others)}", _OVERWRITE
        )
    return found


def _listed(out: Objects) -> tuple[dict[str, ObjectInfo], list[str], int]:
    """What has a name that audiochunk gives; of all others only the first few, and how many there are."""
    infos, some, n_others = {}, list[str](), 0
    for info in out.list():
        name = info.name
        if name.startswith(WORK) or name in (MANIFEST, RECORDINGS, *BESIDE) or is_shard_name(name):
            infos[name] = info
            continue
        n_others += 1
        if len(some) < _SHOWN or name < some[-1]:
            some = sorted([*some, name])[:_SHOWN]
    return infos, some, n_others


def _named(names: list[str], n: int) -> str:
    shown = sorted(names)[:_SHOWN]
    more = f" and {n - len(shown)} more" if n > len(shown) else ""
    return ", ".join(printable(name) for name in shown) + more


def require_free(found: Holding, names: Iterable[str]) -> None:
    """See that nothing of somebody else's is where shards are to be.

    Raises:
        OutputExistsError: something is.
        StoreError: it could not be read.
    """
    there = [name for name in names if name in found.infos and not found.is_recorded(name)]
    foreign = sorted(set(there) - set(_shards(found, there)))
    if foreign:
        what = f"holds what is not audiochunk's where shards are to be: {_named(foreign, len(foreign))}"
        raise OutputExistsError(found.out.url, what, _ELSEWHERE)


def _is_ours(found: Holding) -> bool:
    if WORK + MARKER in found.infos:
        return says_ours(_head(found, WORK + MARKER, 2**16))
    # What a build or a worker left that came too late.
    return all(is_known(name.removeprefix(WORK)) for name in found.infos if name.startswith(WORK))


def _manifest(found: Holding, *, overwrite: bool) -> Manifest | None:
    url = found.out.url_of(MANIFEST)
    data = _head(found, MANIFEST, MAX_MANIFEST_BYTES + 1)
    try:
        return Manifest.decode(data, url)
    except DatasetError as error:
        if not overwrite:
            raise OutputDamagedError(found.out.url, f"holds a damaged dataset ({error})", _OVERWRITE) from error
        says_so = f'"format": "{FORMAT}"'.encode() in data[: 2**16]
        if not says_so and not _shards(found, found.infos):
            why = f"its {MANIFEST} is not one of audiochunk's"
            raise OutputExistsError(found.out.url, why, _ELSEWHERE) from error
        return None


def _is_table(found: Holding) -> bool:
    line = _head(found, RECORDINGS, MAX_ROW_BYTES).partition(b"\n")[0]
    try:
        msgspec.json.decode(line, type=RecordingRow)
    except ValueError:
        return False
    return True


def _head(found: Holding, name: str, most: int) -> bytes:
    try:
        size = min(most, found.infos[name].size)
        return found.out.read(name, 0, size) if size else b""
    except FileNotFoundError:
        raise StoreError(found.out.url_of(name), "is gone since it was listed", "build again") from None


def _shards(found: Holding, names: Iterable[str]) -> list[str]:
    """Names of the shards among them that audiochunk wrote."""
    of_shards = [name for name in names if is_shard_name(name)]
    with Requests(_AT_ONCE) as threads:
        heads = threads.map(lambda name: _head(found, name, HEAD_BYTES), of_shards)
        return [name for name, head in zip(of_shards, heads, strict=True) if is_shard_head(name, head)]


def check_shards(found: Holding, manifest: Manifest) -> None:
    """Look whether the shards of a finished dataset are there, with their sizes.

    Raises:
        OutputExistsError: one is not.
    """
    for shard in manifest.shards:
        info = found.infos.get(shard.name)
        if info is None or info.size != shard.bytes:
            what = "there is no such object" if info is None else f"{info.size} bytes, {shard.bytes} expected"
            raise OutputDamagedError(found.out.url, f"holds a damaged dataset ({shard.name}: {what})", _OVERWRITE)


def clear(found: Holding, check: Callable[[], None]) -> None:
    """Remove the dataset at a URL: its manifest first, then what else audiochunk wrote there.

    Finished shards of an unfinished build stay.

    Args:
        found: what is there.
        check: raises MachineError where another build has taken over.

    Raises:
        MachineError: another build has taken over.
        StoreError: something could not be removed.
    """
    if MANIFEST in found.infos:
        for name in (MANIFEST, RECORDINGS):
            remove_all(found.out, [name], check)
    remove_all(found.out, _shards(found, (name for name in found.infos if not found.is_recorded(name))), check)


def remove_work(out: Objects) -> None:
    """Remove a build folder: what audiochunk has put there.

    Raises:
        StoreError: something could not be removed.
    """
    # Tokens first: whoever is late must find theirs gone, and adds nothing after the second listing.
    remove_all(out, [info.name for info in out.list(WORK + TOKEN) if is_known(info.name.removeprefix(WORK))])
    names = [info.name for info in out.list(WORK)]
    remove_all(out, [name for name in names if is_known(name.removeprefix(WORK))])
    # The marker last: until then this is a build folder that the next build will know. So it stays one where somebody
    # else's is in it.
    if all(is_known(name.removeprefix(WORK)) or name == WORK + MARKER for name in names):
        out.remove(WORK + MARKER)


def is_known(name: str) -> bool:
    """Whether audiochunk puts an object of that name into a build folder."""
    return name == FAILURES or is_temporary(name) or is_shard_name(name.removesuffix(".json"))


def is_temporary(name: str) -> bool:
    """Whether a name in a build folder is one that audiochunk gives to what is not finished, or to a token."""
    return "/" not in name and TEMPORARY_ENDING.search(name, 1) is not None


def token_after(names: Iterable[str]) -> str:
    """What the name of a token begins with that comes after all others among names."""
    return f"{TOKEN}-{1 + max((token_order(name)[0] for name in names if name.startswith(WORK + TOKEN)), default=0)}"


def token_order(name: str) -> tuple[int, str]:
    """By what tokens come one after the other: how many were seen before it, then its name."""
    number = name.removeprefix(f"{WORK}{TOKEN}-").partition(".")[0]
    return int(number) if number.isdecimal() and number.isascii() and len(number) < _MOST_DIGITS else 0, name


def remove_all(out: Objects, names: Iterable[str], check: Callable[[], None] = lambda: None) -> None:
    """Remove objects, several at a time.

    Args:
        out: where they are.
        names: of them.
        check: called before each; what it raises ends this.

    Raises:
        StoreError: one could not be removed.
    """

    def remove(name: str) -> None:
        check()
        out.remove(name)

    left = iter(names)
    with Requests(_AT_ONCE, moment_s=MOMENT_S) as threads:
        while some := list(islice(left, 32 * _AT_ONCE)):
            for _ in threads.map(remove, some):
                pass
