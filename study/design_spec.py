"""The part of a study spec that says which points are tried, and which trials are stopped early."""

from typing import Annotated, Literal

from pydantic import Field

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
#: What a study with two objectives minimizes beside its own objective.
SecondObjective = Literal["val_loss", "train_loss", "objective_sd", "epochs"]
PruningKind = Literal["none", "successive_halving", "hyperband", "wilcoxon"]


class DesignSpec(Strict):
    """Which points of the search space are tried, beside the defaults (always trial 0)."""

    kind: DesignKind = "sobol"
    """How points are placed in the unit cube, or which sampler of Optuna proposes them."""
    points: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Points per optimizer; powers of 2 balance a Sobol' design."""

    @property
    def is_adaptive(self) -> bool:
        """Whether later points depend on the results of earlier ones."""
        return self.kind in ADAPTIVE_KINDS


class PruningSpec(Strict):
    """Which trials are stopped before they have used their whole budget."""

    kind: PruningKind = "none"
    """`none`, `successive_halving`, `hyperband` (both by epochs), or `wilcoxon` (by seeds)."""
