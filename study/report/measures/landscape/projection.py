"""A surrogate over one or two axes: averaged over the others, at its lowest, and along lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc
from sklearn.tree import DecisionTreeClassifier

from study.report.measures.landscape.grid import GridAxis
from study.report.observations import AxisInfo, Bools, Floats


class Activity:
    """Which axes are active at a place of the cube, as learned from the design.

    Conditions are boxes as a rule (``lr < 0.1``, ``inner == "sgd"``): a decision tree learns them up to the distance
    between neighbouring points. A condition may look at axes that are conditional themselves; these are active more
    often, and are decided first.
    """

    def __init__(self, unit_ND: Floats, axes: Sequence[AxisInfo]) -> None:
        active_ND = np.isfinite(unit_ND)
        free = [column for column, axis in enumerate(axes) if not axis.conditional]
        partial = [column for column, axis in enumerate(axes) if axis.conditional]
        partial.sort(key=lambda column: -int(active_ND[:, column].sum()))
        self._rules: list[tuple[int, list[int], DecisionTreeClassifier | bool]] = []
        for column in partial:
            before = [*free]
            free.append(column)
            active_N = active_ND[:, column]
            if not before or active_N.all() or not active_N.any():
                self._rules.append((column, before, bool(active_N.any())))
                continue
            tree = DecisionTreeClassifier(random_state=0)
            # Unchecked: scikit-learn's checks set the warnings' filters of the whole process, where threads compute.
            tree.fit(_filled(unit_ND[:, before]), active_N[:, None].astype(np.float64), check_input=False)
            self._rules.append((column, before, tree))

    def apply(self, unit_MD: Floats) -> Floats:
        """The same places, with NaN on axes that are not active there."""
        if not self._rules:
            return unit_MD
        places = unit_MD.copy()
        for column, before, rule in self._rules:
            active = (
                rule if isinstance(rule, bool) else rule.predict(_filled(places[:, before]), check_input=False) > 0.5
            )
            places[~np.broadcast_to(active, len(places)), column] = np.nan
        return places


def _filled(unit_MD: Floats) -> Floats:
    return np.nan_to_num(unit_MD, nan=-1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Background:
    """A fixed sample of the declared prior: K places that stand for the whole cube, with weights.

    Attributes:
        unit_KD: The places; each axis has one in the middle of each of K equal parts, moved to values that there are.
        weight_K: Choices and whole numbers have exactly their share of the prior by them.
    """

    unit_KD: Floats
    weight_K: Floats


def make_background(grids: Sequence[GridAxis], points: int) -> Background:
    """A Sobol' sample whose projections to single axes are midpoint rules.

    Args:
        grids: All D axes.
        points: K, a power of 2.
    """
    generator = np.random.Generator(np.random.Philox(points))
    sample = qmc.Sobol(len(grids), scramble=True, rng=generator).random_base2(points.bit_length() - 1)
    unit_KD = (np.floor(sample * points) + 0.5) / points
    weight_K = np.ones(points)
    for column, grid in enumerate(grids):
        if grid.is_stepped:
            cell_K = np.digitize(unit_KD[:, column], grid.edges[1:-1])
            found = np.bincount(cell_K, minlength=len(grid.places)) / points
            weight_K *= grid.shares()[cell_K] / found[cell_K]
            unit_KD[:, column] = grid.snap(unit_KD[:, column])
    return Background(unit_KD, weight_K / weight_K.sum())


@dataclass(frozen=True, eq=False)
class Projection:
    """What a model says where some axes are given and the others vary: M places, K points of the background.

    Attributes:
        value_MK: Its predictions; NaN where one of the given axes would not be active.
        weight_K: Weights of the background.
    """

    value_MK: Floats
    weight_K: Floats

    @property
    def mean_M(self) -> Floats:
        """Average over the other axes, over the part of the prior in which the given axes are active; NaN if none."""
        there_MK = np.isfinite(self.value_MK)
        weight_M = there_MK @ self.weight_K
        total_M = np.where(there_MK, self.value_MK, 0.0) @ self.weight_K
        return np.where(weight_M > 0, total_M / np.where(weight_M > 0, weight_M, 1.0), np.nan)

    @property
    def lowest_M(self) -> Floats:
        """Lowest over the other axes; NaN if the given axes are never active."""
        lowest_M = np.where(np.isfinite(self.value_MK), self.value_MK, np.inf).min(axis=1)
        return np.where(np.isfinite(lowest_M), lowest_M, np.nan)


def project(
    predict: Callable[[Floats], Floats],
    activity: Activity,
    background: Background,
    columns: Sequence[int],
    places_MA: Floats,
) -> Projection:
    """A model over given axes.

    Args:
        predict: The model: places (M, D) -> (M,).
        activity: Which axes are active.
        background: Where the others are.
        columns: The A given axes.
        places_MA: Where those are.
    """
    if len(columns) == background.unit_KD.shape[1]:  # nothing is left to average over
        background = Background(background.unit_KD[:1], np.ones(1))
    count, points = len(places_MA), len(background.unit_KD)
    unit = np.tile(background.unit_KD, (count, 1))
    unit[:, list(columns)] = np.repeat(places_MA, points, axis=0)
    unit = activity.apply(unit)
    there = np.isfinite(unit[:, list(columns)]).all(axis=1)
    values = np.full(len(unit), np.nan)
    if there.any():
        values[there] = predict(unit[there])
    return Projection(values.reshape(count, points), background.weight_K)


def cut(
    predict: Callable[[Floats], Floats], activity: Activity, column: int, places_M: Floats, through_D: Floats
) -> Floats:
    """A model along one axis, all others held; NaN where other axes would be active than at the point.

    Args:
        predict: The model.
        activity: Which axes are active.
        column: The axis.
        places_M: Places on it.
        through_D: The point through which the line goes.
    """
    unit = np.tile(through_D, (len(places_M), 1))
    unit[:, column] = places_M
    there: Bools = (np.isfinite(activity.apply(np.nan_to_num(unit, nan=0.5))) == np.isfinite(unit)).all(axis=1)
    values = np.full(len(unit), np.nan)
    if there.any():
        values[there] = predict(unit[there])
    return values
