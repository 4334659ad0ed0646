"""Datasets that are made in an object store: those of a local build, however the build ends and goes on."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError, MachineError, OutputExistsError, RecordingsError, StoreError
from audiochunk.pipeline import run
from audiochunk.pipeline.array.job import run_task, save_plan
from audiochunk.pipeline.array.seal import seal_tasks
from audiochunk.pipeline.built import Built
from audiochunk.pipeline.cluster import elsewhere
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.site import Site
from audiochunk.pipeline.store import build as store_build
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.creation import create
from audiochunk.storage.objects import Objects
from tests.waiting import LONG_S, wait_until

from .made import Between, built, files_of, make_recordings, objects_of, put
from .servers import ACCESS_KEY, SECRET_KEY, TOKEN, Fault, Proxy

SHARD = 30_000


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset that a local build makes."""
    return built(folder, tmp_path_factory.mktemp("built") / "shards", shard_size=SHARD)


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which a build leaves nothing."""
    with tempfile.TemporaryDirectory() as name:  # a short name: that of a socket is made of it
        monkeypatch.setattr("tempfile.tempdir", name)
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)
        assert list(Path(name).glob("audiochunk-*")) == []


def make(source: Path | str, url: str, **options: Any) -> Built:
    named = {key: options.pop(key) for key in ("workers", "executor", "overwrite", "watcher") if key in options}
    config = BuildConfig.make(**{"shard_size": SHARD, **options})
    return run.build(source, url, config, **{"workers": 1, **named})


class AtShard(Watcher):
    """Does something once, after so many shards."""

    def __init__(self, after: int, act: Callable[[], object]) -> None:
        self._left, self._act = after, act

    def finished(self, result: ShardResult) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()


# -- the bytes


@pytest.mark.parametrize(
    "options",
    [{}, {"compress": "zstd", "layout": "split", "bits": 16, "tail": "pad"}, {"split": "train=0.6,val=0.4"}],
    ids=str,
)
def test_a_dataset_in_memory_is_that_in_a_folder(
    memory: str, folder: Path, tmp_path: Path, options: dict[str, Any], scratch: Path
) -> None:
    made = make(folder, memory, **options)
    assert objects_of(memory) == built(folder, tmp_path / "shards", shard_size=SHARD, **options)
    assert (made.reused, made.rebuilt, made.up_to_date) == (0, 0, False)
    assert make(folder, memory, **options).up_to_date


def test_processes_build_from_s3_to_s3(s3: str, folder: Path, expected: dict[str, bytes]) -> None:
    put(folder, f"{s3}/rec")
    make(f"{s3}/rec", f"{s3}/deep/shards", workers=2)
    assert objects_of(f"{s3}/deep/shards") == expected
    assert make(folder, f"{s3}/deep/shards").up_to_date  # wherever the recordings lie


def test_a_whole_bucket_can_be_a_dataset(s3: str, folder: Path, expected: dict[str, bytes]) -> None:
    make(folder, s3)
    assert objects_of(s3) == expected


def test_a_file_url_is_a_folder(folder: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    make(folder, (tmp_path / "shards").as_uri())
    assert files_of(tmp_path / "shards") == expected


def test_recordings_that_fail_while_decoding_are_left_out_as_in_a_folder(
    memory: str, folder: Path, tmp_path: Path, scratch: Path
) -> None:
    damaged = make_recordings(tmp_path / "damaged")
    flac = next(path for path in sorted(damaged.rglob("*.flac")))
    data = bytearray(flac.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    flac.write_bytes(data)
    local = built(damaged, tmp_path / "shards", shard_size=SHARD, on_error="skip")
    with pytest.raises(RecordingsError):
        make(damaged, memory)
    made = make(damaged, memory, on_error="skip")
    assert list(made.failed) == [os.fsencode(flac.relative_to(damaged))]
    assert objects_of(memory) == local


# -- builds that end, and go on


class Killed(BaseException):
    """What ends a build as suddenly as it can within a process."""


def test_a_build_that_is_killed_before_any_request_goes_on_to_the_same_dataset(
    memory: str, folder: Path, expected: dict[str, bytes], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write to the store in turn is the first that does not come to be; and every one, the last that does."""
    left = [0]

    def counted(where: Any, name: str) -> Callable[..., Any]:
        whole = getattr(where, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return whole(*args, **kwargs)

        return call

    for name in ("write", "upload", "rename", "remove"):
        monkeypatch.setattr(Objects, name, counted(Objects, name))
    monkeypatch.setattr(store_build, "create", counted(store_build, "create"))
    reused, n = [], 0
    while True:
        left[0] = n
        try:
            make(folder, memory, shard_size=20_000, include=["*.wav", "*.flac"])
            break
        except Killed:
            pass
        left[0] = 10**9
        there = objects_of(memory)
        later = make(folder, memory, shard_size=20_000, include=["*.wav", "*.flac"])
        assert later.up_to_date == ("manifest.json" in there)
        reused.append(later.reused)
        if n == 0:
            whole = objects_of(memory)
        assert objects_of(memory) == whole
        for name in whole:
            Objects(memory).remove(name)
        n += 1
    assert n > 20
    assert max(reused) == len([name for name in whole if name.endswith(".safetensors")])


@pytest.mark.parametrize(("signal", "code"), [("SIGKILL", -9), ("SIGINT", 130), ("SIGTERM", 143)])
def test_a_command_that_is_ended_goes_on_from_another_machine(
    s3: str, proxy: Proxy, folder: Path, expected: dict[str, bytes], scratch: Path, signal: str, code: int
) -> None:
    import signal as signals

    out = f"{s3}/shards"
    command = [sys.executable, "-m", "audiochunk", "build", os.fspath(folder), "--out", out]
    command += ["--shard-size", str(SHARD), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    proxy.fail(Fault(silent=True), method="PUT", part="manifest.json")  # it does not end before it is ended
    here = subprocess.Popen(
        command, env={**environment, "TMPDIR": os.fspath(scratch)}, stderr=subprocess.PIPE, text=True
    )

    def are_there_five() -> bool:
        assert here.poll() is None
        return sum(".safetensors.json" in request for request in list(proxy.requests) if request[:3] == "PUT") >= 5

    wait_until(are_there_five, "five shards")
    here.send_signal(getattr(signals, signal))
    _, said = here.communicate(timeout=LONG_S)
    assert here.returncode == code
    if code > 0:
        assert "the same command goes on from the finished shards" in said
        assert list(scratch.glob("audiochunk-*")) == []
    for left in scratch.iterdir():
        shutil.rmtree(left)  # SIGKILL leaves its scratch
    assert "manifest.json" not in objects_of(out)
    proxy.heal()
    there = subprocess.run(
        [*command, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"reused_shards": 0' not in there.stdout
    assert objects_of(out) == expected


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        (Fault(status=500), "train-00002.safetensors.json"),
        (Fault(status=403), "train-00002"),
        (Fault(status=403), "recordings.jsonl"),
        (Fault(drop=True), "manifest"),
    ],
    ids=["record-500", "shard-403", "table-403", "manifest-dropped"],
)
def test_a_store_that_refuses_ends_the_build_which_goes_on_later(
    s3: str, proxy: Proxy, folder: Path, expected: dict[str, bytes], fault: Fault, part: str, scratch: Path
) -> None:
    out = f"{s3}/shards"
    proxy.fail(fault, method="PUT", part=part)
    with pytest.raises(StoreError) as caught:
        make(folder, out)
    assert caught.value.exit_code == 6
    assert not any(secret in str(caught.value) for secret in (ACCESS_KEY, SECRET_KEY, TOKEN))
    proxy.heal()
    assert "manifest.json" not in objects_of(out)
    assert make(folder, out).reused > 0
    assert objects_of(out) == expected


def test_passing_faults_and_lost_answers_change_nothing(
    s3: str, proxy: Proxy, folder: Path, expected: dict[str, bytes], scratch: Path
) -> None:
    out = f"{s3}/shards"
    proxy.fail(Fault(status=503), times=1, method="PUT", part="train-00001")
    proxy.fail(Fault(drop=True), times=2, method="PUT", part="train-00002")
    proxy.fail(Fault(drop_answer=True), times=1, method="PUT", part="train-00003.safetensors")
    proxy.fail(Fault(drop_answer=True), times=1, method="DELETE")
    proxy.fail(Fault(drop_answer=True), times=1, method="PUT", part="manifest.json")
    make(folder, out)
    assert not any(rule.left for rule in proxy._rules)
    assert objects_of(out) == expected


def test_a_finished_shard_that_is_another_is_made_again(memory: str, folder: Path, expected: dict[str, bytes]) -> None:
    def end() -> None:
        raise Killed

    with pytest.raises(Killed):
        make(folder, memory, watcher=AtShard(4, end))
    n_finished = sum(name.endswith(".json") and "train-" in name for name in objects_of(f"{memory}/.build"))
    assert n_finished >= 4  # and those that were under way
    name = "train-00001.safetensors"
    shard = Objects(memory).read(name)
    Objects(memory).write(name, shard[:-1] + bytes([shard[-1] ^ 1]))
    Objects(memory).write("train-00000.safetensors", Objects(memory).read("train-00000.safetensors"))  # a new version
    later = make(folder, memory)
    assert (later.reused, later.rebuilt) == (n_finished - 1, 1)
    assert objects_of(memory) == expected


def test_what_failed_while_decoding_is_known_to_the_build_that_goes_on(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = make_recordings(tmp_path / "damaged", n=12)
    flac = next(path for path in sorted(damaged.rglob("*.flac")))
    data = bytearray(flac.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    flac.write_bytes(data)

    def end(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("audiochunk.pipeline.store.build._seal", end)
        patch.setattr("audiochunk.pipeline.store.build._seal", lambda *_, **__: end())
        with pytest.raises(Killed):
            make(damaged, memory, on_error="skip")
    assert b'"reason"' in Objects(memory).read(".build/failed.jsonl")
    later = make(damaged, memory, on_error="skip")
    assert later.rebuilt == 0
    assert objects_of(memory) == built(damaged, tmp_path / "shards", shard_size=SHARD, on_error="skip")


# -- two builds, and workers that are late


def test_of_two_builds_the_later_one_goes_on(
    memory: str, folder: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """One that has ended by then: the first finds a dataset, and leaves it as it is."""
    with pytest.raises(MachineError, match="another build has taken over there"):
        make(folder, memory, watcher=AtShard(2, lambda: make(folder, memory, bits=16)))
    with pytest.raises(MachineError, match="another build has taken over there; this one ends here; build again once"):
        elsewhere.check_token(Site({}, b"", f"{memory}/.build/token.tmp".encode(), b"one"))
    assert objects_of(memory) == built(folder, tmp_path / "shards", shard_size=SHARD, bits=16)
    assert make(folder, memory, bits=16).up_to_date


def test_of_two_builds_the_earlier_one_ends_even_where_the_later_one_was_killed(
    memory: str, folder: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    def begin_and_die() -> None:
        def die() -> None:
            raise Killed

        with pytest.raises(Killed):
            make(folder, memory, watcher=AtShard(3, die))

    with pytest.raises(MachineError, match="another build has taken over there"):
        make(folder, memory, watcher=AtShard(2, begin_and_die))
    assert make(folder, memory).reused >= 2
    assert objects_of(memory) == expected


def test_a_shard_that_somebody_else_has_put_there_ends_the_build_before_its_manifest(
    memory: str, folder: Path, expected: dict[str, bytes]
) -> None:
    name = "train-00001.safetensors"

    def replace() -> None:
        Objects(memory).write(name, expected[name][:-4] + b"else")

    with pytest.raises(MachineError, match=r"train-00001\.safetensors: is not what this build has put there"):
        make(folder, memory, watcher=AtShard(len(expected) - 2, replace))
    assert "manifest.json" not in objects_of(memory)
    assert make(folder, memory).rebuilt == 1
    assert objects_of(memory) == expected


def test_of_two_that_make_the_manifest_at_once_one_succeeds(
    s3: str, memory: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (f"{s3}/shards", memory):

        def theirs_is_first(out: Objects, name: str, data: bytes) -> bool:
            out.write(name, b"theirs")
            return create(out, name, data)

        monkeypatch.setattr(store_build, "create", theirs_is_first)
        with pytest.raises(OutputExistsError, match="another build has made a dataset here meanwhile"):
            make(folder, url)
        assert Objects(url).read("manifest.json") == b"theirs"


def test_a_worker_that_is_late_changes_nothing(
    memory: str, folder: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    errands: list[elsewhere.Errand] = []
    build = elsewhere.build_elsewhere
    monkeypatch.setattr(elsewhere, "build_elsewhere", lambda errand: (errands.append(errand), build(errand))[1])
    make(folder, memory)
    with pytest.raises(MachineError, match="another build has taken over there, or this is another store"):
        build(errands[1])
    assert objects_of(memory) == expected


def test_a_worker_that_becomes_late_at_its_shard_takes_it_away(
    memory: str, folder: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    errands: list[elsewhere.Errand] = []
    build, upload = elsewhere.build_elsewhere, Objects.upload
    monkeypatch.setattr(elsewhere, "build_elsewhere", lambda errand: (errands.append(errand), build(errand))[1])
    with pytest.raises(Killed):
        make(folder, memory, watcher=AtShard(2, lambda: (_ for _ in ()).throw(Killed())))
    token = errands[0].site.token.decode().rpartition("/")[2]
    late = msgspec.structs.replace(errands[-1], site=msgspec.structs.replace(errands[-1].site, scratch=b""))
    Objects(f"{memory}/.build").write(token, late.site.content)
    Objects(f"{memory}/.build").remove(f"{late.task.name}.json")

    def upload_late(self: Objects, local: Path, name: str) -> None:
        upload(self, local, name)
        Objects(f"{memory}/.build").remove(token)

    monkeypatch.setattr(Objects, "upload", upload_late)
    before = set(objects_of(memory)) - {f".build/{token}"}
    with pytest.raises(MachineError, match="another build has taken over"):
        build(late)
    assert set(objects_of(memory)) == before
    monkeypatch.setattr(Objects, "upload", upload)
    make(folder, memory)
    assert objects_of(memory) == expected


# -- what is there already


def test_another_dataset_is_not_replaced_unless_that_is_said(
    memory: str, folder: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    make(folder, memory, bits=16, split="train=0.5,val=0.5")
    Objects(memory).write("README.md", b"# mine")
    before = objects_of(memory)
    with pytest.raises(OutputExistsError, match="holds a dataset made with other options"):
        make(folder, memory)
    other = make_recordings(tmp_path / "other", n=17)
    with pytest.raises(OutputExistsError, match="holds a dataset made from other recordings"):
        make(other, memory, bits=16, split="train=0.5,val=0.5")
    assert objects_of(memory) == before
    make(folder, memory, overwrite=True)
    assert objects_of(memory) == {**expected, "README.md": b"# mine"}


@pytest.mark.parametrize("name", ["notes.txt", "train-00000.safetensors", "deep/er/x", ".build/x", "recordings.jsonl"])
def test_what_is_not_audiochunks_stays(memory: str, folder: Path, name: str) -> None:
    Objects(memory).write(name, b"mine")
    with pytest.raises(OutputExistsError):
        make(folder, memory)
    assert objects_of(memory) == {name: b"mine"}


def test_what_is_not_audiochunks_stays_when_a_dataset_is_replaced(memory: str, folder: Path) -> None:
    make(folder, memory)
    mine = {"notes.txt": b"a", "val-00000.safetensors": b"b", "more/train-00000.safetensors": b"c"}
    for name, data in mine.items():
        Objects(memory).write(name, data)
    make(folder, memory, overwrite=True, bits=16)
    assert mine.items() <= objects_of(memory).items()


def test_a_manifest_of_somebody_else_is_not_replaced_even_if_that_is_said(memory: str, folder: Path) -> None:
    Objects(memory).write("manifest.json", b'{"name": "an app"}')
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            make(folder, memory, overwrite=overwrite)
    assert objects_of(memory) == {"manifest.json": b'{"name": "an app"}'}


def test_a_dataset_that_lost_a_shard_says_so(memory: str, folder: Path, expected: dict[str, bytes]) -> None:
    make(folder, memory)
    Objects(memory).remove("train-00001.safetensors")
    with pytest.raises(OutputExistsError, match=r"train-00001\.safetensors: there is no such object"):
        make(folder, memory)
    make(folder, memory, overwrite=True)
    assert objects_of(memory) == expected


def test_a_build_with_other_options_takes_away_what_an_interrupted_one_has_left(
    memory: str, folder: Path, tmp_path: Path
) -> None:
    def end() -> None:
        raise Killed

    with pytest.raises(Killed):
        make(folder, memory, watcher=AtShard(3, end))
    make(folder, memory, shard_size=200_000)
    assert objects_of(memory) == built(folder, tmp_path / "shards", shard_size=200_000)


def test_a_bucket_that_is_not_there_says_so(s3: str, folder: Path) -> None:
    with pytest.raises(StoreError, match="there is no such bucket"):
        make(folder, "s3://no-such-bucket/shards")


# -- what is not to be, and is not to be seen


def test_job_arrays_and_appending_need_folders(memory: str, folder: Path, tmp_path: Path) -> None:
    from audiochunk.pipeline.array.task import ArrayTask

    refused: list[Callable[[], object]] = [
        lambda: save_plan(memory, tmp_path / "out", BuildConfig.make()),
        lambda: save_plan(folder, memory, BuildConfig.make()),
        lambda: run_task(memory, ArrayTask(0, 1)),
        lambda: seal_tasks(memory),
    ]
    for act in refused:
        with pytest.raises(ConfigError, match="a job array needs folders"):
            act()
    with pytest.raises(ConfigError, match="recordings are added to datasets in folders"):
        audiochunk.build(folder, memory, append=True)
    assert objects_of(memory) == {}


def test_no_credentials_are_in_what_a_build_leaves(s3: str, folder: Path) -> None:
    def end() -> None:
        raise Killed

    put(folder, f"{s3}/rec")
    with pytest.raises(Killed):
        make(f"{s3}/rec", f"{s3}/shards", watcher=AtShard(3, end))
    for _ in range(2):
        everything = b"".join(objects_of(f"{s3}/shards").values())
        assert not any(secret.encode() in everything for secret in (ACCESS_KEY, SECRET_KEY, TOKEN))
        make(f"{s3}/rec", f"{s3}/shards")


def test_the_command_builds_from_url_to_url(s3: str, folder: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    put(folder, f"{s3}/rec")
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    command = [sys.executable, "-m", "audiochunk", "build", f"{s3}/rec", "-o", f"{s3}/shards", "--workers", "1"]
    command += ["--shard-size", str(SHARD)]

    def said(*more: str, code: int = 0) -> str:
        done = subprocess.run(
            [*command, *more], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr if code == 0 else "") == (code, "")
        return done.stdout + done.stderr

    assert f"would build {s3}/shards" in said("--dry-run")
    assert objects_of(f"{s3}/shards") == {}
    assert f"built {s3}/shards" in said()
    assert objects_of(f"{s3}/shards") == expected
    assert f"{s3}/shards is up to date" in said()
    assert "holds a dataset made with other options" in said("--bits", "16", code=2)
    assert "recordings are added to datasets in folders" in said("--append", code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_not_written_to_a_folder_that_is_called_like_a_url(folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    for arguments in (["plan", os.fspath(folder), "-o", "s3://b/shards"], ["seal", "-o", "s3://b/shards"]):
        command = [sys.executable, "-m", "audiochunk", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "a job array needs folders" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_input_may_change_between_a_store_and_a_folder(
    memory: str, folder: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """A dataset in a folder is up to date with the same recordings in a store, and the other way round."""
    put(folder, f"{memory}/rec")
    make(f"{memory}/rec", f"{memory}/shards")
    built(folder, tmp_path / "shards", shard_size=SHARD)
    for source, out in ((folder, f"{memory}/shards"), (f"{memory}/rec", tmp_path / "shards")):
        assert make(source, out, watcher=Between(lambda: pytest.fail("it was up to date"))).up_to_date  # type: ignore[arg-type]
