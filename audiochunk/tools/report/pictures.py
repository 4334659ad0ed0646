"""Pictures of sound: waveforms, spectrograms, and the codes of a chunk."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiochunk.tools.report.clip import Clip
from audiochunk.tools.report.drawing import Palette, canvas, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

LEFT, RIGHT = 40.0, 8.0  # margins in points: the page moves a line over the clip
_COLUMNS = 312
_ROWS = 96
_RANGE_DB = 70.0  # what a spectrogram shows below its loudest place
_SHADES = 24  # few enough for a small file, and more than an eye tells apart
_WINDOW_S = 0.025


def envelope(values: npt.NDArray[Any], columns: int) -> tuple[Floats, Floats, Floats]:
    """Where each of at most `columns` equal runs of values lies, its least and its largest value; of one at least.

    >>> [part.tolist() for part in envelope(np.array([1, 5, 2, 3]), 2)]
    [[1.0, 3.0], [1.0, 2.0], [5.0, 3.0]]
    """
    starts = np.linspace(0, len(values), min(columns, len(values)), endpoint=False).astype(int)
    ends = np.append(starts[1:], len(values))
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return (starts + ends) / 2, low.astype(np.float64), high.astype(np.float64)


def spectrogram(samples: Floats, sample_rate: int) -> Floats:
    """How loud each frequency is at each time, the power of channels averaged.

    Args:
        samples: (frames, channels), at least one frame.
        sample_rate: in Hz.

    Returns:
        (rows, columns) from 0, which is 70 dB or more below the loudest place, to 1; row 0 is the highest frequency.
    """
    size = int(2 ** np.clip(np.round(np.log2(max(1.0, _WINDOW_S * sample_rate))), 6, 11))
    padded = np.pad(samples, ((size // 2, size - size // 2), (0, 0)), mode="edge")
    starts = np.unique(np.linspace(0, len(samples) - 1, min(_COLUMNS, len(samples))).astype(int))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)[starts]  # (columns, channels, size)
    power = (np.abs(np.fft.rfft(frames * np.hanning(size), axis=-1)) ** 2).mean(axis=1)[:, :-1]
    rows = min(_ROWS, power.shape[1])
    edges = np.linspace(0, power.shape[1], rows, endpoint=False).astype(int)
    loudest = np.maximum.reduceat(power, edges, axis=1).T[::-1]
    top = loudest.max()
    if top == 0:
        return np.zeros(loudest.shape)
    decibels = 10 * np.log10(np.maximum(loudest / top, 1e-12))
    shown: Floats = np.clip(1 + decibels / _RANGE_DB, 0, 1)
    return shown


def clip(palette: Palette, of: Clip) -> "Figure":
    """The waveform of each channel that is played, over the spectrogram; the chunk is marked in both."""
    channels = of.samples.shape[1]
    tall = 44.0 if channels > 1 else 62.0
    figure = canvas(6 + channels * (tall + 4) + 92 + 32)
    samples = of.waveform
    for channel in range(channels):
        top = 6 + channel * (tall + 4)
        axes = panel(figure, palette, (LEFT, top, RIGHT, _height(figure) - top - tall))
        draw_waveform(axes, samples[:, channel], of, palette)
    top = 6 + channels * (tall + 4) + 2
    axes = panel(figure, palette, (LEFT, top, RIGHT, _height(figure) - top - 88))
    draw_spectrogram(axes, samples, of, palette)
    return figure


def draw_waveform(axes: "Axes", samples: Floats, of: Clip, palette: Palette) -> None:
    """The waveform of one channel: 1-D, full scale being 1."""
    begin, end = of.seconds
    at, low, high = envelope(samples, 2 * _COLUMNS)
    peak = float(np.abs(samples).max())
    _mark(axes, of, palette)
    seconds = begin + at * (end - begin) / len(samples)
    if len(samples) <= 2 * _COLUMNS:
        axes.plot(seconds, low, color=palette.ink, linewidth=0.7)
    else:
        axes.fill_between(seconds, low, high, color=palette.ink, linewidth=0.4)
    axes.set_xlim(begin, end)
    axes.set_ylim(-1.02 * peak or -1, 1.02 * peak or 1)
    axes.set_yticks([0], labels=[f"±{peak:.2g}" if peak else "0"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def draw_spectrogram(axes: "Axes", samples: Floats, of: Clip, palette: Palette) -> None:
    """The spectrogram of (frames, channels), full scale being 1."""
    begin, end = of.seconds
    shades = np.round(spectrogram(samples, of.row.sample_rate) * _SHADES) / _SHADES
    # Ink of more or less opacity lies well on paper of any colour.
    image = np.zeros((*shades.shape, 4), np.uint8)
    image[..., 3] = np.rint(255 * shades)
    axes.imshow(image, extent=(begin, end, 0, of.row.sample_rate / 2000), aspect="auto", interpolation="none")
    _mark(axes, of, palette, is_over=True)
    axes.set_xlim(begin, end)
    top = of.row.sample_rate / 2000
    axes.set_yticks([0, top], labels=["0", f"{top:.3g}"])
    axes.set_ylabel("kHz", color=palette.muted, labelpad=-4)
    ticks = _times(begin, end)
    axes.set_xticks(ticks, labels=[f"{tick:.10g}" for tick in ticks])
    axes.set_xlabel("seconds", color=palette.muted, labelpad=1)


def _times(begin: float, end: float) -> list[float]:
    """About four round times from `begin` to `end`."""
    step = 10.0 ** np.floor(np.log10((end - begin) / 2))
    step *= next(times for times in (1, 2, 5, 10) if (end - begin) / (step * times) <= 5)
    first = int(np.ceil(begin / step - 1e-9))
    ticks = [round(float(n * step), 9) for n in range(first, int(np.floor(end / step + 1e-9)) + 1)]
    return ticks or [begin]


def _mark(axes: "Axes", of: Clip, palette: Palette, *, is_over: bool = False) -> None:
    """Show where the chunk lies, however short it is."""
    rate = of.row.sample_rate
    begin, end = of.chunk_frames[0] / rate, (of.chunk_frames[1] + 1) / rate
    if is_over:
        axes.axvspan(begin, end, facecolor="none", edgecolor=palette.accent, linewidth=0.8)
    else:
        axes.axvspan(begin, end, facecolor=palette.accent, edgecolor=palette.accent, alpha=0.3, linewidth=0.8)


def chunk(palette: Palette, codes: npt.NDArray[Any]) -> "Figure":
    """The codes of a chunk in the order in which a model reads them: 1-D, at least one."""
    figure = canvas(92)
    axes = panel(figure, palette, (LEFT, 6, RIGHT, 30))
    if len(codes) <= 4 * _COLUMNS * 2:
        axes.plot(np.arange(len(codes)), codes, color=palette.accent, linewidth=0.7)
    else:
        at, low, high = envelope(codes, 2 * _COLUMNS)
        axes.fill_between(at, low, high, color=palette.accent, linewidth=0.4)
    axes.set_xlim(0, max(1, len(codes) - 1))
    low_code, high_code = int(codes.min()), int(codes.max())
    axes.set_ylim(low_code - 0.5, high_code + 0.5)
    ticks = sorted({low_code, high_code})
    axes.set_yticks(ticks, labels=[_code(tick) for tick in ticks])
    axes.set_xticks([0, max(1, len(codes) - 1)], labels=["1", f"{len(codes):,}"])
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.set_xlabel("code in the chunk", color=palette.muted, labelpad=-9)
    return figure


def _code(code: int) -> str:
    """A code, short enough for the margin."""
    return f"{code}" if code < 100_000 else f"{code / 1e6:.2f}M"


def _height(figure: "Figure") -> float:
    return float(figure.get_size_inches()[1] * figure.dpi)
