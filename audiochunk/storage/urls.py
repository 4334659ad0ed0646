"""URLs of datasets and folders: what is one, what may stand in it, and what reaches it."""

import os
import re
from inspect import signature
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from audiochunk.errors import ConfigError, printable

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*"
_URL = re.compile(rf"((?:{_SCHEME}::)*{_SCHEME})://(.*)", re.DOTALL)
_LIBRARIES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
_LOCAL = ("file", "local")
_SLIP = re.compile(rf"({'|'.join((*_LIBRARIES, *_LOCAL, 'memory', 'https?'))}):(?!//)/?", re.IGNORECASE)
_BEHIND_A_PATH = re.compile("[#;]|%3f", re.IGNORECASE)
# Arguments of classes that reach files by way of another filesystem.
_OF_WRAPPERS = {"fo", "fs", "target_protocol"}


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether text names something by a scheme: s3://, gs://, hf://, file://, memory://.

    Raises:
        ConfigError: it is text that lacks slashes to be such a URL.

    >>> is_url("s3://bucket/shards"), is_url("/data/shards"), is_url(Path("s3:/bucket"))
    (True, False, False)
    """
    if not isinstance(path, str):
        return False
    if slip := _SLIP.match(path):
        scheme = slip[1].lower()
        raise ConfigError(
            f"{scheme}:… is no URL without two slashes, {scheme}://…; a folder of that name is ./{scheme}:…"
        )
    return "://" in path and _URL.fullmatch(path) is not None


def local_path(url: str) -> Path | None:
    """The path that a file:// URL means; None of any other.

    Raises:
        ConfigError: it means none, or is a URL that is not taken.

    >>> local_path("file:///data/my%20set").as_posix(), local_path("s3://bucket/shards")
    ('/data/my set', None)
    """
    scheme, rest = parts(url)
    if scheme not in _LOCAL:
        return None
    if not rest.startswith("/"):
        raise ConfigError(f"{printable(url)}: a file URL has three slashes and an absolute path: file:///data/shards")
    return Path(os.fsdecode(unquote_to_bytes(rest)))


def parts(url: str) -> tuple[str, str]:
    """Scheme and rest, without a slash at its end, of a URL with nothing in it that must not be shown.

    Raises:
        ConfigError: it is no URL, or there are credentials, a query, or another URL in it.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ConfigError(f"{printable(url)}: not a URL")
    scheme, rest = match[1].lower(), match[2].rstrip("/")
    if ":" in scheme:
        raise ConfigError(
            f"{scheme.partition(':')[0]}::…: a URL that leads to another one is not taken: give that of the store"
            " itself; what is read from there is kept in audiochunk's own cache"
        )
    how = "give the folder alone; credentials come from the environment or the library's own files"
    if scheme not in (*_LOCAL, "memory"):
        if "@" in rest.partition("/")[0] or "?" in rest:
            raise ConfigError(f"{scheme}:// with a user, a password or a query in the URL is not taken: {how}")
        # Keys of other stores may have them.
        if scheme in ("http", "https") and _BEHIND_A_PATH.search(rest):
            raise ConfigError(f"{scheme}:// with #, ; or %3F in the URL is not taken: {how}")
        if not rest:
            raise ConfigError(f"{scheme}://: a bucket or a folder must follow")
        if "::" in rest or "://" in rest:
            raise ConfigError(f"{scheme}:// with another URL in it is not taken: {how}")
    return scheme, rest


def store_class(scheme: str) -> Any:
    """The class of fsspec that reaches stores of a scheme.

    Raises:
        ConfigError: there is none, it is not installed, or it cannot be had without arguments.
    """
    try:
        import logging

        import fsspec

        # What gcsfs raises it also logs, with a traceback, which Python prints where nobody has set up logging.
        if not logging.getLogger("gcsfs").handlers:
            logging.getLogger("gcsfs").addHandler(logging.NullHandler())
        found = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        library = _LIBRARIES.get(scheme) or _missing(error)
        how = "pip install 'audiochunk[remote]'"
        if library not in ("fsspec", "s3fs"):
            how += f" {library}" if scheme in _LIBRARIES else ", and what fsspec's documentation says"
        raise ConfigError(f"{scheme}:// URLs need {library}, which is not installed: {how}") from None
    except ValueError:
        raise ConfigError(f"no store is known by {scheme}://: there are s3://, gs://, hf:// and fsspec's") from None
    options = dict(list(signature(found.__init__).parameters.items())[1:])  # without self
    if scheme == "simplecache" or _OF_WRAPPERS & options.keys():
        raise ConfigError(f"{scheme}:// is no store, but a way to files in one: give the URL of a folder of files")
    if "host" in options or any(o.default is o.empty for o in options.values() if o.kind is o.POSITIONAL_OR_KEYWORD):
        raise ConfigError(f"{scheme}:// is not taken: it would have to be told more than a folder, such as a server")
    return found


def _missing(error: ImportError) -> str:
    """The package that could not be imported."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    return (cause.name or "fsspec").partition(".")[0]
