"""Sections, columns of numbers with their intervals, and names of figures."""

import re
from collections.abc import Sequence
from dataclasses import replace

from study.report.document import CellValue, Column, Kind
from study.report.measures.intervals import Estimate, Share
from study.report.observations import StudyInfo

#: What the columns that say of which optimizer and workload a row is mean.
KEYS = (
    Column("workload", "workload", "What was trained.", "text"),
    Column("optimizer", "name", "Name of the optimizer in the spec.", "text", shown=False),
    Column("title", "optimizer", "The optimizer, with the options that make it a variant.", "text"),
)


def with_interval(name: str, heading: str, meaning: str, kind: Kind = "number", unit: str = "") -> tuple[Column, ...]:
    """A column of estimates, and those of the ends of their intervals."""
    low, high = f"{name}_low", f"{name}_high"
    return (
        Column(name, heading, meaning, kind, unit, low, high),
        Column(low, f"{heading}, low", f"Lower end of the 95 % interval of {name}.", kind, unit, shown=False),
        Column(high, f"{heading}, high", f"Upper end of the 95 % interval of {name}.", kind, unit, shown=False),
    )


def hide(columns: Sequence[Column], *names: str) -> tuple[Column, ...]:
    """The columns, with some of them in the files only: a table that people read says what decides."""
    return tuple(replace(column, shown=False) if column.name in names else column for column in columns)


def cells_of(estimate: Estimate | Share | None) -> tuple[CellValue, ...]:
    """The three cells of an estimate."""
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


def figure_name(prefix: str, info: StudyInfo, workload: str) -> str:
    """Name of the figure of a workload: lower case with hyphens, with a number where that is not unique."""
    return _unique(prefix, [known.name for known in info.workloads], workload)


def objective_with_unit(info: StudyInfo) -> str:
    """Name of the objective with its unit, for labels."""
    return f"{info.objective} ({info.unit})" if info.unit else info.objective


def _unique(prefix: str, names: list[str], name: str) -> str:
    slugs, place = [_slug(known) for known in names], names.index(name)
    unique = all(slugs) and len(set(slugs)) == len(slugs)
    return f"{prefix}-{slugs[place]}" if unique else f"{prefix}-{slugs[place]}-{place + 1}".replace("--", "-")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
