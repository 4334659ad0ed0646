"""What a store is reached with: a filesystem of fsspec's, one for each process."""

import os
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

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

    def endpoint(self) -> str:
        """Where S3 is looked for, with no credentials, path or query in it; empty of other stores, or where unknown."""
        if self._scheme not in ("s3", "s3a"):
            return ""
        url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        with suppress(Exception):  # what libraries keep to themselves may be otherwise tomorrow
            held = self._held
            url = (held and (held[1].endpoint_url or held[1]._s3.meta.endpoint_url)) or url
        return _shown(url)


def _shown(url: str) -> str:
    try:
        scheme, address = urlsplit(url if "://" in url else f"//{url}")[:2]
    except ValueError:
        return ""
    address = address.rpartition("@")[2]
    return f"{scheme}://{address}" if scheme else address
