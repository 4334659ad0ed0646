"""Floats -> samples, and what of them could not be taken as it was."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.signal.quantize import Samples

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A range of frames.

    Attributes:
        samples: (frames, channels), int16 or int32, left-justified. Valid until the next read.
        clipped: (frames, channels) bool, true where a float lay beyond full scale; None where none did.
        invalid: (frames, channels) bool, true where a float was NaN or infinite; None where none was.
    """

    samples: Samples
    clipped: Mask | None = None
    invalid: Mask | None = None


def from_floats(values: npt.NDArray[Any]) -> Decoded:
    """Float frames as samples: rint(x * 2**31) in float64, clipped to int32.

    Args:
        values: (frames, channels), float32 or float64 of either byte order; full scale is ±1.

    >>> from_floats(np.array([[0.5], [1.0]], np.float32)).samples.tolist()
    [[1073741824], [2147483647]]
    """
    low, high = -(2.0**31), 2.0**31 - 1
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values.astype(np.float64)
        scaled *= 2.0**31
        np.rint(scaled, out=scaled)
        # NaN makes both comparisons false.
        if scaled.size == 0 or (scaled.min() >= low and scaled.max() <= high):
            return Decoded(scaled.astype(np.int32))
    invalid = ~np.isfinite(values)
    scaled[invalid] = 0
    clipped = (scaled < low) | (scaled > high)
    return Decoded(
        scaled.clip(low, high).astype(np.int32),
        clipped if clipped.any() else None,
        invalid if invalid.any() else None,
    )
