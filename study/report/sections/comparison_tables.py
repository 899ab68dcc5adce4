"""Columns and names that the sections on comparisons share."""

import itertools
import re
from collections.abc import Iterable, Sequence

from study.report.document import CellValue, Column, Kind
from study.report.measures.intervals import Estimate
from study.report.observations import StudyInfo


def interval_columns(
    name: str, heading: str, meaning: str, kind: Kind = "number", unit: str = ""
) -> tuple[Column, ...]:
    """A column of estimates, with those of its ends, which people read beside it."""
    low, high = f"{name}_low", f"{name}_high"
    return (
        Column(name, heading, meaning, kind, unit, low, high),
        Column(
            low,
            f"{heading}, lower",
            f"Lower end of the interval of {name}; empty without one.",
            kind,
            unit,
            shown=False,
        ),
        Column(
            high,
            f"{heading}, upper",
            f"Upper end of the interval of {name}; empty without one.",
            kind,
            unit,
            shown=False,
        ),
    )


def interval_cells(estimate: Estimate) -> tuple[CellValue, ...]:
    """The cells of :func:`interval_columns`."""
    return estimate.value, estimate.low, estimate.high


def name_columns() -> tuple[Column, ...]:
    """Workload and optimizer, as keys and as people call them."""
    return (
        Column("workload", "workload", "Name of the workload in the spec.", "text"),
        Column("optimizer", "optimizer key", "Name of the optimizer in the spec.", "text", shown=False),
        Column(
            "title", "optimizer", "What people call the optimizer, with the options that make it a variant.", "text"
        ),
    )


def label_objective(info: StudyInfo) -> str:
    """The objective with its unit."""
    return f"{info.objective} ({info.unit})" if info.unit else info.objective


def name_files(kind: str, workloads: Sequence[str]) -> list[str]:
    """File names for what is shown of each workload: all different, and of plain characters."""
    names: list[str] = []
    for workload in workloads:
        plain = f"{kind}-{re.sub(r'[^a-z0-9]+', '-', workload.lower()).strip('-') or 'workload'}"
        tried = (plain if copy == 1 else f"{plain}-{copy}" for copy in itertools.count(1))
        names.append(next(name for name in tried if name not in names))
    return names


def list_optimizers(info: StudyInfo) -> tuple[str, ...]:
    """Names of the optimizers, in the spec's order, which fixes their colours."""
    return tuple(dict.fromkeys(cell.optimizer for cell in info.cells))


def list_once(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order of their first appearance."""
    return tuple(dict.fromkeys(names))
