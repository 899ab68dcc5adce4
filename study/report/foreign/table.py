"""The table of runs of Optuna studies, with the columns that the tables of this service's own studies have."""

from collections.abc import Iterable, Sequence

import polars as pl

from study.axis import Value, format_value
from study.report.export import RUN_TYPES, TRIAL_TYPES
from study.report.foreign.outcomes import find_seconds
from study.report.foreign.parts import Part, PlacedRun

_VALUE_TYPES: dict[type, type[pl.DataType]] = {float: pl.Float64, bool: pl.Boolean, str: pl.String}
#: Columns whose names no parameter can have.
TAKEN = (*TRIAL_TYPES, *RUN_TYPES)


def make_table(parts: Sequence[Part], chance: float | None) -> pl.DataFrame:
    """One row per run, by cell, trial, then seed; parameters that an optimizer lacks are null.

    Args:
        parts: The cells, in the report's order.
        chance: Objective of a run that learned nothing; None if unknown.
    """
    types = _value_types(parts)
    units = list(dict.fromkeys(axis for part in parts for axis in part.space.axes))
    schema = TRIAL_TYPES | types | dict.fromkeys((f"unit_{axis}" for axis in units), pl.Float64) | RUN_TYPES
    rows = [(part, placed) for part in parts for placed in part.runs]
    columns = {
        "study": [part.study.name for part, _ in rows],
        "workload": [part.workload for part, _ in rows],
        "optimizer": [part.optimizer for part, _ in rows],
        "trial": [placed.run.setting for _, placed in rows],
        "origin": ["default" if placed.run.setting == part.default else "design" for part, placed in rows],
        **{name: _to_column(name, type_, (placed for _, placed in rows)) for name, type_ in types.items()},
        **{f"unit_{axis}": [placed.places.get(axis) for _, placed in rows] for axis in units},
        "seed": [placed.run.seed for _, placed in rows],
        "termination": [placed.outcome.termination for _, placed in rows],
        "reason": [placed.outcome.reason for _, placed in rows],
        "objective": [placed.outcome.objective for _, placed in rows],
        "at_chance": [_is_at_chance(placed.outcome.objective, chance) for _, placed in rows],
        "seconds": [find_seconds(placed.run.trial) for _, placed in rows],
    }
    unknown = dict.fromkeys(set(schema) - set(columns), [None] * len(rows))
    return pl.DataFrame(columns | unknown, schema=schema)


def _value_types(parts: Iterable[Part]) -> dict[str, type[pl.DataType]]:
    """All parameters, axes first, and what their columns hold: texts if studies do not agree."""
    axes = {axis: None for part in parts for axis in part.space.axes}
    kinds: dict[str, set[type]] = {axis: set() for axis in axes}
    for part in parts:
        for parameter in part.space.parameters.values():
            kinds.setdefault(parameter.column, set()).add(parameter.kind)
    return {name: _VALUE_TYPES[found.pop()] if len(found) == 1 else pl.String for name, found in kinds.items()}


def _to_column(name: str, type_: type[pl.DataType], runs: Iterable[PlacedRun]) -> list[Value | None]:
    values = [placed.values.get(name) for placed in runs]
    if type_ is not pl.String:
        return values
    return [None if value is None else format_value(value) for value in values]


def _is_at_chance(objective: float | None, chance: float | None) -> bool | None:
    return None if objective is None or chance is None else objective >= chance
