"""Measures of points: which axes decide whether a setting is among the best (PED-ANOVA)."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from study.report.measures.intervals import Estimate, jackknife
from study.report.observations import Bools, Floats

#: Share of the points that counts as the best.
TOP = 0.1
#: Points that must be among the best at least: densities of fewer say nothing.
LEAST_TOP = 5
_GROUPS = 10
#: Places of a range at which densities are compared, and the weight of the uniform prior beside that of points.
_PLACES, _PRIOR = 50, 1.0
#: Width of a kernel at least, in places: 90 % of it then lie within its own place.
_LEAST_WIDTH = 0.5 / 1.64
#: Points in which an axis must vary to have a density.
_LEAST_ACTIVE = 2
_TINY = 1e-12


def count_top(value_N: Floats) -> int:
    """How many points are among the best: the top :data:`TOP`, and all that are as good as the last of these."""
    return int(_find_top(value_N).sum())


def _find_top(value_N: Floats) -> Bools:
    last = math.ceil(TOP * len(value_N)) - 1
    return np.asarray(value_N <= np.partition(value_N, last)[last])


def measure_ped_anova(
    unit_ND: Floats, value_N: Floats, choices: Sequence[int], *, seed: int
) -> tuple[Estimate | None, ...]:
    """Importance of each axis for being among the best, as a share of the sum over axes.

    Watanabe, Bansal and Hutter (IJCAI 2023), equation 10: the Pearson divergence between the density of the best points
    along an axis and that of all points; axes that vary in some points only by Algorithm 1 of arXiv 2601.20800. The
    densities are taken over the unit cube, that is, on the scale that each axis declares. Densities, and the division
    by the sum, are those of Optuna 5, whose own evaluator sets the warnings' filters and the log level of the whole
    process: nothing may where several threads compute. Intervals: jackknife over 10 groups of points drawn at random.

    Args:
        unit_ND: Places of N points, in [0, 1]; NaN where an axis is not active.
        value_N: The number at each, finite; lower is better.
        choices: Of each axis, how many choices it has; 0 for a range.
        seed: Keys the groups.

    Returns:
        One for each of D axes; None for an axis that no point has. All None if no axis tells the best points apart.
    """
    group_N = np.arange(len(value_N)) % _GROUPS
    np.random.Generator(np.random.Philox(seed)).shuffle(group_N)
    whole = _evaluate(unit_ND, value_N, choices)
    parts = [_evaluate(unit_ND[group_N != group], value_N[group_N != group], choices) for group in range(_GROUPS)]
    return tuple(
        None if math.isnan(value) else jackknife(value, [part[axis] for part in parts], lowest=0.0, highest=1.0)
        for axis, value in enumerate(whole)
    )


def _evaluate(unit_ND: Floats, value_N: Floats, choices: Sequence[int]) -> list[float]:
    """Importance of each axis; NaN where there is none."""
    top_N = _find_top(value_N)
    if top_N.all():
        return [math.nan] * len(choices)
    found = [_diverge(place_N, top_N, size) for place_N, size in zip(unit_ND.T, choices, strict=True)]
    total = math.fsum(value for value in found if not math.isnan(value))
    return [value / total if total > 0 else math.nan for value in found]


def _diverge(place_N: Floats, top_N: Bools, size: int) -> float:
    """Divergence of the best points from all along one axis, weighed by how often they have the axis at all."""
    active_N = np.isfinite(place_N)
    best_N = active_N & top_N
    if not active_N.any():
        return math.nan
    if size == 1 or active_N.sum() < _LEAST_ACTIVE or not best_N.any():
        return 0.0
    weight = (best_N.sum() / top_N.sum()) ** 2 / active_N.mean()
    best_G, all_G = (_density(np.clip(place_N[chosen], 0.0, 1.0), size) for chosen in (best_N, active_N))
    return float(weight * (all_G @ (best_G / all_G - 1.0) ** 2))


def _density(place_N: Floats, size: int) -> Floats:
    """Density of points over the choices of an axis, or over :data:`_PLACES` places of a range."""
    if size:
        cell_N = np.minimum((place_N * size).astype(int), size - 1)
        count_G = np.bincount(cell_N, minlength=size).astype(np.float64)
        smooth_G, prior_G = _smooth_choices(count_G), np.full(size, 1.0 / size)
    else:
        # Halfway between two places a point counts for the lower one.
        cell_N = np.clip(np.ceil(place_N / (1.0 / (_PLACES - 1)) - 0.5).astype(int), 0, _PLACES - 1)
        count_G = np.bincount(cell_N, minlength=_PLACES).astype(np.float64)
        smooth_G = count_G @ _normal(np.arange(_PLACES), _width(count_G))
        prior_G = _normal(np.array([(_PLACES - 1) / 2]), _PLACES)[0]
    return np.asarray((smooth_G + _PRIOR * prior_G) / (count_G.sum() + _PRIOR) + _TINY)


def _smooth_choices(count_G: Floats) -> Floats:
    """Counts of choices, of which each gives some to the others: less, the more choices there are points of."""
    share = _PRIOR / ((count_G > 0).sum() + 1)
    return np.asarray((count_G + share * count_G.sum()) / (1.0 + share * len(count_G)))


def _width(count_G: Floats) -> float:
    """Width of a kernel by Scott's rule (1992), from counts in the places 0, 1, ..."""
    total, upto_G = count_G.sum(), np.cumsum(count_G)
    place_G = np.arange(len(count_G))
    mean = place_G @ count_G / total
    deviation = math.sqrt((place_G - mean) ** 2 @ count_G / max(total - 1.0, 1.0))
    first = np.flatnonzero(upto_G >= total // 4)
    last = np.flatnonzero((upto_G > total * 3 // 4) & (count_G > 0))
    known = np.flatnonzero(count_G)
    apart = (last[0] if len(last) else known[-1]) - max(first[0], known[0])
    return max(float(1.059 * min(apart / 1.34, deviation) * total**-0.2), _LEAST_WIDTH)


def _normal(middle_K: npt.NDArray[np.floating | np.integer], width: float) -> Floats:
    """Share of each place in normal distributions that are cut to all places, of shape (K, G)."""
    ends = np.arange(_PLACES + 1) - 0.5
    below_KE = special.ndtr((ends - middle_K[:, None]) / width)
    return np.asarray(np.diff(below_KE, axis=1) / (below_KE[:, -1:] - below_KE[:, :1]))
