"""One picture of a dataset: the histogram of its codes, and a gallery of its recordings."""

from typing import TYPE_CHECKING

from audiochunk.errors import printable
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.recordings import Recordings
from audiochunk.storage.manifest import Manifest
from audiochunk.tools.histogram import histogram
from audiochunk.tools.report.clip import Clip, choose, clips
from audiochunk.tools.report.drawing import PRINT, WIDTH, canvas, panel, plain, png, require_report_extra, style
from audiochunk.tools.report.figures import draw_codes
from audiochunk.tools.report.pictures import LEFT, RIGHT, draw_spectrogram, draw_waveform
from audiochunk.tools.text import count, rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from audiochunk.storage.remote import Folder

_ACROSS = 3
_TOP, _CELL = 214.0, 190.0  # points
_NAME = 46  # characters of a path that fit above its picture
_CLIP_BYTES = 2**26  # of all clips: they are only looked at


def picture(folder: "Folder", *, gallery: int = 12, seed: int = 0) -> bytes:
    """The codes and some recordings of a dataset as a PNG file; the same bytes from the same arguments.

    Args:
        folder: of the dataset.
        gallery: recordings to show.
        seed: of their choice.

    Raises:
        DatasetError: there is no dataset, or it is damaged.
        ConfigError: matplotlib or Jinja is not installed.
    """
    require_report_extra()
    with style():
        return png(draw(folder, gallery=gallery, seed=seed))


def draw(folder: "Folder", *, gallery: int, seed: int) -> "Figure":
    """The picture, before it is a file; to be drawn in `style`."""
    manifest = Manifest.read(folder)
    datasets = {name: ChunkDataset(folder, name) for name in sorted(manifest.splits)}
    rows = Recordings.joined([ds.recordings for ds in datasets.values()], in_order=True).used
    found = clips(datasets, choose(rows, gallery, seed=seed), max_bytes=_CLIP_BYTES)
    figure = canvas(_TOP + _CELL * -(-len(found) // _ACROSS), width=_ACROSS * WIDTH)
    height = float(figure.get_size_inches()[1] * figure.dpi)
    axes = panel(figure, PRINT, (LEFT, 26, RIGHT, height - 150))
    codes = histogram(datasets.values(), bins=256)
    if codes.bins.any():
        draw_codes(axes, codes.bins, manifest.encoding.bits, PRINT)
    else:
        axes.set_axis_off()
        axes.set_title("no codes: the dataset is empty")
    if found:
        _legend(figure, manifest.encoding.chunk_bytes, recordings=len(found))
    for number, clip in enumerate(found):
        _draw(figure, clip, left=WIDTH * (number % _ACROSS), top=_TOP + _CELL * (number // _ACROSS))
    return figure


def _legend(figure: "Figure", chunk_bytes: int, *, recordings: int) -> None:
    from matplotlib.patches import Patch

    width, height = figure.get_size_inches() * figure.dpi
    box = Patch(facecolor=(PRINT.accent, 0.3), edgecolor=PRINT.accent, linewidth=0.8)
    figure.legend(
        [box],
        [
            f"one chunk of {chunk_bytes:,} bytes, in each of {count(recordings, 'recording')} drawn at random;"
            " ±: peak, full scale being 1"
        ],
        loc="upper left",
        bbox_to_anchor=(LEFT / width, 1 - (_TOP - 18) / height),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.4,
        labelcolor=PRINT.ink,
    )


def _draw(figure: "Figure", clip: Clip, *, left: float, top: float) -> None:
    width, height = figure.get_size_inches() * figure.dpi
    right = width - left - WIDTH + RIGHT
    name = printable(clip.row.path_bytes)
    axes = panel(figure, PRINT, (left + LEFT, top + 30, right, height - top - 72))
    draw_waveform(axes, clip.waveform[:, 0], clip, PRINT)
    text = plain(name if len(name) <= _NAME else f"...{name[3 - _NAME :]}")
    axes.set_title(
        f"{text}\n{printable(clip.row.split)}, {rate(clip.row.sample_rate)}",
        loc="left",
        fontsize=9,
        color=PRINT.ink,
    )
    axes = panel(figure, PRINT, (left + LEFT, top + 76, right, height - top - 152))
    draw_spectrogram(axes, clip.waveform, clip, PRINT)
