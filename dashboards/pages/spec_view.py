"""A study's spec and environment as rows of tables, for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.api.models import Axis, StudyDetail
from study.axis import format_value

#: Parts of a spec that have tables of their own.
_TOLD_ELSEWHERE = frozenset({"name", "description", "optimizers"})


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """One axis of one optimizer, or what is fixed.

    Attributes:
        optimizer: Title of the optimizer.
        name: Of the hyperparameter.
        values: Its range or choices, or its fixed value.
        scale: How it is searched; ``fixed`` where it is not.
    """

    optimizer: str
    name: str
    values: str
    scale: str


def list_space(study: StudyDetail) -> list[SpaceRow]:
    """What varies and what is fixed, by optimizer."""
    fixed = {own["name"]: own.get("fixed") or {} for own in study.spec.get("optimizers", [])}
    rows = []
    for optimizer in study.optimizers:
        rows += [SpaceRow(optimizer.title, axis.name, _values(axis), _scale(axis)) for axis in optimizer.axes]
        own = fixed.get(optimizer.name, {})
        rows += [SpaceRow(optimizer.title, name, format_value(value), "fixed") for name, value in own.items()]
    return rows


def _values(axis: Axis) -> str:
    if axis.choices:
        return ", ".join(map(format_value, axis.choices))
    return "" if axis.low is None or axis.high is None else f"{format_value(axis.low)} to {format_value(axis.high)}"


def _scale(axis: Axis) -> str:
    words = {"log1m": "log of 1 \N{MINUS SIGN} value"}.get(axis.scale, axis.scale)
    return ", ".join(
        [words, *(["whole numbers"] if axis.integer else []), *(["conditional"] if axis.conditional else [])]
    )


def list_settings(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything else that a spec says: dotted name and value, without what is empty."""
    own = {name: value for name, value in spec.items() if name not in _TOLD_ELSEWHERE}
    return [(name, value) for name, value in _flatten(own) if value]


def list_environment(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a study was made with: dotted name and value."""
    return list(_flatten(environment))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _write(value)


def _write(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(_write, value))
    return format_value(value) if isinstance(value, bool | int | float) else str(value)
