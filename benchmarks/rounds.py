"""Timing contenders in turn: every round runs all of them, so that whatever else the machine does hits them alike."""

import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processes import Command, CommandError, Memory, Run, run, touch_memory


class WrongOutputError(Exception):
    """What a contender wrote is not what it should have written."""


@dataclass(frozen=True)
class Contender:
    """A command that does a whole job.

    Attributes:
        name: what the tables call it.
        command: to run; empty if it cannot be run here.
        out: file or folder that it writes, deleted before every run.
        check: raises WrongOutputError if `out` is not right; called once, before any time counts.
        missing: why it cannot be run here.
        max_rounds: take part only in the first so many.
    """

    name: str
    command: Command
    out: Path | None = None
    check: Callable[[Path], None] | None = None
    missing: str = ""
    max_rounds: int | None = None


@dataclass
class Measured:
    """All runs of one contender: by round, and why there are none."""

    name: str
    runs: list[Run] = field(default_factory=list)
    memory: Memory | None = None
    refused: str = ""

    @property
    def seconds(self) -> list[float]:
        return [one.seconds for one in self.runs]

    @property
    def inside(self) -> list[float]:
        return [one.inside for one in self.runs if one.inside is not None]


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def ratio(limit: Sequence[float], other: Sequence[float]) -> float | None:
    """Which fraction of the limit's speed another reaches: the median over the rounds in which both took part."""
    return median([a / b for a, b in zip(limit, other, strict=False)])


def marginal(limit: tuple[Measured, Measured], other: tuple[Measured, Measured]) -> float | None:
    """The same of the difference between a (small, large) job, so that start-up does not count.

    The difference of the medians of each; None where there are none, or no more work took no more time.
    """
    medians = [median(one.seconds) for one in (*limit, *other)]
    if None in medians:
        return None
    limit_small, limit_large, small, large = (value or 0.0 for value in medians)
    return (limit_large - limit_small) / (large - small) if large > small else None


def clear(path: Path | None) -> None:
    """Delete a file or a folder, if it is there."""
    if path is not None and path.is_dir():
        shutil.rmtree(path)
    elif path is not None:
        path.unlink(missing_ok=True)


def _prepare(contender: Contender, touch_bytes: int, sync: bool) -> None:
    clear(contender.out)
    if contender.out is not None:
        contender.out.parent.mkdir(parents=True, exist_ok=True)
    if sync:
        os.sync()  # what others left to be written would be written in this one's time
    touch_memory(touch_bytes)


def _first(contender: Contender, measured: Measured, touch_bytes: int) -> None:
    """The run that is not timed: it warms the caches, is watched for its memory, and its output is checked."""
    measured.refused = contender.missing
    if contender.missing:
        return
    try:
        _prepare(contender, touch_bytes, sync=False)
        measured.memory = run(contender.command, watch_memory=True).memory
        if contender.check is not None and contender.out is not None:
            contender.check(contender.out)
    except (CommandError, WrongOutputError) as error:
        measured.refused = str(error)


def run_rounds(
    contenders: Sequence[Contender], *, rounds: int, touch_bytes: int = 0, sync: bool = False
) -> list[Measured]:
    """Run all contenders in turn, `rounds` times after one that does not count.

    Args:
        contenders: what to run; every other round runs them in the opposite order.
        rounds: how many count.
        touch_bytes: memory to have at hand before each.
        sync: let the machine write everything out before each.

    Returns:
        One Measured for each contender, in their order.
    """
    measured = [Measured(contender.name) for contender in contenders]
    pairs = list(zip(contenders, measured, strict=True))
    for contender, record in pairs:
        progress(f"first run: {contender.name}")
        _first(contender, record, touch_bytes)
        clear(contender.out)
    for number in range(rounds):
        for contender, record in pairs if number % 2 == 0 else reversed(pairs):
            if record.refused or number >= (contender.max_rounds or rounds):
                continue
            progress(f"round {number + 1} of {rounds}: {contender.name}")
            _prepare(contender, touch_bytes, sync)
            try:
                record.runs.append(run(contender.command))
            except CommandError as error:
                record.refused = str(error)
                record.runs.clear()
            clear(contender.out)
    progress("")
    return measured


def progress(text: str) -> None:
    """Show what is being done, on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
