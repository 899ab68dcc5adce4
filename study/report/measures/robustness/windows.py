"""Measures, windows and slopes of a curve along one axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.axis import AxisSpec
from study.report.measures.intervals import Estimate
from study.report.measures.robustness.profiles import Curve
from study.report.observations import Floats
from study.space import to_value


@dataclass(frozen=True, slots=True)
class Window:
    """The values of an axis at which the loss is at most a level.

    Attributes:
        width: Of the connected part that contains the lowest loss, in the unit of the extent; 0 if there is none.
        total: Of all parts together.
        low: Lowest value of the connected part; None if there is none.
        high: Highest value.
        low_place: Where ``low`` lies in the unit cube.
        high_place: The same for ``high``.
        open_low: Whether it reaches the low end of what was tried: the width is a lower bound.
        open_high: The same for the high end.
    """

    width: Estimate
    total: Estimate
    low: float | None
    high: float | None
    low_place: float | None
    high_place: float | None
    open_low: bool
    open_high: bool


def below(place_M: Floats, value_M: Floats, level: float) -> list[tuple[float, float]]:
    """The intervals in which the lines between M places, increasing, are at most ``level``."""
    inside_M = value_M <= level
    crossing = np.flatnonzero(inside_M[:-1] != inside_M[1:])
    share = (level - value_M[crossing]) / (value_M[crossing + 1] - value_M[crossing])
    ends = list(place_M[crossing] + share * np.diff(place_M)[crossing])
    if inside_M[0]:
        ends.insert(0, place_M[0])
    if inside_M[-1]:
        ends.append(place_M[-1])
    return [(float(first), float(last)) for first, last in zip(ends[::2], ends[1::2], strict=True)]


def native_value(spec: AxisSpec, place: float) -> float:
    """The number at a place of a range, also between whole numbers."""
    value = to_value(spec.model_copy(update={"integer": False}) if spec.integer else spec, place)
    return float(value)


@dataclass(frozen=True, slots=True)
class WindowMeasure:
    """Measures windows of one axis."""

    spec: AxisSpec
    extent: float
    reference: float
    tolerance: float

    def __call__(self, curve: Curve | None, floor: float) -> Window | None:
        """The window below a level that starts at the lower of ``floor`` and the curve's own minimum."""
        if curve is None or min(floor, float(curve.value_M.min())) >= self.reference:
            return None

        def widths(value_M: Floats) -> tuple[float, float]:
            parts = self._parts(curve, value_M, floor)
            main = _containing(parts, curve.place_M[value_M.argmin()])
            return main[1] - main[0], sum(last - first for first, last in parts)

        width = curve.estimate(lambda v: self.extent * widths(v)[0], lowest=0.0, highest=self.extent)
        total = curve.estimate(lambda v: self.extent * widths(v)[1], lowest=0.0, highest=self.extent)
        parts = self._parts(curve, curve.value_M, floor)
        low, high = _containing(parts, curve.place_M[curve.value_M.argmin()])
        return Window(
            width=width,
            total=total,
            low=native_value(self.spec, low) if parts else None,
            high=native_value(self.spec, high) if parts else None,
            low_place=low if parts else None,
            high_place=high if parts else None,
            open_low=bool(parts and low <= curve.place_M[0]),
            open_high=bool(parts and high >= curve.place_M[-1]),
        )

    def _parts(self, curve: Curve, value_M: Floats, floor: float) -> list[tuple[float, float]]:
        best = min(floor, float(value_M.min()))
        return below(curve.place_M, value_M, best + self.tolerance * (self.reference - best))


def _containing(parts: Sequence[tuple[float, float]], place: float) -> tuple[float, float]:
    """The interval that contains ``place``; an empty one where none does."""
    return next(((first, last) for first, last in parts if first - 1e-12 <= place <= last + 1e-12), (0.0, 0.0))


@dataclass(frozen=True, slots=True)
class Slopes:
    """Differences of a curve around a place, per unit of the axis."""

    curve: Curve | None
    place: float
    step: float
    extent: float

    def central(self) -> Estimate | None:
        """Absolute central difference."""
        return self._estimate((self.place - self.step, self.place + self.step), absolute=True)

    def side(self, sign: int) -> Estimate | None:
        """Rise of the loss from the place to one step above (1) or below (-1)."""
        return self._estimate((self.place, self.place + sign * self.step), absolute=False)

    def _estimate(self, ends: tuple[float, float], *, absolute: bool) -> Estimate | None:
        curve, slack = self.curve, 1e-9
        if curve is None or not math.isfinite(self.place):
            return None
        if min(ends) < curve.place_M[0] - slack or max(ends) > curve.place_M[-1] + slack:
            return None
        run = abs(ends[1] - ends[0]) * self.extent

        def slope(value_M: Floats) -> float:
            first, last = np.interp(ends, curve.place_M, value_M)
            return float(abs(last - first) if absolute else last - first) / run

        return curve.estimate(slope, lowest=0.0 if absolute else -math.inf)
