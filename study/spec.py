"""The study spec: one TOML file, validated completely before anything is written."""

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from adai import Scale, UpdateRule, get_optimizer, get_rule, list_optimizers
from study.errors import SpecError
from workers.messages import Objective
from workers.workloads import get_workload, list_workloads

#: Of a wrong value, what a message shows.
_SHOWN_CHARACTERS = 60
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class AxisSpec(_Strict):
    """The range of one hyperparameter, both ends included."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    scale: Scale = "linear"
    """How values spread: `linear`, `log` (of x), or `log1m` (log of 1 - x, for decays near 1)."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(
                f"the range {self.low:g} to {self.high:g} is empty; low must be below high "
                "(for one value, write it under fixed)"
            )
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log range cannot reach {self.low:g}; low must be above 0, or scale linear")
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


class OptimizerSpec(_Strict):
    """One optimizer of the study, its axes and what it holds fixed."""

    name: str
    """An optimizer of the catalog."""
    axes: dict[str, AxisSpec] = {}
    """What varies: hyperparameter -> range. Empty means the catalog's search space, less what is fixed."""
    fixed: dict[str, float] = {}
    """What is held: hyperparameter -> value. Everything else keeps its default."""
    options: dict[str, bool | int | float | str] = {}
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
        for name in (*self.axes, *self.fixed):
            _check_known(f"hyperparameter of {self.name}", name, allowed)
        if not self.axes:
            raise ValueError("no axis is left to vary; remove one from fixed")
        both = sorted(set(self.axes) & set(self.fixed))
        if both:
            raise ValueError(f"{', '.join(both)} is both an axis and fixed; keep one of the two")
        values = [(name, value) for name, value in self.fixed.items()]
        values += [(name, end) for name, axis in self.axes.items() for end in (axis.low, axis.high)]
        for name, value in values:
            hyperparameter = rule.hyperparameter(name)
            if not hyperparameter.allows(value):
                raise ValueError(f"{name} = {value:g} is outside {self.name}'s range {hyperparameter.valid_range}")
        return self


class DesignSpec(_Strict):
    """Which points of the search space are tried, beside the defaults (always trial 0)."""

    kind: Literal["sobol", "random"] = "sobol"
    """`sobol` (scrambled Sobol' sequence) or `random` (uniform), in the unit cube of the axes."""
    points: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Points per optimizer; powers of 2 balance a Sobol' design."""


class StudySpec(_Strict):
    """What one study is: workloads x optimizers x points x seeds."""

    name: str
    """Lower-case letters, digits, dots, underscores and hyphens; unique in a database."""
    description: str = ""
    """For people; changing it does not make another study."""
    workloads: Annotated[list[str], Field(min_length=1)]
    """Names of workloads."""
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
    def _check_workloads(cls, workloads: list[str]) -> list[str]:
        for workload in workloads:
            _check_known("workload", workload, list_workloads())
        _check_unique("workload", workloads)
        return workloads

    @field_validator("optimizers")
    @classmethod
    def _check_optimizers(cls, optimizers: list[OptimizerSpec]) -> list[OptimizerSpec]:
        _check_unique("optimizer", [optimizer.name for optimizer in optimizers])
        return optimizers

    @property
    def hash(self) -> str:
        """SHA-256 over everything that can change a number: all fields but the description."""
        content = self.model_dump(mode="json", exclude={"description"})
        for optimizer in content["optimizers"]:
            if not optimizer["options"]:  # specs stored before there were options keep their hash
                del optimizer["options"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def trial_count(self) -> int:
        """Trials of the whole study: design points and defaults, for every workload and optimizer."""
        return len(self.workloads) * len(self.optimizers) * (self.design.points + 1)

    def epochs_of(self, workload: str) -> int:
        """The budget of ``workload`` in this study."""
        return self.epochs if self.epochs is not None else get_workload(workload).epochs

    def optimizer(self, name: str) -> OptimizerSpec:
        """The part of the spec about the optimizer called ``name``."""
        return next(optimizer for optimizer in self.optimizers if optimizer.name == name)


def load_spec(path: Path) -> StudySpec:
    """Read and validate a study spec.

    Raises:
        SpecError: The file cannot be read, is not TOML, or does not describe a study; lists every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(
            f"{path}: there is no such file; write one with `adai-study init {path}` "
            "or copy a shipped one: `adai-study specs`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    return parse_spec(text, source=str(path))


def parse_spec(text: str, *, source: str) -> StudySpec:
    """Validate the text of a study spec; ``source`` names it in messages.

    Raises:
        SpecError: As for :func:`load_spec`.
    """
    try:
        content = tomllib.loads(text)
    # Beside TOMLDecodeError, a ValueError: Python refuses integers of thousands of digits, and deep nesting.
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source}: is not valid TOML: {error}") from error
    try:
        return StudySpec.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_describe(problem)}" for problem in error.errors())
        raise SpecError(f"{source}: is not a study spec:\n{problems}") from error


def _check_known(kind: str, name: str, allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {kind} {name!r}; {hint}allowed: {', '.join(allowed)}")


def _check_unique(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind} {name!r} is listed {names.count(name)} times; list it once")


def _describe(problem: Any) -> str:
    """One mistake as ``path.to[0].key: what is wrong``."""
    location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        allowed = list(_model_at(problem["loc"][:-1]).model_fields)
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{location}: unknown key; {hint}allowed: {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{location}: is missing"
    given = repr(problem["input"])
    given = given if len(given) <= _SHOWN_CHARACTERS else given[:_SHOWN_CHARACTERS] + "..."
    if problem["type"] in ("model_type", "dict_type"):
        return f"{location}: must be a table with keys, not {given}; `adai-study init FILE` shows the form"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] != "value_error" and not isinstance(problem["input"], dict | list):
        message += f", not {given}"
    return f"{location}: {message}" if location else message


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the keys at ``location`` of a spec."""
    if not location:
        return StudySpec
    if location[0] == "design":
        return DesignSpec
    return AxisSpec if "axes" in location else OptimizerSpec
