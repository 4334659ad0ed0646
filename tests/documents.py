"""What tests take from the pages of documentation."""

import re
import shlex

import click

from audiochunk.cli import cli


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def calls(page: str) -> list[list[str]]:
    """Every call of audiochunk in the shell blocks of a page, as arguments."""
    lines = "\n".join(blocks(page, "sh") + blocks(page, "console")).replace("\\\n", " ")
    found = re.findall(r"^(?:\$ )?(?:for .*; do )?audiochunk ([^;|\n]+)", lines, re.MULTILINE)
    return [shlex.split(call, comments=True) for call in found]


def command(name: str) -> click.Command:
    """A command by its name."""
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found
