"""Sections, what all tables of a report have in common: names of optimizers, and no column that says nothing."""

from dataclasses import replace

from study.report.document import Column, Section, Table
from study.report.observations import StudyInfo
from study.report.sections.names import titles_of

_TITLE = Column("title", "optimizer", "The optimizer, with the options that make it a variant.", "text")


def settle_tables(section: Section, info: StudyInfo) -> Section:
    """The section, and its parts, with tables as people read them; files keep every column.

    Optimizers are called as people call them; a column without a single entry, and that of the only workload, are in
    the files only.
    """
    return replace(
        section,
        tables=tuple(_hide_empty(_hide_workload(_name_rows(table, info), info)) for table in section.tables),
        sections=tuple(settle_tables(part, info) for part in section.sections),
    )


def _name_rows(table: Table, info: StudyInfo) -> Table:
    names, titles = [column.name for column in table.columns], titles_of(info)
    if "optimizer" not in names or "title" in names:
        return table
    place = names.index("optimizer")
    hidden = replace(table.columns[place], heading="name", shown=False)
    return replace(
        table,
        columns=(*table.columns[:place], hidden, _TITLE, *table.columns[place + 1 :]),
        rows=tuple(
            (*row[: place + 1], titles.get(str(row[place]), row[place]), *row[place + 1 :]) for row in table.rows
        ),
    )


def _hide_workload(table: Table, info: StudyInfo) -> Table:
    first = table.columns[0]
    if len(info.workloads) != 1 or first.name != "workload" or sum(column.shown for column in table.columns) < _FEWEST:
        return table
    return replace(table, columns=(replace(first, shown=False), *table.columns[1:]))


def _hide_empty(table: Table) -> Table:
    """Without columns in which every row is empty, as long as people see another one."""
    empty = [all(row[place] in (None, "") for row in table.rows) for place in range(len(table.columns))]
    kept = [column.shown and not nothing for column, nothing in zip(table.columns, empty, strict=True)]
    if not table.rows or not any(kept):
        return table
    columns = (replace(column, shown=shown) for column, shown in zip(table.columns, kept, strict=True))
    return replace(table, columns=tuple(columns))


#: A table with fewer columns keeps the only workload.
_FEWEST = 3
