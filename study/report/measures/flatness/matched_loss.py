"""Measures whether one optimizer ends in flatter places than another at the same training loss."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from study.report.measures.holm import adjust_holm
from study.report.measures.intervals import CONFIDENCE, Estimate
from study.report.observations import Floats

FlatterVerdict = Literal["first is flatter", "second is flatter", "no difference could be shown", "too few pairs"]
#: Largest distance of the training losses of a pair, in decades.
CALIPER = 0.1
#: Fewest pairs of a test: with six, Wilcoxon's smallest two-sided p-value is 0.03.
LEAST_PAIRS = 6


@dataclass(frozen=True, slots=True)
class LossMatched:
    """One optimizer's sharpness against another's at equal training loss, by one quantity on one workload.

    Attributes:
        workload: Name of the workload.
        quantity: Which sharpness.
        first: Name of the one optimizer.
        second: Name of the other.
        pairs: Pairs of trials whose training losses are within :data:`CALIPER` decades, each trial in one at most.
        first_trials: Trials of the first that could be paired: measured, with a loss and a sharpness above 0.
        second_trials: The same of the second.
        first_lost: Measured trials of the first whose loss or sharpness is not above 0, which have no logarithm.
        second_lost: The same of the second.
        loss_low: Smallest training loss among the pairs; None without pairs.
        loss_high: Largest.
        imbalance: Mean of log10(loss of the first / loss of the second) over the pairs: near 0 if they are matched.
        ratio: Median of sharpness of the first / sharpness of the second, corrected for what is left between the losses
            of a pair (Abadie and Imbens 2011), with a distribution-free interval of the median over pairs; None without
            pairs.
        p: Two-sided p-value of Wilcoxon's signed-rank test of the log-ratios; None with too few pairs.
        p_adjusted: The same by Holm over the pairs of optimizers of this workload and quantity.
        verdict: A difference needs ``p_adjusted`` below 0.05 and an interval of the ratio without 1.
    """

    workload: str
    quantity: str
    first: str
    second: str
    pairs: int
    first_trials: int
    second_trials: int
    first_lost: int
    second_lost: int
    loss_low: float | None
    loss_high: float | None
    imbalance: float | None
    ratio: Estimate | None
    p: float | None
    p_adjusted: float | None
    verdict: FlatterVerdict


def match_losses(
    workload: str, quantity: str, losses: Mapping[str, Floats], sharpness: Mapping[str, Floats]
) -> tuple[LossMatched, ...]:
    """Compare all pairs of optimizers of a workload at equal training loss.

    Args:
        workload: Its name.
        quantity: Which sharpness.
        losses: Optimizer -> training loss of each of its measured trials; NaN where there is none.
        sharpness: Optimizer -> the same of its sharpness.
    """
    sides = [_Side.of(optimizer, losses[optimizer], sharpness[optimizer]) for optimizer in losses]
    pairs = [_compare(workload, quantity, first, second) for first, second in itertools.combinations(sides, 2)]
    tested = [place for place, pair in enumerate(pairs) if pair.p is not None]
    for place, adjusted in zip(tested, adjust_holm([pairs[place].p or 0.0 for place in tested]), strict=True):
        pair = replace(pairs[place], p_adjusted=adjusted)
        pairs[place] = replace(pair, verdict=_judge(pair))
    return tuple(pairs)


@dataclass(frozen=True, eq=False)
class _Side:
    """One optimizer's trials that can be paired, by training loss."""

    optimizer: str
    log_loss_N: Floats
    log_sharpness_N: Floats
    lost: int

    @classmethod
    def of(cls, optimizer: str, loss_N: Floats, sharpness_N: Floats) -> "_Side":
        known_N = np.isfinite(loss_N) & np.isfinite(sharpness_N)
        kept_N = known_N & (loss_N > 0) & (sharpness_N > 0)
        order = np.argsort(loss_N[kept_N], kind="stable")
        loss_K, sharpness_K = loss_N[kept_N][order], sharpness_N[kept_N][order]
        return cls(optimizer, np.log10(loss_K), np.log(sharpness_K), int((known_N & ~kept_N).sum()))


def _compare(workload: str, quantity: str, first: _Side, second: _Side) -> LossMatched:
    rows, columns = match_nearest(first.log_loss_N, second.log_loss_N, CALIPER)
    one_P, other_P = first.log_loss_N[rows], second.log_loss_N[columns]
    sharp_P, other_sharp_P = first.log_sharpness_N[rows], second.log_sharpness_N[columns]
    # What is left between the losses of a pair moves its sharpness by this slope (Abadie and Imbens 2011).
    log_ratio_P = sharp_P - other_sharp_P - _slope((one_P, sharp_P), (other_P, other_sharp_P)) * (one_P - other_P)
    matched = np.concatenate([one_P, other_P])
    return LossMatched(
        workload=workload,
        quantity=quantity,
        first=first.optimizer,
        second=second.optimizer,
        pairs=len(rows),
        first_trials=len(first.log_loss_N),
        second_trials=len(second.log_loss_N),
        first_lost=first.lost,
        second_lost=second.lost,
        loss_low=float(10 ** matched.min()) if len(matched) else None,
        loss_high=float(10 ** matched.max()) if len(matched) else None,
        imbalance=float(np.mean(one_P - other_P)) if len(matched) else None,
        ratio=_median_ratio(log_ratio_P) if len(rows) else None,
        p=_wilcoxon(log_ratio_P) if len(rows) >= LEAST_PAIRS else None,
        p_adjusted=None,
        verdict="too few pairs",
    )


def _slope(*groups: tuple[Floats, Floats]) -> float:
    """Slope of y over x within groups, by least squares; 0 where x does not vary."""
    within = [(x - x.mean(), y - y.mean()) for x, y in groups if len(x)]
    spread = sum(float(x @ x) for x, _ in within)
    return sum(float(x @ y) for x, y in within) / spread if spread > 0 else 0.0


def match_nearest(x_N: Floats, y_M: Floats, caliper: float) -> tuple[list[int], list[int]]:
    """Pairs of numbers no further apart than ``caliper``: as many as can be, with the least sum of distances.

    On a line no best pairing crosses itself, so that dynamic programming over sorted numbers finds one.

    Args:
        x_N: Increasing numbers.
        y_M: Increasing numbers.
        caliper: Above 0.

    Returns:
        Indices into ``x_N`` and, in the same order, into ``y_M``; each index once at most.
    """
    # One pair more is worth more than all distances together.
    worth = (min(len(x_N), len(y_M)) + 1) * caliper
    best = np.zeros((len(x_N) + 1, len(y_M) + 1))
    for i, x in enumerate(x_N, start=1):
        apart_M = np.abs(x - y_M)
        paired_M = np.where(apart_M <= caliper, best[i - 1, :-1] + worth - apart_M, 0.0)
        best[i, 1:] = np.maximum.accumulate(np.maximum(best[i - 1, 1:], paired_M))
    rows, columns = [], []
    i, j = len(x_N), len(y_M)
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            rows.append(i)
            columns.append(j)
    return rows[::-1], columns[::-1]


def _median_ratio(log_ratio_P: Floats) -> Estimate:
    """The median ratio with its distribution-free interval, between two order statistics (David and Nagaraja 2003)."""
    count = len(log_ratio_P)
    value = math.exp(float(np.median(log_ratio_P)))
    # The largest k with P(Bin(n, 1/2) < k) of at most half of what is left out.
    beyond = int(stats.binom.ppf((1 - CONFIDENCE) / 2, count, 0.5))
    if stats.binom.cdf(beyond, count, 0.5) > (1 - CONFIDENCE) / 2:
        beyond -= 1
    if beyond < 0:
        return Estimate(value)
    ordered = np.sort(log_ratio_P)
    return Estimate(value, math.exp(float(ordered[beyond])), math.exp(float(ordered[count - 1 - beyond])))


def _wilcoxon(log_ratio_P: Floats) -> float:
    if not log_ratio_P.any():
        return 1.0
    return float(stats.wilcoxon(log_ratio_P).pvalue)


def _judge(pair: LossMatched) -> FlatterVerdict:
    ratio = pair.ratio
    if pair.p_adjusted is None or ratio is None or ratio.low is None or ratio.high is None:
        return "too few pairs"
    if pair.p_adjusted < 1 - CONFIDENCE and not ratio.low <= 1.0 <= ratio.high:
        return "first is flatter" if ratio.value < 1 else "second is flatter"
    return "no difference could be shown"
