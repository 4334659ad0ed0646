import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from markupsafe import escape

import audiochunk
from audiochunk.errors import printable
from audiochunk.storage.manifest import Manifest
from audiochunk.tools.evaluate import Row
from audiochunk.tools.facts import collect
from audiochunk.tools.report.comparison import Comparison
from audiochunk.tools.report.page import page

MODEL = 'model:x d="1.234567" #010203 $y$ <b>'
EVALUATED = Comparison(
    (
        Row("gzip-9", "chunked", 10_000, 20_000, 5000, version="zlib <1>"),
        Row("gzip-9", "whole", 10_000, 20_000, 4000, version="zlib <1>"),
        Row("wavpack", "chunked", 10_000, 20_000, None, missing="apt install <wavpack>"),
        Row("lpc-rice", "chunked", 10_000, 20_000, 3500, version="audiochunk 1"),
        Row("entropy-1", "bound", 10_000, 20_000, None, missing="too few codes to tell: 9, 8 of them different"),
        Row(MODEL, "chunked", 10_000, 20_000, 3000),
        Row(MODEL, "chunked-header-once", 10_000, 20_000, 3000),
    ),
    splits=("train", "val"),
    n_chunks=5,
    first=7,
    max_chunks=6,
    seed=3,
    warnings=("are these <bits>?",),
)
VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


class Outline(HTMLParser):
    """Elements of a page: names with attributes, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="session")
def text(dataset: Path) -> str:
    return page(dataset, facts=collect(dataset), comparison=EVALUATED).decode()


@pytest.fixture(scope="session")
def outline(text: str) -> Outline:
    return Outline(text)


def test_the_same_dataset_makes_the_same_bytes(dataset: Path, text: str) -> None:
    assert page(dataset, facts=collect(dataset, workers=2), comparison=EVALUATED).decode() == text


def test_another_seed_chooses_others(dataset: Path) -> None:
    facts = collect(dataset)
    pages = [page(dataset, facts=facts, gallery=2, seed=seed).decode() for seed in (0, 1, 0)]
    assert pages[0] == pages[2] != pages[1]
    assert [made.count("<article") for made in pages] == [2, 2, 2]


def test_every_element_is_closed_and_every_id_is_one(outline: Outline) -> None:
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 50


def test_links_within_the_page_lead_somewhere(outline: Outline) -> None:
    ids = {attributes.get("id") for _, attributes in outline.elements}
    links = [attributes["href"] for attributes in outline.all("a")]
    assert links
    assert all(link and link[0] == "#" and link[1:] in ids for link in links)
    for _, attributes in outline.elements:
        assert attributes.get("aria-labelledby") in ids | {None}


def test_nothing_is_asked_for_from_anywhere(text: str, outline: Outline) -> None:
    assert "default-src 'none'" in text
    sources = [
        value
        for tag, attributes in outline.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href") and tag != "a"
    ]
    assert sources
    assert all(str(source).startswith(("data:", "#")) for source in sources)
    assert "url(http" not in text
    assert "@import" not in text


def test_names_that_are_markup_stay_names(text: str, outline: Outline) -> None:
    assert not outline.all("img")
    assert len(outline.all("script")) == 1
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;\\u202egnp$x$.wav" in text
    assert "\u202e" not in text
    assert text.count(f"<bdi>{escape(MODEL)}</bdi>") == 3  # the chart, and a table for each convention
    assert "apt install &lt;wavpack&gt;" in text


def test_there_is_one_heading_of_the_page_and_no_level_is_left_out(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_figure_and_every_player_has_a_name_of_its_own(outline: Outline) -> None:
    assert len(outline.all("figure")) == len(outline.all("figcaption")) == len(outline.all("svg")) + 1
    assert all(svg["role"] == "img" for svg in outline.all("svg"))
    (chart,) = [attributes for attributes in outline.all("div") if attributes.get("role") == "img"]
    assert str(chart["aria-label"]).startswith("Compressed size in % of raw: model:x")
    for tag in ("svg", "audio", "button"):
        names = [attributes["aria-label"] for attributes in outline.all(tag)]
        assert all(names)
        assert len(names) == len(set(names)), tag
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all("scope" in attributes for attributes in outline.all("th"))
    assert outline.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize(
    "words",
    [
        "8-bit linear",
        "9 recordings",
        "384,000 Hz",
        "played at 1/10 speed",
        "played at 100 times the speed",
        "channels 0 and 1 of 6 are shown and played",
        "Splits share audio.",
        "the file is empty (0 bytes)",
        "and 4 more",
        "bits of entropy a sample",
        "Silent chunks",
        ">40.00<",
        ">2.500×<",
        ">3.200<",
        ">1.600<",
        "5 chunks of <bdi>train</bdi>, <bdi>val</bdi>, of recordings in random order (at most 6 chunks, seed 3), out of"
        " the first 7 chunks, which have scores: 10 kB of the ",
        "20,000 samples of 8 bits",
        "are these &lt;bits&gt;?",
        "<bdi>entropy-1</bdi> (too few codes to tell: 9, 8 of them different)",
        "lpc-rice is an estimate",
        "Made with zlib &lt;1&gt; (gzip-9); audiochunk 1 (lpc-rice).",
        "<code>audiochunk evaluate</code> has the MB/s",
        "bars: share of the duration",
        "one chunk is marked in blue",
        "1 of them too short for a chunk",
    ],
)
def test_the_page_tells(text: str, words: str) -> None:
    assert words in text


def test_a_leak_of_chunks_without_a_whole_copy_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.Generator(np.random.PCG64(4)).integers(-9000, 9000, 20_480).astype(np.int16)
    for number in range(8):
        sf.write(tmp_path / "in" / f"{number}.wav", noise[: 20_480 - 2048 * number], 8000)
    audiochunk.build(tmp_path / "in", tmp_path / "out", split="train=0.5,val=0.5", workers=1)
    made = page(tmp_path / "out", facts=collect(tmp_path / "out"), gallery=0).decode()
    assert "Splits share audio" in made
    assert "#copies" not in made


def test_every_finding_is_on_the_page_in_a_line_of_its_own(dataset: Path, text: str) -> None:
    findings = collect(dataset).findings()
    assert len(findings) > 3
    lines = re.findall("<li>(.*)</li>", text[text.index('id="findings"') : text.index('id="dataset"')])
    assert lines == [escape(printable(sentence)) for sentence in findings]
    assert any("&lt;" in line for line in lines)


def test_the_findings_come_before_all_else(text: str) -> None:
    assert text.index('id="findings"') < text.index('id="dataset"')


def test_a_page_without_codecs_or_leaks_has_no_section_of_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", (np.sin(np.arange(9000) / 9) * 9000).astype(np.int16), 8000)
    audiochunk.build(tmp_path / "in", tmp_path / "out", workers=1)
    made = page(tmp_path / "out", facts=collect(tmp_path / "out"), title="A <title>\x07").decode()
    for absent in ('id="codecs"', 'id="copies"', 'id="skipped"', "Splits share audio"):
        assert absent not in made
    assert "<h1><bdi>A &lt;title&gt;\\x07</bdi></h1>" in made
    assert made.count("<article") == 1


def test_codecs_that_are_all_missing_leave_their_reasons_and_no_chart(dataset: Path) -> None:
    rows = (Row("brotli", "chunked", 10, 10, None, missing="pip install brotli"),)
    comparison = Comparison(rows, splits=("val",), n_chunks=1)
    made = page(dataset, facts=collect(dataset), comparison=comparison, gallery=0).decode()
    assert Outline(made).open == []
    assert 'class="chart"' not in made
    assert "No size of <bdi>brotli</bdi> (pip install brotli)." in made
    assert "What codecs make of 1 chunk of <bdi>val</bdi>: 10 B of the " in made


def test_an_empty_dataset_has_a_page(empty_dataset: Path) -> None:
    text = page(empty_dataset, facts=collect(empty_dataset)).decode()
    assert "The dataset is empty." in text
    assert Outline(text).open == []


def test_stats_that_were_not_asked_for_leave_no_hole(dataset: Path) -> None:
    for stats in (["dc"], ["codes"], ["loudness"], ["silence"], ["duplicates"]):
        assert Outline(page(dataset, facts=collect(dataset, stats=stats), gallery=1).decode()).open == []


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "split"},
        {"layout": "mono", "bits": 16, "byte_order": "big"},
        {"bits": 24, "chunk_bytes": 1536},
        {"quantizer": "mulaw"},
        {"block": 700, "tail": "pad"},
        {"bits": 12, "chunk_bytes": 2, "compress": "zstd"},
    ],
    ids=str,
)
def test_every_encoding_has_a_page(wavs: Path, tmp_path: Path, options: dict[str, object]) -> None:
    audiochunk.build(wavs, tmp_path / "out", on_error="skip", workers=1, **options)  # type: ignore[arg-type]
    made = page(tmp_path / "out", facts=collect(tmp_path / "out"), gallery=4)
    assert Outline(made.decode()).open == []
    assert len(made) < 10_000_000


def test_real_recordings_make_a_page_under_ten_megabytes(recordings: Path, tmp_path: Path) -> None:
    options = {"bits": 24, "chunk_bytes": 1536, "on_error": "skip", "workers": 2}
    audiochunk.build(recordings, tmp_path / "out", **options)
    made = page(tmp_path / "out", facts=collect(tmp_path / "out"))
    assert len(made) < 10_000_000
    assert made.count(b"<article") == min(12, Manifest.read(tmp_path / "out").splits["train"].recordings)
