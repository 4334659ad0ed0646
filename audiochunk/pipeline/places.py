"""Small files in a build folder, by path or by URL."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from audiochunk.pipeline.inputs import is_store
from audiochunk.storage.files import temporary, write_whole

if TYPE_CHECKING:
    from audiochunk.storage.objects import Objects


def temporary_place(folder: bytes, name: str) -> bytes:
    """A name in a build folder that no other process makes."""
    if is_store(folder):
        return folder + b"/" + temporary(Path("/", name)).name.encode()
    return os.fsencode(temporary(Path(os.fsdecode(folder)) / name))


def write_place(place: bytes, content: bytes) -> None:
    """Have a place hold this and nothing else.

    Raises:
        OSError: it could not be written.
        StoreError: the same, in a store.
    """
    if is_store(place):
        objects, name = in_store(place)
        objects.write(name, content)
    else:
        write_whole(Path(os.fsdecode(place)), content, fsync=False)


def holds(place: bytes, content: bytes) -> bool:
    """Whether a place holds this and nothing else. Of an object only as much is asked for.

    Raises:
        OSError: it could not be read.
        StoreError: the same, in a store.
    """
    try:
        if is_store(place):
            objects, name = in_store(place)
            return objects.read(name, 0, len(content)) == content
        return Path(os.fsdecode(place)).read_bytes() == content
    except FileNotFoundError:
        return False


def remove_place(place: bytes) -> None:
    """Remove what is there, if anything is.

    Raises:
        OSError: it could not be removed.
        StoreError: the same, in a store.
    """
    if is_store(place):
        objects, name = in_store(place)
        objects.remove(name)
    else:
        Path(os.fsdecode(place)).unlink(missing_ok=True)


def in_store(place: bytes) -> "tuple[Objects, str]":
    """The output folder that a place in its build folder is in, and the name of the object there."""
    folder, _, name = place.decode().rpartition("/")
    out, _, work = folder.rpartition("/")
    return objects_at(out), f"{work}/{name}"


def forget_stores() -> None:
    """Have the next use of a store find its address and credentials anew: a build does, as it begins."""
    objects_at.cache_clear()


@lru_cache(maxsize=64)
def objects_at(url: str) -> "Objects":
    """The objects below a URL: the same ones each time, since to make a way to a store takes longer than to use it."""
    from audiochunk.storage.objects import Objects

    return Objects(url)
