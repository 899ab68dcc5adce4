"""What is known of a landscape, as the API says it: round numbers, which are half as long."""

from dataclasses import dataclass

from dashboards.api.landscape_models import Landscape, LandscapeCell, LandscapeGrid, LandscapePoints, Metric, Share
from dashboards.api.models import Axis, Value
from dashboards.known_studies import KnownSpec
from dashboards.report_store import KnownReport
from dashboards.study_parts import to_axis
from study.axis import AxisSpec
from study.live_landscape import LiveCell, Yardstick, find_scale
from study.report_grid import ReportGrid, find_grid
from study.search_space import OptimizerSpec

#: Digits of numbers, and of those of grids, of which there are most.
_DIGITS, _GRID_DIGITS = 5, 4


@dataclass(frozen=True, slots=True)
class LandscapeQuestion:
    """What a landscape was asked for.

    Attributes:
        workload: Name of the workload.
        x: Name of the axis across.
        y: Name of the axis up; None for one axis.
        metric: What points show.
        tolerance: eps: a trial is good if its objective is at most L* + eps * (L0 - L*).
        optimizers: Names of the optimizers, in the study's order.
    """

    workload: str
    x: str
    y: str | None
    metric: Metric
    tolerance: float
    optimizers: tuple[str, ...]


def tell_landscape(
    known: KnownSpec,
    report: KnownReport | None,
    question: LandscapeQuestion,
    yardstick: Yardstick,
    cells: dict[str, LiveCell],
) -> Landscape:
    """The answer.

    Args:
        known: The study.
        report: Its report, if it has one.
        question: What was asked.
        yardstick: Of the workload.
        cells: What was found of each optimizer that was asked for.
    """
    scale = find_scale(question.metric, [cell.points.value for cell in cells.values()])
    return Landscape(
        workload=question.workload,
        metric=question.metric,
        x=question.x,
        y=question.y,
        tolerance=question.tolerance,
        objective=known.spec.objective,
        best=yardstick.best,
        reference=yardstick.reference,
        reference_source=yardstick.source,
        low=scale.low,
        high=scale.high,
        is_log=scale.is_log,
        cells=[_tell_cell(known.spec.optimizer(name), cell, report, question) for name, cell in cells.items()],
        report_written_at=report.written_at if report else None,
    )


def _tell_cell(
    optimizer: OptimizerSpec, cell: LiveCell, report: KnownReport | None, question: LandscapeQuestion
) -> LandscapeCell:
    grid = None if report is None else _find_grid(report, optimizer.name, question)
    good = cell.good
    return LandscapeCell(
        optimizer=optimizer.name,
        title=optimizer.title,
        x=_tell_axis(optimizer, question.x),
        y=None if question.y is None else _tell_axis(optimizer, question.y),
        trials=cell.trials,
        points=LandscapePoints(
            trial=cell.points.trial,
            origin=cell.points.origin,
            x=[_round_value(value, optimizer.axes[question.x]) for value in cell.points.x],
            y=[_round_value(value, optimizer.axes[question.y or ""]) for value in cell.points.y],
            value=[_round(value) for value in cell.points.value],
            sd=[_round(value) for value in cell.points.sd],
            seeds=cell.points.seeds,
            diverged=cell.points.diverged,
            good=cell.points.good,
        ),
        thinned=0 < len(cell.points.trial) < cell.trials,
        default=cell.default,
        best=cell.best,
        good=None if good is None else Share(count=good.count, of=good.total, low=good.low, high=good.high),
        why_not=cell.why_not,
        grid=None if grid is None else _tell_grid(optimizer, grid, question),
    )


def _tell_axis(optimizer: OptimizerSpec, name: str) -> Axis | None:
    axis = optimizer.axes.get(name)
    if axis is None:
        return None
    return to_axis(name, axis, conditional=name in optimizer.conditional_axes)


def _find_grid(report: KnownReport, optimizer: str, question: LandscapeQuestion) -> ReportGrid | None:
    own = (
        landscape
        for landscape in report.report.analysis.landscapes
        if (landscape.workload, landscape.optimizer) == (question.workload, optimizer)
    )
    landscape = next(own, None)
    return None if landscape is None else find_grid(landscape, question.x, question.y)


def _tell_grid(optimizer: OptimizerSpec, grid: ReportGrid, question: LandscapeQuestion) -> LandscapeGrid:
    y_axis = optimizer.axes[question.y] if question.y else None
    return LandscapeGrid(
        x_edges=list(grid.x_edges),
        y_edges=list(grid.y_edges),
        x_values=[_round_value(value, optimizer.axes[question.x]) for value in grid.x_values],
        y_values=[_round_value(value, y_axis) for value in grid.y_values] if y_axis else [],
        **{
            name: None if rows is None else [[_round(value, _GRID_DIGITS) for value in row] for row in rows]
            for name, rows in (
                ("mean", grid.mean),
                ("error", grid.error),
                ("diverged", grid.diverged),
                ("spread", grid.spread),
            )
        },
        r2=grid.r2,
        averaged=list(grid.averaged),
    )


def _round(value: float | None, digits: int = _DIGITS) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def _round_value(value: Value | None, axis: AxisSpec) -> Value | None:
    """A setting with as many digits as its scale shows: those of 1 - x where x is near 1."""
    if value is None or isinstance(value, bool | str):
        return value
    if axis.integer:
        return value
    if axis.scale == "log1m":
        return 1.0 - float(f"{1.0 - value:.{_DIGITS}g}")
    return float(f"{value:.{_DIGITS}g}")
