"""Several datasets whose rows are alike: what a concatenation and a mix are made of."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError
from audiochunk.reader.rows import Numbers, Rows
from audiochunk.reader.shard_files import Chunks

if TYPE_CHECKING:
    from audiochunk.storage.cache import Cache


class Sources:
    """Datasets, or views of them, by number.

    Args:
        rows: at least one.

    Raises:
        ConfigError: there are none, or their rows differ in length, dtype, or what their codes mean.
    """

    def __init__(self, rows: Sequence[Rows]) -> None:
        if not rows:
            raise ConfigError("no datasets were given")
        for other in rows:
            if not isinstance(other, Rows):
                raise ConfigError(f"{other!r} is not a dataset")
            if (other.width, other.dtype) != (rows[0].width, rows[0].dtype):
                raise ConfigError(
                    f"rows of {rows[0].width:,} {rows[0].dtype} and of {other.width:,} {other.dtype} do not go together"
                )
            ours, theirs = _codes(rows[0]), _codes(other)
            if ours != theirs:
                raise ConfigError(f"the same bytes mean other samples in {ours} and in {theirs} codes")
        self.rows = tuple(rows)

    @property
    def dataset_id(self) -> str:
        """The identity of the one dataset that all are views of; of several, a digest (xxh3-128) of theirs in order."""
        identities = [rows.dataset_id for rows in self.rows]
        if len(set(identities)) == 1:
            return identities[0]
        return xxhash.xxh3_128_hexdigest("+".join(identities).encode())

    @property
    def encoding(self) -> Encoding:
        """Of the first."""
        return self.rows[0].encoding

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an element of any of them."""
        return self.rows[0].dtype

    @property
    def width(self) -> int:
        """Elements of a row of any of them."""
        return self.rows[0].width

    @property
    def is_fetched(self) -> bool:
        """Whether rows of some of them are fetched when they are needed."""
        return any(rows.is_fetched for rows in self.rows)

    def fetched_bytes(self) -> "dict[Cache, dict[str, int]]":
        """Bytes of the shards that have to be fetched for all, each once, by cache and by digest."""
        return fetched_of(self.rows)

    def fill(self, which: npt.NDArray[np.intp], numbers: Numbers, out: Chunks) -> None:
        """Copy the row `numbers[i]` of the source `which[i]` into `out[i]`: (n,), (n,), (n, width)."""
        for source in np.unique(which).tolist():
            places = np.flatnonzero(which == source)
            out[places] = self.rows[source].gather(numbers[places])


def fetched_of(sources: Iterable[Rows]) -> "dict[Cache, dict[str, int]]":
    """Bytes of the shards that have to be fetched for all that are not empty, each once, by cache and by digest."""
    found: dict[Cache, dict[str, int]] = {}
    for rows in sources:
        if len(rows):
            for cache, shards in rows.fetched_bytes().items():
                found[cache] = found.get(cache, {}) | shards
    return found


def _codes(rows: Rows) -> str:
    """What the bytes of rows mean, as text."""
    encoding = rows.encoding
    order = f" {encoding.byte_order}-endian" if encoding.bytes_per_code > 1 else ""
    return f"{encoding.bits}-bit{order} {encoding.quantizer}"
