"""The study spec: what one study is, and everything that must hold for it."""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from adai import Scale, UpdateRule, get_optimizer, get_rule, list_optimizers
from study.design_spec import DesignSpec, PruningSpec
from study.training import INTEGER_AXES, TRAINING_AXES, Strict, TrainingSpec
from workers.messages import Objective, Training, WorkloadReference
from workers.workloads import Workload, get_workload, list_workloads, read_workloads

#: Context of validation: the spec comes from the database. It was checked when it was stored, and its workloads need
#: not be installed where it is only looked at; no code of workload files runs.
STORED = "stored"
#: Not in the hash where they are empty.
_LATER_FIELDS = ("workload_files",)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class AxisSpec(Strict):
    """The range of one hyperparameter, both ends included."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    scale: Scale = "linear"
    """How values spread: `linear`, `log` (of x), or `log1m` (log of 1 - x, for decays near 1)."""
    integer: bool = False
    """Whole numbers only; always so for `batch_size`, `epochs` and `limit_train`."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(
                f"the range {self.low:g} to {self.high:g} is empty; low must be below high "
                "(for one value, write it under fixed)"
            )
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log range cannot reach {self.low:g}; low must be above 0, or scale linear")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"the ends of {self.low:g} to {self.high:g} must be whole numbers, as all values between")
        if self.scale == "log1m" and self.high >= 1:
            raise ValueError(f"a log1m range cannot reach {self.high:g}; high must be below 1, or scale linear")
        width = self.scaled(self.high) - self.scaled(self.low)
        if not 0 < width < math.inf:
            raise ValueError(
                f"the range {self.low!r} to {self.high!r} cannot be divided on the scale {self.scale} "
                "with the digits of a float; choose ends that are further apart, or nearer if they are huge"
            )
        return self

    def scaled(self, value: float) -> float:
        """``value`` on the axis's scale, increasing: itself, its log, or -log(1 - value)."""
        if self.scale == "log":
            return math.log(value)
        if self.scale == "log1m":
            return -math.log(1.0 - value)
        return value

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies in the range."""
        return self.low <= value <= self.high


class OptimizerSpec(Strict):
    """One optimizer of the study, its axes and what it holds fixed."""

    name: str
    """An optimizer of the catalog."""
    axes: dict[str, AxisSpec] = Field(default={})
    """What varies: hyperparameter -> range, also of the training. Empty means the catalog's search space, less what is
    fixed."""
    fixed: dict[str, float] = Field(default={})
    """What is held: hyperparameter -> value. Everything else keeps its default."""
    options: dict[str, bool | int | float | str] = Field(default={})
    """Which variant of the optimizer, such as `keep_num = 20` of `adashift`; without it, the usual one."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        _check_known("optimizer", name, list_optimizers())
        return name

    @model_validator(mode="before")
    @classmethod
    def _fill_axes(cls, data: Any) -> Any:
        """Write the catalog's search space into the spec, so that a stored spec says all by itself."""
        if not isinstance(data, dict) or data.get("name") not in list_optimizers():
            return data
        fixed = data.get("fixed", {})
        if data.get("axes", {}) != {} or not isinstance(fixed, dict):
            return data
        space = get_optimizer(data["name"]).search_space
        try:
            known = {h.name for h in get_rule(data["name"], **data.get("options", {})).hyperparameters}
        except (TypeError, ValueError, AttributeError):
            known = set(space)  # what is wrong with the options is said when they are checked
        axes = {
            name: {"low": default.low, "high": default.high, "scale": default.scale}
            for name, default in space.items()
            if name not in fixed and name in known
        }
        return {**data, "axes": axes}

    @field_validator("axes", mode="before")
    @classmethod
    def _count_in_whole_numbers(cls, axes: Any) -> Any:
        """Batch sizes and the like are whole numbers without being told so."""
        if not isinstance(axes, dict):
            return axes
        return {
            name: {**axis, "integer": True} if name in INTEGER_AXES and isinstance(axis, dict) else axis
            for name, axis in axes.items()
        }

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        try:
            get_rule(self.name, **self.options)
        except TypeError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def rule(self) -> UpdateRule:
        """The optimizer's update rule in the variant that the options choose."""
        return get_rule(self.name, **self.options)

    @property
    def title(self) -> str:
        """What people call it, with the options that make it a variant."""
        options = ", ".join(f"{name} = {value}" for name, value in self.options.items())
        return f"{get_optimizer(self.name).title} ({options})" if options else get_optimizer(self.name).title

    @property
    def citation(self) -> str:
        """Where it was published."""
        return get_optimizer(self.name).citation

    @model_validator(mode="after")
    def _check_hyperparameters(self) -> Self:
        rule = self.rule
        allowed = tuple(hyperparameter.name for hyperparameter in rule.hyperparameters)
        for name in self.axes:
            _check_known(f"hyperparameter of {self.name}", name, (*allowed, *TRAINING_AXES))
        for name in self.fixed:
            _check_known(f"hyperparameter of {self.name}", name, allowed)
        if not self.axes:
            raise ValueError("no axis is left to vary; remove one from fixed")
        both = sorted(set(self.axes) & set(self.fixed))
        if both:
            raise ValueError(f"{', '.join(both)} is both an axis and fixed; keep one of the two")
        values = [(name, value) for name, value in self.fixed.items()]
        values += [(name, end) for name, axis in self.axes.items() for end in (axis.low, axis.high)]
        for name, value in values:
            if name in TRAINING_AXES:
                _check_training_axis(name, value)
                continue
            hyperparameter = rule.hyperparameter(name)
            if not hyperparameter.allows(value):
                raise ValueError(f"{name} = {value:g} is outside {self.name}'s range {hyperparameter.valid_range}")
        return self


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
            _check_known("workload", workload, [*list_workloads(), *own])
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
        content["design"] = {"kind": self.design.kind, "points": self.design.points} | self.design.model_dump(
            mode="json", exclude_defaults=True
        )
        content["pruning"] = self.pruning.model_dump(mode="json", exclude_defaults=True)
        if not content["pruning"]:
            del content["pruning"]
        for optimizer in content["optimizers"]:
            if not optimizer["options"]:
                del optimizer["options"]
            for axis in optimizer["axes"].values():
                if not axis["integer"]:
                    del axis["integer"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def trial_count(self) -> int:
        """Trials of the whole study: design points and defaults, for every workload and optimizer."""
        return len(self.workloads) * len(self.optimizers) * (self.design.points + 1)

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

    def epochs_of_trial(self, workload: str, hyperparameters: Mapping[str, float]) -> int:
        """The budget of one trial: its own where epochs are an axis."""
        return int(hyperparameters["epochs"]) if "epochs" in hyperparameters else self.epochs_of(workload)

    def training_of_trial(self, hyperparameters: Mapping[str, float]) -> Training:
        """How the runs of one trial are trained."""
        axes: dict[str, float] = {
            name: int(hyperparameters[name]) if name in INTEGER_AXES else hyperparameters[name]
            for name in TRAINING_AXES
            if name in hyperparameters and name != "epochs"
        }
        return self.training.to_training(axes)

    def optimizer(self, name: str) -> OptimizerSpec:
        """The part of the spec about the optimizer called ``name``."""
        return next(optimizer for optimizer in self.optimizers if optimizer.name == name)


def _check_known(kind: str, name: str, allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {kind} {name!r}; {hint}allowed: {', '.join(allowed)}")


def _check_training_axis(name: str, value: float) -> None:
    low, high = TRAINING_AXES[name]
    if not low <= value <= high:
        raise ValueError(f"{name} = {value:g} is outside its range {low:g} to {high:g}")


def _check_unique(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind} {name!r} is listed {names.count(name)} times; list it once")
