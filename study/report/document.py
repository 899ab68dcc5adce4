"""What a report is made of, whatever its form: sections of paragraphs, tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from study.report.measures.missing import Missing

if TYPE_CHECKING:
    from study.report.drawing.style import Drawing

#: What a cell of a table may hold; None means that there is no such number.
CellValue = str | int | float | bool | None
#: ``text``; ``integer``; ``number`` with four digits; ``percent`` of a share in [0, 1]; ``p`` for p-values.
Kind = Literal["text", "integer", "number", "percent", "p", "truth"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: In files, such as ``volume_low``.
        heading: For people, such as ``robust volume``.
        meaning: What it holds, how it is computed and how divergence counts, as a sentence of the column dictionary.
        kind: What it holds, and how it is written for people.
        unit: Of its numbers, such as ``decades``; empty for pure numbers.
        low: Name of the column with the lower end of its interval: people read ``value [low, high]`` in one cell.
        high: Name of the column with the upper end.
        shown: Whether people see it: ends of intervals and keys are in files only.
    """

    name: str
    heading: str
    meaning: str
    kind: Kind = "number"
    unit: str = ""
    low: str = ""
    high: str = ""
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table in all its forms: CSV, Parquet, LaTeX, HTML, Markdown.

    Attributes:
        name: File name without its ending, unique in a report; lower case with hyphens.
        title: What it shows, as a caption.
        columns: All columns.
        rows: Cells in the order of ``columns``.
        note: What its intervals are and how divergence counts, under the table.
        longest: Rows that people see; the others are in the files only, and the table says so.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[CellValue, ...], ...]
    note: str = ""
    longest: int = 40


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture in all its forms: SVG, PNG, PDF.

    Attributes:
        name: File name without its ending, unique in a report; lower case with hyphens.
        title: What it shows.
        caption: n, seeds, divergences, what marks mean, how intervals were made.
        alt: What a reader who does not see it must know.
        draw: Draws it. Picklable, such as a `functools.partial` of a function of a module: figures are drawn in several
            processes.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: "Callable[[], Drawing]"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Attributes:
        id: Anchor, unique in a report; lower case with hyphens.
        title: Its heading.
        paragraphs: What to know before the tables and figures: what is measured, in which unit. Plain text.
        tables: Its tables.
        figures: Its figures.
        missing: What could not be computed.
        sections: Parts of it.
    """

    id: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    missing: Sequence[Missing] = ()
    sections: "Sequence[Section]" = field(default=())


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report, before it has a form.

    Attributes:
        title: Such as ``Robustness of optimizers: digits``.
        lead: What was studied, and how many runs ended how; a paragraph each.
        warnings: What to know before anything is believed: cautions, a report of a part. Shown before the findings.
        summary: Findings in words, one each.
        sections: Its parts.
        footer: Versions, hashes, where the numbers come from; a line each.
    """

    title: str
    lead: Sequence[str] = ()
    warnings: Sequence[str] = ()
    summary: Sequence[str] = ()
    sections: Sequence[Section] = ()
    footer: Sequence[str] = ()
