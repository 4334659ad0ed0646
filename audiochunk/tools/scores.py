"""What a trained model needs for each chunk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError, printable


@dataclass(frozen=True, slots=True)
class Scores:
    """What a trained model needs for the first chunks of a split.

    Attributes:
        name: of the model; a file's name without its extension.
        bits: (n,) float64, for each chunk.
    """

    name: str
    bits: npt.NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """The scores in a .npy file.

        Raises:
            ConfigError: it is no such file, or holds something else.
            OSError: it could not be read.
        """
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ConfigError(f"{printable(str(path))}: not an array that numpy.save wrote") from error
        if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "fiu" or not found.size:
            raise ConfigError(f"{printable(str(path))}: expected bits per chunk, one number for each")
        bits = found.astype(np.float64)
        if not (np.isfinite(bits) & (bits >= 0)).all():
            raise ConfigError(f"{printable(str(path))}: bits per chunk that are negative or no numbers")
        return cls(path.stem, bits)
