"""Small files in a build folder, by path or by URL."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from audiochunk.pipeline.inputs import is_store
from audiochunk.storage.files import temporary, write_whole

if TYPE_CHECKING:
    from audiochunk.storage.objects import Objects


def temporary_place(folder: bytes, name: str) -> bytes:
    """A name in a build folder that no other process makes."""
    if is_store(folder):
        return folder + b"/" + temporary_name(name).encode()
    return os.fsencode(temporary(Path(os.fsdecode(folder)) / name))


def temporary_name(name: str) -> str:
    """A name that no other process, here or on another machine, makes."""
    return temporary(Path("/", name)).name


def write_place(place: bytes, content: bytes) -> None:
    """Have a place hold this and nothing else.

    Raises:
        OSError: it could not be written.
        StoreError: the same, in a store.
    """
    if is_store(place):
        objects, name = _split(place)
        objects.write(name, content)
    else:
        write_whole(Path(os.fsdecode(place)), content, fsync=False)


def read_place(place: bytes) -> bytes:
    """What a place holds.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: it could not be read.
        StoreError: the same, in a store.
    """
    if is_store(place):
        objects, name = _split(place)
        return objects.read(name)
    return Path(os.fsdecode(place)).read_bytes()


def remove_place(place: bytes) -> None:
    """Remove what is there, if anything is.

    Raises:
        OSError: it could not be removed.
        StoreError: the same, in a store.
    """
    if is_store(place):
        objects, name = _split(place)
        objects.remove(name)
    else:
        Path(os.fsdecode(place)).unlink(missing_ok=True)


def _split(place: bytes) -> "tuple[Objects, str]":
    from audiochunk.storage.objects import Objects

    folder, _, name = os.fsdecode(place).rpartition("/")
    return Objects(folder), name
