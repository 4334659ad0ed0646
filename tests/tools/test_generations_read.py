"""What is read, measured and drawn of a dataset that recordings were added to: as of its parts, one after the other."""

from pathlib import Path

import numpy as np
import pytest

import audiochunk
from audiochunk import ConcatDataset
from audiochunk.errors import ConfigError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.tools.card.about import About
from audiochunk.tools.card.card import write_card
from audiochunk.tools.decode import decode_all
from audiochunk.tools.evaluate import Evaluation
from audiochunk.tools.facts import collect
from audiochunk.tools.facts.cache import collect_cached
from audiochunk.tools.verify import verify

from ..pipeline.appended import FIRST, SECOND, append, build, write  # noqa: TID252  # made once, used by both

LAYOUTS = pytest.mark.parametrize("both", ["blocks", "split"], indirect=True)


@pytest.fixture(params=["blocks"], scope="module")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shards` of two generations; `first` and `second` of each one's recordings alone; `whole` of all at once."""
    base = tmp_path_factory.mktemp("both")
    for names, alone in ((FIRST, "first"), (SECOND, "second")):
        write(base / alone / "wavs", names)
        build(base / alone / "wavs", base / alone / "shards", layout=request.param)
        write(base / "wavs", names)
        if names is FIRST:
            build(base / "wavs", base / "shards", layout=request.param)
    append(base / "wavs", base / "shards")
    build(base / "wavs", base / "whole" / "shards", layout=request.param)
    return base


@pytest.fixture
def three(both: Path) -> tuple[ChunkDataset, ChunkDataset, ChunkDataset]:
    return tuple(audiochunk.open(both / name / "shards") for name in (".", "first", "second"))  # type: ignore[return-value]


@LAYOUTS
def test_chunks_are_those_of_the_two_one_after_the_other(
    three: tuple[ChunkDataset, ChunkDataset, ChunkDataset],
) -> None:
    ds, first, second = three
    wanted = ConcatDataset([first, second])
    assert len(ds) == len(wanted)
    np.testing.assert_array_equal(ds[list(range(len(ds)))], wanted[list(range(len(wanted)))])


@LAYOUTS
def test_every_chunk_is_found_in_its_recording(three: tuple[ChunkDataset, ChunkDataset, ChunkDataset]) -> None:
    ds, first, second = three
    for i in range(len(ds)):
        found, part, at = ds.locate(i), *((first, i) if i < len(first) else (second, i - len(first)))
        wanted = part.locate(at)
        assert (found.path, found.first_frame, found.last_frame, found.chunk, found.channels) == (
            wanted.path,
            wanted.first_frame,
            wanted.last_frame,
            wanted.chunk,
            wanted.channels,
        )
        np.testing.assert_array_equal(ds.codes(i), part.codes(at))


@LAYOUTS
def test_every_recording_decodes_as_in_the_dataset_of_all(both: Path) -> None:
    ds, whole = audiochunk.open(both / "shards"), audiochunk.open(both / "whole" / "shards")
    paths = {row.path for row in ds.recordings if row.error is None}
    assert paths == {row.path for row in whole.recordings if row.error is None}
    for path in paths:
        np.testing.assert_array_equal(ds.decode(path).samples, whole.decode(path).samples)
    assert all(row.error for row in ds.recordings if row.path not in paths)
    with pytest.raises(ConfigError, match=r"b/p-nan-long\.wav was refused: holds NaN"):
        ds.decode("b/p-nan-long.wav")
    with pytest.raises(ConfigError, match="there is no recording"):
        ds.decode("b/none.wav")


@LAYOUTS
def test_a_recording_is_found_without_a_look_at_all_rows(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = audiochunk.open(both / "shards")
    assert len(ds.recordings.restarts) == 2
    monkeypatch.setattr("audiochunk.reader.decode.rows_named", None)
    for path in ("a/a.wav", "a/b-stereo.wav", "c/z-24.wav", "c/zz.wav", "b/q-long.wav", "c/y-stereo.wav"):
        assert len(ds.decode(path).samples) > 0


def test_files_are_written_in_path_order(both: Path, tmp_path: Path) -> None:
    written = decode_all(both / "shards", tmp_path / "wavs", splits=["train"])
    again = decode_all(both / "whole" / "shards", tmp_path / "again", splits=["train"])
    assert [file.target for file in written] == sorted(file.target for file in written)
    assert [file.target for file in written] == [file.target for file in again]
    for file in sorted((tmp_path / "again").rglob("*.wav")):
        assert (tmp_path / "wavs" / file.relative_to(tmp_path / "again")).read_bytes() == file.read_bytes()


@LAYOUTS
@pytest.mark.parametrize("length", [1, 3])
def test_windows_are_those_of_the_two(three: tuple[ChunkDataset, ChunkDataset, ChunkDataset], length: int) -> None:
    windows, *parts = (ds.windows(length, stride_chunks=2) for ds in three)
    wanted = ConcatDataset(parts)
    np.testing.assert_array_equal(windows[list(range(len(windows)))], wanted[list(range(len(wanted)))])


def test_crops_lie_within_recordings_of_both(three: tuple[ChunkDataset, ChunkDataset, ChunkDataset]) -> None:
    crops, first, second = (ds.crops(120, 5, n=200) for ds in three)
    assert (crops.width, len(crops)) == (first.width, 200)
    recordings = [ds.recordings for ds in three]
    streams = {
        audio.tobytes()
        for ds, rows in zip(three[1:], recordings[1:], strict=True)
        for row in rows
        if row.chunks
        for audio in [np.concatenate([ds.codes(row.first_chunk + i) for i in range(row.chunks)])]
    }
    hits = [next(stream for stream in streams if crop.tobytes() in stream) for crop in crops[:200]]
    assert len(set(hits)) > 8
    assert len(second) == 200


def test_codecs_need_as_many_bytes_as_for_the_two(both: Path) -> None:
    whole, first, second = (
        {row.convention: row.compressed_bytes or 0 for row in Evaluation(folder, codecs=["gzip-9"]).run(workers=1)}
        for folder in (both / "shards", both / "first" / "shards", both / "second" / "shards")
    )
    for convention in ("chunked", "whole"):
        assert whole[convention] == first[convention] + second[convention] > 1000


def test_facts_are_those_of_the_two(both: Path) -> None:
    facts, first, second = (collect(both / name / "shards") for name in (".", "first", "second"))
    assert [row.path for row in facts.rows] == [row.path for row in [*first.rows, *second.rows]]
    np.testing.assert_array_equal(facts.bins, first.bins + second.bins)
    for name, column in facts.columns.items():
        if name != "duplicate_of":
            np.testing.assert_array_equal(column, np.concatenate([first.columns[name], second.columns[name]]), name)


def test_facts_that_were_kept_are_not_believed_after_an_append(tmp_path: Path) -> None:
    write(tmp_path / "wavs", FIRST)
    build(tmp_path / "wavs", tmp_path / "shards")
    before = collect_cached(tmp_path / "shards")
    write(tmp_path / "wavs", ["a/a-empty.wav"])
    append(tmp_path / "wavs", tmp_path / "shards")
    assert collect_cached(tmp_path / "shards").dataset_id == before.dataset_id
    write(tmp_path / "wavs", SECOND)
    append(tmp_path / "wavs", tmp_path / "shards")
    assert collect_cached(tmp_path / "shards").splits["train"] > before.splits["train"]


def test_a_card_is_one_of_the_dataset_before_until_it_is_made_anew(tmp_path: Path) -> None:
    write(tmp_path / "wavs", FIRST)
    build(tmp_path / "wavs", tmp_path / "shards")
    about = About(name="Two")
    write_card(tmp_path / "shards", about=about)
    assert verify(tmp_path / "shards") == []
    write(tmp_path / "wavs", SECOND)
    manifest = append(tmp_path / "wavs", tmp_path / "shards").manifest
    assert {finding.place for finding in verify(tmp_path / "shards")} == {"dataset"}
    write_card(tmp_path / "shards", about=about)
    assert verify(tmp_path / "shards") == []
    card = (tmp_path / "shards" / "README.md").read_text()
    assert f"{manifest.splits['train'].chunks:,}" in card


def test_the_report_is_one_of_all_recordings(both: Path) -> None:
    pytest.importorskip("matplotlib")
    from audiochunk.tools.report.page import page

    text = page(both / "shards", facts=collect(both / "shards"), gallery=20).decode()
    for row in audiochunk.open(both / "shards").recordings:
        if row.chunks:
            assert row.path.rpartition("/")[2] in text
