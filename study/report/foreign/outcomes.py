"""What became of a trial of Optuna, in this program's words: completed, diverged, pruned, failed or not ended."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

#: User attributes in which people note why a trial failed, in this order.
_REASONS = ("reason", "fail_reason", "failure_reason", "error", "exception", "termination")
_NO_REASON = "it raised an error or returned NaN: Optuna does not store which"
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        termination: ``completed``, ``diverged``, ``pruned`` or ``failed``; None if it has not ended.
        objective: Lower is better; None for a run that brought nothing.
        reason: Why it has none, or is not what its trial says.
        is_capped: Whether its own value was worse than chance level.
    """

    termination: str | None
    objective: float | None = None
    reason: str | None = None
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """How values of a study become objectives.

    Attributes:
        sign: -1 if the study maximizes.
        chance: Objective of a run that learned nothing, which every objective is capped at; None if unknown.
        worst: Objective of a diverged run; None if nothing says what it could be.
    """

    sign: float
    chance: float | None
    worst: float | None


def first_value(trial: FrozenTrial) -> float | None:
    """The value of the first objective; None without one."""
    return trial.values[0] if trial.values else None


def find_outcome(trial: FrozenTrial, scale: Scale) -> Outcome:
    """What became of ``trial``."""
    return _OUTCOMES[trial.state](trial, scale)


def find_seconds(trial: FrozenTrial) -> float | None:
    """Time from start to end; None for trials that have not ended or were not run but added."""
    start, end = trial.datetime_start, trial.datetime_complete
    if start is None or end is None:
        return None
    # Optuna gives local times: between two of them the clocks may have changed.
    seconds = (end.astimezone() - start.astimezone()).total_seconds()
    return seconds if seconds > 0 else None


def _judge_complete(trial: FrozenTrial, scale: Scale) -> Outcome:
    value = first_value(trial)
    if value is None:
        return Outcome("failed", None, "it is complete without a value")
    objective = scale.sign * value
    if objective == -math.inf:
        return Outcome("failed", None, f"its value is {value}, which nothing can be better than")
    if not math.isfinite(objective):
        return Outcome("diverged", scale.worst, f"its value is {value}")
    if scale.chance is not None and objective > scale.chance:
        return Outcome("completed", scale.chance, is_capped=True)
    return Outcome("completed", objective + 0.0)  # Not -0.0.


def _judge_failed(trial: FrozenTrial, scale: Scale) -> Outcome:
    del scale
    return Outcome("failed", None, _find_reason(trial.user_attrs | trial.system_attrs))


def _judge_pruned(trial: FrozenTrial, scale: Scale) -> Outcome:
    del scale
    steps = len(trial.intermediate_values)
    return Outcome("pruned", None, f"pruned after {steps} reports" if steps else "pruned")


def _judge_pending(trial: FrozenTrial, scale: Scale) -> Outcome:
    del trial, scale
    return Outcome(None)


def _find_reason(attributes: Mapping[str, Any]) -> str:
    found = (attributes[name] for name in _REASONS if isinstance(attributes.get(name), str) and attributes[name])
    return next(found, _NO_REASON)[:_LONGEST_REASON]


_OUTCOMES: dict[TrialState, Callable[[FrozenTrial, Scale], Outcome]] = {
    TrialState.COMPLETE: _judge_complete,
    TrialState.FAIL: _judge_failed,
    TrialState.PRUNED: _judge_pruned,
    TrialState.RUNNING: _judge_pending,
    TrialState.WAITING: _judge_pending,
}
