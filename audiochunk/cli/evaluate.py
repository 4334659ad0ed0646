"""audiochunk evaluate"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiochunk.cli.facts import check_stats, find_facts, print_facts
from audiochunk.cli.paths import DatasetFolder
from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder
    from audiochunk.tools.evaluate import Evaluation, Row

_TITLES = {
    "chunked": "chunked: each chunk alone",
    "chunked-header-once": "chunked-header-once: each chunk alone, headers counted once: to put beside a model (LMIC)",
    "whole": "whole: the chunks of each recording together",
    "bound": "bound: entropies of codes in hindsight; for codecs that see a code alone, or with the one before it",
}


def _choices(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    from audiochunk.tools.evaluate import NAMES

    for name in value:
        if name not in NAMES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(NAMES)}")
    return value


@click.command()
@click.argument("folder", metavar="DIR|URL", type=DatasetFolder())
@click.option("--split", metavar="NAME", help="Only the chunks of this split. [default: all]")
@click.option(
    "--codec",
    "codecs",
    metavar="NAME",
    multiple=True,
    callback=_choices,
    help="Only this codec; repeatable. There are gzip-9, bz2, lzma, zstd-3, zstd-19, brotli, flac-5, flac-8, wavpack,"
    " flac-cli-8, lpc-rice, entropy-0, entropy-1; lzma and brotli take longest. [default: all]",
)
@click.option(
    "--max-chunks", metavar="N", type=click.IntRange(1), help="No more than N chunks, of recordings at random."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**64 - 1), help="Which ones.")
@click.option(
    "--model-scores",
    "scores",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Bits a chunk that a model needs, for the first chunks of the split (.npy): a row more; repeatable.",
)
@click.option(
    "--stats",
    metavar="all|none|NAME,…",
    help="Facts to look for below the table, as of `inspect`. [default: all; none with --max-chunks or --json]",
)
@click.option("--workers", metavar="N", type=click.IntRange(1), help="Processes. [default: the CPUs it may use]")
@click.option("--json", "as_json", is_flag=True, help="A list of rows as JSON.")
def evaluate(
    folder: "Folder",
    *,
    split: str | None,
    codecs: tuple[str, ...],
    max_chunks: int | None,
    seed: int,
    scores: tuple[Path, ...],
    stats: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Tell what codecs make of the chunks of the dataset in the folder DIR, or at a URL, beside a model of yours.

    All that is encoded is decoded again and compared before its size counts.
    """
    if stats not in (None, "none") and as_json:
        raise ConfigError("--json is the rows alone; `audiochunk inspect --stats all --json` has the facts")
    from audiochunk.cli.bar import bar
    from audiochunk.pipeline.executors import usable_cpus
    from audiochunk.tools.evaluate import Evaluation
    from audiochunk.tools.scores import Scores

    evaluation = Evaluation(
        folder,
        split=split,
        codecs=codecs or None,
        scores=Scores.read_all(scores),
        max_chunks=max_chunks,
        seed=seed,
    )
    wanted = stats or ("none" if max_chunks or as_json else "all")
    if wanted != "none":
        check_stats(wanted)
    for warning in evaluation.warnings():
        click.echo(f"warning: {warning}", err=True)
    with bar("evaluate", evaluation.n_bytes) as on_bytes:
        rows = evaluation.run(workers=workers or usable_cpus(), on_bytes=on_bytes)
    if as_json:
        about = {"dataset_id": evaluation.dataset_id, "splits": evaluation.splits, "chunks": evaluation.n_chunks}
        found = [row.plain() | about for row in rows]
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _print(folder, evaluation, rows, sampled=f", seed {seed}" if max_chunks else "")
    if wanted != "none":
        click.echo()
        _print_facts(folder, wanted, evaluation, workers)


def _print_facts(folder: "Folder", stats: str, evaluation: "Evaluation", workers: int | None) -> None:
    """Print facts about what was evaluated, and which of it is in another split as well."""
    facts = find_facts(folder, stats, splits=evaluation.splits, cache=False, workers=workers)
    if "duplicates" in facts.stats and evaluation.splits != evaluation.all_splits:
        across = find_facts(folder, "duplicates", splits=evaluation.all_splits, cache=False, workers=workers)
        facts = facts.only(tuple(name for name in facts.stats if name != "duplicates"))
        print_facts(facts, also=across.findings())
    else:
        print_facts(facts)


def _print(folder: "Folder", evaluation: "Evaluation", rows: Sequence["Row"], *, sampled: str) -> None:
    from audiochunk.tools.text import count, size, table

    chunks = count(evaluation.n_chunks, "chunk")
    if evaluation.first is not None:
        chunks = f"{evaluation.n_chunks:,} of the first {count(evaluation.first, 'chunk')}"
    click.echo(
        f"{printable(str(folder))}: {chunks} of {', '.join(evaluation.splits)}{sampled}; {size(evaluation.raw_bytes)},"
        f" {count(evaluation.samples, 'sample')} of {evaluation.bits} bits; dataset {evaluation.dataset_id}"
    )
    for convention, title in _TITLES.items():
        found = [row for row in rows if row.convention == convention and row.compressed_bytes is not None]
        if not found:
            continue
        click.echo(f"\n{title}")
        head = ("", "% of raw", "bits/byte", "bits/sample", "ratio", "MB/s in", "MB/s out")
        lines = [head, *(_cells(row) for row in sorted(found, key=lambda row: row.compressed_bytes or 0))]
        click.echo("\n".join(f"  {line}" for line in table(lines, right=range(1, 7))))
    if any(row.codec == "lpc-rice" for row in rows):
        click.echo("\nlpc-rice is an estimate: its bits are counted, and nothing is written")
    versions = dict.fromkeys(row.version for row in rows if row.version is not None)
    if versions:
        click.echo(f"\nmade with {', '.join(versions)}")
    missing = dict.fromkeys(f"{row.codec}: {row.missing}" for row in rows if row.missing is not None)
    if missing:
        click.echo("\nnot there\n" + "\n".join(f"  {line}" for line in missing))


def _cells(row: "Row") -> tuple[str, ...]:
    plain = row.plain()

    def number(name: str, form: str) -> str:
        return "" if plain[name] is None else format(plain[name], form)

    return (
        row.codec,
        number("percent_of_raw", ".2f"),
        number("bits_per_byte", ".3f"),
        number("bits_per_sample", ".3f"),
        number("ratio", ".3f"),
        number("encode_mb_s", ".3g"),
        number("decode_mb_s", ".3g"),
    )
