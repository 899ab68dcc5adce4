"""Measures of a forest: functional ANOVA, exact for each of its trees (fANOVA)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeRegressor

from study.report.measures.importance.variance import Levels, axis_pairs
from study.report.observations import Floats

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fraction:
    """A share of the variance of a tree's function.

    Attributes:
        mean: Over trees, in [0, 1].
        sd: Sample standard deviation over trees; None with one.
    """

    mean: float
    sd: float | None


@dataclass(frozen=True, slots=True)
class ForestAnova:
    """Shares of the variance of a forest's trees.

    Attributes:
        axes: Of each axis, what it explains alone.
        pairs: Of each pair of axes, in the order of :func:`study.report.measures.variance.axis_pairs`, what their
            interaction explains alone.
        trees: Trees that are not flat, which these are means over.
    """

    axes: tuple[Fraction, ...]
    pairs: tuple[Fraction, ...]
    trees: int


@dataclass(frozen=True, eq=False)
class _Leaves:
    """The K boxes in which a tree is constant, with sides as shares of the prior.

    Attributes:
        low_KD: Where each begins on each of D axes.
        high_KD: Where it ends.
        value_K: What the tree predicts there.
    """

    low_KD: Floats
    high_KD: Floats
    value_K: Floats

    @property
    def mean(self) -> float:
        """Of the tree's function over the space."""
        return float(self.value_K @ np.prod(self.high_KD - self.low_KD, axis=1))

    @property
    def variance(self) -> float:
        """Of the tree's function over the space."""
        return float((self.value_K - self.mean) ** 2 @ np.prod(self.high_KD - self.low_KD, axis=1))


def measure_forest(trees: Sequence[DecisionTreeRegressor], levels: Sequence[Levels | None]) -> ForestAnova | None:
    """Which shares of the variance of a forest's trees single axes and pairs explain: F_U = V_U / V.

    Hutter, Hoos and Leyton-Brown (ICML 2014), algorithm 2: each tree is constant on boxes, so its marginals are step
    functions between its thresholds, and their variances are sums. The measure is the prior over the unit cube, so that
    an axis that the study declares in log is measured in log; a choice has the same share as any other choice. All
    trees are used, and their leaves reach to the sides of the cube.

    Args:
        trees: Of a forest learned from places in the unit cube.
        levels: Of each of D axes; None for a continuous one.

    Returns:
        None if all trees are flat.
    """
    rows = [row for row in (_measure_tree(tree, levels) for tree in trees) if row is not None]
    if not rows:
        return None
    fractions_RF = np.array(rows)
    means = np.clip(fractions_RF.mean(axis=0), 0.0, 1.0)
    sds = fractions_RF.std(axis=0, ddof=1) if len(rows) > 1 else [None] * len(means)
    fractions = [Fraction(float(mean), None if sd is None else float(sd)) for mean, sd in zip(means, sds, strict=True)]
    axes = len(levels)
    return ForestAnova(tuple(fractions[:axes]), tuple(fractions[axes:]), len(rows))


def _measure_tree(tree: DecisionTreeRegressor, levels: Sequence[Levels | None]) -> Floats | None:
    """Fractions of all axes, then of all pairs; None for a flat tree."""
    leaves = _find_leaves(tree, levels)
    variance = leaves.variance
    if not variance > 0:
        return None
    axes = range(len(levels))
    steps = [_find_steps(leaves, axis) for axis in axes]
    alone = [_axis_variance(leaves, axis, steps[axis]) for axis in axes]
    together = [
        _pair_variance(leaves, (i, j), (steps[i], steps[j])) - alone[i] - alone[j] for i, j in axis_pairs(len(axes))
    ]
    return np.array([*alone, *together]) / variance


def _find_leaves(estimator: DecisionTreeRegressor, levels: Sequence[Levels | None]) -> _Leaves:
    """The boxes of a tree; those that no point of the space lies in, as between two choices, are left out."""
    tree = estimator.tree_
    count, axes = tree.node_count, len(levels)
    low, high = np.zeros((count, axes)), np.ones((count, axes))
    threshold = _measure_thresholds(tree.feature, tree.threshold, levels)
    parents = np.array([0])
    # One level of the tree after the other: a child's box is its parent's, cut at the parent's threshold.
    while len(parents := parents[tree.feature[parents] >= 0]):
        left, right = tree.children_left[parents], tree.children_right[parents]
        axis, cut = tree.feature[parents], threshold[parents]
        low[left], high[left], low[right], high[right] = low[parents], high[parents], low[parents], high[parents]
        high[left, axis] = np.minimum(high[left, axis], cut)
        low[right, axis] = np.maximum(low[right, axis], cut)
        parents = np.concatenate([left, right])
    kept = (tree.feature < 0) & (high > low).all(axis=1)
    return _Leaves(low[kept], high[kept], tree.value[kept, 0, 0])


def _measure_thresholds(feature: _Ints, threshold: Floats, levels: Sequence[Levels | None]) -> Floats:
    """Share of the prior at or below each threshold, on its axis."""
    shares = np.clip(threshold, 0.0, 1.0)
    for axis, level in enumerate(levels):
        if level is not None:
            shares[feature == axis] = level.measure(threshold[feature == axis])
    return shares


@dataclass(frozen=True, eq=False)
class _Steps:
    """The G steps of a tree along one axis.

    Attributes:
        width_G: Share of the prior that each has.
        first_K: The first step that each of K leaves covers.
        end_K: The step after the last.
    """

    width_G: Floats
    first_K: _Ints
    end_K: _Ints


def _find_steps(leaves: _Leaves, axis: int) -> _Steps:
    low, high = leaves.low_KD[:, axis], leaves.high_KD[:, axis]
    edges = np.unique(np.concatenate([low, high]))
    return _Steps(np.diff(edges), np.searchsorted(edges, low), np.searchsorted(edges, high))


def _axis_variance(leaves: _Leaves, axis: int, steps: _Steps) -> float:
    """Variance of the tree's mean over all other axes."""
    weight_K = (leaves.value_K - leaves.mean) * np.prod(np.delete(leaves.high_KD - leaves.low_KD, axis, axis=1), axis=1)
    change = np.zeros(len(steps.width_G) + 1)
    np.add.at(change, steps.first_K, weight_K)
    np.add.at(change, steps.end_K, -weight_K)
    return float(np.cumsum(change)[:-1] ** 2 @ steps.width_G)


def _pair_variance(leaves: _Leaves, pair: tuple[int, int], steps: tuple[_Steps, _Steps]) -> float:
    """Variance of the tree's mean over all axes but two."""
    one, two = steps
    weight_K = (leaves.value_K - leaves.mean) * np.prod(np.delete(leaves.high_KD - leaves.low_KD, pair, axis=1), axis=1)
    change = np.zeros((len(one.width_G) + 1, len(two.width_G) + 1))
    # A box is the sum of four quadrants.
    np.add.at(change, (one.first_K, two.first_K), weight_K)
    np.add.at(change, (one.end_K, two.first_K), -weight_K)
    np.add.at(change, (one.first_K, two.end_K), -weight_K)
    np.add.at(change, (one.end_K, two.end_K), weight_K)
    marginal = np.cumsum(np.cumsum(change, axis=0), axis=1)[:-1, :-1]
    return float(one.width_G @ marginal**2 @ two.width_G)
