"""Options that decide the bytes of a dataset, for the commands that plan one."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., None])


def _block(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if value.isdecimal():
        return int(value)
    raise click.BadParameter("a number of samples, or auto")


_OPTIONS = (
    click.option(
        "--bits", type=click.Choice(["8", "12", "16", "24"]), default="8", show_default=True, help="Bits of a code."
    ),
    click.option(
        "--block",
        metavar="N|auto",
        default="auto",
        callback=_block,
        help="Samples of one channel that follow each other; auto: a chunk holds one block of every channel.",
        show_default=True,
    ),
    click.option("--chunk-bytes", metavar="N", type=int, default=2048, show_default=True, help="Bytes of a chunk."),
    click.option(
        "--layout",
        type=click.Choice(["blocks", "mono", "split"]),
        default="blocks",
        show_default=True,
        help="Channels: interleaved block by block, mixed to one, or every one a stream of its own.",
    ),
    click.option(
        "--quantizer",
        type=click.Choice(["linear", "mulaw"]),
        default="linear",
        show_default=True,
        help="Samples to codes.",
    ),
    click.option(
        "--byte-order",
        type=click.Choice(["little", "big"]),
        default="little",
        show_default=True,
        help="Of codes of more than one byte.",
    ),
    click.option(
        "--tail",
        type=click.Choice(["drop", "pad"]),
        default="drop",
        show_default=True,
        help="The incomplete last chunk of a recording: drop it, or pad it with silence.",
    ),
    click.option("--split", metavar="SPEC", help="train=0.98,val=0.02 or folders. [default: everything is train]"),
    click.option(
        "--split-file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Table of path or folder, tab, split.",
    ),
    click.option(
        "--group-by",
        metavar="GROUP",
        default="recording",
        show_default=True,
        help="What --split keeps together: recording, folder, or folder:N for the first N parts of the path.",
    ),
    click.option(
        "--split-seed", metavar="N", type=int, default=0, show_default=True, help="Another draw of the splits."
    ),
    click.option(
        "--shard-size", metavar="SIZE", default="32MiB", show_default=True, help="Of a shard, before compression."
    ),
    click.option(
        "--compress", metavar="none|zstd[:LEVEL]", default="none", show_default=True, help="Compression of the shards."
    ),
    click.option(
        "--chunks-per-frame", metavar="N", type=int, help="Chunks that zstd compresses together. [default: 8]"
    ),
    click.option("--include", metavar="GLOB", multiple=True, help="Take only recordings that match. Repeatable."),
    click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out recordings that match. Repeatable."),
    click.option(
        "--on-error",
        type=click.Choice(["fail", "skip"]),
        default="fail",
        show_default=True,
        help="Recordings that cannot be used: end the build, or leave them out and exit with 3.",
    ),
)


def dataset_options(function: Function) -> Function:
    """Add all of them to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
