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


#: The fewest trials of a round with which a sampler works: its population, where it has one.
_MIN_BATCH = {"cmaes": 4, "nsga2": 2}
#: Which fields of :class:`PruningSpec` say something for which kinds.
_PRUNING_FIELDS = {
    "min_epochs": ("successive_halving", "hyperband"),
    "reduction_factor": ("successive_halving", "hyperband"),
    "startup_seeds": ("wilcoxon",),
    "p_threshold": ("wilcoxon",),
}


class DesignSpec(Strict):
    """Which points of the search space are tried, beside the defaults (always trial 0)."""

    kind: DesignKind = "sobol"
    """How points are placed in the unit cube, or which sampler of Optuna proposes them."""
    points: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Points per optimizer; powers of 2 balance a Sobol' design. Not for `grid` and `one_at_a_time`."""
    levels: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Values per axis of `grid` and `one_at_a_time`, both ends included; other kinds have none."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Trials of a round of an adaptive kind; the population of `cmaes` and `nsga2`."""
    startup_trials: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Results that `tpe` and `gp` want before they use their model; until then points are random."""
    second_objective: SecondObjective | None = None
    """What `nsga2` minimizes beside the study's objective: `val_loss`, `train_loss`, `objective_sd` or `epochs`."""

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

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if not self.is_adaptive and self._is_set("batch"):
            raise ValueError(
                f"batch = {self.batch} is for designs that are asked in rounds ({', '.join(sorted(ADAPTIVE_KINDS))}); "
                f"{self.kind} makes all points at once, so leave it out"
            )
        least = _MIN_BATCH.get(self.kind, 1)
        if self.batch < least:
            raise ValueError(
                f"batch = {self.batch} is too small a population for {self.kind}; give at least {least}, better 8 or "
                "more, or take tpe"
            )
        if self.kind not in ("tpe", "gp") and self._is_set("startup_trials"):
            raise ValueError(
                f"startup_trials = {self.startup_trials} is for tpe and gp; {self.kind} has no model to wait for, so "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _check_second_objective(self) -> Self:
        if self.kind == "nsga2" and self.second_objective is None:
            raise ValueError(
                "nsga2 weighs two objectives; set second_objective to val_loss, train_loss, objective_sd or epochs, or "
                "take tpe for one"
            )
        if self.kind != "nsga2" and self.second_objective is not None:
            raise ValueError(
                f'second_objective = "{self.second_objective}" needs kind = "nsga2"; {self.kind} minimizes the '
                "study's objective alone"
            )
        return self

    def _is_set(self, field: str) -> bool:
        """Whether ``field`` differs from its default: a spec read back from a database has all fields set."""
        return bool(getattr(self, field) != type(self).model_fields[field].default)


class PruningSpec(Strict):
    """Which trials are stopped before they have used their whole budget."""

    kind: PruningKind = "none"
    """`none`, `successive_halving`, `hyperband` (both by epochs), or `wilcoxon` (by seeds)."""
    min_epochs: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Epochs before the first decision, at least."""
    reduction_factor: Annotated[int, Field(ge=2, le=1000)] = 3
    """Of so many trials one goes on, with so many times the epochs."""
    startup_seeds: Annotated[int, Field(ge=2, le=1000)] = 4
    """Seeds that every trial runs before it is compared."""
    p_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """A trial stops where the test against the best one falls below this p-value."""

    @property
    def by_epochs(self) -> bool:
        """Whether trials stop between epochs, with all their seeds."""
        return self.kind in ("successive_halving", "hyperband")

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        for field, kinds in _PRUNING_FIELDS.items():
            value = getattr(self, field)
            if self.kind not in kinds and value != type(self).model_fields[field].default:
                raise ValueError(
                    f'{field} = {value:g} does nothing with kind = "{self.kind}"; it is for {" and ".join(kinds)}, so '
                    "leave it out"
                )
        return self

    def check_epochs(self, budget: int) -> None:
        """Refuse a budget that leaves no epoch to decide after.

        Args:
            budget: Epochs of a run that is not stopped.

        Raises:
            ValueError: ``budget`` is below ``min_epochs * reduction_factor``.
        """
        least = self.min_epochs * self.reduction_factor
        if self.by_epochs and budget < least:
            raise ValueError(
                f"{self.kind} with min_epochs = {self.min_epochs} and reduction_factor = {self.reduction_factor} needs "
                f"{least} epochs or more, and there are {budget}; lower one of the two, or raise epochs"
            )

    def check_seeds(self, seeds: int) -> None:
        """Refuse so few seeds that the test can stop nothing.

        Args:
            seeds: Runs of a trial that is not stopped.

        Raises:
            ValueError: ``startup_seeds`` are all of them, or no p-value below the threshold exists for the pairs there
                are: with n pairs the smallest one-sided one is 2^-n.
        """
        if self.kind != "wilcoxon":
            return
        if self.startup_seeds >= seeds:
            raise ValueError(
                f"startup_seeds = {self.startup_seeds} must be below seeds = {seeds}, or every trial runs all of them; "
                "raise seeds, or lower startup_seeds"
            )
        if 0.5 ** (seeds - 1) >= self.p_threshold:
            raise ValueError(
                f"{seeds - 1} pairs of seeds have no p-value below {0.5 ** (seeds - 1):g}, so none below p_threshold = "
                f"{self.p_threshold:g}; raise seeds or p_threshold"
            )
