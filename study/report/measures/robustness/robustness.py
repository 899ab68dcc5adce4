"""Measures, robustness per optimizer: best, default, divergence, and how much of the search space is good."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from study.report.measures.intervals import Estimate, Share, bootstrap, measure_clustered_share, measure_share
from study.report.measures.missing import Missing
from study.report.measures.robustness.seeds import TrialResult, best_without, difference, over_seeds, result_of, scaled
from study.report.measures.robustness.yardstick import (
    TOLERANCES,
    Yardstick,
    find_good,
    measure_yardstick,
    why_no_sample,
)
from study.report.measures.surrogate import cell_seed
from study.report.observations import Cell, Floats, Observations, StudyInfo

#: A trial with a run that ended like this has no result and never will.
_FAILURES = ("failed", "worker_lost", "out_of_memory", "timed_out")
#: Purpose of random numbers.
_MEDIAN = 31


@dataclass(frozen=True, slots=True)
class Volume:
    """Robust volume: share of the design's points with a mean objective of at most L* + tolerance * (L0 - L*).

    Attributes:
        tolerance: Share of the way from L* to L0, in (0, 1).
        study: With L* the best of any optimizer on the workload: the common yardstick.
        own: With L* the optimizer's own best; None if that is not better than L0.
    """

    tolerance: float
    study: Share
    own: Share | None


@dataclass(frozen=True, slots=True)
class OptimizerRobustness:
    """One optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it.
        trials_planned: Trials of the plan, the default setting among them.
        trials_finished: Those with an objective for each of their runs.
        trials_failed: Those that have no result and never will.
        trials_pruned: Those that were stopped early.
        trials_pending: The others: not ended, or not yet asked.
        trials_diverged: Finished trials of which at least one run diverged.
        seeds: Runs per trial of the plan.
        runs: Runs of finished trials.
        runs_diverged: How many of those diverged.
        runs_at_chance: How many of those learned nothing, diverged or not.
        divergence_points: Share of the design's points with at least one diverged run; None if they are no sample.
        divergence_runs: Share of the design's runs that diverged, with Wilson's interval for as many independent draws.
        best: Finished trial with the lowest mean, the default among them.
        best_is_default: Whether that is the default setting.
        held_out: Objective of the best, each time selected without the seed it is read at; None with one seed.
        default: The default setting; None if it is unknown or has not finished.
        default_regret: Mean of the default less that of ``best``.
        default_regret_relative: The same, as a share of the workload's L0 - L*.
        default_regret_held_out: Mean of the default less ``held_out``: without the optimism of the minimum.
        median: Median of the design's points, with a bootstrap interval over points.
        volumes: Robust volumes, by tolerance; none where the points are no sample or nothing beats L0.
    """

    workload: str
    optimizer: str
    title: str
    trials_planned: int
    trials_finished: int
    trials_failed: int
    trials_pruned: int
    trials_pending: int
    trials_diverged: int
    seeds: int
    runs: int
    runs_diverged: int
    runs_at_chance: int
    divergence_points: Share | None
    divergence_runs: Estimate | None
    best: TrialResult
    best_is_default: bool
    held_out: Estimate | None
    default: TrialResult | None
    default_regret: Estimate | None
    default_regret_relative: Estimate | None
    default_regret_held_out: Estimate | None
    median: Estimate | None
    volumes: tuple[Volume, ...]

    def volume(self, tolerance: float) -> Volume | None:
        """The robust volume at one of the tolerances of the table."""
        return next((volume for volume in self.volumes if volume.tolerance == tolerance), None)


@dataclass(frozen=True, slots=True)
class RobustnessTable:
    """All optimizers of a study, by workload, the lowest best objective first.

    Attributes:
        tolerance: The headline one, which is among those of the volumes.
        yardsticks: Of each workload with a finished trial.
        rows: One per workload and optimizer that has a finished trial.
        absent: (workload, optimizer) without any finished trial.
        missing: What could not be computed.
    """

    tolerance: float
    yardsticks: tuple[Yardstick, ...]
    rows: tuple[OptimizerRobustness, ...]
    absent: tuple[tuple[str, str], ...]
    missing: tuple[Missing, ...]

    def on(self, workload: str) -> tuple[OptimizerRobustness, ...]:
        """The rows of one workload."""
        return tuple(row for row in self.rows if row.workload == workload)


def measure_robustness(observations: Observations, *, tolerance: float = 0.05) -> RobustnessTable:
    """The robustness of every optimizer of a study.

    Args:
        observations: The study.
        tolerance: The headline one, in (0, 1), beside :data:`TOLERANCES`.

    Raises:
        ValueError: ``tolerance`` is outside (0, 1).
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance is a share of the way from the best to chance level, in (0, 1), not {tolerance}")
    tolerances = tuple(sorted({*TOLERANCES, tolerance}))
    unfinished = _count_unfinished(observations)
    yardsticks = tuple(measure_yardstick(observations, w) for w in observations.workloads if observations.on(w))
    rows: list[OptimizerRobustness] = []
    missing: list[Missing] = []
    for yardstick in yardsticks:
        here = []
        for cell in observations.on(yardstick.workload):
            row, lacking = _measure(cell, observations.info, yardstick, tolerances, unfinished)
            here.append(row)
            missing += lacking
        rows += sorted(here, key=lambda row: row.best.mean)
    absent = tuple((c.workload, c.optimizer) for c in observations.cells if not c.finished_N.any())
    missing += [Missing(f"robustness of {o} on {w}", "No trial has finished; resume the study.") for w, o in absent]
    return RobustnessTable(tolerance, yardsticks, tuple(rows), absent, tuple(missing))


def _measure(
    cell: Cell,
    info: StudyInfo,
    yardstick: Yardstick,
    tolerances: Sequence[float],
    unfinished: dict[tuple[str, str, str], int],
) -> tuple[OptimizerRobustness, list[Missing]]:
    best, default = int(np.nanargmin(cell.mean_N)), cell.default
    failed, pruned = (unfinished.get((cell.workload, cell.optimizer, kind), 0) for kind in ("failed", "pruned"))
    finished = int(cell.finished_N.sum())
    held_out_S = _held_out(cell)
    regret = None if default is None else _regret(cell, default, best, info)
    no_sample = why_no_sample(info)
    sampled = no_sample is None and bool(cell.design_N.any())
    row = OptimizerRobustness(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        trials_planned=cell.info.planned,
        trials_finished=finished,
        trials_failed=failed,
        trials_pruned=pruned,
        trials_pending=max(cell.info.planned - finished - failed - pruned, 0),
        trials_diverged=int((cell.diverged_NS.any(axis=1) & cell.finished_N).sum()),
        seeds=info.seeds,
        runs=int(cell.seeds_N[cell.finished_N].sum()),
        runs_diverged=int(cell.diverged_NS[cell.finished_N].sum()),
        runs_at_chance=int((cell.at_chance_NS | cell.diverged_NS)[cell.finished_N].sum()),
        divergence_points=_divergence_of_points(cell) if sampled else None,
        divergence_runs=_divergence_of_runs(cell) if sampled else None,
        best=result_of(cell, best),
        best_is_default=best == default,
        held_out=over_seeds(held_out_S),
        default=None if default is None else result_of(cell, default),
        default_regret=regret,
        default_regret_relative=scaled(regret, yardstick.span),
        default_regret_held_out=None if default is None else over_seeds(cell.objective_NS[default] - held_out_S),
        median=_median(cell) if sampled else None,
        volumes=_volumes(cell, yardstick, tolerances) if sampled else (),
    )
    return row, _lacking(row, cell, yardstick, no_sample)


def _lacking(row: OptimizerRobustness, cell: Cell, yardstick: Yardstick, no_sample: str | None) -> list[Missing]:
    """Why parts of a row are empty."""
    where = f"of {row.optimizer} on {row.workload}"
    lacking = []
    if no_sample is not None:
        lacking.append(Missing(f"robust volume, median and divergence rate {where}", no_sample))
    elif not cell.design_N.any():
        lacking.append(
            Missing(f"robust volume, median and divergence rate {where}", "No point of the design finished.")
        )
    elif not row.volumes:
        reason = (
            "No optimizer has a trial better than chance level." if yardstick.is_chance else "All trials are alike."
        )
        lacking.append(Missing(f"robust volume {where}", reason))
    if row.default is None:
        lacking.append(Missing(f"default regret {where}", "The default setting is unknown or has not finished."))
    if row.held_out is None:
        lacking.append(Missing(f"held-out best {where}", "There is one seed; two or more are needed to hold one out."))
    return lacking


def _volumes(cell: Cell, yardstick: Yardstick, tolerances: Sequence[float]) -> tuple[Volume, ...]:
    if yardstick.span is None:
        return ()
    mean_N, own = cell.mean_N[cell.design_N], float(np.nanmin(cell.mean_N))

    def share(best: float, tolerance: float) -> Share:
        good_N = find_good(mean_N, best=best, reference=yardstick.reference, tolerance=tolerance)
        return measure_share(int(good_N.sum()), len(mean_N))

    beats = own < yardstick.reference
    return tuple(Volume(t, share(yardstick.best, t), share(own, t) if beats else None) for t in tolerances)


def _divergence_of_points(cell: Cell) -> Share:
    diverged = int((cell.diverged_NS.any(axis=1) & cell.design_N).sum())
    return measure_share(diverged, int(cell.design_N.sum()))


def _divergence_of_runs(cell: Cell) -> Estimate:
    diverged_N = cell.diverged_NS[cell.design_N].sum(axis=1).astype(float)
    return measure_clustered_share(diverged_N, cell.seeds_N[cell.design_N].astype(float))


def _median(cell: Cell) -> Estimate:
    mean_N = cell.mean_N[cell.design_N]
    return bootstrap(lambda chosen: float(np.median(mean_N[chosen])), len(mean_N), seed=(cell_seed(cell, _MEDIAN),))


def _held_out(cell: Cell) -> Floats:
    """For each seed the objective at it of the trial that is the best over the others; NaN where there is none."""
    seeds = cell.objective_NS.shape[1]
    chosen = [best_without(cell, seed) if seeds > 1 else None for seed in range(seeds)]
    return np.array([math.nan if n is None else cell.objective_NS[n, seed] for seed, n in enumerate(chosen)])


def _regret(cell: Cell, default: int, best: int, info: StudyInfo) -> Estimate:
    if default == best:
        return Estimate(0.0)
    return difference(cell.objective_NS[default], cell.objective_NS[best], paired=info.paired_seeds)


def _count_unfinished(observations: Observations) -> dict[tuple[str, str, str], int]:
    """(workload, optimizer, ``failed`` or ``pruned``) -> trials without a result, each counted once."""
    ended = pl.col("termination").cast(pl.String)
    kinds = observations.runs.group_by("workload", "optimizer", "trial").agg(
        failed=ended.is_in(_FAILURES).fill_null(value=False).any(),
        pruned=(ended == "pruned").fill_null(value=False).any(),
    )
    counts: dict[tuple[str, str, str], int] = {}
    finished = {(c.workload, c.optimizer, int(n)) for c in observations.cells for n in c.number_N[c.finished_N]}
    for workload, optimizer, trial, failed, pruned in kinds.iter_rows():
        if (failed or pruned) and (workload, optimizer, trial) not in finished:
            key = (workload, optimizer, "failed" if failed else "pruned")
            counts[key] = counts.get(key, 0) + 1
    return counts
