"""The grids of landscapes: cells of an axis, where there are data, and averages of the points near by."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from study.axis import AxisSpec
from study.report.observations import Bools, Floats
from study.space import to_unit

#: Choices lie so far from each other that no point of one is near a point of another.
_APART = 10.0
#: Random designs that say how near a point is anywhere.
_DESIGNS = 8


@dataclass(frozen=True)
class GridAxis:
    """The cells of one axis in the unit cube.

    Attributes:
        edges: G + 1 edges of cells, from 0 to 1.
        places: G places where the cells are computed: their middles, or those of choices and whole numbers.
        is_categorical: Whether cells are choices, which are neither near nor far from each other.
        is_stepped: Whether each cell is one value, a choice or a whole number.
    """

    edges: tuple[float, ...]
    places: tuple[float, ...]
    is_categorical: bool
    is_stepped: bool

    def snap(self, unit_N: Floats) -> Floats:
        """Places on the axis moved to the values that there are: unchanged on a range; NaN stays."""
        if not self.is_stepped:
            return unit_N
        cells = np.digitize(np.nan_to_num(unit_N), self.edges[1:-1])
        return np.where(np.isfinite(unit_N), np.array(self.places)[cells], np.nan)

    def coordinates(self, unit_N: Floats) -> Floats:
        """Places as coordinates in which distance means distance: choices are far apart."""
        if not self.is_categorical:
            return unit_N
        return _APART * np.digitize(unit_N, self.edges[1:-1]).astype(float)

    def shares(self) -> Floats:
        """Share of the prior in each of the G cells."""
        return np.diff(self.edges)


def make_grid_axis(spec: AxisSpec, cells: int) -> GridAxis:
    """The cells of an axis: its choices; its whole numbers, if at most ``cells``; else ``cells`` equal parts."""
    if spec.is_categorical:
        cells = len(spec.choices)
    elif spec.integer and spec.ends[1] - spec.ends[0] < cells:
        return _whole_numbers(spec)
    edges = tuple(np.linspace(0.0, 1.0, cells + 1).tolist())
    places = tuple(((np.arange(cells) + 0.5) / cells).tolist())
    return GridAxis(edges, places, spec.is_categorical, spec.is_categorical)


def _whole_numbers(spec: AxisSpec) -> GridAxis:
    low, high = (int(end) for end in spec.ends)
    between = [to_unit(spec, number + 0.5) for number in range(low, high)]
    edges = (0.0, *(1.0 if edge is None else edge for edge in between), 1.0)
    places = [to_unit(spec, float(number)) for number in range(low, high + 1)]
    return GridAxis(edges, tuple(min(max(place or 0.0, 0.0), 1.0) for place in places), False, True)


def grid_places(grids: tuple[GridAxis, ...]) -> Floats:
    """The places of all cells, of shape (cells, axes); the first axis changes fastest."""
    meshes = np.meshgrid(*(np.array(grid.places) for grid in reversed(grids)), indexing="ij")
    return np.stack([mesh.ravel() for mesh in reversed(meshes)], axis=1)


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Which points are near each of M places of a grid, with their weights.

    Attributes:
        known_M: Whether some point is near: see :func:`find_neighbours`.
        radius: What counts as near.
        index_MK: The K nearest of the different places at which points are.
        weight_MK: Their weights; 0 for those of another choice.
        group_N: At which place each of N points is.
    """

    known_M: Bools
    radius: float
    index_MK: npt.NDArray[np.int64]
    weight_MK: Floats
    group_N: npt.NDArray[np.int64]

    def sums(self, number_N: Floats) -> Floats:
        """Weighted sums over the points near each place: (N,) -> (M,)."""
        number_L = np.bincount(self.group_N, number_N)
        return np.asarray((self.weight_MK * number_L[self.index_MK]).sum(axis=1))


def find_neighbours(grids: tuple[GridAxis, ...], unit_NA: Floats) -> Neighbourhood:
    """The points near each cell of a grid over one or two axes.

    A cell is known if a point lies within the covering radius of a random design of as many points: the largest
    distance that any cell has to its nearest point there (:func:`covering_radius`). Beyond it even points thrown at
    random would have left one, and here there is none: no data. Near are the k + 1 nearest points, k the root of their
    number, with tricube weights (Cleveland 1979, "Robust locally weighted regression", section 2); on an axis of
    choices only points with the same choice. Points at the same place count as one place.

    Args:
        grids: One or two axes.
        unit_NA: Places of at least one point on them, all active.
    """
    places_LA, group_N = np.unique(_coordinates(grids, unit_NA), axis=0, return_inverse=True)
    cells = _coordinates(grids, grid_places(grids))
    count = min(math.isqrt(len(places_LA)) + 2, len(places_LA))
    found = cKDTree(places_LA).query(cells, k=np.arange(1, count + 1))
    distance_MK, index_MK = np.asarray(found[0]), np.asarray(found[1])
    radius = covering_radius(grids, len(places_LA))
    near_MK = distance_MK < _APART / 2
    # The last neighbour sets the width; where a choice has fewer, all of them count alike.
    width_M = np.where(near_MK[:, -1], 1.05 * distance_MK[:, -1], np.inf)
    with np.errstate(invalid="ignore"):
        ratio_MK = np.where(distance_MK == 0, 0.0, distance_MK / np.where(width_M == 0, 1.0, width_M)[:, None])
    weight_MK = np.where(near_MK, np.clip(1.0 - ratio_MK**3, 0.0, None) ** 3, 0.0)
    return Neighbourhood(distance_MK[:, 0] <= radius, radius, index_MK, weight_MK, group_N.ravel())


@functools.lru_cache(maxsize=256)
def covering_radius(grids: tuple[GridAxis, ...], points: int) -> float:
    """The largest distance from a cell to its nearest point in a random design: the median over eight designs.

    About 1.6 / sqrt(points) on two ranges, where a Sobol' design has 1.1 / sqrt(points); at least what a cell reaches
    from its middle, so that a cell with a point in it always counts. Choices that no point of a design has do not
    count.
    """
    cells = _coordinates(grids, grid_places(grids))
    generator = np.random.Generator(np.random.Philox(points))
    largest = []
    for _ in range(_DESIGNS):
        unit_NA = generator.random((points, len(grids)))
        columns = [grid.snap(column) for grid, column in zip(grids, unit_NA.T, strict=True)]
        distance_M = np.asarray(cKDTree(_coordinates(grids, np.stack(columns, axis=1))).query(cells)[0])
        largest.append(float(distance_M[distance_M < _APART / 2].max()))
    reach = math.hypot(*(0.0 if grid.is_stepped else 0.5 / len(grid.places) for grid in grids))
    return max(float(np.median(largest)), reach)


def _coordinates(grids: tuple[GridAxis, ...], unit_NA: Floats) -> Floats:
    return np.stack([grid.coordinates(column) for grid, column in zip(grids, unit_NA.T, strict=True)], axis=1)
