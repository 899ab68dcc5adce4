"""The landscape of a study at any moment of it: bounded points, one yardstick and one scale for all optimizers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from study.axis import AxisSpec, Value
from study.point_choice import choose_points
from study.report.from_database import describe_spec
from study.report.measures.intervals import Share, measure_share
from study.report.measures.robustness.yardstick import find_good, why_no_sample
from study.report.observations import StudyInfo
from study.report.seed_numbers import cut_numbers, deviate_rows, mean_rows
from study.spec import StudySpec
from study.storage.landscape_points import (
    RUN_COLUMNS,
    FinishedTrials,
    PointRuns,
    Setting,
    read_places,
    read_point_runs,
    read_settings,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: Points of one optimizer, of all optimizers, and runs of all points: they bound what a browser is sent, and the time.
MOST_POINTS, MOST_OF_ALL, MOST_RUNS = 1500, 6000, 60_000
#: Of an optimizer at least so many are shown, however many others and seeds there are.
_LEAST_POINTS = 50
#: Means that differ by no more are equal: databases round sums.
_EQUAL = 1e-12
#: Numbers between known ends, of which the largest is none that went astray.
_BOUNDED = ("objective", "val_error", "test_error", "divergence")
_NEVER_LOG = ("divergence", "sd")
#: From here on, a logarithmic scale says more than a linear one; and the share of points below its upper end.
_LOG_FROM, _UPPER = 2.0, 0.98


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What goodness is measured by.

    Attributes:
        best: L*, lowest mean objective of any optimizer; None while no trial has finished.
        reference: L0, chance level or what stands in for it.
        source: How ``reference`` is known.
        is_chance: Whether it is chance level.
    """

    best: float | None
    reference: float | None
    source: str
    is_chance: bool

    @property
    def has_span(self) -> bool:
        """Whether something was better than L0."""
        return self.best is not None and self.reference is not None and self.reference > self.best


@dataclass(frozen=True, slots=True)
class LivePoints:
    """Finished trials, column by column, as :class:`dashboards.api.models.LandscapePoints` has them."""

    trial: list[int]
    origin: list[str]
    x: list[Value | None]
    y: list[Value | None]
    value: list[float | None]
    sd: list[float | None]
    seeds: list[int]
    diverged: list[int]
    good: list[bool | None]


@dataclass(frozen=True, slots=True)
class LiveCell:
    """One optimizer.

    Attributes:
        trials: Finished ones.
        points: Those that are shown; none where the optimizer lacks an axis.
        default: Number of the default setting, if it has finished.
        best: Number of the trial with the lowest objective; the lowest number among equals.
        good: Of the finished points of the design.
        why_not: Why that is None, as a sentence.
    """

    trials: int
    points: LivePoints
    default: int | None
    best: int | None
    good: Share | None
    why_not: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale of colours."""

    low: float | None
    high: float | None
    is_log: bool


def measure_yardstick(finished: Mapping[str, FinishedTrials], chance: float | None, source: str) -> Yardstick:
    """L* and L0 over all optimizers of a workload; without ``chance`` the median of all finished trials is L0."""
    if not finished:
        return Yardstick(None, chance, source, is_chance=chance is not None)
    mean_N = np.concatenate([trials.mean_N for trials in finished.values()])
    best = float(mean_N.min())
    if chance is not None:
        return Yardstick(best, chance, source, is_chance=True)
    return Yardstick(best, float(np.median(mean_N)), source, is_chance=False)


def find_sample_fault(spec: StudySpec) -> str | None:
    """Why the points of a study do not stand for the search space, in the words of a report; None if they do."""
    return why_no_sample(
        StudyInfo(
            **describe_spec(spec, pruned=0),
            source="service",
            state="",
            workloads=(),
            cells=(),
            failures=(),
            failures_more=0,
            created="",
            environment={},
        )
    )


def count_points(optimizers: int, seeds: int) -> int:
    """The most points of each of some optimizers."""
    fitting = min(MOST_POINTS, MOST_OF_ALL // optimizers, MOST_RUNS // (optimizers * seeds))
    return max(fitting, _LEAST_POINTS)


class Looker:
    """Looks at one optimizer after another, with the same axes, metric and yardstick.

    Args:
        connection: To the database.
        axes: Names of the axis across, and of the one up if there are two.
        metric: One of :data:`dashboards.api.models.Metric`.
        yardstick: Of the workload.
        tolerance: eps: a trial is good if its objective is at most L* + eps * (L0 - L*).
        limit: The most points of an optimizer.
        fault: Why points do not stand for the search space; None if they do.
    """

    def __init__(
        self,
        connection: Connection,
        axes: Sequence[str],
        metric: str,
        yardstick: Yardstick,
        *,
        tolerance: float,
        limit: int,
        fault: str | None,
    ) -> None:
        self._connection, self._axes, self._metric = connection, axes, metric
        self._yardstick, self._tolerance, self._limit, self._fault = yardstick, tolerance, limit, fault

    def look(self, finished: FinishedTrials | None, specs: Sequence[tuple[AxisSpec, bool] | None]) -> LiveCell:
        """One optimizer.

        Args:
            finished: Its finished trials; None if there are none.
            specs: Its own part of each axis, and whether that varies in some trials only; None where it has none.
        """
        if finished is None:
            return LiveCell(0, self._no_points(), None, None, None, self._fault or "No trial has finished yet.")
        best, good_N = _find_best(finished), self._find_good(finished)
        default = np.flatnonzero(finished.is_default_N)
        good, why_not = self._share(finished, good_N)
        has_axes = all(spec is not None for spec in specs)
        return LiveCell(
            trials=len(finished.id_N),
            points=self._points(finished, best, good_N, [s[1] for s in specs if s]) if has_axes else self._no_points(),
            default=int(finished.number_N[default[0]]) if len(default) else None,
            best=int(finished.number_N[best]),
            good=good,
            why_not=why_not,
        )

    def _find_good(self, finished: FinishedTrials) -> Bools | None:
        best, reference = self._yardstick.best, self._yardstick.reference
        if best is None or reference is None or not self._yardstick.has_span:
            return None
        return find_good(finished.mean_N, best=best, reference=reference, tolerance=self._tolerance)

    def _share(self, finished: FinishedTrials, good_N: Bools | None) -> tuple[Share | None, str]:
        """As the report's robust volume: of the points of the design."""
        design_N = ~finished.is_default_N
        if self._fault is not None:
            return None, self._fault
        if not design_N.any():
            return None, "No point of the design has finished yet."
        if good_N is None:
            alike = "All trials are alike."
            return None, "No optimizer has a trial better than chance level." if self._yardstick.is_chance else alike
        return measure_share(int(good_N[design_N].sum()), int(design_N.sum())), ""

    def _no_points(self) -> LivePoints:
        return LivePoints([], [], [], [], [], [], [], [], [])

    def _points(
        self, finished: FinishedTrials, best: int, good_N: Bools | None, conditional: Sequence[bool]
    ) -> LivePoints:
        rows = self._choose(finished, best)
        keys = finished.id_N[rows].tolist()
        settings = read_settings(self._connection, keys)
        column = self._metric if self._metric in RUN_COLUMNS else "objective"
        runs = read_point_runs(self._connection, keys, column)
        mean, sd = _over_seeds([runs[key] for key in keys])
        across, *up = (
            [_value(settings[key], axis, some) for key in keys]
            for axis, some in zip(self._axes, conditional, strict=True)
        )
        share_N = finished.diverged_N[rows] / finished.seeds_N[rows]
        value = {"sd": sd, "divergence": share_N.tolist()}.get(self._metric, mean)
        return LivePoints(
            trial=finished.number_N[rows].tolist(),
            origin=["default" if default else "design" for default in finished.is_default_N[rows]],
            x=across,
            y=up[0] if up else [],
            value=value,
            sd=sd,
            seeds=finished.seeds_N[rows].tolist(),
            diverged=finished.diverged_N[rows].tolist(),
            good=[None] * len(rows) if good_N is None else good_N[rows].tolist(),
        )

    def _choose(self, finished: FinishedTrials, best: int) -> npt.NDArray[np.int64]:
        """Rows of the points that are shown, by number."""
        if len(finished.id_N) <= self._limit:
            return np.arange(len(finished.id_N))
        places_NA = read_places(self._connection, finished.id_N, self._axes)
        kept_N = finished.is_default_N.copy()
        kept_N[best] = True
        return choose_points(places_NA, finished.diverged_N > 0, kept_N, self._limit)


def find_scale(metric: str, columns: Sequence[Sequence[float | None]]) -> Scale:
    """One scale for the values of several optimizers; numbers beyond its upper end have the colour of that end."""
    value_N = np.array([value for column in columns for value in column if value is not None], float)
    if metric == "divergence":
        return Scale(0.0, 1.0, is_log=False)
    if not len(value_N):
        return Scale(None, None, is_log=False)
    low = 0.0 if metric == "sd" else float(value_N.min())
    high = float(value_N.max() if metric in _BOUNDED else np.quantile(value_N, _UPPER))
    if high <= low:
        reach = 0.05 * abs(low) or 0.5
        return Scale(low - reach, low + reach, is_log=False)
    return Scale(low, high, is_log=metric not in _NEVER_LOG and low > 0 and high / low >= _LOG_FROM)


def _find_best(finished: FinishedTrials) -> int:
    """Row of the lowest mean: the first of those that are equal but for the database's rounding."""
    lowest = float(finished.mean_N.min())
    return int(np.flatnonzero(finished.mean_N <= lowest + _EQUAL * abs(lowest))[0])


def _over_seeds(runs: Sequence[PointRuns]) -> tuple[list[float | None], list[float | None]]:
    """Mean and standard deviation over the seeds of each trial, as a report computes them.

    None where a run has no such number: a diverged run has no error of its own, and none is made up for it.
    """
    width = max((len(one.values) for one in runs), default=0)
    padded = [[*one.values, *[None] * (width - len(one.values))] for one in runs]
    value_NS = cut_numbers(np.array(padded, float).reshape(len(runs), width))
    whole_N = np.array([None not in one.values for one in runs], bool)
    return _to_numbers(mean_rows(value_NS, whole_N)), _to_numbers(deviate_rows(value_NS, whole_N))


def _to_numbers(value_N: Floats) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in value_N.tolist()]


def _value(setting: Setting, axis: str, conditional: bool) -> Value | None:
    """What a trial has on an axis; None where the axis is not active."""
    if conditional and setting.unit.get(axis) is None:
        return None
    return setting.hyperparameters.get(axis)
