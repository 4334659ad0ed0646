from pathlib import Path

import numpy as np
import pytest

from audiochunk.tools.evaluate import Evaluation, Row
from audiochunk.tools.report.comparison import Comparison
from audiochunk.tools.scores import Scores

ROWS = (
    Row("gzip-9", "chunked", 1000, 2000, 500, version="zlib 1"),
    Row("gzip-9", "chunked-header-once", 1000, 2000, 450, version="zlib 1"),
    Row("gzip-9", "whole", 1000, 2000, 200, version="zlib 1"),
    Row("flac-8", "chunked", 1000, 2000, 600, version="libsndfile 1"),
    Row("flac-8", "chunked-header-once", 1000, 2000, 300, version="libsndfile 1"),
    Row("flac-8", "whole", 1000, 2000, 250, version="libsndfile 1"),
    Row("brotli", "chunked", 1000, 2000, None, missing="pip install brotli"),
    Row("brotli", "chunked-header-once", 1000, 2000, None, missing="pip install brotli"),
    Row("entropy-0", "bound", 1000, 2000, 400),
    Row("entropy-1", "bound", 1000, 2000, None, missing="too few pairs of codes to tell"),
    Row("model:a", "chunked", 1000, 2000, 1500),
    Row("model:a", "chunked-header-once", 1000, 2000, 1500),
)
COMPARISON = Comparison(ROWS, splits=("train",), n_chunks=10)


def test_bars_are_in_order_of_the_size_that_a_model_is_put_beside() -> None:
    assert [group.name for group in COMPARISON.groups()] == ["flac-8", "entropy-0", "gzip-9", "model:a"]
    assert [(bar.look, bar.percent) for bar in COMPARISON.groups()[0].bars] == [
        ("chunked", 60),
        ("chunked-header-once", 30),
        ("whole", 25),
    ]


def test_a_model_has_one_bar_of_its_own_look() -> None:
    (bar,) = COMPARISON.groups()[-1].bars
    assert (bar.look, bar.percent, bar.figure) == ("model", 150, "150.0")


def test_the_chart_goes_up_to_raw_or_beyond() -> None:
    assert COMPARISON.most_percent() == 150
    assert Comparison(ROWS[:3], splits=("train",), n_chunks=10).most_percent() == 100


def test_the_legend_has_what_is_drawn_and_nothing_else() -> None:
    assert COMPARISON.looks() == ["chunked", "chunked-header-once", "whole", "model", "bound"]
    assert Comparison(ROWS[8:9], splits=("train",), n_chunks=10).looks() == ["bound"]


def test_every_size_is_in_the_table_of_its_convention_smallest_first() -> None:
    parts = {part.convention: [row["codec"] for row in part.rows] for part in COMPARISON.parts()}
    assert parts == {
        "chunked": ["gzip-9", "flac-8", "model:a"],
        "chunked-header-once": ["flac-8", "gzip-9", "model:a"],
        "whole": ["gzip-9", "flac-8"],
        "bound": ["entropy-0"],
    }


def test_what_has_no_size_is_named_once_with_the_reason() -> None:
    assert COMPARISON.missing() == {"brotli": "pip install brotli", "entropy-1": "too few pairs of codes to tell"}


def test_versions_come_once_with_the_codecs_that_they_are_of() -> None:
    rows = (*ROWS, Row("bz2", "chunked", 1000, 2000, 300, version="zlib 1"))
    found = Comparison(rows, splits=("train",), n_chunks=10).versions()
    assert found == {"zlib 1": ["gzip-9", "bz2"], "libsndfile 1": ["flac-8"]}


@pytest.mark.parametrize(
    ("percent", "figure"), [(0.004, "0.00"), (3.14159, "3.14"), (51.26, "51.3"), (1234.5, "1,234.5")]
)
def test_figures_have_about_three_digits(percent: float, figure: str) -> None:
    rows = (Row("gzip-9", "chunked", 100_000_000, 1, round(1_000_000 * percent)),)
    assert Comparison(rows, splits=("train",), n_chunks=1).groups()[0].bars[0].figure == figure


def test_it_knows_which_chunks_were_looked_at(dataset: Path) -> None:
    scores = Scores("m", np.full(9, 4000.0))
    evaluation = Evaluation(dataset, split="train", codecs=["gzip-9"], scores=[scores], max_chunks=4, seed=3)
    found = Comparison.of(evaluation, evaluation.run(), max_chunks=4, seed=3)
    assert (found.splits, found.n_chunks, found.first, found.max_chunks, found.seed) == (("train",), 4, 9, 4, 3)
    assert (found.raw_bytes, found.samples, found.warnings) == (4 * 2048, 4 * 2048, ())
