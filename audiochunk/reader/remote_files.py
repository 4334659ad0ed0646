"""The shard files of one split in an object store: fetched into the cache on first use, and ahead of it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from audiochunk.config import Compression, Encoding
from audiochunk.errors import unreadable
from audiochunk.reader.ahead import Ahead
from audiochunk.reader.shard_files import ShardFiles
from audiochunk.storage.manifest import ShardEntry
from audiochunk.storage.remote import RemoteFolder
from audiochunk.storage.shard import DATA_OFFSET

# Of the cache's quarters, those that what is in use and what comes next may take together: what is fetched ahead must
# not push out what is in use. A cache whose quarter holds no shard is too small for that.
_QUARTERS_AHEAD = 3
# Of the cache: what one process has mapped takes room on the disk although it may have been pushed out.
_PART_MAPPED = 8


class RemoteShardFiles(ShardFiles):
    """The files of one split's shards, by number.

    Args:
        folder: of the dataset.
        entries: what the manifest says of each shard, in order.
        encoding: of the chunks.
        compression: of the shards.
    """

    def __init__(
        self,
        folder: RemoteFolder,
        entries: Sequence[ShardEntry],
        encoding: Encoding,
        compression: Compression | None,
    ) -> None:
        super().__init__(folder, entries, encoding)
        self._remote, self.cache = folder, folder.cache
        self._is_compressed = compression is not None
        self._kind = f"-{compression.chunks_per_frame}.zst" if compression is not None else ".safetensors"
        largest = max((entry.bytes for entry in entries), default=1)
        limit = folder.cache.limit
        self._most_ahead = _QUARTERS_AHEAD * (limit // 4 // largest)
        if sum(entry.bytes for entry in entries) > limit:
            self.most = max(1, limit // _PART_MAPPED // largest)
        self._ahead = Ahead(self._fetch)

    def check_sizes(self, most: int) -> None:
        """Nothing: it would be a request for each."""

    @contextmanager
    def opened(self, number: int) -> Iterator[int]:
        """The descriptor of one shard's file, which is what the manifest says.

        Raises:
            DatasetError: it is not, or it could not be read while the descriptor was used.
            StoreError: it could not be fetched.
            MachineError: it could not be kept.
        """
        entry, spec = self.entries[number], self.spec(number)
        try:
            with self._remote.shard(
                entry.name,
                bytes=entry.bytes,
                digest=entry.digest,
                content_bytes=DATA_OFFSET + spec.data_bytes,
                kind=self._kind,
                header=None if self._is_compressed else spec.header(),
            ) as file:
                yield file.fileno()
        except OSError as error:
            raise unreadable(self.path(number), error) from error

    def forget(self, number: int) -> bool:
        """Remove one shard's file, which turned out to be damaged, from the cache; whether there was one to remove."""
        entry = self.entries[number]
        return self._remote.forget_shard(bytes=entry.bytes, digest=entry.digest, kind=self._kind)

    def will_need(self, numbers: Iterable[int], *, soon: bool = False) -> None:
        """Have threads fetch these shards, as many as the cache has room for. Those that it has are opened: they stay.

        Raises nothing: who needs a shard that cannot be fetched will meet the same, and say so.
        """
        self._ahead.want(list(islice(numbers, self._most_ahead)), soon=soon)

    def _fetch(self, number: int) -> None:
        with self.opened(number):
            pass
