"""Measures rank correlations, also given a third variable, with bootstrap intervals from many resamples at once."""

from collections.abc import Mapping

import numpy as np

from study.report.measures.intervals import CONFIDENCE, RESAMPLES, Estimate
from study.report.observations import Floats

#: Fewest points of a correlation; of its interval; and of one that a curve is taken out of.
LEAST_POINTS = 5
LEAST_FOR_INTERVAL = 8
LEAST_FOR_CURVE = 12
#: What is left of a variance, as a share, below which a variable is a function of the others.
_NOTHING_LEFT = 1e-9
#: Highest power of ranks that is taken out.
_DEGREE = 3
#: Resamples that are worked on together, which fit into a processor's cache.
_AT_ONCE = 50


class RankCorrelations:
    """Rank correlations of several variables over the same points: every resample is drawn and ranked once.

    Args:
        variables: Name -> one finite number per point.
        given: Name of the variable that correlations may be given; None for none.
        seed: Keys the resamples.
    """

    def __init__(self, variables: Mapping[str, Floats], given: str | None = None, *, seed: int) -> None:
        self._places = {name: place for place, name in enumerate(variables)}
        self._given = given
        self._count = len(next(iter(variables.values())))
        if not self._count:
            return
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, self._count])))
        # The points themselves come first. A resample is how often it has each point.
        drawn = generator.multinomial(self._count, np.full(self._count, 1.0 / self._count), RESAMPLES)
        weight_RN = np.vstack([np.ones(self._count), drawn])
        parts = np.array_split(weight_RN, -(-len(weight_RN) // _AT_ONCE))
        ordered = [_Ordered(values) for values in variables.values()]
        self._covariance_RKK = np.concatenate(
            [_covariances(part, ordered, None if given is None else self._places[given]) for part in parts]
        )

    def between(self, x: str, y: str, *, given: bool = False, degree: int = 1) -> Estimate | None:
        """Spearman's rank correlation of two variables, or the partial one, with its percentile bootstrap interval.

        Given a variable z, it is the correlation of what is left of the ranks of x and y after a polynomial in the
        ranks of z is taken out by least squares: with degree 1 the usual partial rank correlation,
        ``(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))``.

        Args:
            x: Name of the one.
            y: Name of the other.
            given: Whether the variable that was named is taken out.
            degree: Of the polynomial, at most 3.

        Returns:
            None with too few points, or if x or y does not vary, or is nothing but a function of z. Without an interval
            from few points, or if all resamples agree, as with a correlation of 1.
        """
        if self._count < (LEAST_POINTS if degree == 1 else LEAST_FOR_CURVE) or (given and self._given is None):
            return None
        kept = [self._places[x], self._places[y], *([*range(len(self._places), len(self._places) + degree)] * given)]
        correlation_R = _partial(self._covariance_RKK[:, kept][:, :, kept])
        value, drawn = float(correlation_R[0]), correlation_R[1:]
        if not np.isfinite(value):
            return None
        known = drawn[np.isfinite(drawn)]
        if self._count < LEAST_FOR_INTERVAL or len(known) < RESAMPLES / 2 or np.ptp(known) < _NOTHING_LEFT:
            return Estimate(value)
        low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return Estimate(value, float(low), float(high))


class _Ordered:
    """One variable: which points share a value, and the order of the values."""

    def __init__(self, value_N: Floats) -> None:
        self.group_N = np.unique(value_N, return_inverse=True)[1]
        self.order_N = np.argsort(self.group_N, kind="stable")
        self.start_G = np.flatnonzero(np.diff(self.group_N[self.order_N], prepend=-1))

    def rank(self, weight_RN: Floats) -> Floats:
        """Ranks in each resample, mid-ranks for ties, scaled to [-1, 1]; their weighted mean is 0."""
        in_group_RG = np.add.reduceat(weight_RN[:, self.order_N], self.start_G, axis=1)
        rank_RG = in_group_RG.cumsum(axis=1) - in_group_RG / 2.0
        return np.asarray(2.0 * rank_RG[:, self.group_N] / weight_RN.sum(axis=1, keepdims=True) - 1.0)


def _covariances(weight_RN: Floats, variables: list[_Ordered], given: int | None) -> Floats:
    """Sums of products of the ranks of all variables, and of the powers of one of them, in each resample."""
    ranks = [variable.rank(weight_RN) for variable in variables]
    columns = ranks + ([] if given is None else [ranks[given] ** power for power in range(1, _DEGREE + 1)])
    column_RKN = np.stack(columns, axis=1)
    mean_RK = np.einsum("rkn,rn->rk", column_RKN, weight_RN) / weight_RN.sum(axis=1, keepdims=True)
    column_RKN -= mean_RK[:, :, None]
    return np.asarray((column_RKN * weight_RN[:, None, :]) @ column_RKN.transpose(0, 2, 1))


def _partial(covariance_RKK: Floats) -> Floats:
    """Correlation of the first two variables after the others are taken out, one after the other; NaN for none."""
    left = covariance_RKK.copy()
    total = np.maximum(np.einsum("rkk->rk", covariance_RKK), 1e-300)
    for k in range(left.shape[1] - 1, 1, -1):
        pivot = left[:, k, k].copy()
        # A power of z that the others say already takes nothing out.
        usable = pivot > _NOTHING_LEFT * total[:, k]
        column = np.where(usable[:, None], left[:, :, k] / np.where(usable, pivot, 1.0)[:, None], 0.0)
        left -= column[:, :, None] * left[:, k, None, :]
    enough = (left[:, 0, 0] > _NOTHING_LEFT * total[:, 0]) & (left[:, 1, 1] > _NOTHING_LEFT * total[:, 1])
    scale = np.sqrt(np.where(enough, left[:, 0, 0] * left[:, 1, 1], 1.0))
    return np.asarray(np.where(enough, np.clip(left[:, 0, 1] / scale, -1.0, 1.0), np.nan))
