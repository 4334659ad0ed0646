"""Who runs the tasks: the same results from all, no more at once than asked for, and failures that come through."""

import math
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Lock, Semaphore
from typing import Any

import pytest

import audiochunk
from audiochunk.config import BuildConfig, parse_size
from audiochunk.errors import ConfigError, MachineError
from audiochunk.pipeline.executors import (
    Cluster,
    SerialExecutor,
    TaskLostError,
    Workers,
    executor_of,
    refuse_to_run_in_a_worker,
    run_tasks,
    usable_cpus,
)
from audiochunk.pipeline.pool import process_pool
from audiochunk.pipeline.run import build
from tests.waiting import LONG_S, is_running, wait_until

# Worker processes cannot import this file: what they run comes from the library, and from expressions.
PID = "__import__('os').getpid()"
DIE = "__import__('os')._exit(1)"

# A process with another thread is not forked: a server forks the workers.
METHODS = pytest.mark.parametrize("threads", [1, 2], ids=["forked", "by a server"])
ANOTHER_THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"


def wait_for_the_end(pid: int) -> None:
    """Wait for a process that may be the fork server's child, which cannot be waited for otherwise."""
    wait_until(lambda: not is_running(pid), f"the end of process {pid}")


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("n_tasks", [0, 1, 4, 30])
def test_every_task_has_its_result_once(workers: int, n_tasks: int) -> None:
    results = list(run_tasks(math.factorial, iter(range(n_tasks)), workers=workers))
    assert sorted(results) == [math.factorial(n) for n in range(n_tasks)]


def test_an_executor_that_is_given_runs_all_tasks() -> None:
    with ThreadPoolExecutor(3) as threads:
        results = list(run_tasks(math.factorial, range(30), workers=3, executor=threads))
        assert threads.submit(operator.neg, 1).result() == -1  # it is left as it was
    assert sorted(results) == [math.factorial(n) for n in range(30)]


def test_one_worker_is_this_process_and_two_are_not() -> None:
    assert set(run_tasks(eval, [PID] * 3, workers=1)) == {os.getpid()}
    assert os.getpid() not in set(run_tasks(eval, [PID] * 3, workers=2))


def test_the_serial_executor_keeps_order_and_passes_arguments_on() -> None:
    with SerialExecutor() as executor:
        future = executor.submit(int, "z", base=36)
        assert future.done()
        assert future.result() == 35
        assert list(executor.map(operator.neg, [1, 2])) == [-1, -2]


def test_the_serial_executor_keeps_an_exception_for_whoever_asks() -> None:
    future = SerialExecutor().submit(parse_size, "many")
    assert isinstance(future.exception(), ConfigError)


def test_the_serial_executor_lets_interrupts_through() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SerialExecutor().submit(interrupted)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_in_a_task_comes_through(workers: int) -> None:
    with pytest.raises(ConfigError, match="size 'many' is not a number of bytes"):
        list(run_tasks(parse_size, ["1", "many", "2"], workers=workers))


def start(tmp_path: Path, script: str) -> subprocess.Popen[str]:
    """A new process, in which nothing of multiprocessing is running yet."""
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script))
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, os.fspath(file)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Workers that die.


@METHODS
def test_the_death_of_a_worker_costs_nothing_however_it_began(tmp_path: Path, threads: int) -> None:
    script = f"""
        {ANOTHER_THREAD if threads == 2 else ""}
        import os
        from audiochunk.pipeline.executors import run_tasks

        def once(number):
            marker = f"{{number}}"
            die = "(open(" + repr(marker) + ", 'x').close(), __import__('os')._exit(1))"
            return f"{{number}} if __import__('os').path.exists({{marker!r}}) else {{die}}"

        if __name__ == "__main__":
            tasks = [once(n) if n in (3, 19) else str(n) for n in range(20)]
            print(sorted(run_tasks(eval, tasks, workers=2)) == list(range(20)), sorted(os.listdir()))
    """
    out, err = start(tmp_path, script).communicate(timeout=LONG_S)
    assert out == "True ['19', '3', 'script.py']\n", err


def test_a_pool_that_cannot_begin_leaves_no_process(tmp_path: Path) -> None:
    script = """
        import os, resource, sys
        from audiochunk.pipeline.pool import process_pool

        if __name__ == "__main__":
            here = len(os.listdir("/proc/self/fd")) - 1
            # From too few files for the pipes of a pool, over enough for some of its processes, to enough for all.
            for more in range(2, 40, 2):
                if os.fork() == 0:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (here + more, 4096))
                    try:
                        with process_pool(3) as pool:
                            print(pool.submit(abs, -1).result())
                    except OSError as error:
                        print(error.strerror)
                    sys.exit()  # which waits for the processes that are left
                os.wait()
    """
    out, err = start(tmp_path, script).communicate(timeout=LONG_S)
    lines = out.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("Too many open files", "1", 19), err
    assert set(lines) == {"Too many open files", "1"}


def test_a_worker_does_not_hold_the_lock_of_its_parent(tmp_path: Path) -> None:
    script = """
        import os
        from pathlib import Path
        from audiochunk.pipeline.pool import process_pool
        from audiochunk.storage.files import locked

        FILES = "list(map(__import__('os').path.realpath, __import__('glob').glob('/proc/self/fd/*')))"

        if __name__ == "__main__":
            with locked(Path("lock")), process_pool(1) as pool:
                lock = os.path.realpath("lock")
                print(lock in pool.submit(eval, FILES).result(), lock in eval(FILES))
                if os.fork() == 0:
                    try:
                        with locked(Path("lock")):
                            os._exit(0)
                    except Exception as error:
                        os._exit(7 if "another build" in str(error) else 1)
                print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    out, err = start(tmp_path, script).communicate(timeout=LONG_S)
    assert out.splitlines() == ["False True", "7"], err


def test_a_task_that_a_worker_dies_of_twice_is_named() -> None:
    tasks = ["1", "2", DIE, "3", "4", "5"]
    with pytest.raises(MachineError, match=r"a worker process died twice, .* at <__import__.*_exit\(1\)>") as raised:
        list(run_tasks(eval, tasks, workers=2, name=lambda task: f"<{task}>"))
    assert raised.value.exit_code == 6


def test_a_worker_that_dies_once_costs_no_result(tmp_path: Path) -> None:
    # Two tasks end their process the first time that they run, one of them the last.
    def once(number: int) -> str:
        marker = os.fspath(tmp_path / f"{number}")
        return f"{number} if __import__('os').path.exists({marker!r}) else (open({marker!r}, 'x').close(), {DIE})"

    tasks = [once(n) if n in (3, 19) else str(n) for n in range(20)]
    assert sorted(run_tasks(eval, tasks, workers=2)) == list(range(20))
    assert sorted(os.listdir(tmp_path)) == ["19", "3"]


def test_a_given_executor_that_breaks_is_a_machine_error() -> None:
    with (
        process_pool(2) as pool,
        pytest.raises(MachineError, match="the executor broke while it was at <") as raised,
    ):
        list(run_tasks(eval, [DIE] * 9, workers=2, executor=pool, name=lambda task: f"<{task}>"))
    assert raised.value.exit_code == 6


def test_what_was_done_before_an_executor_broke_is_not_lost() -> None:
    results: list[int] = []

    def collect() -> None:
        with process_pool(1) as pool, closing(run_tasks(eval, ["1", DIE], workers=1, executor=pool)) as running:
            results.append(next(running))
            results.extend(running)

    with pytest.raises(MachineError):
        collect()
    assert results == [1]


class Cancelling(ThreadPoolExecutor):
    """Threads that drop one of the tasks which they are given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if args != ("3",):
            return super().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_a_task_that_the_executor_cancels_is_a_machine_error() -> None:
    results: list[int] = []

    def collect() -> None:
        with Cancelling(1) as threads:
            results.extend(run_tasks(eval, "1234", workers=2, executor=threads))

    with pytest.raises(MachineError, match="the executor broke while it was at 3"):
        collect()


class Fleet(Cluster):
    """A cluster of a thread that says it has more, and each time another number of them."""

    def __init__(self, n_threads: list[int]) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._n_threads = n_threads
        self.asked = 0

    def ask(self, fn: Callable[..., Any], /, *args: Any) -> dict[str, Any]:
        raise AssertionError("nobody is asked anything here")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._thread.submit(fn, *args, **kwargs)

    @property
    def n_threads(self) -> int:
        self.asked += 1
        if not self._n_threads:
            raise MachineError("nobody is left")
        return self._n_threads.pop(0)

    def find_fault(self) -> None:
        raise MachineError("it was the weather")


def test_what_is_handed_out_follows_the_cluster() -> None:
    fleet = Fleet([1] * 5 + [50] * 1000)
    assert sorted(run_tasks(operator.neg, range(60), workers=1, executor=fleet)) == list(range(-59, 1))
    assert fleet.asked > 60


def test_a_cluster_of_which_nobody_is_left_ends_the_wait() -> None:
    with pytest.raises(MachineError, match="nobody is left"):
        list(run_tasks(time.sleep, [1], workers=1, executor=Fleet([1, 1])))


def test_a_cluster_tells_what_broke_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object, **__: object) -> None:
        raise TaskLostError("a worker stumbled")

    fleet = Fleet([9] * 9)
    monkeypatch.setattr(fleet, "submit", lose)
    with pytest.raises(MachineError, match="it was the weather"):
        list(run_tasks(abs, [1], workers=1, executor=fleet))
    monkeypatch.setattr(fleet, "find_fault", lambda: None)
    with pytest.raises(MachineError, match="a worker stumbled while it was at 1"):
        list(run_tasks(abs, [1], workers=1, executor=fleet))


def test_an_executor_has_a_name_or_is_one() -> None:
    for nobody in (None, "local"):
        with executor_of(nobody) as executor:
            assert executor is None
    with SerialExecutor() as given, executor_of(given) as executor:
        assert executor is given
    for wrong in ("dusk://host:1", "", "locally"):
        with pytest.raises(ConfigError, match=r"it is local, dask://host:port, or"), executor_of(wrong):
            pass


def test_workers_end_when_results_are_no_longer_wanted() -> None:
    with closing(run_tasks(eval, [PID] * 50, workers=2)) as results:
        pid = next(results)
        assert pid != os.getpid()
    wait_for_the_end(pid)


def test_workers_end_with_the_block_that_failed() -> None:
    pids: list[int] = []

    def fail() -> None:
        with process_pool(1) as pool:
            pids.append(pool.submit(os.getpid).result())
            pool.submit(time.sleep, 3600)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    wait_for_the_end(pids[0])


@METHODS
def test_workers_leave_interrupts_to_the_parent(tmp_path: Path, threads: int) -> None:
    script = f"""
        {ANOTHER_THREAD if threads == 2 else ""}
        import os, signal
        from audiochunk.pipeline.executors import run_tasks

        MASK = "__import__('signal').SIGINT in __import__('signal').pthread_sigmask(0, [])"
        HIT = "__import__('os').kill(__import__('os').getpid(), __import__('signal').SIGINT) or 'went on'"

        if __name__ == "__main__":
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            # The first pool of a process starts the server, later ones find it.
            for _ in range(2):
                print(list(run_tasks(eval, [MASK], workers=2)), list(run_tasks(eval, [HIT], workers=2)))
            print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == before)
    """
    out, err = start(tmp_path, script).communicate(timeout=LONG_S)
    assert out.splitlines() == ["[True] ['went on']", "[True] ['went on']", "True"], err


def test_the_parent_can_be_interrupted_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with process_pool(1) as pool:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        assert pool.submit(operator.neg, 1).result() == -1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


@METHODS
@pytest.mark.parametrize("at_work", [False, True], ids=["idle", "at work"])
def test_workers_and_their_server_end_with_a_parent_that_is_killed(tmp_path: Path, at_work: bool, threads: int) -> None:
    script = f"""
        {ANOTHER_THREAD if threads == 2 else ""}
        import os, time
        from audiochunk.pipeline.pool import process_pool

        # Each worker has one of two: it waits for the other.
        HERE = "__import__('pathlib').Path('here-' + str(__import__('os').getpid())).touch()"
        BOTH = "len(__import__('glob').glob('here-*')) == 2"
        PARENT = f"({{HERE}}, [None for _ in iter(lambda: {{BOTH}}, True)], __import__('os').getppid())[-1]"
        BUSY = HERE.replace("here", "busy") + " or __import__('time').sleep(3600)"

        def those_who_are(word):
            return {{int(name.partition("-")[2]) for name in os.listdir() if name.startswith(word)}}

        if __name__ == "__main__":
            with process_pool(2) as pool:
                parents = [pool.submit(eval, PARENT) for _ in range(2)]
                pids = {{future.result() for future in parents}} | those_who_are("here")
                for _ in range(4 if {at_work} else 0):
                    pool.submit(eval, BUSY)
                while {at_work} and len(those_who_are("busy")) < 2:
                    time.sleep(0.01)
                print(*pids, flush=True)
                time.sleep(3600)
    """
    parent = start(tmp_path, script)
    assert parent.stdout is not None
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3  # two workers, and the server or the parent that forked them
        assert (parent.pid in pids) == (threads == 1)
        pids = [pid for pid in pids if pid != parent.pid]
        assert all(is_running(pid) for pid in pids)
    finally:
        parent.kill()
        parent.wait()
    # What is left would hold these pipes open; they are not read, for that would wait for it.
    parent.stdout.close()
    assert parent.stderr is not None
    parent.stderr.close()
    for pid in pids:
        wait_for_the_end(pid)


def test_a_worker_that_imports_the_script_may_not_start_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_run_in_a_worker()
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match='if __name__ == "__main__"'):
        refuse_to_run_in_a_worker()
    # It is the first thing that a build does: neither the options nor the folders have been looked at.
    with pytest.raises(ConfigError, match='if __name__ == "__main__"'):
        build(tmp_path / "nowhere", tmp_path / "out", BuildConfig(), workers=0)
    assert os.listdir(tmp_path) == []


BUILDING = """
import audiochunk

{start}audiochunk.build("wavs", "out", workers=2, chunk_bytes=64, shard_size=128, fsync=False)
"""


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """Recordings of several shards."""
    folder = tmp_path / "wavs"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        with wave.open(os.fspath(folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(800))
    return folder


@pytest.mark.usefixtures("wavs")
def test_a_script_without_a_guard_is_told_what_is_wrong(tmp_path: Path) -> None:
    process = start(tmp_path, f"{ANOTHER_THREAD}\n{BUILDING.format(start='')}")
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode != 0
    assert 'if __name__ == "__main__"' in err
    assert "ConfigError" in err
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.usefixtures("wavs")
def test_a_script_that_workers_cannot_read_is_told_so(tmp_path: Path) -> None:
    script = f"{ANOTHER_THREAD}\n{BUILDING.format(start='')}"
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable], input=script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "worker processes cannot begin" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("wavs")
def test_a_worker_of_another_pool_builds_alone(tmp_path: Path) -> None:
    script = """
        import multiprocessing
        import audiochunk

        def build(out):
            return audiochunk.build("wavs", out, workers=2, chunk_bytes=64, shard_size=128, fsync=False).dataset_id

        if __name__ == "__main__":
            with multiprocessing.Pool(1) as pool:
                print(pool.apply(build, ["a"]) == build("b"))
    """
    out, err = start(tmp_path, script).communicate(timeout=LONG_S)
    assert (out, err) == ("True\n", "")


@METHODS
@pytest.mark.usefixtures("wavs")
def test_a_script_with_a_guard_builds(tmp_path: Path, threads: int) -> None:
    first = ANOTHER_THREAD if threads == 2 else "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'"
    building = BUILDING.format(start='if __name__ == "__main__":\n    ')
    process = start(tmp_path, f"{first}\n{building}")
    _, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, err) == (0, "")
    assert len(list((tmp_path / "out").glob("train-*.safetensors"))) > 2


# What is done meanwhile.


def test_work_is_done_while_results_are_waited_for_and_no_longer() -> None:
    left, is_done = [True, True, False], Event()

    def work() -> bool:
        is_more = left.pop(0)  # too often is an IndexError
        if not is_more:
            is_done.set()
        return is_more

    def wait_for_it(longer_s: float) -> bool:
        ended = is_done.wait(LONG_S)
        time.sleep(longer_s)  # so that there would be time for more
        return ended

    with ThreadPoolExecutor(2) as threads, Workers(2, threads) as workers:
        assert list(workers.run(wait_for_it, [0.1] * 6, meanwhile=work)) == [True] * 6
    assert left == []


def test_what_fails_meanwhile_ends_it() -> None:
    def fail() -> bool:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), Workers(2) as workers:
        list(workers.run(time.sleep, [3600] * 6, meanwhile=fail))


# How much is handed out.


class Counting(Executor):
    """Threads whose tasks end only when as many are handed out as may be."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor(60)
        self._lock = Lock()
        self._may_end = Semaphore(0)
        self._out = 0
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._lock:
            self._out += 1
            self.most = max(self.most, self._out)
            is_full = self._out >= self._limit

        def task() -> Any:
            self._may_end.acquire()
            with self._lock:
                self._out -= 1
            return fn(*args, **kwargs)

        future = self._pool.submit(task)
        if is_full:
            self._may_end.release()
        return future

    def release_all(self) -> None:
        self._may_end.release(1000)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.release_all()
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_than_two_tasks_a_worker_are_handed_out(workers: int) -> None:
    drawn = 0

    def tasks() -> Iterator[int]:
        nonlocal drawn
        for n in range(1, 51):
            drawn = n
            yield n
        executor.release_all()

    finished = 0
    with Counting(2 * workers) as executor:
        for _ in run_tasks(operator.neg, tasks(), workers=workers, executor=executor):
            assert drawn - finished <= 2 * workers
            finished += 1
    assert (drawn, finished, executor.most) == (50, 50, 2 * workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_without_end_have_results(workers: int) -> None:
    endless = iter(int, 1)
    with closing(run_tasks(operator.neg, endless, workers=workers)) as results:
        assert [next(results) for _ in range(10)] == [0] * 10


def test_usable_cpus_are_at_least_one_and_at_most_all() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


BE_LONG = "  # " + "x" * 2**20  # longer than a pipe holds


def test_tasks_longer_than_the_pipe_do_not_keep_a_stopped_pool_waiting() -> None:
    running = run_tasks(eval, iter([PID, *["__import__('time').sleep(3600)" + BE_LONG] * 20]), workers=2)
    next(running)
    running.close()  # it would be for ever


def test_tasks_longer_than_the_pipe_do_not_keep_a_broken_pool_waiting() -> None:
    tasks = [PID, DIE + BE_LONG, *["None" + BE_LONG] * 20]
    with closing(run_tasks(eval, iter(tasks), workers=2)) as results, pytest.raises(MachineError, match="died twice"):
        list(results)


def test_workers_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are forked by a server that began earlier, where this process has threads."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(int).result()
        monkeypatch.setenv("AUDIOCHUNK_TEST_GONE", "1")
        for value in ("one", "two"):
            monkeypatch.setenv("AUDIOCHUNK_TEST_NOW", value)
            with process_pool(1) as pool:
                assert pool.submit(os.getenv, "AUDIOCHUNK_TEST_NOW").result() == value
                assert pool.submit(os.getenv, "AUDIOCHUNK_TEST_GONE").result() == ("1" if value == "one" else None)
            monkeypatch.delenv("AUDIOCHUNK_TEST_GONE", raising=False)
