import json
import sys
from collections.abc import Callable
from pathlib import Path

import build
import numpy as np
import pytest
import read
import scaling
import tables
from contenders import CHUNK, Job, in_dataset
from frames import Frames, split_frames
from ways import of_array, of_dataset, of_frames

MakeJob = Callable[..., Job]


def columns_of(markdown: str) -> set[int]:
    """How many cells the rows of a table have."""
    return {line.count("|") - 1 for line in markdown.splitlines() if line.startswith("|")}


def test_a_table_renders_with_as_many_cells_in_every_row() -> None:
    table = tables.Table("title", "note", ("", "a"), [("b", "c"), ("d|e", "f\ng")])
    assert table.markdown() == "## title\n\nnote\n\n|  | a |\n| --- | --- |\n| b | c |\n| d/e | f g |\n"


def test_numbers_and_spreads() -> None:
    assert tables.number(None) == tables.spread([]) == "–"
    assert tables.number(1234.5, 1) == "1,234.5"
    assert tables.spread([3, 1, 2]) == "2.00 (1.00–3.00)"


def options(tmp_path: Path, only: tuple[str, ...]) -> build.Options:
    return build.Options(
        share=4 / 150,
        rounds=1,
        peer_rounds=1,
        workers=(1,),
        compress=("none",),
        only=only,
        python=sys.executable,
        corpora=tmp_path / "corpora",
        marginal=True,
    )


def test_builds_are_measured_and_their_tables_written(job: MakeJob, tmp_path: Path) -> None:
    corpus = job("big", recordings=4).corpus
    table = build.measure(corpus, options(tmp_path, ("audiochunk", "memmap")), fsync=False, scratch=tmp_path)
    tables.write("build", "Title", [table], out=tmp_path)
    content = json.loads((tmp_path / "build.json").read_text())
    rows = content["tables"][0]["rows"]
    assert [row["name"] for row in rows] == ["limit", "audiochunk, 1 worker", "np.memmap script"]
    assert all(row["refused"] == "" and row["of_limit"] > 0 and row["quarter"]["seconds"] for row in rows)
    assert columns_of((tmp_path / "build.md").read_text()) == {len(build.COLUMNS)}


def test_nobody_who_does_not_fsync_stands_beside_those_who_do(job: MakeJob, tmp_path: Path) -> None:
    field = build.field_of(job("big"), options(tmp_path, ()), fsync=True, small=False)
    assert [one.name for one in field] == ["limit", "audiochunk, 1 worker"]
    assert all("--fsync" in one.command for one in field)


def test_a_line_through_points_on_a_line() -> None:
    line = scaling.fit([1, 4, 16], [3, 9, 33])
    assert (line.slope, line.intercept, line.worst) == pytest.approx((2, 1, 0))


def test_a_point_off_the_line_is_seen() -> None:
    assert scaling.fit([0, 1, 2], [1, 2.2, 1]).worst > 0.3


@pytest.fixture
def datasets(job: MakeJob, tmp_path: Path) -> tuple[Path, Path, Path]:
    """The same chunks raw, compressed, and in one file."""
    source = job("big", seconds=2).source
    raw = read.build(source, tmp_path / "raw")
    compressed = read.build(source, tmp_path / "zstd", "--compress", "zstd", "--shard-size", "64KiB")
    return raw, compressed, read.flatten(raw, tmp_path / "flat")


def test_frames_hold_the_chunks_that_they_should(datasets: tuple[Path, Path, Path]) -> None:
    import zstandard

    raw, compressed, _ = datasets
    frames = Frames.of(compressed, chunk_bytes=CHUNK)
    decoded = b"".join(zstandard.ZstdDecompressor().decompress(frame) for frame in frames.frames)
    assert decoded == b"".join(in_dataset(raw))
    assert len(frames.frame_of) == len(decoded) // CHUNK
    sizes = np.bincount(frames.frame_of) * CHUNK
    assert sizes.tolist() == [zstandard.frame_content_size(frame) for frame in frames.frames]


def test_a_file_without_seek_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no seek table"):
        list(split_frames(bytes(100)))


def test_every_way_of_reading_is_timed(datasets: tuple[Path, Path, Path]) -> None:
    raw, compressed, flat = datasets
    ways = {**of_array(flat, batch=8), **of_dataset(raw, batch=8), **of_frames(compressed, batch=8)}
    n = flat.stat().st_size // CHUNK
    found = read.speeds(ways, n, rounds=2, most=n - 1, shuffled=True)
    assert found.keys() == ways.keys()
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())
    table = read.table("title", "note", found, limit="zstd alone")
    assert table.rows[0][::2] == ("zstd alone", "1.00")
    assert columns_of(table.markdown()) == {3}


def test_results_are_drawn(job: MakeJob, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install -e '.[bench]'")
    import plots

    row = {"name": "limit", "of_limit": 1.0, "marginal": 1.0}
    builds = {"tables": [{"title": "big", "rows": [row, {"name": "absent", "of_limit": None}]}]}
    (tmp_path / "build.json").write_text(json.dumps(builds))
    runs = [{"seconds": [1.0, 1.2]}, {"seconds": [2.0]}]
    sizes = {"corpus": "big", "recordings": [1, 4], "source_bytes": [10, 40], "builds": {"limit": runs}}
    fits = {"corpus": "big", "lines": {"limit": {"intercept_s": 0.7, "s_per_recording": 0.3}}}
    (tmp_path / "scaling.json").write_text(json.dumps({"tables": [sizes, fits]}))
    drawn = plots.draw(tmp_path)
    assert [picture.name for picture in drawn] == ["build.png", "scaling.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in drawn)
