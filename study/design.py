"""The design: all points of a study, made up front, so that no result depends on the order of finishing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from study.axis import Value
from study.placement import Setting, default_setting, place_settings
from study.spec import StudySpec

Origin = Literal["default", "design"]


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """One trial before it runs.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        number: Its number in the Optuna study of that workload and optimizer; 0 is the default setting.
        origin: Whether it is the default setting or a point of the design.
        hyperparameters: Every hyperparameter of the optimizer, option that is an axis, and axis of the training.
        unit: For each axis its place in the unit cube; outside [0, 1] or None if a default lies off its axis, None if
            the axis is not active.
        round: Of an adaptive design: trials of a round are asked when those of the rounds before have ended.
        system_attributes: What a sampler of Optuna must find with the trial in later rounds.
    """

    workload: str
    optimizer: str
    number: int
    origin: Origin
    hyperparameters: dict[str, Value]
    unit: dict[str, float | None]
    round: int = 0
    system_attributes: Mapping[str, Any] = field(default_factory=dict)


def plan_trials(spec: StudySpec) -> list[PlannedTrial]:
    """All trials of a study in their fixed order: by workload, optimizer, number.

    Of an adaptive design only the default settings: its points are not known before it runs.

    Raises:
        SpecError: The constraints leave too few points.
    """
    return [
        trial
        for workload in spec.workloads
        for optimizer in spec.optimizers
        for trial in _plan_optimizer(spec, workload, optimizer.name)
    ]


def _plan_optimizer(spec: StudySpec, workload: str, name: str) -> list[PlannedTrial]:
    optimizer = spec.optimizer(name)
    training = spec.training_defaults(workload, optimizer)
    default = plan_setting(workload, name, 0, default_setting(optimizer, training))
    if spec.design.is_adaptive:
        return [default]
    settings = place_settings(optimizer, spec.design, spec.study_seed, training)
    return [default, *(plan_setting(workload, name, number, s) for number, s in enumerate(settings, start=1))]


def plan_setting(workload: str, optimizer: str, number: int, setting: Setting) -> PlannedTrial:
    """The trial of a setting, as it is before it runs."""
    origin: Origin = "design" if number else "default"
    return PlannedTrial(workload, optimizer, number, origin, setting.hyperparameters, setting.unit)
