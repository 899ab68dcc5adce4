"""The part of a study spec that says which points are tried, and which trials are stopped early."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from study.training import Strict

DesignKind = Literal[
    "sobol",
    "halton",
    "latin_hypercube",
    "random",
    "grid",
    "one_at_a_time",
    "tpe",
    "gp",
    "cmaes",
    "nsga2",
    "brute_force",
]
#: Samplers of Optuna: each round of trials is asked when the round before it has ended.
ADAPTIVE_KINDS = frozenset({"tpe", "gp", "cmaes", "nsga2", "brute_force"})
#: Those that have levels per axis instead of a number of points.
LEVEL_KINDS = frozenset({"grid", "one_at_a_time"})
_LEVEL_NAMES = "grid and one_at_a_time"
#: What a study with two objectives minimizes beside its own objective.
SecondObjective = Literal["val_loss", "train_loss", "objective_sd", "epochs"]
PruningKind = Literal["none", "successive_halving", "hyperband", "wilcoxon"]


class DesignSpec(Strict):
    """Which points of the search space are tried, beside the defaults (always trial 0)."""

    kind: DesignKind = "sobol"
    """How points are placed in the unit cube, or which sampler of Optuna proposes them."""
    points: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Points per optimizer; powers of 2 balance a Sobol' design. Not for `grid` and `one_at_a_time`."""
    levels: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Values per axis of `grid` and `one_at_a_time`, both ends included; other kinds have none."""

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if self.kind not in LEVEL_KINDS:
            if self.levels is not None:
                raise ValueError(f"levels = {self.levels} is for {_LEVEL_NAMES}; {self.kind} has points")
        elif self.levels is None:
            raise ValueError(f"levels is missing: how many values per axis {self.kind} takes, such as levels = 5")
        elif "points" in self.model_fields_set:
            raise ValueError(f"points = {self.points} is not for {self.kind}, which has levels; leave points out")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_points(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What a kind does not have is not written down."""
        content: dict[str, Any] = handler(self)
        if self.kind in LEVEL_KINDS:
            content.pop("points", None)
        return content

    @property
    def is_adaptive(self) -> bool:
        """Whether later points depend on the results of earlier ones."""
        return self.kind in ADAPTIVE_KINDS


class PruningSpec(Strict):
    """Which trials are stopped before they have used their whole budget."""

    kind: PruningKind = "none"
    """`none`, `successive_halving`, `hyperband` (both by epochs), or `wilcoxon` (by seeds)."""
