"""What commands print into: a pipe whose reader may have ended."""

import errno
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

CODE = 141  # 128 + SIGPIPE, as of commands that the signal ends


@contextmanager
def ending_quietly() -> Iterator[None]:
    """End without a word where nobody reads what is printed, as before `head`."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EPIPE or not nobody_reads():
            raise
        _let_go()
        raise click.exceptions.Exit(CODE) from None


def nobody_reads() -> bool:
    """Whether stdout or stderr is a pipe whose reader has ended: then a broken pipe is that one, and no other."""
    return bool(_broken())


def _broken() -> list[int]:
    """The descriptors of those of the two that are."""
    found = []
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # what a test puts in their place has no descriptor
            fd, poll = stream.fileno(), select.poll()
            poll.register(fd, 0)
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                found.append(fd)
    return found


def _let_go() -> None:
    # What is left in the buffers is written when Python ends, which would complain.
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in _broken():
        os.dup2(null, fd)
    os.close(null)
