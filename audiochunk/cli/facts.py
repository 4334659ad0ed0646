"""Facts about the chunks, as `inspect` shows them."""

import os
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder
    from audiochunk.tools.facts import Facts


def find_facts(
    folder: "Folder", stats: str, *, cache: bool, workers: int | None, splits: Sequence[str] | None = None
) -> "Facts":
    """The facts of a dataset, with a bar on stderr while they are collected.

    Args:
        folder: of the dataset.
        stats: "all", or names with commas between them.
        cache: whether to keep them beside the dataset, and to take them from there.
        workers: processes; None means as many as there are CPUs.
        splits: to look at; None means all.
    """
    # Only one thread, so that workers can be forked: the linear algebra of numpy, which is not used, would begin more.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if cache and not isinstance(folder, Path):
        raise ConfigError(f"{printable(str(folder))}: --cache keeps a file beside a folder, which is not here")
    from audiochunk.cli.bar import bar
    from audiochunk.pipeline.executors import usable_cpus
    from audiochunk.storage.manifest import Manifest
    from audiochunk.tools.facts import collect, collect_cached

    manifest = Manifest.read(folder)
    names = _names(stats)
    looked_at = sorted(manifest.splits) if splits is None else splits
    n_bytes = sum(manifest.splits[name].chunks for name in looked_at) * manifest.encoding.chunk_bytes
    with bar("facts", n_bytes) as on_bytes:
        asked: dict[str, Any] = {"splits": looked_at, "stats": names, "workers": workers or usable_cpus()}
        if cache and isinstance(folder, Path):
            return collect_cached(folder, **asked, on_bytes=on_bytes)
        return collect(folder, **asked, on_bytes=on_bytes)


def check_stats(stats: str) -> None:
    """Raise ConfigError where there is no such stat."""
    from audiochunk.tools.facts.stats import known

    known(_names(stats))


def _names(stats: str) -> list[str]:
    from audiochunk.tools.facts import ALL

    return list(ALL) if stats == "all" else [name.strip() for name in stats.split(",")]


def print_facts(facts: "Facts", *, also: Sequence[str] = ()) -> None:
    """Print what facts mean for a result, after other findings."""
    findings = [*also, *facts.findings()]
    click.echo(f"  facts ({', '.join(facts.stats)}):")
    if "codes" in facts.stats and facts.encoding.bits <= 16:
        click.echo(f"    {facts.entropy:.2f} bits of entropy a sample over all chunks")
    width = min(120, shutil.get_terminal_size((120, 0)).columns)
    for sentence in findings or ["nothing was found that changes a result"]:
        # Paths stay whole, so that they can be copied.
        click.echo(
            textwrap.fill(
                sentence,
                width,
                initial_indent="    - ",
                subsequent_indent="      ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
