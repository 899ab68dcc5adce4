"""The study spec: what one study is, and everything that must hold for it."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from study.axis import AxisSpec, Value
from study.design_checks import check_design, check_pruning
from study.design_spec import DesignSpec, PruningSpec
from study.placement import MAX_CELLS, count_settings, grid_size
from study.search_space import OptimizerSpec
from study.training import INTEGER_AXES, OWN_SCHEDULE, SCHEDULE, TRAINING_AXES, Strict, TrainingSpec, check_known
from workers.messages import Objective, Training, WorkloadReference
from workers.workloads import Workload, get_workload, list_workloads, read_workloads

#: Context of validation: the spec comes from the database. It was checked when it was stored, and its workloads need
#: not be installed where it is only looked at; no code of workload files runs.
STORED = "stored"
#: Not in the hash where they are empty.
_LATER_FIELDS = ("workload_files",)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class StudySpec(Strict):
    """What one study is: workloads x optimizers x points x seeds."""

    name: str
    """Lower-case letters, digits, dots, underscores and hyphens; unique in a database."""
    description: str = ""
    """For people; changing it does not make another study."""
    workload_files: dict[str, str] = Field(default={})
    """Python files that define workloads of your own: a list of paths in the file, name -> text once it is read."""
    workloads: Annotated[list[str], Field(min_length=1)]
    """Names of workloads: shipped, installed, or from the workload files."""
    optimizers: Annotated[list[OptimizerSpec], Field(min_length=1)]
    """Each optimizer once."""
    design: DesignSpec = DesignSpec()
    """The points."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    """Runs per trial. Paired: seed s means the same initial weights and data order for every trial."""
    study_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Keys the design and, with the seed's index, everything random in a run."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Passes over the training set; without it, each workload's own budget."""
    objective: Objective = "val_error"
    """What a trial is judged by: `val_error` or `val_loss` after the last epoch, mean over seeds."""
    training: TrainingSpec = TrainingSpec()
    """How the workloads are trained, where not in their own way."""
    pruning: PruningSpec = PruningSpec()
    """Which trials are stopped early."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a study name; use 1 to 64 lower-case letters, digits, '.', '_' or '-', "
                "the first a letter or digit"
            )
        return name

    @field_validator("workloads")
    @classmethod
    def _check_workloads(cls, workloads: list[str], info: ValidationInfo) -> list[str]:
        _check_unique("workload", workloads)
        if info.context == STORED:
            return workloads
        own = [
            name for file, text in info.data.get("workload_files", {}).items() for name in read_workloads(text, file)
        ]
        _check_unique("workload of the workload files", own)
        for workload in workloads:
            check_known("workload", workload, [*list_workloads(), *own])
        return workloads

    @model_validator(mode="after")
    def _check_training(self, info: ValidationInfo) -> Self:
        if info.context == STORED:
            return self
        for name in self.workloads:
            workload = self.workload(name)
            if workload.error is None and self.objective == "val_error":
                raise ValueError(f'workload {name!r} has no error rate; set objective = "val_loss"')
        for optimizer in self.optimizers:
            for axis, kind in (("noise_rate", "label_noise"), ("imbalance_ratio", "imbalance")):
                if axis in optimizer.axes and getattr(self.training, kind) == "none":
                    raise ValueError(f"the axis {axis} of {optimizer.name} needs {kind} in [training]; set its kind")
        for axis, kind in (("noise_rate", "label_noise"), ("imbalance_ratio", "imbalance")):
            given = axis in self.training.model_fields_set or any(axis in o.axes for o in self.optimizers)
            if getattr(self.training, kind) != "none" and not given:
                raise ValueError(
                    f'{kind} = "{getattr(self.training, kind)}" does nothing without {axis}; set it in [training], or '
                    "make it an axis"
                )
        return self

    @model_validator(mode="after")
    def _check_design(self, info: ValidationInfo) -> Self:
        for optimizer in self.optimizers:
            check_design(self.design, optimizer, seeds=self.seeds)
            check_pruning(self.pruning, self.design, optimizer)
        self.pruning.check_seeds(self.seeds)
        if self.pruning.by_epochs and info.context != STORED:
            for workload in self.workloads:
                self.pruning.check_epochs(self.epochs_of(workload))
        return self

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        if self.design.kind == "grid" and self.design.levels is not None:
            for optimizer in self.optimizers:
                size = grid_size(optimizer, self.design.levels)
                if size > MAX_CELLS:
                    raise ValueError(
                        f"a grid of {self.design.levels} levels has {size} points for {optimizer.name}, more than "
                        f"{MAX_CELLS}; take fewer levels or axes, or another design"
                    )
        return self

    @field_validator("optimizers")
    @classmethod
    def _check_optimizers(cls, optimizers: list[OptimizerSpec]) -> list[OptimizerSpec]:
        _check_unique("optimizer", [optimizer.name for optimizer in optimizers])
        return optimizers

    @property
    def hash(self) -> str:
        """SHA-256 over everything that can change a number: all fields but the description."""
        content = self.model_dump(mode="json", exclude={"description"})
        # What is left out is left out of the hash: specs stored before there was such a field keep theirs.
        content = {name: value for name, value in content.items() if name not in _LATER_FIELDS or value}
        content["training"] = self.training.model_dump(exclude_defaults=True)
        if not content["training"]:
            del content["training"]
        content["design"] = {name: content["design"][name] for name in ("kind", "points") if name in content["design"]}
        content["design"] |= self.design.model_dump(mode="json", exclude_defaults=True)
        content["pruning"] = self.pruning.model_dump(mode="json", exclude_defaults=True)
        if not content["pruning"]:
            del content["pruning"]
        for optimizer in content["optimizers"]:
            for field in ("options", "constraints"):
                if not optimizer[field]:
                    del optimizer[field]
            optimizer["axes"] = {name: _hashed_axis(axis) for name, axis in optimizer["axes"].items()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def trial_count(self) -> int:
        """Trials of the whole study: design points and defaults, for every workload and optimizer.

        Raises:
            SpecError: Constraints leave too few points.
        """
        return sum(
            1 + count_settings(optimizer, self.design, self.study_seed, self.training_defaults(workload, optimizer))
            for workload in self.workloads
            for optimizer in self.optimizers
        )

    def training_defaults(self, workload: str, optimizer: OptimizerSpec) -> dict[str, Value]:
        """What trial 0 has on the axes of the training: the study's own, the workload's, or all data."""
        training = self.training
        axes = optimizer.axes
        values: dict[str, Value] = {
            "limit_train": training.limit_train or math.inf,
            "label_smoothing": training.label_smoothing,
            "noise_rate": training.noise_rate,
            "imbalance_ratio": training.imbalance_ratio,
            SCHEDULE: training.schedule or OWN_SCHEDULE,
        }
        if "batch_size" in axes:
            values["batch_size"] = training.batch_size or self.workload(workload).batch_size
        if "epochs" in axes:
            values["epochs"] = self.epochs_of(workload)
        return {name: _at_most(axes[name], values[name]) for name in (*TRAINING_AXES, SCHEDULE) if name in axes}

    @property
    def objectives(self) -> list[str]:
        """What a trial is judged by, as Optuna names its values."""
        second = self.design.second_objective
        return [self.objective] if second is None else [self.objective, second]

    @property
    def is_sample(self) -> bool:
        """Whether finished trials stand for the search space.

        Not those that a sampler chose, or that pruning left, nor lines through the default setting.
        """
        return not self.design.is_adaptive and self.design.kind != "one_at_a_time" and self.pruning.kind == "none"

    @property
    def can_retry_failed(self) -> bool:
        """Whether a failed trial may be tried again later: not where others were asked or stopped without it."""
        return not self.design.is_adaptive and self.pruning.kind == "none"

    def epochs_of(self, workload: str) -> int:
        """The budget of ``workload`` in this study."""
        return self.epochs if self.epochs is not None else self.workload(workload).epochs

    def reference(self, workload: str) -> WorkloadReference:
        """What workers need to build ``workload``."""
        for text in self.workload_files.values():
            if workload in read_workloads(text):
                return WorkloadReference(workload, text)
        return WorkloadReference(workload)

    def workload(self, name: str) -> Workload:
        """The workload called ``name``, as it is defined."""
        return get_workload(self.reference(name))

    def epochs_of_trial(self, workload: str, hyperparameters: Mapping[str, Value]) -> int:
        """The budget of one trial: its own where epochs are an axis."""
        return int(hyperparameters["epochs"]) if "epochs" in hyperparameters else self.epochs_of(workload)

    def training_of_trial(self, hyperparameters: Mapping[str, Value]) -> Training:
        """How the runs of one trial are trained."""
        axes = {
            name: int(hyperparameters[name]) if name in INTEGER_AXES else hyperparameters[name]
            for name in (*TRAINING_AXES, SCHEDULE)
            if name in hyperparameters and name != "epochs"
        }
        return self.training.to_training(axes)

    def optimizer(self, name: str) -> OptimizerSpec:
        """The part of the spec about the optimizer called ``name``."""
        return next(optimizer for optimizer in self.optimizers if optimizer.name == name)


def _at_most(axis: AxisSpec, value: Value) -> Value:
    """A number, no larger than the largest of the axis; a text as it is."""
    if isinstance(value, str):
        return value
    return min(float(value), max(float(end) for end in axis.choices or axis.ends))


#: What an axis has when the spec says nothing of it: not in the hash.
_UNSAID: Mapping[str, object] = {"low": None, "high": None, "integer": False, "choices": [], "when": ""}


def _hashed_axis(axis: Mapping[str, object]) -> dict[str, object]:
    """What of an axis counts: its ends and scale, or its choices, and what else the spec says."""
    return {name: value for name, value in axis.items() if name == "scale" or value != _UNSAID[name]}


def _check_unique(kind: str, names: list[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{kind} {name!r} is listed {times} times; list it once")
