"""The folder in which a dataset lies until it is sealed: .build in the output folder."""

import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from audiochunk.config import BuildConfig
from audiochunk.errors import OutputExistsError
from audiochunk.pipeline.failures import FAILURES
from audiochunk.pipeline.marker import MARKER, begun_with, marker, says_ours
from audiochunk.pipeline.shards import record_path
from audiochunk.storage.files import TEMPORARY_SUFFIX, clear_temporaries, fsync_path, locked, read_plain, write_whole
from audiochunk.storage.manifest import BUILD_FOLDER, MANIFEST, PLAN, RECORDINGS, SEALING, Manifest
from audiochunk.storage.recordings import RowsWriter, has_more_rows
from audiochunk.storage.shard import is_shard_file, is_shard_name

_LOCK = "lock"


def is_ours(work: Path) -> bool:
    """Whether audiochunk made a build folder: it says so, or was killed before it could."""
    if work.is_symlink() or not work.is_dir():
        return False
    try:
        return says_ours(read_plain(work / MARKER))
    except FileNotFoundError:
        return all(name == _LOCK or name.startswith(f"{MARKER}.") for name in os.listdir(work))


def _begun_with(work: Path) -> BuildConfig | None:
    """What an interrupted build was begun with, where that can be told."""
    try:
        return begun_with(read_plain(work / MARKER))
    except OSError:
        return None


@contextmanager
def entered(
    folder: Path, config: BuildConfig, *, fsync: bool, clears: bool = True
) -> Iterator[tuple[Path, BuildConfig | None]]:
    """Hold the lock of the build folder in an output folder; both are made where they are missing.

    Args:
        folder: the output folder.
        config: of the build.
        fsync: whether the folders must survive a loss of power.
        clears: whether to remove what processes that died have left; else somebody may still be at work.

    Yields:
        The build folder, and what an interrupted build in it was begun with, if there was one.

    Raises:
        MachineError: another build holds it.
        OutputExistsError: there is a folder of that name that is not ours.
        OSError: it could not be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    work = folder / BUILD_FOLDER
    work.mkdir(parents=True, exist_ok=True)
    if fsync:
        for path in made:
            fsync_path(path.parent)
    if not is_ours(work):
        raise OutputExistsError(str(work), "is not a build folder of audiochunk's", "choose another --out")
    with locked(work / _LOCK):
        if clears:
            clear(folder)
        before = _begun_with(work)
        write_whole(work / MARKER, marker(config), fsync=False)
        yield work, before


def clear(folder: Path) -> None:
    """Remove what processes that died have left in an output folder. The caller holds the lock."""
    clear_temporaries(folder / BUILD_FOLDER)
    clear_temporaries(folder, prefix=MANIFEST)


def take_back_plan(work: Path) -> None:
    """Remove the plan of a job array, so that its tasks name no more shards. The caller holds the lock."""
    for name in (PLAN, SEALING):
        if (work / name).exists():
            (work / name).unlink()


def remove(work: Path) -> None:
    """Remove a build folder: what audiochunk has put there, and the folder itself unless something else is in it."""
    # First: where this is interrupted, nothing of what is left looks like a plan.
    take_back_plan(work)
    for name in sorted(os.listdir(work)):
        known = name in (FAILURES, RECORDINGS) or name.endswith(TEMPORARY_SUFFIX)
        if known or is_shard_name(name.removesuffix(".json").removesuffix(".failed")):
            (work / name).unlink(missing_ok=True)  # a worker that is late removes what it makes itself
    # The marker last: until then this is a build folder that the next build will know.
    (work / _LOCK).unlink(missing_ok=True)
    if os.listdir(work) == [MARKER]:
        (work / MARKER).unlink()
        work.rmdir()


def is_sealed(folder: Path, name: str) -> bool:
    """Whether a name in the output folder is that of a shard which an unfinished seal has moved into place."""
    return is_shard_name(name) and record_path(folder / BUILD_FOLDER, name).exists()


def is_of_seal(name: str) -> bool:
    """Whether a name in the output folder is that of a manifest which was being written."""
    return name.startswith(f"{MANIFEST}.") and name.endswith(TEMPORARY_SUFFIX)


def remove_stale(folder: Path, names: Container[str]) -> None:
    """Remove shards that an interrupted seal has left in an output folder. The caller holds the lock.

    Args:
        folder: the output folder.
        names: of the shards that stay: those of the dataset.
    """
    for name in sorted(os.listdir(folder)):
        if name not in names and is_sealed(folder, name) and is_shard_file(folder / name):
            (folder / name).unlink()


def finish(folder: Path, manifest: Manifest) -> None:
    """Remove the build folder of a finished dataset, and what else its build has left; one with a plan stays.

    The build may have ended between its last two steps, or it was to add recordings and never came to its manifest.
    Nothing is done where the dataset has become another one since `manifest` was read.

    Raises:
        MachineError: another build is at work.
        DatasetError: the manifest or the recordings table is damaged.
        OSError: something could not be removed.
    """
    work = folder / BUILD_FOLDER
    if is_ours(work) and not (work / PLAN).exists():
        with locked(work / _LOCK):
            if Manifest.read(folder) != manifest:
                return
            clear(folder)
            remove_stale(folder, {shard.name for shard in manifest.shards})
            if has_more_rows(folder, manifest.recordings):
                writer = RowsWriter(work / RECORDINGS)
                try:
                    writer.copy(folder / RECORDINGS, manifest.recordings)
                    writer.finish()
                finally:
                    writer.close()
                fsync_path(work / RECORDINGS)
                (work / RECORDINGS).replace(folder / RECORDINGS)
                fsync_path(folder)
            remove(work)
