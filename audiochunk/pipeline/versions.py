"""The versions of what makes the bytes of shards."""

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
