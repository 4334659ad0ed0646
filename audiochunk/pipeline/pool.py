"""Worker processes on this machine: how they begin, and that they end."""

import errno
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from audiochunk.errors import ConfigError, MachineError, printable, reason
from audiochunk.pipeline.interrupts import held_back
from audiochunk.storage.files import let_go_of_locks

_MOST_SOCKET_BYTES = 103  # of a path; macOS takes no more, Linux 107
_CANNOT_BEGIN = (
    "worker processes cannot begin, perhaps because they cannot import the script that calls audiochunk: the call"
    ' belongs under `if __name__ == "__main__":`, in a file; or use workers=1'
)


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes on this machine, which are ended at once where the block is left by an exception."""
    pool = start_pool(workers)
    try:
        yield pool
    except BaseException:
        stop_pool(pool)
        raise
    else:
        pool.shutdown(cancel_futures=True)


def start_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of so many processes, which have begun."""
    # A copy of this process is there in a tenth of the time, but would copy a lock that another thread holds as it is.
    # A server process that has no threads forks the workers then.
    is_fork = _has_one_thread()
    context: Any = multiprocessing.get_context("fork" if is_fork else "forkserver")
    if not is_fork:
        _keep_paths_of_sockets_short()
        context.set_forkserver_preload(["audiochunk.pipeline.shards"])
        multiprocessing.resource_tracker.ensure_running()  # now: the server would start it, and it unblocks signals
    # The server has the environment of when it began; what a store is reached with may have been set since.
    environment = None if is_fork else dict(os.environ)
    # Ctrl-C reaches every process of the terminal; the parent alone decides what it means. The server and all workers
    # inherit the mask, so that there is no moment at which one could be hit; nor one at which a forked worker would do
    # what this process does at SIGTERM. (The server is also asked for processes by others, who end them so.)
    masked = {signal.SIGINT, signal.SIGTERM} if is_fork else {signal.SIGINT}
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(environment,))
    try:
        with held_back(), _masked(masked):
            if not is_fork:
                multiprocessing.forkserver.ensure_running()
            begun = pool.submit(int)  # so that the processes begin here
    except OSError as error:
        stop_pool(pool)
        if is_fork or error.errno != errno.EBADF:
            raise
        # The first process has ended, and the pool with it, before the last had begun.
        raise ConfigError(_CANNOT_BEGIN) from error
    except BaseException:
        stop_pool(pool)  # those that have begun
        raise
    if not is_fork:
        _wait_for(begun, pool)
    return pool


@contextmanager
def _masked(numbers: set[signal.Signals]) -> Iterator[None]:
    """Mask signals; while they are held back, or the one that comes as the mask is set would leave it set."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _keep_paths_of_sockets_short() -> None:
    """Have multiprocessing put the socket of its server where the path fits, if that of `TMPDIR` is too long.

    Later versions of Python do so themselves.

    Raises:
        MachineError: there is no such place.
    """
    process: Any = multiprocessing.current_process()
    parent = process._config.get("tempdir") or os.path.join(tempfile.gettempdir(), "pymp-12345678")
    if len(os.fsencode(os.path.join(parent, "listener-12345678"))) <= _MOST_SOCKET_BYTES:
        return
    try:
        folder = tempfile.mkdtemp(prefix="pymp-", dir="/tmp")
    except OSError as error:
        raise MachineError(
            f"{printable(tempfile.gettempdir())}: the path is too long for a socket of the worker processes, and /tmp"
            f" cannot be used ({reason(error)}); set TMPDIR to a shorter one, or use one worker"
        ) from error
    multiprocessing.util.Finalize(
        None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-100
    )
    process._config["tempdir"] = folder


def _wait_for(begun: "Future[int]", pool: ProcessPoolExecutor) -> None:
    """Wait for the first thing that a pool is asked, which comes to nothing where workers cannot import the script.

    Raises:
        ConfigError: so it is.
    """
    try:
        begun.result()
    except (BrokenExecutor, EOFError, ConnectionError) as error:
        raise ConfigError(_CANNOT_BEGIN) from error
    except BaseException:
        stop_pool(pool)
        raise


def _has_one_thread() -> bool:
    """Whether this process can be told to have no other thread, those of libraries included."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:  # not Linux; on macOS libraries may not be used in a fork
        return False


def _begin_worker(environment: dict[str, str] | None) -> None:
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    # What a fork inherits is its parent's: how SIGTERM is taken, and the lock of the output folder, which would outlive
    # a parent that is killed for as long as a worker takes to end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    let_go_of_locks()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent does, even by SIGKILL: only one build may write into a folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def stop_pool(pool: ProcessPoolExecutor) -> None:
    """End the workers now, whatever they are at: a task that is cut short leaves only a temporary file."""
    for process in list((pool._processes or {}).values()):
        process.terminate()
    # Waited for, because what is left of a pool complains when the interpreter ends.
    pool.shutdown(wait=True, cancel_futures=True)
