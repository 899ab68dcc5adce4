"""The part of a study spec that says how workloads are trained, and what of it may be an axis."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from adai.schedules import list_schedules
from workers.messages import CurvatureRequest, EngineName, Precision, Training

#: The axis of learning rate schedules, and its choice that stands for the workload's own.
SCHEDULE = "schedule"
OWN_SCHEDULE = "own"

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1, le=100_000_000)]


class Strict(BaseModel):
    """Nothing unknown, nothing converted, nothing infinite, nothing changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CurvatureSpec(Strict):
    """When and on how much data the loss surface around each run is measured."""

    every: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Epochs between measurements; `0` measures after the last epoch only."""
    examples: Count = 500
    """Training examples that are used: the same for all runs, in evaluation mode, neither augmented nor smoothed."""
    slice_points: Annotated[int, Field(ge=0, le=1001)] = 0
    """Points of a filter-normalised loss slice from -1 to 1; `0` draws none."""


class TrainingSpec(Strict):
    """How workloads are trained. What is left out is the workload's own."""

    batch_size: Count | None = None
    """Examples in a step."""
    schedule: str | None = None
    """Learning rate over the budget: `constant`, `step`, `cosine`, `warm_up_cosine` or `one_cycle`."""
    label_smoothing: Share = 0.0
    """Share of the target spread evenly over all classes, in training only."""
    label_noise: Literal["none", "symmetric", "pair", "heteroskedastic"] = "none"
    """Kind of wrong training labels; validation and test labels stay right."""
    noise_rate: Share = 0.0
    """Share of training labels that are made wrong."""
    imbalance: Literal["none", "step", "exponential"] = "none"
    """How classes of the training set are thinned out."""
    imbalance_ratio: Annotated[float, Field(ge=1.0)] = 1.0
    """Examples of the largest class for one of the smallest."""
    limit_train: Count | None = None
    """At most so many training examples; a smaller limit takes a subset of a larger one's."""
    limit_validation: Count | None = None
    """At most so many validation examples."""
    limit_test: Count | None = None
    """At most so many test examples."""
    target_error: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Validation error that counts as reached in time and steps to target."""
    engine: EngineName = "auto"
    """`auto` measures and chooses; or `stacked`, `looped`, `looped-compiled`."""
    precision: Precision = "float32"
    """Of forward and backward passes: `float32`, or `bfloat16` by autocast."""
    curvature: CurvatureSpec | None = None
    """Measure the loss surface of every run; left out, it is not measured."""

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, schedule: str | None) -> str | None:
        if schedule is not None and schedule not in list_schedules():
            raise ValueError(f"unknown schedule {schedule!r}; allowed: {', '.join(list_schedules())}")
        return schedule

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.noise_rate and self.label_noise == "none":
            raise ValueError(
                f"noise_rate = {self.noise_rate:g} needs a kind of noise; set label_noise to symmetric, pair or "
                "heteroskedastic, or leave noise_rate out"
            )
        if self.imbalance_ratio != 1.0 and self.imbalance == "none":
            raise ValueError(
                f"imbalance_ratio = {self.imbalance_ratio:g} needs a kind of imbalance; set imbalance to step or "
                "exponential, or leave imbalance_ratio out"
            )
        return self

    def to_training(self, axes: Mapping[str, float | bool | str]) -> Training:
        """What workers are told, with the values that a trial has on training axes."""
        values = self.model_dump() | dict(axes)
        data = {name: values[name] for name in _DATA if values[name] not in (None, "none")}
        # Rates of a corruption that is not done would only split batches that can be trained together.
        if self.label_noise == "none":
            data.pop("noise_rate", None)
        if self.imbalance == "none":
            data.pop("imbalance_ratio", None)
        return Training(
            batch_size=values["batch_size"],
            schedule=None if values[SCHEDULE] == OWN_SCHEDULE else values[SCHEDULE],
            label_smoothing=values["label_smoothing"],
            data=data,
            precision=self.precision,
            target_error=self.target_error,
            curvature=None if self.curvature is None else CurvatureRequest(**self.curvature.model_dump()),
        )


#: The fields of workers.workloads.corruption.DataOptions.
_DATA = (
    "label_noise",
    "noise_rate",
    "imbalance",
    "imbalance_ratio",
    "limit_train",
    "limit_validation",
    "limit_test",
)

#: What of the training may be an axis: its valid range.
TRAINING_AXES: dict[str, tuple[float, float]] = {
    "batch_size": (1, 100_000_000),
    "epochs": (1, 100_000),
    "limit_train": (1, 100_000_000),
    "label_smoothing": (0.0, 0.999999),
    "noise_rate": (0.0, 0.999999),
    "imbalance_ratio": (1.0, 1e6),
}
#: Those that are whole numbers.
INTEGER_AXES = frozenset({"batch_size", "epochs", "limit_train"})


def schedule_choices() -> tuple[str, ...]:
    """What an axis of schedules may choose from."""
    return (*list_schedules(), OWN_SCHEDULE)


def check_known(kind: str, name: str, allowed: Iterable[str]) -> None:
    """Refuse a name that is not among ``allowed``.

    Raises:
        ValueError: It is not; the message has the nearest and all others.
    """
    allowed = list(allowed)
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {kind} {name!r}; {hint}allowed: {', '.join(allowed)}")
