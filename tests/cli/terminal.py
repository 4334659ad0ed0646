"""Commands whose stderr is a terminal."""

import os
import pty
import subprocess
import termios
from collections.abc import Sequence
from select import select
from typing import Any


def run_on_a_terminal(
    command: Sequence[Any], *, env: dict[str, str]
) -> tuple["subprocess.CompletedProcess[bytes]", bytes]:
    """Run a command; what became of it, and what the terminal was shown."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    shown = b""
    try:
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs) as process:
            # Read while it runs, or it would wait for room; and not to the end, which need not come.
            while process.poll() is None or select([ours], [], [], 0)[0]:
                if select([ours], [], [], 0.05)[0]:
                    shown += os.read(ours, 4096)
            assert process.stdout is not None
            return subprocess.CompletedProcess(command, process.returncode, process.stdout.read()), shown
    finally:
        os.close(ours)
        os.close(theirs)
