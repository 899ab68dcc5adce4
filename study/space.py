"""The search space: between the unit cube, the values that users write, and Optuna's distributions."""

import math

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from study.axis import AxisSpec, Value


def to_value(axis: AxisSpec, unit: float) -> Value:
    """The value at ``unit`` in [0, 1]: whole numbers and choices have equal shares.

    Numbers are uniform on the axis's scale, increasing; choices come in the spec's order.
    """
    if axis.is_categorical:
        return axis.choices[min(int(unit * len(axis.choices)), len(axis.choices) - 1)]
    low, high = _scaled_ends(axis)
    value = _unscaled(axis, low + unit * (high - low))
    if axis.integer:
        value = float(round(value))
    # Rounding in exp and log may leave the range by one unit in the last place.
    lowest, highest = axis.ends
    return min(max(value, lowest), highest)


def to_unit(axis: AxisSpec, value: Value) -> float | None:
    """Where ``value`` lies on the axis: outside [0, 1] if out of range, None if the axis has no place for it.

    Choice i of n lies in the middle of its share, at (i + 0.5) / n.
    """
    if axis.is_categorical:
        return (axis.choices.index(value) + 0.5) / len(axis.choices) if axis.contains(value) else None
    if isinstance(value, str) or (axis.scale == "log" and value <= 0) or (axis.scale == "log1m" and value >= 1):
        return None
    low, high = _scaled_ends(axis)
    return (axis.scaled(value) - low) / (high - low)


def to_distribution(axis: AxisSpec) -> BaseDistribution:
    """What Optuna is told. It has no scale for 1 - x: such an axis is linear there, its values are the same."""
    if axis.is_categorical:
        return CategoricalDistribution(axis.choices)
    low, high = axis.ends
    if axis.integer:
        return IntDistribution(int(low), int(high), log=axis.scale == "log")
    return FloatDistribution(low, high, log=axis.scale == "log")


def spread_values(axis: AxisSpec, levels: int) -> list[Value]:
    """``levels`` values from end to end, evenly spread on the axis's scale, each once; or all choices.

    Args:
        axis: A range or choices.
        levels: At least 2.
    """
    if axis.is_categorical:
        return list(axis.choices)
    low, high = axis.ends
    first, last = axis.scaled(low), axis.scaled(high)
    between = [_unscaled(axis, first + (last - first) * level / (levels - 1)) for level in range(1, levels - 1)]
    # With 15 digits: 0.001 between 0.0001 and 0.01, not 0.0010000000000000002.
    values = [low, *(min(max(float(f"{value:.15g}"), low), high) for value in between), high]
    return list(dict.fromkeys(float(round(value)) if axis.integer else value for value in values))


def _scaled_ends(axis: AxisSpec) -> tuple[float, float]:
    """The ends on the axis's scale; whole numbers reach half a step beyond theirs, as in Optuna."""
    low, high = axis.ends
    if axis.integer and axis.scale != "log1m":
        return axis.scaled(low - 0.5), axis.scaled(high + 0.5)
    return axis.scaled(low), axis.scaled(high)


def _unscaled(axis: AxisSpec, scaled: float) -> float:
    if axis.scale == "log":
        return math.exp(scaled)
    if axis.scale == "log1m":
        return 1.0 - math.exp(-scaled)
    return scaled
