"""Measures of a cell: which axes matter, how much, together with which others, and how much is only seed noise."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from study.report.measures.importance.forest_anova import ForestAnova, Fraction, measure_forest
from study.report.measures.importance.ped_anova import LEAST_TOP, TOP, count_top, measure_ped_anova
from study.report.measures.importance.variance import Levels, Sensitivity, axis_pairs, find_levels, measure_sensitivity
from study.report.measures.intervals import Estimate
from study.report.measures.missing import Missing
from study.report.measures.surrogate import (
    Surrogate,
    cell_seed,
    count_choices,
    fit_surrogate,
    least_points,
    signal_variance,
)
from study.report.observations import Cell, Floats, StudyInfo

#: A surrogate whose cross-validated R2 is below misses half of the variance: its indices are to be read with caution.
LEAST_R2 = 0.5
#: Points that the surrogate of ranks is learned from at most: it is a second opinion, and time grows with their cube.
MOST_RANKED = 512
#: Purposes of :func:`study.report.measures.surrogate.cell_seed`.
_SAMPLE, _RANKED, _GROUPS = 21, 22, 23


@dataclass(frozen=True, slots=True)
class AxisImportance:
    """How much one axis matters to one optimizer on one workload.

    Attributes:
        axis: Name of the axis.
        first: First-order Sobol' index of the surrogate: what the axis explains alone, as a share of the variance.
        total: Total Sobol' index: what it explains alone and in interactions.
        deviation: Standard deviation of the main effect, in the objective's unit: comparable between optimizers.
        rank_first: As ``first``, of the rank of a setting among the points instead of its objective.
        rank_total: As ``total``, of ranks.
        forest: What the axis explains alone, of the variance of the trees of a forest (fANOVA).
        ped_anova: Importance for being among the best tenth of the points, as a share of the sum (PED-ANOVA).
    """

    axis: str
    first: Estimate | None
    total: Estimate | None
    deviation: Estimate | None
    rank_first: Estimate | None
    rank_total: Estimate | None
    forest: Fraction | None
    ped_anova: Estimate | None


@dataclass(frozen=True, slots=True)
class PairImportance:
    """How much two axes matter together, beyond what each explains alone.

    Attributes:
        axes: Names of the two axes.
        share: Second-order Sobol' index of the surrogate.
        rank_share: The same of ranks.
        forest: The same of the trees of a forest (fANOVA).
    """

    axes: tuple[str, str]
    share: Estimate | None
    rank_share: Estimate | None
    forest: Fraction | None


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """Where the variance over the points of a design comes from.

    Attributes:
        observed: Standard deviation of the points' means over seeds, in the objective's unit.
        signal: The same without seed noise; equal to ``observed`` where noise is unknown.
        noise: Share of seed noise in the variance of means: mean of s^2 / S; None with one seed.
        explained: Share that the surrogate predicts of points it has not seen: its cross-validated R2, at least 0;
            None without a surrogate.
        unexplained: What is left: effects that the surrogate misses, and seed noise where ``noise`` is None.
        function: Standard deviation of the surrogate's function over the search space; None where it has no indices.
        alone: Sum of the first-order indices: share of that function that axes explain one by one.
        pairs: Sum of the interactions of two axes.
        more: Share of interactions of three axes and more, at least 0.
    """

    observed: float
    signal: float
    noise: float | None
    explained: float | None
    unexplained: float | None
    function: Estimate | None
    alone: float | None
    pairs: float | None
    more: float | None


@dataclass(frozen=True, slots=True)
class CellImportance:
    """Which axes matter to one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call the optimizer.
        points: Finished points of the design.
        diverged: How many of them have a run that diverged.
        surrogate: Kind of the surrogate; None without one.
        r2: Its cross-validated coefficient of determination.
        trusted: Whether ``r2`` is at least :data:`LEAST_R2`; None without a surrogate.
        rank_points: Points that the surrogate of ranks was learned from.
        rank_r2: Its cross-validated coefficient of determination; None without one.
        rank_trusted: Whether ``rank_r2`` is at least :data:`LEAST_R2`.
        top: Points that PED-ANOVA counts as the best; None where it was not computed.
        axes: By axis; empty where nothing could be said about axes.
        pairs: By pair of axes; empty likewise.
        variance: Where the variance comes from; None with fewer than two points.
        missing: What could not be computed.
    """

    workload: str
    optimizer: str
    title: str
    points: int
    diverged: int
    surrogate: str | None
    r2: float | None
    trusted: bool | None
    rank_points: int | None
    rank_r2: float | None
    rank_trusted: bool | None
    top: int | None
    axes: tuple[AxisImportance, ...]
    pairs: tuple[PairImportance, ...]
    variance: VarianceParts | None
    missing: tuple[Missing, ...]


def measure_importance(cell: Cell, surrogate: Surrogate | None, info: StudyInfo) -> CellImportance:
    """Which axes matter to one optimizer on one workload.

    Args:
        cell: All its trials.
        surrogate: Learned from the means of its design's points; None where that was not possible.
        info: Whether the points stand for the search space.
    """
    reason = _why_nothing(cell, info)
    if reason:
        return _bring_together(cell, None, _Views(missing=(_missing("Importance of axes", cell, reason),)), None)
    views = _look(cell, surrogate)
    return _bring_together(cell, surrogate, views, _measure_parts(cell, surrogate, views.sobol))


@dataclass(frozen=True, slots=True)
class _Views:
    """What each method says of a cell; None where it says nothing."""

    sobol: Sensitivity | None = None
    forest: ForestAnova | None = None
    ranked: Surrogate | None = None
    ranks: Sensitivity | None = None
    best: tuple[Estimate | None, ...] | None = None
    missing: tuple[Missing, ...] = ()


def _look(cell: Cell, surrogate: Surrogate | None) -> _Views:
    """Every method that the cell allows."""
    no_model, no_best = _why_no_model(cell, surrogate), _why_no_best(cell)
    missing = [_missing("Sobol' indices and fANOVA", cell, no_model)] if no_model else []
    signal, noise = _seed_noise(cell)
    sobol = None if no_model or surrogate is None else _take_apart(cell, surrogate, signal, noise or 0.0)
    if not no_model and sobol is None:
        missing.append(_missing("Sobol' indices", cell, "The surrogate is flat: it finds no effect of any axis."))
    if len(cell.axes) == 1:
        reason = "One axis varies: all that settings explain is its doing, and each of its shares would be 1."
        return _Views(sobol=sobol, missing=(*missing, _missing("Shares of axes", cell, reason)))
    if no_best:
        missing.append(_missing("PED-ANOVA", cell, no_best))
    ranked = None if no_model else _fit_ranks(cell)
    forest = None if no_model or surrogate is None else measure_forest(surrogate.forest, _levels(cell))
    if not no_model and forest is None:
        missing.append(_missing("fANOVA", cell, "All trees of the forest are flat: they find no effect of any axis."))
    return _Views(
        sobol=sobol,
        forest=forest,
        ranked=ranked,
        ranks=None if ranked is None else _take_apart(cell, ranked, math.sqrt(1 / 12), 0.0),
        best=None if no_best else _measure_best(cell),
        missing=tuple(missing),
    )


def _why_nothing(cell: Cell, info: StudyInfo) -> str:
    """Why nothing can be said of any axis; empty if something can."""
    if not info.is_sample:
        return (
            "The points were chosen from earlier results or pruned, so they do not stand for the search space; "
            "a study with random or Sobol' points is needed."
        )
    if not cell.axes:
        return "No axis varies; an axis with a range or choices is needed."
    return "" if cell.design_N.any() else "No point of the design has finished."


def _why_no_model(cell: Cell, surrogate: Surrogate | None) -> str:
    """Why no surrogate can be taken apart by axes; empty if one can."""
    partial = [
        axis.name
        for axis, place_N in zip(cell.axes, _places(cell).T, strict=True)
        if axis.conditional or not np.isfinite(place_N).all()
    ]
    mean_N, least = _means(cell), least_points(len(cell.axes))
    if partial:
        return f"They need axes that vary in every trial, and {', '.join(partial)} does not; PED-ANOVA allows for that."
    if cell.info.constraints:
        return (
            f"They need axes that vary independently, and the constraint {' and '.join(cell.info.constraints)} "
            "ties some together; PED-ANOVA allows for that."
        )
    if len(mean_N) < least:
        return f"{len(mean_N)} finished points are too few for a surrogate of {len(cell.axes)} axes: it needs {least}."
    if np.ptp(mean_N) == 0:
        return f"All points have the objective {mean_N[0]:.4g}: there is no variance to explain."
    return "" if surrogate else "There is no surrogate."


def _why_no_best(cell: Cell) -> str:
    """Why the best points cannot be compared with all; empty if they can."""
    mean_N = _means(cell)
    if math.ceil(TOP * len(mean_N)) < LEAST_TOP:
        least = round((LEAST_TOP - 1) / TOP) + 1
        return f"The best tenth of {len(mean_N)} finished points is too few to be compared; {least} points are needed."
    if count_top(mean_N) == len(mean_N):
        return f"So many points share the objective {mean_N.max():.4g} that the best tenth would be all of them."
    return ""


def _take_apart(cell: Cell, surrogate: Surrogate, spread: float, noise: float) -> Sensitivity | None:
    """Indices of a surrogate of what varies by ``spread`` without noise, and of which ``noise`` is noise."""
    # No model predicts noise: what it explains, it explains of the rest.
    missed = 1.0 - max(surrogate.r2, 0.0) / max(1.0 - noise, 1e-9)
    seed = cell_seed(cell, _SAMPLE)
    return measure_sensitivity(surrogate, _levels(cell), spread=spread, missed=max(missed, 0.0), seed=seed)


def _seed_noise(cell: Cell) -> tuple[float, float | None]:
    """Standard deviation over points without noise, and the share of noise in the variance; None with one seed."""
    if _deviation(_means(cell)) == 0:
        return 0.0, None
    kept_N = cell.design_N
    seeds_N = cell.seeds_N[kept_N].astype(float)
    signal, noise = signal_variance(_means(cell), cell.sd_N[kept_N], seeds_N)
    return math.sqrt(signal), noise if math.isfinite(noise) else None


def _fit_ranks(cell: Cell) -> Surrogate | None:
    """A surrogate of the rank of a setting among the points, in (0, 1]; equals share the mean of their ranks."""
    rank_N = stats.rankdata(_means(cell)) / len(_means(cell))
    seed = cell_seed(cell, _RANKED)
    # Drawn at random, points stand for the space whatever the design; the first ones of a grid would not.
    order_N = np.random.Generator(np.random.Philox(seed)).permutation(len(rank_N))
    chosen = np.sort(order_N[:MOST_RANKED])
    return fit_surrogate(_places(cell)[chosen], rank_N[chosen], count_choices(cell), seed=seed)


def _measure_best(cell: Cell) -> tuple[Estimate | None, ...]:
    return measure_ped_anova(_places(cell), _means(cell), count_choices(cell), seed=cell_seed(cell, _GROUPS))


def _deviation(mean_N: Floats) -> float:
    """Sample standard deviation; 0 of one number, and of equal ones without rounding."""
    return float(np.std(mean_N, ddof=1)) if len(mean_N) > 1 and np.ptp(mean_N) > 0 else 0.0


def _measure_parts(cell: Cell, surrogate: Surrogate | None, sobol: Sensitivity | None) -> VarianceParts | None:
    """Where the variance over the points comes from."""
    if cell.design_N.sum() < 2:
        return None
    signal, noise = _seed_noise(cell)
    explained = None if surrogate is None else max(surrogate.r2, 0.0)
    # Sums of estimates may pass 1 by what numerical integration adds.
    alone = min(math.fsum(index.value for index in sobol.first), 1.0) if sobol else None
    pairs = (
        None if sobol is None or alone is None else min(math.fsum(index.value for index in sobol.pairs), 1.0 - alone)
    )
    return VarianceParts(
        observed=_deviation(_means(cell)),
        signal=signal,
        noise=noise,
        explained=explained,
        unexplained=None if explained is None else max(1.0 - explained - (noise or 0.0), 0.0),
        function=sobol.spread if sobol else None,
        alone=alone,
        pairs=pairs,
        more=None if alone is None or pairs is None else max(1.0 - alone - pairs, 0.0),
    )


def _bring_together(
    cell: Cell, surrogate: Surrogate | None, views: _Views, variance: VarianceParts | None
) -> CellImportance:
    ranked, said = views.ranked, len(cell.axes) > 1 and (views.sobol or views.forest or views.best)
    return CellImportance(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        points=int(cell.design_N.sum()),
        diverged=int(cell.diverged_NS[cell.design_N].any(axis=1).sum()),
        surrogate=None if surrogate is None else surrogate.kind,
        r2=None if surrogate is None else surrogate.r2,
        trusted=None if surrogate is None else surrogate.r2 >= LEAST_R2,
        rank_points=None if ranked is None else ranked.points,
        rank_r2=None if ranked is None else ranked.r2,
        rank_trusted=None if ranked is None else ranked.r2 >= LEAST_R2,
        top=None if views.best is None else count_top(_means(cell)),
        axes=_axes(cell, views) if said else (),
        pairs=_pairs(cell, views) if said and (views.sobol or views.forest) else (),
        variance=variance,
        missing=views.missing,
    )


def _axes(cell: Cell, views: _Views) -> tuple[AxisImportance, ...]:
    sobol, ranks, forest = views.sobol, views.ranks, views.forest
    return tuple(
        AxisImportance(
            axis=axis.name,
            first=sobol.first[place] if sobol else None,
            total=sobol.total[place] if sobol else None,
            deviation=sobol.deviation[place] if sobol else None,
            rank_first=ranks.first[place] if ranks else None,
            rank_total=ranks.total[place] if ranks else None,
            forest=forest.axes[place] if forest else None,
            ped_anova=views.best[place] if views.best else None,
        )
        for place, axis in enumerate(cell.axes)
    )


def _pairs(cell: Cell, views: _Views) -> tuple[PairImportance, ...]:
    sobol, ranks, forest = views.sobol, views.ranks, views.forest
    return tuple(
        PairImportance(
            axes=(cell.axes[i].name, cell.axes[j].name),
            share=sobol.pairs[place] if sobol else None,
            rank_share=ranks.pairs[place] if ranks else None,
            forest=forest.pairs[place] if forest else None,
        )
        for place, (i, j) in enumerate(axis_pairs(len(cell.axes)))
    )


def _places(cell: Cell) -> Floats:
    return cell.unit_ND[cell.design_N]


def _means(cell: Cell) -> Floats:
    return cell.mean_N[cell.design_N]


def _levels(cell: Cell) -> list[Levels | None]:
    return [find_levels(axis.spec) for axis in cell.axes]


def _missing(measure: str, cell: Cell, reason: str) -> Missing:
    return Missing(f"{measure} of {cell.optimizer} on {cell.workload}", reason)
