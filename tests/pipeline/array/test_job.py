"""Builds in three commands: the bytes are those of a build in one, whatever happens to tasks."""

import os
import re
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile as sf
import xxhash

from audiochunk.config import BuildConfig, Encoding
from audiochunk.errors import InputError, MachineError, MissingShardsError, OutputExistsError, RecordingsError
from audiochunk.pipeline import build_folder, run
from audiochunk.pipeline.array import job as job_array
from audiochunk.pipeline.array import saved_plan
from audiochunk.pipeline.array.job import run_task, save_plan
from audiochunk.pipeline.array.notes import TaskNote
from audiochunk.pipeline.array.seal import _ranges as ranges_of
from audiochunk.pipeline.array.seal import seal_tasks
from audiochunk.pipeline.array.task import ArrayTask
from audiochunk.pipeline.failures import Failure
from audiochunk.pipeline.shards import ShardTask
from audiochunk.pipeline.versions import versions
from audiochunk.pipeline.watcher import Watcher
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.storage.files import write_whole
from audiochunk.storage.manifest import BUILD_FOLDER, MANIFEST, PLAN, Manifest

ENDS = (".json", ".failed.json")  # of a shard's record and note
OPTIONS: dict[str, Any] = {"shard_size": 16 * 2048, "split": "train=0.7,val=0.3", "on_error": "skip"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """Recordings of several shards each, one of which has NaN in its last chunk but one."""
    folder = tmp_path / "wavs"
    folder.mkdir()
    rng = np.random.default_rng(12)
    for number in range(9):
        noise = rng.uniform(-0.9, 0.9, (50_000 + 999 * number, 1 + number % 2)).astype(np.float32)
        if number == 4:
            noise[-3000] = np.nan
        sf.write(folder / f"{number}.wav", noise, 16_000, subtype="FLOAT")
    return folder


def built(wavs: Path, out: Path, **options: Any) -> dict[str, bytes]:
    run.build(wavs, out, BuildConfig.make(**{**OPTIONS, **options}), workers=1, fsync=False)
    return files_of(out)


def planned(wavs: Path, out: Path, **options: Any) -> int:
    return len(save_plan(wavs, out, BuildConfig.make(**{**OPTIONS, **options}), workers=1).shards)


def tasks(out: Path, count: int, *, only: range | None = None) -> list[job_array.TaskDone]:
    return [run_task(out, ArrayTask(n, count), workers=1, fsync=False) for n in only or range(count)]


def seal(out: Path, *, overwrite: bool = False) -> run.Built | None:
    return seal_tasks(out, workers=1, fsync=False, overwrite=overwrite)


@pytest.mark.parametrize("count", [1, 3, 7, 1000])
@pytest.mark.parametrize("options", [{}, {"compress": "zstd", "layout": "split"}, {"tail": "pad", "bits": 16}])
def test_any_number_of_tasks_makes_the_bytes_of_one_build(
    wavs: Path, tmp_path: Path, count: int, options: dict[str, Any]
) -> None:
    expected = built(wavs, tmp_path / "one", **options)
    n_shards = planned(wavs, tmp_path / "many", **options)
    assert n_shards > 20
    done = tasks(tmp_path / "many", count)
    names = [name for each in done for name in each.shards]
    assert len(names) == len(set(names)) == n_shards
    assert {path for each in done for path in each.failed} == {b"4.wav"}
    sealed = seal(tmp_path / "many")
    assert sealed is not None
    assert sealed.failed.keys() == {b"4.wav"}
    assert files_of(tmp_path / "many") == expected


def test_a_plan_decodes_nothing_and_leaves_no_dataset(wavs: Path, tmp_path: Path) -> None:
    planned(wavs, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == [BUILD_FOLDER]
    assert sorted(os.listdir(tmp_path / "out" / BUILD_FOLDER)) == ["build.json", "lock", PLAN]


def test_seal_says_which_shards_are_missing_and_disturbs_nothing(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    n_shards = planned(wavs, out)
    tasks(out, 4, only=range(3))
    at_work = out / BUILD_FOLDER / "train-00003.safetensors.host.1.abcd.tmp"  # of a task that runs somewhere
    at_work.write_bytes(b"half")
    with pytest.raises(
        MissingShardsError, match=rf"{n_shards // 4} of {n_shards} shards are not there: 3,7,11,.*; run their tasks"
    ) as found:
        seal(out)
    assert found.value.args[2:] == (list(range(3, n_shards, 4)), n_shards)
    assert at_work.exists()
    assert not (out / MANIFEST).exists()
    tasks(out, 4, only=range(3, 4))
    assert seal(out) is not None
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_tasks_may_run_twice_and_at_once(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: run_task(out, ArrayTask(n % 3, 3), workers=1, fsync=False), range(9)))
    again = tasks(out, 3)
    # Those without a part of the recording that fails need not be made again.
    assert sum(each.reused for each in again) > sum(len(each.shards) for each in again) / 2
    seal(out)
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_shard_that_is_damaged_after_its_task_is_made_again(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (wavs / "4.wav").unlink()
    planned(wavs, out)
    tasks(out, 2)
    shard = out / BUILD_FOLDER / "train-00000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    sealed = seal(out)
    assert sealed is not None
    assert sealed.rebuilt == 1
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_shard_that_is_cut_off_is_missing(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 2)
    shards = sorted((out / BUILD_FOLDER).glob("*.safetensors"))
    os.truncate(shards[1], 100)
    with pytest.raises(InputError, match=r"1 of \d+ shards is not there: 1; run"):
        seal(out)
    # A task of as many as there are shards makes the one of its number.
    assert run_task(out, ArrayTask(1, len(shards)), workers=1, fsync=False).shards == (shards[1].name,)
    assert seal(out) is not None


def test_missing_shards_are_told_in_ranges_of_which_there_are_not_too_many() -> None:
    assert ranges_of([7]) == "7"
    assert ranges_of([0, 1, 2, 4, 8, 9]) == "0-2,4,8-9"
    assert ranges_of(list(range(10**6))) == "0-999999"
    odd = ranges_of(list(range(1, 2001, 2)))
    assert odd.startswith("1,3,5,")
    assert odd.endswith(",79 and 960 more (--json lists all)")


def test_a_recording_that_changes_after_the_plan_is_left_out_by_all_tasks(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    # Its shards follow each other, so that some are made before, and some after.
    tasks(out, 2, only=range(1))
    sf.write(wavs / "5.wav", np.zeros(60_000, np.float32), 16_000, subtype="FLOAT")
    tasks(out, 2, only=range(1, 2))
    sealed = seal(out)
    assert sealed is not None
    assert set(sealed.failed) == {b"4.wav", b"5.wav"}
    assert "changed while the dataset was built" in sealed.failed[b"5.wav"]
    # The chunks are those of a dataset that it was never in.
    (wavs / "5.wav").unlink()
    built(wavs, tmp_path / "one")
    for split in ("train", "val"):
        with ChunkDataset(out, split) as ours, ChunkDataset(tmp_path / "one", split) as theirs:
            assert np.array_equal(np.array(ours[:]), np.array(theirs[:]))


def test_with_fail_a_task_ends_at_what_it_cannot_decode(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out, on_error="fail")
    with pytest.raises(RecordingsError, match=r"4\.wav: holds NaN"):
        tasks(out, 1)
    with pytest.raises(InputError, match="shards are not there"):
        seal(out)


@pytest.mark.parametrize("bytes_too", [False, True])
def test_where_a_recording_changed_after_the_plan_a_task_and_the_seal_ask_for_a_new_plan(
    wavs: Path, tmp_path: Path, bytes_too: bool
) -> None:
    (wavs / "4.wav").unlink()
    os.utime(wavs / "5.wav", ns=(0, 10**9))
    out = tmp_path / "out"
    planned(wavs, out, on_error="fail")
    found = "last written 1970-01-01 00:00:01 UTC when it was scanned, 1970-01-01 00:00:01.5 UTC now"
    if bytes_too:
        n_bytes = (wavs / "5.wav").stat().st_size
        found = f"{n_bytes:,} bytes when it was scanned, {n_bytes + 1:,} now"
        with (wavs / "5.wav").open("ab") as file:
            file.write(b"x")
    os.utime(wavs / "5.wav", ns=(0, 1_500_000_000))
    with pytest.raises(RecordingsError) as ended:
        tasks(out, 1)
    assert str(ended.value).splitlines() == [
        "1 recording cannot be used:",
        f"  5.wav: changed while the dataset was built: {found}",
        "run `audiochunk plan` again: with them as they are now, or without, by --on-error skip or --exclude",
    ]
    with pytest.raises(InputError) as missing:
        seal(out)
    assert f"tasks ended at 1 of the recordings (5.wav: changed while the dataset was built: {found}); run `aud" in str(
        missing.value
    )
    assert "run their tasks" not in str(missing.value)
    planned(wavs, out, on_error="fail")
    tasks(out, 1)
    seal(out)
    assert files_of(out) == built(wavs, tmp_path / "one", on_error="fail")


def test_a_seal_that_cannot_make_a_damaged_shard_again_asks_for_a_new_plan(wavs: Path, tmp_path: Path) -> None:
    (wavs / "4.wav").unlink()
    out = tmp_path / "out"
    planned(wavs, out, on_error="fail", split=None)
    tasks(out, 1)
    with (out / BUILD_FOLDER / "train-00000.safetensors").open("r+b") as file:
        file.write(b"x")
    os.utime(wavs / "0.wav", ns=(0, 0))
    with pytest.raises(RecordingsError, match=r"0\.wav: changed while(.|\n)*\nrun `audiochunk plan` again"):
        seal(out)
    planned(wavs, out, on_error="fail", split=None)
    tasks(out, 1)
    assert seal(out) is not None


def test_a_task_that_leaves_a_changed_recording_out_says_how_to_have_it(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    os.utime(wavs / "5.wav", ns=(0, 0))
    [done] = tasks(out, 1)
    assert done.failed[b"5.wav"].endswith("; a new `audiochunk plan` takes it as it is")
    assert "audiochunk plan" not in done.failed[b"4.wav"]


def test_a_plan_replaces_another_and_its_shards_that_fit_are_kept(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 2)
    (wavs / "8.wav").unlink()  # the last: shards before it are as they were
    planned(wavs, out)
    with pytest.raises(InputError, match="shards are not there"):
        seal(out)
    assert sum(each.reused for each in tasks(out, 2)) > 0
    seal(out)
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_plan_with_other_options_says_which_and_how_many_finished_shards_fit(
    wavs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    n_shards = planned(wavs, out)
    planned(wavs, out, bits=16)
    [sentence] = caplog.messages
    assert sentence == "the plan that was here had other options (--bits 8 → 16); no shard of it was finished"
    planned(wavs, out)
    tasks(out, 1)
    caplog.clear()
    planned(wavs, out, split_seed=1)
    [sentence] = caplog.messages
    fit = re.search(
        r"options \(--split-seed 0 → 1\); of its finished shards \((\d+)\), (\d+) fit; tasks make", sentence
    )
    assert fit is not None
    assert int(fit[1]) == n_shards
    # As many as the tasks of this plan find made.
    assert int(fit[2]) == sum(each.reused for each in tasks(out, 1))


def test_a_plan_with_the_same_options_and_more_recordings_says_nothing(
    wavs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 2, only=range(1))
    shutil.copy(wavs / "0.wav", wavs / "9.wav")
    planned(wavs, out)
    assert caplog.messages == []


def test_a_plan_in_the_place_of_an_interrupted_build_names_that(
    wavs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    (out / BUILD_FOLDER / PLAN).unlink()
    planned(wavs, out, on_error="fail")
    [sentence] = caplog.messages
    assert sentence.startswith("the build that was interrupted had other options (--on-error skip → fail); of its ")
    [fitting] = re.findall(r", (\d+) fit;", sentence)
    planned(wavs, out)
    assert 0 < int(fitting) == sum(each.reused for each in tasks(out, 1))


def test_a_usual_build_goes_on_from_the_shards_of_tasks(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 2, only=range(1))
    found = run.build(wavs, out, BuildConfig.make(**OPTIONS), workers=1, fsync=False)
    assert found.reused > 0
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_dataset_is_not_planned_over_unless_asked_and_stays_until_the_seal(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    built(wavs, out)
    with pytest.raises(OutputExistsError, match="holds a dataset"):
        planned(wavs, out, bits=16)
    before = Manifest.read(out)
    config = BuildConfig.make(**OPTIONS, bits=16)
    save_plan(wavs, out, config, workers=1, overwrite=True)
    tasks(out, 1)
    assert Manifest.read(out) == before
    with pytest.raises(OutputExistsError, match="holds another dataset"):
        seal(out)
    seal(out, overwrite=True)
    assert files_of(out) == built(wavs, tmp_path / "one", bits=16)


@pytest.mark.parametrize("meanwhile", ["plan", "seal"])
def test_a_task_that_is_late_names_no_shard(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """While it is at a shard, the plan is made anew with other options, or its shards are sealed."""
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    slow = job_array.make_shard
    began = False

    def late(task: ShardTask) -> Any:
        nonlocal began
        # As a machine that was cut off and does not see what others made.
        (out / BUILD_FOLDER / f"{task.name}.json").unlink(missing_ok=True)
        made = slow(task)
        if not began:
            began = True
            planned(wavs, out, bits=16) if meanwhile == "plan" else restore_and_seal(out, task, made[0].record)
        return made

    def restore_and_seal(out: Path, task: ShardTask, record: Any) -> None:
        write_whole(out / BUILD_FOLDER / f"{task.name}.json", msgspec.json.encode(record), fsync=False)
        seal(out)

    monkeypatch.setattr(job_array, "make_shard", late)
    with pytest.raises(MachineError, match="another plan was made meanwhile, or a seal has begun"):
        tasks(out, 1)
    assert not list(out.rglob("*.tmp"))
    if meanwhile == "seal":
        assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_task_that_is_late_writes_no_note_of_what_failed(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is made anew when its shard, the only one, has just been named."""
    out = tmp_path / "out"
    assert planned(wavs, out, shard_size="1G", split=None) == 1
    keep = job_array.keep_shard

    def late(*arguments: Any, **options: Any) -> None:
        keep(*arguments, **options)
        planned(wavs, out, shard_size="1G", split=None)

    monkeypatch.setattr(job_array, "keep_shard", late)
    assert list(tasks(out, 1)[0].failed) == [b"4.wav"]
    assert not list((out / BUILD_FOLDER).glob("*.failed.json"))


@pytest.mark.parametrize(
    "name",
    ["failed.jsonl", "build.json", "plan.msgpack", *(f"train-00001.safetensors{end}" for end in ("", *ENDS))],
)
def test_a_fifo_in_the_build_folder_is_not_waited_for(wavs: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    (out / BUILD_FOLDER / name).unlink(missing_ok=True)
    os.mkfifo(out / BUILD_FOLDER / name)
    for call in (lambda: seal(out), lambda: tasks(out, 1), lambda: planned(wavs, out), lambda: built(wavs, out)):
        with suppress(InputError, MachineError, OutputExistsError):
            call()
    if name not in ("failed.jsonl", "build.json"):  # of which nobody can tell whose they are
        assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_task_that_begins_during_a_seal_or_after_a_build_is_refused(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)

    class Meddling(Watcher):
        refused = 0

        def finished(self, result: Any) -> None:
            with pytest.raises(InputError, match="a seal has begun; only `audiochunk seal` goes on"):
                tasks(out, 1)
            self.refused += 1

    meddling = Meddling()
    seal_tasks(out, workers=1, fsync=False, watcher=meddling)
    assert meddling.refused > 0
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_build_in_the_folder_takes_the_plan_away_from_tasks(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)

    class Meddling(Watcher):
        refused = 0

        def finished(self, result: Any) -> None:
            with pytest.raises(InputError, match="nothing is planned here"):
                tasks(out, 1)
            self.refused += 1

    meddling = Meddling()
    run.build(wavs, out, BuildConfig.make(**OPTIONS), workers=1, fsync=False, watcher=meddling)
    assert meddling.refused > 0
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_what_failed_by_another_plan_is_not_believed(wavs: Path, tmp_path: Path) -> None:
    """NaN in the end that only padding keeps: with the tail dropped, the recording is all right."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 20_100).astype(np.float32)
    noise[-1] = np.nan
    (wavs / "4.wav").unlink()
    sf.write(wavs / "tail.wav", noise, 16_000, subtype="FLOAT")
    out = tmp_path / "out"
    planned(wavs, out, tail="pad")
    assert any(each.failed for each in tasks(out, 1))
    planned(wavs, out)
    with pytest.raises(InputError, match="shards are not there"):
        seal(out)
    tasks(out, 1)
    sealed = seal(out)
    assert sealed is not None
    assert sealed.failed == {}
    assert files_of(out) == built(wavs, tmp_path / "one")


@pytest.mark.parametrize("made_by", ["this", "other versions", "another encoding"])
def test_a_note_is_believed_only_where_it_would_fail_again(wavs: Path, tmp_path: Path, made_by: str) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    status = (wavs / "0.wav").stat()
    failure = Failure(b"0.wav", status.st_size, status.st_mtime_ns, "so it is said")
    encoding = Encoding(bits=16) if made_by == "another encoding" else Encoding()
    note = TaskNote(encoding, versions() | ({"numpy": "0"} if made_by == "other versions" else {}), (failure,))
    for split in ("train", "val"):
        (out / BUILD_FOLDER / f"{split}-00000.safetensors.failed.json").write_bytes(msgspec.json.encode(note))
    sealed = seal(out)
    assert sealed is not None
    assert (b"0.wav" in sealed.failed) == (made_by == "this")


def test_a_seal_that_was_killed_when_it_had_made_shards_again_goes_on(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards without a recording that failed in another task fit no plan, and have no note."""
    out = tmp_path / "out"
    planned(wavs, out, shard_size=8 * 2048)
    tasks(out, 3)

    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(run, "seal", killed)
        with pytest.raises(Killed):
            seal(out)
    again = seal(out)
    assert again is not None
    assert list(again.failed) == [b"4.wav"]
    assert files_of(out) == built(wavs, tmp_path / "one", shard_size=8 * 2048)


def test_what_failed_by_an_earlier_plan_hides_no_missing_shard(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    assert list((out / BUILD_FOLDER).glob("*.failed.json"))
    n = planned(wavs, out, shard_size=17 * 2048)
    with pytest.raises(InputError, match=f"{n} of {n} shards are not there"):
        seal(out)


def test_an_early_seal_changes_nothing(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 2, only=range(1))
    before = files_of(out)
    with pytest.raises(InputError, match="shards are not there"):
        seal(out)
    assert files_of(out) == before


def test_a_machine_that_does_not_see_the_recordings_makes_and_seals_nothing(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    before = files_of(out)
    wavs.rename(tmp_path / "elsewhere")
    wavs.mkdir()
    for call in (lambda: tasks(out, 1), lambda: seal(out)):
        with pytest.raises(MachineError, match="this machine does not see the recordings"):
            call()
    assert files_of(out) == before
    wavs.rmdir()
    (tmp_path / "elsewhere").rename(wavs)
    assert seal(out) is not None


def test_an_unfinished_plan_beside_a_dataset_is_not_taken_for_its_seal(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expected = built(wavs, out)
    extra = np.random.default_rng(2).uniform(-0.5, 0.5, 60_000).astype(np.float32)
    sf.write(wavs / "9.wav", extra, 16_000, subtype="FLOAT")
    save_plan(wavs, out, BuildConfig.make(**OPTIONS), workers=1, overwrite=True)
    tasks(out, 4, only=range(2))
    with pytest.raises(OutputExistsError, match="holds another dataset"):
        seal(out)
    # Nor does a build that finds the old dataset up to date take the plan away.
    (wavs / "9.wav").rename(tmp_path / "9.wav")
    assert run.build(wavs, out, BuildConfig.make(**OPTIONS), workers=1, fsync=False).up_to_date
    assert {name: data for name, data in files_of(out).items() if ".build" not in name} == expected
    (tmp_path / "9.wav").rename(wavs / "9.wav")
    tasks(out, 4)
    assert seal(out, overwrite=True) is not None
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_a_plan_whose_recordings_have_other_names_has_not_been_sealed(wavs: Path, tmp_path: Path) -> None:
    """Shards do not say what recordings are called, so that all of them are equal."""
    out = tmp_path / "out"
    built(wavs, out, split=None)
    (wavs / "8.wav").rename(wavs / "9.wav")
    save_plan(wavs, out, BuildConfig.make(**{**OPTIONS, "split": None}), workers=1, overwrite=True)
    tasks(out, 1)
    with pytest.raises(OutputExistsError, match="holds another dataset; say --overwrite"):
        seal(out)
    seal(out, overwrite=True)
    assert files_of(out) == built(wavs, tmp_path / "one", split=None)
    assert b"9.wav" in (out / "recordings.jsonl").read_bytes()


def test_a_damaged_shard_does_not_hide_behind_an_equal_one_of_the_dataset_that_is_replaced(
    wavs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    expected = built(wavs, out)
    save_plan(wavs, out, BuildConfig.make(**OPTIONS), workers=1, overwrite=True)
    tasks(out, 1)
    made = out / BUILD_FOLDER / "train-00001.safetensors"
    made.write_bytes(made.read_bytes()[:-1] + b"?")
    seal(out, overwrite=True)
    assert files_of(out) == expected


def test_nothing_planned_is_said_where_a_dataset_is_to_be_replaced(wavs: Path, tmp_path: Path) -> None:
    built(wavs, tmp_path / "out")
    with pytest.raises(InputError, match="nothing is planned here"):
        seal(tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("after", range(6))
def test_a_seal_that_is_killed_while_it_clears_up_is_finished(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    out = tmp_path / "out"
    planned(wavs, out, split="dev=0.5,train=0.5")
    tasks(out, 1)

    class Killed(BaseException):
        pass

    unlink, done = Path.unlink, 0

    def killed(path: Path, missing_ok: bool = False) -> None:
        nonlocal done
        if (out / MANIFEST).exists() and path.parent.name == BUILD_FOLDER:
            if done == after:
                raise Killed
            done += 1
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            seal(out)
    assert seal(out) is None
    assert files_of(out) == built(wavs, tmp_path / "one", split="dev=0.5,train=0.5")


def test_to_seal_again_does_nothing(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)
    seal(out)
    before = files_of(out)
    assert seal(out) is None
    assert files_of(out) == before


def test_a_seal_that_was_killed_before_its_last_step_is_finished(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    tasks(out, 1)

    class Killed(BaseException):
        pass

    def killed(work: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(build_folder, "remove", killed)
        with pytest.raises(Killed):
            seal(out)
    assert (out / MANIFEST).exists()
    assert seal(out) is None
    assert files_of(out) == built(wavs, tmp_path / "one")


def test_nothing_planned_is_named(tmp_path: Path) -> None:
    for call in (lambda: tasks(tmp_path / "no", 1), lambda: seal_tasks(tmp_path / "no")):
        with pytest.raises(InputError, match="nothing is planned here: run `audiochunk plan` first"):
            call()


def test_a_plan_that_is_damaged_or_of_another_version_is_refused(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    file = out / BUILD_FOLDER / PLAN
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="the plan is damaged"):
        tasks(out, 1)
    file.write_bytes(whole)
    monkeypatch.setattr(saved_plan, "versions", lambda: {"audiochunk": "9.9", "numpy": "1"})
    with pytest.raises(MachineError, match=r"this machine has audiochunk 9\.9 where the build has"):
        tasks(out, 1)
    with pytest.raises(MachineError, match="install the same versions on every machine"):
        seal_tasks(out)


def test_a_plan_and_a_seal_hold_the_lock_and_tasks_do_not(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    with build_folder.entered(out, BuildConfig.make(**OPTIONS), fsync=False, clears=False):
        tasks(out, 1)
        for call in (lambda: planned(wavs, out), lambda: seal(out)):
            with pytest.raises(MachineError, match="another build is at work here"):
                call()
    assert seal(out) is not None


def test_tasks_are_made_durable_before_they_report(wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    planned(wavs, out)
    synced: list[str] = []
    monkeypatch.setattr(job_array, "fsync_path", lambda path: synced.append(path.name))
    done = run_task(out, ArrayTask(0, 3), workers=1)
    assert synced == [x for name in done.shards for x in (name, f"{name}.json")] + [BUILD_FOLDER]


def test_a_watcher_is_told_of_the_shards_of_a_task_only(wavs: Path, tmp_path: Path) -> None:
    class Heard(Watcher):
        chunks = made = 0

        def planned(self, plan: Any, *, n_chunks: int) -> None:
            self.chunks = n_chunks

        def finished(self, result: Any) -> None:
            self.made += 1

    out = tmp_path / "out"
    n_shards = planned(wavs, out)
    heard = Heard()
    done = run_task(out, ArrayTask(1, 4), workers=1, fsync=False, watcher=heard)
    assert heard.made == len(done.shards) < n_shards
    assert heard.chunks >= done.chunks > 0


def test_real_recordings_make_the_same_bytes_with_workers_in_every_task(recordings: Path, tmp_path: Path) -> None:
    options = {"on_error": "skip", "shard_size": 2**18, "split": "train=0.8,val=0.2"}
    config = BuildConfig.make(**options)
    run.build(recordings, tmp_path / "one", config, workers=2, fsync=False)
    save_plan(recordings, tmp_path / "many", config, workers=2)
    for number in range(3):
        run_task(tmp_path / "many", ArrayTask(number, 3), workers=2, fsync=False)
    seal(tmp_path / "many")
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


def test_a_moved_dataset_folder_can_be_sealed(wavs: Path, tmp_path: Path) -> None:
    """Where the folder is mounted elsewhere on another machine, its shards are the same."""
    planned(wavs, tmp_path / "out")
    tasks(tmp_path / "out", 2)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert seal(tmp_path / "moved") is not None
    assert files_of(tmp_path / "moved") == built(wavs, tmp_path / "one")


def head_of(plan: Path) -> tuple[bytes, dict[str, Any]]:
    """The recordings of a plan's file, and what it says of itself."""
    data = plan.read_bytes()
    (end,) = struct.unpack_from("<Q", data, 16)
    return data[24:end], msgspec.msgpack.decode(data[end:])


def starts(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"asked": {"train": "1/0"}}, r"not a plan \(.*1, 0"),
        ({"asked": {"train": "abc"}}, "not a plan"),
        ({"names": ["a"]}, "of splits that have no shards"),
        ({"layouts": {"../x": [1, starts(0, 0, 0)]}, "names": ["../x"]}, "cannot be the name of a split"),
        ({"layouts": {"train": [-5, b""]}}, "not a plan"),
        ({"layouts": {"train": [1, starts(10**6, 0, 0)]}}, "begins with none of"),
        ({"layouts": {"train": [1, starts(0, 99, 0)]}}, "does not fit its recordings"),
        ({"layouts": {"train": [1, starts(0, 0, 2**62)]}}, "does not fit its recordings"),
        ({"pages": {"starts": b"", "sizes": b"", "digests": b""}}, "0 pages of"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_a_sentence(
    wavs: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    out = tmp_path / "out"
    planned(wavs, out, split=None)
    path = out / BUILD_FOLDER / PLAN
    body, head = head_of(path)
    data = msgspec.msgpack.encode(head | changes)
    path.write_bytes(struct.pack("<16sQ", xxhash.xxh3_128_digest(data), 24 + len(body)) + body + data)
    with pytest.raises((InputError, MachineError), match=said):
        run_task(out, ArrayTask(0, 1), workers=1)
