"""The pages of the documentation, their sections, tables and examples, as tests read them."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

#: Of a fenced block: its language and its text.
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(page: str | Path) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language in every page, as test parameters."""
    return [
        pytest.param(match[2], id=f"{page.name}-{number}")
        for page in PAGES
        for number, match in enumerate(FENCE.finditer(read(page)))
        if match[1] == language
    ]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text)


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    text = read(page)
    start = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert start, f"docs/{page} has no heading {heading!r}"
    rest = text[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str, head: str | None = None) -> list[list[str]]:
    """The cells of every table row of a text, without heads; only of tables whose first head is ``head``, if given."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        heads, rule, *body = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]
        assert all(re.fullmatch(r":?-+:?", cell) for cell in rule), table
        assert all(len(row) == len(heads) for row in body), table
        if head in (None, heads[0]):
            found += body
    return found


def names(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def first_names(text: str, head: str | None = None) -> list[str]:
    """What stands in backticks in the first cell of each row of :func:`rows`."""
    return [name for row in rows(text, head) for name in names(row[0])]
