"""Pictures made of characters: a waveform, a histogram."""

import numpy as np
import numpy.typing as npt

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def bars(values: npt.NDArray[np.int64]) -> str:
    """One character for each value, the largest as a full block, none but zero as a space.

    >>> bars(np.array([0, 1, 4, 8]))
    ' ▁▄█'
    """
    peak = max(1, int(values.max(initial=0)))
    return "".join(_EIGHTHS[-(-8 * int(value) // peak)] for value in values)


def waveform(samples: npt.NDArray[np.float32], *, width: int = 72, height: int = 7) -> list[str]:
    """A waveform in lines of text, from +peak at the top to -peak at the bottom.

    Args:
        samples: 1-D.
        width: columns; each shows the range of its samples.
        height: lines, an odd number.
    """
    if samples.size == 0:
        return []
    peak = float(np.abs(samples).max())
    if peak == 0:
        return ["─" * min(width, samples.size) if line == height // 2 else "" for line in range(height)]
    columns = np.array_split(samples, min(width, samples.size))
    middle = height // 2
    top = [round(middle - middle * float(column.max()) / peak) for column in columns]
    bottom = [round(middle - middle * float(column.min()) / peak) for column in columns]
    return [
        "".join(
            "█" if t <= line <= b else "─" if line == middle else " " for t, b in zip(top, bottom, strict=True)
        ).rstrip()
        for line in range(height)
    ]
