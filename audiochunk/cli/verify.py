"""audiochunk verify"""

import json
import re
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiochunk.cli.paths import DatasetFolder, OutFolder
from audiochunk.errors import ConfigError, printable

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


def _share(ctx: click.Context, param: click.Parameter, value: str | None) -> Fraction | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})(%?)", value, re.ASCII)
    share = Fraction(match[1]) / (100 if match[2] else 1) if match else Fraction(0)
    if not 0 < share <= 1:
        raise click.BadParameter("a share of the recordings, more than none and at most all: 1% or 0.01")
    return share


@click.command()
@click.argument("folder", metavar="DIR|URL", type=DatasetFolder())
@click.option(
    "--against",
    "source",
    metavar="WAVS",
    type=OutFolder(),
    help="Derive the chunks anew from the recordings in this folder, or at this URL, and compare.",
)
@click.option(
    "--sample",
    "share",
    metavar="SHARE",
    callback=_share,
    help="With --against: look into this share of the recordings, such as 1% or 0.01, always the same. [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.pass_context
def verify(
    ctx: click.Context, /, folder: "Folder", *, source: Path | str | None, share: Fraction | None, as_json: bool
) -> None:
    """Look for damage in the dataset in the folder DIR, or at a URL: compare everything in it with everything else.

    Prints all findings, one a line, and a verdict. Exits with 5 if there is any finding.
    """
    if share is not None and source is None:
        raise ConfigError("--sample means nothing without --against")

    from audiochunk.cli.bar import bar
    from audiochunk.tools.against import verify_against
    from audiochunk.tools.finding import Finding
    from audiochunk.tools.stored import read_manifest
    from audiochunk.tools.text import count
    from audiochunk.tools.verify import verify as look

    manifest = read_manifest(folder)
    shards = chunks = recordings = skipped = n_bytes = compared = 0
    if not isinstance(manifest, Finding):
        shards = len(manifest.shards)
        chunks = sum(split.chunks for split in manifest.splits.values())
        recordings, skipped = sum(split.recordings for split in manifest.splits.values()), manifest.skipped
        n_bytes = chunks * manifest.encoding.chunk_bytes
    with bar("verify", n_bytes) as on_bytes:
        findings = look(folder, on_bytes=on_bytes)
    if source is not None and not isinstance(manifest, Finding):

        def tally(path: bytes) -> None:
            nonlocal compared
            compared += 1

        with bar("against", n_bytes) as on_bytes:
            findings += verify_against(
                folder, source, share=share or Fraction(1), on_bytes=on_bytes, on_recording=tally
            )
    findings = list(dict.fromkeys(findings))  # what hinders both is one finding
    if as_json:
        report = {
            "findings": [asdict(finding) for finding in findings],
            "shards": shards,
            "chunks": chunks,
            "recordings": recordings,
            "recordings_skipped": skipped,
            "against": None if source is None else compared,
        }
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(str(finding))
        held = f"{count(chunks, 'chunk')} in {count(shards, 'shard')}, {count(recordings, 'recording')}"
        held += f", {skipped:,} skipped" if skipped else ""
        versus = f"; {compared:,} compared with {printable(str(source))}" if source is not None else ""
        click.echo(count(len(findings), "finding") if findings else f"sound: {held}{versus}")
    if findings:
        ctx.exit(5)
