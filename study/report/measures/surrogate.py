"""A model of one number over the unit cube: a random forest or a Gaussian process, whichever predicts better."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeRegressor

from study.report.measures.gaussian_process import Encoding, GaussianProcess, Kernel, learn_kernel
from study.report.measures.tree_forest import Forest, draw_samples
from study.report.observations import Bools, Cell, Floats

ModelKind = Literal["random forest", "Gaussian process"]
#: Trees of a forest.
TREES = 100
#: Points from which forests of folds have half of the trees, and a forest that is clearly worse has none.
_MANY = 256
#: What a forest's R2 out of the bag may be below its cross-validated one, if points are many; it was 0.01 at most.
_CLEARLY = 0.02
#: Points from which the hyperparameters of a Gaussian process are learned: with more, each step costs a second.
_LEARNED_FROM = 256

_Split = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class Model(Protocol):
    """Predicts a number from places in the unit cube; NaN stands for an axis that is not active."""

    def predict(self, unit_MD: Floats) -> Floats:
        """The prediction at M places of D axes, of shape (M,)."""
        ...

    def spread(self, unit_MD: Floats) -> Floats:
        """Standard deviation of the prediction at M places, of shape (M,)."""
        ...


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What was learned from N points.

    Attributes:
        kind: Which model predicts better what it has not seen.
        model: Learned from all points.
        folds: The same, each learned without one of the folds of the cross-validation, for jackknife intervals.
        forest: Trees of a forest learned from all points, whichever was better; over the places themselves, an axis
            that is not active at -1.
        r2: Coefficient of determination of the cross-validated predictions of ``kind``; at most 1, negative if it is
            worse than the mean. The hyperparameters of a Gaussian process are learned from all folds.
        r2_other: That of the other kind; of a forest that is clearly worse, with many points, of its predictions out of
            the bag: each by the trees that have not seen the point.
        points: N.
    """

    kind: ModelKind
    model: Model
    folds: Sequence[Model]
    forest: Sequence[DecisionTreeRegressor]
    r2: float
    r2_other: float
    points: int

    def predict(self, unit_MD: Floats) -> Floats:
        """The prediction at M places of D axes, of shape (M,)."""
        return self.model.predict(unit_MD)

    def spread(self, unit_MD: Floats) -> Floats:
        """Standard deviation of the prediction at M places, of shape (M,): of the function, not of a measurement."""
        return self.model.spread(unit_MD)


def least_points(axes: int) -> int:
    """The fewest points that a surrogate over so many axes is learned from."""
    return max(12, 4 * axes)


def fit_surrogate(
    unit_ND: Floats, value_N: Floats, choices: Sequence[int] | None = None, *, seed: int
) -> Surrogate | None:
    """A surrogate of a number over the unit cube.

    Args:
        unit_ND: Places of N points on D axes, in [0, 1]; NaN where an axis is not active.
        value_N: The number at each, finite.
        choices: Of each axis, how many choices it has; 0 for a range. None means ranges only.
        seed: Keys folds and forests.

    Returns:
        None if there are fewer than :func:`least_points`, all values are equal, or their variance is not a number that
        floats can hold.
    """
    count, axes = unit_ND.shape
    if axes == 0 or count < least_points(axes) or np.ptp(value_N) == 0 or not has_variance(value_N):
        return None
    encoding = Encoding.of(unit_ND, choices or [0] * axes)
    splits = list(KFold(10 if count >= 40 else 5, shuffle=True, random_state=seed % 2**32).split(unit_ND))
    kernel = _learn_process(unit_ND, value_N, encoding, seed)
    processes = [GaussianProcess(unit_ND[kept], value_N[kept], encoding, kernel) for kept, _ in splits]
    process_r2 = _score(processes, splits, unit_ND, value_N)
    drawn_TN = draw_samples(count, TREES, seed=seed)
    forest = Forest(unit_ND, value_N, drawn_TN)
    forest_r2 = forest.score_out_of_bag() if count >= _MANY else math.inf
    if forest_r2 > process_r2 - _CLEARLY:
        forests = _fit_folds(unit_ND, value_N, drawn_TN, splits)
        forest_r2 = _score(forests, splits, unit_ND, value_N)
        if forest_r2 >= process_r2:
            return Surrogate("random forest", forest, forests, forest.trees, forest_r2, process_r2, count)
    process = GaussianProcess(unit_ND, value_N, encoding, kernel)
    return Surrogate("Gaussian process", process, processes, forest.trees, process_r2, forest_r2, count)


def _fit_folds(unit_ND: Floats, value_N: Floats, drawn_TN: Bools, splits: Sequence[_Split]) -> list[Forest]:
    """Forests without one fold each.

    Their trees are from the same draws, less those of the fold: forests with draws of their own would differ by chance,
    too. With many points half of the trees vary as little.
    """
    forests = []
    for _, left in splits:
        kept_TN = drawn_TN[: TREES // 2 if len(value_N) >= _MANY else TREES].copy()
        kept_TN[:, left] = False
        forests.append(Forest(unit_ND, value_N, kept_TN[kept_TN.any(axis=1)]))
    return forests


def has_variance(value_N: Floats) -> bool:
    """Whether squares of differences neither overflow, as of a loss of 1e200, nor vanish, as of one of 1e-200."""
    with np.errstate(over="ignore", invalid="ignore"):
        variance = float(np.var(value_N))
    return bool(sys.float_info.min < variance < math.inf)


def count_choices(cell: Cell) -> list[int]:
    """Of each axis of a cell, how many choices it has; 0 for a range."""
    return [len(axis.spec.choices) for axis in cell.axes]


def _score(models: Sequence[Model], splits: Sequence[_Split], unit_ND: Floats, value_N: Floats) -> float:
    residuals = [value_N[left] - model.predict(unit_ND[left]) for model, (_, left) in zip(models, splits, strict=True)]
    left = float(np.sum(np.concatenate(residuals) ** 2))
    return 1.0 - left / float(np.sum((value_N - value_N.mean()) ** 2))


def _learn_process(unit_ND: Floats, value_N: Floats, encoding: Encoding, seed: int) -> Kernel:
    """The kernel with the hyperparameters that make some of the points the most likely."""
    generator = np.random.Generator(np.random.Philox(seed))
    chosen = np.sort(generator.permutation(len(value_N))[:_LEARNED_FROM])
    return learn_kernel(encoding.encode(unit_ND[chosen]), value_N[chosen])


def cell_seed(cell: Cell, purpose: int) -> int:
    """A seed that depends on the names of the cell and on the purpose alone."""
    words = [*f"{cell.workload}/{cell.optimizer}".encode(), purpose]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def signal_variance(mean_N: Floats, sd_N: Floats, seeds_N: Floats) -> tuple[float, float]:
    """Variance of the objective over points without that of seeds, and the share of seed noise in what was observed.

    The means of points vary by the setting and by chance: E[s^2 of means] = Var(f) + E[s^2 within] / S.

    Args:
        mean_N: Mean over seeds at each point.
        sd_N: Standard deviation over seeds; NaN with one seed.
        seeds_N: Number of seeds.

    Returns:
        The variance, at least 0, and the share, in [0, 1]; the share is NaN with one seed.
    """
    observed = float(np.var(mean_N, ddof=1))
    noise = float(np.mean(sd_N**2 / seeds_N)) if np.isfinite(sd_N).all() else math.nan
    if not math.isfinite(noise) or observed == 0:
        return observed, math.nan
    return max(observed - noise, 0.0), min(noise / observed, 1.0)
