"""Measures whether each range was wide enough: where the best points lie, and how far from the edges."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adai import get_rule, list_optimizers
from study.axis import AxisSpec, format_value
from study.report.measures.audit.budget_losses import BudgetLosses, measure_budget_losses
from study.report.measures.audit.coverage import Coverage, largest_gap, measure_coverage, random_gap
from study.report.measures.audit.gaps import Gaps
from study.report.measures.audit.inclusion import Inclusions, measure_inclusions
from study.report.measures.intervals import Share, measure_share
from study.report.measures.missing import Missing
from study.report.observations import AxisInfo, Bools, Cell, Floats, Observations
from study.space import to_value
from study.training import TRAINING_AXES

AxisKind = Literal["range", "whole numbers", "choices"]
Side = Literal["low", "high", ""]
#: A best point in this outermost share of an axis is a boundary hit.
HIT = 0.05
#: What counts as near an edge where the places of several good points are counted.
OUTER = 0.1
#: Share of the points that are the best ones, and their least number.
TOP = 0.1
TOP_LEAST = 5
#: Parts of an axis in which points are counted.
PARTS = 20
#: Places come from logarithms, and means from sums.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Edge:
    """One end of a range.

    Attributes:
        value: The value there, as people write it.
        best: How many of the best points lie in the outermost :data:`OUTER` at this end, or have the value itself.
        expected: The share of all points there: what chance gives.
        is_limit: Whether there are no valid values beyond, as below 0 for a decay.
        beyond: Whether the optimum may lie beyond: the interval of ``best`` is above ``expected``, or the best point is
            a boundary hit here and every point near this end is among the best; never at a limit.
    """

    value: str
    best: Share
    expected: float
    is_limit: bool
    beyond: bool


@dataclass(frozen=True, slots=True)
class AxisAudit:
    """One axis of one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        axis: Name of the axis.
        kind: What it takes.
        points: Finished points of the design that vary on it.
        best_trial: The best of them; the lowest number among equals.
        best_value: Its value, as people write it.
        best_place: Its place in [0, 1].
        equals: Other points with the same mean.
        nearest: The nearer end; empty for choices, which have none.
        distance: From there, in the unit cube; None for choices.
        distance_native: The same in ``native_unit``.
        native_unit: ``decades`` (of x, or of 1 - x), or ``units`` of the axis itself.
        hit: Whether all best points lie in the outermost :data:`HIT` of the same end, or have its value on an axis of
            whole numbers.
        low: The lower end; None for choices, for too few points, and if points do not stand for the space.
        high: The upper end.
        top_places: Places of the best points, best first, no more than :data:`PARTS` times :data:`TOP_LEAST`.
        counts: Points in each of :data:`PARTS` equal parts of the axis.
        gap: Length of the longest part of [0, 1] without a point; of choices, the share that no point has.
        gap_random: What is expected of as many independent points; None for whole numbers and choices.
    """

    workload: str
    optimizer: str
    axis: str
    kind: AxisKind
    points: int
    best_trial: int
    best_value: str
    best_place: float
    equals: int
    nearest: Side
    distance: float | None
    distance_native: float | None
    native_unit: str
    hit: bool
    low: Edge | None
    high: Edge | None
    top_places: tuple[float, ...]
    counts: tuple[int, ...]
    gap: float
    gap_random: float | None


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of all search spaces of a study.

    Attributes:
        axes: By cell, then axis.
        coverage: By cell.
        losses: What divergence cost, by cell.
        inclusions: Whether no optimizer lost to a special case of itself.
        missing: What could not be computed, but for that of ``inclusions``.
    """

    axes: tuple[AxisAudit, ...]
    coverage: tuple[Coverage, ...]
    losses: tuple[BudgetLosses, ...]
    inclusions: Inclusions
    missing: tuple[Missing, ...]


def measure_audit(observations: Observations, tolerance: float = 0.05) -> Audit:
    """Audit the search spaces of a study.

    Args:
        observations: The study.
        tolerance: What the inclusion checks count as no worse, as a share of what can be gained on the workload.
    """
    axes: list[AxisAudit] = []
    gaps = Gaps()
    for cell in observations.cells:
        reason = _why_no_best(observations, cell)
        if reason:
            gaps.add("place of the best point", cell, reason)
        else:
            axes += _audit_cell(observations, cell, gaps)
    coverage = measure_coverage(observations, gaps)
    losses = measure_budget_losses(observations, gaps)
    inclusions = measure_inclusions(observations, tolerance)
    return Audit(tuple(axes), coverage, losses, inclusions, gaps.missing())


def _why_no_best(observations: Observations, cell: Cell) -> str:
    """Why the place of the best point would mean nothing; empty if it does."""
    mean_M = cell.mean_N[cell.design_N]
    chance = observations.info.workload(cell.workload).chance
    if not len(mean_M):
        return "No point of the design has finished; finish the study."
    if not cell.axes:
        return "No axis varies."
    if chance is not None and mean_M.min() >= chance * (1 - _ROUNDING):
        return "No point learned anything, so no point is best; widen the search space, or train for longer."
    if len(mean_M) > 1 and np.ptp(mean_M) == 0:
        return "All points are equally good, so no point is best."
    return ""


def _audit_cell(observations: Observations, cell: Cell, gaps: Gaps) -> list[AxisAudit]:
    audits = []
    for column, axis in enumerate(cell.axes):
        active_N = cell.design_N & np.isfinite(cell.unit_ND[:, column])
        if not active_N.any():
            gaps.add(f"place of the best point on {axis.name}", cell, "No finished point varies on it.")
            continue
        audits.append(_audit_axis(observations, cell, axis, column, active_N))
        if not observations.info.is_sample:
            reason = (
                "Points were chosen by results, or are what pruning left, so their shares near an edge say nothing "
                "about the search space; take a sobol, halton, latin_hypercube or random design without pruning."
            )
            gaps.add(f"best points near the edges of {axis.name}", cell, reason)
        elif not axis.spec.is_categorical and active_N.sum() < 2 * TOP_LEAST:
            reason = f"They need at least {2 * TOP_LEAST} finished points that vary on it; add points to the design."
            gaps.add(f"best points near the edges of {axis.name}", cell, reason)
    return audits


def _audit_axis(observations: Observations, cell: Cell, axis: AxisInfo, column: int, active_N: Bools) -> AxisAudit:
    indices = np.flatnonzero(active_N)
    place_M, mean_M = cell.unit_ND[indices, column], cell.mean_N[indices]
    best_M = mean_M == mean_M.min()
    best = int(np.argmin(mean_M))
    top_M = _best_points(mean_M)
    spec = axis.spec
    side, distance = _nearest_edge(float(place_M[best]), spec)
    hits = {end for end in ("low", "high") if _is_near(place_M[best_M], spec, end, HIT).all()}
    edges: dict[str, Edge] = {}
    if not spec.is_categorical and len(place_M) >= 2 * TOP_LEAST and observations.info.is_sample:
        for end in ("low", "high"):
            is_limit = _is_limit(observations, cell, axis, end)
            edges[end] = _audit_edge(place_M, top_M, spec, end, hit=end in hits, is_limit=is_limit)
    order = np.argsort(mean_M, kind="stable")
    return AxisAudit(
        workload=cell.workload,
        optimizer=cell.optimizer,
        axis=axis.name,
        kind="choices" if spec.is_categorical else "whole numbers" if spec.integer else "range",
        points=len(place_M),
        best_trial=int(cell.number_N[indices[best]]),
        best_value=format_value(cell.values[indices[best]].get(axis.name, to_value(spec, float(place_M[best])))),
        best_place=float(place_M[best]),
        equals=int(best_M.sum()) - 1,
        nearest=side,
        distance=distance,
        distance_native=None if spec.is_categorical else _native_distance(float(place_M[best]), spec, side),
        native_unit="" if spec.is_categorical else "units" if spec.scale == "linear" else "decades",
        hit=bool(hits),
        low=edges.get("low"),
        high=edges.get("high"),
        top_places=tuple(float(place_M[i]) for i in order if top_M[i])[: PARTS * TOP_LEAST],
        counts=tuple(int(count) for count in np.histogram(place_M, PARTS, (0.0, 1.0))[0]),
        gap=largest_gap(place_M, spec),
        gap_random=None if spec.is_categorical or spec.integer else random_gap(len(place_M)),
    )


def _best_points(mean_M: Floats) -> Bools:
    """The best :data:`TOP` of the points, at least :data:`TOP_LEAST`, and all that are as good as the last of them."""
    count = min(max(TOP_LEAST, math.ceil(TOP * len(mean_M))), len(mean_M))
    return np.asarray(mean_M <= np.partition(mean_M, count - 1)[count - 1])


def _nearest_edge(place: float, spec: AxisSpec) -> tuple[Side, float | None]:
    if spec.is_categorical:
        return "", None
    return ("low", place) if place <= 0.5 else ("high", 1.0 - place)


def _native_distance(place: float, spec: AxisSpec, side: Side) -> float:
    """From the end of the range to the value, in decades of x or 1 - x, or on a linear scale in its own units."""
    value = float(to_value(spec, place))
    edge = spec.ends[0] if side == "low" else spec.ends[1]
    length = abs(spec.scaled(value) - spec.scaled(edge))
    return length if spec.scale == "linear" else length / math.log(10.0)


def _is_near(place_M: Floats, spec: AxisSpec, end: str, reach: float) -> Bools:
    """Which places lie in the outermost ``reach`` of one end; whole numbers also if they are the last at this end."""
    if spec.is_categorical:
        return np.zeros(len(place_M), dtype=bool)
    from_end_M = place_M if end == "low" else 1.0 - place_M
    near_M = from_end_M <= reach + _ROUNDING
    if spec.integer:
        edge = spec.ends[0] if end == "low" else spec.ends[1]
        near_M = near_M | np.array([to_value(spec, place) == edge for place in np.clip(place_M, 0, 1).tolist()])
    return np.asarray(near_M)


def _audit_edge(place_M: Floats, top_M: Bools, spec: AxisSpec, end: str, *, hit: bool, is_limit: bool) -> Edge:
    near_M = _is_near(place_M, spec, end, OUTER)
    best = measure_share(int((near_M & top_M).sum()), int(top_M.sum()))
    expected = float(near_M.mean())
    # Two points near an edge cannot be many of five: with few points, that both are among the best has to do.
    beyond = best.low > expected or (hit and bool(top_M[near_M].all()) and not top_M.all())
    value = format_value(spec.ends[0] if end == "low" else spec.ends[1])
    return Edge(value, best, expected, is_limit, beyond and not is_limit)


def _is_limit(observations: Observations, cell: Cell, axis: AxisInfo, end: str) -> bool:
    """Whether valid values end here too, as far as this program knows the optimizer."""
    edge = axis.spec.ends[0] if end == "low" else axis.spec.ends[1]
    if observations.info.source != "service":
        return False
    if axis.name in TRAINING_AXES:
        return edge == TRAINING_AXES[axis.name][0 if end == "low" else 1]
    if cell.optimizer not in list_optimizers():
        return False
    found = [known for known in get_rule(cell.optimizer).hyperparameters if known.name == axis.name]
    return any(edge == (known.minimum if end == "low" else known.maximum) for known in found)
