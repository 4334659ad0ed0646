import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash

from audiochunk.config import BuildConfig
from audiochunk.errors import OutputExistsError
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
        lambda data: data[:29] + b"[" * 100_000,
        lambda data: data[:60] + b"\xff" + data[60:],
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


@pytest.mark.parametrize("data", [b"notes\n", b'{"format": "mine"}', b'{"format":"audiochunk', b"\xff" * 99])
def test_a_file_that_is_somebody_elses_is_kept_and_nothing_is_collected(
    dataset: Path, surveys: list[tuple[str, ...]], data: bytes
) -> None:
    cache_path(dataset).write_bytes(data)
    with pytest.raises(OutputExistsError, match="no file of facts; move it away, or do without a cache"):
        collect_cached(dataset)
    assert cache_path(dataset).read_bytes() == data
    assert surveys == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_what_is_no_file_is_kept(dataset: Path, surveys: list[tuple[str, ...]], make: Callable[[Path], None]) -> None:
    make(cache_path(dataset))
    with pytest.raises(OutputExistsError, match="cannot be read: not a regular file"):
        collect_cached(dataset)
    assert not cache_path(dataset).is_file()
    assert surveys == []


def sealed_again(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    kept = json.loads(data)
    change(kept)
    kept["digest"] = ""
    kept["digest"] = xxhash.xxh3_128_hexdigest(msgspec.json.encode(kept))
    return msgspec.json.encode(kept)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.update(columns={}),
        lambda kept: kept["columns"].pop("dc"),
        lambda kept: kept["columns"].update(volume=[1, 2, 3]),
        lambda kept: kept["columns"]["dc"].pop(),
        lambda kept: kept["columns"]["samples"].append(5),
        lambda kept: kept["columns"]["duplicate_of"].__setitem__(0, 3),
        lambda kept: kept["columns"]["duplicate_of"].__setitem__(0, -2),
        lambda kept: kept["columns"]["samples"].__setitem__(0, 2**70),
        lambda kept: kept["columns"]["samples"].__setitem__(0, None),
        lambda kept: kept["columns"]["samples"].__setitem__(0, 1.5),
        lambda kept: kept["columns"]["effective_bits"].__setitem__(0, 300),
        lambda kept: kept["columns"]["dc"].__setitem__(0, "loud"),
        lambda kept: kept["columns"]["origin"].__setitem__(0, "long enough to be cut"),
        lambda kept: kept["stats"].append("volume"),
        lambda kept: kept["stats"].reverse(),
        lambda kept: kept["bins"].pop(),
        lambda kept: kept["bins"].__setitem__(0, 2**64),
        lambda kept: kept["shared"].pop(),
        lambda kept: kept["shared"][0].pop(),
        lambda kept: kept["splits"].update(val=1),
    ],
)
def test_odd_facts_are_not_believed_however_well_they_are_sealed(
    dataset: Path, surveys: list[tuple[str, ...]], change: Callable[[dict[str, Any]], object]
) -> None:
    expected = collect_cached(dataset).plain()
    data = cache_path(dataset).read_bytes()
    cache_path(dataset).write_bytes(sealed_again(data, lambda kept: None))
    collect_cached(dataset)
    assert len(surveys) == 1
    cache_path(dataset).write_bytes(sealed_again(data, change))
    assert collect_cached(dataset).plain() == expected
    assert len(surveys) == 2
    assert cache_path(dataset).read_bytes() == data
