"""Everything that can go wrong, as one tree.

Each class keeps its arguments in `args`, so that it survives pickling out of a worker process, makes its sentence
in `__str__`, and carries the exit code of the command line.
"""

import errno
import os
from typing import ClassVar

LEAVE_OUT = "leave them out with --on-error skip or --exclude"
MOST_NAMED = 1000  # recordings that a scan refuses
# What the system refuses for reasons that are no fault of a file, and the limits that may be at their end.
_OF_THE_MACHINE: dict[int | None, str] = {
    errno.EACCES: "",
    errno.EPERM: "",
    errno.EMFILE: " (ulimit -n)",
    errno.ENFILE: " (fs.file-max)",
    errno.ENOMEM: " (ulimit -v, vm.max_map_count)",
}


def printable(path: bytes | str) -> str:
    """A path as text that is safe to print: no control characters, no undecodable bytes.

    >>> printable(b"a\\nb\\xff.wav")
    'a\\\\nb\\\\xff.wav'
    """
    try:
        text = os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate, which no path has
        text = str(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: OSError) -> str:
    """What the operating system says, in lower case and without the number."""
    return (error.strerror or str(error)).lower()


class AudiochunkError(Exception):
    """Root of all errors that audiochunk raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(AudiochunkError, ValueError):
    """An option, or a combination of options, that cannot be used. `args`: (sentence,)."""

    exit_code = 2


class OutputExistsError(AudiochunkError):
    """The output folder holds something that is not overwritten. `args`: (folder, what is there, what to do)."""

    exit_code = 2

    def __str__(self) -> str:
        folder, found, advice = self.args
        return f"{printable(folder)}: {printable(found)}; {advice}"


class OutputDamagedError(OutputExistsError):
    """The output folder holds a damaged dataset, which is not built upon. `args`: (folder, what is wrong, advice)."""

    exit_code = 5


class InputError(AudiochunkError):
    """The input as a whole cannot be used. `args`: (path, reason)."""

    exit_code = 4

    def __str__(self) -> str:
        path, reason = self.args
        return f"{printable(path)}: {reason}"


class MissingShardsError(InputError):
    """Tasks of a plan have not made all shards. `args`: (folder, reason, missing numbers, how many in all)."""

    def __str__(self) -> str:
        path, reason, *_ = self.args
        return f"{printable(path)}: {reason}"


class RecordingError(InputError):
    """One recording cannot be used. `args`: (path, reason)."""


class PassingRecordingError(RecordingError):
    """One recording could not be used for a reason that may be gone next time: it was missing, or written to."""


class RecordingsError(AudiochunkError):
    """Some recordings cannot be used and `on_error` is "fail".

    `args`: ([(path, reason), ...],), how many there are in all where there are more, and what to do where that is more
    than to leave them out.
    """

    exit_code = 4

    @property
    def failures(self) -> list[tuple[bytes, str]]:
        """(path, reason) of recordings that cannot be used, in path order; at most `MOST_NAMED` of a scan."""
        return list(self.args[0])

    def __str__(self) -> str:
        failures = self.failures
        lines = [f"  {printable(path)}: {reason}" for path, reason in failures]
        n = max([len(failures), *self.args[1:2]])
        if n > len(failures):
            lines.append(f"  and {n - len(failures):,} more")
        count = "1 recording" if n == 1 else f"{n:,} recordings"
        advice = self.args[2] if len(self.args) > 2 else LEAVE_OUT
        return "\n".join([f"{count} cannot be used:", *lines, advice])


class DatasetError(AudiochunkError):
    """A dataset is damaged, or is not one. `args`: (file, what was expected and what was found)."""

    exit_code = 5

    def __str__(self) -> str:
        path, found = self.args
        return f"{printable(path)}: {printable(found)}"


class NoDatasetError(DatasetError):
    """There is no dataset where one was expected. `args`: (folder, what is there)."""

    exit_code = 4


class MachineError(AudiochunkError):
    """The machine refused: space, permission, limits, locks, a worker that died. `args`: (sentence,)."""

    exit_code = 6


class StoreError(MachineError):
    """An object store, or the way to it, refused. `args`: (object, what happened, what to do)."""

    def __str__(self) -> str:
        name, happened, advice = self.args
        return f"{printable(name)}: {happened}; {advice}"


class ObjectLostError(StoreError):
    """A store did as it was told, and what was written is not there: somebody else may have removed it."""


def unreadable(path: "os.PathLike[str] | str", error: OSError, *, done: str = "read") -> AudiochunkError:
    """What to raise where a file of a dataset cannot be opened or read, which need not be the file's fault."""
    what = f"cannot be {done}: {reason(error)}"
    if not is_of_the_machine(error):
        return DatasetError(path, what)
    return MachineError(f"{printable(os.fspath(path))}: {what}{_OF_THE_MACHINE.get(error.errno, '')}")


def is_of_the_machine(error: OSError) -> bool:
    """Whether what the system refused says nothing of the file: permission, and limits that are at their end."""
    return error.errno in _OF_THE_MACHINE


def raise_if_at_limit(error: OSError) -> None:
    """Tell a limit of this process, or of the machine, from a fault of the file that was about to be opened.

    Raises:
        MachineError: too many files are open, or there is no memory.
    """
    if limit := _OF_THE_MACHINE.get(error.errno):
        raise MachineError(f"{reason(error)}{limit}; fewer --workers need fewer") from error
