"""What a tuning budget of k trials buys: expected best of k, its bands, and averages over budgets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.report.measures.comparison.bands import band_tuning_curve
from study.report.measures.comparison.budget_chances import BestChances, measure_chances
from study.report.measures.comparison.budget_scores import (
    BudgetScore,
    RelativePerformance,
    measure_relative,
    measure_scores,
)
from study.report.measures.comparison.held_out import mean_test_errors
from study.report.measures.comparison.order_statistics import expect_best, expect_selected
from study.report.measures.missing import Missing
from study.report.observations import Cell, Floats, Observations, StudyInfo

#: Budgets of a curve, beside powers of two, if it has more points than this.
_GRID = 45


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """Expected best of k trials of one optimizer on one workload, over k.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call the optimizer.
        points: B, the finished points of the design; the default setting is not one of them.
        seeds: Runs of a point, at most.
        diverged: Points of which a run diverged.
        budgets: The budgets k, from 1 to B.
        mean: Expected lowest objective (mean over seeds) of k points, by budget; unbiased.
        mean_low: Simultaneous 95 % band of it; None where there is none.
        mean_high: Its upper end.
        median: Median of the lowest objective of k points.
        median_low: Simultaneous 95 % band of it; None where the sample says nothing.
        median_high: Its upper end.
        test: Expected test error of the point that has the lowest objective of k; None where one without may be chosen.
        default: Objective of the default setting; None if it has not finished.
        default_test: Its test error.
        trials_to_beat_default: Fewest trials whose expected best is below the default; None if no budget's is.
    """

    workload: str
    optimizer: str
    title: str
    points: int
    seeds: int
    diverged: int
    budgets: tuple[int, ...]
    mean: tuple[float, ...]
    mean_low: tuple[float | None, ...]
    mean_high: tuple[float | None, ...]
    median: tuple[float, ...]
    median_low: tuple[float | None, ...]
    median_high: tuple[float | None, ...]
    test: tuple[float | None, ...]
    default: float | None
    default_test: float | None
    trials_to_beat_default: int | None


@dataclass(frozen=True, slots=True)
class BudgetComparison:
    """Optimizers at equal tuning budgets.

    Attributes:
        curves: By workload, then optimizer.
        chances: Of being the best, by workload.
        scores: Averages over budgets, by workload, then optimizer.
        relative: Relative performance over all workloads, by optimizer.
        missing: What could not be computed.
    """

    curves: tuple[BudgetCurve, ...]
    chances: tuple[BestChances, ...]
    scores: tuple[BudgetScore, ...]
    relative: tuple[RelativePerformance, ...]
    missing: tuple[Missing, ...]


def measure_budget(observations: Observations) -> BudgetComparison:
    """Compare optimizers at equal tuning budgets, if the design's points are random or quasi-random draws."""
    info = observations.info
    if not (info.is_random and info.is_sample):
        reason = (
            f"The points ({info.design}) are not independent or quasi-random draws from the search space, so k of them "
            "are not a tuning budget of k. Use a sobol, halton, latin_hypercube or random design without pruning."
        )
        return BudgetComparison((), (), (), (), (Missing("Expected best per tuning budget", reason),))
    missing: list[Missing] = []
    groups = []
    for workload in observations.workloads:
        cells = [cell for cell in observations.on(workload) if cell.design_N.any()]
        absent = [name for name in observations.optimizers if name not in {cell.optimizer for cell in cells}]
        if absent:
            reason = "No point of the design has finished. Run or resume the study."
            missing.append(Missing(f"Expected best per tuning budget on {workload}: {', '.join(absent)}", reason))
        if cells:
            groups.append(cells)
    chances = tuple(measure_chances(cells, info) for cells in groups if len(cells) > 1)
    if len(chances) < len(groups):
        lone = ", ".join(cells[0].workload for cells in groups if len(cells) == 1)
        missing.append(Missing(f"Chance of being the best on {lone}", "There is one optimizer only: add another."))
    relative, unrelated = measure_relative(groups, info)
    return BudgetComparison(
        curves=tuple(_measure_curve(cell, info) for cells in groups for cell in cells),
        chances=chances,
        scores=tuple(score for cells in groups for score in measure_scores(cells, info)),
        relative=relative,
        missing=(*missing, *unrelated),
    )


def spread_budgets(points: int) -> tuple[int, ...]:
    """Budgets from 1 to ``points``: all of few; of many, powers of two and evenly spread ones between them."""
    if points <= _GRID:
        return tuple(range(1, points + 1))
    powers = 2 ** np.arange(int(math.log2(points)) + 1)
    spread = np.round(np.geomspace(1, points, _GRID)).astype(int)
    return tuple(np.unique(np.concatenate([powers, spread, [points]])).tolist())


def _measure_curve(cell: Cell, info: StudyInfo) -> BudgetCurve:
    value_N = cell.mean_N[cell.design_N]
    test_N = mean_test_errors(cell, info)
    budgets = spread_budgets(len(value_N))
    mean_K = expect_best(value_N, budgets)
    bands = band_tuning_curve(value_N, budgets, *_support(cell, info))
    default = None if cell.default is None else float(cell.mean_N[cell.default])
    return BudgetCurve(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        points=len(value_N),
        seeds=int(cell.seeds_N[cell.design_N].max()),
        diverged=int((cell.diverged_share_N[cell.design_N] > 0).sum()),
        budgets=budgets,
        mean=tuple(mean_K.tolist()),
        # With few points the unbiased estimate may lie a little outside: a wider band holds no less often.
        mean_low=_known(np.minimum(bands.mean_low_K, mean_K)),
        mean_high=_known(np.maximum(bands.mean_high_K, mean_K)),
        median=tuple(bands.median_K.tolist()),
        median_low=_known(bands.median_low_K),
        median_high=_known(bands.median_high_K),
        test=_known(expect_selected(value_N, test_N[cell.design_N], budgets)),
        default=default,
        default_test=None if cell.default is None else _known(test_N[[cell.default]])[0],
        trials_to_beat_default=None if default is None else _first_below(value_N, default),
    )


def _support(cell: Cell, info: StudyInfo) -> tuple[float, float]:
    """What the objective cannot be below or above: our objectives are not negative, and capped at chance level."""
    values = cell.mean_N[cell.design_N]
    chance = info.workload(cell.workload).chance
    lowest = 0.0 if info.source == "service" and values.min() >= 0 else -math.inf
    return lowest, math.inf if chance is None else max(chance, float(values.max()))


def _first_below(value_N: Floats, level: float) -> int | None:
    """The least budget whose expected best is below ``level``: the expectation never rises with the budget."""
    low, high = 1, len(value_N)
    if not value_N.min() < level:
        return None
    while low < high:
        middle = (low + high) // 2
        if expect_best(value_N, [middle])[0] < level:
            high = middle
        else:
            low = middle + 1
    return low


def _known(value_K: Floats) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in value_K.tolist())


def curves_on(comparison: BudgetComparison, workload: str) -> Sequence[BudgetCurve]:
    """The curves of one workload."""
    return [curve for curve in comparison.curves if curve.workload == workload]
