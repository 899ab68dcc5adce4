"""A document as files: a page, Markdown, LaTeX, PDF, tables and pictures; no number is computed here."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from study.report.document import Document, Figure, Section, Table

#: What names files and anchors: safe in paths, links and LaTeX labels alike.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class FormError(ValueError):
    """A document that cannot be written: a mistake of the section that made it."""


def walk(sections: Iterable[Section], depth: int = 0) -> Iterator[tuple[int, Section]]:
    """All sections as they are read, with how deep they lie: 0 is a part of the document itself."""
    for section in sections:
        yield depth, section
        yield from walk(section.sections, depth + 1)


def list_tables(document: Document) -> list[Table]:
    """All tables, as they are read."""
    return [table for _, section in walk(document.sections) for table in section.tables]


def list_figures(document: Document) -> list[Figure]:
    """All figures, as they are read."""
    return [figure for _, section in walk(document.sections) for figure in section.figures]


def check_document(document: Document) -> None:
    """See that every form of ``document`` can be written.

    Raises:
        FormError: Names are not unique (also where case is ignored, as file systems may do), or not fit for files;
            rows have more or fewer cells than there are columns; an interval names a column that does not exist.
    """
    tables = list_tables(document)
    _check_names("section", [section.id for _, section in walk(document.sections)])
    _check_names("table", [table.name for table in tables])
    _check_names("figure", [figure.name for figure in list_figures(document)])
    for table in tables:
        _check_table(table)


def _check_names(what: str, names: list[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise FormError(f"{what} {name!r} cannot name a file; take letters, digits and hyphens")
    twice = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if twice:
        raise FormError(f"there are several {what}s {twice[0]!r}; each needs a name of its own")


def _check_table(table: Table) -> None:
    names = [column.name for column in table.columns]
    if not any(column.shown for column in table.columns):
        raise FormError(f"table {table.name!r} has no column that people see")
    if len(set(names)) < len(names):
        raise FormError(f"table {table.name!r} has two columns of one name: {', '.join(names)}")
    for column in table.columns:
        for end in (column.low, column.high):
            if end and end not in names:
                raise FormError(
                    f"column {column.name!r} of table {table.name!r} has the end {end!r}, which is no column"
                )
    for row in table.rows:
        if len(row) != len(names):
            raise FormError(
                f"a row of table {table.name!r} has {len(row)} cells for {len(names)} columns: {row!r:.200}"
            )
