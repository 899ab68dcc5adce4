"""Estimates with their intervals: Wilson's for shares, percentile bootstrap, delete-a-group jackknife."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
#: Resamples of every bootstrap.
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval at :data:`CONFIDENCE`.

    Attributes:
        value: The number.
        low: Lower end; None where no interval can be made, as from one seed.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``total``, with a Wilson score interval (Wilson 1927) at :data:`CONFIDENCE`.

    The interval treats the points as independent draws; a Sobol' design is more even, so it errs on the wide side.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself, in [0, 1]."""
        return self.count / self.total


def measure_share(count: int, total: int) -> Share:
    """The share of ``count`` in ``total``, which is at least 1, with its interval."""
    interval = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return Share(count, total, float(interval.low), float(interval.high))


def score_interval(hits: float, draws: float) -> tuple[float, float]:
    """Wilson's score interval at :data:`CONFIDENCE` of ``hits`` in ``draws``; neither has to be a whole number."""
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    share, weight = hits / draws, z**2 / draws
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / draws + weight / (4 * draws)) / (1 + weight)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def measure_clustered_share(part_N: npt.NDArray[np.float64], whole_N: npt.NDArray[np.float64]) -> Estimate:
    """A share of runs that come in groups, as the seeds of a point do, with Wilson's interval of as many draws.

    Runs of a group are alike, so they count as fewer independent draws: as many as would vary as the share does between
    groups (the effective sample size of Korn and Graubard 1998, "Confidence intervals for proportions with small
    expected number of positive counts estimated from survey data"), no fewer than groups and no more than runs. A
    bootstrap of groups holds the truth too seldom if they are few.

    Args:
        part_N: Of each of N >= 1 groups, how many runs count.
        whole_N: Of how many, at least 1.
    """
    groups, runs = len(part_N), float(whole_N.sum())
    share = float(part_N.sum()) / runs
    draws = float(groups)
    if groups > 1 and 0 < share < 1:
        variance = groups / (groups - 1) * float(np.sum((part_N - share * whole_N) ** 2)) / runs**2
        draws = min(max(share * (1 - share) / variance, groups), runs) if variance > 0 else runs
    return Estimate(share, *score_interval(share * draws, draws))


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], float], count: int, *, seed: Sequence[int], resamples: int = RESAMPLES
) -> Estimate:
    """A statistic of ``count`` units with its percentile bootstrap interval (Efron 1979).

    Args:
        statistic: Given the indices of units, with repetitions, the number; NaN where it has none.
        count: Number of units, at least 1; with one there is no interval.
        seed: Keys the resamples.
        resamples: How many.
    """
    value = float(statistic(np.arange(count)))
    if count < 2 or not math.isfinite(value):
        return Estimate(value)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(seed))))
    draws = np.array([statistic(generator.integers(0, count, count)) for _ in range(resamples)])
    known = draws[np.isfinite(draws)]
    if len(known) < resamples / 2:
        return Estimate(value)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def jackknife(
    value: float, without_group: Sequence[float], *, lowest: float = -math.inf, highest: float = math.inf
) -> Estimate:
    """A number with its delete-a-group jackknife interval (Efron and Tibshirani 1993, chapter 11; Student's t).

    With G groups of equal size, se^2 = (G - 1) / G * sum_g (value_without_g - their mean)^2, and G - 1 degrees of
    freedom. For surrogates the groups are the folds of the cross-validation: their models exist already.

    Args:
        value: From all groups.
        without_group: The same from all groups but one, for each; with fewer than two there is no interval.
        lowest: Smallest value that there can be.
        highest: Largest value that there can be.
    """
    groups = len(without_group)
    if groups < 2 or not np.isfinite([value, *without_group]).all():
        return Estimate(value)
    spread = float(np.sum((np.asarray(without_group) - np.mean(without_group)) ** 2))
    error = math.sqrt((groups - 1) / groups * spread)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * error
    return Estimate(value, max(value - reach, lowest), min(value + reach, highest))
