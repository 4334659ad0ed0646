"""Waiting for states and not for time: tests pass however fast or loaded the machine is."""

import os
import time
from collections.abc import Callable
from pathlib import Path

#: What nothing takes on any machine, unless it hangs.
LONG_S = 300.0


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Look again and again until something is so."""
    end = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; one that has may wait for ever for an init that reaps it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:  # gone meanwhile, or a system without /proc
        return not Path("/proc/self").exists()


def wait_for_the_group(group: int) -> None:
    """Wait until no process of a group is left, so that none can still be writing."""
    wait_until(lambda: not _is_group_running(group), f"the end of process group {group}")


def _is_group_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    if not Path("/proc/self").exists():
        return True
    return any(_is_of(int(name), group) for name in os.listdir("/proc") if name.isdigit())


def _is_of(pid: int, group: int) -> bool:
    try:
        state, _, its_group = _stat(pid)[:3]
    except OSError:
        return False
    return int(its_group) == group and state not in "ZX"


def _stat(pid: int) -> list[str]:
    """State, parent, group, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
