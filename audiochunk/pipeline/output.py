"""What lies in an output folder before a build, and what of it may go."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from audiochunk.config import BuildConfig
from audiochunk.errors import DatasetError, OutputExistsError, printable
from audiochunk.pipeline.plan import Plan, rows
from audiochunk.pipeline.shards import record_path
from audiochunk.storage.files import TEMPORARY_SUFFIX, fsync_path
from audiochunk.storage.manifest import (
    BUILD_FOLDER,
    MANIFEST,
    RECORDINGS,
    Manifest,
    RecordingRow,
    read_rows,
)
from audiochunk.storage.shard import FORMAT, is_shard_file, is_shard_name

_OVERWRITE = "choose another --out, or say --overwrite"


@dataclass(frozen=True, slots=True)
class Output:
    """What an output folder holds.

    Attributes:
        folder: the folder, absolute; it may not exist.
        manifest: of a finished dataset, or None.
        unfinished: whether a build was begun and not sealed.
        foreign: names of what no build in progress accounts for.
    """

    folder: Path
    manifest: Manifest | None
    unfinished: bool
    foreign: tuple[str, ...]


def look(folder: Path, *, overwrite: bool) -> Output:
    """What the output folder holds, if a build may go there.

    Raises:
        OutputExistsError: it holds what is not to be overwritten.
        OSError: it could not be listed.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(str(folder), "is a file, not a folder", "choose another --out")
    names = sorted(os.listdir(folder)) if folder.exists() else []
    if MANIFEST in names:
        return Output(folder, _manifest(folder, overwrite=overwrite), False, ())
    unfinished = BUILD_FOLDER in names
    ours = {BUILD_FOLDER, RECORDINGS} if unfinished else set()
    foreign = tuple(
        name
        for name in names
        if name not in ours
        and not (unfinished and is_sealed(folder, name))
        and not (unfinished and name.startswith(MANIFEST) and name.endswith(TEMPORARY_SUFFIX))
    )
    if foreign and not overwrite:
        some = ", ".join(printable(name) for name in foreign[:3])
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise OutputExistsError(str(folder), f"is not empty and holds no dataset: {some}{more}", _OVERWRITE)
    return Output(folder, None, unfinished, foreign)


def _manifest(folder: Path, *, overwrite: bool) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except DatasetError as error:
        if not overwrite:
            raise OutputExistsError(str(folder), f"holds a damaged dataset ({error})", _OVERWRITE) from error
        if f'"format": "{FORMAT}"'.encode() not in (folder / MANIFEST).read_bytes():
            raise OutputExistsError(
                str(folder), f"its {MANIFEST} is not one of audiochunk's", "choose another --out"
            ) from error
        return None


def check_options(manifest: Manifest, folder: Path, config: BuildConfig) -> None:
    """Compare the options of a finished dataset with those asked for.

    Raises:
        OutputExistsError: they differ; says which.
    """
    have, want = _flat(manifest.config), _flat(config)
    differing = [
        f"{key} {_shown(have.get(key))} → {_shown(want.get(key))}" for key in want if have.get(key) != want[key]
    ]
    if differing:
        raise OutputExistsError(
            str(folder), f"holds a dataset made with other options ({', '.join(differing)})", _OVERWRITE
        )


def _flat(config: BuildConfig) -> dict[str, object]:
    parts = msgspec.to_builtins(config)
    return {**parts["encoding"], **parts["options"], "compress": parts["compression"]}


def _shown(value: object) -> str:
    return "none" if value in (None, [], ()) else str(value)


def check_recordings(manifest: Manifest, folder: Path, planned: Plan) -> None:
    """Compare paths, sizes and headers of a finished dataset's recordings with those of a plan.

    Raises:
        OutputExistsError: they differ; says how many and names one.
        DatasetError: the recordings table is damaged.
        OSError: it could not be read.
    """
    have = {_key(row): _header(row) for row in read_rows(folder, manifest.recordings)}
    # Recordings that failed while being decoded have one row, without a channel, where the plan has one a channel.
    failed = failed_while_decoding(manifest, folder)
    want = {(key[0], None) if key[0] in failed else key: _header(row) for row in rows(planned) for key in [_key(row)]}
    added, gone = want.keys() - have.keys(), have.keys() - want.keys()
    changed = {key for key in want.keys() & have.keys() if want[key] != have[key]}
    if not (added or gone or changed):
        return
    counts = [
        f"{len({path for path, _ in keys}):,} {what}, {printable(min(path for path, _ in keys))} for one"
        for keys, what in ((added, "new"), (gone, "gone"), (changed, "changed"))
        if keys
    ]
    raise OutputExistsError(
        str(folder), f"holds a dataset made from other recordings ({'; '.join(counts)})", _OVERWRITE
    )


def failed_while_decoding(manifest: Manifest, folder: Path) -> dict[bytes, str]:
    """Reasons, by path, of recordings whose header could be read and whose samples could not.

    Raises:
        DatasetError: the recordings table is damaged.
        OSError: it could not be read.
    """
    return {
        row.path_bytes: row.error
        for row in read_rows(folder, manifest.recordings)
        if row.error is not None and row.channels
    }


def _key(row: RecordingRow) -> tuple[bytes, int | None]:
    return row.path_bytes, row.channel


def _header(row: RecordingRow) -> tuple[object, ...]:
    return row.split, row.bytes, row.sample_rate, row.channels, row.frames, row.subtype, row.notes


def clear(output: Output, *, fsync: bool) -> None:
    """Remove the dataset in a folder: its manifest first, durably, then what else audiochunk wrote there.

    The caller holds the folder's lock. Finished shards of an unfinished build stay.
    """
    folder = output.folder
    manifest = folder / MANIFEST
    if manifest.exists():
        manifest.unlink()
        if fsync:
            fsync_path(folder)
        (folder / RECORDINGS).unlink(missing_ok=True)
    for name in sorted(os.listdir(folder)):
        if not is_sealed(folder, name) and is_shard_file(folder / name):
            (folder / name).unlink()


def is_sealed(folder: Path, name: str) -> bool:
    """Whether a name in the output folder is that of a shard which an unfinished seal has moved into place."""
    return is_shard_name(name) and record_path(folder / BUILD_FOLDER, name).exists()
