"""Measures, statistics over the seeds of one trial or of a pair: means, differences, selection without a seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from study.axis import Value
from study.report.measures.intervals import CONFIDENCE, Estimate
from study.report.observations import Cell, Floats


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial over its seeds.

    Attributes:
        number: Its number; 0 is the default setting of a study of this service.
        hyperparameters: Names and values of its axes.
        seeds: Runs with an objective.
        diverged: How many of them diverged; each counts as chance level.
        mean: Mean objective over seeds.
        sd: Sample standard deviation over seeds; None with one.
        standard_error: Of the mean; None with one seed.
        test_mean: Mean test error; None if a run has none, as if it diverged.
        test_sd: Its sample standard deviation over seeds.
    """

    number: int
    hyperparameters: tuple[tuple[str, Value], ...]
    seeds: int
    diverged: int
    mean: float
    sd: float | None
    standard_error: float | None
    test_mean: float | None
    test_sd: float | None


def over_seeds(values: Sequence[float] | Floats) -> Estimate | None:
    """A mean over seeds with Student's t interval; without one from fewer than two, None from none.

    Args:
        values: One number per seed; those that are not finite are left out.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return None
    mean = math.fsum(known.tolist()) / len(known)
    if len(known) == 1:
        return Estimate(mean)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * np.std(known, ddof=1) / math.sqrt(len(known)))
    return Estimate(mean, mean - reach, mean + reach)


def difference(first_S: Floats, second_S: Floats, *, paired: bool) -> Estimate:
    """Mean of ``first_S`` less that of ``second_S``: Student's t over paired seeds, else Welch's (1947).

    Args:
        first_S: Objective of each seed; NaN where there is none, but not everywhere.
        second_S: The same.
        paired: Whether seed s means the same initial weights and data order in both.
    """
    a, b = first_S[np.isfinite(first_S)], second_S[np.isfinite(second_S)]
    value = float(a.mean() - b.mean())
    both = np.isfinite(first_S) & np.isfinite(second_S)
    if paired and both.sum() == max(len(a), len(b)):
        return over_seeds(first_S - second_S) or Estimate(value)
    if min(len(a), len(b)) < 2:
        return Estimate(value)
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if parts.sum() == 0:
        return Estimate(value, value, value)
    freedom = parts.sum() ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(parts.sum()))
    return Estimate(value, value - reach, value + reach)


def best_without(cell: Cell, seed: int) -> int | None:
    """Index of the finished trial with the lowest mean over all seeds but one, which it has a result of, too."""
    others_NS = np.delete(cell.objective_NS, seed, axis=1)
    count_N = np.isfinite(others_NS).sum(axis=1)
    able_N = cell.finished_N & np.isfinite(cell.objective_NS[:, seed]) & (count_N > 0)
    if not able_N.any():
        return None
    mean_N = np.nansum(others_NS, axis=1) / np.maximum(count_N, 1)
    return int(np.argmin(np.where(able_N, mean_N, np.inf)))


def scaled(estimate: Estimate | None, divisor: float | None) -> Estimate | None:
    """An estimate divided by a positive number; None if one of them is missing."""
    if estimate is None or divisor is None:
        return None
    low = None if estimate.low is None else estimate.low / divisor
    high = None if estimate.high is None else estimate.high / divisor
    return Estimate(estimate.value / divisor, low, high)


def result_of(cell: Cell, index: int) -> TrialResult:
    """A finished trial over its seeds."""
    values_S = cell.objective_NS[index]
    seeds = int(cell.seeds_N[index])
    sd = _finite(cell.sd_N[index])
    tests_S = cell.test_error_NS[index][np.isfinite(values_S)]
    test_sd = float(np.std(tests_S, ddof=1)) if seeds > 1 and np.isfinite(tests_S).all() else None
    return TrialResult(
        number=int(cell.number_N[index]),
        hyperparameters=tuple((name, _plain(value)) for name, value in cell.values[index].items()),
        seeds=seeds,
        diverged=int(cell.diverged_NS[index].sum()),
        mean=float(cell.mean_N[index]),
        sd=sd,
        standard_error=None if sd is None else sd / math.sqrt(seeds),
        test_mean=_finite(cell.test_mean_N[index]),
        test_sd=test_sd,
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Value) -> Value:
    return value if isinstance(value, bool | str) else float(value)
