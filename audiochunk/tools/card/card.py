"""Both files of a card, made and written."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from audiochunk.errors import ConfigError, OutputExistsError, printable
from audiochunk.storage.files import open_plain, write_whole
from audiochunk.tools.card.about import About
from audiochunk.tools.card.croissant import croissant
from audiochunk.tools.card.holdings import checksums, look
from audiochunk.tools.card.marks import CROISSANT, README, is_untouched
from audiochunk.tools.card.readme import describe, readme

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


def write_card(
    folder: "Folder",
    about: About,
    *,
    out: Path | None = None,
    with_checksums: bool = False,
    overwrite: bool = False,
    on_bytes: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Write README.md and croissant.json of a dataset; their names and sizes in bytes come back.

    Files of a card that nobody has edited are replaced.

    Args:
        folder: of the dataset.
        about: what is said of it.
        out: folder to write into; None means the dataset's own, where paths in the metadata hold.
        with_checksums: whether to read all shards for their SHA-256.
        overwrite: whether other files of these names may be replaced, too.
        on_bytes: told of the bytes of shards as they are read.

    Raises:
        NoDatasetError: there is no dataset.
        DatasetError: it is damaged.
        ConfigError: `out` is no folder.
        OutputExistsError: a file of this name is there that was not written here, or was edited since.
        OSError: something could not be read or written.
    """
    to = out if out is not None else folder
    if not isinstance(to, Path):
        raise ConfigError(f"{to}: a card is written into a folder here; give one with --out, and upload its files")
    held = look(folder)
    _check(to, overwrite=overwrite)
    description = about.description or describe(held)
    found = dict(checksums(folder, held.manifest, on_bytes=on_bytes)) if with_checksums else None
    made = {
        README: readme(held, about, description=description),
        CROISSANT: croissant(held, about, description=description, checksums=found),
    }
    _check(to, overwrite=overwrite)  # once more: somebody may have edited them while shards were read
    for name, data in made.items():
        write_whole(to / name, data, fsync=True)
    return {name: len(data) for name, data in made.items()}


def _check(to: Path, *, overwrite: bool) -> None:
    if not to.is_dir():
        raise ConfigError(f"{printable(str(to))} is not a folder; make it first")
    for name in (README, CROISSANT):
        path = to / name
        if path.is_dir() and not path.is_symlink():
            raise OutputExistsError(path, "is a folder", "choose another --out")
        if overwrite or not os.path.lexists(path):
            continue
        is_ours = False
        with suppress(OSError), open_plain(path) as file:
            is_ours = not path.is_symlink() and is_untouched(name, file.read())
        if not is_ours:
            raise OutputExistsError(
                path, "was not written by audiochunk, or was edited since", "choose another --out, or say --overwrite"
            )
