"""What the end of a batch means for its trials: which have ended, and with which values."""

from collections.abc import Sequence
from typing import Any

from study.flights import Flight
from study.objectives import objective_values, seed_mean
from study.spec import StudySpec
from study.storage.attempts import StageResult
from study.storage.endings import TrialEnd, TrialEndState
from study.storage.progress import FAILURES
from study.storage.records import TrialRecord
from study.storage.run_states import RunBook, RunState
from workers.messages import BatchFinished, Termination


def stage_result(spec: StudySpec, flight: Flight, finished: BatchFinished, book: RunBook) -> StageResult:
    """What the end of ``flight``, which ``book`` has noted, means for its trials."""
    ended = [trial for trial in flight.plan.trials if book.has_ended(trial.id)]
    over = {trial.id for trial in ended}
    return StageResult(
        paused={run_id: flight.last[run_id] for run_id in finished.paused},
        seed_values=_seed_values(flight, book) if spec.pruning.kind == "wilcoxon" else {},
        ends=[end_of_trial(spec, trial, book, finished) for trial in ended],
        waiting=[trial.optuna_trial_id for trial in flight.plan.trials if trial.id not in over],
    )


def end_of_trial(spec: StudySpec, trial: TrialRecord, book: RunBook, finished: BatchFinished | None = None) -> TrialEnd:
    """How a trial ended, all of whose runs have.

    Args:
        spec: The study.
        trial: The trial.
        book: Its runs.
        finished: The batch that ended it; None where a decision did. Where there is a second objective, trials have
            one stage only, so all their runs are in it.
    """
    runs = book.of_trial(trial.id)
    terminations = {run.termination for run in runs}
    if terminations & set(FAILURES):
        return TrialEnd(trial.optuna_trial_id, TrialEndState.FAILED)
    # Of a trial that was pruned over seeds, those that ran.
    values = [run.objective for run in runs if run.objective is not None]
    if Termination.PRUNED in terminations:
        return TrialEnd(trial.optuna_trial_id, TrialEndState.PRUNED, (seed_mean(values),), _attributes(runs))
    both: tuple[float, ...] = (seed_mean(values),)
    if finished is not None and spec.design.second_objective is not None:
        outcome_of = {outcome.run_id: outcome for outcome in finished.outcomes}
        both = objective_values(
            spec.design.second_objective,
            [outcome_of[run.id] for run in runs],
            chance_loss=finished.chance_loss,
            epochs=spec.epochs_of_trial(trial.workload, trial.hyperparameters),
        )
    return TrialEnd(trial.optuna_trial_id, TrialEndState.COMPLETE, both, _attributes(runs))


def _seed_values(flight: Flight, book: RunBook) -> dict[int, dict[int, float]]:
    """Seed -> Optuna trial id -> objective: what Optuna's own pruner over seeds would be told."""
    return {
        seed: {
            trial.optuna_trial_id: run.objective
            for trial in flight.plan.trials
            if (run := book.of_trial(trial.id)[seed]).objective is not None
        }
        for seed in flight.plan.seeds
    }


def _attributes(runs: Sequence[RunState]) -> dict[str, Any]:
    """What Optuna Dashboard shows of a finished trial beside its value."""
    test_errors = [run.test_error for run in runs if run.test_error is not None]
    attributes: dict[str, Any] = {
        "seeds": len(runs),
        "diverged": sum(run.termination is Termination.DIVERGED for run in runs),
    }
    if len(test_errors) == len(runs):
        attributes["test_error"] = seed_mean(test_errors)
    return attributes
