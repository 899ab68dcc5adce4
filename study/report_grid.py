"""The maps of a report over any two of its axes, or one, in the order in which they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from study.axis import AxisSpec, Value
from study.report.measures.landscape.records import CellLandscape, Grid, LandscapeCurve, LandscapeMap, Line
from study.space import to_value


@dataclass(frozen=True, slots=True)
class ReportGrid:
    """A surrogate over two axes, or one: rows bottom first, or a single row; None where there are no data.

    Attributes:
        x_edges: Edges of the cells in [0, 1].
        y_edges: The same; empty with one axis.
        x_values: The value in the middle of each cell.
        y_values: The same; empty with one axis.
        mean: Surrogate of the objective, averaged over the other axes; None without one.
        error: Its own standard deviation; None with one axis, where the report has an interval instead.
        diverged: Share of runs that diverged, near by.
        spread: Pooled standard deviation over seeds, near by.
        r2: Cross-validated, of the surrogate.
        averaged: The other axes.
    """

    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]
    x_values: tuple[Value, ...]
    y_values: tuple[Value, ...]
    mean: Grid | None
    error: Grid | None
    diverged: Grid | None
    spread: Grid | None
    r2: float | None
    averaged: tuple[str, ...]


def find_grid(landscape: CellLandscape, x: str, y: str | None) -> ReportGrid | None:
    """The map over ``x`` and ``y``, or along ``x``; None if the optimizer lacks an axis or has too few points.

    Args:
        landscape: Of one optimizer on one workload.
        x: Name of the first axis.
        y: Name of the second, another one; None for one axis.
    """
    names = [axis.name for axis in landscape.axes]
    if x not in names or (y is not None and y not in names):
        return None
    if y is None:
        curve = next(curve for curve in landscape.curves if names[curve.axis] == x)
        return None if curve.known is None else _from_curve(landscape, curve)
    map_ = next(map_ for map_ in landscape.maps if {names[map_.x], names[map_.y]} == {x, y})
    return None if map_.known is None else _from_map(landscape, map_, is_turned=names[map_.x] != x)


def _from_curve(landscape: CellLandscape, curve: LandscapeCurve) -> ReportGrid:
    return ReportGrid(
        x_edges=curve.edges,
        y_edges=(),
        x_values=_values(landscape.axes[curve.axis].spec, curve.places),
        y_values=(),
        mean=_row(curve.mean),
        error=None,
        diverged=_row(curve.diverged),
        spread=_row(curve.spread),
        r2=landscape.r2,
        averaged=tuple(axis.name for place, axis in enumerate(landscape.axes) if place != curve.axis),
    )


def _from_map(landscape: CellLandscape, map_: LandscapeMap, *, is_turned: bool) -> ReportGrid:
    x_values = _values(landscape.axes[map_.x].spec, map_.x_places)
    y_values = _values(landscape.axes[map_.y].spec, map_.y_places)

    def turn(grid: Grid | None) -> Grid | None:
        return grid if grid is None or not is_turned else tuple(zip(*grid, strict=True))

    return ReportGrid(
        x_edges=map_.y_edges if is_turned else map_.x_edges,
        y_edges=map_.x_edges if is_turned else map_.y_edges,
        x_values=y_values if is_turned else x_values,
        y_values=x_values if is_turned else y_values,
        mean=turn(map_.mean),
        error=turn(map_.error),
        diverged=turn(map_.diverged),
        spread=turn(map_.spread),
        r2=landscape.r2,
        averaged=map_.averaged,
    )


def _row(line: Line | None) -> Grid | None:
    return None if line is None else (line,)


def _values(spec: AxisSpec, places: Sequence[float]) -> tuple[Value, ...]:
    return tuple(to_value(spec, place) for place in places)
