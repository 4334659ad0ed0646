"""Figures of the whole dataset: durations, codes, levels."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiochunk.tools.report.drawing import Palette, canvas, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_LEFT, _RIGHT = 44.0, 12.0  # margins in points
_PANEL, _GAP, _FOOT = 62.0, 30.0, 34.0
_TIMES = {  # in seconds, that a person has a name for
    1e-6: "1 µs",
    1e-5: "10 µs",
    1e-4: "0.1 ms",
    1e-3: "1 ms",
    1e-2: "10 ms",
    0.1: "0.1 s",
    1.0: "1 s",
    10.0: "10 s",
    60.0: "1 min",
    600.0: "10 min",
    3600.0: "1 h",
    36_000.0: "10 h",
    864_000.0: "10 d",
}
_QUIETEST_DB = -100.0


def durations(palette: Palette, seconds: Floats, lost_s: Floats) -> "Figure":
    """Three panels over one axis of durations: recordings, what they add up to, and the share of it that is lost.

    Args:
        palette: to draw in.
        seconds: (recordings,) at least one, all above 0.
        lost_s: (recordings,) of these, those that are not in chunks with every channel.
    """
    figure = canvas(3 * (_PANEL + _GAP) + _FOOT - 8)
    low, high = np.log10(seconds.min()) - 0.01, np.log10(seconds.max()) + 0.01
    # Eighths of a decade or wider, so that a bar is never thinner than it can be seen.
    edges = np.logspace(low, high, int(np.clip((high - low) * 8, 8, 40)) + 1)
    place = np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, len(edges) - 2)
    count = np.bincount(place, minlength=len(edges) - 1)
    total = np.bincount(place, seconds, minlength=len(edges) - 1)
    lost = np.bincount(place, lost_s, minlength=len(edges) - 1)
    share = np.divide(100 * lost, total, out=np.zeros_like(total), where=total > 0)
    unit, per_unit = (
        ("hours", 3600) if total.max() >= 3600 else ("minutes", 60) if total.max() >= 60 else ("seconds", 1)
    )
    panels = (("recordings", count), (unit, total / per_unit), ("% of it lost in incomplete last chunks", share))
    for number, (title, heights) in enumerate(panels):
        axes = _stacked(figure, palette, number, of=len(panels))
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        _steps(axes, edges, heights, palette.accent if number == 2 else palette.ink)
        _title(axes, title, palette)
        _ends(axes, float(heights.max()))
        named = {at: name for at, name in _TIMES.items() if edges[0] <= at <= edges[-1]}
        axes.set_xticks(list(named), labels=list(named.values()) if number == 2 else [""] * len(named))
    if not named:
        middle = float(np.sqrt(edges[0] * edges[-1]))
        axes.set_xticks([middle], labels=[f"{middle:.3g} s"])
    axes.set_xlabel("duration of the recording", color=palette.muted, labelpad=2)
    return figure


def codes(palette: Palette, counts: Counts, bits: int) -> "Figure":
    """How often codes occur, on a logarithmic axis, in at most 256 equal ranges.

    Args:
        palette: to draw in.
        counts: (a power of two,) of equal ranges of codes from 0 to 2**bits - 1; at least one is not 0.
        bits: of the codes.
    """
    figure = canvas(170)
    draw_codes(panel(figure, palette, (_LEFT, 20, _RIGHT, _FOOT)), counts, bits, palette)
    return figure


def draw_codes(axes: "Axes", counts: Counts, bits: int, palette: Palette) -> None:
    """What `codes` draws, in axes that are there already."""
    bins = counts.reshape(min(256, len(counts)), -1).sum(axis=1)
    shares = bins / bins.sum()
    least = float(shares[shares > 0].min())
    floor = 10.0 ** np.floor(np.log10(least) - 0.01)
    edges = np.linspace(0, 2**bits, len(bins) + 1)
    axes.set_yscale("log")
    axes.set_ylim(floor, max(1.0, float(shares.max())))
    axes.stairs(np.maximum(shares, floor), edges, baseline=floor, fill=True, color=palette.ink, linewidth=0)
    axes.set_xlim(0, 2**bits)
    axes.set_xticks([0, 2 ** (bits - 1), 2**bits], labels=["0", f"{2 ** (bits - 1):,}\nsilence", f"{2**bits - 1:,}"])
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    powers = range(0, int(np.log10(floor)) - 1, -2)
    axes.set_yticks([10.0**power for power in powers], labels=[f"{100 * 10.0**power:g}" for power in powers])
    axes.minorticks_off()
    wide = "" if len(bins) == 2**bits else f", in ranges of {2**bits // len(bins):,}"
    _title(axes, f"% of samples, by code{wide}", palette)


def levels(palette: Palette, rms: Floats, peak: Floats) -> "Figure":
    """Two panels over one axis of decibels: how loud recordings are, and how high their peaks.

    Args:
        palette: to draw in.
        rms: (recordings,) at least one, above 0, a full-scale square wave being 1.
        peak: likewise.
    """
    figure = canvas(2 * (_PANEL + _GAP) + _FOOT - 8)
    decibels = [np.clip(20 * np.log10(values), _QUIETEST_DB, 0.0) for values in (rms, peak)]
    low = 10 * np.floor(min(values.min() for values in decibels) / 10)
    edges = np.arange(min(low, -20.0), 2.5, 2.0)
    edges[-1] = 0.0
    for number, (title, values) in enumerate(zip(("recordings, by RMS", "recordings, by peak"), decibels, strict=True)):
        axes = _stacked(figure, palette, number, of=2)
        heights = np.histogram(values, edges)[0]
        axes.set_xlim(edges[0], 0)
        _steps(axes, edges, heights, palette.ink)
        _title(axes, title, palette)
        _ends(axes, float(heights.max()))
        ticks = np.arange(0, edges[0] - 1, -20)
        axes.set_xticks(ticks, labels=[f"{tick:.0f}".replace("-", "−") if number else "" for tick in ticks])
    axes.set_xlabel("dB below full scale", color=palette.muted, labelpad=2)
    return figure


def _stacked(figure: "Figure", palette: Palette, number: int, *, of: int) -> "Axes":
    """Panel `number` of some that lie under each other over one axis."""
    top = 20 + number * (_PANEL + _GAP)
    height = float(figure.get_size_inches()[1] * figure.dpi)
    return panel(figure, palette, (_LEFT, top, _RIGHT, height - top - _PANEL))


def _steps(axes: "Axes", edges: Floats, heights: npt.NDArray[Any], colour: str) -> None:
    axes.stairs(heights, edges, fill=True, color=colour, linewidth=0)
    # The least that there is of something can still be seen.
    some = heights > 0
    axes.hlines(np.zeros(some.sum()), edges[:-1][some], edges[1:][some], color=colour, linewidth=1.5)


def _title(axes: "Axes", text: str, palette: Palette) -> None:
    axes.set_title(text, loc="left", fontsize=10.5, color=palette.ink, pad=5)


def _ends(axes: "Axes", most: float) -> None:
    """Mark nothing but 0 and the most there is on the upright axis."""
    axes.set_ylim(0, 1.05 * most or 1)
    text = f"{most:,.0f}" if most >= 100 or most == int(most) else f"{most:.2g}"
    axes.set_yticks([0, most] if most else [0], labels=["0", text] if most else ["0"])
    axes.minorticks_off()
