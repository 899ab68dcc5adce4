"""Time to a target over workloads: performance profiles (Dolan and Moré 2002) and the AlgoPerf score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.report.measures.intervals import CONFIDENCE, RESAMPLES, Estimate
from study.report.measures.missing import Missing
from study.report.observations import Cell, Floats, Observations

#: Ratio to the fastest optimizer up to which a profile runs, and the score counts.
R_MAX = 4.0
_SEEDS = 43


@dataclass(frozen=True, slots=True)
class TargetTime:
    """How fast one optimizer reaches the target of one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call the optimizer.
        trials: Finished trials, the default setting among them.
        seeds: Seeds that the median is over.
        reached: Seeds with a trial that reached the target.
        target: The validation error to be reached.
        steps: Median over seeds of the fewest steps of any trial; None if it is infinite: the target was missed.
        ratio: Steps divided by those of the fastest optimizer; None if the target was missed.
    """

    workload: str
    optimizer: str
    title: str
    trials: int
    seeds: int
    reached: int
    target: float
    steps: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Profile:
    """Performance profile of one optimizer: the share of workloads on which its ratio is at most tau.

    Attributes:
        optimizer: Name of the optimizer.
        title: What people call it.
        taus: Where the profile steps, from 1 to :data:`R_MAX`, both of them in it.
        shares: Share of workloads from each of ``taus`` up to the next.
        fastest: Workloads on which no optimizer is faster.
        reached: Workloads on which it reached the target.
        score: Mean of the profile over [1, R_MAX], in [0, 1]; 1 is the fastest on every workload. Its interval
            resamples seeds, not workloads.
    """

    optimizer: str
    title: str
    taus: tuple[float, ...]
    shares: tuple[float, ...]
    fastest: int
    reached: int
    score: Estimate


@dataclass(frozen=True, slots=True)
class ProfileComparison:
    """Time to target of all optimizers.

    Attributes:
        workloads: Those that the profiles are over: with a target, and a finished trial of every optimizer.
        times: By workload, then optimizer.
        profiles: By optimizer.
        missing: What could not be computed.
    """

    workloads: tuple[str, ...]
    times: tuple[TargetTime, ...]
    profiles: tuple[Profile, ...]
    missing: tuple[Missing, ...]


def measure_profiles(observations: Observations) -> ProfileComparison:
    """Profiles of the steps to the target over workloads, and their score B (AlgoPerf, arXiv 2306.07179, section 4).

    The time t of an optimizer on a workload is the median over seeds of the fewest steps that any of its trials needs.
    Runs that never reach the target need infinitely many, and so do runs that diverge, even after the target.
    """
    name = "Performance profiles and AlgoPerf score"
    targets = {workload.name: workload.target for workload in observations.info.workloads}
    missing = []
    without = [name for name, target in targets.items() if target is None]
    if without:
        reason = (
            "The spec sets no target_error for it, so no run can reach one. Set it, and run the study again."
            if observations.info.source == "service"
            else "Optuna does not store when a run reached a target."
        )
        missing.append(Missing(f"{name} on {', '.join(without)}", reason))
    groups = {workload: observations.on(workload) for workload, target in targets.items() if target is not None}
    ran = [name for name in observations.optimizers if any(name == c.optimizer for g in groups.values() for c in g)]
    complete = {workload: cells for workload, cells in groups.items() if len(cells) == len(ran) > 0}
    if len(complete) < len(groups):
        reason = "Not every optimizer has a finished trial there: one that did not run has missed no target."
        missing.append(Missing(f"{name} on {', '.join(sorted(set(groups) - set(complete)))}", reason))
    if len(ran) < 2 or not complete:
        if groups and complete:
            missing.append(Missing(name, "Ratios compare at least two optimizers, and one only has finished trials."))
        return ProfileComparison((), (), (), tuple(missing))
    times, profiles = _compare(list(complete.values()), observations)
    return ProfileComparison(tuple(complete), times, profiles, tuple(missing))


def _compare(
    groups: Sequence[Sequence[Cell]], observations: Observations
) -> tuple[tuple[TargetTime, ...], tuple[Profile, ...]]:
    fewest = [[fewest_steps(cell) for cell in cells] for cells in groups]
    steps_WO = np.array([[np.median(steps_S) for steps_S in row] for row in fewest])
    ratios_WO = relate_times(steps_WO)
    drawn_RO = _draw_scores(groups, fewest, paired=observations.info.paired_seeds)
    times = [
        TargetTime(
            workload=cell.workload,
            optimizer=cell.optimizer,
            title=cell.title,
            trials=int(cell.finished_N.sum()),
            seeds=len(fewest[row][column]),
            reached=int(np.isfinite(fewest[row][column]).sum()),
            target=float(observations.info.workload(cell.workload).target or 0.0),
            steps=_known(steps_WO[row, column]),
            ratio=_known(ratios_WO[row, column]),
        )
        for row, cells in enumerate(groups)
        for column, cell in enumerate(cells)
    ]
    profiles = [
        _profile(cell, ratios_WO[:, column], None if drawn_RO is None else drawn_RO[:, column])
        for column, cell in enumerate(groups[0])
    ]
    return tuple(times), tuple(profiles)


def _profile(cell: Cell, ratio_W: Floats, drawn_R: Floats | None) -> Profile:
    inside = ratio_W[(ratio_W > 1) & (ratio_W < R_MAX)]
    taus = np.unique(np.concatenate([[1.0, R_MAX], inside]))
    value = score_ratios(ratio_W)
    score = Estimate(value)
    if drawn_R is not None:
        low, high = np.quantile(drawn_R, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        score = Estimate(value, min(low, value), max(high, value))
    return Profile(
        optimizer=cell.optimizer,
        title=cell.title,
        taus=tuple(taus.tolist()),
        shares=tuple(float(np.mean(ratio_W <= tau)) for tau in taus),
        fastest=int((ratio_W == 1).sum()),
        reached=int(np.isfinite(ratio_W).sum()),
        score=score,
    )


def fewest_steps(cell: Cell) -> Floats:
    """Fewest steps to the target of any finished trial, for each seed that ran; infinite where none reached it."""
    ran_NS = np.isfinite(cell.objective_NS) & cell.finished_N[:, None]
    reached_NS = ran_NS & ~cell.diverged_NS & np.isfinite(cell.steps_to_target_NS)
    steps_S = np.where(reached_NS, cell.steps_to_target_NS, np.inf).min(axis=0)
    return np.asarray(steps_S[ran_NS.any(axis=0)])


def relate_times(time_WO: Floats) -> Floats:
    """Times (…, W, O) relative to the fastest optimizer of each workload; infinite where the target was missed.

    Who needs no step at all is the fastest, and infinitely faster than all who need one.
    """
    fastest = np.broadcast_to(time_WO.min(axis=-1, keepdims=True), time_WO.shape)
    ratio_WO = np.full_like(time_WO, np.inf)
    np.divide(time_WO, fastest, out=ratio_WO, where=np.isfinite(time_WO) & (fastest > 0))
    ratio_WO[(time_WO == fastest) & np.isfinite(time_WO)] = 1.0
    return ratio_WO


def score_ratios(ratio_W: Floats) -> float:
    """The AlgoPerf score of ratios on W workloads: 1 / (r_max - 1) times the integral of the profile, exactly.

    The profile is a step function, so its integral from 1 to r_max is the mean over workloads of what r_max exceeds the
    ratio by.
    """
    return float(np.mean(np.maximum(R_MAX - ratio_W, 0.0))) / (R_MAX - 1)


def _draw_scores(
    groups: Sequence[Sequence[Cell]], fewest: Sequence[Sequence[Floats]], *, paired: bool
) -> Floats | None:
    """Scores (R, O) with resampled seeds, the same ones for all optimizers on a workload if they are paired.

    None if every optimizer has one seed only.
    """
    if all(len(steps_S) < 2 for row in fewest for steps_S in row):
        return None
    ratios = []
    for row, cells in enumerate(groups):
        words = [*cells[0].workload.encode(), _SEEDS]
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
        widths = {len(steps_S) for steps_S in fewest[row]}
        common = generator.integers(0, min(widths), (RESAMPLES, min(widths)))
        drawn = []
        for steps_S in fewest[row]:
            count = len(steps_S)
            chosen = common if paired and len(widths) == 1 else generator.integers(0, count, (RESAMPLES, count))
            drawn.append(np.median(steps_S[chosen], axis=1))
        ratios.append(relate_times(np.stack(drawn, axis=1)))
    scores = np.maximum(R_MAX - np.stack(ratios), 0.0).mean(axis=0) / (R_MAX - 1)
    return np.asarray(scores)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
