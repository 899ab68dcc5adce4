"""What the best of k of B points is: weights of order statistics, drawn without replacement."""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from study.report.observations import Floats

Counts = npt.NDArray[np.int64]
#: Where nothing more can be the best: what is left over of a probability.
_NEGLIGIBLE = 1e-15
#: Numbers that are worked on at once, which bounds the memory.
_AT_ONCE = 4_000_000


def survival_table(count: int, budgets: Sequence[int]) -> Floats:
    """Probability that none of the j best of B points is among k that are drawn without replacement.

    C(B - j, k) / C(B, k), as a product of ratios, which neither overflows nor cancels.

    Args:
        count: B.
        budgets: K budgets k, each from 1 to B.

    Returns:
        Of shape (K, B + 1), by budget, then j = 0 … B.
    """
    left_B = np.arange(count, 0, -1)
    ratios_KB = np.maximum(left_B - np.asarray(budgets)[:, None], 0) / left_B
    return np.concatenate([np.ones((len(budgets), 1)), np.cumprod(ratios_KB, axis=1)], axis=1)


def best_weights(count: int, budgets: Sequence[int]) -> Floats:
    """Probability that the j-th smallest of B points is the smallest of k that are drawn without replacement.

    C(B - j, k - 1) / C(B, k): the unbiased estimate of the expected best of k (Dodge et al. 2021, arXiv 2110.00613)
    for a number of which lower is better.

    Args:
        count: B.
        budgets: K budgets k, each from 1 to B.

    Returns:
        Of shape (K, B), by budget, then rank; each row sums to 1.
    """
    left_B = np.arange(count, 0, -1)
    taken_KB = np.minimum(np.asarray(budgets)[:, None] / left_B, 1.0)
    return np.asarray(survival_table(count, budgets)[:, :-1] * taken_KB)


def expect_best(value_N: Floats, budgets: Sequence[int]) -> Floats:
    """Expected lowest of k of the values, of shape (K,): see :func:`best_weights`."""
    return np.asarray(best_weights(len(value_N), budgets) @ np.sort(value_N))


def expect_selected(value_N: Floats, other_N: Floats, budgets: Sequence[int]) -> Floats:
    """Expected other number, such as the test error, of that point of k which has the lowest value.

    Points of equal value are selected equally often.

    Args:
        value_N: What is selected by.
        other_N: What is expected; NaN where a point has none.
        budgets: K budgets k.

    Returns:
        Of shape (K,); NaN for budgets that can select a point without the number.
    """
    order = np.argsort(value_N, kind="stable")
    starts = np.flatnonzero(np.diff(value_N[order], prepend=-np.inf))
    weights_KG = np.add.reduceat(best_weights(len(value_N), budgets), starts, axis=1)
    mean_G = np.add.reduceat(other_N[order], starts) / np.diff(starts, append=len(value_N))
    return np.asarray(np.where(weights_KG > 0, weights_KG * mean_G, 0.0).sum(axis=1))


def weigh_budgets(count: int, weights_RK: Floats) -> Floats:
    """Weights of order statistics for averages over the budgets 1 … K.

    Args:
        count: B.
        weights_RK: R averages: the weight of each budget.

    Returns:
        Of shape (R, B): its product with the sorted values is the average of their expected bests.
    """
    most = weights_RK.shape[1]
    total = np.zeros((len(weights_RK), count))
    step = max(1, _AT_ONCE // count)
    for start in range(0, most, step):
        budgets = range(start + 1, min(start + step, most) + 1)
        total += weights_RK[:, start : start + step] @ best_weights(count, budgets)
    return total


def share_best(values: Sequence[Floats], budgets: Sequence[int], tables: Sequence[Floats] | None = None) -> Floats:
    """Probability that each of O groups has the lowest value, where k are drawn without replacement from each.

    Exact: the sum over all values v of P(the lowest of the group is v) times the chance that the other groups are
    above v, or at v and lose a fair draw among the tied. With m others at v, the group wins one time in m + 1, which is
    the integral over t from 0 to 1 of t^m: so the chance is the integral of the product of P(above v) + t P(at v), a
    polynomial that Gauss and Legendre's rule integrates without error.

    Args:
        values: Those of each group, increasing.
        budgets: K budgets k, none above the size of any group.
        tables: :func:`survival_table` of each group, where they are known.

    Returns:
        Of shape (K, O); rows sum to 1.
    """
    tables = tables or [survival_table(len(group), budgets) for group in values]
    all_V = np.unique(np.concatenate(values))
    below_OV = [np.asarray(np.searchsorted(group, all_V, side="left"), dtype=np.int64) for group in values]
    within_OV = [np.asarray(np.searchsorted(group, all_V, side="right"), dtype=np.int64) for group in values]
    return np.array([_share_at([table[row] for table in tables], below_OV, within_OV) for row in range(len(budgets))])


def _share_at(table: Sequence[Floats], below_OV: Sequence[Counts], within_OV: Sequence[Counts]) -> Floats:
    """One row of :func:`share_best`, from the counts below, and at or below, each value."""
    reached_OV = np.stack([row[below] for row, below in zip(table, below_OV, strict=True)])
    kept = max(1, int(np.sum(np.prod(reached_OV, axis=0) > _NEGLIGIBLE)))
    reached_OV = reached_OV[:, :kept]
    above_OV = np.stack([row[within[:kept]] for row, within in zip(table, within_OV, strict=True)])
    at_OV = reached_OV - above_OV
    nodes_T, weights_T = _gauss_nodes(len(table))
    lost_TOV = above_OV + (nodes_T[:, None, None] + 1) / 2 * at_OV
    shares = [
        float(weights_T / 2 @ np.prod(np.delete(lost_TOV, place, axis=1), axis=1) @ at_OV[place])
        for place in range(len(table))
    ]
    return np.asarray(shares) / sum(shares)


@functools.cache
def _gauss_nodes(groups: int) -> tuple[Floats, Floats]:
    """Nodes and weights that integrate polynomials of degree ``groups`` - 1 exactly."""
    nodes_T, weights_T = np.polynomial.legendre.leggauss((groups + 1) // 2)
    return nodes_T, weights_T
