import os
import time
from pathlib import Path

import pytest

from audiochunk.storage import room
from audiochunk.storage.cache import Cache
from audiochunk.storage.room import Room

from .fetches import read, refuses, writes

COUNTS: list[str] = []


def name_of(number: int) -> str:
    return f"{number:032x}.x"


def kept(cache: Cache) -> list[int]:
    return sorted(int(path.name.partition(".")[0], 16) for path in cache.files.iterdir())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache for 100 bytes with ten files of ten, counted once, and the folder so large that this is good for long."""
    cache = Cache(tmp_path, 100)
    for number in range(10):
        read(cache, name_of(number), writes(bytes(10)))
        os.utime(cache.files / name_of(number), ns=(number, number))
    monkeypatch.setattr(room, "_CHEAP_S", 0)
    monkeypatch.setattr(room, "_GOOD_FOR", 10**9)
    monkeypatch.setattr(room, "_rooms", {})
    count = Room._count

    def noted(self: Room, newest: str, most: int | None) -> None:
        COUNTS.append(newest)
        count(self, newest, most)

    monkeypatch.setattr(Room, "_count", noted)
    COUNTS.clear()
    return cache


def test_many_files_are_counted_once_and_the_limit_holds(cache: Cache) -> None:
    for number in range(10, 18):
        read(cache, name_of(number), writes(bytes(10)))
        assert kept(cache) == list(range(number - 9, number + 1))
    assert len(COUNTS) == 1


def test_file_that_was_opened_since_it_was_counted_stays(cache: Cache) -> None:
    read(cache, name_of(10), writes(bytes(10)))
    read(cache, name_of(1), refuses)
    read(cache, name_of(11), writes(bytes(10)))
    assert kept(cache) == [1, *range(3, 12)]
    assert len(COUNTS) == 1


def test_file_that_others_have_removed_makes_no_room_for_what_is_not_known_here(cache: Cache) -> None:
    read(cache, name_of(10), writes(bytes(10)))
    (cache.files / name_of(1)).rename(cache.files / name_of(99))  # as if another had made room for that one
    read(cache, name_of(11), writes(bytes(10)))
    assert kept(cache) == [*range(3, 12), 99]


def test_files_are_counted_again_once_all_that_were_known_are_gone(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_MOST_KEPT", 2)
    for number in range(10, 18):
        read(cache, name_of(number), writes(bytes(10)))
        assert kept(cache) == list(range(number - 9, number + 1))
    assert 2 < len(COUNTS) < 8


def test_files_are_counted_again_after_a_while(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_GOOD_FOR", 0)
    (cache.files / name_of(99)).write_bytes(bytes(50))
    read(cache, name_of(10), writes(bytes(10)))
    time.sleep(0.01)
    read(cache, name_of(11), writes(bytes(10)))
    assert kept(cache) == [*range(7, 12), 99]
    assert len(COUNTS) >= 3


def test_files_that_cannot_be_removed_do_not_hide_those_that_can(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = os.unlink

    def refused(path: str, **options: object) -> None:
        if Path(path).name in map(name_of, range(5)):
            raise PermissionError(1, "Operation not permitted")
        remove(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", refused)
    monkeypatch.setattr(room, "_MOST_KEPT", 2)
    read(cache, name_of(10), writes(bytes(10)))
    assert kept(cache) == [*range(5), *range(6, 11)]
    small = Cache(cache.folder, 10)
    read(small, name_of(11), writes(bytes(10)))
    assert kept(cache) == [*range(5), 11]
