"""Average ranks of optimizers over workloads: Friedman's test, Iman and Davenport's, Nemenyi's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scikit_posthocs  # type: ignore[import-untyped]
from scipy import stats

from study.report.measures.comparison.paired_tests import ALPHA
from study.report.measures.intervals import Estimate, bootstrap
from study.report.observations import Floats

_RANKS = 44


@dataclass(frozen=True, slots=True)
class AverageRank:
    """Average rank of one optimizer over workloads; 1 is the best.

    Attributes:
        optimizer: Name of the optimizer.
        title: What people call it.
        rank: The average; tied optimizers share the mean of their ranks. Its interval resamples workloads.
        wins: Workloads on which no optimizer is better.
    """

    optimizer: str
    title: str
    rank: Estimate
    wins: int


@dataclass(frozen=True, slots=True)
class RankTests:
    """Tests of k optimizers over N workloads (Demsar 2006, section 3.2).

    Attributes:
        workloads: Those on which every optimizer has a number.
        statistic: What optimizers are ranked by.
        ranks: Of each optimizer, in the study's order.
        friedman: Friedman's chi-square with k - 1 degrees of freedom, corrected for ties; None with fewer than three
            optimizers, or if all are tied.
        friedman_p: Its p-value.
        iman_davenport: The F statistic of Iman and Davenport; None where Friedman's is, and where it is infinite, as
            all workloads rank alike.
        iman_davenport_p: Its p-value, with k - 1 and (k - 1)(N - 1) degrees of freedom.
        critical_difference: Difference of average ranks from which Nemenyi's test tells two optimizers apart.
        nemenyi: First, second optimizer, and p-value, of every pair.
        groups: Largest sets of neighbouring optimizers that it does not tell apart, two or more each, by rank.
    """

    workloads: tuple[str, ...]
    statistic: str
    ranks: tuple[AverageRank, ...]
    friedman: float | None
    friedman_p: float | None
    iman_davenport: float | None
    iman_davenport_p: float | None
    critical_difference: float
    nemenyi: tuple[tuple[str, str, float], ...]
    groups: tuple[tuple[str, ...], ...]


def rank_optimizers(
    score_WO: Floats, workloads: Sequence[str], names: Sequence[str], titles: Sequence[str], statistic: str
) -> RankTests:
    """Ranks and their tests.

    Args:
        score_WO: A number for each of N workloads and k optimizers, both at least 2; finite, lower is better.
        workloads: Names of the workloads.
        names: Names of the optimizers.
        titles: What people call them.
        statistic: What the number is.
    """
    ranks_WO = stats.rankdata(score_WO, axis=1)
    mean_O = ranks_WO.mean(axis=0)
    count, optimizers = score_WO.shape
    difference = critical_difference(optimizers, count)
    friedman, friedman_p = _test_friedman(score_WO)
    statistic_f, statistic_p = iman_davenport(friedman, count, optimizers)
    p_OO = scikit_posthocs.posthoc_nemenyi_friedman(score_WO).to_numpy()
    return RankTests(
        workloads=tuple(workloads),
        statistic=statistic,
        ranks=tuple(
            AverageRank(name, title, _average(ranks_WO[:, place], place), int((score_WO[:, place] == best_W).sum()))
            for best_W in [score_WO.min(axis=1)]
            for place, (name, title) in enumerate(zip(names, titles, strict=True))
        ),
        friedman=friedman,
        friedman_p=friedman_p,
        iman_davenport=statistic_f,
        iman_davenport_p=statistic_p,
        critical_difference=difference,
        nemenyi=tuple(
            (names[first], names[second], float(min(p_OO[first, second], 1.0)))
            for first in range(optimizers)
            for second in range(first + 1, optimizers)
        ),
        groups=group_ranks(mean_O, names, difference),
    )


def _average(rank_W: Floats, place: int) -> Estimate:
    return bootstrap(lambda chosen: float(rank_W[chosen].mean()), len(rank_W), seed=[_RANKS, place])


def critical_difference(optimizers: int, workloads: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of average ranks, q_alpha sqrt(k (k + 1) / (6 N)) (Demsar 2006, equation for CD).

    q_alpha is the quantile of the studentized range with infinite degrees of freedom, divided by sqrt(2).
    """
    quantile = float(stats.studentized_range.ppf(1 - alpha, optimizers, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(optimizers * (optimizers + 1) / (6 * workloads))


def _test_friedman(score_WO: Floats) -> tuple[float | None, float | None]:
    if score_WO.shape[1] < 3 or (np.ptp(score_WO, axis=1) == 0).all():
        return None, None
    result = stats.friedmanchisquare(*score_WO.T)
    return float(result.statistic), float(result.pvalue)


def iman_davenport(friedman: float | None, workloads: int, optimizers: int) -> tuple[float | None, float | None]:
    """Iman and Davenport's F and its p-value, from Friedman's chi-square (Demsar 2006, section 3.2.2)."""
    if friedman is None:
        return None, None
    left = workloads * (optimizers - 1) - friedman
    if left <= 1e-9:
        return None, None
    value = (workloads - 1) * friedman / left
    return value, float(stats.f.sf(value, optimizers - 1, (optimizers - 1) * (workloads - 1)))


def group_ranks(rank_O: Floats, names: Sequence[str], difference: float) -> tuple[tuple[str, ...], ...]:
    """Largest runs of optimizers, in the order of their ranks, whose first and last differ by less than ``difference``.

    Those are the bars of a critical-difference diagram.
    """
    order = np.argsort(rank_O, kind="stable")
    groups: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start + int((rank_O[order[start:]] - rank_O[order[start]] < difference).sum())
        if end > reached and end - start > 1:
            groups.append(tuple(names[place] for place in order[start:end]))
            reached = end
    return tuple(groups)
