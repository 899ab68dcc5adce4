"""Tests of differences between two optimizers, whatever the pairs are: seeds or workloads."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from study.report.measures.holm import adjust_holm
from study.report.observations import Floats

#: Level of every test.
ALPHA = 0.05
#: Share of the largest number below which a difference is rounding.
_ROUNDING = 1e-12
#: Pairs up to which all signs of tied differences are gone through.
_MOST_EXACT = 12


def subtract(first_N: Floats, second_N: Floats) -> Floats:
    """Differences, with what is no more than rounding taken off: equal ones are equal, and zero is zero."""
    unit = max(float(np.abs(first_N).max()), float(np.abs(second_N).max())) * _ROUNDING or 1.0
    return np.round((first_N - second_N) / unit) * unit


def rank_p(difference_N: Floats) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test: exact up to 50 pairs, up to 12 with ties or zeros.

    Args:
        difference_N: Differences of N pairs, at least 1; zeros are dropped, as Wilcoxon (1945) did.
    """
    known_N = difference_N[difference_N != 0]
    count = len(known_N)
    if count == 0:
        return 1.0
    if len(np.unique(np.abs(known_N))) == count and count <= 50:
        return float(stats.wilcoxon(known_N, method="exact").pvalue)
    if count <= _MOST_EXACT:
        return _flip_signs(stats.rankdata(np.abs(known_N)), known_N > 0)
    return float(stats.wilcoxon(known_N, correction=True, method="auto").pvalue)


def _flip_signs(rank_N: Floats, positive_N: Floats) -> float:
    """Share of all 2^N sign patterns whose rank sum is as far from its mean as that observed."""
    signs_PN = np.arange(2 ** len(rank_N))[:, None] >> np.arange(len(rank_N)) & 1
    middle = rank_N.sum() / 2
    far = abs(float(rank_N @ positive_N) - middle)
    return float(np.mean(np.abs(signs_PN @ rank_N - middle) >= far - 1e-9))


def least_rank_p(pairs: int) -> float:
    """The smallest p-value that the signed-rank test can have with so many pairs: 2^(1 - pairs)."""
    return min(1.0, 2.0 ** (1 - pairs))


def correct_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values of one family, corrected by Holm (1979); those that do not exist count as 1 and stay None."""
    corrected = adjust_holm([1.0 if p is None else p for p in p_values])
    return [None if p is None else q for p, q in zip(p_values, corrected, strict=True)]
