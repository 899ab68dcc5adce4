"""How robust each optimizer is: how good, how wide, how often divergent."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scipy.stats import binomtest

from study.report.trials import TrialSummary, count_points, summarize_trials
from study.spec import StudySpec
from study.storage.progress import FAILURES
from study.storage.records import RunRecord

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``total``, with a Wilson score interval at :data:`CONFIDENCE`.

    The interval treats the points as independent draws; a Sobol' design is more even, so it errs on the wide side.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself, in [0, 1]."""
        return self.count / self.total


def measure_share(count: int, total: int) -> Share:
    """The share of ``count`` in ``total``, which is at least 1, with its interval."""
    interval = binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return Share(count, total, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class OptimizerRobustness:
    """One optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        trials_planned: Trials of the plan, the default setting among them.
        trials_finished: Those with a result for every seed.
        trials_failed: Those that failed.
        seeds: Runs per trial.
        runs: Runs that ended with a result.
        runs_diverged: How many of those diverged.
        runs_at_chance: How many of those learned nothing, diverged or not.
        trials_diverged: Finished trials of which at least one run diverged.
        best: Lowest mean objective of all finished trials; the lowest number among equals.
        default: The default setting, if finished.
        median: Median over the design's points of the mean objective; None without points.
        near_own_best: Share of the design's points whose mean is at most tolerance times that of ``best``.
        near_study_best: The same against the best of any optimizer on this workload.
    """

    workload: str
    optimizer: str
    trials_planned: int
    trials_finished: int
    trials_failed: int
    seeds: int
    runs: int
    runs_diverged: int
    runs_at_chance: int
    trials_diverged: int
    best: TrialSummary
    default: TrialSummary | None
    median: float | None
    near_own_best: Share | None
    near_study_best: Share | None


@dataclass(frozen=True, slots=True)
class RobustnessTable:
    """All optimizers of a study, by workload, the lowest best objective first.

    Attributes:
        objective: What trials are judged by.
        tolerance: A point is near a best if its mean objective is at most this many times the best's.
        rows: One per workload and optimizer that has a finished trial.
        missing: (workload, optimizer) without any finished trial.
    """

    objective: str
    tolerance: float
    rows: tuple[OptimizerRobustness, ...]
    missing: tuple[tuple[str, str], ...]


def measure_robustness(spec: StudySpec, runs: Sequence[RunRecord], *, tolerance: float) -> RobustnessTable:
    """The robustness of every optimizer of a study.

    Args:
        spec: The study's spec.
        runs: All its runs, ended or not, those of a trial together.
        tolerance: At least 1.
    """
    summaries = summarize_trials(runs)
    rows: list[OptimizerRobustness] = []
    missing: list[tuple[str, str]] = []
    for workload in spec.workloads:
        here = [s for s in summaries if s.trial.workload == workload]
        measured = []
        for optimizer in spec.optimizers:
            own = [s for s in here if s.trial.optimizer == optimizer.name]
            if own:
                own_runs = (r for r in runs if (r.trial.workload, r.trial.optimizer) == (workload, optimizer.name))
                failed = count_failed_trials(own_runs)
                planned = 1 + count_points(spec, runs, workload, optimizer.name)
                row = _measure(
                    own, best_of(here), planned=planned, seeds=spec.seeds, failed=failed, tolerance=tolerance
                )
                # Points that a sampler chose, or those that were not stopped, say nothing about the space.
                measured.append(
                    row if spec.is_sample else replace(row, median=None, near_own_best=None, near_study_best=None)
                )
            else:
                missing.append((workload, optimizer.name))
        rows += sorted(measured, key=lambda row: row.best.mean)
    return RobustnessTable(spec.objective, tolerance, tuple(rows), tuple(missing))


def best_of(summaries: Iterable[TrialSummary]) -> TrialSummary:
    """The trial with the lowest mean objective; the lowest number among equals."""
    return min(summaries, key=lambda summary: (summary.mean, summary.trial.number))


def _measure(
    own: Sequence[TrialSummary],
    study_best: TrialSummary,
    *,
    planned: int,
    seeds: int,
    failed: int,
    tolerance: float,
) -> OptimizerRobustness:
    design = [summary.mean for summary in own if summary.trial.origin == "design"]
    best = best_of(own)
    return OptimizerRobustness(
        workload=best.trial.workload,
        optimizer=best.trial.optimizer,
        trials_planned=planned,
        trials_finished=len(own),
        trials_failed=failed,
        seeds=seeds,
        runs=sum(summary.seeds for summary in own),
        runs_diverged=sum(summary.diverged for summary in own),
        runs_at_chance=sum(summary.at_chance for summary in own),
        trials_diverged=sum(summary.diverged > 0 for summary in own),
        best=best,
        default=next((summary for summary in own if summary.trial.origin == "default"), None),
        median=statistics.median(design) if design else None,
        near_own_best=_near(design, best.mean, tolerance),
        near_study_best=_near(design, study_best.mean, tolerance),
    )


def _near(means: Sequence[float], best: float, tolerance: float) -> Share | None:
    if not means:
        return None
    return measure_share(sum(mean <= tolerance * best for mean in means), len(means))


def count_failed_trials(runs: Iterable[RunRecord]) -> int:
    """Trials of which a run failed, did not fit into memory or lost its worker for good."""
    return len({run.trial.id for run in runs if run.termination in FAILURES})
