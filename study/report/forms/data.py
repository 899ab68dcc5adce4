"""``tables/NAME.csv`` and ``tables/NAME.parquet``: every table whole, with a dictionary of all columns."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from study.axis import format_value
from study.report.document import CellValue, Column, Document, Table
from study.report.forms import FormError, check_document, list_tables
from study.report.table_files import TableFormat, write_table

#: Name of the table that says what the columns of the others mean.
DICTIONARY = "columns"
FORMATS: tuple[TableFormat, ...] = ("csv", "parquet")
_TYPES: dict[str, type[pl.DataType]] = {
    "text": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "percent": pl.Float64,
    "p": pl.Float64,
    "truth": pl.Boolean,
}


def make_frame(table: Table) -> pl.DataFrame:
    """All columns and rows; types follow from the kinds of the columns, also where there are no rows.

    Raises:
        FormError: A cell is not of its column's kind.
    """
    cells = zip(*table.rows, strict=True) if table.rows else iter(() for _ in table.columns)
    return pl.DataFrame(
        [_make_series(table, column, values) for column, values in zip(table.columns, cells, strict=True)]
    )


def make_dictionary(tables: Iterable[Table]) -> pl.DataFrame:
    """What every column of every table holds: one row each."""
    rows = [
        (table.name, column.name, column.heading, column.kind, column.unit, column.low, column.high, column.meaning)
        for table in tables
        for column in table.columns
    ]
    names = ("table", "column", "heading", "kind", "unit", "low", "high", "meaning")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def write_data(document: Document, folder: Path) -> list[Path]:
    """Write every table and the dictionary to ``folder``, each as CSV and Parquet.

    Numbers in CSV are the shortest that read back as the same floats.

    Returns:
        The files.

    Raises:
        FormError: As for :func:`study.report.forms.check_document` and :func:`make_frame`.
        OutputError: A file cannot be written.
    """
    check_document(document)
    tables = list_tables(document)
    if any(table.name.lower() == DICTIONARY for table in tables):
        raise FormError(f"a table cannot be called {DICTIONARY!r}: so is the dictionary of all columns")
    frames = {table.name: make_frame(table) for table in tables} | {DICTIONARY: make_dictionary(tables)}
    paths = []
    for name, frame in frames.items():
        for format_ in FORMATS:
            paths.append(folder / f"{name}.{format_}")
            write_table([frame], paths[-1], format_)
    return paths


def _make_series(table: Table, column: Column, values: Sequence[CellValue]) -> pl.Series:
    try:
        return pl.Series(column.name, [_to_type(column, value) for value in values], _TYPES[column.kind], strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise FormError(f"column {column.name!r} of table {table.name!r} is no {column.kind}: {error}") from error


def _to_type(column: Column, value: CellValue) -> CellValue:
    """A cell as its column's type; NaN is no number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if column.kind == "text":
        return value if isinstance(value, str) else _exactly(value)
    if isinstance(value, str | bool) != (column.kind == "truth") or (column.kind == "truth" and isinstance(value, str)):
        raise TypeError(f"it has {value!r:.80}")
    if column.kind == "integer" and not float(value).is_integer():
        raise TypeError(f"it has {value!r:.80}")
    return value if column.kind == "truth" else int(value) if column.kind == "integer" else float(value)


def _exactly(value: float) -> str:
    """A setting among texts: words as people read them, numbers with all their digits."""
    return format_value(value) if isinstance(value, bool) else repr(value)
