"""The command line: parse, one library call, print. The only place that prints or exits."""

import errno
import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from audiochunk._version import __version__
from audiochunk.cli.ending import Ending
from audiochunk.cli.pipes import ending_quietly, nobody_reads
from audiochunk.errors import AudiochunkError, printable, reason

_COMMANDS = {
    "build": "Build a dataset from a folder of recordings.",
    "card": "Describe a dataset for the Hugging Face Hub.",
    "decode": "Turn chunks back into WAV files.",
    "evaluate": "Tell what codecs make of the chunks.",
    "plan": "Plan a dataset for the tasks of a job array.",
    "seal": "Make a dataset of the shards that tasks have made.",
    "inspect": "Tell what a dataset holds.",
    "report": "Make an HTML page to look at and listen to.",
    "verify": "Look for damage in a dataset, or compare it with its recordings.",
}


class Terminated(BaseException):
    """SIGTERM, as something that unwinds the stack."""


def _end(signum: int, frame: FrameType | None) -> None:
    # Once is enough: another signal would hit the clearing up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated


@contextmanager
def _ending_when_interrupted() -> Iterator[None]:
    """End with 130 where nothing is left to say; click would say "Aborted!" and end with 1."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


class _Commands(click.Group):
    """Imports a command when it is used, so that --version and --help load no numpy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"audiochunk.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _ending_when_interrupted(), ending_quietly():  # after --help and --version, too
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _ending_when_interrupted(), ending_quietly():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AudiochunkError as error:
            click.echo(f"audiochunk: {error}", err=True)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, Terminated) as error:
            word, code = ("interrupted", 130) if isinstance(error, KeyboardInterrupt) else ("terminated", 143)
            goes_on = (
                "; the same command goes on from the finished shards" if ctx.meta.get("audiochunk.goes_on") else ""
            )
            click.echo(f"audiochunk: {word}{goes_on}", err=True)
            ctx.exit(code)
        except (MemoryError, EOFError) as error:
            click.echo(f"audiochunk: the machine refused: {type(error).__name__} {error}", err=True)
            ctx.exit(6)
        except OSError as error:
            if error.errno == errno.EPIPE and nobody_reads():
                raise
            from audiochunk.storage.files import TEMPORARY_ENDING

            where = f"{TEMPORARY_ENDING.sub('', printable(error.filename))}: " if error.filename else ""
            click.echo(f"audiochunk: {where}{reason(error)}", err=True)
            ctx.exit(6)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="audiochunk", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a folder of audio recordings into a sharded dataset of fixed-size byte chunks.

    \b
    Exit codes: 0 done; 2 usage; 3 done, but recordings were skipped; 4 the input cannot be used;
    5 the dataset is damaged; 6 the machine refused (space, permission, limits, lock);
    130 interrupted; 143 terminated; 141 nobody reads what is printed; 1 anything else.
    """


def main() -> None:
    """Run the command line."""
    ending = Ending()
    # Names of recordings may hold anything: what the terminal cannot show is escaped rather than fatal.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:  # as a shell leaves it for what runs in the background
                signal.signal(number, _end)
        cli(prog_name="audiochunk")
    except (KeyboardInterrupt, Terminated) as error:
        ending.code = 130 if isinstance(error, KeyboardInterrupt) else 143
        sys.exit(ending.code)
    except SystemExit as end:
        ending.code = end.code if isinstance(end.code, int) else None
        raise
    except BaseException:
        ending.code = 1
        raise
