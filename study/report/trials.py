"""One trial over its seeds: the smallest thing that a report speaks of."""

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from study.spec import StudySpec
from study.storage.records import RunRecord, TrialRecord
from workers.messages import Termination


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """A trial whose runs have all ended with a result.

    Attributes:
        trial: Which trial.
        seeds: Number of runs.
        mean: Mean objective over seeds; diverged runs count at chance level.
        sd: Sample standard deviation over seeds (n - 1); None with one seed.
        diverged: Runs that diverged.
        at_chance: Runs that learned nothing, diverged or not.
        test_error: Mean test error over seeds; None if a run diverged, for it then has none, or without classes.
        test_sd: Its sample standard deviation; None as above or with one seed.
    """

    trial: TrialRecord
    seeds: int
    mean: float
    sd: float | None
    diverged: int
    at_chance: int
    test_error: float | None
    test_sd: float | None

    @property
    def diverged_share(self) -> float:
        """Share of the runs that diverged."""
        return self.diverged / self.seeds


def summarize_trials(runs: Iterable[RunRecord]) -> list[TrialSummary]:
    """Trials whose runs all have an objective, in the plan's order; others are left out.

    Trials with a pruned run are left out too: its objective is that of a smaller budget.

    Args:
        runs: All runs of a study, those of a trial together.
    """
    grouped = (list(group) for _, group in itertools.groupby(runs, key=lambda run: run.trial.id))
    return [_summarize(group) for group in grouped if all(_has_result(run) for run in group)]


def count_points(spec: StudySpec, runs: Iterable[RunRecord], workload: str, optimizer: str) -> int:
    """Points of the design of one optimizer on one workload, finished or not.

    An adaptive design finds its points as it runs: of it, all that it will have at most.

    Args:
        spec: The study's spec.
        runs: All runs of the study.
        workload: Name of the workload.
        optimizer: Name of the optimizer.
    """
    if spec.design.is_adaptive:
        return spec.design.points
    own = {run.trial.id for run in runs if (run.trial.workload, run.trial.optimizer) == (workload, optimizer)}
    return max(len(own) - 1, 0)  # without the default setting


def _has_result(run: RunRecord) -> bool:
    return run.objective is not None and run.termination is not Termination.PRUNED


def _summarize(runs: Sequence[RunRecord]) -> TrialSummary:
    objectives = [run.objective for run in runs if run.objective is not None]
    test_errors = [run.test_error for run in runs if run.test_error is not None]
    tested = len(test_errors) == len(runs)
    return TrialSummary(
        trial=runs[0].trial,
        seeds=len(runs),
        mean=_mean(objectives),
        sd=statistics.stdev(objectives) if len(objectives) > 1 else None,
        diverged=sum(run.termination is Termination.DIVERGED for run in runs),
        at_chance=sum(run.at_chance is True for run in runs),
        test_error=_mean(test_errors) if tested else None,
        test_sd=statistics.stdev(test_errors) if tested and len(test_errors) > 1 else None,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
