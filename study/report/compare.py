"""What changed between two reports: the study, and every number of every table, told by its row."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from study.errors import OutputError
from study.report.differences import find_differences
from study.report.stored import StoredReport, read_report

#: Tables that say the same as others, or what reports are made from: their rows are counted, not listed.
_RAW = ("runs", "trials", "curvature", "columns")
#: What is said of a study; cells and workloads say of a foreign study what its spec says of one of this service.
_SAID = (
    *("name", "source", "state", "objective", "design", "seeds", "study_seed", "is_sample", "is_random"),
    *("paired_seeds", "spec", "workloads", "cells", "cautions", "environment"),
)
_NAMES = ("the first report", "the second")


@dataclass(frozen=True, slots=True)
class Change:
    """One number or word that differs.

    Attributes:
        table: Name of the table.
        row: What the row is about, such as ``digits-mlp, adai``: its first columns.
        column: Name of the column.
        before: What the first report says, with its interval where it has one.
        after: What the second one says.
        apart: Whether both have intervals and these do not overlap; None without intervals.
    """

    table: str
    row: str
    column: str
    before: str
    after: str
    apart: bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one report to another.

    Attributes:
        study: Differences of spec and environment, of the settings, and of what the reports were made with, one line
            each.
        added: Rows that only the second report has, as ``table: row``.
        removed: Rows that only the first one has.
        changes: What differs in rows that both have.
        unchanged: Cells of tables that are equal.
        runs: Runs that were added, removed, and changed.
    """

    study: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    unchanged: int
    runs: tuple[int, int, int]


def compare_reports(first: Path, second: Path) -> Comparison:
    """What changed from the report in ``first`` to that in ``second``.

    Raises:
        OutputError: One of the folders is not a report of this program.
    """
    try:
        return _compare(read_report(first), read_report(second))
    except pl.exceptions.PolarsError as error:
        raise OutputError(f"the tables of {first} and {second} cannot be compared: {error!s:.300}") from error


def _compare(before: StoredReport, after: StoredReport) -> Comparison:
    changes: list[Change] = []
    added: list[str] = []
    removed: list[str] = []
    unchanged = 0
    for name in dict.fromkeys([*before.tables, *after.tables]):
        if name in _RAW:
            continue
        old, new = before.tables.get(name), after.tables.get(name)
        keys = _key_columns([table for table in (old, new) if table is not None])
        old_rows, new_rows = _rows(old, keys), _rows(new, keys)
        added += [f"{name}: {row}" for row in new_rows if row not in old_rows]
        removed += [f"{name}: {row}" for row in old_rows if row not in new_rows]
        for row in old_rows:
            if row in new_rows:
                found, equal = _compare_rows(name, row, old_rows[row], new_rows[row], after.interval_columns(name))
                changes += found
                unchanged += equal
    return Comparison(
        tuple(_compare_studies(before, after)),
        tuple(added),
        tuple(removed),
        tuple(changes),
        unchanged,
        _compare_runs(before.tables["runs"], after.tables["runs"]),
    )


def _compare_studies(before: StoredReport, after: StoredReport) -> list[str]:
    lines: list[str] = []
    for name in _SAID:
        old, new = before.content["info"].get(name), after.content["info"].get(name)
        lines += find_differences(old, new, name, names=_NAMES)
    for name in ("settings", "environment"):
        what = "made with" if name == "environment" else name
        lines += find_differences(before.content.get(name), after.content.get(name), what, names=_NAMES)
    return lines


def _key_columns(tables: Sequence[pl.DataFrame]) -> list[str]:
    """What rows are about: columns that tell the rows of every table apart, else all.

    Those are the fewest first columns of texts, such as workload and optimizer; where these do not suffice, all of them
    and one more, such as a tolerance or a budget.
    """
    names = [name for name in tables[0].columns if all(name in table.columns for table in tables)]
    texts = list(itertools.takewhile(lambda name: tables[0].schema[name] == pl.String, names))
    others = names[len(texts) :]
    choices = [texts[:count] for count in range(1, len(texts) + 1)] + [[*texts, other] for other in others]
    return next((choice for choice in choices if all(_tells_apart(choice, table) for table in tables)), names)


def _tells_apart(columns: Sequence[str], table: pl.DataFrame) -> bool:
    return table.select(columns).n_unique() == table.height


def _rows(table: pl.DataFrame | None, keys: Sequence[str]) -> dict[str, dict[str, object]]:
    """What a row is about -> the row; rows that are alike are numbered."""
    rows: dict[str, dict[str, object]] = {}
    seen: Counter[str] = Counter()
    for row in table.iter_rows(named=True) if table is not None else ():
        about = ", ".join(_number(row[key]) for key in keys if row[key] is not None) or "all"
        seen[about] += 1
        rows[f"{about} #{seen[about]}" if seen[about] > 1 else about] = row
    return rows


def _compare_rows(
    table: str,
    about: str,
    old: dict[str, object],
    new: dict[str, object],
    intervals: dict[str, tuple[str, str]],
) -> tuple[list[Change], int]:
    ends = {end for pair in intervals.values() for end in pair}
    changes, equal = [], 0
    for column in dict.fromkeys([*old, *new]):
        if column in ends:
            continue
        low, high = intervals.get(column, ("", ""))
        before, after = ((row.get(column), row.get(low), row.get(high)) for row in (old, new))
        if not any(find_differences(before, after)):
            equal += 1
            continue
        apart = _apart(before[1:], after[1:])
        changes.append(Change(table, about, column, _shown(*before), _shown(*after), apart))
    return changes, equal


def _apart(one: Sequence[object], other: Sequence[object]) -> bool | None:
    ends = [end for end in (*one, *other) if isinstance(end, int | float)]
    if len(ends) < 4:
        return None
    return ends[1] < ends[2] or ends[3] < ends[0]


def _shown(value: object, low: object, high: object) -> str:
    if low is None or high is None:
        return _number(value)
    return f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _compare_runs(before: pl.DataFrame, after: pl.DataFrame) -> tuple[int, int, int]:
    keys = ["workload", "optimizer", "trial", "seed"]
    both = before.join(after, on=keys, how="inner", suffix="_after")
    changed = both.filter(
        pl.col("objective").ne_missing(pl.col("objective_after"))
        | pl.col("termination").ne_missing(pl.col("termination_after"))
    )
    return after.height - both.height, before.height - both.height, changed.height
