"""The end of the process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import audiochunk
from audiochunk.cli import cli

ROOT = Path(audiochunk.__file__).parents[1]
SCRIPT = """
import atexit, sys, threading, time
from audiochunk.cli import cli, main

class Told:
    def __del__(self, write=sys.stderr.write):
        write("taken apart")

told = Told()
if sys.argv.pop(1) == "thread":
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
make_context = cli.make_context

def make(*arguments, **options):
    atexit.register(print, "cleared", end="")
    return make_context(*arguments, **options)

cli.make_context = make
main()
"""


@pytest.mark.parametrize(("thread", "apart"), [("thread", ""), ("none", "taken apart")])
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["inspect", "/missing"], 4), (["no"], 2)])
def test_an_interpreter_is_not_taken_apart_around_threads_that_are_left(
    thread: str, apart: str, arguments: list[str], code: int
) -> None:
    """Crashes of libraries within such threads come by chance; here it is seen whether there could be one."""
    command = [sys.executable, "-c", SCRIPT, thread, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.endswith("cleared")) == (code, True)
    assert done.stderr.endswith("taken apart") == bool(apart)


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("step", ["parse_args", "_invoke"])
def test_a_command_that_is_ended_before_it_has_begun_says_nothing(number: str, code: int, step: str) -> None:
    script = "import signal\nfrom audiochunk.cli import cli, main\n"
    script += f"cli.{step} = lambda *_: signal.raise_signal(signal.{number})\nmain()"
    command = [sys.executable, "-c", script, "inspect"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_what_nobody_expected_is_told_before_the_process_ends_around_threads() -> None:
    script = SCRIPT.replace("cli.make_context = make", "cli.make_context = lambda *_, **__: 1 / 0")
    command = [sys.executable, "-c", script, "thread"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


def test_the_command_line_within_another_program_leaves_its_signals_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    cli(["inspect", "/missing"], standalone_mode=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
