"""The page: what a dataset is, drawn and written as one HTML file."""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audiochunk._version import __version__
from audiochunk.errors import printable
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.recordings import Recordings
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.recordings import read_rows
from audiochunk.storage.remote import name_of
from audiochunk.tools.facts import Facts
from audiochunk.tools.report import contents, figures, pictures
from audiochunk.tools.report.clip import Clip, choose, clips
from audiochunk.tools.report.drawing import WIDTH, require_report_extra, svg
from audiochunk.tools.summary import Summary, describe_encoding, summarize
from audiochunk.tools.text import count, duration, percent, rate, size

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder
    from audiochunk.tools.report.comparison import Comparison

_SOUND_BYTES = 6_000_000  # of all players together: 8 MB as base64
_LISTED = 40  # copies, and reasons for which recordings were skipped
_NAMED = 8  # recordings that were skipped for the same reason


@dataclass(frozen=True, slots=True)
class Card:
    """One recording of the gallery: the clip, and its pictures."""

    clip: Clip
    picture: str
    chunk_picture: str | None


def page(
    folder: "Folder",
    *,
    facts: Facts,
    comparison: "Comparison | None" = None,
    title: str | None = None,
    gallery: int = 12,
    seed: int = 0,
) -> bytes:
    """A dataset as an HTML file that needs no other; the same bytes from the same arguments.

    Args:
        folder: of the dataset.
        facts: what a survey of all its splits found.
        comparison: what codecs make of it; tables and a chart if there is one.
        title: of the page; by default the folder's name.
        gallery: recordings that can be looked at and listened to, with two players each; Chromium has at most 75.
        seed: of their choice.

    Raises:
        DatasetError: there is no dataset, or it is damaged.
        ConfigError: matplotlib or Jinja is not installed.
    """
    require_report_extra()
    manifest = Manifest.read(folder)
    summary = summarize(read_rows(folder, manifest.recordings), encoding=manifest.encoding, splits=manifest.splits)
    lengths = contents.Lengths.of(read_rows(folder, manifest.recordings))
    cards = [_card(clip, number) for number, clip in enumerate(_gallery(folder, manifest, gallery, seed))]
    values = {
        "title": printable(title if title is not None else name_of(folder) or "dataset"),
        "version": __version__,
        "manifest": manifest,
        "encoding": describe_encoding(manifest.encoding, summary.kinds),
        "total": summary.total,
        "summary": summary,
        "breakdowns": contents.breakdowns(summary),
        "findings": facts.findings(),
        "leaks": list(contents.leaks(facts)),
        "copies": contents.copies(facts),
        "facts": facts.totals(),
        "entropy": None if np.isnan(facts.entropy) else facts.entropy,
        "cards": cards,
        "left": round(100 * pictures.LEFT / WIDTH, 3),
        "right": round(100 * (1 - pictures.RIGHT / WIDTH), 3),
        "heard": _heard,
        "seed": seed,
        "comparison": comparison,
        "skipped": contents.reasons(summary.refused),
        "notes": contents.reasons(summary.notes),
        "listed": _LISTED,
        "named": _NAMED,
        **_figures(lengths, facts, summary),
    }
    return _fill_in(values).encode()


def _gallery(folder: "Folder", manifest: Manifest, n: int, seed: int) -> list[Clip]:
    datasets = {name: ChunkDataset(folder, name) for name in manifest.splits}
    used = Recordings.joined([ds.recordings for ds in datasets.values()], in_order=True).used
    return clips(datasets, choose(used, n, seed=seed), max_bytes=_SOUND_BYTES)


def _card(clip: Clip, number: int) -> Card:
    name = printable(clip.row.path_bytes)
    begin, end = clip.seconds
    codes = clip.codes
    return Card(
        clip=clip,
        picture=svg(
            lambda palette: pictures.clip(palette, clip),
            name=f"clip {number}",
            label=f"Waveform and spectrogram of {name}, {begin:.2f} s to {end:.2f} s",
        ),
        chunk_picture=None
        if codes is None or not len(codes)
        else svg(
            lambda palette: pictures.chunk(palette, codes),
            name=f"chunk {number}",
            label=f"The {len(codes):,} codes of chunk {clip.chunk:,}, from {codes.min():,} to {codes.max():,}",
        ),
    )


def _heard(clip: Clip) -> str:
    """What of a clip is not played as it is, to be appended to a sentence."""
    play, channels = clip.playback, clip.stream_channels
    words = []
    if play.channels < channels:
        words.append(f"channels 0 and 1 of {channels} are shown and played")
    if play.speed:
        times = 10 ** abs(play.speed)
        words.append(f"played at {f'1/{times:,}' if play.speed < 0 else f'{times:,} times the'} speed")
    return "".join(f"; {word}" for word in words)


def _figures(lengths: contents.Lengths, facts: Facts, summary: Summary) -> dict[str, Any]:
    """The figures by name; None where there is nothing to draw."""
    rms, peak = contents.loudness(facts)
    found: dict[str, Any] = dict.fromkeys(("durations", "codes", "levels"))
    found |= {"lengths": lengths, "n_levels": len(rms), "median_rms": None}
    if len(lengths.seconds):
        median = float(np.median(lengths.seconds))
        found["median_s"] = median
        found["durations"] = svg(
            lambda palette: figures.durations(palette, lengths.seconds, lengths.lost_s),
            name="durations",
            label=f"Durations of {count(len(lengths.seconds), 'recording')}: from {duration(lengths.seconds.min())}"
            f" to {duration(lengths.seconds.max())}, half of them under {duration(median)};"
            f" {percent(summary.total.tail_loss)} of frames are lost at their ends",
        )
    if facts.bins.any():
        found["codes"] = svg(
            lambda palette: figures.codes(palette, facts.bins, facts.encoding.bits),
            name="codes",
            label=f"How often codes from 0 to {2**facts.encoding.bits - 1:,} occur"
            + ("" if np.isnan(facts.entropy) else f"; their entropy is {facts.entropy:.2f} bits"),
        )
    if len(rms):
        decibels = 20 * np.log10(np.median(rms))
        found["median_rms"] = f"{decibels:.0f}".replace("-", "−")
        found["levels"] = svg(
            lambda palette: figures.levels(palette, rms, peak),
            name="levels",
            label=f"RMS and peak of {count(len(rms), 'stream')} in dB below full scale; half have an RMS under"
            f" {found['median_rms']} dB",
        )
    return found


def _fill_in(values: dict[str, Any]) -> str:
    import jinja2

    loader = jinja2.PackageLoader("audiochunk.tools.report")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "duration": duration,
        "percent": percent,
        "rate": rate,
        "size": size,
        "printable": printable,
        "unbroken": lambda text: text.replace(" ", "\u00a0"),
    }
    # The page's policy allows this one script by its digest: none that the name of a recording might smuggle in.
    source = loader.get_source(environment, "players.js")[0]
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return environment.get_template("page.html").render(values | {"script": source, "script_digest": digest})
