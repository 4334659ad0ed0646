"""The shard files of one split: opened only as what the manifest says they are."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.errors import DatasetError, unreadable
from audiochunk.storage.files import open_plain
from audiochunk.storage.manifest import ShardEntry
from audiochunk.storage.shard import ShardSpec

if TYPE_CHECKING:
    from audiochunk.storage.cache import Cache
    from audiochunk.storage.remote import Folder

Chunks = npt.NDArray[Any]


class ShardFiles:
    """The files of one split's shards, by number.

    Attributes:
        folder: of the dataset.
        cache: that they are fetched into, None where they need not be.
        most: shards that may be kept mapped at a time, None for as many as the system allows.
        entries: what the manifest says of each shard, in order.
        encoding: of the chunks.
        dtype: of an element of a chunk.
        tokens: elements of a chunk.
    """

    cache: "Cache | None" = None
    most: int | None = None

    def __init__(self, folder: "Folder", entries: Sequence[ShardEntry], encoding: Encoding) -> None:
        self.folder, self.entries, self.encoding = folder, entries, encoding
        self.dtype = np.dtype("<u2" if encoding.stored_as == "U16" else np.uint8)
        self.tokens = encoding.tokens_per_chunk

    def path(self, number: int) -> "Path | str":
        """Of one shard, for messages too."""
        return self.folder / self.entries[number].name

    def spec(self, number: int) -> ShardSpec:
        """What the header of one shard says."""
        entry = self.entries[number]
        return ShardSpec(entry.split, number, entry.chunks, self.encoding)

    def check_sizes(self, most: int) -> None:
        """Look at the sizes of the first `most` files.

        Raises:
            DatasetError: one is missing, or of another size than the manifest says.
        """
        folder = str(self.folder)
        for entry in self.entries[:most]:
            try:
                # Not through pathlib: for a thousand shards that would take as long as all else in opening a dataset.
                size = os.stat(f"{folder}/{entry.name}").st_size
            except OSError as error:
                raise unreadable(self.folder / entry.name, error) from error
            if size != entry.bytes:
                raise DatasetError(self.folder / entry.name, f"{size} bytes; the manifest says {entry.bytes}")

    @contextmanager
    def opened(self, number: int) -> Iterator[int]:
        """The descriptor of one shard's file, which is regular, inside the folder and as long as it must be.

        Raises:
            DatasetError: it is not, or it could not be read, also while the descriptor was used.
            MachineError: this process may not read it, or no more files, or map no more.
        """
        path, expected = cast(Path, self.path(number)), self.entries[number].bytes
        try:
            if path.is_symlink() and path.resolve().parent != path.parent.resolve():
                raise DatasetError(path, "is a link out of the dataset's folder")
            with open_plain(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size != expected:
                    raise DatasetError(path, f"{size} bytes; the manifest says {expected}")
                yield file.fileno()
        except OSError as error:
            raise unreadable(path, error) from error

    def forget(self, number: int) -> bool:
        """Let go of the copy of one shard, which is damaged; whether there was one, and opening it will be another."""
        return False

    def will_need(self, numbers: Iterable[int], *, soon: bool = False) -> None:
        """Say which shards will be opened, so that what lies elsewhere can be fetched meanwhile.

        Args:
            numbers: of shards, in the order in which they will be.
            soon: whether by the caller, who is about to; else they are the next ones, in the place of those that were
                said to be.
        """
