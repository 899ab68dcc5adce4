"""Tables of ``report.pdf``: they fit the paper, smaller or in parts where they are wide."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, Paragraph, Spacer, TableStyle
from reportlab.platypus import Table as Grid

from study.report.document import Table
from study.report.text import NUMERIC, Reading, count_more, read_table, split_interval

_FONT = "DejaVuSans"
_BOLD = "DejaVuSans-Bold"
#: Sizes of text that are tried, in points; below the last, columns go into several tables.
_SIZES = (7.5, 7.0, 6.5, 6.0, 5.5)
#: Points left and right of a cell's text.
_PADDING = 3.0
#: Widest text of a column before it wraps, in multiples of the font size.
_WIDEST = 24.0
#: Lines of a cell that are set as they are: a number, and its interval.
_MOST_LINES = 2
#: Longest text of a cell, in characters: no row may be higher than a page.
_LONGEST = 600
_BAND = HexColor("#f5f7f9")
_QUIET = HexColor("#525c67")


def lay_out_table(table: Table, width: float) -> Iterator[Flowable]:
    """A table as people see it, in one or more parts that are at most ``width`` points wide."""
    size, parts, reading = _divide(read_table(table), width)
    for number, part in enumerate(parts):
        title = table.title if len(parts) == 1 else f"{table.title} ({number + 1} of {len(parts)})"
        yield Paragraph(escape(title), _style(8.0, _BOLD, spaceBefore=8, spaceAfter=3, keepWithNext=1))
        yield _make_grid(reading, part, size, width)
    if reading.more:
        yield Paragraph(f"{count_more(reading.more)} in tables/{table.name}.csv", _style(7.0, textColor=_QUIET))
    if table.note:
        yield Paragraph(escape(table.note), _style(7.0, spaceBefore=2, textColor=_QUIET))
    yield Spacer(0, 6)


def _style(size: float, font: str = _FONT, **changes: Any) -> ParagraphStyle:
    return ParagraphStyle("", fontName=font, fontSize=size, leading=1.3 * size, splitLongWords=1, **changes)


def _divide(reading: Reading, width: float) -> tuple[float, list[list[int]], Reading]:
    """Size of text, which columns each part has, and the table, whose intervals may stand below their numbers.

    The first columns, which say what a row is, are in all parts.
    """
    everything = list(range(len(reading.columns)))
    stacked = _stack_intervals(reading)
    for sizes, shown in ((_SIZES[:3], reading), (_SIZES, stacked)):
        for size in sizes:
            if sum(_measure(shown, column, size) for column in everything) <= width:
                return size, [everything], shown
    size, reading = _SIZES[-1], stacked
    widths = [_measure(reading, column, size) for column in everything]
    keys = _find_keys(reading, widths, width)
    parts: list[list[int]] = []
    room = 0.0
    for column in everything[len(keys) :]:
        if widths[column] > room or not parts:
            parts.append([*keys])
            room = width - sum(widths[key] for key in keys)
        parts[-1].append(column)
        room -= widths[column]
    return size, parts or [everything], reading


def _stack_intervals(reading: Reading) -> Reading:
    rows = tuple(tuple("\n".join(split_interval(cell) or (cell,)) for cell in row) for row in reading.rows)
    return replace(reading, rows=rows)


def _find_keys(reading: Reading, widths: Sequence[float], width: float) -> list[int]:
    """The texts that a table begins with, as far as they leave half of the width; at least the first column."""
    keys = [0]
    for column in range(1, len(reading.columns) - 1):
        if reading.columns[column].kind != "text" or sum(widths[: column + 1]) > width / 2:
            break
        keys.append(column)
    return keys


def _measure(reading: Reading, column: int, size: float) -> float:
    """Width of a column: of its longest text, or where texts wrap; no word of its heading is broken."""
    cells = [line for row in reading.rows for line in row[column].splitlines()]
    longest = max((stringWidth(cell, _FONT, size) for cell in {*sorted(cells, key=len)[-8:]}), default=0.0)
    words = [stringWidth(word, _BOLD, size) for word in reading.headings[column].split()]
    if reading.columns[column].kind not in NUMERIC:
        longest = min(longest, _WIDEST * size)
    heading = 0.65 * stringWidth(reading.headings[column], _BOLD, size)
    return max(longest, min(max(words, default=0.0), _WIDEST * size), min(heading, 9 * size)) + 2 * _PADDING + 1


def _make_grid(reading: Reading, columns: Sequence[int], size: float, width: float) -> Grid:
    widths = [_measure(reading, column, size) for column in columns]
    total = sum(widths)
    if total > width:  # one column that is wider than the paper: it wraps
        widths = [own * width / total for own in widths]
    numeric = [reading.columns[column].kind in NUMERIC for column in columns]
    heads = [
        Paragraph(escape(reading.headings[column]), _style(size, _BOLD, alignment=2 if number else 0))
        for column, number in zip(columns, numeric, strict=True)
    ]
    rows = [
        [
            _make_cell(row[column], own, size, number)
            for column, own, number in zip(columns, widths, numeric, strict=True)
        ]
        for row in reading.rows
    ]
    style: list[tuple[Any, ...]] = [
        ("FONT", (0, 0), (-1, -1), _FONT, size, 1.3 * size),
        ("LEFTPADDING", (0, 0), (-1, -1), _PADDING),
        ("RIGHTPADDING", (0, 0), (-1, -1), _PADDING),
        ("TOPPADDING", (0, 0), (-1, -1), 1.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.8),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("VALIGN", (0, 1), (-1, -1), "TOP"),
        ("LINEABOVE", (0, 0), (-1, 0), 0.8, "black"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.5, "black"),
        ("LINEBELOW", (0, -1), (-1, -1), 0.8, "black"),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [None, _BAND]),
        *(("ALIGN", (place, 1), (place, -1), "RIGHT") for place, number in enumerate(numeric) if number),
    ]
    return Grid([heads, *rows], colWidths=widths, repeatRows=1, hAlign="LEFT", style=TableStyle(style), splitInRow=1)


def _make_cell(text: str, width: float, size: float, number: bool) -> str | Paragraph:
    """Plain text where it fits, which is fast; else a paragraph, which wraps."""
    lines = text.splitlines()
    if len(lines) <= _MOST_LINES and all(stringWidth(line, _FONT, size) <= width - 2 * _PADDING for line in lines):
        return text
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return Paragraph(escape(shown), _style(size, alignment=2 if number else 0))
