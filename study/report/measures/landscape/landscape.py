"""Landscapes: the objective over every axis and every pair of axes, as points and as a surrogate with uncertainty."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from study.axis import Value
from study.report.measures.intervals import jackknife
from study.report.measures.landscape.grid import GridAxis, Neighbourhood, find_neighbours, grid_places, make_grid_axis
from study.report.measures.landscape.projection import Activity, Background, cut, make_background, project
from study.report.measures.landscape.records import (
    FEWEST,
    CellLandscape,
    Grid,
    LandscapeCurve,
    LandscapeMap,
    LandscapePoints,
    Line,
)
from study.report.measures.missing import Missing
from study.report.measures.robustness.learning_rate import LR_NAMES
from study.report.measures.surrogate import Surrogate, least_points, signal_variance
from study.report.observations import Bools, Cell, Floats

#: Cells of a curve along a range.
CURVE_CELLS = 41
#: Cells of a map along a range: at most, and fewer with many axes.
MAP_CELLS = 31
#: Cells of all maps of an optimizer together, which bounds the time and the size of the report.
_ALL_MAP_CELLS = 4000
#: The most choices that one can read in a picture.
MOST_CHOICES = 40
#: Places of the other axes: for the value of a curve, for maps and folds, for the surrogate's own deviation.
_CURVE_BACKGROUND, _BACKGROUND, _ERROR_BACKGROUND = 64, 16, 4
_DIGITS = 5


def measure_landscape(cell: Cell, surrogate: Surrogate | None, *, planned: int) -> CellLandscape:
    """The landscape of one optimizer on one workload.

    Args:
        cell: Its trials.
        surrogate: Learned from the means of its design's points; None if they are too few, all alike, or chosen by a
            sampler from earlier results.
        planned: Points of the design, finished or not.
    """
    parts = _Parts(cell, surrogate)
    design = np.flatnonzero(cell.design_N)
    noise = None
    if len(design) > 1:
        seeds_N = cell.seeds_N[design].astype(float)
        noise = signal_variance(cell.mean_N[design], cell.sd_N[design], seeds_N)[1]
    return CellLandscape(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        axes=tuple(cell.axes[column] for column in parts.columns),
        constraints=cell.info.constraints,
        planned=planned,
        points=_tell_points(cell, design.tolist(), parts.columns),
        default=_tell_points(cell, [] if cell.default is None else [cell.default], parts.columns),
        best=None if cell.best is None else int(cell.number_N[cell.best]),
        held_at=None if parts.held is None else int(cell.number_N[parts.held]),
        surrogate="" if surrogate is None else surrogate.kind,
        r2=None if surrogate is None else _rounded(surrogate.r2),
        r2_other=None if surrogate is None else _rounded(surrogate.r2_other),
        noise_share=None if noise is None else _rounded(noise),
        curves=tuple(parts.curve(index) for index in range(len(parts.columns))),
        maps=tuple(parts.map(x, y) for x, y in itertools.combinations(range(len(parts.columns)), 2)),
        missing=_tell_missing(cell, surrogate, len(design)),
    )


class _Parts:
    """What curves and maps of one cell are computed from; axes are numbered in the order of the landscape."""

    def __init__(self, cell: Cell, surrogate: Surrogate | None) -> None:
        self._surrogate = surrogate
        self.columns = tuple(sorted(range(len(cell.axes)), key=lambda column: cell.axes[column].name not in LR_NAMES))
        rows = np.flatnonzero(cell.design_N)
        self.held = int(rows[np.argmin(cell.mean_N[rows])]) if len(rows) else None
        self._unit_ND = cell.unit_ND[rows]
        self._through_D = np.full(len(cell.axes), np.nan) if self.held is None else cell.unit_ND[self.held]
        self._runs_N = cell.seeds_N[rows].astype(float)
        self._diverged_N = cell.diverged_NS[rows].sum(axis=1).astype(float)
        self._sd_N = cell.sd_N[rows]
        self._names = [axis.name for axis in cell.axes]
        self._map_axes = [make_grid_axis(axis.spec, _map_cells(len(cell.axes))) for axis in cell.axes]
        self._curve_axes = [make_grid_axis(axis.spec, CURVE_CELLS) for axis in cell.axes]
        self._activity = Activity(self._unit_ND, cell.axes)

    def curve(self, index: int) -> LandscapeCurve:
        """The objective along one axis."""
        column = self.columns[index]
        grid = self._curve_axes[column]
        there_N, near = self._neighbours([column], (grid,))
        known_M = None if near is None else near.known_M
        mean_M, low_M, high_M, through_M, lowest_M = self._lines(column, grid, known_M)
        diverged_M, spread_M = self._local(there_N, near)

        def tell(values_M: Floats | None) -> Line | None:
            return None if values_M is None or known_M is None else _line(np.where(known_M, values_M, np.nan))

        return LandscapeCurve(
            axis=index,
            edges=tuple(round(edge, 6) for edge in grid.edges),
            places=tuple(round(place, 6) for place in grid.places),
            is_stepped=grid.is_stepped,
            points=int(there_N.sum()),
            known=None if known_M is None else tuple(known_M.tolist()),
            mean=tell(mean_M),
            low=tell(low_M),
            high=tell(high_M),
            through_best=tell(through_M),
            lowest=tell(lowest_M),
            diverged=tell(diverged_M),
            spread=tell(spread_M),
        )

    def map(self, x: int, y: int) -> LandscapeMap:
        """The objective over two axes."""
        columns = [self.columns[x], self.columns[y]]
        grids = (self._map_axes[columns[0]], self._map_axes[columns[1]])
        there_N, near = self._neighbours(columns, grids)
        known_M = None if near is None else near.known_M
        if not there_N.any() and len(self._unit_ND):  # never active together: that is known, and there is nothing
            known_M = np.zeros(len(grids[0].places) * len(grids[1].places), bool)
        mean_M, error_M = self._surfaces(columns, grids, known_M)
        diverged_M, spread_M = self._local(there_N, near)
        width = len(grids[0].places)

        def tell(values_M: Floats | None) -> Grid | None:
            if values_M is None or known_M is None:
                return None
            line = _line(np.where(known_M, values_M, np.nan))
            return tuple(line[start : start + width] for start in range(0, len(line), width))

        return LandscapeMap(
            x=x,
            y=y,
            x_edges=tuple(round(edge, 6) for edge in grids[0].edges),
            y_edges=tuple(round(edge, 6) for edge in grids[1].edges),
            x_places=tuple(round(place, 6) for place in grids[0].places),
            y_places=tuple(round(place, 6) for place in grids[1].places),
            averaged=tuple(self._names[column] for column in self.columns if column not in columns),
            points=int(there_N.sum()),
            radius=None if near is None else _rounded(near.radius),
            known=None if known_M is None else tuple(map(tuple, known_M.reshape(-1, width).tolist())),
            mean=tell(mean_M),
            error=tell(error_M),
            diverged=tell(diverged_M),
            spread=tell(spread_M),
        )

    def _neighbours(self, columns: list[int], grids: tuple[GridAxis, ...]) -> tuple[Bools, Neighbourhood | None]:
        """Which points have a place on the axes, and who is near whom; None if they are too few."""
        there_N = np.asarray(np.isfinite(self._unit_ND[:, columns]).all(axis=1))
        if there_N.sum() < FEWEST or any(grid.is_categorical and len(grid.places) > MOST_CHOICES for grid in grids):
            return there_N, None
        return there_N, find_neighbours(grids, self._unit_ND[there_N][:, columns])

    def _local(self, there_N: Bools, near: Neighbourhood | None) -> tuple[Floats | None, Floats | None]:
        """Share of runs that diverged, and pooled standard deviation over seeds, of the points near by."""
        if near is None:
            return None, None
        runs_N, sd_N = self._runs_N[there_N], self._sd_N[there_N]
        diverged_M = _ratio(near.sums(self._diverged_N[there_N]), near.sums(runs_N))
        free_N = np.where(np.isfinite(sd_N), runs_N - 1.0, 0.0)
        if not free_N.any():
            return diverged_M, None
        return diverged_M, np.sqrt(_ratio(near.sums(free_N * np.nan_to_num(sd_N) ** 2), near.sums(free_N)))

    def _surfaces(
        self, columns: list[int], grids: tuple[GridAxis, ...], known_M: Bools | None
    ) -> tuple[Floats | None, Floats | None]:
        """The surrogate over two axes, and its own deviation."""
        if self._surrogate is None or known_M is None or not known_M.any():
            return None, None
        places_MA, values = grid_places(grids), []
        for points, predict in (
            (_BACKGROUND, self._surrogate.predict),
            (_ERROR_BACKGROUND, self._surrogate.spread),
        ):
            value_M = np.full(len(places_MA), np.nan)
            found = project(predict, self._activity, self._background(points), columns, places_MA[known_M])
            value_M[known_M] = found.mean_M
            values.append(value_M)
        return values[0], values[1]

    def _lines(self, column: int, grid: GridAxis, known_M: Bools | None) -> Sequence[Floats | None]:
        """The surrogate along an axis: average, lower and upper end, through the best point, lowest over the others."""
        if self._surrogate is None or known_M is None:
            return [None] * 5
        places_MA = np.array(grid.places)[:, None]
        model, background = self._surrogate.model, self._background(_BACKGROUND)
        finer = project(model.predict, self._activity, self._background(_CURVE_BACKGROUND), [column], places_MA)
        folds = [
            project(fold.predict, self._activity, background, [column], places_MA).mean_M
            for fold in self._surrogate.folds
        ]
        intervals = [jackknife(value, without) for value, *without in np.stack([finer.mean_M, *folds]).T.tolist()]
        low_M = np.array([math.nan if interval.low is None else interval.low for interval in intervals])
        high_M = np.array([math.nan if interval.high is None else interval.high for interval in intervals])
        through_M = cut(model.predict, self._activity, column, places_MA[:, 0], self._through_D)
        return finer.mean_M, low_M, high_M, through_M, np.fmin(finer.lowest_M, through_M)

    def _background(self, points: int) -> Background:
        return make_background(self._map_axes, points)


def _ratio(total_M: Floats, weight_M: Floats) -> Floats:
    """Weighted means; NaN where nothing has weight."""
    return np.where(weight_M > 0, total_M / np.where(weight_M > 0, weight_M, 1.0), np.nan)


def _map_cells(axes: int) -> int:
    """Cells of a map along a range: odd, so that one lies in the middle."""
    fitting = math.isqrt(_ALL_MAP_CELLS // max(math.comb(axes, 2), 1))
    return max(min(fitting - 1 + fitting % 2, MAP_CELLS), 9)


def _tell_points(cell: Cell, rows: Sequence[int], columns: Sequence[int]) -> LandscapePoints:
    return LandscapePoints(
        trial=tuple(int(cell.number_N[row]) for row in rows),
        places=tuple(tuple(_place(cell.unit_ND[row, column]) for column in columns) for row in rows),
        values=tuple(tuple(_value(cell.values[row].get(cell.axes[c].name)) for c in columns) for row in rows),
        mean=tuple(float(cell.mean_N[row]) for row in rows),
        sd=_line(cell.sd_N[list(rows)]),
        seeds=tuple(int(cell.seeds_N[row]) for row in rows),
        diverged=tuple(int(cell.diverged_NS[row].sum()) for row in rows),
        at_chance=tuple(int(cell.at_chance_NS[row].sum()) for row in rows),
    )


def _tell_missing(cell: Cell, surrogate: Surrogate | None, count: int) -> tuple[Missing, ...]:
    of = f"of {cell.title} on {cell.workload}"
    missing = []
    if surrogate is None:
        fewest = least_points(len(cell.axes))
        if not cell.axes:
            reason = "no hyperparameter varies"
        elif count < fewest:
            reason = f"{count} finished points; a model is learned from {fewest} or more"
        elif np.ptp(cell.mean_N[cell.design_N]) == 0:
            reason = f"all {count} points have the same objective"
        else:
            reason = "the points were chosen or pruned by earlier results; a design that covers the space allows one"
        missing.append(Missing(f"surrogate {of}", f"The maps show the points alone: {reason}."))
    if cell.axes and count < FEWEST:
        reason = f"{count} finished points; local averages need {FEWEST} or more"
        missing.append(Missing(f"maps of divergence and of seeds {of}", f"There are {reason}."))
    if count and not np.isfinite(cell.sd_N[cell.design_N]).any():
        missing.append(Missing(f"spread over seeds {of}", "Each setting ran with one seed; two or more show it."))
    for axis in cell.axes:
        if len(axis.spec.choices) > MOST_CHOICES:
            reason = f"It has {len(axis.spec.choices)} choices; up to {MOST_CHOICES} are shown as a map."
            missing.append(Missing(f"maps over {axis.name} {of}", reason))
    return tuple(missing)


def _place(place: float) -> float | None:
    return round(float(place), 6) if math.isfinite(place) else None


def _value(value: Value | None) -> Value | None:
    """A value with the digits that the report keeps."""
    if value is None or isinstance(value, bool | str):
        return value
    return float(f"{value:.8g}")


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _line(values_M: Floats) -> Line:
    return tuple(_rounded(value) for value in values_M.tolist())
