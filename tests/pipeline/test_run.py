"""Whole builds: the promises of the format, over real and synthesised recordings."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiochunk.config import BuildConfig
from audiochunk.errors import (
    ConfigError,
    InputError,
    MachineError,
    OutputDamagedError,
    OutputExistsError,
    RecordingsError,
)
from audiochunk.pipeline import build_folder, prepare, run
from audiochunk.pipeline.preview import preview
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.watcher import Watcher
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.signal import audio
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.encode import encode
from audiochunk.storage.manifest import BUILD_FOLDER, Manifest
from audiochunk.storage.recordings import RecordingRow, read_rows
from audiochunk.storage.shard import digest_file
from tests.waiting import wait_for_the_group

SMALL_SHARDS = 64 * 2048


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make_old(folder: Path) -> None:
    """Have files be of long ago, so that one that is written anew differs in any file system."""
    for path in folder.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)


def write_recordings(folder: Path, count: int = 12, frames: int = 30_000) -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    for number in range(count):
        path = folder / f"speaker-{number % 3}" / f"take {number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-20_000, 20_000, (frames + 777 * number, 1 + number % 2)).astype(np.int16)
        sf.write(path, noise, 16_000, subtype="PCM_16")


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    write_recordings(tmp_path / "wavs")
    return tmp_path / "wavs"


CONFIG = BuildConfig.make(shard_size=SMALL_SHARDS, split="train=0.7,val=0.3")


def test_every_chunk_of_the_real_recordings_is_the_plain_encoding_of_its_recording(
    recordings: Path, tmp_path: Path
) -> None:
    config = BuildConfig.make(on_error="skip", shard_size="1MiB")
    run.build(recordings, tmp_path / "out", config, workers=2)
    ds = ChunkDataset(tmp_path / "out")
    seen = 0
    for row in ds.recordings:
        if row.error is not None:
            continue
        expected = encode(audio.read(os.path.join(os.fsencode(recordings), row.path_bytes)), config.encoding)
        assert len(expected) == row.chunks, row.path
        assert row.first_chunk == seen, row.path
        got = ds.gather(np.arange(seen, seen + row.chunks))
        np.testing.assert_array_equal(got, expected, err_msg=row.path)
        seen += row.chunks
    assert seen == len(ds) > 5000


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 16, "tail": "pad", "layout": "split"},
        {"bits": 24, "chunk_bytes": 2046, "byte_order": "big", "block": 100},
        {"bits": 12, "quantizer": "mulaw", "layout": "mono", "byte_order": "big", "compress": "zstd"},
    ],
)
def test_other_encodings_of_the_real_recordings_are_exact_too(
    recordings: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    config = BuildConfig.make(on_error="skip", shard_size="300kB", **options)
    run.build(recordings, tmp_path / "out", config, workers=2)
    ds = ChunkDataset(tmp_path / "out")
    for row in ds.recordings:
        if row.error is not None or not row.chunks:
            continue
        samples = audio.read(os.path.join(os.fsencode(recordings), row.path_bytes))
        expected = encode(samples, config.encoding, channel=row.channel)
        got = ds.gather(np.arange(row.first_chunk, row.first_chunk + row.chunks))
        np.testing.assert_array_equal(got.view(np.uint8), expected, err_msg=row.path)


def test_the_refused_recordings_are_those_that_libsndfile_refuses_too(recordings: Path, tmp_path: Path) -> None:
    manifest = run.build(recordings, tmp_path / "out", BuildConfig.make(on_error="skip")).manifest
    refused = {row.path for row in read_rows(tmp_path / "out", manifest.recordings) if row.error is not None}
    table = (recordings / "MANIFEST.tsv").read_text().splitlines()[1:]
    expected = {line.split("\t")[0] for line in table if line.split("\t")[4].startswith("REFUSED")}
    assert refused == expected
    assert manifest.skipped == len(refused) > 0


def test_workers_do_not_change_a_byte_of_a_dataset_of_real_recordings(recordings: Path, tmp_path: Path) -> None:
    config = BuildConfig.make(on_error="skip", shard_size="256KiB", split="train=0.9,val=0.1")
    for workers in (1, 2, 4):
        run.build(recordings, tmp_path / str(workers), config, workers=workers)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2") == files_of(tmp_path / "4")


def test_order_of_folders_locale_and_working_directory_do_not_change_a_byte(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BuildConfig.make(on_error="skip", shard_size="1MiB")
    run.build(recordings, tmp_path / "plain", config, workers=1)

    real_scandir = os.scandir

    class Shuffled:
        def __init__(self, folder: object) -> None:
            with real_scandir(folder) as listing:  # type: ignore[call-overload]
                self.entries = list(listing)
            random.Random(3).shuffle(self.entries)

        def __enter__(self) -> object:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    run.build(recordings, tmp_path / "shuffled", config, workers=1)
    monkeypatch.undo()
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "shuffled")

    command = [sys.executable, "-m", "audiochunk", "build", os.path.relpath(recordings, tmp_path), "-q"]
    command += ["--out", "elsewhere", "--on-error", "skip", "--shard-size", "1MiB", "--workers", "2"]
    root = Path(run.__file__).parents[2]
    for locale in ("C", "tr_TR.UTF-8", "en_US.ISO-8859-1"):
        env = {**os.environ, "LC_ALL": locale, "LANG": locale, "PYTHONPATH": str(root), "PYTHONHASHSEED": "7"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (3, ""), locale
        assert files_of(tmp_path / "plain") == files_of(tmp_path / "elsewhere")
        shutil.rmtree(tmp_path / "elsewhere")


def test_a_dataset_holds_manifest_recordings_and_shards_and_nothing_else(wavs: Path, tmp_path: Path) -> None:
    manifest = run.build(wavs, tmp_path / "out", CONFIG, workers=2).manifest
    names = {"manifest.json", "recordings.jsonl", *(shard.name for shard in manifest.shards)}
    assert set(os.listdir(tmp_path / "out")) == names
    for shard in manifest.shards:
        assert digest_file(tmp_path / "out" / shard.name) == shard.digest
    assert {shard.split for shard in manifest.shards} == {"train", "val"}


def test_nothing_of_where_and_when_it_was_built_is_in_a_dataset(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "a", CONFIG, workers=1)
    shutil.copytree(wavs, tmp_path / "moved")
    run.build(tmp_path / "moved", tmp_path / "deeper" / "b", CONFIG, workers=2, fsync=False)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "deeper" / "b")


def test_why_a_recording_was_left_out_does_not_depend_on_who_found_it(tmp_path: Path) -> None:
    """Its shards say, in the order in which they come, why they could not decode a FLAC file that is cut."""
    (tmp_path / "wavs").mkdir()
    rng = np.random.default_rng(1)
    for number in range(3):
        noise = rng.integers(-9000, 9000, 60_000).astype(np.int16)
        sf.write(tmp_path / "wavs" / f"{number}.flac", noise, 16_000)
    cut = tmp_path / "wavs" / "1.flac"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    config = BuildConfig.make(on_error="skip", shard_size=8192)
    for workers in (1, 4):
        built = run.build(tmp_path / "wavs", tmp_path / f"{workers}", config, workers=workers, fsync=False)
        assert list(built.failed) == [b"1.flac"]
    assert files_of(tmp_path / "4") == files_of(tmp_path / "1")


def test_compression_changes_neither_dataset_id_nor_uncompressed_shards(wavs: Path, tmp_path: Path) -> None:
    raw = run.build(wavs, tmp_path / "raw", CONFIG).manifest
    options = {"shard_size": SMALL_SHARDS, "split": "train=0.7,val=0.3"}
    packed = run.build(wavs, tmp_path / "packed", BuildConfig.make(compress="zstd:5", **options)).manifest
    assert packed.dataset_id == raw.dataset_id
    for split in ("train", "val"):
        a, b = ChunkDataset(tmp_path / "raw", split), ChunkDataset(tmp_path / "packed", split)
        np.testing.assert_array_equal(np.array(list(a)), np.array(list(b)))


def test_a_finished_dataset_of_the_same_recordings_is_up_to_date(wavs: Path, tmp_path: Path) -> None:
    first = run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    make_old(tmp_path / "out")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    second = run.build(wavs, tmp_path / "out", CONFIG, workers=2)
    assert (first.up_to_date, second.up_to_date) == (False, True)
    assert second.manifest == first.manifest
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}


def test_other_options_over_a_finished_dataset_are_named_and_refused(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    before = files_of(tmp_path / "out")
    with pytest.raises(OutputExistsError, match="bits 8 → 16") as caught:
        run.build(wavs, tmp_path / "out", BuildConfig.make(bits=16, split="train=0.7,val=0.3"), workers=1)
    assert "--overwrite" in str(caught.value)
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["added", "removed", "grown"])
def test_other_recordings_than_those_of_a_finished_dataset_are_named_and_refused(
    wavs: Path, tmp_path: Path, change: str
) -> None:
    run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    victim = wavs / "speaker-1" / "take 1.wav"
    if change == "added":
        shutil.copy(victim, wavs / "speaker-1" / "new.wav")
    elif change == "removed":
        victim.unlink()
    else:
        sf.write(victim, np.ones(5000, np.int16), 16_000, subtype="PCM_16")
    word = {"added": "new.wav", "removed": "gone", "grown": "changed"}[change]
    with pytest.raises(OutputExistsError, match=word):
        run.build(wavs, tmp_path / "out", CONFIG, workers=1)


def test_overwrite_replaces_a_dataset_and_leaves_what_is_not_audiochunks(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.build(wavs, out, BuildConfig.make(shard_size=2048 * 8), workers=2)
    (out / "notes.txt").write_text("mine")
    (out / "train-99999.safetensors").write_bytes(b"somebody else's")
    run.build(wavs, out, CONFIG, workers=1, overwrite=True)
    run.build(wavs, tmp_path / "fresh", CONFIG, workers=1)
    kept = files_of(out)
    assert kept.pop("notes.txt") == b"mine"
    assert kept.pop("train-99999.safetensors") == b"somebody else's"
    assert kept == files_of(tmp_path / "fresh")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_overwrite_does_not_replace_what_only_has_the_name_of_a_shard(wavs: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    run.build(wavs, out, BuildConfig.make(split="val=1"), workers=1)
    weights = out / "train-00000.safetensors"
    if kind == "link":
        weights.symlink_to("nowhere")
    else:
        weights.write_bytes(b"my model weights")
    make_old(out)
    before = {path.name: os.lstat(path).st_mtime_ns for path in out.iterdir()}
    with pytest.raises(OutputExistsError, match=r"train-00000\.safetensors: is in the way of a shard"):
        run.build(wavs, out, BuildConfig.make(), workers=1, overwrite=True)
    after = {path.name: os.lstat(path).st_mtime_ns for path in out.iterdir() if path.name != BUILD_FOLDER}
    assert after == before


def test_overwrite_removes_the_manifest_before_anything_else(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run.build(wavs, out, CONFIG, workers=1)
    removed: list[str] = []
    real = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.parent == out:
            removed.append(self.name)
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    run.build(wavs, out, BuildConfig.make(bits=16), workers=1, overwrite=True)
    assert removed[0] == "manifest.json"
    assert any(name.endswith(".safetensors") for name in removed)


def test_a_folder_with_other_things_in_it_is_refused_and_named(wavs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(OutputExistsError, match=r"thesis\.tex"):
        run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    assert os.listdir(tmp_path / "out") == ["thesis.tex"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.write_bytes(b""), "not a folder"),
        (lambda p: p.mkdir(), "no recordings"),
        (lambda p: (p.mkdir(), (p / "x.txt").write_text("x")), "no recordings"),
    ],
)
def test_an_input_that_is_no_folder_of_recordings_is_one_clear_line(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    make(tmp_path / "in")
    with pytest.raises(InputError, match=reason) as caught:
        run.build(tmp_path / "in", tmp_path / "out", CONFIG)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_recordings_too_short_for_a_chunk_make_no_dataset_unless_padded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", np.ones(2047, np.int16), 8000, subtype="PCM_16")
    with pytest.raises(InputError, match="too short"):
        run.build(tmp_path / "in", tmp_path / "out", BuildConfig())
    assert not (tmp_path / "out").exists()
    manifest = run.build(tmp_path / "in", tmp_path / "out", BuildConfig.make(tail="pad")).manifest
    assert manifest.splits["train"].chunks == 1


def test_with_fail_every_unusable_recording_is_listed_before_any_work(wavs: Path, tmp_path: Path) -> None:
    (wavs / "a.wav").write_bytes(b"")
    (wavs / "z.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(RecordingsError) as caught:
        run.build(wavs, tmp_path / "out", CONFIG)
    assert [path for path, _ in caught.value.failures] == [b"a.wav", b"z.wav"]
    assert "git lfs pull" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_skipped_recording_leaves_the_chunks_as_if_it_had_not_been_there(wavs: Path, tmp_path: Path) -> None:
    config = BuildConfig.make(shard_size=SMALL_SHARDS, on_error="skip")
    run.build(wavs, tmp_path / "without", config, workers=2)
    (wavs / "speaker-1" / "bad.wav").write_bytes(b"")
    manifest = run.build(wavs, tmp_path / "with", config, workers=2).manifest
    assert manifest.skipped == 1
    a, b = ChunkDataset(tmp_path / "without"), ChunkDataset(tmp_path / "with")
    np.testing.assert_array_equal(np.array(list(a)), np.array(list(b)))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("layout", ["blocks", "split"])
def test_a_recording_that_fails_in_its_middle_leaves_nothing_behind(tmp_path: Path, workers: int, layout: str) -> None:
    """It spans three shards; the shards before and after it stay, those that held part of it are shorter."""
    source = tmp_path / "in"
    source.mkdir()
    rng = np.random.Generator(np.random.PCG64(1))
    for name, frames in (("a", 50_000), ("b", 90_000), ("c", 50_000), ("d", 9_000)):
        noise = rng.uniform(-0.5, 0.5, (frames, 2)).astype(np.float32)
        if name in "bd":
            noise[frames * 3 // 4] = np.nan
        sf.write(source / f"{name}.wav", noise, 8000, subtype="FLOAT")
    config = BuildConfig.make(shard_size=30 * 2048, on_error="skip", layout=layout)
    built = run.build(source, tmp_path / "with", config, workers=workers)
    assert built.failed.keys() == {b"b.wav", b"d.wav"}
    assert built.manifest.skipped == 2
    for name in "bd":
        (source / f"{name}.wav").unlink()
    run.build(source, tmp_path / "without", config)
    a, b = ChunkDataset(tmp_path / "without"), ChunkDataset(tmp_path / "with")
    np.testing.assert_array_equal(np.array(list(a)), np.array(list(b)))
    assert [b.locate(i).path for i in range(len(b))] == [a.locate(i).path for i in range(len(a))]
    full = [shard.chunks for shard in b.manifest.shards]
    assert full[0] == 30
    assert min(full) < 30
    again = run.build(source, tmp_path / "again", config, workers=1)
    assert again.manifest.dataset_id == run.build(source, tmp_path / "without", config).manifest.dataset_id


def test_a_recording_that_fails_while_decoding_ends_the_build_with_fail(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    sf.write(source / "a.wav", np.full(5000, np.inf, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(RecordingsError, match=r"a\.wav: holds NaN or infinite samples"):
        run.build(source, tmp_path / "out", BuildConfig())
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_dataset_with_a_recording_that_failed_while_decoding_is_up_to_date(tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_recordings(source, count=3)
    sf.write(source / "bad.wav", np.full((5000, 2), np.nan, np.float32), 8000, subtype="FLOAT")
    for layout in ("blocks", "split"):
        config = BuildConfig.make(on_error="skip", layout=layout)
        run.build(source, tmp_path / layout, config)
        rows: list[RecordingRow] = []
        watcher = Watcher()
        watcher.sealing = rows.append  # type: ignore[method-assign]
        assert run.build(source, tmp_path / layout, config, watcher=watcher).up_to_date
        assert [(row.path, row.error) for row in rows if row.error] == [("bad.wav", "holds NaN or infinite samples")]
        assert len({row.path for row in rows}) == 4


class Interrupt(Watcher):
    """Ends a build after so many shards."""

    def __init__(self, after: int) -> None:
        self.left = after

    def finished(self, result: ShardResult) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_goes_on_from_its_finished_shards(wavs: Path, tmp_path: Path, workers: int) -> None:
    run.build(wavs, tmp_path / "whole", CONFIG, workers=1)
    with pytest.raises(KeyboardInterrupt):
        run.build(wavs, tmp_path / "out", CONFIG, workers=workers, watcher=Interrupt(after=2))
    assert os.listdir(tmp_path / "out") == [BUILD_FOLDER]
    resumed = run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    assert resumed.reused >= 2
    assert resumed.rebuilt == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_an_altered_shard_of_an_interrupted_build_is_built_again(wavs: Path, tmp_path: Path) -> None:
    run.build(wavs, tmp_path / "whole", CONFIG, workers=1)
    with pytest.raises(KeyboardInterrupt):
        run.build(wavs, tmp_path / "out", CONFIG, workers=1, watcher=Interrupt(after=2))
    shards = list((tmp_path / "out" / BUILD_FOLDER).glob("*.safetensors"))
    shard = min(shards)
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    resumed = run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    assert resumed.reused == len(shards) - 1
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_build_resumed_with_other_options_or_recordings_keeps_only_what_is_still_true(
    wavs: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run.build(wavs, tmp_path / "out", CONFIG, workers=1, watcher=Interrupt(after=4))
    sf.write(wavs / "speaker-2" / "zz.wav", np.ones(30_000, np.int16), 8000, subtype="PCM_16")
    other = BuildConfig.make(shard_size=SMALL_SHARDS, split="train=0.7,val=0.3", tail="pad")
    run.build(wavs, tmp_path / "out", other, workers=1)
    run.build(wavs, tmp_path / "whole", other, workers=1)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


SEAL_STEPS = ["write recordings", "move a shard", "move recordings", "write manifest", "remove build folder"]


@pytest.mark.parametrize("step", SEAL_STEPS)
def test_a_seal_that_fails_at_any_step_leaves_a_build_to_go_on_with_or_a_dataset(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    run.build(wavs, tmp_path / "whole", CONFIG, workers=1)
    out = tmp_path / "out"
    real_replace, real_remove = Path.replace, build_folder.remove

    def replace(self: Path, target: Path) -> Path:
        final = Path(target)
        moved = 0 if final.parent != out else len(list(out.glob("*.safetensors")))
        stop = {
            "write recordings": final.name == "recordings.jsonl" and final.parent.name == BUILD_FOLDER,
            "move a shard": final.parent == out and moved == 2,
            "move recordings": final == out / "recordings.jsonl",
            "write manifest": final == out / "manifest.json",
        }
        if stop.get(step, False):
            raise OSError(5, "input/output error")
        return real_replace(self, target)

    def remove(work: Path) -> None:
        if step == "remove build folder":
            raise OSError(5, "input/output error")
        real_remove(work)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(build_folder, "remove", remove)
    with pytest.raises(MachineError, match="input/output error"):
        run.build(wavs, out, CONFIG, workers=1)
    monkeypatch.undo()
    assert (out / "manifest.json").exists() == (step == "remove build folder")
    if step == "remove build folder":
        assert Manifest.read(out) == Manifest.read(tmp_path / "whole")
    resumed = run.build(wavs, out, CONFIG, workers=2)
    assert resumed.up_to_date or resumed.reused == len(resumed.manifest.shards)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_second_build_into_the_same_folder_is_refused_at_once(wavs: Path, tmp_path: Path) -> None:
    class Nested(Watcher):
        def finished(self, result: ShardResult) -> None:
            with pytest.raises(MachineError, match="another build"):
                run.build(wavs, tmp_path / "out", CONFIG, workers=1)

    run.build(wavs, tmp_path / "out", CONFIG, workers=1, watcher=Nested())


def test_a_recording_that_changes_while_the_dataset_is_built_is_named(wavs: Path, tmp_path: Path) -> None:
    class Change(Watcher):
        def planned(self, plan: object, *, n_chunks: int) -> None:
            with (wavs / "speaker-2" / "take 11.wav").open("ab") as file:
                file.write(b"more")

    with pytest.raises(
        RecordingsError,
        match=r"take 11\.wav: changed while the dataset was built: .* now\nbuild again, or leave them out",
    ):
        run.build(wavs, tmp_path / "out", CONFIG, workers=2, watcher=Change())


# A build that stops after so many shards, or once it has all of them, and says so.
STOPS = """
import sys, time
from audiochunk.config import BuildConfig
from audiochunk.pipeline import run
from audiochunk.pipeline.watcher import Watcher

source, out, shard_size, split, shards = sys.argv[1:]

def stop(*_, **__):
    print("there", flush=True)
    time.sleep(3600)

class Stopping(Watcher):
    left = int(shards)

    def finished(self, result):
        self.left -= 1
        if not self.left:
            stop()

if not Stopping.left:
    run.seal = stop
run.build(source, out, BuildConfig.make(shard_size=int(shard_size), split=split), workers=2, watcher=Stopping())
"""


def test_a_killed_build_is_gone_on_with(wavs: Path, tmp_path: Path) -> None:
    """SIGKILL of the whole process group, at several moments."""
    run.build(wavs, tmp_path / "whole", CONFIG, workers=1)
    env = {**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[2])}
    out, split = tmp_path / "out", "train=0.7,val=0.3"
    for shards in (1, 2, 4, 0):
        command = [sys.executable, "-c", STOPS, str(wavs), str(out), str(SMALL_SHARDS), split, str(shards)]
        with subprocess.Popen(command, env=env, start_new_session=True, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            os.killpg(process.pid, signal.SIGKILL)
        wait_for_the_group(process.pid)
        assert not (out / "manifest.json").exists()
        assert list((out / BUILD_FOLDER).glob("*.safetensors.json"))
    command = [sys.executable, "-m", "audiochunk", "build", str(wavs), "--out", str(out), "-q"]
    command += ["--shard-size", str(SMALL_SHARDS), "--split", split, "--workers", "2"]
    assert subprocess.run(command, env=env, check=False).returncode == 0
    assert files_of(out) == files_of(tmp_path / "whole")


def test_unwritable_output_is_the_machines_fault_and_says_so(wavs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="not a directory"):
        run.build(wavs, tmp_path / "file" / "out", CONFIG, workers=1)


def test_splits_by_table_folder_and_share_put_whole_recordings_on_one_side(wavs: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.tsv"
    table.write_text(".\ttrain\nspeaker-1\tval\nspeaker-1/take 1.wav\ttest\n")
    manifest = run.build(wavs, tmp_path / "a", BuildConfig(), split_file=table).manifest
    assert {name: split.recordings for name, split in manifest.splits.items()} == {"test": 1, "train": 8, "val": 3}
    assert manifest.options.split is not None
    assert manifest.options.split.startswith("file:")

    folders = run.build(wavs, tmp_path / "b", BuildConfig.make(split="folders")).manifest
    assert sorted(folders.splits) == ["speaker-0", "speaker-1", "speaker-2"]
    assert [split.recordings for split in folders.splits.values()] == [4, 4, 4]

    config = BuildConfig.make(split="train=0.5,val=0.5", group_by="folder")
    shares = run.build(wavs, tmp_path / "c", config)
    by_folder: dict[str, set[str]] = {}
    for recording, split in shares.plan.recordings.placed():
        by_folder.setdefault(os.path.dirname(recording.path).decode(), set()).add(split)
    assert all(len(splits) == 1 for splits in by_folder.values())


def test_more_shards_than_a_manifest_names_are_refused_before_anything_is_built(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "scan", lambda *_: _of_many_chunks(2 * 10**6))
    with pytest.raises(ConfigError, match=r"2,000,000 shards are more than .* larger shard size .* it is 2,048 bytes"):
        run.build(wavs, tmp_path / "out", BuildConfig.make(shard_size=2048, compress="zstd"))
    assert not (tmp_path / "out").exists()
    assert len(prepare.make_plan(wavs, BuildConfig.make(shard_size=4096)).shards) == 10**6


def _of_many_chunks(n: int) -> Iterator[Scanned]:
    yield Scanned(b"a.wav", 1, 1, AudioInfo(8000, 1, n * 2048, "PCM_16"))


def test_a_split_that_gets_nothing_is_listed_and_warned_about(wavs: Path, tmp_path: Path) -> None:
    class Listen(Watcher):
        heard: list[str]

        def warn(self, sentence: str) -> None:
            self.heard = [*getattr(self, "heard", []), sentence]

    listening = Listen()
    config = BuildConfig.make(split="train=1,val=0")
    manifest = run.build(wavs, tmp_path / "out", config, watcher=listening).manifest
    assert manifest.splits["val"].chunks == 0
    assert listening.heard == ["split val gets no chunks"]
    assert len(ChunkDataset(tmp_path / "out", "val")) == 0


def test_a_recording_in_no_split_is_named(wavs: Path, tmp_path: Path) -> None:
    shutil.copy(wavs / "speaker-0" / "take 0.wav", wavs / "loose.wav")
    with pytest.raises(InputError, match=r"in no split: loose\.wav"):
        run.build(wavs, tmp_path / "out", BuildConfig.make(split="folders"))


def test_a_misaligned_block_is_warned_about_once_per_channel_count(
    wavs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sf.write(wavs / "three.wav", np.ones((5000, 3), np.int16), 8000, subtype="PCM_16")
    prepare.make_plan(wavs, BuildConfig.make(block=1000))
    assert len(caplog.messages) == 2
    assert "all 2 channels; block 1024 does" in caplog.messages[0]
    assert "all 3 channels; no block does" in caplog.messages[1]
    caplog.clear()
    prepare.make_plan(wavs, BuildConfig.make(block=1024, exclude=["three.wav"]))
    prepare.make_plan(wavs, BuildConfig.make(block="auto"))
    assert caplog.messages == []


def test_totals_count_a_recording_once_however_many_streams_it_has(wavs: Path, tmp_path: Path) -> None:
    blocks = run.build(wavs, tmp_path / "a", BuildConfig()).manifest.splits["train"]
    split = run.build(wavs, tmp_path / "b", BuildConfig.make(layout="split")).manifest.splits["train"]
    assert (blocks.recordings, blocks.frames, blocks.seconds) == (split.recordings, split.frames, split.seconds)
    frames = sum(30_000 + 777 * n for n in range(12))
    assert (blocks.frames, blocks.seconds) == (frames, frames // 16_000)


def test_options_that_do_not_go_together_are_refused_before_the_input_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers"):
        run.build(tmp_path / "nowhere", tmp_path / "out", BuildConfig(), workers=0)
    with pytest.raises(ConfigError, match="one or the other"):
        prepare.make_plan(tmp_path, BuildConfig.make(split="folders"), split_file=tmp_path / "x.tsv")


def write_floats(path: Path, frames: int, *, nan_at: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.Generator(np.random.PCG64(frames)).uniform(-0.5, 0.5, frames).astype(np.float32)
    if nan_at is not None:
        noise[nan_at] = np.nan
    sf.write(path, noise, 8000, subtype="FLOAT")


def interrupted(source: Path, out: Path, config: BuildConfig, *, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run.build(source, out, config, workers=1, watcher=Interrupt(after))


def test_a_failure_found_with_skip_ends_a_build_that_is_resumed_with_fail(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in "acdef":
        write_floats(source / f"{name}.wav", 9000)
    write_floats(source / "b.wav", 9000, nan_at=100)
    interrupted(source, out, BuildConfig.make(shard_size=2 * 2048, on_error="skip"), after=4)
    with pytest.raises(RecordingsError, match=r"b\.wav"):
        run.build(source, out, BuildConfig.make(shard_size=2 * 2048), workers=1)
    assert not (out / "manifest.json").exists()


def test_a_failure_found_with_one_encoding_is_not_believed_with_another(tmp_path: Path) -> None:
    """The NaN lies in the tail, which only padding needs."""
    source, out = tmp_path / "in", tmp_path / "out"
    for name in "acdef":
        write_floats(source / f"{name}.wav", 9000)
    write_floats(source / "b.wav", 5000, nan_at=4990)
    pad, drop = (BuildConfig.make(shard_size=2 * 2048, on_error="skip", tail=tail) for tail in ("pad", "drop"))
    interrupted(source, out, pad, after=6)
    run.build(source, out, drop, workers=1)
    run.build(source, tmp_path / "fresh", drop, workers=1)
    assert files_of(out) == files_of(tmp_path / "fresh")
    assert Manifest.read(out).skipped == 0


@pytest.mark.parametrize("on_error", ["skip"])
def test_a_dataset_is_not_made_where_every_recording_fails_while_decoding(tmp_path: Path, on_error: str) -> None:
    write_floats(tmp_path / "in" / "a.wav", 5000, nan_at=0)
    config = BuildConfig.make(on_error=on_error, split="train=0.5,val=0.5")
    with pytest.raises(InputError, match=r"no recording could be decoded: a\.wav: holds NaN"):
        run.build(tmp_path / "in", tmp_path / "out", config)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_a_build_folder_that_is_somebody_elses_is_refused_and_untouched(wavs: Path, tmp_path: Path, kind: str) -> None:
    out, work = tmp_path / "out", tmp_path / "out" / BUILD_FOLDER
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    if kind == "folder":
        work.mkdir()
        (work / "precious.tmp").write_text("mine")
    elif kind == "link":
        work.symlink_to(tmp_path / "elsewhere")
    else:
        work.write_text("mine")
    before = files_of(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="not a build folder of audiochunk's"):
            run.build(wavs, out, CONFIG, overwrite=overwrite)
    assert files_of(tmp_path) == before


def test_what_somebody_puts_into_the_build_folder_outlives_the_build(wavs: Path, tmp_path: Path) -> None:
    class Put(Watcher):
        def finished(self, result: ShardResult) -> None:
            (tmp_path / "out" / BUILD_FOLDER / "notes.txt").write_text("mine")

    run.build(wavs, tmp_path / "out", CONFIG, workers=1, watcher=Put())
    assert sorted(os.listdir(tmp_path / "out" / BUILD_FOLDER)) == ["build.json", "notes.txt"]
    assert run.build(wavs, tmp_path / "out", CONFIG, workers=1).up_to_date


def test_a_dataset_that_appears_during_the_scan_is_not_replaced(wavs: Path, tmp_path: Path) -> None:
    class Meanwhile(Watcher):
        def planned(self, plan: object, *, n_chunks: int) -> None:
            run.build(wavs, tmp_path / "out", BuildConfig.make(bits=16), workers=1)

    with pytest.raises(OutputExistsError, match="meanwhile"):
        run.build(wavs, tmp_path / "out", CONFIG, workers=1, watcher=Meanwhile())
    assert Manifest.read(tmp_path / "out").encoding.bits == 16


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_dataset_that_lost_a_shard_is_not_up_to_date(wavs: Path, tmp_path: Path, damage: str) -> None:
    run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    shard = tmp_path / "out" / "train-00001.safetensors"
    shard.unlink() if damage == "missing" else os.truncate(shard, 5000)
    with pytest.raises(OutputDamagedError, match=r"damaged dataset \(train-00001"):
        run.build(wavs, tmp_path / "out", CONFIG, workers=1)
    run.build(wavs, tmp_path / "out", CONFIG, workers=1, overwrite=True)
    run.build(wavs, tmp_path / "fresh", CONFIG, workers=1)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_an_empty_manifest_beside_shards_can_be_overwritten_and_a_foreign_one_cannot(
    wavs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run.build(wavs, out, CONFIG, workers=1)
    whole = files_of(out)
    (out / "manifest.json").write_bytes(b"")
    run.build(wavs, out, CONFIG, workers=1, overwrite=True)
    assert files_of(out) == whole
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(OutputExistsError, match="not one of audiochunk's"):
        run.build(wavs, tmp_path / "other", CONFIG, workers=1, overwrite=True)


def test_a_table_of_recordings_that_is_not_ours_is_not_overwritten(wavs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recordings.jsonl").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match=r"recordings\.jsonl"):
            run.build(wavs, tmp_path / "out", CONFIG, overwrite=overwrite)
    assert files_of(tmp_path / "out") == {"recordings.jsonl": b"mine"}


def heard(source: Path, **options: object) -> list[str]:
    class Listen(Watcher):
        sentences: list[str]

        def warn(self, sentence: str) -> None:
            self.sentences.append(sentence)

    listening = Listen()
    listening.sentences = []
    table = options.pop("split_file", None)
    prepare.make_plan(source, BuildConfig.make(**options), split_file=table, watcher=listening)  # type: ignore[arg-type]
    return listening.sentences


def test_globs_and_split_file_entries_that_match_nothing_are_named(wavs: Path, tmp_path: Path) -> None:
    assert heard(wavs, exclude=["speaker-0", "speaker-9"]) == ["the glob speaker-9 matches nothing"]
    table = tmp_path / "table.tsv"
    table.write_text(".\ttrain\nspeaker-0\tval\nspeakre-1\tval\n")
    assert heard(wavs, split_file=table) == ["1 of 3 entries of the split file match no recording: speakre-1"]


def test_shares_that_look_like_fractions_of_less_than_one_are_pointed_out(wavs: Path) -> None:
    assert heard(wavs, split="train=0.9,val=0.02")[0].startswith("the shares of the splits add up to 0.92")
    assert heard(wavs, split="train=0.5, val=0.5") == []


def test_only_empty_recordings_are_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", np.zeros(0, np.int16), 8000)
    with pytest.raises(InputError, match="0 frames"):
        run.build(tmp_path / "in", tmp_path / "out", BuildConfig.make(tail="pad"))


def test_an_empty_name_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        run.build("", tmp_path / "out", BuildConfig())


def test_a_recording_that_was_missing_for_a_while_is_there_again_after_a_resume(tmp_path: Path) -> None:
    source, out, config = tmp_path / "in", tmp_path / "out", BuildConfig.make(shard_size=2 * 2048, on_error="skip")
    for name in "abcdef":
        write_floats(source / f"{name}.wav", 9000)
    run.build(source, tmp_path / "whole", config, workers=1)

    class Vanish(Interrupt):
        def planned(self, plan: object, *, n_chunks: int) -> None:
            (source / "b.wav").rename(tmp_path / "b.wav")

    with pytest.raises(KeyboardInterrupt):
        run.build(source, out, config, workers=1, watcher=Vanish(after=6))
    (tmp_path / "b.wav").rename(source / "b.wav")
    assert run.build(source, out, config, workers=1).manifest.skipped == 0
    assert files_of(out) == files_of(tmp_path / "whole")


@pytest.mark.parametrize("other", [{"bits": 16}, {"compress": "zstd"}, {"shard_size": 300_000}])
def test_options_that_changed_since_an_interrupted_build_are_named(
    wavs: Path, tmp_path: Path, other: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(wavs, tmp_path / "out", BuildConfig.make(shard_size=SMALL_SHARDS), after=2)
    changed = BuildConfig.make(**{"shard_size": SMALL_SHARDS, **other})
    run.build(wavs, tmp_path / "out", changed, workers=1)
    [sentence] = caplog.messages
    assert f"had other options (--{next(iter(other)).replace('_', '-')} " in sentence
    run.build(wavs, tmp_path / "fresh", changed, workers=1)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


# The disk.


@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_that_did_not_get_to_the_disk_make_no_dataset(
    wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Linux tells of a failed write-back once: whoever asks first has to be the one who acts on it."""
    really, told = os.fsync, set[int]()

    def once(fd: int) -> None:
        status = os.fstat(fd)
        if not os.path.isdir(f"/proc/self/fd/{fd}") and status.st_size > SMALL_SHARDS and status.st_ino not in told:
            told.add(status.st_ino)
            raise OSError(errno.EIO, "Input/output error")
        really(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", once)
        with pytest.raises(MachineError, match="input/output error"):
            run.build(wavs, tmp_path / "out", CONFIG, workers=workers)
    assert not (tmp_path / "out" / "manifest.json").exists()
    run.build(wavs, tmp_path / "out", CONFIG, workers=workers)
    run.build(wavs, tmp_path / "whole", CONFIG, workers=1, fsync=False)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_tasks_may_run_in_threads_of_one_process(wavs: Path, tmp_path: Path) -> None:
    config = BuildConfig.make(shard_size=2048)
    run.build(wavs, tmp_path / "whole", config, workers=1)
    with ThreadPoolExecutor(8) as threads:
        built = run.build(wavs, tmp_path / "out", config, workers=8, executor=threads)
    assert len(built.manifest.shards) > 100
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("seconds", [-1, 99_999_999_999])
def test_files_from_before_1970_and_of_the_year_5138(wavs: Path, tmp_path: Path, seconds: int) -> None:
    file = wavs / "speaker-0" / "take 0.wav"
    try:
        os.utime(file, (seconds, seconds))
    except OSError:
        pytest.skip("this file system knows no such time")
    run.build(wavs, tmp_path / "out", CONFIG, workers=2)
    assert run.build(wavs, tmp_path / "out", CONFIG, workers=2).up_to_date


@pytest.mark.parametrize("named", ["wavs", "wavs/../wavs/", "link", "URL"])
def test_a_dataset_is_not_made_among_its_recordings(
    wavs: Path, tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wavs.parent)
    Path("link").symlink_to(wavs)
    out = wavs.as_uri() if named == "URL" else named
    before = sorted(path.name for path in wavs.rglob("*"))
    for act in (run.build, preview):
        with pytest.raises(ConfigError, match="is the folder of the recordings; give the dataset one of its own"):
            act(wavs, out, CONFIG, workers=1, overwrite=True)
    assert sorted(path.name for path in wavs.rglob("*")) == before
    assert run.build(wavs, wavs / "shards", CONFIG, workers=1).manifest.shards
