"""The page: read by a parser as a browser does, and by a browser where there is one."""

import functools
import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from browser import DESKTOP, PHONE, Chromium, scrolls_sideways, visiting
from made_document import make_document, make_map

from study.report.document import Column, Document, Section, Table
from study.report.forms import FormError, list_figures, list_tables, walk
from study.report.forms.drawers import draw_all
from study.report.forms.html import CONTENT_SECURITY_POLICY, render_html
from study.report.measures.missing import Missing
from study.report.text import read_table

EVIL = '<script>alert("x")</script>\'"&amp;|{{ 7 * 7 }}]]>'
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """All elements of a page, each with its attributes, its text and the elements around it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """It begins."""
        own: list[str] = []
        self.elements.append((tag, {key: value or "" for key, value in attrs}, own, [name for name, _ in self._open]))
        if tag not in VOID:
            self._open.append((tag, own))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """It is empty."""
        self.elements.append((tag, {key: value or "" for key, value in attrs}, [], [name for name, _ in self._open]))

    def handle_endtag(self, tag: str) -> None:
        """The last one that began ends."""
        name, _ = self._open.pop()
        assert name == tag, f"</{tag}> closes <{name}>"

    def handle_data(self, data: str) -> None:
        """Text of all that are open."""
        for _, own in self._open:
            own.append(data)

    def find(self, *tags: str) -> list[tuple[str, dict[str, str], str]]:
        """All elements of these names, with their attributes and texts."""
        return [(tag, attributes, "".join(own)) for tag, attributes, own, _ in self.elements if tag in tags]


@functools.cache
def made_page() -> tuple[Document, str]:
    document = make_document(figures=5, points=30)
    return document, render_html(document, draw_all(list_figures(document), processes=1))


@pytest.fixture
def page() -> Page:
    return Page(made_page()[1])


def test_headings_are_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in page.find("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert max(levels) == 4


def test_ids_are_unique_and_every_link_inside_leads_to_one(page: Page) -> None:
    counts = Counter(attributes["id"] for _, attributes, _, _ in page.elements if "id" in attributes)
    assert max(counts.values()) == 1
    for _, attributes, _, _ in page.elements:
        for key in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(key, "").split()) <= set(counts)
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in counts


def test_the_contents_list_every_section_and_its_parts(page: Page) -> None:
    links = [attributes["href"] for tag, attributes, _, around in page.elements if tag == "a" and "nav" in around]
    wanted = [f"#{section.id}" for depth, section in walk(made_page()[0].sections) if depth < 2]
    assert [link for link in links if "page-" not in link] == wanted * 2


def test_the_page_loads_nothing(page: Page) -> None:
    text = made_page()[1]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")", text)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    assert not page.find("link", "iframe", "object", "embed", "base", "form")
    for tag, attributes, _, _ in page.elements:
        assert "src" not in attributes
        assert not any(key.startswith("on") for key in attributes)
        if "href" in attributes and not attributes["href"].startswith("#"):
            assert re.fullmatch(r"(tables|figures)/[\w.-]+", attributes["href"]) or (
                tag == "image" and attributes["href"].startswith("data:image/png;base64,")
            )
    policy = next(attributes["content"] for _, attributes, _ in page.find("meta") if "http-equiv" in attributes)
    assert policy == CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:")


def test_files_that_the_page_links_are_those_of_the_report(page: Page) -> None:
    document = made_page()[0]
    linked = {attributes["href"] for _, attributes, _ in page.find("a") if attributes["href"][0] != "#"}
    wanted = {f"figures/{figure.name}.{kind}" for figure in list_figures(document) for kind in ("svg", "png", "pdf")}
    wanted |= {f"tables/{table.name}.{kind}" for table in list_tables(document) for kind in ("csv", "parquet", "tex")}
    assert linked == wanted


def test_the_page_says_its_language_characters_width_and_title(page: Page) -> None:
    assert page.find("html")[0][1]["lang"] == "en"
    assert any(attributes.get("charset") == "utf-8" for _, attributes, _ in page.find("meta"))
    assert any(attributes.get("name") == "viewport" for _, attributes, _ in page.find("meta"))
    assert page.find("title")[0][2] == made_page()[0].title
    for landmark in ("header", "main", "footer"):
        assert len(page.find(landmark)) == 1
    assert page.find("a")[0][1] == {"class": "skip", "href": "#page-main"}


def test_tables_can_be_read_without_seeing_them(page: Page) -> None:
    tables = list_tables(made_page()[0])
    assert [text for _, _, text in page.find("caption")] == [table.title for table in tables]
    assert {attributes["scope"] for _, attributes, _ in page.find("th")} == {"col", "row"}
    for _, attributes, _ in page.find("div"):
        if attributes.get("class") == "scroll":
            assert (attributes["role"], attributes["tabindex"]) == ("region", "0")
    cells = [text for _, _, text in page.find("th", "td")]
    wanted = [cell for t in tables for row in (read_table(t).headings, *read_table(t).rows) for cell in row]
    assert cells == wanted
    meanings = [text for _, _, text in page.find("dd")]
    assert len(meanings) == sum(len(table.columns) for table in tables)
    assert all(
        said.startswith(column.meaning)
        for said, column in zip(meanings, [column for table in tables for column in table.columns], strict=True)
    )
    more = [text for _, attributes, text in page.find("p") if attributes.get("class") == "more"]
    assert more == [f"20 more rows in tables/{table.name}.csv" for table in tables if len(table.rows) == 60]


def test_figures_say_what_they_show(page: Page) -> None:
    pictures = [attributes for _, attributes, _ in page.find("svg")]
    assert len(pictures) == len(list_figures(made_page()[0]))
    assert all(attributes["role"] == "img" and attributes["viewbox"] for attributes in pictures)
    for figure in list_figures(made_page()[0]):
        assert f'<desc id="figure-{figure.name}_desc">{figure.alt}</desc>' in made_page()[1]


def test_hostile_names_are_text_everywhere() -> None:
    columns = (Column("c", EVIL, EVIL, "text", EVIL), Column("d", "d", EVIL, shown=False))
    table = Table("t", EVIL, columns, ((EVIL, 1.0),), EVIL)
    figure = replace(make_map("m", 1, panels=1, points=3), title=EVIL, caption=EVIL, alt=EVIL)
    section = Section("s", EVIL, [EVIL], [table], [figure], [Missing(EVIL, EVIL)])
    document = Document(EVIL, [EVIL], [EVIL], [EVIL], [section], [EVIL])
    text = render_html(document, draw_all([figure], processes=1))
    page = Page(text)
    assert len(page.find("script")) == 1
    assert text.count("alert(") == text.count("&lt;script&gt;alert(")
    assert page.find("title")[0][2] == EVIL
    assert page.find("td", "th")[1][2] == EVIL
    assert page.find("abbr")[0][1]["title"] == EVIL


def test_a_page_of_nothing_but_a_title_is_whole() -> None:
    page = Page(render_html(Document("Empty & short"), {}))
    assert [text for _, _, text in page.find("h1")] == ["Empty & short"]


def test_a_table_without_rows_says_so() -> None:
    section = Section("s", "S", tables=[Table("t", "T", (Column("a", "a", "m"), Column("b", "b", "m")), ())])
    page = Page(render_html(Document("D", sections=[section]), {}))
    assert [(attributes, text) for _, attributes, text in page.find("td")] == [({"colspan": "2"}, "No rows.")]


def test_sections_below_the_fourth_level_stay_on_it() -> None:
    deep = Section("s5", "5")
    for number in (4, 3, 2, 1):
        deep = Section(f"s{number}", str(number), sections=[deep])
    page = Page(render_html(Document("D", sections=[deep]), {}))
    assert [tag for tag, _, _ in page.find("h1", "h2", "h3", "h4", "h5")] == ["h1", "h2", "h3", "h4", "h4", "h4"]


def test_a_figure_without_a_picture_is_named() -> None:
    document = Document("D", sections=[Section("s", "S", figures=[make_map("m", 1)])])
    with pytest.raises(FormError, match="figure 'm' has no picture"):
        render_html(document, {})


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of ``#rrggbb``."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_texts_stand_out_from_their_grounds(scheme: str) -> None:
    style = resources.files("study.report.forms").joinpath("templates", "style.css").read_text()
    blocks = [
        dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(blocks) == 3
    palette = {"light": blocks[0], "dark": blocks[0] | blocks[1], "print": blocks[0] | blocks[2]}[scheme]
    pairs = [(text, ground) for text in ("text", "quiet", "link") for ground in ("ground", "raised")]
    pairs += [("caution-text", "caution"), ("finding-text", "finding"), ("quiet", "ground")]
    for text, ground in pairs:
        assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    assert contrast(palette["accent"], palette["ground"]) >= 3
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_the_script_is_short() -> None:
    script = resources.files("study.report.forms").joinpath("templates", "page.js").read_text()
    assert len(script.splitlines()) <= 90
    assert "</" not in script


#: What the points of the first figure say: to a pointer, to nobody after Escape, to a finger, to the slider.
_PROBE = """() => {
  const svg = document.querySelector("svg[data-points]");
  const tip = document.getElementById("page-tip");
  const slider = svg.closest("figure").querySelector("input");
  const marks = [...svg.querySelectorAll(".points use")];
  const said = [];
  const say = () => said.push(tip.hidden ? "hidden" : tip.textContent);
  const at = (mark) => {
    const box = mark.getBoundingClientRect();
    return { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true };
  };
  svg.scrollIntoView({ behavior: "instant" });
  marks[4].dispatchEvent(new PointerEvent("pointermove", { ...at(marks[4]), pointerType: "mouse" }));
  say();
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  say();
  marks[7].dispatchEvent(new PointerEvent("pointerdown", { ...at(marks[7]), pointerType: "touch" }));
  say();
  slider.focus({ preventScroll: true });
  slider.value = 3;
  slider.dispatchEvent(new Event("input"));
  said.push(slider.getAttribute("aria-valuetext") === tip.textContent ? tip.textContent : "differ");
  slider.blur();
  say();
  return [...said, slider.max];
}"""


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_points_speak_in_a_browser(browser: Chromium, size: dict[str, Any], tmp_path: Path) -> None:
    document, text = made_page()
    figure = next(figure for figure in list_figures(document))
    svg = re.search(r"<svg[^>]*data-points.*?</svg>", text, re.DOTALL)
    assert svg is not None, figure
    texts = re.findall(r"<title>([^<]*)</title>", svg[0])
    path = tmp_path / "report.html"
    path.write_text(text)
    with visiting(browser, path.as_uri(), **size) as page:
        page.goto(path.as_uri())
        assert page.evaluate(_PROBE) == [texts[4], "hidden", texts[7], texts[2], "hidden", str(len(texts))]
        assert not scrolls_sideways(page)
