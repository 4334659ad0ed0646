"""Builds by Dask's schedulers and workers, real processes: the bytes of a local build, whatever becomes of them."""

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiochunk import __version__
from audiochunk.config import parse_size
from audiochunk.errors import ConfigError
from audiochunk.pipeline.cluster.dask import run_packed
from audiochunk.pipeline.executors import executor_of
from tests.pipeline.cluster import processes
from tests.waiting import LONG_S, wait_until

if find_spec("distributed") is None:
    pytest.skip("distributed is not installed: pip install 'audiochunk[dask]'", allow_module_level=True)

ROOT = processes.ROOT

OPTIONS = ("--chunk-bytes", "1024", "--shard-size", "24KiB")  # more than 40 shards


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 45 shards; one of them is damaged in the middle, and spans several."""
    folder = tmp_path_factory.mktemp("recordings") / "wavs"
    folder.mkdir()
    random = np.random.default_rng(7)
    for n in range(45):
        with wave.open(os.fspath(folder / f"{n:02}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(random.bytes(2 * 24_000))
    soundfile.write(folder / "20b.flac", random.integers(-9999, 9999, 80_000).astype(np.int16), 8000)
    data = bytearray((folder / "20b.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    (folder / "20b.flac").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def two_workers(home: Path) -> Iterator[str]:
    """The address of a scheduler with two workers, one of several threads."""
    started = processes.Cluster(home)
    try:
        started.worker()
        started.worker(threads=3)
        yield started.address
    finally:
        started.end()


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[processes.Cluster]:
    """A scheduler without workers."""
    started = processes.Cluster(tmp_path)
    yield started
    started.end()


# How long a build waits: where nothing is said, for whatever is sure to come.
PATIENT = f"dask._CONNECT_S = dask._ANSWER_S = {LONG_S:.0f}\n"
NO_SCHEDULER = "dask._CONNECT_S = 1\n"
NO_WORKERS = """
check = dask.DaskExecutor.check_workers
def check_workers(self):
    dask._CONNECT_S = 1
    check(self)
dask.DaskExecutor.check_workers = check_workers
"""
NO_WORKERS_LEFT = "dask._ALONE_S = dask._LOOK_S = 2\n"


def start(wavs: Path, out: Path, *options: str, waits: str = "") -> subprocess.Popen[str]:
    """`audiochunk build`."""
    script = f"from audiochunk.cli import main; from audiochunk.pipeline.cluster import dask\n{PATIENT}{waits}"
    on_error = () if "--on-error" in options else ("--exclude", "*.flac")
    return subprocess.Popen(
        [sys.executable, "-c", script + "main()", "build", wavs, "-o", out, *OPTIONS, *on_error, *options],
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def build(wavs: Path, out: Path, *options: str, waits: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a build that ends by itself."""
    process = start(wavs, out, *options, waits=waits)
    try:
        printed, said = process.communicate(timeout=LONG_S)
    finally:
        process.kill()
    return process.returncode, printed, said


@pytest.fixture(scope="module")
def local(wavs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a local build makes of the recordings that are sound."""
    out = tmp_path_factory.mktemp("local") / "shards"
    assert build(wavs, out) == (0, build_summary(out), "")
    return out


def build_summary(out: Path) -> "Summary":
    return Summary(out)


class Summary:
    """Equal to the summary of a build into a folder."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(f"built {self._out} in ")

    __hash__ = None  # type: ignore[assignment]


def assert_same(a: Path, b: Path) -> None:
    """Compare two folders, everything in them."""
    compared = subprocess.run(["diff", "-r", a, b], capture_output=True, text=True, check=False)
    assert compared.stdout + compared.stderr == ""


def after_first_line(printed: str) -> list[str]:
    return printed.splitlines()[1:-1]


@pytest.mark.parametrize(
    "options",
    [(), ("--compress", "zstd", "--no-fsync"), ("--on-error", "skip"), ("--on-error", "skip", "--compress", "zstd")],
    ids=" ".join,
)
def test_a_cluster_makes_what_this_machine_does(
    wavs: Path, tmp_path: Path, two_workers: str, options: tuple[str, ...]
) -> None:
    here = build(wavs, tmp_path / "a", *options)
    there = build(wavs, tmp_path / "b", *options, "--executor", f"dask://{two_workers}")
    assert (there[0], there[2]) == (here[0], here[2]) == (3 if "skip" in options else 0, "")
    assert after_first_line(there[1]) == after_first_line(here[1])
    assert len(list((tmp_path / "a").glob("train-*"))) >= 40
    assert_same(tmp_path / "a", tmp_path / "b")


def test_a_cluster_adds_to_a_dataset_what_this_machine_does(wavs: Path, tmp_path: Path, two_workers: str) -> None:
    """What is new are sound recordings, the damaged one, and at last only one that cannot be used."""
    source, refused = tmp_path / "wavs", ("--on-error", "skip")
    source.mkdir()

    def bring(*names: str) -> None:
        for name in names:
            shutil.copy(wavs / name, source / name)

    for executor in ("local", f"dask://{two_workers}"):
        shutil.rmtree(source)
        source.mkdir()
        out = tmp_path / executor.partition(":")[0]
        bring(*(f"{n:02}.wav" for n in range(0, 45, 3)))
        assert build(source, out, *refused)[0] == 0
        bring("20b.flac", *(f"{n:02}.wav" for n in range(1, 45, 2)))
        code, printed, said = build(source, out, *refused, "--append", "--executor", executor)
        assert (code, said) == (3, "")
        assert printed.startswith(f"added to {out} in ")
        (source / "empty.wav").touch()
        assert build(source, out, *refused, "--append", "--executor", executor)[0] == 3
    assert_same(tmp_path / "local", tmp_path / "dask")


def test_a_dataset_that_is_there_is_up_to_date(wavs: Path, tmp_path: Path, local: Path, two_workers: str) -> None:
    shutil.copytree(local, tmp_path / "out")
    code, printed, said = build(wavs, tmp_path / "out", "--executor", f"dask://{two_workers}")
    assert (code, said) == (0, "")
    assert "is up to date" in printed


def test_a_client_of_ones_own_builds_through_its_executor(
    wavs: Path, tmp_path: Path, local: Path, two_workers: str
) -> None:
    script = f"""
import audiochunk
from distributed import Client

with Client("tcp://{two_workers}", set_as_default=False) as client:
    executor = client.get_executor(pure=False)
    audiochunk.build("{wavs}", "out", executor=executor, workers=4, chunk_bytes=1024, shard_size="24KiB",
                     exclude=["*.flac"])
"""
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, timeout=LONG_S)
    assert_same(tmp_path / "out", local)


def start_with_another(wavs: Path, folder: Path, started: processes.Cluster) -> subprocess.Popen[str]:
    """A build whose gated worker is in the middle of a shard, while another one goes on."""
    started.gated(folder / "another", after=2)
    building = start(wavs, folder / "out", "--executor", f"dask://{started.address}")
    wait_until(lambda: list((folder / "gate").glob("waits-*")), "the worker to be in the middle")
    (folder / "another" / "go").touch()
    return building


def test_a_worker_that_is_killed_in_the_middle_costs_nothing(
    wavs: Path, tmp_path: Path, local: Path, lonely: processes.Cluster
) -> None:
    doomed = lonely.gated(tmp_path / "gate", after=2)
    building = start_with_another(wavs, tmp_path, lonely)
    assert list((tmp_path / "out" / ".build").glob(f"train-*.{doomed.pid}.*.tmp"))
    doomed.kill()
    printed, said = building.communicate(timeout=LONG_S)
    assert (building.returncode, printed, said) == (0, build_summary(tmp_path / "out"), "")
    assert_same(tmp_path / "out", local)


def test_a_worker_that_was_cut_off_does_no_harm_when_it_goes_on(
    wavs: Path, tmp_path: Path, local: Path, lonely: processes.Cluster
) -> None:
    late = lonely.gated(tmp_path / "gate", after=2)
    building = start_with_another(wavs, tmp_path, lonely)
    late.send_signal(signal.SIGSTOP)
    lonely.give_up(late)
    printed, said = building.communicate(timeout=LONG_S)
    assert (building.returncode, printed, said) == (0, build_summary(tmp_path / "out"), "")
    (tmp_path / "gate" / "go").touch()
    late.send_signal(signal.SIGCONT)
    late.wait(timeout=LONG_S)
    assert_same(tmp_path / "out", local)


def test_a_shard_that_workers_die_of_is_named(wavs: Path, tmp_path: Path) -> None:
    started = processes.Cluster(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    try:
        doomed = started.gated(tmp_path / "gate", after=2)
        building = start_with_another(wavs, tmp_path, started)
        doomed.kill()
        _, said = building.communicate(timeout=LONG_S)
        assert building.returncode == 6
        assert "one worker after the other died, for want of memory perhaps, while it was at shard train-0" in said
        assert said.count("\n") == 1
    finally:
        started.end()


def records(out: Path) -> int:
    return len(list((out / ".build").glob("train-*.json")))


def test_a_scheduler_that_is_killed_ends_the_build_which_goes_on_here(
    wavs: Path, tmp_path: Path, local: Path, lonely: processes.Cluster
) -> None:
    for _ in range(2):
        lonely.gated(tmp_path / "gate", after=4)
    building = start(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}")
    wait_until(lambda: records(tmp_path / "out") == 8, "eight shards")
    lonely.scheduler.kill()
    printed, said = building.communicate(timeout=LONG_S)
    assert (building.returncode, printed) == (6, "")
    assert said.startswith(f"audiochunk: lost the Dask scheduler at {lonely.address}")
    assert "the same command goes on from the finished shards" in said
    assert "without --executor on this machine" in said
    assert said.count("\n") == 1
    (tmp_path / "gate" / "go").touch()  # the workers write on, while the folder is another build's
    code, printed, said = build(wavs, tmp_path / "out")
    assert (code, said) == (0, "")
    assert "8 of them taken over from an interrupted build" in printed
    assert_same(tmp_path / "out", local)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_cancels_what_waits(
    wavs: Path, tmp_path: Path, local: Path, lonely: processes.Cluster, number: signal.Signals
) -> None:
    lonely.gated(tmp_path / "gate", after=4)
    building = start(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}")
    wait_until(lambda: records(tmp_path / "out") == 4, "four shards")
    building.send_signal(number)
    printed, said = building.communicate(timeout=LONG_S)
    word, code = ("interrupted", 130) if number == signal.SIGINT else ("terminated", 143)
    assert (building.returncode, printed) == (code, "")
    assert said == f"audiochunk: {word}; the same command goes on from the finished shards\n"
    (tmp_path / "gate" / "go").touch()
    wait_until(lambda: lonely.n_tasks() == 0, "nothing to be left")
    code, printed, said = build(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}")
    assert (code, said) == (0, "")
    assert "4 of them taken over from an interrupted build" in printed
    assert_same(tmp_path / "out", local)


def no_audiochunk(folder: Path) -> Path:
    """A place in which no audiochunk is found, though one is installed."""
    (folder / "audiochunk").mkdir(parents=True)
    (folder / "audiochunk" / "__init__.py").write_text("raise ImportError('no audiochunk here')")
    return folder


def another_version(folder: Path) -> Path:
    """A copy of the package that says it is another version."""
    shutil.copytree(ROOT / "audiochunk", folder / "audiochunk", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "audiochunk" / "_version.py").write_text('__version__ = "99.0"\n')
    return folder


def test_workers_of_other_versions_are_refused_before_anything_is_built(
    wavs: Path, tmp_path: Path, lonely: processes.Cluster
) -> None:
    lonely.worker()
    lonely.worker(package=another_version(tmp_path / "newer"))
    lonely.worker("def dask_setup(worker):\n    import zstandard\n    zstandard.ZSTD_VERSION = (1, 2, 3)\n")
    lonely.worker(package=no_audiochunk(tmp_path / "none"))
    code, printed, said = build(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}")
    assert (code, printed) == (6, "")
    lines = said.removeprefix("audiochunk: ").splitlines()
    assert all(line.startswith("worker tcp://127.0.0.1:") for line in lines)
    told = sorted(line.partition(": ")[2] for line in lines)
    assert told[0].startswith("cannot load audiochunk (no audiochunk here); install audiochunk 0")
    assert told[1].startswith(f"has audiochunk 99.0 where the build has {__version__}; install the same versions")
    assert told[2].startswith("has zstd 1.2.3 where the build has ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["another", "none"])
def test_a_worker_of_another_version_that_joins_later_is_refused(
    wavs: Path, tmp_path: Path, local: Path, lonely: processes.Cluster, kind: str
) -> None:
    lonely.gated(tmp_path / "gate", after=2)
    building = start(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}")
    wait_until(lambda: records(tmp_path / "out") == 2, "two shards")
    lonely.worker(package=(another_version if kind == "another" else no_audiochunk)(tmp_path / "package"))
    _, said = building.communicate(timeout=LONG_S)
    assert building.returncode == 6
    assert said.startswith("audiochunk: worker tcp://127.0.0.1:")
    expected = (
        f"has audiochunk 99.0 where the build has {__version__}" if kind == "another" else "cannot load audiochunk"
    )
    assert expected in said
    assert said.count("\n") == 1
    assert build(wavs, tmp_path / "out") == (0, build_summary(tmp_path / "out"), "")
    assert_same(tmp_path / "out", local)


@pytest.mark.parametrize("what", ["input", "output"])
@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "another"])
def test_a_worker_that_sees_other_folders_is_refused(
    wavs: Path, tmp_path: Path, two_workers: str, lonely: processes.Cluster, what: str, is_there: bool
) -> None:
    out = tmp_path / "out"
    folder, elsewhere = (wavs if what == "input" else out), tmp_path / "elsewhere"
    if is_there:
        (elsewhere / ".build").mkdir(parents=True)
    lonely.worker()
    lonely.worker(processes.MOUNT.format(old=os.fspath(folder), new=os.fspath(elsewhere)))
    code, printed, said = build(wavs, out, "--executor", f"dask://{lonely.address}")
    assert (code, printed) == (6, "")
    assert said.startswith("audiochunk: worker tcp://127.0.0.1:")
    found = (
        f"sees another {what} folder at {folder}" if is_there else f"does not see the {what} folder {folder} (no such"
    )
    assert found in said
    assert said.endswith("mount the same folder at the same path on every machine\n")
    assert not list(out.glob("**/train-*"))
    assert not list((out / ".build").glob("*.tmp"))


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_worker_that_joins_later_and_sees_other_recordings_is_refused(
    wavs: Path, tmp_path: Path, local: Path, lonely: processes.Cluster, on_error: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    lonely.gated(tmp_path / "gate", after=2)
    options = ("--on-error", on_error, "--exclude", "*.flac")
    building = start(wavs, tmp_path / "out", *options, "--executor", f"dask://{lonely.address}")
    wait_until(lambda: records(tmp_path / "out") == 2, "two shards")
    lonely.worker(processes.MOUNT.format(old=os.fspath(wavs), new=os.fspath(tmp_path / "elsewhere")))
    _, said = building.communicate(timeout=LONG_S)
    assert building.returncode == 6
    assert said.startswith("audiochunk: worker tcp://127.0.0.1:")
    assert "does not see the recording " in said
    assert said.endswith(
        " as it is here (no such file or directory); mount the same folder at the same path on every machine\n"
    )
    assert build(wavs, tmp_path / "out", *options)[0] == 0
    if on_error == "fail":
        assert_same(tmp_path / "out", local)


def test_a_scheduler_without_workers_is_an_error_soon(wavs: Path, tmp_path: Path, lonely: processes.Cluster) -> None:
    code, printed, said = build(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}", waits=NO_WORKERS)
    assert (code, printed) == (6, "")
    assert said.startswith(f"audiochunk: the Dask scheduler at {lonely.address} has no workers after 1 seconds; start")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_scheduler_whose_workers_are_all_gone_is_an_error_soon(
    wavs: Path, tmp_path: Path, lonely: processes.Cluster
) -> None:
    worker = lonely.gated(tmp_path / "gate", after=2)
    building = start(wavs, tmp_path / "out", "--executor", f"dask://{lonely.address}", waits=NO_WORKERS_LEFT)
    wait_until(lambda: records(tmp_path / "out") == 2, "two shards")
    worker.kill()
    _, said = building.communicate(timeout=LONG_S)
    assert building.returncode == 6
    assert f"the Dask scheduler at {lonely.address} has had no workers for 2 seconds; the same command goes on" in said
    assert said.count("\n") == 1


def test_no_scheduler_is_an_error_soon(wavs: Path, tmp_path: Path) -> None:
    code, printed, said = build(wavs, tmp_path / "out", "--executor", "dask://127.0.0.1:1", waits=NO_SCHEDULER)
    assert (code, printed) == (6, "")
    assert said.startswith("audiochunk: no Dask scheduler answers at 127.0.0.1:1 within 1 seconds; start one with")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_no_scheduler_is_an_error_soon(wavs: Path, tmp_path: Path, lonely: processes.Cluster) -> None:
    lonely.worker()
    worker = re.findall(rb"Start worker at: +tcp://(\S+)", (tmp_path / "log-2").read_bytes())[0].decode()
    code, _, said = build(wavs, tmp_path / "out", "--executor", f"dask://{worker}")
    assert (code, said) == (6, f"audiochunk: at {worker} there is no Dask scheduler, but a worker\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, _, said = build(wavs, tmp_path / "out", "--executor", f"dask://{address}", waits=NO_SCHEDULER)
    assert code == 6
    assert said.startswith(f"audiochunk: no Dask scheduler answers at {address} within 1 seconds")
    assert said.count("\n") == 1


def test_an_interrupt_while_it_connects_ends_it_at_once(wavs: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        building = start(wavs, tmp_path / "out", "--executor", f"dask://{address}")
        with silent.accept()[0]:
            building.send_signal(signal.SIGINT)
            printed, said = building.communicate(timeout=LONG_S)
    assert (building.returncode, printed, said) == (130, "", "audiochunk: interrupted\n")


@pytest.mark.parametrize("given", ["dask", "dask://", "dask://host", "tcp://host:8786", "LOCAL"])
def test_an_executor_that_there_is_not_is_a_usage_error(wavs: Path, tmp_path: Path, given: str) -> None:
    code, _, said = build(wavs, tmp_path / "out", "--executor", given)
    assert code == 2
    assert "local, or dask://HOST:PORT" in said


def test_a_cluster_is_not_told_how_many_workers_it_has(wavs: Path, tmp_path: Path) -> None:
    code, _, said = build(wavs, tmp_path / "out", "--executor", "dask://127.0.0.1:1", "--workers", "2")
    assert code == 2
    assert "a cluster has the workers that it has" in said


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'audiochunk\[dask\]'"), executor_of("dask://127.0.0.1:1"):
        pass


class Stuck(Exception):  # noqa: N818
    """An exception that cannot be unpacked."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def get_stuck() -> None:
    raise Stuck(1, 2)


def test_results_and_errors_of_a_worker_travel_packed() -> None:
    assert pickle.loads(run_packed(pickle.dumps((int, ("z",), {"base": 36})))) == (35, None)
    _, error = pickle.loads(run_packed(pickle.dumps((parse_size, ("many",), {}))))
    assert isinstance(error, ConfigError)
    _, error = pickle.loads(run_packed(pickle.dumps((get_stuck, (), {}))))
    assert (type(error), str(error)) == (RuntimeError, "Stuck: 1 and 2")
