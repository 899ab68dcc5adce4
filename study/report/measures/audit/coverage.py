"""Measures how evenly the finished points of a design cover the unit cube, and what of the plan is not there."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.spatial import KDTree
from scipy.stats import qmc

from study.axis import AxisSpec
from study.report.measures.audit.gaps import Gaps
from study.report.measures.holm import adjust_holm
from study.report.observations import Cell, Floats, Observations
from study.space import to_unit

#: Places of the cube whose nearest point is looked for.
PLACES = 4096
#: Random designs that a design is compared with.
_DESIGNS = 200
_RADIUS_DESIGNS = 20
#: Points of those from which the spread of the discrepancy is learned; it shrinks as 1 / n.
_DISCREPANCY_POINTS = 64
#: Beyond so many whole numbers, an axis is as good as continuous.
_LEVELS = 1000
#: Points on either side from which on the places of missing points are tested.
_TESTED = 5
_SEED = 20230517


@dataclass(frozen=True, slots=True)
class Coverage:
    """How one optimizer's design covers its search space on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        planned: Trials of the plan, the default setting among them.
        finished: Those that have finished.
        ended: Others that ended without a result for each run: failed, pruned, out of memory.
        pending: Others that have not ended, or of which nothing is known.
        absent_axis: The axis on which points that ended without a result lie most unlike the finished ones; empty if
            that cannot be tested.
        absent_p: p-value of that axis (Mann-Whitney U, Holm over axes); small means that what is missing is not random.
        points: Finished points of the design.
        axes: Axes that vary in every trial, over which the next numbers are.
        discrepancy: Centred L2 discrepancy, squared (Hickernell 1998, equation 5.1c), of the points.
        discrepancy_random: Its expectation for as many independent points, in closed form.
        discrepancy_random_high: Its 97.5 % quantile for independent points: a design above it is less even than chance.
        radius: Largest distance, in the unit cube, of one of :data:`PLACES` Sobol' places to its nearest point, over
            ranges: a lower bound of the covering radius.
        radius_random: Its mean over 20 random designs of as many points.
    """

    workload: str
    optimizer: str
    planned: int
    finished: int
    ended: int
    pending: int
    absent_axis: str
    absent_p: float | None
    points: int
    axes: int
    discrepancy: float | None
    discrepancy_random: float | None
    discrepancy_random_high: float | None
    radius: float | None
    radius_random: float | None


@dataclass(frozen=True, slots=True)
class _Levels:
    """The places of an axis that has few: their shares of the axis lie between the cuts."""

    place_L: Floats
    share_L: Floats


def measure_coverage(observations: Observations, gaps: Gaps) -> tuple[Coverage, ...]:
    """How every design covers its cube; what could not be said of it goes to ``gaps``."""
    return tuple(_cover(observations, cell, gaps) for cell in observations.cells)


def _cover(observations: Observations, cell: Cell, gaps: Gaps) -> Coverage:
    reason = _why_not(observations, cell)
    if reason:
        gaps.add("evenness of the design", cell, reason)
    columns = [] if reason else list(cell.always_active)
    specs = [cell.axes[column].spec for column in columns]
    unit_MD = np.clip(cell.unit_ND[cell.design_N][:, columns], 0.0, 1.0)
    levels = [_levels(spec) for spec in specs]
    ranges = [place for place, spec in enumerate(specs) if not spec.is_categorical]
    ended, pending = _count_absent(observations, cell)
    axis, p = _test_absent(cell)
    return Coverage(
        workload=cell.workload,
        optimizer=cell.optimizer,
        planned=max(cell.info.planned, len(cell.number_N)),
        finished=int(cell.finished_N.sum()),
        ended=ended,
        pending=pending,
        absent_axis=axis,
        absent_p=p,
        points=int(cell.design_N.sum()),
        axes=len(cell.always_active),
        discrepancy=float(qmc.discrepancy(unit_MD)) if columns else None,
        discrepancy_random=expected_discrepancy(len(unit_MD), levels) if columns else None,
        discrepancy_random_high=_high_discrepancy(len(unit_MD), levels) if columns else None,
        radius=covering_radius(unit_MD[:, ranges]) if ranges else None,
        radius_random=_random_radius(len(unit_MD), [levels[place] for place in ranges]) if ranges else None,
    )


def _why_not(observations: Observations, cell: Cell) -> str:
    if not cell.design_N.any():
        return "No point of the design has finished; finish the study."
    if not observations.info.is_sample:
        return "Points were chosen by results, or are what pruning left, so they are not meant to cover the space."
    if cell.info.constraints:
        return "Constraints cut off a part of the cube, which no design covers; leave them out to compare designs."
    if not cell.always_active:
        return "No axis varies in every trial."
    return ""


def _count_absent(observations: Observations, cell: Cell) -> tuple[int, int]:
    """Trials without a result that have ended, and those that have not or are not in the table."""
    runs = observations.runs
    own = (runs["workload"] == cell.workload) & (runs["optimizer"] == cell.optimizer)
    waiting = set(runs.filter(own & runs["termination"].is_null())["trial"].to_list())
    absent = [int(number) for number in cell.number_N[~cell.finished_N]]
    pending = sum(number in waiting for number in absent)
    unknown = max(cell.info.planned - len(cell.number_N), 0)
    return len(absent) - pending, pending + unknown


def _test_absent(cell: Cell) -> tuple[str, float | None]:
    """On which axis points without a result lie most unlike the others, and how likely that is by chance."""
    found: list[tuple[str, float]] = []
    for column, axis in enumerate(cell.axes):
        place_N = cell.unit_ND[:, column]
        known_N = np.isfinite(place_N) & ~cell.is_default_N
        present, absent = place_N[known_N & cell.finished_N], place_N[known_N & ~cell.finished_N]
        if min(len(present), len(absent)) >= _TESTED and np.ptp(np.concatenate([present, absent])) > 0:
            found.append((axis.name, float(stats.mannwhitneyu(present, absent).pvalue)))
    if not found:
        return "", None
    adjusted = adjust_holm([p for _, p in found])
    lowest = int(np.argmin(adjusted))
    return found[lowest][0], float(adjusted[lowest])


def random_gap(points: int) -> float:
    """Expected longest spacing of so many independent points on [0, 1]: H_{n+1} / (n + 1) (David and Nagaraja 2003)."""
    return math.fsum(1.0 / place for place in range(1, points + 2)) / (points + 1)


def largest_gap(place_M: Floats, spec: AxisSpec) -> float:
    """The longest part of [0, 1] without a place; of choices, the share that none has.

    A whole number covers its share of the axis, so that a gap is one of numbers that were not tried.
    """
    levels = _levels(spec)
    if levels is None:
        return float(np.diff(np.sort(np.concatenate([[0.0, 1.0], np.clip(place_M, 0.0, 1.0)]))).max())
    nearest_M = np.abs(place_M[:, None] - levels.place_L).argmin(axis=1)
    untried_L = ~np.isin(np.arange(len(levels.place_L)), nearest_M)
    if spec.is_categorical:
        return float(untried_L.mean())
    runs = itertools.groupby(zip(untried_L.tolist(), levels.share_L.tolist(), strict=True), key=lambda level: level[0])
    return max(math.fsum(share for _, share in run) if untried else 0.0 for untried, run in runs)


def covering_radius(unit_MD: Floats) -> float:
    """The largest distance of one of :data:`PLACES` fixed places of the cube to the nearest of M points, at least 1."""
    places = qmc.Sobol(unit_MD.shape[1], scramble=False).random(PLACES)
    return float(np.max(KDTree(unit_MD).query(places)[0]))


def expected_discrepancy(points: int, levels: list[_Levels | None]) -> float:
    """Expectation of the squared centred L2 discrepancy of independent points.

    On continuous axes ((5/4)^d - (13/12)^d) / n. An axis of few places has its own three means in the three sums of
    Hickernell's formula.

    Args:
        points: n, at least 1.
        levels: Of each axis, its places and their shares; None for a continuous one.
    """
    means = np.array([_kernel_means(level) for level in levels])
    single, pair, same = means.prod(axis=0)
    uniform = (13.0 / 12.0) ** len(levels)
    return float(uniform - 2.0 * single + (points - 1) / points * pair + same / points)


def _kernel_means(levels: _Levels | None) -> tuple[float, float, float]:
    """Means over one place, over two independent places, and over a place with itself."""
    if levels is None:
        return 13.0 / 12.0, 13.0 / 12.0, 5.0 / 4.0
    share_L = levels.share_L
    away_L = np.abs(levels.place_L - 0.5)
    apart_LL = np.abs(levels.place_L[:, None] - levels.place_L)
    pair_LL = 1.0 + (away_L[:, None] + away_L - apart_LL) / 2.0
    return (
        float(share_L @ (1.0 + (away_L - away_L**2) / 2.0)),
        float(share_L @ pair_LL @ share_L),
        float(share_L @ (1.0 + away_L)),
    )


def _levels(spec: AxisSpec) -> _Levels | None:
    """The places of an axis of choices or whole numbers; None for a continuous one, and for very many."""
    if spec.is_categorical:
        count = len(spec.choices)
        return _Levels((np.arange(count) + 0.5) / count, np.full(count, 1.0 / count))
    low, high = spec.ends
    if not spec.integer or spec.scale == "log1m" or high - low >= _LEVELS:
        return None
    numbers = np.arange(low, high + 1.0).tolist()
    places = [to_unit(spec, number) for number in numbers]
    cuts = [to_unit(spec, number - 0.5) for number in [*numbers, high + 1.0]]
    return _Levels(np.array(places, dtype=float), np.diff(np.array(cuts, dtype=float)))


def _random_points(generator: np.random.Generator, points: int, levels: list[_Levels | None]) -> Floats:
    unit_MD = generator.random((points, len(levels)))
    for column, level in enumerate(levels):
        if level is not None:
            ends = np.cumsum(level.share_L)
            places = np.searchsorted(ends, unit_MD[:, column]).clip(max=len(ends) - 1)
            unit_MD[:, column] = level.place_L[places]
    return unit_MD


def _high_discrepancy(points: int, levels: list[_Levels | None]) -> float:
    """97.5 % quantile over random designs; n times the discrepancy hardly depends on n, so few points do."""
    generator = np.random.Generator(np.random.Philox(_SEED))
    drawn = min(points, _DISCREPANCY_POINTS)
    found = [qmc.discrepancy(_random_points(generator, drawn, levels)) for _ in range(_DESIGNS)]
    # What n does not shrink is the distance between the levels' own distribution and the uniform one.
    floor = _uneven_levels(levels)
    return float(floor + (np.quantile(found, 0.975) - floor) * drawn / points)


def _uneven_levels(levels: list[_Levels | None]) -> float:
    """The discrepancy of infinitely many independent points: 0 but for axes of few places."""
    means = np.array([_kernel_means(level) for level in levels])
    single, pair, _ = means.prod(axis=0)
    return float((13.0 / 12.0) ** len(levels) - 2.0 * single + pair)


def _random_radius(points: int, levels: list[_Levels | None]) -> float:
    generator = np.random.Generator(np.random.Philox(_SEED + 1))
    return float(np.mean([covering_radius(_random_points(generator, points, levels)) for _ in range(_RADIUS_DESIGNS)]))
