"""Measures whether an optimizer lost to a special case of itself: then its search space or its budget was too small."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from adai import get_rule, list_optimizers
from study.axis import AxisSpec, Value, format_value
from study.report.measures.audit.inclusion_catalog import INCLUSIONS, Inclusion, InclusionKind, Wanted
from study.report.measures.holm import adjust_holm
from study.report.measures.intervals import CONFIDENCE, Estimate
from study.report.measures.missing import Missing
from study.report.observations import Cell, Floats, Observations
from study.training import SCHEDULE, TRAINING_AXES

Verdict = Literal["holds", "violated", "cannot be told", "not applicable"]
#: Relative difference up to which two numbers are the same value of a hyperparameter.
_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class InclusionCheck:
    """A special case and the general optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        special: Name of the special case.
        general: Name of the general optimizer.
        kind: Whether the inclusion is exact or holds in a limit.
        reason: How the general one becomes the special one.
        verdict: ``violated`` if the general one's best is worse, by Holm's correction of the paired t-test over seeds
            (differences that do not vary: if it is worse by more than ``margin``); ``holds`` if it is not and the
            interval's upper end is at most ``margin``; ``not applicable`` if this study's search space does not reach
            the special case; else ``cannot be told``.
        blocked: Why it is not applicable, or cannot be told, as clauses.
        special_trial: The best trial of the special case among those that the general one could have been; None without
            one.
        general_trial: The best trial of the general one.
        special_trials: Finished trials of the special case among which it is the best.
        general_trials: Finished trials of the general one.
        special_mean: Mean objective of the former best.
        general_mean: Mean objective of the latter.
        difference: ``general_mean`` - ``special_mean``, above 0 if the general one lost; Student's t over paired seeds,
            or Welch's if seeds are not paired.
        margin: What counts as no worse: the tolerance times what can be gained on the workload.
        seeds: Seeds that the interval is from.
        p: Two-sided p-value of the difference.
        p_adjusted: The same by Holm over all checks of the study that have one.
        outside: What keeps the special case's best out of the general one's ranges; empty if the design could have hit
            it, so that a loss is one of the budget.
    """

    workload: str
    special: str
    general: str
    kind: InclusionKind
    reason: str
    verdict: Verdict
    blocked: tuple[str, ...] = ()
    special_trial: int | None = None
    general_trial: int | None = None
    special_trials: int = 0
    general_trials: int = 0
    special_mean: float | None = None
    general_mean: float | None = None
    difference: Estimate | None = None
    margin: float | None = None
    seeds: int = 0
    p: float | None = None
    p_adjusted: float | None = None
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inclusions:
    """All checks of a study.

    Attributes:
        tolerance: The share of what can be gained that counts as no worse.
        checks: By workload, then as in the catalog of inclusions.
        missing: Why there are none, if so.
    """

    tolerance: float
    checks: tuple[InclusionCheck, ...]
    missing: tuple[Missing, ...]


def measure_inclusions(observations: Observations, tolerance: float = 0.05) -> Inclusions:
    """Check that no optimizer lost to a special case of itself (Choi et al. 2019, arXiv 1910.05446).

    Args:
        observations: The study.
        tolerance: In (0, 1): the general one is no worse if it lost at most this share of what can be gained.
    """
    if observations.info.source != "service":
        reason = "What its optimizers are and hold fixed is not known; only studies of this service say so."
        return Inclusions(tolerance, (), (Missing("inclusion checks", reason),))
    checks = [
        _check(observations, inclusion, special, general, tolerance)
        for workload in observations.workloads
        for inclusion in INCLUSIONS
        for special in observations.on(workload)
        for general in observations.on(workload)
        if (special.optimizer, general.optimizer) == (inclusion.special, inclusion.general)
    ]
    if not checks:
        reason = (
            "No optimizer of the study is a special case of another one that has finished trials on the same workload; "
            "add a pair such as adam and padam, or sgd and adam with an axis of eps."
        )
        return Inclusions(tolerance, (), (Missing("inclusion checks", reason),))
    return Inclusions(tolerance, _judge_all(checks), ())


def _check(
    observations: Observations, inclusion: Inclusion, special: Cell, general: Cell, tolerance: float
) -> InclusionCheck:
    """Everything but the correction for the number of checks, and so the verdict."""
    empty = InclusionCheck(
        special.workload, inclusion.special, inclusion.general, inclusion.kind, inclusion.reason, "not applicable"
    )
    knobs = _Knobs(observations, inclusion, general)
    found, blocked = _best_reachable(observations, inclusion, special, general, knobs)
    if found is None:
        return replace(empty, blocked=blocked, general_trials=int(general.finished_N.sum()))
    best, trials, outside = found
    other = general.best
    assert other is not None  # noqa: S101 - narrows the type: the cell has finished trials
    start, limit = observations.best_on(special.workload), observations.reference_on(special.workload)
    difference, p, seeds = _difference(
        general.objective_NS[other], special.objective_NS[best], paired=observations.info.paired_seeds
    )
    learned = special.mean_N[best] < limit * (1 - 1e-9) if limit > start else False
    return replace(
        empty,
        verdict="cannot be told",
        blocked=() if learned else ("the special case learned nothing, so there is nothing to lose to",),
        special_trial=int(special.number_N[best]),
        general_trial=int(general.number_N[other]),
        special_trials=trials,
        general_trials=int(general.finished_N.sum()),
        special_mean=float(special.mean_N[best]),
        general_mean=float(general.mean_N[other]),
        difference=difference,
        margin=tolerance * max(limit - start, 0.0),
        seeds=seeds,
        p=p,
        outside=outside,
    )


def _best_reachable(
    observations: Observations, inclusion: Inclusion, special: Cell, general: Cell, knobs: "_Knobs"
) -> tuple[tuple[int, int, tuple[str, ...]] | None, tuple[str, ...]]:
    """The best trial of the special case that the general one could be, how many it is the best of, and what is out.

    Returns:
        None instead if there is none, and then what keeps the best trial out.
    """
    order = [int(row) for row in np.argsort(special.mean_N, kind="stable") if special.finished_N[row]]
    held = _held(observations, special.optimizer) | dict(special.info.fixed)
    first_reasons: tuple[str, ...] = ()
    found: tuple[int, tuple[str, ...]] | None = None
    count = 0
    for place, row in enumerate(order):
        wanted = _wanted(inclusion, special, general, held | dict(special.values[row]), knobs)
        if wanted is None:
            reasons: tuple[str, ...] = (
                f"no setting of {special.optimizer} in this study is one of {general.optimizer}",
            )
            outside: tuple[str, ...] = ()
        else:
            reasons, outside = knobs.refuse(wanted)
        if not reasons:
            count += 1
            found = found or (row, outside)
        if place == 0:
            first_reasons = reasons
    return ((found[0], count, found[1]), ()) if found else (None, first_reasons)


def _wanted(
    inclusion: Inclusion, special: Cell, general: Cell, setting: Mapping[str, Value], knobs: "_Knobs"
) -> dict[str, Wanted] | None:
    """What the general optimizer must have to be the special one with ``setting``."""
    try:
        wanted = inclusion.embed(setting, knobs.reach)
    except KeyError:  # a study that calls something else by this name
        return None
    if wanted is None:
        return None
    # The training is part of a setting: what one of the two varies, the other must be able to have.
    shared = {
        axis.name: setting[axis.name] for axis in special.axes if _is_training(axis.name) and axis.name in setting
    }
    for axis in general.axes:
        if _is_training(axis.name) and axis.name not in shared and axis.default is not None:
            shared[axis.name] = axis.default
    return wanted | shared


def _is_training(name: str) -> bool:
    return name in TRAINING_AXES or name == SCHEDULE


class _Knobs:
    """What the general optimizer can be in this study."""

    def __init__(self, observations: Observations, inclusion: Inclusion, general: Cell) -> None:
        options = {"inner": inclusion.special} if general.optimizer == "cprop" else {}
        self._corner = inclusion.corner
        self._axes: Mapping[str, AxisSpec] = {axis.name: axis.spec for axis in general.axes}
        self._held = _held(observations, general.optimizer, options) | dict(general.info.fixed)
        # What neither varies nor is a hyperparameter is the study's training, the special case's default there.
        cells = [cell for cell in observations.info.cells if cell.workload == general.workload]
        self._training = {
            axis.name: axis.default
            for cell in cells
            for axis in cell.axes
            if _is_training(axis.name) and axis.default is not None
        }

    def reach(self, name: str) -> tuple[float, float]:
        """Smallest and largest number that it can have; NaN twice if there is none."""
        if name in self._axes:
            spec = self._axes[name]
            numbers = [float(choice) for choice in spec.choices or spec.ends if not isinstance(choice, str)]
        else:
            value = self._held.get(name, self._training.get(name))
            numbers = [] if value is None or isinstance(value, str) else [float(value)]
        return (min(numbers), max(numbers)) if numbers else (math.nan, math.nan)

    def refuse(self, wanted: Mapping[str, Wanted]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What it cannot be at all, and which of its ranges are too narrow, as clauses."""
        blocked: list[str] = []
        outside: list[str] = []
        for name, value in wanted.items():
            if name in self._axes:
                spec = self._axes[name]
                if not _axis_has(spec, value):
                    (blocked if name in self._corner or spec.is_categorical else outside).append(
                        f"{name} would have to be {_say(value)}, and {_say_axis(spec)}"
                    )
                continue
            held = self._held.get(name, self._training.get(name))
            if held is None:
                blocked.append(f"{name} would have to be {_say(value)}, and it has none")
            elif not _is_one_of(held, value):
                blocked.append(f"{name} would have to be {_say(value)}, and it is held at {format_value(held)}")
        return tuple(blocked), tuple(outside)


def _held(observations: Observations, optimizer: str, options: Mapping[str, Any] | None = None) -> dict[str, Value]:
    """Defaults and options of an optimizer in this study."""
    spec = observations.info.spec or {}
    given = [entry for entry in spec.get("optimizers", ()) if entry.get("name") == optimizer]
    chosen = dict(given[0].get("options") or {}) if given else {}
    if optimizer not in list_optimizers():
        return chosen
    rule = get_rule(optimizer, **{**chosen, **(options or {})})
    values: dict[str, Value] = {known.name: known.default for known in rule.hyperparameters}
    # An inner rule that was asked for is not one that the study has.
    return values | dict(get_rule(optimizer, **chosen).options)


def _axis_has(spec: AxisSpec, value: Wanted) -> bool:
    if spec.is_categorical:
        return any(_is_one_of(choice, value) for choice in spec.choices)
    if isinstance(value, str | bool):
        return False
    low, high = spec.ends
    first, last = value if isinstance(value, tuple) else (value, value)
    slack = _SAME * max(abs(low), abs(high))
    return bool(first <= high + slack and last >= low - min(slack, _SAME * abs(low)))


def _is_one_of(value: Value, wanted: Wanted) -> bool:
    if isinstance(wanted, str | bool) or isinstance(value, str | bool):
        return type(wanted) is type(value) and wanted == value
    first, last = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    return bool(first - _SAME * abs(first) <= value <= last + _SAME * abs(last))


def _say(wanted: Wanted) -> str:
    if not isinstance(wanted, tuple):
        return format_value(wanted)
    low, high = wanted
    if math.isinf(high):
        return f"at least {format_value(low)}"
    if low == 0.0:
        return f"at most {format_value(high)}"
    return format_value(low) if low == high else f"{format_value(low)} to {format_value(high)}"


def _say_axis(spec: AxisSpec) -> str:
    if spec.is_categorical:
        return f"its choices are {', '.join(format_value(choice) for choice in spec.choices)}"
    return f"its range is {format_value(spec.ends[0])} to {format_value(spec.ends[1])}"


def _difference(general_S: Floats, special_S: Floats, *, paired: bool) -> tuple[Estimate, float | None, int]:
    """Mean difference with its interval, p-value, and seeds that it is from; no interval from fewer than two."""
    if paired:
        seeds = min(len(general_S), len(special_S))
        apart = general_S[:seeds] - special_S[:seeds]
        apart = apart[np.isfinite(apart)]
        return (*_t_interval(apart), len(apart))
    first, second = general_S[np.isfinite(general_S)], special_S[np.isfinite(special_S)]
    value = float(first.mean() - second.mean())
    fewest = min(len(first), len(second))
    if fewest < 2 or first.var() + second.var() == 0:
        return Estimate(value), None, fewest
    result = stats.ttest_ind(first, second, equal_var=False)
    interval = result.confidence_interval(CONFIDENCE)
    return Estimate(value, float(interval.low), float(interval.high)), float(result.pvalue), fewest


def _t_interval(apart_S: Floats) -> tuple[Estimate, float | None]:
    """Student's t; differences that are all the same have no spread to be compared with, and so no p-value."""
    value = math.fsum(apart_S.tolist()) / len(apart_S)
    if len(apart_S) < 2:
        return Estimate(value), None
    error = float(np.std(apart_S, ddof=1)) / math.sqrt(len(apart_S))
    if error <= 1e-12 * max(abs(value), 1e-300):
        return Estimate(value, value, value), None
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(apart_S) - 1)) * error
    p = float(2 * stats.t.sf(abs(value) / error, len(apart_S) - 1))
    return Estimate(value, value - reach, value + reach), p


def _judge_all(checks: Sequence[InclusionCheck]) -> tuple[InclusionCheck, ...]:
    """Correct the p-values for their number, and give the verdicts."""
    tested = [check for check in checks if check.p is not None and not check.blocked]
    adjusted = dict(zip(map(_key, tested), adjust_holm([check.p or 0.0 for check in tested]), strict=True))
    judged = [replace(check, p_adjusted=adjusted.get(_key(check))) for check in checks]
    return tuple(replace(check, verdict=_judge(check)) for check in judged)


def _key(check: InclusionCheck) -> tuple[str, str, str]:
    return check.workload, check.special, check.general


def _judge(check: InclusionCheck) -> Verdict:
    if check.verdict == "not applicable" or check.blocked or check.difference is None or check.margin is None:
        return check.verdict
    difference = check.difference
    if difference.value > 0 and check.p_adjusted is not None and check.p_adjusted < 1 - CONFIDENCE:
        return "violated"
    if difference.high is None:
        return "cannot be told"
    if check.p is None and difference.value > check.margin:
        return "violated"
    return "holds" if difference.high <= check.margin else "cannot be told"
