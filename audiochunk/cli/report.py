"""audiochunk report"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiochunk.cli.facts import find_facts
from audiochunk.cli.output import check_file
from audiochunk.cli.paths import DatasetFolder, LocalPath
from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


@click.command()
@click.argument("folder", metavar="DIR|URL", type=DatasetFolder())
@click.option("-o", "--out", "out", metavar="FILE", required=True, type=LocalPath(), help="The HTML file to write.")
@click.option("--title", metavar="TEXT", help="Of the page. [default: the folder's name]")
@click.option(
    "--gallery",
    metavar="N",
    type=click.IntRange(0, 36),  # Chromium has at most 75 players on a page, and each recording has two
    default=12,
    show_default=True,
    help="Recordings to look at and listen to.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Of their choice."
)
@click.option("--stats", metavar="all|NAME,…", default="all", help="What to look for; see inspect. [default: all]")
@click.option("--cache", is_flag=True, help="Take what was found from DIR.facts.json, or keep it there.")
@click.option("--evaluate", "is_evaluated", is_flag=True, help="Measure codecs, too; see evaluate.")
@click.option("--split", metavar="NAME", help="With --evaluate: only the chunks of this split.")
@click.option("--codec", "codecs", metavar="NAME", multiple=True, help="With --evaluate: only this codec; repeatable.")
@click.option(
    "--max-chunks", metavar="N", type=click.IntRange(1), help="With --evaluate: no more than N chunks, at random."
)
@click.option(
    "--model-scores",
    "scores",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="With --evaluate: bits a chunk that a model needs (.npy); repeatable.",
)
@click.option("--workers", metavar="N", type=click.IntRange(1), help="Processes to use. [default: the CPUs it may use]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there already.")
def report(
    folder: "Folder",
    *,
    out: Path,
    title: str | None,
    gallery: int,
    seed: int,
    stats: str,
    cache: bool,
    is_evaluated: bool,
    split: str | None,
    codecs: tuple[str, ...],
    max_chunks: int | None,
    scores: tuple[Path, ...],
    workers: int | None,
    overwrite: bool,
) -> None:
    """Make one HTML page of the dataset in the folder DIR, or at a URL, to look at and to listen to.

    It needs nothing but a browser: no network, no other file. The same dataset and options make the same page.
    """
    for_codecs = {"--split": split, "--codec": codecs, "--max-chunks": max_chunks, "--model-scores": scores}
    for name, value in for_codecs.items():
        if value and not is_evaluated:
            raise ConfigError(f"{name} means nothing without --evaluate")
    check_file(out, suffix=".html", overwrite=overwrite)

    from audiochunk.cli.bar import bar
    from audiochunk.pipeline.executors import usable_cpus
    from audiochunk.storage.files import write_whole
    from audiochunk.tools.report.comparison import Comparison
    from audiochunk.tools.report.drawing import require_report_extra
    from audiochunk.tools.report.page import page
    from audiochunk.tools.text import size

    require_report_extra()
    evaluation = None
    if is_evaluated:
        from audiochunk.tools.evaluate import Evaluation
        from audiochunk.tools.scores import Scores

        # What cannot be evaluated is told before anything takes long.
        models = Scores.read_all(scores)
        evaluation = Evaluation(
            folder, split=split, codecs=codecs or None, scores=models, max_chunks=max_chunks, seed=seed
        )
        for warning in evaluation.warnings():
            click.echo(f"warning: {warning}", err=True)
    facts = find_facts(folder, stats, cache=cache, workers=workers)
    comparison = None
    if evaluation is not None:
        with bar("evaluate", evaluation.n_bytes) as on_bytes:
            rows = evaluation.run(workers=workers or usable_cpus(), on_bytes=on_bytes)
        comparison = Comparison.of(evaluation, rows, max_chunks=max_chunks, seed=seed)
    made = page(folder, facts=facts, comparison=comparison, title=title, gallery=gallery, seed=seed)
    write_whole(out, made, fsync=True)
    click.echo(f"{printable(str(out))}: {size(len(made))}")


def save_picture(folder: "Folder", out: Path) -> None:
    """Draw the codes and some recordings of a dataset into a PNG file.

    Raises:
        ConfigError: the file cannot be written there, or what draws is not installed.
        OutputExistsError: it is there already.
    """
    check_file(out, suffix=".png", advice="choose another name")

    from audiochunk.storage.files import write_whole
    from audiochunk.tools.report.picture import picture

    write_whole(out, picture(folder), fsync=True)
