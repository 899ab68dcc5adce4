"""Measures, the loss in a box round the best: what a small error of the hyperparameters costs in bad cases."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from study.axis import AxisSpec
from study.report.measures.intervals import Estimate, jackknife
from study.report.measures.missing import Missing
from study.report.measures.robustness.profiles import axis_decades, find_anchor
from study.report.measures.robustness.seeds import scaled
from study.report.measures.robustness.yardstick import Yardstick, measure_yardstick, why_no_sample
from study.report.measures.surrogate import Surrogate, cell_seed
from study.report.observations import Bools, Cell, Floats, Observations

#: Share of the box that counts as its bad cases.
ALPHA = 0.2
#: Half widths of boxes: a factor on logarithmic axes, a share of the range on linear ones.
BOXES = ((2.0, 0.1), (3.0, 0.15))
#: Places of a box that are predicted.
_PLACES = 256
_BOX = 34


@dataclass(frozen=True, slots=True)
class Box:
    """The loss in a box round the best trial.

    Attributes:
        factor: Half width on logarithmic axes: from value / factor to value * factor; of 1 - value for ``log1m``.
        share: Half width on linear axes, as a share of the range. Choices and whole conditions stay as they are.
        inside: Share of the box that lies in the search space, to which it is cut.
        cvar: Mean of the surrogate over the worst :data:`ALPHA` of the box; None without a surrogate.
        mean: Mean of the surrogate over the box.
        centre: What the surrogate says at the best trial.
        rise: (``cvar`` - ``centre``), as a share of L0 - L*: what bad cases cost.
        points: Points of the design in the box, without the best trial.
        points_diverged: How many of them have a diverged run.
        worst: Highest mean objective of them; None without points.
    """

    factor: float
    share: float
    inside: float
    cvar: Estimate | None
    mean: Estimate | None
    centre: float | None
    rise: Estimate | None
    points: int
    points_diverged: int
    worst: float | None


@dataclass(frozen=True, slots=True)
class LocalRobustness:
    """Boxes round the best trial of one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it.
        trial: Number of the best trial in the search space.
        best: Its mean objective.
        r2: Cross-validated R2 of the surrogate; None without one.
        boxes: From small to large.
    """

    workload: str
    optimizer: str
    title: str
    trial: int
    best: float
    r2: float | None
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class LocalTable:
    """All optimizers of a study, by workload, in the spec's order.

    Attributes:
        alpha: Share of a box that counts as its bad cases.
        rows: One per workload and optimizer with a finished trial in the search space.
        missing: What could not be computed.
    """

    alpha: float
    rows: tuple[LocalRobustness, ...]
    missing: tuple[Missing, ...]


def cvar(value_M: Floats, alpha: float) -> float:
    """Conditional value at risk: the mean of the largest ``alpha`` of equally likely losses.

    Of M losses the largest alpha * M count; if that is no whole number, the last of them in part (Rockafellar and
    Uryasev 2002, "Conditional value-at-risk for general loss distributions", section 5).

    Args:
        value_M: At least one loss.
        alpha: In (0, 1].
    """
    worst_M = np.sort(value_M)[::-1]
    weight_M = np.clip(alpha * len(worst_M) - np.arange(len(worst_M)), 0.0, 1.0)
    return float(np.average(worst_M, weights=weight_M))


def measure_local(observations: Observations, surrogates: Mapping[tuple[str, str], Surrogate | None]) -> LocalTable:
    """The loss round the best trial of every optimizer.

    Args:
        observations: The study.
        surrogates: Of each (workload, optimizer); None where there are too few points.
    """
    rows: list[LocalRobustness] = []
    missing: list[Missing] = []
    no_sample = why_no_sample(observations.info)
    for workload in observations.workloads:
        for cell in observations.on(workload):
            where = f"loss round the best of {cell.optimizer} on {workload}"
            anchor = find_anchor(cell)
            if anchor is None or not cell.axes:
                missing.append(Missing(where, "No finished trial lies in the search space, or nothing varies."))
                continue
            surrogate = None if no_sample else surrogates.get((workload, cell.optimizer))
            if surrogate is None:
                few = "There are too few finished points for a surrogate, or all are alike; take more points."
                missing.append(Missing(where, no_sample or few))
            rows.append(_measure(observations, cell, anchor, surrogate))
    return LocalTable(ALPHA, tuple(rows), tuple(missing))


def _measure(observations: Observations, cell: Cell, anchor: int, surrogate: Surrogate | None) -> LocalRobustness:
    yardstick = measure_yardstick(observations, cell.workload)
    chance = observations.info.workload(cell.workload).chance
    cap = math.inf if chance is None else chance
    return LocalRobustness(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        trial=int(cell.number_N[anchor]),
        best=float(cell.mean_N[anchor]),
        r2=None if surrogate is None else float(surrogate.r2),
        boxes=tuple(_box(cell, anchor, surrogate, yardstick, cap, factor, share) for factor, share in BOXES),
    )


def _box(
    cell: Cell,
    anchor: int,
    surrogate: Surrogate | None,
    yardstick: Yardstick,
    cap: float,
    factor: float,
    share: float,
) -> Box:
    centre_D = cell.unit_ND[anchor]
    half_D = np.array([_half_width(axis.spec, factor, share) for axis in cell.axes])
    low_D, high_D = np.maximum(centre_D - half_D, 0.0), np.minimum(centre_D + half_D, 1.0)
    wide_D = (half_D > 0) & np.isfinite(centre_D)
    inside = min(float(np.prod((high_D - low_D)[wide_D] / (2 * half_D[wide_D]))), 1.0)
    in_N = _inside(cell, centre_D, half_D) & cell.design_N
    in_N[anchor] = False
    worst, mean, at_centre, rise = _predicted(cell, surrogate, centre_D, low_D, high_D, cap)
    return Box(
        factor=factor,
        share=share,
        inside=inside,
        cvar=worst,
        mean=mean,
        centre=at_centre,
        rise=scaled(rise, yardstick.span),
        points=int(in_N.sum()),
        points_diverged=int(cell.diverged_NS[in_N].any(axis=1).sum()),
        worst=float(cell.mean_N[in_N].max()) if in_N.any() else None,
    )


def _half_width(spec: AxisSpec, factor: float, share: float) -> float:
    """In the unit cube; 0 for choices."""
    if spec.is_categorical:
        return 0.0
    decades = axis_decades(spec)
    return share if decades is None else math.log10(factor) / decades


def _inside(cell: Cell, centre_D: Floats, half_D: Floats) -> Bools:
    """Which trials lie in the box: with the same choices, and the same axes active."""
    off_ND = np.abs(cell.unit_ND - centre_D)
    alike_ND = np.isnan(cell.unit_ND) & np.isnan(centre_D)
    return np.asarray(((off_ND <= half_D + 1e-9) | alike_ND).all(axis=1))


def _predicted(
    cell: Cell, surrogate: Surrogate | None, centre_D: Floats, low_D: Floats, high_D: Floats, cap: float
) -> tuple[Estimate | None, Estimate | None, float | None, Estimate | None]:
    """CVaR and mean over the box, what is at its centre, and the rise from there to the CVaR."""
    if surrogate is None:
        return None, None, None, None
    sequence = qmc.Sobol(len(centre_D), rng=cell_seed(cell, _BOX))
    unit_MD = np.vstack([centre_D, low_D + sequence.random(_PLACES) * (high_D - low_D)])
    value, *folds = (np.minimum(model.predict(unit_MD), cap) for model in (surrogate, *surrogate.folds))
    worst = jackknife(cvar(value[1:], ALPHA), [cvar(fold[1:], ALPHA) for fold in folds])
    mean = jackknife(float(value[1:].mean()), [float(fold[1:].mean()) for fold in folds])
    rises = [cvar(fold[1:], ALPHA) - float(fold[0]) for fold in (value, *folds)]
    return worst, mean, float(value[0]), jackknife(rises[0], rises[1:])
