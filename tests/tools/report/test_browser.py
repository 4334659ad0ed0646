"""The page in headless Chromium, as its readers have it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audiochunk.tools.evaluate import Row
from audiochunk.tools.facts import collect
from audiochunk.tools.report.comparison import Comparison
from audiochunk.tools.report.page import page as make_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium: apt install chromium", allow_module_level=True)
pytest.importorskip("playwright", reason="pip install playwright")

# --no-sandbox: containers that run as root have none. The others keep the browser itself off the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]
PHONE, LAPTOP = (390, 844), (1280, 800)
EVALUATED = Comparison(
    tuple(
        Row(name, convention, 10_000, 10_000, 100 * (len(name) + 20), missing, version)
        for name, missing, version in (
            ("gzip-9", None, "zlib 1"),
            ("flac-8", None, "libsndfile 1"),
            ("model:with_a_name_of_which_no_end_can_be_seen_and_no_place_to_break_it" * 2, None, None),
        )
        for convention in ("chunked", "chunked-header-once", "whole", "bound")
    ),
    splits=("train", "val"),
    n_chunks=5,
)
CONTRAST = """() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const found = {};
  for (const element of document.querySelectorAll("body *:not(script)")) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!isText) continue;
    const style = getComputedStyle(element);
    const ink = light(element instanceof SVGElement ? style.fill : style.color);
    const [low, high] = ink < paper ? [ink, paper] : [paper, ink];
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found[element.tagName + " " + element.textContent.trim().slice(0, 40)] = ratio;
  }
  return found;
}"""
PLAY_ALL = """async () => {
  const found = [];
  for (const player of document.querySelectorAll("audio")) {
    const name = player.getAttribute("aria-label");
    try {
      await player.play();
      const begin = performance.now();
      while (player.currentTime === 0 && performance.now() - begin < 5000)
        await new Promise((done) => setTimeout(done, 10));
      found.push([name, player.readyState, player.currentTime, player.duration,
        [...document.querySelectorAll("audio")].filter((other) => !other.paused).length]);
    } catch (error) {
      found.push([name, String(error), 0, 0, 0]);
    }
    player.pause();
  }
  return found;
}"""


@pytest.fixture(scope="session")
def file(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_bytes(make_page(dataset, facts=collect(dataset), comparison=EVALUATED))
    return file


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page in the browser, with all that it said and asked for."""

    def __init__(self, browser: "Browser", file: Path, size: tuple[int, int] = LAPTOP, **options: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def test_every_player_plays_and_none_beside_another(browser: "Browser", file: Path) -> None:
    with Opened(browser, file) as opened:
        found = opened.page.evaluate(PLAY_ALL)
        assert len(found) == 2 * 8
        for name, ready, at, duration, n_playing in found:
            assert ready == 4, name
            assert 0 < at <= duration, name
            assert n_playing <= 1, name
        assert opened.said == []


def test_nothing_is_said_or_asked_for(browser: "Browser", file: Path) -> None:
    with Opened(browser, file) as opened:
        opened.page.evaluate(PLAY_ALL)
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, LAPTOP, (320, 640)], ids=str)
def test_nothing_is_wider_than_the_screen(browser: "Browser", file: Path, size: tuple[int, int], scheme: str) -> None:
    with Opened(browser, file, size, color_scheme=scheme) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(browser: "Browser", file: Path, scheme: str) -> None:
    with Opened(browser, file, color_scheme=scheme) as opened:
        assert opened.page.evaluate(CONTRAST) == {}


def test_dark_and_light_are_told_apart(browser: "Browser", file: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        with Opened(browser, file, color_scheme=scheme) as opened:
            colours.append(
                opened.page.evaluate(
                    "[getComputedStyle(document.body).backgroundColor,"
                    " getComputedStyle(document.querySelector('svg text')).fill]"
                )
            )
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]


def test_figures_players_and_tables_have_names(browser: "Browser", file: Path) -> None:
    with Opened(browser, file) as opened:
        page = opened.page
        assert page.get_by_role("heading", level=1).count() == 1
        assert page.get_by_role("img", name="Waveform and spectrogram of ").count() == 8
        assert page.get_by_role("img", name="codes of chunk").count() == 8
        assert page.get_by_role("button", name="Play chunk ").count() == 8
        for name in ("Durations of 9 recordings", "How often codes", "RMS and peak", "Compressed size"):
            assert page.get_by_role("img", name=name).count() == 1, name
        assert page.get_by_role("table").count() >= 6


@pytest.mark.parametrize("size", [PHONE, LAPTOP, (320, 640)], ids=str)
def test_bars_are_as_long_as_their_figures_and_within_the_chart(
    browser: "Browser", file: Path, size: tuple[int, int]
) -> None:
    with Opened(browser, file, size) as opened:
        found = opened.page.evaluate(
            """() => [...document.querySelectorAll(".size")].map((size) => {
              const range = document.createRange();
              range.selectNodeContents(size);
              return [parseFloat(size.textContent.replace(",", "")),
                size.querySelector(".mark").getBoundingClientRect().width,
                range.getBoundingClientRect().right - size.getBoundingClientRect().right];
            })"""
        )
        widths = {width / percent for percent, width, _ in found}
        assert len(found) == 9
        assert max(widths) == pytest.approx(min(widths), rel=0.01)
        assert all(beyond <= 0 for _, _, beyond in found)
        chart, section = (
            opened.page.locator(where).bounding_box() for where in (".chart", "section[aria-labelledby=codecs]")
        )
        assert chart is not None
        assert section is not None
        assert chart["width"] == section["width"]


def test_a_table_that_is_too_wide_scrolls_within_itself(browser: "Browser", file: Path) -> None:
    with Opened(browser, file, (200, 640)) as opened:
        regions = opened.page.get_by_role("region", name="Table of sizes")
        assert regions.count() == 4
        assert regions.first.evaluate("element => element.scrollWidth > element.clientWidth")
        assert regions.first.evaluate("element => getComputedStyle(element).overflowX") == "auto"


def test_a_chunk_is_played_and_stopped_from_the_keyboard(browser: "Browser", file: Path) -> None:
    with Opened(browser, file) as opened:
        page = opened.page
        button = page.get_by_role("button", name="Play chunk ").first
        button.focus()
        page.keyboard.press("Enter")
        page.locator("button[aria-pressed=true]").wait_for()
        page.keyboard.press("Enter")
        page.locator("button[aria-pressed=true]").wait_for(state="detached")
        assert button.get_attribute("aria-pressed") == "false"


def test_a_click_on_a_picture_moves_its_player(browser: "Browser", file: Path) -> None:
    with Opened(browser, file) as opened:
        page = opened.page
        player = page.locator("audio[data-picture=p1]")
        player.evaluate("player => player.readyState || new Promise(done => player.onloadedmetadata = done)")
        box = page.locator("#p1").bounding_box()
        assert box is not None
        page.locator("#p1").click(position={"x": box["width"] * 0.55, "y": 20})
        share = player.evaluate("player => player.currentTime / player.duration")
        assert share == pytest.approx(0.5, abs=0.1)
        assert page.locator("#p1 .playhead").is_visible()


def test_without_scripts_all_players_can_be_used(browser: "Browser", file: Path) -> None:
    with Opened(browser, file, java_script_enabled=False) as opened:
        assert opened.page.locator("audio[controls]:visible").count() == 2 * 8
        assert opened.page.locator("button:visible").count() == 0


def test_a_script_in_a_name_does_not_run(browser: "Browser", file: Path, tmp_path: Path) -> None:
    smuggled = tmp_path / "smuggled.html"
    smuggled.write_text(file.read_text().replace("<main>", "<main><script>document.title = 'run'</script>"))
    with Opened(browser, smuggled) as opened:
        assert opened.page.title() != "run"
        assert "Content Security Policy" in opened.said[0]
