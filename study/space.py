"""The search space: between the unit cube, the values that users write, and Optuna's distributions."""

import math

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from study.spec import AxisSpec


def to_value(axis: AxisSpec, unit: float) -> float:
    """The value at ``unit`` in [0, 1], uniform on the axis's scale, increasing; whole numbers have equal shares."""
    low, high = _scaled_ends(axis)
    value = _unscaled(axis, low + unit * (high - low))
    if axis.integer:
        value = float(round(value))
    # Rounding in exp and log may leave the range by one unit in the last place.
    return min(max(value, axis.low), axis.high)


def to_unit(axis: AxisSpec, value: float) -> float | None:
    """Where ``value`` lies on the axis: outside [0, 1] if out of range, None if the scale has no place for it."""
    if (axis.scale == "log" and value <= 0) or (axis.scale == "log1m" and value >= 1):
        return None
    low, high = _scaled_ends(axis)
    return (axis.scaled(value) - low) / (high - low)


def to_distribution(axis: AxisSpec) -> BaseDistribution:
    """What Optuna is told. It has no scale for 1 - x: such an axis is linear there, its values are the same."""
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.scale == "log")
    return FloatDistribution(axis.low, axis.high, log=axis.scale == "log")


def _scaled_ends(axis: AxisSpec) -> tuple[float, float]:
    """The ends on the axis's scale; whole numbers reach half a step beyond theirs, as in Optuna."""
    if axis.integer and axis.scale != "log1m":
        return axis.scaled(axis.low - 0.5), axis.scaled(axis.high + 0.5)
    return axis.scaled(axis.low), axis.scaled(axis.high)


def _unscaled(axis: AxisSpec, scaled: float) -> float:
    if axis.scale == "log":
        return math.exp(scaled)
    if axis.scale == "log1m":
        return 1.0 - math.exp(-scaled)
    return scaled
