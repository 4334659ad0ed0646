"""The table that the training examples print: the figures of an evaluation, on the chunks that were scored."""

import doctest
from collections.abc import Callable
from pathlib import Path

import comparison
import numpy as np

import audiochunk
from audiochunk.tools.evaluate import Evaluation, Row


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(comparison, extraglobs={"Row": Row}).failed == 0


def test_the_table_is_about_the_chunks_that_were_scored(dataset: Callable[..., Path], tmp_path: Path) -> None:
    n = len(audiochunk.open(dataset(), "val")) - 2
    printed = comparison.save_and_compare(dataset(), np.full(n, 256.0), tmp_path / "mine.npy")
    assert printed.startswith(f"{n} chunks of val\n")
    assert ["model:mine", "chunked", "1.000", "12.50"] in [line.split() for line in printed.splitlines()]
    assert np.load(tmp_path / "mine.npy").tolist() == [256.0] * n


def test_rows_come_largest_first_and_what_is_missing_says_so(dataset: Callable[..., Path]) -> None:
    rows = [
        *Evaluation(dataset(), codecs=["gzip-9"]).run(),
        Row("flac", "whole", 1, 1, None, missing="apt install flac"),
    ]
    lines = comparison.table(rows).splitlines()
    figures = [float(line.split()[2]) for line in lines[1:-1]]
    assert figures == sorted(figures, reverse=True)
    assert lines[-1].endswith("apt install flac")
