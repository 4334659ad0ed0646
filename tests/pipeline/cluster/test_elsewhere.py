"""Shards that workers on other machines make: what such a worker must be and see, and that a late one does no harm."""

import os
import pickle
import shutil
import wave
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audiochunk.config import BuildConfig
from audiochunk.errors import MachineError
from audiochunk.pipeline import run
from audiochunk.pipeline.cluster.elsewhere import Errand, Made, build_elsewhere
from audiochunk.pipeline.shards import ShardTask, make_shard
from audiochunk.pipeline.site import Sample, Site, inspect
from audiochunk.pipeline.versions import versions

CONFIG = BuildConfig.make(chunk_bytes=64, shard_size=256)


def write_wav(path: Path, *, seed: int) -> None:
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes((seed * n) % 251 for n in range(1200)))


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    folder = tmp_path / "wavs"
    folder.mkdir()
    for n, name in enumerate("abcdef"):
        write_wav(folder / f"{name}.wav", seed=n + 1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Recorder(Executor):
    """Runs tasks when they are submitted, and keeps them."""

    def __init__(self) -> None:
        self.errands: list[Errand] = []
        self.made: list[Made] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        (errand,) = args
        self.errands.append(errand)
        future: Future[Any] = Future()
        try:
            future.set_result(fn(pickle.loads(pickle.dumps(errand)), **kwargs))
            self.made.append(pickle.loads(pickle.dumps(future.result())))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def test_an_executor_makes_what_this_machine_does_and_leaves_nothing(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "a", CONFIG, workers=1)
    with ThreadPoolExecutor(4) as threads:
        run.build(wavs, tmp_path / "b", CONFIG, workers=4, executor=threads)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_worker_gives_no_shard_its_name(wavs: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    run.build(wavs, tmp_path / "out", CONFIG, executor=recorder)
    names = [os.fsdecode(made.scratch or b"").rpartition("/")[2] for made in recorder.made]
    assert len(names) > 10
    assert all(name.startswith("train-0") and name.endswith(".tmp") for name in names)


def test_a_worker_that_comes_late_makes_nothing(wavs: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    run.build(wavs, tmp_path / "out", CONFIG, executor=recorder)
    before = contents(tmp_path / "out")
    with pytest.raises(MachineError, match=r"worker .*, process \d+: sees another output folder at "):
        build_elsewhere(recorder.errands[3])
    assert contents(tmp_path / "out") == before


def test_a_worker_that_is_late_in_a_later_build_makes_nothing(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first build is given up; its worker wakes in the middle of one with other options, in the same folder."""
    first, out = Recorder(), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(run, "seal", None)
        with pytest.raises(TypeError):
            run.build(wavs, out, CONFIG, executor=first)
    other = BuildConfig.make(chunk_bytes=64, shard_size=256, bits=16)
    woken = []

    class Waking(Recorder):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(fn, *args, **kwargs)
            with pytest.raises(MachineError, match=r"another output folder at .*, or a later build in it"):
                build_elsewhere(first.errands[len(woken) % len(first.errands)])
            # Others looked before the first build ended, and have made their shards since.
            _, late = make_shard(first.errands[len(woken) % len(first.errands)].task)
            woken.append(late)
            return future

    built = run.build(wavs, out, other, executor=Waking())
    assert len(woken) > 10
    assert built.reused == 0
    run.build(wavs, tmp_path / "alone", other, workers=1)
    assert contents(out) == contents(tmp_path / "alone")


@pytest.fixture
def site(wavs: Path, tmp_path: Path) -> Site:
    work = tmp_path / "out" / ".build"
    work.mkdir(parents=True)
    (work / "token.tmp").write_bytes(b"0123")
    return Site(versions(), os.fsencode(wavs), os.fsencode(work / "token.tmp"), b"0123")


def sample(wavs: Path, name: str) -> Sample:
    status = (wavs / name).stat()
    return Sample(os.fsencode(name), status.st_size, status.st_mtime_ns)


def test_a_worker_that_sees_everything_is_not_refused(site: Site, wavs: Path, tmp_path: Path) -> None:
    before = contents(tmp_path / "out")
    assert inspect(site, (sample(wavs, "a.wav"), sample(wavs, "b.wav"))) is None
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("name", sorted(versions()))
def test_a_worker_of_other_versions_says_which(site: Site, name: str) -> None:
    other = msgspec.structs.replace(site, versions={**versions(), name: "0.0"})
    problem = inspect(other, ())
    assert problem is not None
    assert problem.startswith(f"has {name} {versions()[name]} where the build has 0.0; install the same versions")


def test_a_worker_that_sees_another_input_folder_says_by_what(site: Site, wavs: Path, tmp_path: Path) -> None:
    here = tuple(sample(wavs, f"{name}.wav") for name in "abc")
    shutil.copytree(wavs, tmp_path / "there")
    moved = msgspec.structs.replace(site, root=os.fsencode(tmp_path / "there"))
    assert inspect(moved, here) is None  # a copy that keeps the times is as good
    (tmp_path / "there" / "a.wav").write_bytes(b"short")
    assert "sees another input folder" in str(inspect(moved, here))
    assert "a.wav: 5 bytes there, 1,244 here" in str(inspect(moved, here))
    os.utime(tmp_path / "there" / "b.wav", (0, 0))
    assert "b.wav: last written at another time" in str(inspect(moved, here[1:]))
    (tmp_path / "there" / "c.wav").unlink()
    assert "c.wav: no such file or directory" in str(inspect(moved, here[2:]))


def test_a_worker_that_may_not_write_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("audiochunk.pipeline.site.write_place", refuse)  # root may write anywhere
    assert "cannot write into " in str(inspect(site, ()))
    assert "(permission denied)" in str(inspect(site, ()))


class Elsewhere(Recorder):
    """Workers that see another input folder."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = os.fsencode(root)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        (errand,) = args
        replace = msgspec.structs.replace
        moved = replace(errand, site=replace(errand.site, root=self._root), task=replace(errand.task, root=self._root))
        return super().submit(fn, moved, **kwargs)


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_recordings_that_only_a_worker_misses_are_not_left_out(wavs: Path, tmp_path: Path, on_error: str) -> None:
    shutil.copytree(wavs, tmp_path / "there")
    (tmp_path / "there" / "c.wav").unlink()
    config = BuildConfig.make(chunk_bytes=64, shard_size=256, on_error=on_error)
    with pytest.raises(MachineError, match=r"does not see the recording c.wav as it is here \(no such file"):
        run.build(wavs, tmp_path / "out", config, executor=Elsewhere(tmp_path / "there"))
    assert not list((tmp_path / "out").glob("train-*"))
    run.build(wavs, tmp_path / "out", config, workers=1)
    run.build(wavs, tmp_path / "alone", config, workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_recordings_that_everyone_misses_are_left_out(wavs: Path, tmp_path: Path) -> None:
    class Removing(Recorder):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            (wavs / "c.wav").unlink(missing_ok=True)
            return super().submit(fn, *args, **kwargs)

    config = BuildConfig.make(chunk_bytes=64, shard_size=256, on_error="skip")
    built = run.build(wavs, tmp_path / "out", config, executor=Removing())
    assert built.failed == {b"c.wav": "no such file or directory"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("train-")) == [
        "manifest.json",
        "recordings.jsonl",
    ]


def test_messages_are_small_however_many_recordings_a_shard_has(tmp_path: Path) -> None:
    wavs = tmp_path / "many"
    wavs.mkdir()
    for n in range(500):
        write_wav(wavs / f"{n:03}.wav", seed=n)
    recorder = Recorder()
    run.build(wavs, tmp_path / "out", BuildConfig.make(chunk_bytes=64, shard_size="1MiB"), executor=recorder)
    (errand,), (made,) = recorder.errands, recorder.made
    assert isinstance(errand.task, ShardTask)
    assert len(errand.task.parts) == 500
    assert len(pickle.dumps(errand)) < 500 * 200
    assert len(pickle.dumps(made)) < 500 * 4
