"""A trained model beside codecs, on the same chunks: a short form of `audiochunk evaluate --model-scores`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiochunk.tools.evaluate import Evaluation, Row
from audiochunk.tools.scores import Scores

_CODECS = ("gzip-9", "lzma", "flac-8", "entropy-0", "entropy-1")


def save_and_compare(dataset: Path, scores: npt.NDArray[np.float64], path: Path) -> str:
    """Save the bits that each of the first chunks of `val` costs a model; what codecs make of these, as a table.

    Args:
        dataset: folder of it.
        scores: (n,), in bits.
        path: of the .npy file; its stem is the model's name.
    """
    np.save(path, scores)
    evaluation = Evaluation(dataset, split="val", codecs=_CODECS, scores=[Scores.read(path)])
    return f"{evaluation.n_chunks} chunks of val\n{table(evaluation.run())}"


def table(rows: list[Row]) -> str:
    """Rows as lines of text, the largest first.

    >>> print(table([Row("model:a", "chunked", 800, 800, 100), Row("flac-8", "whole", 800, 800, 400)]))
                                     bits per byte  % of raw
    flac-8       whole                       4.000     50.00
    model:a      chunked                     1.000     12.50
    """
    lines = [f"{'':32} bits per byte  % of raw"]
    for row in sorted(rows, key=lambda row: -(row.compressed_bytes or 0)):
        plain = row.plain()
        lines.append(
            f"{row.codec:12} {row.convention:19} {plain['bits_per_byte']:13.3f}  {plain['percent_of_raw']:8.2f}"
            if row.compressed_bytes is not None
            else f"{row.codec:12} {row.convention:19} {row.missing}"
        )
    return "\n".join(lines)
