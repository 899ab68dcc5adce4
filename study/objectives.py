"""What a trial is judged by: the values that Optuna is told."""

import math
import statistics
from collections.abc import Sequence

from study.design_spec import SecondObjective
from workers.messages import RunOutcome, Termination


def objective_values(
    second: SecondObjective | None, outcomes: Sequence[RunOutcome], *, chance_loss: float, epochs: int
) -> tuple[float, ...]:
    """The objective of a trial, its mean over seeds, and the second objective if there is one. Lower is better.

    All are finite. Losses are capped at ``chance_loss``, where diverged runs are. Runs that learned nothing would
    spread little over seeds, and those that diverge end early: a trial with such a run has its worst objective in place
    of its spread, and the epochs are those of the budget. Else either would be on the Pareto front.

    Args:
        second: The spec's second objective.
        outcomes: One for each seed; at least 1, for ``objective_sd`` at least 2.
        chance_loss: Loss of a model that learned nothing, of the workload.
        epochs: Budget of the trial's runs.
    """
    objectives = [outcome.objective for outcome in outcomes]
    first = seed_mean(objectives)
    if second is None:
        return (first,)
    if second == "epochs":
        return first, float(epochs)
    if second == "objective_sd":
        nothing = any(outcome.at_chance for outcome in outcomes)
        return first, max(objectives) if nothing else statistics.stdev(objectives)
    losses = [outcome.val_loss if second == "val_loss" else outcome.train_loss for outcome in outcomes]
    diverged = [outcome.termination is Termination.DIVERGED for outcome in outcomes]
    capped = [
        min(loss, chance_loss) if math.isfinite(loss) and not lost else chance_loss
        for loss, lost in zip(losses, diverged, strict=True)
    ]
    return first, seed_mean(capped)


def seed_mean(values: Sequence[float]) -> float:
    """The mean over seeds, exactly rounded: it does not depend on their order."""
    return math.fsum(values) / len(values)
