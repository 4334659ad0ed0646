"""The names of the stats, and the columns that each has beside the recordings table."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from audiochunk.errors import ConfigError

_COUNT, _REAL = np.dtype(np.int64), np.dtype(np.float64)

#: Columns of every survey.
ALWAYS = {"samples": _COUNT}

#: By stat, its columns; `audiochunk.tools.facts.facts.Facts` says what is in them.
STATS: dict[str, dict[str, np.dtype[Any]]] = {
    "depth": {
        "silent_samples": _COUNT,
        "effective_bits": np.dtype(np.int8),
        "distinct": np.dtype(np.int32),
        "origin": np.dtype("U6"),
    },
    "silence": {
        "silent_samples": _COUNT,
        "silent_chunks": _COUNT,
        "constant_chunks": _COUNT,
        "quiet_chunks": _COUNT,
    },
    "dc": {"dc": _REAL},
    "clipping": {"clipped_runs": _COUNT, "clipped_samples": _COUNT},
    "channels": {"copied_channels": np.dtype(np.int32), "constant_channels": np.dtype(np.int32)},
    "loudness": {"rms": _REAL, "peak": _REAL},
    "codes": {"entropy": _REAL},
    "duplicates": {"duplicate_of": _COUNT, "repeated_chunks": _COUNT, "leaked_chunks": _COUNT},
}
ALL = tuple(STATS)


def known(stats: Iterable[str]) -> tuple[str, ...]:
    """The stats in their order, each once.

    Raises:
        ConfigError: there is none of such a name.
    """
    asked = list(stats)
    for name in asked:
        if name not in STATS:
            raise ConfigError(f"no stat {name!r}; there are: {', '.join(ALL)}")
    return tuple(name for name in ALL if name in asked)


def columns_of(stats: Iterable[str]) -> dict[str, np.dtype[Any]]:
    """The columns of these stats, and their dtypes."""
    return ALWAYS | {column: dtype for name in stats for column, dtype in STATS[name].items()}
