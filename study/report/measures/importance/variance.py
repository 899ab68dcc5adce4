"""Measures of a surrogate: how much of its variance each axis explains (Sobol' indices), with jackknife intervals."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from study.axis import AxisSpec
from study.report.measures.intervals import Estimate, jackknife
from study.report.measures.surrogate import Model, Surrogate
from study.report.observations import Floats
from study.space import to_unit

#: Base points of the quasi-random sample; a power of 2.
SAMPLES = 2048
#: The same for each fold. Folds share their points, so what the sample adds to all of them is not in the interval.
_FOLD_SAMPLES = 256
#: Whole numbers beyond so many are as good as a continuous axis.
_MOST_LEVELS = 4096
#: Places that a Gaussian process predicts at once: the kernel between them and its points stays in the cache.
_AT_ONCE = 256
#: Standard deviation of a model, as a share of that of the observed means, below which it is flat.
_FLAT = 1e-3

_Predict = Callable[[Floats], Floats]
_Axes = frozenset[int]


@dataclass(frozen=True, eq=False)
class Levels:
    """The places that an axis has if it is not continuous.

    Attributes:
        place_L: Where its L levels lie, increasing, in [0, 1].
        share_L: Share of the prior up to each level, itself included; the last is 1.
    """

    place_L: Floats
    share_L: Floats

    def snap(self, unit_N: Floats) -> Floats:
        """Where the levels lie that N places in [0, 1] stand for."""
        level_N = np.searchsorted(self.share_L, unit_N, side="right")
        return self.place_L[np.minimum(level_N, len(self.place_L) - 1)]

    def measure(self, threshold_N: Floats) -> Floats:
        """Share of the prior at or below each of N thresholds."""
        # Trees hold places in single precision.
        known_N = np.searchsorted(self.place_L, threshold_N + 1e-6, side="right")
        return np.concatenate([[0.0], self.share_L])[known_N]


def find_levels(axis: AxisSpec) -> Levels | None:
    """The levels of choices and whole numbers; None for a continuous axis, or one with thousands of whole numbers."""
    if axis.is_categorical:
        size = len(axis.choices)
        return Levels((np.arange(size) + 0.5) / size, np.arange(1, size + 1) / size)
    low, high = axis.ends
    if not axis.integer or axis.scale == "log1m" or high - low >= _MOST_LEVELS:
        return None
    values = np.arange(low, high + 1).tolist()
    # A whole number has the places that are rounded to it: half a step to either side, on the axis's scale.
    share_L = np.array([to_unit(axis, value + 0.5) for value in values], dtype=float)
    return Levels(np.array([to_unit(axis, value) for value in values], dtype=float), share_L)


@dataclass(frozen=True, eq=False)
class Indices:
    """Sobol' indices of a function of D independent axes.

    Attributes:
        deviation: Standard deviation of the function.
        first_D: First-order indices.
        total_D: Total indices.
        pair_P: Of each pair of axes, in the order of :func:`axis_pairs`: the share of their interaction alone.
    """

    deviation: float
    first_D: Floats
    total_D: Floats
    pair_P: Floats


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How much of a surrogate's variance each axis explains.

    Attributes:
        spread: Standard deviation of the surrogate's function over the search space, in the objective's unit.
        first: First-order index of each axis: Var(E[f | x_i]) / Var(f).
        total: Total index of each axis: 1 - Var(E[f | all but x_i]) / Var(f).
        deviation: Standard deviation of E[f | x_i], the main effect of each axis, in the objective's unit.
        pairs: Of each pair of axes, in the order of :func:`axis_pairs`: the share of their interaction alone.
    """

    spread: Estimate
    first: tuple[Estimate, ...]
    total: tuple[Estimate, ...]
    deviation: tuple[Estimate, ...]
    pairs: tuple[Estimate, ...]


def axis_pairs(axes: int) -> list[tuple[int, int]]:
    """All pairs of so many axes: (0, 1), (0, 2), and so on."""
    return list(itertools.combinations(range(axes), 2))


def sobol_indices(predict: _Predict, levels: Sequence[Levels | None], *, samples: int, seed: int) -> Indices | None:
    """Sobol' indices of a function of independent axes, each uniform on [0, 1].

    A and B are the halves of a scrambled Sobol' sequence in twice the dimensions. Row by row, A_B^u has the axes of u
    from B and the others from A (Saltelli 2002, 2010), here for every u of at most two axes, and all but at most two.
    How f changes with axis i is d_u = f(A_B^u) - f(A_B^(u + i)). Then the total index is E[d_u^2] / (2 V), Jansen's
    estimator (1999); and the first-order index is E[d_u d_w] / (2 V), where w has all other axes from the other half:
    what changes alike, whatever the others are, is the main effect. An interaction is the same of what two axes change
    together, E[d_u d_w] / (4 V). All are averaged over every u that there is, V is taken from all samples.

    Args:
        predict: The function: (M, D) -> (M,).
        levels: Of each of D >= 1 axes; None for a continuous one.
        samples: Rows of A; a power of 2.
        seed: Of the scrambling.

    Returns:
        The indices as they are estimated; small first-order indices and interactions may be slightly negative. None if
        the function is flat.
    """
    return _read_indices(_predict_mixtures(predict, levels, samples, seed), len(levels))


def measure_sensitivity(
    surrogate: Surrogate, levels: Sequence[Levels | None], *, spread: float, missed: float, seed: int
) -> Sensitivity | None:
    """Sobol' indices of a surrogate, with intervals.

    Ends of the intervals are away from the estimate by the root of a sum of squares: the reach of the delete-a-group
    jackknife over the folds of the cross-validation; the error of numerical integration, which is how much half of the
    sample says otherwise; and what the surrogate misses, which may belong to any axis or to none: with a share m missed
    a share S may be as low as (1 - m) S, and as high as (1 - m) S + m. An index is a share: estimates and ends are cut
    to [0, 1], which the integration may miss by some thousandths.

    Args:
        surrogate: Of independent axes that are all active.
        levels: Of each axis; None for a continuous one.
        spread: Standard deviation over points of what the surrogate was learned from, without noise, for scale.
        missed: Share of the variance without noise that the surrogate does not predict, in [0, 1].
        seed: Of the quasi-random sample.

    Returns:
        None if the surrogate is flat.
    """
    axes = len(levels)
    value_of = _predict_mixtures(_in_parts(surrogate.model, surrogate.kind), levels, SAMPLES, seed)
    whole = _read_indices(value_of, axes)
    if whole is None or whole.deviation < _FLAT * spread:
        return None
    half = _read_indices({mixture: values[: SAMPLES // 2] for mixture, values in value_of.items()}, axes)
    folds = [
        sobol_indices(_in_parts(fold, surrogate.kind), levels, samples=_FOLD_SAMPLES, seed=seed)
        for fold in surrogate.folds
    ]

    def read(numbers: Callable[[Indices], Floats]) -> Iterator[tuple[float, float]]:
        """Each number, and how far it is uncertain but for what the surrogate misses."""
        columns = zip(*(_read(numbers, indices, whole) for indices in (whole, half, *folds)), strict=True)
        return ((value, math.hypot(_reach(value, of_folds), value - other)) for value, other, *of_folds in columns)

    def shares(numbers: Callable[[Indices], Floats]) -> tuple[Estimate, ...]:
        return tuple(_bound(value, reach, missed * value, missed * (1 - value), 1.0) for value, reach in read(numbers))

    def deviations(numbers: Callable[[Indices], Floats]) -> tuple[Estimate, ...]:
        rest = missed * spread**2
        return tuple(
            _bound(value, reach, 0.0, math.hypot(value, math.sqrt(rest)) - value, math.inf)
            for value, reach in read(numbers)
        )

    return Sensitivity(
        deviations(lambda indices: np.array([indices.deviation]))[0],
        shares(lambda indices: indices.first_D),
        shares(lambda indices: indices.total_D),
        deviations(lambda indices: np.sqrt(np.maximum(indices.first_D, 0.0)) * indices.deviation),
        shares(lambda indices: indices.pair_P),
    )


def _read(numbers: Callable[[Indices], Floats], indices: Indices | None, whole: Indices) -> list[float]:
    """Numbers of indices; NaN from a model that is flat."""
    known = numbers(whole if indices is None else indices)
    return [math.nan] * len(known) if indices is None else known.tolist()


def _reach(value: float, of_folds: Sequence[float]) -> float:
    """Half of the width of a jackknife interval; NaN without one."""
    high = jackknife(value, of_folds).high
    return math.nan if high is None else high - value


def _bound(value: float, reach: float, below: float, above: float, highest: float) -> Estimate:
    """A number in [0, highest] with its interval; without one where the reach is NaN."""
    value_, low, high = (
        min(max(number, 0.0), highest)
        for number in (value, value - math.hypot(reach, below), value + math.hypot(reach, above))
    )
    return Estimate(value_, low, high) if math.isfinite(reach) else Estimate(value_)


def _in_parts(model: Model, kind: str) -> _Predict:
    """The prediction of a model, in parts of a size that is quick for its kind."""
    at_once = _AT_ONCE if kind == "Gaussian process" else 1 << 16

    def predict(unit_MD: Floats) -> Floats:
        starts = range(0, len(unit_MD), at_once)
        return np.concatenate([model.predict(unit_MD[start : start + at_once]) for start in starts])

    return predict


def _read_indices(value_of: Mapping[_Axes, Floats], axes: int) -> Indices | None:
    values = np.concatenate(list(value_of.values()))
    variance = float(values.var())
    # A constant has a variance, too, from rounding.
    if not variance > (1e-12 * float(np.abs(values).max())) ** 2:
        return None
    numbers = range(axes)
    return Indices(
        math.sqrt(variance),
        np.array([_effect(frozenset({axis}), value_of, axes) for axis in numbers]) / variance,
        np.array([_total_effect(axis, value_of) for axis in numbers]) / variance,
        np.array([_effect(frozenset(pair), value_of, axes) for pair in axis_pairs(axes)]) / variance,
    )


def _effect(chosen: _Axes, value_of: Mapping[_Axes, Floats], axes: int) -> float:
    """Variance of what some axes change together, whatever the others are."""
    others = frozenset(range(axes)) - chosen
    change_of = _changes(chosen, value_of)
    products = [np.mean(change * change_of[others - start]) for start, change in change_of.items()]
    return float(np.mean(products)) / float(2 ** len(chosen))


def _total_effect(axis: int, value_of: Mapping[_Axes, Floats]) -> float:
    """Variance of what an axis changes, alone and with others."""
    return float(np.mean([np.mean(change**2) for change in _changes(frozenset({axis}), value_of).values()])) / 2


def _changes(chosen: _Axes, value_of: Mapping[_Axes, Floats]) -> dict[_Axes, Floats]:
    """Mixed differences of the function along some axes, by the mixture that they start from."""
    parts = [frozenset(part) for size in range(len(chosen) + 1) for part in itertools.combinations(chosen, size)]
    return {
        start: np.sum([(-1) ** len(part) * value_of[start | part] for part in parts], axis=0)
        for start in value_of
        if not start & chosen and all(start | part in value_of for part in parts)
    }


def _mixtures(axes: int) -> list[_Axes]:
    """Which axes come from B: at most two, or all but at most two. Each set once, and with it the opposite one."""
    sizes = {0, 1, 2, axes - 2, axes - 1, axes} & set(range(axes + 1))
    return [frozenset(chosen) for size in sorted(sizes) for chosen in itertools.combinations(range(axes), size)]


def _predict_mixtures(
    predict: _Predict, levels: Sequence[Levels | None], samples: int, seed: int
) -> Mapping[_Axes, Floats]:
    axes = len(levels)
    unit = qmc.Sobol(2 * axes, rng=np.random.default_rng(seed)).random(samples)
    for column in range(2 * axes):
        level = levels[column % axes]
        if level is not None:
            unit[:, column] = level.snap(unit[:, column])
    mixtures = _mixtures(axes)
    from_b = np.array([[axis in chosen for axis in range(axes)] for chosen in mixtures])
    places = np.where(from_b[:, None, :], unit[None, :, axes:], unit[None, :, :axes])
    values = predict(places.reshape(-1, axes)).reshape(len(mixtures), samples)
    return dict(zip(mixtures, values, strict=True))
