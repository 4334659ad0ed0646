"""Facts kept beside a dataset, so that they need not be collected again."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import xxhash

from audiochunk._version import __version__
from audiochunk.config import Encoding
from audiochunk.errors import OutputExistsError, reason
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.storage.files import open_plain, write_whole
from audiochunk.storage.manifest import Manifest
from audiochunk.tools.facts.copies import Streams
from audiochunk.tools.facts.facts import Facts, plain_column
from audiochunk.tools.facts.stats import ALL, columns_of, known
from audiochunk.tools.facts.survey import collect

_log = logging.getLogger("audiochunk")

_BEGINNING = b'{"format":"audiochunk facts",'


class _Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in the file.

    Attributes:
        audiochunk: version that found the facts: another one may mean something else by them.
        recordings: digest of the recordings table, as in the manifest.
        digest: xxh3-128 of the same with an empty digest.
    """

    format: Literal["audiochunk facts"] = "audiochunk facts"
    audiochunk: str
    dataset_id: str
    recordings: str
    stats: tuple[str, ...]
    splits: dict[str, int]
    columns: dict[str, list[int | float | str | None]]
    bins: list[int]
    entropy: float | None
    shared: list[list[int]]
    digest: str = ""

    def sealed(self) -> "_Kept":
        """The same with its digest."""
        bare = msgspec.structs.replace(self, digest="")
        return msgspec.structs.replace(bare, digest=xxhash.xxh3_128_hexdigest(msgspec.json.encode(bare)))


def cache_path(folder: str | os.PathLike[str]) -> Path:
    """Where the facts of a dataset are kept: beside its folder, in which there is nothing but the dataset."""
    whole = Path(os.path.abspath(folder))
    return whole.with_name(f"{whole.name}.facts.json")


def collect_cached(
    folder: str | os.PathLike[str],
    *,
    splits: Iterable[str] | None = None,
    stats: Iterable[str] = ALL,
    workers: int = 1,
    on_bytes: Callable[[int], None] | None = None,
) -> Facts:
    """What `collect` finds, from the file beside the dataset if it is there.

    A file that is damaged, of another dataset, of other splits or of another version of audiochunk is not believed,
    and written anew. Where it lacks a stat, all that it has and all that are asked for are collected again, so that it
    only grows. A file that does not begin as facts do is somebody else's, and never written over.

    Where the file cannot be written, the facts are as good.

    Raises:
        OutputExistsError: what is in the place of the file is somebody else's; nothing has been collected then.
        ConfigError, DatasetError, MachineError: as `collect` does.
    """
    asked = known(stats)
    names = sorted(set(Manifest.read(Path(folder)).splits if splits is None else splits))
    kept = _read(Path(folder), names)
    if kept is None or not set(asked) <= set(kept.stats):
        _refuse_to_overwrite(cache_path(folder))
        wanted = known([*asked, *(kept.stats if kept is not None else ())])
        kept = collect(folder, splits=names, stats=wanted, workers=workers, on_bytes=on_bytes)
        data = msgspec.json.encode(_kept(kept, Path(folder)).sealed()) + b"\n"
        try:
            write_whole(cache_path(folder), data, fsync=False)
        except OSError as error:
            _log.warning("%s: not kept: %s", cache_path(folder), reason(error))
    return kept.only(asked)


def _refuse_to_overwrite(path: Path) -> None:
    """Raise OutputExistsError unless there is nothing at `path`, not even bytes in a file, or what begins as facts."""
    try:
        with open_plain(path) as file:
            beginning = file.read(len(_BEGINNING))
    except FileNotFoundError:
        return
    except OSError as error:
        found = f"cannot be read: {reason(error)}"
    else:
        if beginning in (b"", _BEGINNING):
            return
        found = "is there, and is no file of facts"
    raise OutputExistsError(path, found, "move it away, or do without a cache")


def _kept(facts: Facts, folder: Path) -> _Kept:
    return _Kept(
        audiochunk=__version__,
        dataset_id=facts.dataset_id,
        recordings=Manifest.read(folder).recordings.digest,
        stats=facts.stats,
        splits=facts.splits,
        columns={name: plain_column(column) for name, column in facts.columns.items()},
        bins=facts.bins.tolist(),
        entropy=None if np.isnan(facts.entropy) else facts.entropy,
        shared=facts.shared.tolist(),
    )


def _read(folder: Path, splits: list[str]) -> Facts | None:
    """The facts that are kept, or None where there are none to believe."""
    try:
        with open_plain(cache_path(folder)) as file:
            kept = msgspec.json.decode(file.read(), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    manifest = Manifest.read(folder)
    about = __version__, manifest.dataset_id, manifest.recordings.digest, splits
    if (kept.audiochunk, kept.dataset_id, kept.recordings, list(kept.splits)) != about or kept != kept.sealed():
        return None
    if not splits or kept.splits != {name: total.chunks for name, total in manifest.splits.items() if name in splits}:
        return None
    streams = Streams.of([ChunkDataset(folder, name) for name in splits])
    try:
        return _facts(kept, manifest.encoding, streams)
    except (ValueError, TypeError, OverflowError):  # a ConfigError of a stat that there is not is a ValueError
        return None


def _facts(kept: _Kept, encoding: Encoding, streams: Streams) -> Facts:
    """What is kept as facts.

    Raises:
        ValueError, TypeError, OverflowError: it does not fit the streams, or itself.
    """
    n_rows, n_splits = len(streams.rows), len(kept.splits)
    dtypes = columns_of(known(kept.stats))
    if known(kept.stats) != kept.stats or kept.columns.keys() != dtypes.keys():
        raise ValueError("the columns are not those of the stats")
    columns = {name: _column(kept.columns[name], dtype) for name, dtype in dtypes.items()}
    if any(len(column) != n_rows for column in columns.values()):
        raise ValueError("the columns are not as long as the table")
    copies = columns.get("duplicate_of", np.zeros(0, np.int64))
    if ((copies < -1) | (copies >= n_rows)).any():
        raise ValueError("a copy is of no row")
    n_shared = n_splits if "duplicates" in kept.stats else 0
    if len(kept.bins) != (256 if "codes" in kept.stats else 0):
        raise ValueError("the bins are not 256")
    if [len(row) for row in kept.shared] != [n_shared] * n_shared:
        raise ValueError("what splits share is no square")
    return Facts(
        dataset_id=kept.dataset_id,
        encoding=encoding,
        stats=kept.stats,
        splits=kept.splits,
        rows=streams.rows,
        columns=columns,
        bins=np.array(kept.bins, np.int64),
        entropy=float("nan") if kept.entropy is None else kept.entropy,
        shared=np.array(kept.shared, np.int64).reshape(n_shared, n_shared),
    )


def _column(values: list[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """The values of a column, none of which is changed by its dtype.

    Raises:
        ValueError, TypeError, OverflowError: one would be.
    """
    column = np.array([np.nan if value is None else value for value in values], dtype)
    if plain_column(column) != values:
        raise ValueError("other values than a column of this dtype has")
    return column
