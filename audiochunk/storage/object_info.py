"""What a store says of an object, in words that all stores share."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from audiochunk.errors import StoreError


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object.

    Attributes:
        name: within the folder.
        size: in bytes.
        version: differs once the content does, where the store tells: an etag, a generation, a time; else "".
    """

    name: str
    size: int
    version: str

    @classmethod
    def of(cls, name: str, said: dict[str, Any]) -> Self:
        """That of what fsspec or S3 says.

        Raises:
            StoreError: that is not how long the object is.
        """
        size = said.get("size", said.get("Size"))
        if size is None:
            raise StoreError(name, "the store does not say how long it is", "copy it to a store that does")
        return cls(name, int(size), _version(said))


def _version(said: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "generation", "xet_hash", "blob_id", "mtime", "LastModified", "updated", "created"):
        found = said.get(key)
        if found:
            # Some stores quote etags, and not everywhere.
            return str(found.timestamp() if isinstance(found, datetime) else found).strip('"')
    return ""
