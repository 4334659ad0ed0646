import html
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from audiochunk.errors import ConfigError
from audiochunk.tools.report.drawing import PRINT, Palette, canvas, panel, png, require_report_extra, style, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(palette: Palette) -> "Figure":
    figure = canvas(100)
    axes = panel(figure, palette, (20, 10, 10, 20))
    axes.plot([0, 1, 2], [0.123456, 1, 0], color=palette.accent)
    axes.imshow(np.zeros((2, 2, 4), np.uint8), extent=(0, 1, 0, 1), interpolation="none")
    axes.set_title("a < b & 12.3456 $x$", color=palette.ink)
    return figure


def test_a_figure_is_the_same_bytes_every_time_and_takes_its_colours_from_the_page() -> None:
    found = svg(draw, name="a", label="A line")
    assert found == svg(draw, name="a", label="A line")
    assert "var(--accent)" in found
    assert "#01020" not in found


def test_a_figure_is_one_element_with_a_name_and_no_style_of_its_own() -> None:
    found = svg(draw, name="a", label='Say "<hi>" & go')
    root = ElementTree.fromstring(found.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Say "<hi>" & go'
    assert "<style" not in found
    assert "http" not in found
    assert "font-family" not in found


def test_no_identifier_occurs_in_two_figures() -> None:
    ids = [set(re.findall(r'id="([^"]*)"', svg(draw, name=name, label=""))) for name in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_places_are_rounded_and_texts_are_not() -> None:
    found = svg(draw, name="a", label="")
    assert "12.3456 $x$" in found
    assert not re.search(r' d="[^"]*\.\d\d', found)


@pytest.mark.parametrize(
    "name",
    [
        'x d="1.234567" #010203',
        'font-family: serif; y="0.55555"',
        "image-rendering:crisp-edges;image-rendering:pixelated",
    ],
)
def test_a_text_that_looks_like_a_tag_s_inside_stays_as_it_is(name: str) -> None:
    def named(palette: Palette) -> "Figure":
        figure = draw(palette)
        figure.axes[0].set_title(name)
        return figure

    found = svg(named, name="a", label=name)
    assert f">{name}</text>" in found
    assert f'aria-label="{html.escape(name)}"' in found
    assert "#01020" not in found.replace(name, "").replace(html.escape(name), "")


def test_settings_of_the_user_change_nothing_and_come_back() -> None:
    before = svg(draw, name="a", label="")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert svg(draw, name="a", label="") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_a_picture_is_the_same_bytes_every_time() -> None:
    with style():
        found = png(draw(PRINT))
        assert found == png(draw(PRINT))
    assert found.startswith(b"\x89PNG")
    assert b"Software" not in found


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_a_missing_extra_is_told_with_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigError, match=r"is not installed: pip install 'audiochunk\[report\]'"):
        require_report_extra()


def test_what_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "jinja2"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigError, match="need matplotlib and jinja2, which are not installed: pip install") as told:
        require_report_extra()
    assert str(told.value).count("audiochunk[report]") == 1
