"""Appends that are cut off at every step: there is always a whole dataset, the old one or the new one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk.errors import MachineError
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import MANIFEST, Manifest
from audiochunk.tools.verify import verify

from .appended import FIRST, SECOND, THIRD, append, build, files_of, remove, write

OPTIONS: dict[str, Any] = {"split": "train=0.6,val=0.4", "split_seed": 3, "shard_size": 60 * 40, "compress": "zstd:1"}
# What changes names on the disk, or makes bytes stay there.
_NAMES = [(Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (Path, "mkdir"), (os, "fsync")]


class Cut(BaseException):
    """As a SIGKILL: nothing is done any more, no cleaning up either."""


class Steps:
    """Counts changes of the disk, and lets none happen from one on.

    Args:
        last: so many happen.
        error: raised instead of the next one, once; without it, of all that follow.
    """

    def __init__(self, last: int, error: OSError | None = None) -> None:
        self.left, self.error, self.was_cut = last, error, False

    def take(self) -> None:
        if self.left == 0 or (self.was_cut and self.error is None):
            self.was_cut, self.left = True, -1
            raise self.error or Cut
        self.left -= 1


@contextmanager
def at_most(steps: Steps) -> Iterator[None]:
    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            steps.take()
            return real(*args, **kwargs)

        return step

    with pytest.MonkeyPatch.context() as patched:
        for owner, name in _NAMES:
            patched.setattr(owner, name, wrapped(getattr(owner, name)))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: the recordings of two generations, and after those of the third; the dataset before and after."""
    base = tmp_path_factory.mktemp("cut")
    write(base / "fewer", FIRST)
    build(base / "fewer", base / "old", **OPTIONS)
    write(base / "fewer", SECOND)
    append(base / "fewer", base / "old")
    shutil.copytree(base / "fewer", base / "more")
    write(base / "more", THIRD)
    shutil.copytree(base / "old", base / "new")
    append(base / "more", base / "new")
    assert len(list((base / "new").iterdir())) > len(list((base / "old").iterdir())) + 2
    return base


def content_of(folder: Path) -> dict[str, Any]:
    """All that a reader sees of a dataset."""
    seen: dict[str, Any] = {}
    for split in Manifest.read(folder).splits:
        with audiochunk.open(folder, split) as ds:
            paths = {row.path for row in ds.recordings if row.chunks}
            seen[split] = (
                ds.gather(np.arange(len(ds))).tobytes(),
                list(ds.recordings),
                [ds.locate(i) for i in range(len(ds))],
                {path: ds.decode(path).samples.tobytes() for path in paths},
            )
    return seen


class Checks:
    """That a folder holds the old dataset, or the new one, and that both ways on lead where they must."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._files = {which: files_of(base / which) for which in ("old", "new")}
        self._content = {which: content_of(base / which) for which in ("old", "new")}

    def look(self, out: Path) -> str:
        which = next(name for name in self._files if (out / MANIFEST).read_bytes() == self._files[name][MANIFEST])
        assert content_of(out) == self._content[which]
        assert verify(out) == []
        return which

    def go_on(self, out: Path, scratch: Path) -> None:
        which = self.look(out)
        ways: dict[str, Callable[[Path], bool]] = {
            "append": lambda folder: append(self._base / "more", folder, workers=1).up_to_date,
            "plain build": lambda folder: build(self._base / which_input, folder, **OPTIONS).up_to_date,
            "append of nothing": lambda folder: append(self._base / which_input, folder).up_to_date,
        }
        which_input = {"old": "fewer", "new": "more"}[which]
        for way, go in ways.items():
            shutil.copytree(out, scratch)
            was_there = go(scratch)
            wanted = "new" if way == "append" else which
            assert was_there == (wanted == which), way
            assert files_of(scratch) == self._files[wanted], way
            assert verify(scratch) == [], way
            shutil.rmtree(scratch)


def test_an_append_that_is_killed_at_any_step_leaves_the_old_dataset_or_the_new_one(base: Path, tmp_path: Path) -> None:
    checks, found, last = Checks(base), [], 0
    while True:
        out = tmp_path / "out"
        shutil.copytree(base / "old", out)
        steps = Steps(last)
        try:
            with at_most(steps):
                append(base / "more", out, fsync=True)
        except Cut:
            pass
        if not steps.was_cut:
            break
        found.append(checks.look(out))
        checks.go_on(out, tmp_path / "scratch")
        shutil.rmtree(out)
        last += 1
    assert files_of(out) == files_of(base / "new")
    assert found == sorted(found, key=["old", "new"].index), "once it is the new one, it stays so"
    assert found.count("old") > 20
    assert found.count("new") > 3


def test_an_append_in_which_any_step_fails_leaves_the_old_dataset_or_the_new_one(base: Path, tmp_path: Path) -> None:
    checks, failed, last = Checks(base), 0, 0
    while True:
        out = tmp_path / "out"
        shutil.copytree(base / "old", out)
        steps = Steps(last, OSError(5, "Input/output error"))
        try:
            with at_most(steps):
                append(base / "more", out, fsync=True)
        except MachineError:
            failed += 1
        if not steps.was_cut:
            break
        checks.go_on(out, tmp_path / "scratch")
        shutil.rmtree(out)
        last += 1
    assert failed > 20


def test_the_way_back_may_be_cut_off_as_well(base: Path, tmp_path: Path) -> None:
    """Stray shards and rows of an append that was cut before its manifest; then the new recordings are taken away."""
    checks = Checks(base)
    stray = tmp_path / "stray"
    last = next(
        n for n in range(1000) if stopped_before_the_manifest(base, stray, n)
    )  # the last step before the manifest is there
    assert last > 20
    assert set(files_of(stray)) > set(files_of(base / "new"))
    step = 0
    while True:
        out = tmp_path / "out"
        shutil.copytree(stray, out)
        steps = Steps(step)
        try:
            with at_most(steps):
                assert build(base / "fewer", out, **OPTIONS).up_to_date
        except Cut:
            pass
        if not steps.was_cut:
            break
        assert checks.look(out) == "old"
        checks.go_on(out, tmp_path / "scratch")
        shutil.rmtree(out)
        step += 1
    assert step > 5
    assert files_of(out) == files_of(base / "old")


def stopped_before_the_manifest(base: Path, out: Path, n: int) -> bool:
    """Whether an append that may make `n` steps is to take the new manifest's place next."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(base / "old", out)
    try:
        with at_most(Steps(n)):
            append(base / "more", out, fsync=False)
    except Cut:
        pass
    return any(path.name.startswith(f"{MANIFEST}.") for path in out.iterdir())


def test_an_append_that_was_cut_goes_on_with_other_recordings(base: Path, tmp_path: Path) -> None:
    """Shards that no longer fit are made anew, those that are too many go."""
    stray, source = tmp_path / "stray", tmp_path / "wavs"
    next(n for n in range(1000) if stopped_before_the_manifest(base, stray, n))
    shutil.copytree(base / "more", source)
    write(source, ["a/1-long.wav", "0.wav", "z.wav"])
    for names in ([], ["a/1-long.wav", *THIRD], ["0.wav"]):
        remove(source, names)
        for folder in (stray, base / "old"):
            shutil.rmtree(tmp_path / folder.name[::-1], ignore_errors=True)
            shutil.copytree(folder, tmp_path / folder.name[::-1])
            append(source, tmp_path / folder.name[::-1])
        assert files_of(tmp_path / "yarts") == files_of(tmp_path / "dlo")


def test_overwrite_after_an_append_that_was_cut_is_a_build_anew(base: Path, tmp_path: Path) -> None:
    from audiochunk.config import BuildConfig
    from audiochunk.pipeline import run

    from . import appended

    config = BuildConfig.make(**(appended.OPTIONS | OPTIONS))
    stray = tmp_path / "stray"
    next(n for n in range(1000) if stopped_before_the_manifest(base, stray, n))
    for name in ("fewer", "more"):
        shutil.copytree(stray, tmp_path / name)
        run.build(base / name, tmp_path / name, config, workers=1, overwrite=True)
        run.build(base / name, tmp_path / "fresh" / name, config, workers=1)
        assert files_of(tmp_path / name) == files_of(tmp_path / "fresh" / name)


def test_an_append_that_is_interrupted_goes_on_from_its_finished_shards(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(base / "old", out)
    finished = []

    class Stop(Watcher):
        def finished(self, result: object) -> None:
            finished.append(result)
            if len(finished) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        append(base / "more", out, watcher=Stop())
    gone_on = append(base / "more", out, workers=2)
    assert (gone_on.reused, gone_on.rebuilt) == (2, 0)
    assert files_of(out) == files_of(base / "new")
