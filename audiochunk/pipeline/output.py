"""What lies in an output folder before a build, and what of it may go."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from audiochunk.config import BuildConfig
from audiochunk.errors import DatasetError, NoDatasetError, OutputDamagedError, OutputExistsError, printable, reason
from audiochunk.pipeline import build_folder
from audiochunk.pipeline.earlier import Earlier
from audiochunk.pipeline.inputs import appended_to
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.splits import FILE_PREFIX
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.files import fsync_path, open_plain
from audiochunk.storage.manifest import BESIDE, BUILD_FOLDER, MANIFEST, RECORDINGS, Manifest
from audiochunk.storage.recordings import RecordingRow
from audiochunk.storage.shard import FORMAT, is_shard_file

_OVERWRITE = "choose another --out, or say --overwrite"
_ELSEWHERE = "choose another --out"
_NOTHING_TO_ADD_TO = "there is no dataset to add recordings to; build it without --append"


def look(folder: Path, *, overwrite: bool) -> Manifest | None:
    """The manifest of a finished dataset in an output folder, if there is one and a build may go there.

    Raises:
        OutputExistsError: it holds what is not to be overwritten.
        OSError: it could not be listed.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(str(folder), "is a file, not a folder", _ELSEWHERE)
    names = sorted(os.listdir(folder)) if folder.exists() else []
    work = folder / BUILD_FOLDER
    unfinished = BUILD_FOLDER in names
    if unfinished and not build_folder.is_ours(work):
        raise OutputExistsError(str(work), "is not a build folder of audiochunk's", _ELSEWHERE)
    if MANIFEST in names:
        return _manifest(folder, overwrite=overwrite)
    if RECORDINGS in names and not _is_table(folder / RECORDINGS):
        raise OutputExistsError(str(folder), f"its {RECORDINGS} is not one of audiochunk's", _ELSEWHERE)
    foreign = [
        name
        for name in names
        if not unfinished
        or not (
            name in (BUILD_FOLDER, RECORDINGS, *BESIDE)
            or build_folder.is_sealed(folder, name)
            or build_folder.is_of_seal(name)
        )
    ]
    if foreign and not overwrite:
        some = ", ".join(printable(name) for name in foreign[:3])
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise OutputExistsError(str(folder), f"is not empty and holds no dataset: {some}{more}", _OVERWRITE)
    return None


def _manifest(folder: Path, *, overwrite: bool) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except DatasetError as error:
        if not overwrite:
            raise OutputDamagedError(str(folder), f"holds a damaged dataset ({error})", _OVERWRITE) from error
        says_so = False
        with suppress(OSError), open_plain(folder / MANIFEST) as file:
            says_so = f'"format": "{FORMAT}"'.encode() in file.read(2**16)
        # A loss of power may leave an empty manifest; the shards beside it are ours all the same.
        if not says_so and not any(is_shard_file(folder / name) for name in os.listdir(folder)):
            raise OutputExistsError(str(folder), f"its {MANIFEST} is not one of audiochunk's", _ELSEWHERE) from error
        return None


def _is_table(path: Path) -> bool:
    try:
        with open_plain(path) as file:
            msgspec.json.decode(file.readline(2**20), type=RecordingRow)
    except (OSError, ValueError):
        return False
    return True


def check_shards(manifest: Manifest, folder: Path) -> None:
    """Look whether the shards of a finished dataset are there, with their sizes.

    Raises:
        OutputDamagedError: one is not.
    """
    for shard in manifest.shards:
        try:
            size = (folder / shard.name).stat().st_size
            found = "" if size == shard.bytes else f"{size} bytes, {shard.bytes} expected"
        except OSError as error:
            found = reason(error)
        if found:
            raise OutputDamagedError(str(folder), f"holds a damaged dataset ({shard.name}: {found})", _OVERWRITE)


def config_of(out: str | os.PathLike[str], options: Mapping[str, Any]) -> BuildConfig:
    """What recordings are added to a dataset with: what it was made with, and options that are given nevertheless.

    Args:
        out: folder of the dataset.
        options: as for `BuildConfig.make`.

    Raises:
        ConfigError: the options do not go together.
        NoDatasetError: there is no dataset.
        DatasetError: it is damaged.
    """
    try:
        manifest = Manifest.read(appended_to(out))
    except NoDatasetError as error:
        raise NoDatasetError(out, _NOTHING_TO_ADD_TO) from error
    return manifest.config.altered(**options)


def require_dataset(manifest: Manifest | None, folder: Path, config: BuildConfig) -> Manifest:
    """The manifest of the dataset that recordings are to be added to.

    Args:
        manifest: that was found, if one was.
        folder: where.
        config: asked for. That recordings may fail from now on is no contradiction, nor is another table of splits.

    Raises:
        NoDatasetError: there is none.
        OutputExistsError: it was made with other options.
    """
    if manifest is None:
        raise NoDatasetError(folder, _NOTHING_TO_ADD_TO)
    may_differ = ["on_error"] if manifest.options.on_error == "fail" else []
    if all((options.split or "").startswith(FILE_PREFIX) for options in (manifest.options, config.options)):
        may_differ.append("split")
    _check_options(manifest, folder, config, but=may_differ, advice="leave them out, or choose another --out")
    return manifest


def check_options(manifest: Manifest, folder: Path | str, config: BuildConfig) -> None:
    """Compare the options of a finished dataset with those asked for.

    Args:
        manifest: of the dataset.
        folder: where it lies, or its URL: then nothing can be added to it.
        config: asked for.

    Raises:
        OutputExistsError: they differ; says which.
    """
    # Whether there is anything to be added, the scan would tell, which may take hours.
    adds = "say --append to add recordings that are new with the options that it has, "
    _check_options(manifest, folder, config, advice=(adds if isinstance(folder, Path) else "") + _OVERWRITE)


def _check_options(
    manifest: Manifest, folder: Path | str, config: BuildConfig, *, but: Sequence[str] = (), advice: str
) -> None:
    differing = manifest.config.differences(config, but=but)
    if differing:
        raise OutputExistsError(
            str(folder), f"holds a dataset made with other options ({', '.join(differing)})", advice
        )


def check_recordings(
    manifest: Manifest, folder: Path, planned: Plan, watcher: Watcher, *, shown: str | None = None
) -> None:
    """Compare paths, sizes and headers of a finished dataset's recordings with those of a plan.

    Args:
        manifest: of the dataset.
        folder: where its recordings table lies.
        planned: the plan.
        watcher: told of the rows of the dataset's table.
        shown: URL of the dataset, where the table is a copy: then nothing can be added to it.

    Raises:
        OutputExistsError: they differ; says how many and names one.
        DatasetError: the recordings table is damaged.
        OSError: it could not be read.
    """

    earlier = Earlier(folder, manifest, watcher)
    for recording, split in planned.recordings.placed():
        earlier.is_new(recording, split)
    comparison = earlier.compared()
    if different := str(comparison):
        adds = comparison.new.n and not comparison.not_as_before and shown is None
        advice = f"say --append to add them, {_OVERWRITE}" if adds else _OVERWRITE
        raise OutputExistsError(
            shown or str(folder), f"holds a dataset made from other recordings ({different})", advice
        )


def clear(folder: Path, *, fsync: bool) -> None:
    """Remove the dataset in a folder: its manifest first, durably, then what else audiochunk wrote there.

    The caller holds the folder's lock. Finished shards of an unfinished build stay.
    """
    manifest = folder / MANIFEST
    if manifest.exists():
        manifest.unlink()
        if fsync:
            fsync_path(folder)
        (folder / RECORDINGS).unlink(missing_ok=True)
    for name in sorted(os.listdir(folder)):
        if not build_folder.is_sealed(folder, name) and is_shard_file(folder / name):
            (folder / name).unlink()


def require_free(folder: Path, names: Iterable[str], *, overwrite: bool = False) -> None:
    """See that new shards overwrite nothing but, with `overwrite`, those of audiochunk's.

    Raises:
        OutputExistsError: there is something else of such a name, which no interrupted seal has put there.
    """
    for name in names:
        path = folder / name
        is_ours = is_shard_file(path) and (overwrite or build_folder.is_sealed(folder, name))
        if os.path.lexists(path) and not is_ours:
            raise OutputExistsError(str(path), "is in the way of a shard, and not of this dataset", "move it")
