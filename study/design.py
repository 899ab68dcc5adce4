"""The design: all points of a study, made up front, so that no result depends on the order of finishing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from study.axis import AxisSpec, Value
from study.design_spec import DesignSpec
from study.search_space import OptimizerSpec
from study.space import to_unit, to_value
from study.spec import StudySpec
from workers.random import Purpose, uniform

#: The column of the unit cube that each hyperparameter reads. Shared between optimizers: point k has the same
#: quantile of lr, of inertia (beta0, momentum, beta1), of beta2 and of weight decay for all of them. Adding an
#: optimizer or an axis to a spec moves no other point.
COLUMNS = {
    "lr": 0,
    "beta0": 1,
    "momentum": 1,
    "beta1": 1,
    "beta2": 2,
    "weight_decay": 3,
    "eps": 4,
    "final_lr": 5,
    "gamma": 6,
    "partial": 7,
    "momentum_decay": 8,
    "dampening": 9,
    "cprop_beta": 10,
    "cprop_c": 11,
    "cprop_eps": 12,
    "batch_size": 13,
    "epochs": 14,
    "limit_train": 15,
    "label_smoothing": 16,
    "noise_rate": 17,
    "imbalance_ratio": 18,
}
#: Columns are made in blocks of 16, each with its own scrambling: a further block moves no point of the others.
_BLOCK = 16
#: More than are used: a further column would else move the points of every study.
DIMENSIONS = 2 * _BLOCK

Origin = Literal["default", "design"]


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """One trial before it runs.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        number: Its number in the Optuna study of that workload and optimizer; 0 is the default setting.
        origin: Whether it is the default setting or a point of the design.
        hyperparameters: Every hyperparameter of the optimizer and every axis of the training.
        unit: For each axis its place in the unit cube; outside [0, 1] or None if a default lies off its axis.
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


def unit_points(design: DesignSpec, study_seed: int) -> npt.NDArray[np.float64]:
    """The design's points, shape (points, DIMENSIONS), in [0, 1); more points keep the first ones.

    Args:
        design: Kind and number of points.
        study_seed: Keys the scrambling or the random numbers.
    """
    return np.hstack([_block(design, study_seed, block) for block in range(DIMENSIONS // _BLOCK)])


def _block(design: DesignSpec, study_seed: int, block: int) -> npt.NDArray[np.float64]:
    """Columns ``16 * block`` to ``16 * block + 15``."""
    if design.kind == "random":
        words = uniform(design.points * _BLOCK, seed=study_seed, index=0, purpose=Purpose.DESIGN, step=block)
        return words.reshape(design.points, _BLOCK)
    # A later block is the end of a longer sequence: the same columns scrambled anew would be tied to the first ones.
    scrambling = np.random.SeedSequence([study_seed, int(Purpose.DESIGN), *([block] if block else [])])
    sobol = qmc.Sobol(d=_BLOCK * (block + 1), scramble=True, rng=np.random.Generator(np.random.Philox(scrambling)))
    exponent = max(design.points - 1, 0).bit_length()  # the least power of 2 that holds all points
    return np.asarray(sobol.random_base2(exponent)[: design.points, block * _BLOCK :])


def plan_trials(spec: StudySpec) -> list[PlannedTrial]:
    """All trials of a study in their fixed order: by workload, optimizer, number."""
    points = unit_points(spec.design, spec.study_seed)
    return [
        trial
        for workload in spec.workloads
        for optimizer in spec.optimizers
        for trial in _plan_optimizer(plan_default(spec, workload, optimizer), optimizer, points)
    ]


def plan_default(spec: StudySpec, workload: str, optimizer: OptimizerSpec) -> PlannedTrial:
    """Trial 0 of a workload and optimizer: the default setting, with what the spec fixes."""
    values: dict[str, Value] = {h.name: h.default for h in optimizer.rule.hyperparameters}
    values |= optimizer.fixed | _training_defaults(spec, workload, optimizer)
    unit = {name: to_unit(axis, values[name]) for name, axis in optimizer.axes.items()}
    return PlannedTrial(workload, optimizer.name, 0, "default", values, unit)


def _training_defaults(spec: StudySpec, workload: str, optimizer: OptimizerSpec) -> dict[str, float]:
    """What trial 0 has on the axes of the training: the study's own, the workload's, or all data."""
    training = spec.training
    values: dict[str, float] = {
        "batch_size": training.batch_size or spec.workload(workload).batch_size,
        "epochs": spec.epochs_of(workload),
        "limit_train": training.limit_train or math.inf,
        "label_smoothing": training.label_smoothing,
        "noise_rate": training.noise_rate,
        "imbalance_ratio": training.imbalance_ratio,
    }
    return {
        name: min(float(value), _highest(optimizer.axes[name]))
        for name, value in values.items()
        if name in optimizer.axes
    }


def _highest(axis: AxisSpec) -> float:
    """The largest number of an axis."""
    return max(float(value) for value in axis.choices or axis.ends)


def _plan_optimizer(
    default: PlannedTrial, optimizer: OptimizerSpec, points: npt.NDArray[np.float64]
) -> list[PlannedTrial]:
    trials = [default]
    for number, point in enumerate(points, start=1):
        place = {name: float(point[COLUMNS[name]]) for name in optimizer.axes}
        values = {name: to_value(axis, place[name]) for name, axis in optimizer.axes.items()}
        # A whole number stands where it is, not where the point was before it was rounded.
        unit = {n: to_unit(axis, values[n]) if axis.integer else place[n] for n, axis in optimizer.axes.items()}
        trials.append(
            replace(
                default, number=number, origin="design", unit=unit, hyperparameters=default.hyperparameters | values
            )
        )
    return trials
