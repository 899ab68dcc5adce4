"""How numbers and tables are written for people, the same in every form."""

import math
import re
from dataclasses import dataclass

from study.axis import format_value
from study.report.document import CellValue, Column, Table

#: What stands where there is no such number.
NONE = "-"
MINUS = "\N{MINUS SIGN}"
#: ``value [low, high]``, perhaps with a bound before it.
_INTERVAL = re.compile(r"((?:[<>\N{GREATER-THAN OR EQUAL TO}] )?[^\s\[\]]+) (\[[^\[\]]+, [^\[\]]+\])")
#: Numbers of intervals are written one by one where one is this large, or that small, or needs more decimals, or the
#: interval is narrower than this share of them.
_MANY, _LEAST, _MOST_DECIMALS, _NARROWEST = 1e5, 1e-4, 7, 1e-3
#: Kinds whose cells are numbers, and set to the right.
NUMERIC = frozenset({"integer", "number", "percent", "p"})


@dataclass(frozen=True, slots=True)
class Reading:
    """What people see of a table.

    Attributes:
        columns: Those that are shown.
        headings: One for each, with its unit.
        rows: Cells as text, intervals in the cell of their number.
        more: Rows that are in the files only.
    """

    columns: tuple[Column, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int


def read_table(table: Table) -> Reading:
    """``table`` as people see it: shown columns, the first ``longest`` rows, intervals in one cell."""
    columns = tuple(column for column in table.columns if column.shown)
    places = {column.name: place for place, column in enumerate(table.columns)}
    rows = tuple(
        tuple(_read_cell(column, row, places) for column in columns) for row in table.rows[: max(table.longest, 0)]
    )
    return Reading(columns, tuple(map(format_heading, columns)), rows, len(table.rows) - len(rows))


def format_heading(column: Column) -> str:
    """A column's heading with its unit."""
    return f"{column.heading} ({column.unit})" if column.unit else column.heading


def count_more(more: int) -> str:
    """Such as ``1 more row``."""
    return f"{more} more row{'' if more == 1 else 's'}"


def _read_cell(column: Column, row: tuple[CellValue, ...], places: dict[str, int]) -> str:
    value = row[places[column.name]]
    low = row[places[column.low]] if column.low else None
    high = row[places[column.high]] if column.high else None
    return format_interval(column, value, low, high)


def format_interval(column: Column, value: CellValue, low: CellValue, high: CellValue) -> str:
    """``value [low, high]``; the value alone where it has no interval.

    Numbers have no more decimals than their interval leaves meaning to: two digits of its width.
    """
    text = format_cell(column, value)
    if text == NONE or (_is_none(low) and _is_none(high)):
        return text
    numbers = (value, low, high)
    decimals = _find_decimals(column, numbers)
    if decimals is None:
        return f"{text} [{format_cell(column, low)}, {format_cell(column, high)}]"
    value, low, high = (_signed(f"{number:.{decimals}f}") if number else "0" for number in numbers)
    return f"{value} [{low}, {high}]"


def split_interval(text: str) -> tuple[str, str] | None:
    """The number and its interval of a cell, so that the one can stand below the other; None for other cells."""
    found = _INTERVAL.fullmatch(text)
    return None if found is None else (found[1], found[2])


def _find_decimals(column: Column, numbers: tuple[CellValue, CellValue, CellValue]) -> int | None:
    """Decimals that tell what an interval tells; None where numbers are written one by one."""
    known = [float(number) for number in numbers if isinstance(number, int | float) and math.isfinite(number)]
    if column.kind != "number" or len(known) < len(numbers):
        return None
    width = known[2] - known[1]
    largest = max(map(abs, known))
    if width <= 0 or largest >= _MANY or width < _NARROWEST * largest:
        return None
    decimals = max(1 - math.floor(math.log10(width)), 0)
    # A number that is not 0 never reads as 0.
    least = min((abs(number) for number in known if abs(number) >= _LEAST), default=1.0)
    decimals = max(decimals, -math.floor(math.log10(least)))
    return decimals if decimals <= _MOST_DECIMALS else None


def format_cell(column: Column, value: CellValue) -> str:
    """One cell, as the kind of its column asks."""
    if value is None or _is_none(value):
        return NONE
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("yes" if value else "no") if column.kind == "truth" else format_value(value)
    if column.kind == "text":
        return _signed(format_value(value))
    if column.kind == "integer" and float(value).is_integer():
        return _signed(str(int(value)))
    return {"percent": format_percent, "p": format_p}.get(column.kind, format_number)(float(value))


def format_number(value: float) -> str:
    """Four significant digits, fewer where those are the whole number, more where they tell a number near 1 from 1."""
    if not math.isfinite(value):
        return _signed("\N{INFINITY}" if value > 0 else "-\N{INFINITY}")
    if value == 0:
        return "0"
    short = f"{value:.4g}"
    if float(short) == value and "e" not in short:
        return _signed(short)
    if abs(value) != 1 and f"{abs(value):.3e}" == "1.000e+00":
        return _signed(f"{value:.6g}")
    mantissa, power = f"{value:.3e}".split("e")
    exponent = int(power)
    if -4 <= exponent < 6:
        return _signed(f"{value:.{max(3 - exponent, 0)}f}")
    return _signed(f"{mantissa}e{exponent}")


def format_percent(share: float) -> str:
    """A share in percent with one decimal, and more where it would read as none or all."""
    if not math.isfinite(share):
        return format_number(share)
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    decimals = next((d for d in (1, 2, 3) if f"{share:.{d}%}" not in _WRONG), None)
    if decimals is None:
        return "< 0.001%" if abs(share) < 0.5 else "> 99.999%"
    return _signed(f"{share:.{decimals}%}")


#: How shares that are neither none nor all must not read.
_WRONG = frozenset(f"{sign}{whole}.{'0' * d}%" for sign in ("", "-") for whole in ("0", "100") for d in (1, 2, 3))


def format_p(p: float) -> str:
    """A p-value, or a probability: three decimals, and bounds at the ends."""
    if 0 <= p < 0.001:
        return "< 0.001"
    if 0.9995 <= p < 1:
        return "> 0.999"
    return f"{p:.3f}"


def _signed(text: str) -> str:
    """With minus signs, which are as wide as digits, not hyphens."""
    return text.replace("-", MINUS)


def _is_none(value: CellValue) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
