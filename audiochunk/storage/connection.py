"""What a store is reached with: a filesystem of fsspec's, one for each process."""

import os
from typing import Any

from audiochunk.storage.urls import store_class

# s3fs tries five times five times what botocore has tried five times: half an hour where nobody answers.
_S3FS_RETRIES = 2
_of_parents: list[Any] = []  # letting go of them in a child would have it wait for the parent's threads


class Connection:
    """A way to the stores of a scheme.

    Args:
        scheme: of their URLs.

    Raises:
        ConfigError: it is not known, or its library is not installed.
    """

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._held: tuple[int, Any] | None = None  # a process, and what it reaches the store with
        store_class(scheme)

    def filesystem(self) -> Any:
        """That of this process; a parent's is of no use to a fork."""
        held = self._held
        if held is None or held[0] != os.getpid():
            if held is not None:
                _of_parents.append(held[1])
            # An instance of our own: fsspec shares its own with whoever asks with the same options.
            made = store_class(self._scheme)(use_listings_cache=False, skip_instance_cache=True)
            if self._scheme in ("s3", "s3a"):
                made.retries = _S3FS_RETRIES
            held = self._held = os.getpid(), made
        return held[1]
