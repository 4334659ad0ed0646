import json
from pathlib import Path
from typing import Any

import pytest

from audiochunk.config import BuildConfig
from audiochunk.pipeline import run
from audiochunk.tools.facts import cache_path, collect, collect_cached

from .known import build, speech


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    waves = {"train/a.wav": speech(1), "val/b.wav": speech(1), "val/short.wav": speech(2, 30)}
    return build(tmp_path, waves, bits=16, split="folders")


@pytest.fixture
def surveys(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The stats of every survey that was made."""
    made: list[tuple[str, ...]] = []

    def spy(*arguments: Any, **options: Any) -> Any:
        made.append(options["stats"])
        return collect(*arguments, **options)

    monkeypatch.setattr("audiochunk.tools.facts.cache.collect", spy)
    return made


def test_facts_are_kept_beside_the_dataset_and_never_in_it(dataset: Path) -> None:
    before = sorted(dataset.iterdir())
    collect_cached(dataset)
    assert cache_path(dataset) == dataset.parent / "out.facts.json"
    assert cache_path(dataset).is_file()
    assert sorted(dataset.iterdir()) == before
    assert json.loads(cache_path(dataset).read_bytes())["dataset_id"] == collect(dataset).dataset_id


def test_the_place_of_the_cache_does_not_depend_on_how_the_folder_is_named(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset)
    expected = dataset.parent / "out.facts.json"
    assert {cache_path(name) for name in (".", "../out", f"{dataset}/", dataset)} == {expected}


def test_what_is_kept_is_what_was_found(dataset: Path, surveys: list[tuple[str, ...]]) -> None:
    first, again = collect_cached(dataset), collect_cached(dataset)
    assert len(surveys) == 1
    assert again.plain() == first.plain() == collect(dataset).plain()
    assert {name: column.dtype for name, column in again.columns.items()} == {
        name: column.dtype for name, column in first.columns.items()
    }


def test_fewer_stats_are_taken_from_what_is_kept(dataset: Path, surveys: list[tuple[str, ...]]) -> None:
    collect_cached(dataset)
    for stats in (["depth"], ["dc", "duplicates"], ["codes"], []):
        assert collect_cached(dataset, stats=stats).plain() == collect(dataset, stats=stats).plain()
    assert len(surveys) == 1


def test_more_stats_are_collected_together_with_those_that_were_kept(
    dataset: Path, surveys: list[tuple[str, ...]]
) -> None:
    collect_cached(dataset, stats=["dc"])
    assert collect_cached(dataset, stats=["loudness"]).stats == ("loudness",)
    assert surveys == [("dc",), ("dc", "loudness")]
    collect_cached(dataset, stats=["dc"])
    assert len(surveys) == 2


def test_other_splits_are_collected_anew(dataset: Path, surveys: list[tuple[str, ...]]) -> None:
    collect_cached(dataset)
    assert list(collect_cached(dataset, splits=["val"]).splits) == ["val"]
    assert len(surveys) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-20],
        lambda data: data.replace(b'"samples":[', b'"samples":[1', 1),
        lambda data: data.replace(b'"format"', b'"farmot"', 1),
        lambda data: b"[" * 100_000,
        lambda data: b"\xff" + data,
    ],
)
def test_damaged_facts_are_not_believed(dataset: Path, surveys: list[tuple[str, ...]], damage: Any) -> None:
    collect_cached(dataset)
    cache_path(dataset).write_bytes(damage(cache_path(dataset).read_bytes()))
    assert collect_cached(dataset).plain() == collect(dataset).plain()
    assert len(surveys) == 2
    collect_cached(dataset)
    assert len(surveys) == 2


def test_facts_of_another_dataset_are_not_believed(dataset: Path, surveys: list[tuple[str, ...]]) -> None:
    collect_cached(dataset)
    config = BuildConfig.make(bits=8, split="folders")
    run.build(dataset.parent / "wavs", dataset, config, workers=1, fsync=False, overwrite=True)
    assert collect_cached(dataset).encoding.bits == 8
    assert len(surveys) == 2
