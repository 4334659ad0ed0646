"""The input folder: one of this machine, by its path, or one in an object store, by its URL."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from audiochunk.signal.opening import opened
from audiochunk.storage.urls import is_url, local_path

if TYPE_CHECKING:
    from audiochunk.config import Encoding
    from audiochunk.pipeline.parts import Opener, TaskPart


def is_store(root: bytes) -> bool:
    """Whether an input folder is one in an object store."""
    return is_url(os.fsdecode(root))


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
    from audiochunk.storage.objects import Objects

    return Objects(source).url.encode()


def absolute(root: bytes) -> bytes:
    """The same folder for whoever is in another one."""
    return root if is_store(root) else os.path.abspath(root)


@contextmanager
def opened_input(root: bytes, parts: "Sequence[TaskPart]", encoding: "Encoding") -> "Iterator[int | Opener | None]":
    """The input folder, for opening the recordings of parts in their order.

    Yields:
        A file descriptor, None where the folder cannot be opened, or what opens recordings in a store.
    """
    if is_store(root):
        from audiochunk.pipeline.remote_parts import RemoteParts

        with RemoteParts(root, parts, encoding) as remote:
            yield remote
    else:
        with opened(root) as fd:
            yield fd
