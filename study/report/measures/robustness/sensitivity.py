"""Measures, sensitivity per axis: learning-rate sensitivity, width of the robust window, slope at the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.axis import Value
from study.report.measures.intervals import Estimate
from study.report.measures.missing import Missing
from study.report.measures.robustness.choices import ChoiceSensitivity, measure_choices
from study.report.measures.robustness.learning_rate import LR_NAMES, LrSensitivity, measure_lr
from study.report.measures.robustness.profiles import (
    AxisCurves,
    axis_decades,
    axis_extent,
    find_anchor,
    leads_others,
    point_curves,
    surrogate_curves,
)
from study.report.measures.robustness.seeds import scaled
from study.report.measures.robustness.windows import Slopes, Window, WindowMeasure, native_value
from study.report.measures.robustness.yardstick import Yardstick, measure_yardstick, why_no_sample
from study.report.measures.surrogate import Surrogate
from study.report.observations import AxisInfo, Cell, Observations, StudyInfo

#: Step of slopes: decades on logarithmic axes, and the largest share of the range.
STEP_DECADES, STEP_SHARE = 0.25, 0.1
_DESIGN_WITH_LEVELS = ("grid", "one_at_a_time")

Surrogates = Mapping[tuple[str, str], Surrogate | None]


@dataclass(frozen=True, slots=True)
class AxisSensitivity:
    """One range of one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it.
        axis: Name of the axis.
        scale: ``linear``, ``log`` or ``log1m``.
        low: Lowest value of the range.
        high: Highest value.
        unit: Of extents, widths and steps: ``decades``, ``decades of 1 - NAME``, or empty for the axis's own unit.
        extent: Of the whole range; whole numbers reach half a step beyond its ends.
        from_points: Whether the losses are those of trials; else they are a surrogate's.
        r2: Cross-validated R2 of the surrogate; None without one.
        points: Points of the design that were learned from, or levels of the curve.
        at_default: Whether the other axes are held at the default setting; else at the best trial in the space.
        anchor_trial: Number of that trial.
        anchor_value: What it has on this axis; None if the axis is not active there.
        anchor_place: Where that lies in the unit cube.
        default_value: What the default setting has; None if unknown or not a number.
        values: Values of the axis, increasing.
        through: The loss at each, others held; empty if the axis is not active at the anchor.
        tuned: The loss at each, at the best of the others; empty if unknown.
        window: Where ``through`` is at most its own minimum + tolerance * (L0 - minimum); None if nothing beats L0.
        window_study: The same from the lowest minimum of any optimizer on the workload: the common yardstick.
        window_tuned: The same as ``window`` for ``tuned``.
        step: Step of the slopes, in the unit of ``extent``.
        slope: abs(loss one step above - loss one step below) / (2 * step); None if a step leaves the range.
        slope_relative: The same, as a share of the workload's L0 - L*.
        rise_below: Rise of the loss one step below the anchor, per unit, as a share of L0 - L*; below 0 if it falls.
        rise_above: The same one step above.
        lr: Learning-rate sensitivity, of the axes :data:`LR_NAMES`.
    """

    workload: str
    optimizer: str
    title: str
    axis: str
    scale: str
    low: float
    high: float
    unit: str
    extent: float
    from_points: bool
    r2: float | None
    points: int
    at_default: bool
    anchor_trial: int
    anchor_value: float | None
    anchor_place: float | None
    default_value: float | None
    values: tuple[float, ...]
    through: tuple[float, ...]
    tuned: tuple[float, ...]
    window: Window | None
    window_study: Window | None
    window_tuned: Window | None
    step: float
    slope: Estimate | None
    slope_relative: Estimate | None
    rise_below: Estimate | None
    rise_above: Estimate | None
    lr: LrSensitivity | None


@dataclass(frozen=True, slots=True)
class SensitivityTable:
    """All axes of a study, by workload, optimizer, axis, in the spec's order.

    Attributes:
        tolerance: Of the windows.
        yardsticks: Of each workload with a finished trial.
        axes: The ranges.
        choices: The categorical axes.
        missing: What could not be computed.
    """

    tolerance: float
    yardsticks: tuple[Yardstick, ...]
    axes: tuple[AxisSensitivity, ...]
    choices: tuple[ChoiceSensitivity, ...]
    missing: tuple[Missing, ...]

    def reference_on(self, workload: str) -> float:
        """L0 of a workload."""
        return next(yardstick.reference for yardstick in self.yardsticks if yardstick.workload == workload)


def measure_sensitivity(
    observations: Observations, surrogates: Surrogates, *, tolerance: float = 0.05
) -> SensitivityTable:
    """The sensitivity to every axis of every optimizer.

    Args:
        observations: The study.
        surrogates: Of each (workload, optimizer); None where there are too few points.
        tolerance: Of the windows, in (0, 1).
    """
    axes: list[AxisSensitivity] = []
    choices: list[ChoiceSensitivity] = []
    missing: list[Missing] = []
    yardsticks = tuple(measure_yardstick(observations, w) for w in observations.workloads if observations.on(w))
    for yardstick in yardsticks:
        cells = observations.on(yardstick.workload)
        subjects = [_study(cell, observations.info, surrogates, missing) for cell in cells]
        floors = _floors(subjects)
        for subject in subjects:
            axes += [_measure_axis(subject, column, yardstick, floors, tolerance) for column in subject.curves]
            choices += measure_choices(subject.cell, observations.info, yardstick)
    return SensitivityTable(tolerance, yardsticks, tuple(axes), tuple(choices), tuple(missing))


@dataclass(frozen=True, eq=False)
class _Subject:
    """One cell with the curves of its ranges."""

    cell: Cell
    info: StudyInfo
    surrogate: Surrogate | None
    anchor: int
    curves: dict[int, AxisCurves]


def _study(cell: Cell, info: StudyInfo, surrogates: Surrogates, missing: list[Missing]) -> _Subject:
    surrogate = surrogates.get((cell.workload, cell.optimizer)) if why_no_sample(info) is None else None
    ranges = [column for column, axis in enumerate(cell.axes) if not axis.spec.is_categorical]
    anchor = find_anchor(cell)
    if anchor is None:
        reason = "No finished trial lies in the search space."
        missing += [_lacking(cell, column, reason) for column in ranges]
        return _Subject(cell, info, surrogate, 0, {})
    if info.design_kind == "one_at_a_time" and cell.is_default_N.any():
        anchor = int(np.flatnonzero(cell.is_default_N)[0])
    free = [column for column in ranges if not leads_others(cell, column)]
    missing += [
        _lacking(cell, column, "Other axes vary or not by its value, so that it cannot be moved alone.")
        for column in ranges
        if column not in free
    ]
    curves = _curves(cell, info, surrogate, free, anchor)
    missing += [_lacking(cell, column, _why_no_curve(info)) for column in free if column not in curves]
    return _Subject(cell, info, surrogate, anchor, {column: curves[column] for column in free if column in curves})


def _lacking(cell: Cell, column: int, reason: str) -> Missing:
    return Missing(f"sensitivity of {cell.optimizer} to {cell.axes[column].name} on {cell.workload}", reason)


def _why_no_curve(info: StudyInfo) -> str:
    if info.design_kind in _DESIGN_WITH_LEVELS:
        return "There are fewer than three levels, or a trial of them has no result; finish them, or take more levels."
    return why_no_sample(info) or (
        "There are too few finished points for a surrogate, or all are alike; take more points, or a grid."
    )


def _curves(
    cell: Cell, info: StudyInfo, surrogate: Surrogate | None, columns: Sequence[int], anchor: int
) -> dict[int, AxisCurves]:
    """Of points where the design has levels, or nothing else varies; else of the surrogate."""
    found: dict[int, AxisCurves] = {}
    anchor_D = cell.unit_ND[anchor]
    levels = info.design_kind in _DESIGN_WITH_LEVELS
    if levels or (len(cell.axes) == 1 and surrogate is None and why_no_sample(info) is None):
        made = [(c, point_curves(cell, c, anchor_D, all_levels=info.design_kind == "grid")) for c in columns]
        found = {column: curves for column, curves in made if curves is not None}
    left = [column for column in columns if column not in found]
    if surrogate is not None and left:
        chance = info.workload(cell.workload).chance
        found |= surrogate_curves(cell, surrogate, left, anchor_D, math.inf if chance is None else chance)
    return found


def _floors(subjects: Sequence[_Subject]) -> dict[tuple[str, int], float]:
    """Lowest loss of each curve through an anchor, by optimizer and axis."""
    return {
        (subject.cell.optimizer, column): float(curves.through.value_M.min())
        for subject in subjects
        for column, curves in subject.curves.items()
        if curves.through is not None
    }


def _measure_axis(
    subject: _Subject, column: int, yardstick: Yardstick, floors: dict[tuple[str, int], float], tolerance: float
) -> AxisSensitivity:
    cell, curves = subject.cell, subject.curves[column]
    axis, spec = cell.axes[column], cell.axes[column].spec
    extent = axis_decades(spec) or axis_extent(spec)
    floor = min((v for key, v in floors.items() if key != (cell.optimizer, column)), default=math.inf)
    place = float(cell.unit_ND[subject.anchor, column])
    measure = WindowMeasure(spec, extent, yardstick.reference, tolerance)
    step = min(STEP_DECADES / extent if axis_decades(spec) else STEP_SHARE / 2, STEP_SHARE)
    is_random = subject.info.is_random and why_no_sample(subject.info) is None
    slopes = Slopes(curves.through, place, step, extent)
    return AxisSensitivity(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        axis=axis.name,
        scale=spec.scale,
        low=spec.ends[0],
        high=spec.ends[1],
        unit=_unit(axis),
        extent=extent,
        from_points=curves.from_points,
        r2=None if curves.from_points or subject.surrogate is None else float(subject.surrogate.r2),
        points=len(curves.place_M) if curves.from_points else int(cell.design_N.sum()),
        at_default=bool(cell.is_default_N[subject.anchor]),
        anchor_trial=int(cell.number_N[subject.anchor]),
        anchor_value=_number(cell.values[subject.anchor].get(axis.name)) if math.isfinite(place) else None,
        anchor_place=place if math.isfinite(place) else None,
        default_value=_number(axis.default),
        values=tuple(native_value(spec, u) for u in curves.place_M.tolist()),
        through=() if curves.through is None else tuple(curves.through.value_M.tolist()),
        tuned=() if curves.tuned is None else tuple(curves.tuned.value_M.tolist()),
        window=measure(curves.through, math.inf),
        window_study=measure(curves.through, floor),
        window_tuned=measure(curves.tuned, math.inf),
        step=step * extent,
        slope=slopes.central(),
        slope_relative=scaled(slopes.central(), yardstick.span),
        rise_below=scaled(slopes.side(-1), yardstick.span),
        rise_above=scaled(slopes.side(1), yardstick.span),
        lr=measure_lr(cell, column, curves, yardstick.reference, is_random=is_random)
        if axis.name in LR_NAMES
        else None,
    )


def _unit(axis: AxisInfo) -> str:
    return {"log": "decades", "log1m": f"decades of 1 - {axis.name}"}.get(axis.spec.scale, "")


def _number(value: Value | None) -> float | None:
    return None if value is None or isinstance(value, str | bool) else float(value)
