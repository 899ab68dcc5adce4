"""Measures, transfer between workloads: regret of borrowed settings, hyperparameter sensitivity of Adkins et al."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from study.report.measures.intervals import Estimate, jackknife
from study.report.measures.missing import Missing
from study.report.measures.robustness.dimensionality import Dimensionality, measure_dimensionality
from study.report.measures.robustness.seeds import best_without, difference, over_seeds, scaled
from study.report.measures.robustness.yardstick import measure_yardstick, why_no_sample
from study.report.measures.surrogate import Surrogate
from study.report.observations import Cell, Floats, Observations

#: Percentiles of all losses on a workload that scores of 0 and 1 stand for.
WORST, BEST = 95.0, 5.0


@dataclass(frozen=True, slots=True)
class TransferRegret:
    """What it costs to take the best setting of one workload to another, instead of tuning there.

    Attributes:
        optimizer: Name of the optimizer.
        title: What people call it.
        source: Workload on which the setting is the best.
        target: Workload on which it is used.
        trial: Number of the trial, the same on both.
        runs: Its runs on ``target``.
        runs_diverged: How many of them diverged; each counts as chance level.
        regret: Its mean on ``target`` less that of the optimizer's best trial there.
        relative: The same, as a share of L0 - L* on ``target``; None if nothing beats L0 there.
        held_out: As ``regret``, with both trials selected without the seed that they are read at; None with one seed.
    """

    optimizer: str
    title: str
    source: str
    target: str
    trial: int
    runs: int
    runs_diverged: int
    regret: Estimate
    relative: Estimate | None
    held_out: Estimate | None


@dataclass(frozen=True, slots=True)
class HyperparameterSensitivity:
    """Hyperparameter sensitivity of Adkins, Bowling and White 2024 (arXiv 2412.07165).

    A score is (q95 - loss) / (q95 - q5), with the percentiles of the losses of all optimizers' points on the workload.

    Attributes:
        optimizer: Name of the optimizer.
        title: What people call it.
        settings: Points of the design that have finished on every workload.
        settings_diverged: How many of them have a diverged run on some workload; it counts as chance level.
        tuned: Mean over workloads of the best score on each.
        shared: Best mean over workloads of the score of one setting.
        sensitivity: Phi = ``tuned`` - ``shared``.
        shared_trial: Number of the setting of ``shared``.
        tuned_held_out: ``tuned``, each setting selected without the seed that it is read at; None with one seed.
        sensitivity_held_out: The same for ``sensitivity``; may be below 0.
    """

    optimizer: str
    title: str
    settings: int
    settings_diverged: int
    tuned: Estimate
    shared: Estimate
    sensitivity: Estimate
    shared_trial: int
    tuned_held_out: Estimate | None
    sensitivity_held_out: Estimate | None


@dataclass(frozen=True, slots=True)
class TransferTable:
    """Everything between two workloads or more.

    Attributes:
        workloads: Those with finished trials, in the spec's order.
        regrets: By optimizer, source, target.
        sensitivities: One per optimizer that has points on every workload.
        dimensionalities: The same, where it can be known.
        missing: What could not be computed.
    """

    workloads: tuple[str, ...]
    regrets: tuple[TransferRegret, ...]
    sensitivities: tuple[HyperparameterSensitivity, ...]
    dimensionalities: tuple[Dimensionality, ...]
    missing: tuple[Missing, ...]


def measure_transfer(
    observations: Observations, surrogates: Mapping[tuple[str, str], Surrogate | None]
) -> TransferTable:
    """How well settings of one workload do on others.

    Args:
        observations: The study.
        surrogates: Of each (workload, optimizer); None where there are too few points.
    """
    workloads = tuple(workload for workload in observations.workloads if observations.on(workload))
    whole = "transfer regret, hyperparameter sensitivity and effective dimensionality"
    if len(workloads) < 2:
        lacking = Missing(whole, "They compare workloads, and fewer than two have finished trials; add a workload.")
        return TransferTable(workloads, (), (), (), (lacking,))
    if not observations.info.shared_points:
        lacking = Missing(
            whole, "Trials of one number are different settings on different workloads; share the design."
        )
        return TransferTable(workloads, (), (), (), (lacking,))
    missing: list[Missing] = []
    regrets = _regrets(observations, workloads, missing)
    sensitivities, dimensionalities = _scores(observations, workloads, surrogates, missing)
    return TransferTable(workloads, regrets, sensitivities, dimensionalities, tuple(missing))


def _regrets(
    observations: Observations, workloads: tuple[str, ...], missing: list[Missing]
) -> tuple[TransferRegret, ...]:
    found = []
    for optimizer in observations.optimizers:
        cells = {c.workload: c for w in workloads for c in observations.on(w) if c.optimizer == optimizer}
        for source, target in itertools.permutations(workloads, 2):
            where = f"transfer regret of {optimizer} from {source} to {target}"
            if source not in cells or target not in cells:
                missing.append(Missing(where, "No trial has finished on one of them."))
                continue
            regret = _regret(observations, cells[source], cells[target])
            if regret is None:
                reason = "The best trial of the source has not finished on the target, or is another setting there."
                missing.append(Missing(where, reason))
            else:
                found.append(regret)
    return tuple(found)


def _regret(observations: Observations, source: Cell, target: Cell) -> TransferRegret | None:
    chosen, best = int(np.nanargmin(source.mean_N)), int(np.nanargmin(target.mean_N))
    used = _counterpart(source, chosen, target)
    if used is None:
        return None
    paired = observations.info.paired_seeds
    objective_NS = target.objective_NS
    regret = Estimate(0.0) if used == best else difference(objective_NS[used], objective_NS[best], paired=paired)
    return TransferRegret(
        optimizer=target.optimizer,
        title=target.title,
        source=source.workload,
        target=target.workload,
        trial=int(source.number_N[chosen]),
        runs=int(target.seeds_N[used]),
        runs_diverged=int(target.diverged_NS[used].sum()),
        regret=regret,
        relative=scaled(regret, measure_yardstick(observations, target.workload).span),
        held_out=_held_out(source, target),
    )


def _held_out(source: Cell, target: Cell) -> Estimate | None:
    """Regret at each seed of trials that were selected without it, over those at which both have a result."""
    seeds = min(source.objective_NS.shape[1], target.objective_NS.shape[1])
    if seeds < 2:
        return None
    regrets = []
    for seed in range(seeds):
        chosen, best = best_without(source, seed), best_without(target, seed)
        used = None if chosen is None else _counterpart(source, chosen, target)
        if used is not None and best is not None:
            regrets.append(float(target.objective_NS[used, seed] - target.objective_NS[best, seed]))
    return over_seeds(regrets)


def _counterpart(source: Cell, index: int, target: Cell) -> int | None:
    """Index of the finished trial with the same number and the same values on another workload."""
    found = np.flatnonzero(target.number_N == source.number_N[index])
    used = int(found[0]) if len(found) else None
    return used if _is_same(source, index, target, used) else None


def _is_same(source: Cell, index: int, target: Cell, used: int | None) -> bool:
    """Whether a trial has finished on the other workload with the same values."""
    return used is not None and bool(target.finished_N[used]) and source.values[index] == target.values[used]


def _scores(
    observations: Observations,
    workloads: tuple[str, ...],
    surrogates: Mapping[tuple[str, str], Surrogate | None],
    missing: list[Missing],
) -> tuple[tuple[HyperparameterSensitivity, ...], tuple[Dimensionality, ...]]:
    whole = "hyperparameter sensitivity and effective dimensionality"
    reason = why_no_sample(observations.info)
    scales = {workload: _percentiles(observations, workload) for workload in workloads}
    flat = [workload for workload, scale in scales.items() if scale is None]
    if reason is None and flat:
        reason = f"Nine in ten points are alike on {', '.join(flat)}, so that percentiles cannot scale their losses."
    if reason is not None:
        missing.append(Missing(whole, reason))
        return (), ()
    known = {workload: scale for workload, scale in scales.items() if scale is not None}
    sensitivities, dimensionalities = [], []
    for optimizer in observations.optimizers:
        common = _common(observations, workloads, optimizer)
        if common is None:
            missing.append(Missing(f"{whole} of {optimizer}", "No point of the design has finished on every workload."))
            continue
        sensitivities.append(_sensitivity(common, known))
        fitted = [surrogates.get((workload, optimizer)) for workload in workloads]
        dimensionality = measure_dimensionality(common.cells, common.rows_NW, tuple(known.values()), fitted)
        if isinstance(dimensionality, str):
            missing.append(Missing(f"effective dimensionality of {optimizer}", dimensionality))
        else:
            dimensionalities.append(dimensionality)
    return tuple(sensitivities), tuple(dimensionalities)


@dataclass(frozen=True, eq=False)
class _Common:
    """The points of one optimizer that have finished on each of W workloads: row n, w is an index in cell w."""

    cells: tuple[Cell, ...]
    rows_NW: np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def _common(observations: Observations, workloads: tuple[str, ...], optimizer: str) -> _Common | None:
    cells = tuple(cell for w in workloads for cell in observations.on(w) if cell.optimizer == optimizer)
    if len(cells) < len(workloads):
        return None
    first, *others = cells
    places = [{int(number): place for place, number in enumerate(cell.number_N)} for cell in others]
    rows = []
    for index in np.flatnonzero(first.design_N).tolist():
        found = [place.get(int(first.number_N[index])) for place in places]
        if all(_is_same(first, index, cell, used) for cell, used in zip(others, found, strict=True)):
            rows.append([index, *found])
    return _Common(cells, np.array(rows, dtype=np.int64)) if rows else None


def _percentiles(observations: Observations, workload: str) -> tuple[float, float] | None:
    """The 95th and 5th percentile of the losses of all optimizers' points; None if they are equal."""
    cells = observations.on(workload)
    loss_N = np.concatenate([cell.mean_N[cell.design_N] for cell in cells])
    if not len(loss_N):
        return None
    worst, best = np.percentile(loss_N, [WORST, BEST])
    return (float(worst), float(best)) if worst > best else None


def _sensitivity(common: _Common, scales: Mapping[str, tuple[float, float]]) -> HyperparameterSensitivity:
    cells, rows_NW = common.cells, common.rows_NW
    score_NWS = _score(common, scales)
    mean_NW = np.stack([cell.mean_N[rows_NW[:, w]] for w, cell in enumerate(cells)], axis=1)
    scale_W2 = np.array(list(scales.values()))
    whole_NW = (scale_W2[:, 0] - mean_NW) / (scale_W2[:, 0] - scale_W2[:, 1])
    seeds = score_NWS.shape[2] if np.isfinite(score_NWS).all() else 1
    less = [_summary(np.delete(score_NWS, seed, axis=2).mean(axis=2)) for seed in range(seeds)] if seeds > 1 else []
    tuned, shared, phi = (
        jackknife(value, [other[place] for other in less]) for place, value in enumerate(_summary(whole_NW))
    )
    held = _held_out_scores(score_NWS) if seeds > 1 else []
    diverged_N = np.stack([c.diverged_NS[rows_NW[:, w]].any(axis=1) for w, c in enumerate(cells)]).any(axis=0)
    return HyperparameterSensitivity(
        optimizer=cells[0].optimizer,
        title=cells[0].title,
        settings=len(rows_NW),
        settings_diverged=int(diverged_N.sum()),
        tuned=tuned,
        shared=shared,
        sensitivity=Estimate(phi.value, None if phi.low is None else max(phi.low, 0.0), phi.high),
        shared_trial=int(cells[0].number_N[rows_NW[whole_NW.mean(axis=1).argmax(), 0]]),
        tuned_held_out=over_seeds([tuned for tuned, _ in held]),
        sensitivity_held_out=over_seeds([tuned - shared for tuned, shared in held]),
    )


def _score(common: _Common, scales: Mapping[str, tuple[float, float]]) -> Floats:
    """Scores of N settings on W workloads with S seeds; NaN where a run is missing."""
    seeds = max(cell.objective_NS.shape[1] for cell in common.cells)
    score_NWS = np.full((*common.rows_NW.shape, seeds), np.nan)
    for place, (cell, (worst, best)) in enumerate(zip(common.cells, scales.values(), strict=True)):
        loss_NS = cell.objective_NS[common.rows_NW[:, place]]
        score_NWS[:, place, : loss_NS.shape[1]] = (worst - loss_NS) / (worst - best)
    return score_NWS


def _summary(score_NW: Floats) -> tuple[float, float, float]:
    """Per-workload tuned, best shared, and their difference."""
    tuned, shared = float(score_NW.max(axis=0).mean()), float(score_NW.mean(axis=1).max())
    return tuned, shared, max(tuned - shared, 0.0)


def _held_out_scores(score_NWS: Floats) -> list[tuple[float, float]]:
    """For each seed tuned and shared score at it, of settings that are selected without it."""
    found = []
    for seed in range(score_NWS.shape[2]):
        others_NW, here_NW = np.delete(score_NWS, seed, axis=2).mean(axis=2), score_NWS[:, :, seed]
        tuned_W = np.take_along_axis(here_NW, others_NW.argmax(axis=0)[None], axis=0)
        found.append((float(tuned_W.mean()), float(here_NW[others_NW.mean(axis=1).argmax()].mean())))
    return found
