"""Adaptive designs played to their end with objectives that are formulas, so that nothing has to be trained."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.axis import Value
from study.design import PlannedTrial
from study.sampling import ask_round
from study.space import to_distribution
from study.spec import StudySpec

#: From the trial to its values, or to a whole ended trial's fields.
Objective = Callable[[PlannedTrial], list[float]]
State = Callable[[PlannedTrial], TrialState]

WORKLOAD = "digits-mlp"
AXES: dict[str, dict[str, Any]] = {
    "lr": {"low": 1e-2, "high": 1e2, "scale": "log"},
    "beta0": {"low": 1e-2, "high": 1.0, "scale": "log"},
    "beta2": {"low": 0.0, "high": 0.999, "scale": "log1m"},
}
#: A real number, a whole number, choices, and an axis that varies in some trials only.
MIXED_AXES: dict[str, dict[str, Any]] = {
    "weight_decay": {"low": 1e-5, "high": 1e-1, "scale": "log", "when": 'schedule == "cosine"'},
    "lr": {"low": 1e-2, "high": 1e2, "scale": "log"},
    "schedule": {"choices": ["constant", "cosine", "step"]},
    "batch_size": {"low": 16, "high": 256, "scale": "log"},
}


def adaptive_spec(kind: str, axes: dict[str, Any] | None = None, **design: Any) -> StudySpec:
    """A study of one workload and optimizer; ``constraints`` and ``study_seed`` are taken out of ``design``."""
    if kind == "nsga2":
        design.setdefault("second_objective", "val_loss")
    optimizer = {"name": "adai", "axes": axes or AXES, "constraints": design.pop("constraints", [])}
    return StudySpec.model_validate(
        {
            "name": "played",
            "workloads": [WORKLOAD],
            "optimizers": [optimizer],
            "study_seed": design.pop("study_seed", 0),
            "design": {"kind": kind, **design},
        }
    )


def active_values(spec: StudySpec, trial: PlannedTrial) -> dict[str, Value]:
    """What a trial has on the axes that vary in it and contain it: what Optuna is told."""
    space, values = spec.optimizers[0], trial.hyperparameters
    return {n: values[n] for n, axis in space.axes.items() if space.is_active(n, values) and axis.contains(values[n])}


def end_trial(
    spec: StudySpec, trial: PlannedTrial, values: Sequence[float], state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    """The trial as Optuna keeps it when it has ended; a pruned one had these values on the way."""
    params = active_values(spec, trial)
    pruned = state == TrialState.PRUNED
    return create_trial(
        state=state,
        values=list(values) if state == TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(values, 1)) if pruned else None,
        params=params,
        distributions={name: to_distribution(spec.optimizers[0].axes[name]) for name in params},
        system_attrs=dict(trial.system_attributes),
    )


def play(
    spec: StudySpec, objective: Objective, state: State = lambda _: TrialState.COMPLETE, rounds: int | None = None
) -> tuple[list[PlannedTrial], list[FrozenTrial]]:
    """All rounds, or the first ones, one after the other."""
    directions = ["minimize"] * (1 if spec.design.second_objective is None else 2)
    optuna_study = optuna.create_study(directions=directions)
    planned: list[PlannedTrial] = []
    for round_ in itertools.count() if rounds is None else range(rounds):
        asked = ask_round(spec, WORKLOAD, spec.optimizers[0], round_=round_, history=optuna_study.get_trials())
        if not asked:
            break
        for trial in asked:
            optuna_study.add_trial(end_trial(spec, trial, objective(trial), state(trial)))
        planned += asked
    return planned, optuna_study.get_trials()


def bowl(trial: PlannedTrial) -> list[float]:
    """Squared distance from a point of the unit cube."""
    return [sum((unit - 0.3) ** 2 for unit in trial.unit.values() if unit is not None)]


def two_bowls(trial: PlannedTrial) -> list[float]:
    """Squared distances from two points: the best compromises lie between them."""
    return [sum((unit - c) ** 2 for unit in trial.unit.values() if unit is not None) for c in (0.3, 0.6)]
