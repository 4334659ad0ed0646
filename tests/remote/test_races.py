"""Two builds at one URL of a store, whatever either is about to ask of it: a sound dataset, or a build that goes on."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import pytest

from audiochunk.config import BuildConfig
from audiochunk.errors import MachineError, OutputExistsError
from audiochunk.pipeline import places, run
from audiochunk.pipeline.built import Built
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.site import Site
from audiochunk.pipeline.store import build as store_build
from audiochunk.pipeline.store import output as store_output
from audiochunk.pipeline.store.shards import StoredRecord
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects
from tests.waiting import LONG_S

from .made import built, make_recordings, objects_of

ASKED = ("write", "upload", "rename", "remove", "list", "stat", "read")


def make(source: Path, url: str, *, overwrite: bool = False, **options: Any) -> Built:
    config = BuildConfig.make(**{"shard_size": 20_000, **options})
    return run.build(source, url, config, workers=1, overwrite=overwrite)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("recorded"), n=4, frames=8000)


class Before:
    """Does something once, before the n-th use of a store."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._left = -1
        self._act: Callable[[], object] = lambda: None
        for name in ASKED:
            patch.setattr(Objects, name, self._counted(getattr(Objects, name)))
        patch.setattr(store_build, "create", self._counted(store_build.create))

    def at(self, n: int, act: Callable[[], object]) -> None:
        self._left, self._act = n, act

    @property
    def is_done(self) -> bool:
        return self._left < 0

    def _counted(self, whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                self._act()
            return whole(*args, **kwargs)

        return call


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Before:
    return Before(monkeypatch)


def each_race(before: Before, memory: str, first: Callable[[], Built], second: Callable[[], object]) -> Iterator[str]:
    """How the first build ends, where the second is made before its n-th use of the store, for every n."""
    n = 0
    while True:
        before.at(n, second)
        try:
            first()
            ended = "done"
        except (MachineError, OutputExistsError) as error:
            ended = str(error)
        if not before.is_done:
            return
        yield ended
        for name in objects_of(memory):
            Objects(memory).remove(name)
        n += 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_whole_build_before_any_request_of_another_leaves_one_sound_dataset(
    before: Before, memory: str, folder: Path, tmp_path: Path, bits: int, overwrite: bool
) -> None:
    sound = {n: built(folder, tmp_path / str(n), bits=n) for n in (8, bits)}

    def second() -> None:
        # What it would not do to a dataset that is there, a build refuses.
        with suppress(OutputExistsError):
            make(folder, memory, bits=bits, overwrite=overwrite)

    ends = []
    for ended in each_race(before, memory, lambda: make(folder, memory, overwrite=overwrite), second):
        there = {name: data for name, data in objects_of(memory).items() if not name.startswith(".build/")}
        assert there in sound.values(), ended
        found = next(n for n, dataset in sound.items() if there == dataset)
        assert make(folder, memory, bits=found).up_to_date
        assert objects_of(memory) == sound[found]  # and nothing else
        ends.append(ended)
    assert len(ends) > 60
    assert sum("another build has taken over there" in ended for ended in ends) > 30
    assert not any("were written" in ended for ended in ends)


def test_a_build_that_is_killed_in_a_race_is_gone_on_with(before: Before, memory: str, folder: Path) -> None:
    """The second is killed at its first shard: the first ends, or has yet to begin and takes over."""

    class Killed(BaseException):
        pass

    class AtOnce(Watcher):
        def finished(self, result: ShardResult) -> None:
            raise Killed

    def second() -> None:
        with suppress(OutputExistsError, Killed):
            run.build(folder, memory, BuildConfig.make(shard_size=20_000), workers=1, watcher=AtOnce())

    whole: dict[str, bytes] = {}
    for ended in each_race(before, memory, lambda: make(folder, memory), second):
        assert make(folder, memory).up_to_date == (ended == "done" or "meanwhile" in ended), ended
        whole = whole or objects_of(memory)
        assert objects_of(memory) == whole


def test_two_that_begin_at_once_are_one_that_goes_on(
    memory: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, take_over = Barrier(2), store_build._take_over

    def at_once(seen: Site) -> None:
        both.wait(LONG_S)
        take_over(seen)

    monkeypatch.setattr(store_build, "_take_over", at_once)

    def ending(_: int) -> str:
        try:
            return f"{len(make(folder, memory).manifest.shards)} shards"
        except MachineError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        ends = sorted(threads.map(ending, range(2)))
    assert ends[0] == "3 shards"
    assert re.search("another build has (begun there at the same time|taken over there); this one ends here", ends[1])
    assert make(folder, memory).up_to_date


def test_a_shard_of_somebody_else_is_not_replaced_even_if_that_is_said(memory: str, folder: Path) -> None:
    make(folder, memory, bits=16)
    Objects(memory).write("train-00001.safetensors", b"weights of a model")
    there = objects_of(memory)
    with pytest.raises(OutputExistsError, match=r"where shards are to be: train-00001\.safetensors; choose another"):
        make(folder, memory, overwrite=True)
    assert objects_of(memory) == there


def test_a_record_or_failure_that_came_late_is_cleared_away(memory: str, folder: Path) -> None:
    make(folder, memory)
    whole = objects_of(memory)
    for name in ("train-00000.safetensors.json", "failed.jsonl", "train-00001.safetensors.vm.1.0123abcd.tmp"):
        Objects(memory).write(f".build/{name}", b"{}")
        assert make(folder, memory).up_to_date
        assert objects_of(memory) == whole


def test_a_record_whose_counts_are_none_is_that_of_no_shard(memory: str, folder: Path) -> None:
    class Killed(BaseException):
        pass

    class AtOnce(Watcher):
        def finished(self, result: ShardResult) -> None:
            raise Killed

    with pytest.raises(Killed):
        run.build(folder, memory, BuildConfig.make(shard_size=20_000), workers=1, watcher=AtOnce())
    name = next(info.name for info in Objects(memory).list(".build/") if info.name.endswith(".safetensors.json"))
    stored = msgspec.json.decode(Objects(memory).read(name), type=StoredRecord)
    damaged = msgspec.structs.replace(stored, record=msgspec.structs.replace(stored.record, clipped=b"\xc1"))
    Objects(memory).write(name, msgspec.json.encode(damaged))
    assert make(folder, memory).rebuilt == 1


def test_looking_keeps_only_a_few_names_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def many(self: Objects, prefix: str = "") -> Iterator[ObjectInfo]:
        return (ObjectInfo(f"photos/{number:07}.jpg", 1, "") for number in range(200_000, 0, -1))

    monkeypatch.setattr(Objects, "list", many)
    said = r"no dataset: photos/0000001\.jpg, photos/0000002\.jpg, photos/0000003\.jpg and 199997 more;"
    with pytest.raises(OutputExistsError, match=said):
        store_output.look(Objects("memory://x"), overwrite=False)
    assert store_output.look(Objects("memory://x"), overwrite=True).infos == {}


def test_stores_can_be_found_anew() -> None:
    one = places.objects_at("memory://x")
    assert places.objects_at("memory://x") is one
    places.forget_stores()
    assert places.objects_at("memory://x") is not one
