"""Confidence bands of a distribution from its order statistics, and of the tuning curve that follows from it."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from opda import utils as opda  # type: ignore[import-untyped]
from opda.nonparametric import EmpiricalDistribution  # type: ignore[import-untyped]
from scipy import optimize, stats

from study.report.measures.intervals import CONFIDENCE
from study.report.observations import Floats

#: Draws up to which the level of the band is computed; for more, the inequality of Dvoretzky, Kiefer and Wolfowitz.
MOST_EXACT = 4096


@dataclass(frozen=True, eq=False)
class CurveBands:
    """Simultaneous bands over K budgets, at :data:`CONFIDENCE`; infinite where the sample says nothing.

    Attributes:
        mean_low_K: Of the expected best.
        mean_high_K: The same, upper end.
        median_K: The median best of the empirical distribution.
        median_low_K: Of the median best.
        median_high_K: The same, upper end.
    """

    mean_low_K: Floats
    mean_high_K: Floats
    median_K: Floats
    median_low_K: Floats
    median_high_K: Floats


def band_tuning_curve(value_N: Floats, budgets: Sequence[int], lowest: float, highest: float) -> CurveBands:
    """Bands of the tuning curve of N independent draws, of which lower is better (Lourie et al. 2023).

    A band of the distribution's cumulative function holds the function everywhere at once, so what follows from its
    edges holds the mean and the median of the best of k for every k at once (arXiv 2311.09480, section 3). Ties make it
    wider than needed, never narrower.

    Args:
        value_N: The draws.
        budgets: K budgets k.
        lowest: What no draw can be below; minus infinity if unknown, and then the mean has no lower band.
        highest: What no draw can be above; infinity if unknown, and then the mean has no upper band.
    """
    low_N, high_N = order_band(len(value_N))
    padded = np.concatenate([[lowest], np.sort(value_N), [highest]])
    # Of the cumulative function between neighbours: at most high of the next one up, at least low of the last one.
    above = _distribution(padded, np.concatenate([high_N, [1.0, 1.0]]), lowest, highest)
    below = _distribution(padded, np.concatenate([[0.0], low_N, [1.0]]), lowest, highest)
    middle = EmpiricalDistribution(value_N, a=lowest, b=highest)
    ns = np.asarray(budgets, dtype=np.float64)
    return CurveBands(
        above.average_tuning_curve(ns, minimize=True),
        below.average_tuning_curve(ns, minimize=True),
        middle.quantile_tuning_curve(ns, minimize=True),
        above.quantile_tuning_curve(ns, minimize=True),
        below.quantile_tuning_curve(ns, minimize=True),
    )


def _distribution(padded: Floats, cumulative: Floats, lowest: float, highest: float) -> EmpiricalDistribution:
    return EmpiricalDistribution(padded, ws=np.diff(cumulative, prepend=0.0), a=lowest, b=highest)


@functools.lru_cache(maxsize=64)
def order_band(count: int) -> tuple[Floats, Floats]:
    """Intervals that hold all order statistics of so many uniform draws at once, at :data:`CONFIDENCE`.

    Each is the equal-tailed interval of its beta distribution, at one level for all, so that together they hold with
    the confidence asked for (Learned-Miller and DeStefano 2008). This is ``ld_equal_tailed`` of opda, which simulates
    the level and takes a minute for 1,024 draws; here it is computed. Beyond :data:`MOST_EXACT` draws that takes long
    too, and the wider band of Dvoretzky, Kiefer and Wolfowitz serves.

    Returns:
        The lower and the upper ends, of shape (count,) each.
    """
    if count > MOST_EXACT:
        ranks_N, reach = np.arange(1, count + 1), opda.dkw_epsilon(count, CONFIDENCE)
        return np.maximum(ranks_N / count - reach, 0.0), np.minimum((ranks_N - 1) / count + reach, 1.0)
    # The level of each alone lies between that of all together and its Bonferroni bound.
    ends = (math.log((1 - CONFIDENCE) / (2 * count)), math.log(1 - CONFIDENCE))
    level = optimize.brentq(lambda log: _coverage(*_intervals(count, math.exp(log))) - CONFIDENCE, *ends, rtol=1e-9)
    return _intervals(count, math.exp(float(level)))


def _intervals(count: int, level: float) -> tuple[Floats, Floats]:
    ranks_N = np.arange(1, count + 1)
    order = stats.beta(ranks_N, count + 1 - ranks_N)
    return np.asarray(order.ppf(level / 2)), np.asarray(order.ppf(1 - level / 2))


def _coverage(low_N: Floats, high_N: Floats) -> float:
    """Probability that every order statistic of uniform draws lies in its interval.

    The draws are a Poisson process of the same rate, given that it has N points. Its count walks through all ends in
    their order, and at each only the counts go on that break no interval (Moscovich and Nadler 2017, Statistics and
    Probability Letters 123, section 2).
    """
    count = len(low_N)
    ends = np.sort(np.concatenate([low_N, high_N, [1.0]]))
    # At an end t: all whose upper end has passed must have come, and none whose lower end is still ahead.
    least = np.searchsorted(high_N, ends, side="right")
    most = np.searchsorted(low_N, ends, side="left")
    chance, first = np.ones(1), 0
    for step, fewest, highest in zip(np.diff(ends, prepend=0.0) * count, least.tolist(), most.tolist(), strict=True):
        reach = highest - first
        arrivals = np.exp(-step) * np.cumprod(np.concatenate([[1.0], step / np.arange(1, reach + 1)]))
        chance = np.convolve(chance, arrivals)[fewest - first : highest - first + 1]
        first = fewest
    return float(chance[-1] / stats.poisson.pmf(count, count))
