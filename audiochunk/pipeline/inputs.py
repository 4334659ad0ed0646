"""Input and output folders: of this machine, by their paths, or in an object store, by their URLs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audiochunk.errors import ConfigError, printable
from audiochunk.signal.opening import opened
from audiochunk.storage.urls import is_url, local_path

if TYPE_CHECKING:
    from audiochunk.config import Encoding
    from audiochunk.pipeline.parts import Opener, Part

_READ_ONLY = "which is only read from; build into a folder, or a store"
_NOT_BUILT_INTO = {
    "hf": "where every file that is written is a commit; build into a folder and upload it: `hf upload`",
    "http": _READ_ONLY,
    "https": _READ_ONLY,
}


def is_store(root: bytes) -> bool:
    """Whether an input folder is one in an object store."""
    return b"://" in root and is_url(os.fsdecode(root))


def input_root(source: str | os.PathLike[str]) -> bytes:
    """What an input folder is called from here on: its path as it was given, or its URL. A file:// URL is a path.

    Raises:
        ConfigError: the URL cannot be used.
    """
    if not isinstance(source, str) or not is_url(source):
        return os.fsencode(source)
    path = local_path(source)
    if path is not None:
        return os.fsencode(path)
    _require_text(source)
    if source.lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"{printable(source)}: recordings are not read by HTTP, where folders have no listings to rely on;"
            " download them, or name the store that they lie in"
        )
    from audiochunk.storage.objects import Objects

    return Objects(source).url.encode()


def _require_text(url: str) -> None:
    try:
        url.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{printable(url)}: no UTF-8, as the keys of all stores are") from None


def store_of(out: str | os.PathLike[str]) -> str | None:
    """The URL of an output folder in a store; None of a path and of a file:// URL.

    Raises:
        ConfigError: the URL cannot be used.
    """
    if not isinstance(out, str) or not is_url(out) or local_path(out) is not None:
        return None
    _require_text(out)
    scheme = out.partition("://")[0].lower()
    if scheme in _NOT_BUILT_INTO:
        raise ConfigError(f"{printable(out)}: datasets are not built into {scheme}://, {_NOT_BUILT_INTO[scheme]}")
    return out


def path_of(out: str | os.PathLike[str]) -> Path:
    """The path, absolute, of an output folder that lies in no store.

    Raises:
        ConfigError: it is a URL that cannot be used.
    """
    path = local_path(out) if isinstance(out, str) and is_url(out) else None
    return (path or Path(out)).absolute()


def appended_to(out: str | os.PathLike[str]) -> Path:
    """The path of an output folder that recordings are added to.

    Raises:
        ConfigError: it is in a store.
    """
    if (url := store_of(out)) is not None:
        raise ConfigError(f"append: recordings are added to datasets in folders, not to one at {printable(url)}")
    return path_of(out)


def require_apart(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Refuse to build a dataset among its recordings.

    Raises:
        ConfigError: both are one folder, or a URL cannot be used.
    """
    root, url = input_root(source), store_of(out)
    if is_store(root) or url is not None:
        are_one = url is not None and os.fsdecode(root).rstrip("/") == url.rstrip("/")
    else:
        try:
            are_one = os.path.samefile(root, path_of(out))
        except OSError:
            return
    if are_one:
        raise ConfigError(f"{printable(str(out))}: is the folder of the recordings; give the dataset one of its own")


def require_folders(*places: str | os.PathLike[str]) -> None:
    """Refuse URLs where processes meet in a folder.

    Raises:
        ConfigError: one of the places is none of a folder's.
    """
    for place in places:
        if isinstance(place, str) and is_url(place):
            local_path(place)  # which refuses what must not be shown
            raise ConfigError(
                f"{printable(place)}: a job array needs folders that all of its machines see, by their paths;"
                " `audiochunk build` takes URLs, also with --executor dask://HOST:PORT"
            )


def absolute(root: bytes) -> bytes:
    """The same folder for whoever is in another one."""
    return root if is_store(root) else os.path.abspath(root)


@contextmanager
def opened_input(root: bytes, parts: "Sequence[Part]", encoding: "Encoding") -> "Iterator[int | Opener | None]":
    """The input folder, for opening the recordings of parts in their order.

    Yields:
        A file descriptor, None where the folder cannot be opened, or what opens recordings in a store.
    """
    if is_store(root):
        from audiochunk.pipeline.store.parts import RemoteParts

        with RemoteParts(root, parts, encoding) as remote:
            yield remote
    else:
        with opened(root) as fd:
            yield fd
