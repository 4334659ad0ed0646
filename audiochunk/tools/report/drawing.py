"""Figures of matplotlib -> SVG that takes its colours from the page, or PNG with colours of its own."""

import html
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING

from audiochunk.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 360.0  # points: a phone's width less its margins, so that text keeps its size there
_DPI = 72.0


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by what they are for.

    Attributes:
        ink: what is drawn.
        muted: axes and their numbers.
        rule: lines that guide the eye.
        accent: what is pointed out.
        second: the other series; told apart from `accent` by lightness, too.
    """

    ink: str
    muted: str
    rule: str
    accent: str
    second: str


# Okabe and Ito's blue and vermilion, which all kinds of colour vision tell apart.
PRINT = Palette(ink="#1d1d1b", muted="#5c5b56", rule="#d8d6ce", accent="#0072b2", second="#d55e00")
# Colours that no figure has by chance stand for the page's own.
_STAND_INS = Palette(ink="#010203", muted="#010204", rule="#010205", accent="#010206", second="#010207")


def require_report_extra() -> None:
    """See that what draws and fills in the page is installed.

    Raises:
        ConfigError: it is not.
    """
    lacking = []
    for name in ("matplotlib", "jinja2"):
        try:
            import_module(name)
        except ImportError:
            lacking.append(name)
    if lacking:
        needed = f"{' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed"
        raise ConfigError(f"reports and pictures need {needed}: pip install 'audiochunk[report]'")


@contextmanager
def style() -> Iterator[None]:
    """matplotlib as the report has it, whatever the user's own settings are; they are back in force afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.size": 10.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.linewidth": 0.6,
                "xtick.major.width": 0.6,
                "ytick.major.width": 0.6,
                "xtick.major.size": 3,
                "ytick.major.size": 3,
                "xtick.minor.size": 0,
                "ytick.minor.size": 0,
                "path.simplify_threshold": 0.3,
                "svg.fonttype": "none",
                "text.parse_math": False,
            }
        )
        yield


def plain(text: str) -> str:
    """Text for a figure: what the font cannot show is escaped, as on a terminal that cannot."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def canvas(height: float, *, width: float = WIDTH) -> "Figure":
    """An empty figure, its sizes in points, with nothing behind what is drawn."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="none")


def panel(figure: "Figure", palette: Palette, box: tuple[float, float, float, float]) -> "Axes":
    """Axes in a box of the figure: left, top, right and bottom margin in points."""
    left, top, right, bottom = box
    width, height = figure.get_size_inches() * _DPI
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height), facecolor="none"
    )
    axes.tick_params(colors=palette.muted, which="both", pad=2.5)
    for spine in axes.spines.values():
        spine.set_color(palette.muted)
    return axes


def svg(draw: Callable[[Palette], "Figure"], *, name: str, label: str) -> str:
    """A figure as an SVG element for an HTML page, the same bytes every time.

    Args:
        draw: makes the figure in the colours that it is given.
        name: one of its own for each figure of a page; no identifier in it then occurs in another.
        label: what a reader who does not see it is told.
    """
    import matplotlib

    with style():
        matplotlib.rcParams["svg.hashsalt"] = name
        out = io.BytesIO()
        draw(_STAND_INS).savefig(
            out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), transparent=True
        )
    text = out.getvalue().decode()
    text = text[text.index("<svg") :]
    # A style element would be in force in the whole page.
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    # What is between tags is text, whatever it looks like.
    text = re.sub(r"<[^>]*>", _tidied, text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0]
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}">'
    return head + text[text.index(">") + 1 :].strip()


def _tidied(found: re.Match[str]) -> str:
    """A tag in the page's colours and type, without what no screen shows."""
    tag = found[0]
    # Names of groups would occur in the page many times over.
    tag = re.sub(r'^(<(?:g|image)\b[^>]*?) id="[^"]*"', r"\1", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = tag.replace("image-rendering:crisp-edges;image-rendering:pixelated", "")
    tag = re.sub(r' (?:d|x|y)="[^"]*"', lambda places: re.sub(r"-?\d+\.\d+", _shorter, places[0]), tag)
    for field, stand_in in zip(fields(Palette), astuple(_STAND_INS), strict=True):
        tag = tag.replace(stand_in, f"var(--{field.name})")
    return tag


def _shorter(number: re.Match[str]) -> str:
    """A place in points to a tenth: no screen shows more of it."""
    return f"{round(float(number[0]), 1) + 0.0:g}"


def png(figure: "Figure", *, dpi: float = 144.0) -> bytes:
    """A figure as a PNG file on white, the same bytes every time. It is drawn in `style` and in the colours PRINT."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return out.getvalue()
