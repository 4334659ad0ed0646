"""The versions of what makes the bytes of shards."""

from collections.abc import Mapping
from functools import cache

from audiochunk._version import __version__


@cache
def versions() -> dict[str, str]:
    """Versions by name: audiochunk, libsndfile, numpy, zstd."""
    import numpy
    import soundfile
    import zstandard

    return {
        "audiochunk": __version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "numpy": numpy.__version__,
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
    }


def differences(here: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """How versions differ from those that are wanted, in words, or None.

    >>> differences({"numpy": "1.26.4", "zstd": "1.5.7"}, {"numpy": "2.1.0", "zstd": "1.5.7"})
    'has numpy 1.26.4 where the build has 2.1.0; install the same versions on every machine'
    """
    found = [
        f"{name} {here.get(name, '(none)')} where the build has {version}"
        for name, version in sorted(wanted.items())
        if here.get(name) != version
    ]
    return f"has {', '.join(found)}; install the same versions on every machine" if found else None
