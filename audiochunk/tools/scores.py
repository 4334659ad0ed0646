"""What a trained model needs for each chunk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiochunk.errors import ConfigError, printable, reason


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
            ConfigError: it is no such file, holds something else, or cannot be read.
        """
        try:
            found = np.load(path, allow_pickle=False)
        except OSError as error:
            raise ConfigError(f"{printable(str(path))}: {reason(error)}") from error
        except (ValueError, EOFError) as error:
            raise ConfigError(f"{printable(str(path))}: not an array that numpy.save wrote") from error
        if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "fiu" or not found.size:
            raise ConfigError(f"{printable(str(path))}: expected bits per chunk, one number for each")
        bits = found.astype(np.float64)
        if not (np.isfinite(bits) & (bits >= 0)).all():
            raise ConfigError(f"{printable(str(path))}: bits per chunk that are negative or no numbers")
        return cls(path.stem, bits)

    @classmethod
    def read_all(cls, paths: Sequence[Path]) -> "list[Scores]":
        """The scores of several models, each named so that it can be told from the others."""
        stems = [path.stem for path in paths]
        found = [cls.read(path) for path in paths]
        return [
            scores if stems.count(scores.name) == 1 else replace(scores, name=printable(str(path.with_suffix(""))))
            for scores, path in zip(found, paths, strict=True)
        ]
