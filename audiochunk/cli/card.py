"""audiochunk card"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiochunk.cli.paths import DatasetFolder, LocalPath
from audiochunk.errors import printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


@click.command()
@click.argument("folder", metavar="DIR|URL", type=DatasetFolder())
@click.option(
    "-o",
    "--out",
    "out",
    metavar="FOLDER",
    type=LocalPath(),
    help="Where to write them. [default: DIR, where the Hub wants them and their paths hold]",
)
@click.option("--name", metavar="TEXT", help="Of the dataset. [default: the folder's name]")
@click.option("--description", metavar="TEXT", help="Of the dataset, in Markdown. [default: a sentence of figures]")
@click.option("--license", "license_", metavar="ID|URL", help="Such as cc-by-4.0, or the URL of its text.")
@click.option("--url", metavar="URL", help="Of the dataset's page.")
@click.option("--creator", "creators", metavar="NAME", multiple=True, help="A person who made it; repeatable.")
@click.option(
    "--organization",
    "organizations",
    metavar="NAME",
    multiple=True,
    help="An organization that made it; repeatable.",
)
@click.option("--published", metavar="YYYY-MM-DD", help="When it was published.")
@click.option("--checksums", is_flag=True, help="Read all shards, for the SHA-256 of each in croissant.json.")
@click.option("--overwrite", is_flag=True, help="Replace files that others have written or edited, too.")
def card(
    folder: "Folder",
    *,
    out: Path | None,
    name: str | None,
    description: str | None,
    license_: str | None,
    url: str | None,
    creators: tuple[str, ...],
    organizations: tuple[str, ...],
    published: str | None,
    checksums: bool,
    overwrite: bool,
) -> None:
    """Write README.md and croissant.json for the dataset in the folder DIR: what the Hugging Face Hub and others show.

    The same dataset and options make the same files. They name no recording.
    """
    from audiochunk.cli.bar import bar
    from audiochunk.storage.manifest import Manifest
    from audiochunk.storage.remote import name_of
    from audiochunk.tools.card.about import About
    from audiochunk.tools.card.card import write_card
    from audiochunk.tools.card.croissant import lacking
    from audiochunk.tools.text import size

    about = About(
        name=name if name is not None else printable(name_of(folder)) or "audiochunk dataset",
        description=description,
        license=license_,
        url=url,
        creators=creators,
        organizations=organizations,
        published=published,
    )
    n_bytes = sum(shard.bytes for shard in Manifest.read(folder).shards) if checksums else 0
    with bar("checksums", n_bytes) as on_bytes:
        written = write_card(folder, about, out=out, with_checksums=checksums, overwrite=overwrite, on_bytes=on_bytes)
    for file, n in written.items():
        click.echo(f"{printable(str(out / file if out is not None else folder / file))}: {size(n)}")
    missing = lacking(about)
    if missing:
        named = ", ".join(f"{name} ({option})" for name, option in missing.items())
        click.echo(f"croissant.json lacks what Croissant requires: {named}", err=True)
