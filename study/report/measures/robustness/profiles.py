"""Measures, the loss along one axis, through a setting and at the best of the others: from points or a surrogate."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from study.axis import AxisSpec
from study.report.measures.intervals import Estimate, jackknife
from study.report.measures.surrogate import Model, Surrogate
from study.report.observations import Bools, Cell, Floats
from study.space import to_unit

#: Places of a curve of a surrogate, evenly spread over the range, both ends included.
PLACES = 61
#: Fewest levels that make a curve of points.
FEWEST_LEVELS = 3
#: Settings of the other axes that are tried at each place, beside those of the setting itself.
_OTHERS = 48
#: Further ones from a Sobol' sequence where points are few and predictions cheap.
_FURTHER, _FEW = 128, 256
#: Two places that differ by less are the same: they went through exp and log.
_SAME = 1e-9

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Curve:
    """The loss at M places of one axis.

    Attributes:
        place_M: Where, in the unit cube, increasing.
        value_M: The loss.
        replicate_RM: The same without one group of the data each: a seed, or a fold of the surrogate.
        weight_M: Of each place in a mean over the axis: equal for levels that are evenly spread, as in a grid, else
            those of the trapezoidal rule.
    """

    place_M: Floats
    value_M: Floats
    replicate_RM: Floats
    weight_M: Floats

    def estimate(
        self, statistic: Callable[[Floats], float], *, lowest: float = -math.inf, highest: float = math.inf
    ) -> Estimate:
        """A statistic of the losses, which is a finite number, with its jackknife interval."""
        without_group = [statistic(row_M) for row_M in self.replicate_RM]
        return jackknife(statistic(self.value_M), without_group, lowest=lowest, highest=highest)


@dataclass(frozen=True, eq=False)
class AxisCurves:
    """The curves of one axis.

    Attributes:
        place_M: Where, in the unit cube; both have the same places.
        through: The loss along the axis with all others as in the anchor; None if it cannot be known.
        tuned: The loss at the best of the others; None if it cannot be known.
        from_points: Whether they are made of trials, without a model.
    """

    place_M: Floats
    through: Curve | None
    tuned: Curve | None
    from_points: bool


def find_anchor(cell: Cell) -> int | None:
    """Index of the best finished trial that lies in the search space: a default may lie outside."""
    unit_ND, always = cell.unit_ND, list(cell.always_active)
    inside_N = (np.isnan(unit_ND) | ((unit_ND >= -_SAME) & (unit_ND <= 1 + _SAME))).all(axis=1)
    able_N = cell.finished_N & inside_N & np.isfinite(unit_ND[:, always]).all(axis=1)
    return int(np.argmin(np.where(able_N, cell.mean_N, np.inf))) if able_N.any() else None


def trapezoid_weights(place_M: Floats) -> Floats:
    """Weights, of sum 1, with which values at ``place_M`` average to the mean of the lines between them."""
    steps = np.diff(place_M) / (place_M[-1] - place_M[0])
    return np.concatenate([[0.0], steps]) / 2 + np.concatenate([steps, [0.0]]) / 2


def axis_decades(axis: AxisSpec) -> float | None:
    """How many decades of the value, or of 1 - value, the unit interval spans; None for linear axes and choices."""
    if axis.is_categorical or axis.scale == "linear":
        return None
    return axis_extent(axis) / math.log(10)


def axis_extent(axis: AxisSpec) -> float:
    """How much of its scale the unit interval of a range spans: whole numbers reach half a step beyond their ends."""
    low, high = axis.ends
    first, last = to_unit(axis, low), to_unit(axis, high)
    return (axis.scaled(high) - axis.scaled(low)) / ((last or 0.0) - (first or 0.0))


def leads_others(cell: Cell, column: int) -> bool:
    """Whether a condition of another axis looks at this one, so that moving along it alone may leave the space."""
    word = re.compile(rf"\b{re.escape(cell.axes[column].name)}\b")
    return any(word.search(axis.spec.when) for place, axis in enumerate(cell.axes) if place != column)


def point_curves(cell: Cell, column: int, anchor_D: Floats, *, all_levels: bool) -> AxisCurves | None:
    """Curves made of the trials themselves, where the design has levels, or the cell has this axis alone.

    Args:
        cell: The trials.
        column: The axis.
        anchor_D: Place of the anchor in the unit cube.
        all_levels: Whether the points are a grid, so that the best of the others is known at each level.

    Returns:
        None if there are fewer than :data:`FEWEST_LEVELS` levels, or a trial of them has no result: what failed or
        was stopped is likely to be bad, and a curve without it would be too good.
    """
    line = _line(cell, column, anchor_D)
    if line is None:
        return None
    through = _curve_of_groups(cell, column, line)
    if len(cell.axes) == 1:
        return AxisCurves(through.place_M, through, through, from_points=True)
    whole = all_levels and not cell.pending_NS.any()
    active_N = cell.design_N & np.isfinite(cell.unit_ND[:, column])
    tuned = _curve_of_groups(cell, column, np.flatnonzero(active_N)) if whole else None
    return AxisCurves(through.place_M, through, tuned, from_points=True)


def surrogate_curves(
    cell: Cell, surrogate: Surrogate, columns: Sequence[int], anchor_D: Floats, cap: float
) -> dict[int, AxisCurves]:
    """Curves of a surrogate along several axes; those that are not active at the anchor have no ``through``.

    The best of the others is sought among those of the design's points, of the anchor, and of a Sobol' sequence where
    points are few. Replicates are read at the settings that the whole surrogate finds best: a change of the model moves
    a minimum by what it changes at the place of the minimum, to first order.

    Args:
        cell: Its trials.
        surrogate: Learned from them.
        columns: The axes, all ranges.
        anchor_D: Place of the anchor in the unit cube.
        cap: What predictions are capped at, as objectives are.
    """
    place_M = np.linspace(0.0, 1.0, PLACES)
    tracks = []
    for column in columns:
        tracks.append(_at(np.tile(anchor_D, (PLACES, 1)), column, place_M))
        tracks.append(_best_track(cell, surrogate, column, anchor_D, place_M))
    values = [np.minimum(part, cap) for part in _predict(surrogate, tracks)]
    folds = [[np.minimum(part, cap) for part in _predict(fold, tracks)] for fold in surrogate.folds]
    weight_M = trapezoid_weights(place_M)
    found = {}
    for index, column in enumerate(columns):
        through, tuned = (
            Curve(place_M, values[n], np.array([fold[n] for fold in folds]), weight_M)
            for n in (2 * index, 2 * index + 1)
        )
        active = bool(np.isfinite(anchor_D[column]))
        found[column] = AxisCurves(place_M, through if active else None, tuned, from_points=False)
    return found


def _predict(model: Model | Surrogate, tracks: Sequence[Floats]) -> list[Floats]:
    """All predictions in one call: forests are slow to start."""
    ends = np.cumsum([len(track) for track in tracks])[:-1]
    return [np.asarray(part) for part in np.split(model.predict(np.concatenate(tracks)), ends)]


def _at(unit_MD: Floats, column: int, place_M: Floats) -> Floats:
    moved = unit_MD.copy()
    moved[:, column] = place_M
    return moved


def _best_track(cell: Cell, surrogate: Surrogate, column: int, anchor_D: Floats, place_M: Floats) -> Floats:
    """At each place the setting of the others that the surrogate finds best."""
    others_CD = _others(cell, surrogate, column, anchor_D)
    tried = _at(np.tile(others_CD, (len(place_M), 1)), column, np.repeat(place_M, len(others_CD)))
    lowest_M = surrogate.predict(tried).reshape(len(place_M), -1).argmin(axis=1)
    return _at(others_CD[lowest_M], column, place_M)


def _others(cell: Cell, surrogate: Surrogate, column: int, anchor_D: Floats) -> Floats:
    """Settings of the other axes: those of good points of each part of the range, so that ridges are followed."""
    active_N = cell.design_N & np.isfinite(cell.unit_ND[:, column])
    rows_ND = cell.unit_ND[active_N]
    if len(rows_ND) > 2 * _OTHERS:
        order = np.argsort(surrogate.predict(rows_ND), kind="stable")
        part_N = np.minimum((rows_ND[order, column] * 12).astype(int), 11)
        best = [order[part_N == part][: _OTHERS // 12] for part in range(12)]
        rows_ND = rows_ND[np.concatenate(best)]
    parts = [rows_ND, anchor_D[None]] if np.isfinite(anchor_D[column]) or not len(rows_ND) else [rows_ND]
    if active_N.sum() <= _FEW and not any(axis.conditional for axis in cell.axes):
        parts.append(qmc.Sobol(len(anchor_D), rng=0).random(_FURTHER))
    return np.concatenate(parts)


def _line(cell: Cell, column: int, anchor_D: Floats) -> Indices | None:
    """Finished trials that differ from the anchor on this axis alone, from low to high."""
    others = [place for place in range(len(cell.axes)) if place != column]
    place_N = cell.unit_ND[:, column]
    on_N = _equal(cell.unit_ND[:, others], anchor_D[others]).all(axis=1)
    on_N &= (place_N >= -_SAME) & (place_N <= 1 + _SAME)
    if (on_N & ~cell.finished_N & ~cell.is_default_N).any():
        return None
    # The default setting is left out of evenly spread levels: they are a grid without it.
    for line_N in (on_N & cell.design_N, on_N & cell.finished_N):
        levels = np.unique(np.round(place_N[line_N], 9))
        if len(levels) >= FEWEST_LEVELS and _is_even(levels):
            return np.flatnonzero(line_N)
    return np.flatnonzero(on_N & cell.finished_N) if len(levels) >= FEWEST_LEVELS else None


def _curve_of_groups(cell: Cell, column: int, chosen: Indices) -> Curve:
    """The lowest mean at each level; replicates leave out one seed each."""
    level_N = np.round(cell.unit_ND[chosen, column], 9)
    place_M, group_N = np.unique(level_N, return_inverse=True)
    objective_NS = cell.objective_NS[chosen]

    def lowest(mean_N: Floats) -> Floats:
        value_M = np.full(len(place_M), np.inf)
        np.minimum.at(value_M, group_N, mean_N)
        return value_M

    seeds = objective_NS.shape[1]
    whole = seeds > 1 and bool(np.isfinite(objective_NS).all())
    replicates = [lowest(np.delete(objective_NS, seed, axis=1).mean(axis=1)) for seed in range(seeds)] if whole else []
    even = _is_even(place_M)
    weight_M = np.full(len(place_M), 1 / len(place_M)) if even else trapezoid_weights(place_M)
    replicate_RM = np.array(replicates).reshape(-1, len(place_M))
    return Curve(place_M, lowest(cell.mean_N[chosen]), replicate_RM, weight_M)


def _equal(unit_ND: Floats, anchor_D: Floats) -> Bools:
    return np.isclose(unit_ND, anchor_D, rtol=0.0, atol=_SAME, equal_nan=True)


def _is_even(place_M: Floats) -> bool:
    steps = np.diff(place_M)
    return bool(np.ptp(steps) <= 1e-6)
