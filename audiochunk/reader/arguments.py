"""Arguments that are whole numbers."""

import operator
from typing import SupportsIndex

from audiochunk.errors import ConfigError

MOST_ROWS = 2**62


def whole(value: SupportsIndex, least: int, what: str, *, most: int = MOST_ROWS) -> int:
    """The value as an int.

    Raises:
        ConfigError: it is no whole number, or not from `least` to `most`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not least <= number <= most:
        up_to = "" if most == MOST_ROWS else f" and at most {most}"
        raise ConfigError(f"{what} must be a whole number, at least {least}{up_to}, not {value!r}")
    return number


def seed_of(value: SupportsIndex) -> int:
    """The seed.

    Raises:
        ConfigError: it is no whole number, or not from 0 to 2**64 - 1.
    """
    return whole(value, 0, "seed", most=2**64 - 1)
