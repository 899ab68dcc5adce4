"""Averages over tuning budgets, and performance relative to the best optimizer (Sivaprasad et al. 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.report.measures.comparison.budget_chances import double_budgets
from study.report.measures.comparison.budget_draws import resample_values
from study.report.measures.comparison.order_statistics import best_weights, expect_best, weigh_budgets
from study.report.measures.intervals import CONFIDENCE, RESAMPLES, Estimate
from study.report.measures.missing import Missing
from study.report.observations import Cell, Floats, StudyInfo

#: The largest budget of an average: no one tunes longer, and its time grows with the points, times this.
MOST_TRIALS = 1024
#: Numbers that resamples hold, which bounds the memory.
_HELD = 4_000_000
_FEWEST_RESAMPLES = 100


@dataclass(frozen=True, slots=True)
class BudgetScore:
    """The expected best objective of one optimizer on one workload, averaged over the budgets 1 … K; lower is better.

    Intervals of averages are somewhat narrow where K is all of the points, the more so the more weight late budgets
    have: those of 95 % held the truth in about 90 % (``cpe``), 88 % (``cpu``) and 84 % (``cpl``) of simulated studies.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call the optimizer.
        budget: K, the largest that every optimizer on the workload has the points for.
        one_shot: Expected objective of one trial.
        cpe: Combined performance, early: budget k has weight K - k + 1.
        cpu: Combined performance, uniform: all budgets have equal weight.
        cpl: Combined performance, late: budget k has weight k.
        peak: Expected best of K trials; without interval if K is more than half of the points.
    """

    workload: str
    optimizer: str
    title: str
    budget: int
    one_shot: Estimate
    cpe: Estimate
    cpu: Estimate
    cpl: Estimate
    peak: Estimate


@dataclass(frozen=True, slots=True)
class RelativePerformance:
    """Expected best of k trials relative to that of the best optimizer, averaged over workloads.

    Attributes:
        optimizer: Name of the optimizer.
        title: What people call the optimizer.
        workloads: How many.
        budgets: Powers of two, and the largest budget that every optimizer has the points for on every workload.
        values: In [0, 1]; 1 is the best on every workload.
    """

    optimizer: str
    title: str
    workloads: int
    budgets: tuple[int, ...]
    values: tuple[Estimate, ...]


def measure_scores(cells: Sequence[Cell], info: StudyInfo) -> tuple[BudgetScore, ...]:
    """Averages over budgets of every optimizer on a workload, at the same largest budget."""
    most = min(MOST_TRIALS, *(int(cell.design_N.sum()) for cell in cells))
    k_K = np.arange(1, most + 1)
    weights_RK = np.stack([most - k_K + 1, np.ones(most), k_K]).astype(np.float64)
    weights_RK /= weights_RK.sum(axis=1, keepdims=True)
    drawn = resample_values(cells, info, _resamples(cells))
    scores = []
    for cell, drawn_RN in zip(cells, drawn, strict=True):
        points = int(cell.design_N.sum())
        ends = best_weights(points, [1, most])
        weights_QN = np.concatenate([ends[:1], weigh_budgets(points, weights_RK), ends[1:]])
        value_Q = weights_QN @ np.sort(cell.mean_N[cell.design_N])
        one_shot, cpe, cpu, cpl, peak = _centre(value_Q, drawn_RN @ weights_QN.T, vary=points > 1)
        # No resample of a sample says how far its minimum is from the next sample's (Bickel and Freedman 1981).
        peak = peak if most <= points / 2 else Estimate(peak.value)
        scores.append(BudgetScore(cell.workload, cell.optimizer, cell.title, most, one_shot, cpe, cpu, cpl, peak))
    return tuple(scores)


def measure_relative(
    groups: Sequence[Sequence[Cell]], info: StudyInfo
) -> tuple[tuple[RelativePerformance, ...], tuple[Missing, ...]]:
    """Relative performance over workloads.

    ``p_best(k) / p_o(k)`` where the objective is positive; ``p_o(k) / p_best(k)`` where it is negative, as that of a
    maximized number, whose sign is changed.

    Args:
        groups: The cells of each workload.
        info: What is known of the study.
    """
    name = "Performance relative to the best optimizer"
    everywhere = set.intersection(*({cell.optimizer for cell in cells} for cells in groups)) if groups else set()
    if len(everywhere) < 2:
        return (), (Missing(name, "Fewer than two optimizers have finished points of the design on every workload."),)
    kept = [[cell for cell in cells if cell.optimizer in everywhere] for cells in groups]
    signs = {_sign(cells) for cells in kept}
    if 0 in signs:
        reason = "Objectives of both signs have no ratio, so there is no relative performance."
        return (), (Missing(name, reason),)
    budgets = double_budgets(min(int(cell.design_N.sum()) for cells in kept for cell in cells))
    values = np.mean([_relate(np.stack([_expect(cell, budgets) for cell in cells])) for cells in kept], axis=0)
    resamples = min(_resamples(cells) for cells in kept)
    drawn = np.mean([_draw_relative(cells, info, budgets, resamples) for cells in kept], axis=0)
    relative = []
    for place, cell in enumerate(kept[0]):
        vary = any(cells[place].design_N.sum() > 1 for cells in kept)
        estimates = _centre(values[place], drawn[place].T, vary=vary, lowest=0.0, highest=1.0)
        halves = min(int(cells[place].design_N.sum()) for cells in kept) / 2
        known = tuple(
            estimate if budget <= halves else Estimate(estimate.value)
            for estimate, budget in zip(estimates, budgets, strict=True)
        )
        relative.append(RelativePerformance(cell.optimizer, cell.title, len(kept), budgets, known))
    return tuple(relative), ()


def _expect(cell: Cell, budgets: Sequence[int]) -> Floats:
    return expect_best(cell.mean_N[cell.design_N], budgets)


def _sign(cells: Sequence[Cell]) -> int:
    """1 if no objective is negative, -1 if none is positive, else 0."""
    lowest = min(float(cell.mean_N[cell.design_N].min()) for cell in cells)
    highest = max(float(cell.mean_N[cell.design_N].max()) for cell in cells)
    return 1 if lowest >= 0 else -1 if highest <= 0 else 0


def _relate(best_O: Floats) -> Floats:
    """The first axis relative to its best; an optimizer as good as the best has 1, be both 0."""
    leader = best_O.min(axis=0)
    over, under = np.broadcast_arrays(np.where(leader < 0, best_O, leader), np.where(leader < 0, leader, best_O))
    return np.where(best_O == leader, 1.0, over / np.where(under == 0, 1.0, under))


def _draw_relative(cells: Sequence[Cell], info: StudyInfo, budgets: Sequence[int], resamples: int) -> Floats:
    """Relative performance of resamples, (O, K, R)."""
    drawn = resample_values(cells, info, resamples)
    best = [best_weights(drawn_RN.shape[1], budgets) @ drawn_RN.T for drawn_RN in drawn]
    return _relate(np.stack(best))


def _resamples(cells: Sequence[Cell]) -> int:
    return int(np.clip(_HELD // max(len(cell.mean_N) for cell in cells), _FEWEST_RESAMPLES, RESAMPLES))


def _centre(
    value_Q: Floats, drawn_RQ: Floats, *, vary: bool, lowest: float = -np.inf, highest: float = np.inf
) -> list[Estimate]:
    """Bootstrap intervals round unbiased values.

    Points drawn with replacement have worse minima than points drawn without, by what the resamples' mean is off; that
    known error is taken off their quantiles.
    """
    if not vary:
        return [Estimate(value) for value in value_Q.tolist()]
    ends = np.quantile(drawn_RQ, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    low_Q, high_Q = np.clip(ends - drawn_RQ.mean(axis=0) + value_Q, lowest, highest)
    low_Q, high_Q = np.minimum(low_Q, value_Q), np.maximum(high_Q, value_Q)
    return [Estimate(*row) for row in zip(value_Q.tolist(), low_Q.tolist(), high_Q.tolist(), strict=True)]
