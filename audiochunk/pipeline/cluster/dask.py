"""A Dask cluster as who runs the tasks. The only module that imports distributed, and nobody imports it unasked."""

import asyncio
import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from audiochunk.errors import AudiochunkError, ConfigError, MachineError
from audiochunk.pipeline.executors import Cluster, TaskLostError
from audiochunk.pipeline.interrupts import held_back
from audiochunk.pipeline.versions import differences, versions

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_S = 10  # for the scheduler to answer, and for the first worker to be there
_ANSWER_S = 30
_LOOK_S = 5  # between two looks who is there
_ALONE_S = 60  # without any worker before a build gives up
_NAMED = 3
_QUIET = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio")

# As text: a worker that has no audiochunk, or another one, ends where it cannot unpack the name of a function, and then
# cannot be named. The scheduler unpacks what it is given, too, and needs no audiochunk.
_VERSIONS = "__import__('audiochunk.pipeline.versions', fromlist=['versions']).versions()"
_RUN = "__import__('audiochunk.pipeline.cluster.dask', fromlist=['run_packed']).run_packed(data)"

Result = TypeVar("Result")


@contextmanager
def connected(address: str) -> Iterator["DaskExecutor"]:
    """The workers of a scheduler, all of them with the versions that are here.

    Where the block is left, tasks that wait are cancelled; those that run do so to their end.

    Args:
        address: host:port of the scheduler.

    Raises:
        ConfigError: distributed is not installed.
        MachineError: there is no such scheduler, or it has no workers, or one of them has other versions.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("a Dask cluster needs the package distributed: pip install 'audiochunk[dask]'") from error
    with _quiet():
        try:
            _check_scheduler(address)
            client = Client(f"tcp://{address}", timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, OverflowError) as error:
            raise MachineError(
                f"no Dask scheduler answers at {address} within {_CONNECT_S} seconds;"
                " start one with `dask scheduler`, or leave out --executor"
            ) from error
        try:
            executor = DaskExecutor(client, address)
            executor.check_workers()
            yield executor
        finally:
            # What the scheduler is not told in that time, it finds when the connection ends.
            with suppress(TimeoutError, OSError, AssertionError):
                client.close(timeout=_CONNECT_S)


def _check_scheduler(address: str) -> None:
    """Look whether a scheduler answers. A client that is interrupted while it waits for one, or is answered by another
    kind of server, hangs.

    Raises:
        MachineError: it is another part of Dask.
        OSError: nothing that is known answers.
    """
    from distributed import rpc

    async def identify() -> str:
        async with rpc(f"tcp://{address}") as server:
            return str((await server.identity())["type"])

    async def kind_unless(came: list[int]) -> str | None:
        asking = asyncio.ensure_future(identify())
        for _ in range(10 * _CONNECT_S):
            await asyncio.wait([asking], timeout=0.1)
            if asking.done():
                return asking.result()
            if came:
                break
        asking.cancel()
        await asyncio.wait([asking], timeout=1)
        return None

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with held_back() as came:
            kind = asyncio.run(kind_unless(came))
        if kind is None:
            raise TimeoutError from None
        if kind != "Scheduler":
            raise MachineError(f"at {address} there is no Dask scheduler, but a {kind.lower()}") from None
    # Else this is a notebook, whose loop is not waited for.


class DaskExecutor(Cluster):
    """Runs tasks on the workers of a Dask scheduler; a task may run twice, where a worker dies of it or is cut off.

    Args:
        client: connected; stays open.
        address: of the scheduler, for messages.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self._client, self._address = client, address
        # Not pure: a task that gave a result once may be asked to do so again.
        self._executor = client.get_executor(pure=False)
        self._n_threads = 0
        self._looked = self._staffed = -float("inf")

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """The future of a task; where the cluster is why there is no result, its exception is a TaskLostError."""
        if self._client.status != "running":
            raise TaskLostError(self._lost)
        theirs = self._executor.submit(eval, _RUN, {"data": pickle.dumps((fn, args, kwargs))})
        ours: Future[Result] = Future()

        def hand_on(_: Future[Result]) -> None:
            result: Any = None
            error: BaseException | None
            if theirs.cancelled():
                error = TaskLostError(self._lost)
            elif (error := theirs.exception()) is None:
                try:
                    result, error = pickle.loads(theirs.result())
                except Exception as unreadable:  # noqa: BLE001 - whatever it is, somebody waits for this future
                    error = unreadable
            if error is None:
                ours.set_result(result)
            elif isinstance(error, AudiochunkError | OSError | MemoryError | TaskLostError):
                ours.set_exception(error)
            else:
                ours.set_exception(TaskLostError(_told(error)))

        theirs.add_done_callback(hand_on)
        return ours

    @property
    def _lost(self) -> str:
        return f"the Dask scheduler at {self._address} dropped what it was given"

    @property
    def n_threads(self) -> int:
        """Threads of all workers, at least 1, not older than a few seconds.

        Raises:
            MachineError: the scheduler is lost, or has had no workers for a minute.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._n_threads = sum(self._ask_scheduler(self._client.scheduler.ncores).values())
            self._looked = time.monotonic()
            if self._n_threads or self._staffed < 0:
                self._staffed = self._looked
            elif self._looked - self._staffed > _ALONE_S:
                raise MachineError(
                    f"the Dask scheduler at {self._address} has had no workers for {_ALONE_S} seconds;"
                    " the same command goes on from the finished shards"
                )
        return max(1, self._n_threads)

    def check_workers(self) -> None:
        """Wait a little for workers, and look at what they have.

        Raises:
            MachineError: there are none, or one has other versions.
        """
        try:
            self._client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError as error:
            raise MachineError(
                f"the Dask scheduler at {self._address} has no workers after {_CONNECT_S} seconds; start some with"
                f" `dask worker {self._address} --nthreads 1`"
            ) from error
        except OSError as error:
            raise self._unreachable(error) from error
        self._check_versions()

    def _check_versions(self) -> None:
        wrong = []
        for name, found in sorted(self._run(eval, _VERSIONS).items()):
            if isinstance(found, Exception):
                wanted = versions()["audiochunk"]
                wrong.append(f"worker {name}: cannot load audiochunk ({found}); install audiochunk {wanted} there")
            elif (differing := differences(found, versions())) is not None:
                wrong.append(f"worker {name}: {differing}")
        if wrong:
            more = f"\nand {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
            raise MachineError("\n".join(wrong[:_NAMED]) + more)

    def ask(self, fn: Callable[..., Result], /, *args: Any) -> dict[str, Result]:
        """What a function gives on every worker that is there now, by the worker's address.

        Raises:
            MachineError: the scheduler is lost, or a worker could not be asked.
        """
        answers = self._run(fn, *args)
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                raise MachineError(f"worker {name}: could not be asked about its folders ({answer})") from answer
        return answers

    def find_fault(self) -> None:
        """Say what broke a task, where that can be told.

        Raises:
            MachineError: the scheduler is lost, or a worker has other versions.
        """
        self._looked = -float("inf")
        _ = self.n_threads
        self._check_versions()

    def _run(self, fn: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """Results or exceptions by address of worker; those that are gone meanwhile are left out."""
        found = self._ask_scheduler(self._client._run, fn, *args, on_error="return")
        return {name: result for name, result in found.items() if not isinstance(result, OSError)}

    def _ask_scheduler(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a coroutine of the client comes to.

        Raises:
            MachineError: nothing, because the scheduler is lost.
        """
        if self._client.status != "running":
            raise self._unreachable(None)
        try:
            answer: dict[str, Any] = self._client.sync(fn, *args, callback_timeout=_ANSWER_S, **kwargs)
        except (OSError, asyncio.CancelledError) as error:
            raise self._unreachable(error) from error
        return answer

    def _unreachable(self, error: BaseException | None) -> MachineError:
        why = f" ({error})" if error is not None and str(error) else ""
        return MachineError(
            f"lost the Dask scheduler at {self._address}{why}; the same command goes on from the finished shards, with"
            " another scheduler, or without --executor on this machine"
        )


def run_packed(data: bytes) -> bytes:
    """What a pickled (function, arguments, keyword arguments) comes to on a worker: (result, error), pickled.

    An error is a result, because Dask sends it with all that the worker was at, and some of that never arrives.
    """
    fn, args, kwargs = pickle.loads(data)
    try:
        return pickle.dumps((fn(*args, **kwargs), None))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the result is asked for
        try:
            packed = pickle.dumps((None, error))
            pickle.loads(packed)
        except Exception:  # noqa: BLE001 - so does an error that cannot travel
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
        return packed


def _told(error: BaseException) -> str:
    """In words why a worker did not do its task."""
    if type(error).__name__ == "KilledWorker":
        return "one worker after the other died, for want of memory perhaps,"
    return f"a worker failed ({type(error).__name__}: {error})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what distributed logs and warns of to itself: what matters of it is raised."""
    loggers = [logging.getLogger(name) for name in _QUIET]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
