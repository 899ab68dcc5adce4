"""Measures how flat the places are where runs ended, and what that has to do with learning rate and test error."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from study.report.measures.audit.gaps import Gaps
from study.report.measures.flatness.matched_loss import LossMatched, match_losses
from study.report.measures.flatness.rank_correlation import LEAST_POINTS, RankCorrelations
from study.report.measures.intervals import Estimate
from study.report.measures.missing import Missing
from study.report.measures.surrogate import cell_seed
from study.report.observations import Bools, Cell, Floats, Observations

#: The measures of sharpness, in the order in which they are shown.
QUANTITIES = ("top_eigenvalue", "trace", "sam_sharpness", "asam_sharpness")
_OTHERS = ("loss", "gradient_norm", "top_eigenvalue_residual", "trace_standard_error")
#: An eigenvalue is not converged if its residual, or a trace rough if its standard error, is more than this of it.
ROUGH = 0.05
#: Radius of SAM's step in the measurement (docs/reports.md).
_SAM_RHO = 0.05
_PURPOSE = 601


@dataclass(frozen=True, slots=True)
class FlatPoint:
    """One trial of the design whose runs all completed and were measured: means over its seeds.

    Attributes:
        trial: Its number.
        lr: Its learning rate; None if that is no axis.
        outcome: Its test error, or objective where there is none.
        loss: Its training loss, as measured with the curvature, or over the last epoch where that is not known.
        sharpness: Of each of :data:`QUANTITIES`; None where a run has no number.
    """

    trial: int
    lr: float | None
    outcome: float | None
    loss: float | None
    sharpness: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class QuantityFlatness:
    """One measure of sharpness of one optimizer on one workload, over its :class:`FlatPoint`.

    Attributes:
        quantity: Name of the measure.
        trials: Points that have it.
        median: Median over them; None without any.
        lower: Lower quartile.
        upper: Upper quartile.
        with_lr: Spearman's rank correlation with the learning rate, bootstrap over trials.
        with_outcome: The same with test error, or objective.
        given_lr: Partial rank correlation with that outcome given the learning rate.
        given_lr_curve: The same after a cubic in the rank of the learning rate is taken out, for the outcome is often
            worse on both sides of the best rate.
    """

    quantity: str
    trials: int
    median: float | None
    lower: float | None
    upper: float | None
    with_lr: Estimate | None
    with_outcome: Estimate | None
    given_lr: Estimate | None
    given_lr_curve: Estimate | None


@dataclass(frozen=True, slots=True)
class CellFlatness:
    """One optimizer on one workload, after the last measured epoch of each run.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        outcome: ``test error``, or ``objective`` where runs have none.
        runs: Runs of the design that completed or diverged.
        diverged: Those that diverged, which are measured nowhere.
        measured: Completed ones that have a top eigenvalue.
        trials: Trials of ``points``.
        trials_left_out: Finished trials of the design that are not among them: a run diverged or was not measured.
        unconverged: Measured runs whose top eigenvalue has a residual of more than :data:`ROUGH` of it.
        rough_traces: Measured runs whose trace has a standard error of more than :data:`ROUGH` of it.
        steep: Measured runs whose SAM sharpness is slope, not curvature: 0.05 times the gradient norm, what a straight
            slope gives, is more than half of it.
        gradient_norm: Median gradient norm of measured runs; far from 0, they have not ended in a minimum.
        quantities: One for each of :data:`QUANTITIES`.
        points: By trial.
    """

    workload: str
    optimizer: str
    outcome: str
    runs: int
    diverged: int
    measured: int
    trials: int
    trials_left_out: int
    unconverged: int
    rough_traces: int
    steep: int
    gradient_norm: float | None
    quantities: tuple[QuantityFlatness, ...]
    points: tuple[FlatPoint, ...]


@dataclass(frozen=True, slots=True)
class Flatness:
    """Flatness over a whole study.

    Attributes:
        cells: Cells in which something was measured.
        matched: Pairs of optimizers at equal training loss, by workload, then quantity.
        missing: What could not be computed.
    """

    cells: tuple[CellFlatness, ...]
    matched: tuple[LossMatched, ...]
    missing: tuple[Missing, ...]


def measure_flatness(observations: Observations) -> Flatness:
    """Flatness where curvature was recorded.

    Sharpness often tracks the learning rate and not generalization (Andriushchenko et al. 2023, arXiv 2302.07011), so
    it is always set beside the learning rate.
    """
    if observations.curvature.is_empty():
        reason = "No curvature was recorded; put curvature = {} under [training] of the spec, and run the study."
        return Flatness((), (), (Missing("flatness", reason),))
    tables = _last_numbers(observations.curvature)
    gaps = Gaps()
    cells = tuple(
        _measure_cell(observations, cell, tables[cell.workload, cell.optimizer], gaps)
        for cell in observations.cells
        if (cell.workload, cell.optimizer) in tables and cell.design_N.any()
    )
    for cell in observations.cells:
        if (cell.workload, cell.optimizer) not in tables:
            reason = "None of its runs has a measurement: they diverged, or have not ended."
            gaps.add("flatness", cell, reason)
    matched, missing = _match(observations, cells)
    return Flatness(cells, matched, (*gaps.missing(), *missing))


Numbers = Mapping[tuple[int, int], Mapping[str, float]]


def _last_numbers(curvature: pl.DataFrame) -> dict[tuple[str, str], dict[tuple[int, int], dict[str, float]]]:
    """Cell -> trial and seed -> the single numbers of the last epoch that was measured."""
    run = ["workload", "optimizer", "trial", "seed"]
    single = curvature.filter(pl.col("quantity").is_in([*QUANTITIES, *_OTHERS]) & pl.col("position").is_null())
    last = single.filter(pl.col("epoch") == pl.col("epoch").max().over(run))
    tables: dict[tuple[str, str], dict[tuple[int, int], dict[str, float]]] = {}
    for workload, optimizer, trial, seed, quantity, value in last.select(*run, "quantity", "value").iter_rows():
        if value is not None and np.isfinite(value):
            tables.setdefault((workload, optimizer), {}).setdefault((trial, seed), {})[quantity] = float(value)
    return tables


def _measure_cell(observations: Observations, cell: Cell, numbers: Numbers, gaps: Gaps) -> CellFlatness:
    ran_NS = np.isfinite(cell.objective_NS) & cell.design_N[:, None]
    completed_NS = ran_NS & ~cell.diverged_NS
    arrays = {name: _spread(cell, numbers, name, completed_NS) for name in (*QUANTITIES, *_OTHERS)}
    outcome, outcome_N = _outcome(cell)
    points = _points(cell, arrays, ran_NS, completed_NS, outcome_N)
    top_NS, residual_NS = np.abs(arrays["top_eigenvalue"]), arrays["top_eigenvalue_residual"]
    measured_NS = np.isfinite(top_NS)
    norm_NS, error_NS = arrays["gradient_norm"], arrays["trace_standard_error"]
    can_correlate = _can_correlate(observations, cell, points, gaps)
    return CellFlatness(
        workload=cell.workload,
        optimizer=cell.optimizer,
        outcome=outcome,
        runs=int(ran_NS.sum()),
        diverged=int((ran_NS & cell.diverged_NS).sum()),
        measured=int(measured_NS.sum()),
        trials=len(points),
        trials_left_out=int(cell.design_N.sum()) - len(points),
        unconverged=int((residual_NS > ROUGH * top_NS).sum()),
        rough_traces=int((error_NS > ROUGH * np.abs(arrays["trace"])).sum()),
        steep=int((_SAM_RHO * norm_NS > 0.5 * np.abs(arrays["sam_sharpness"])).sum()),
        gradient_norm=_median(norm_NS[np.isfinite(norm_NS)]),
        quantities=_measure_quantities(observations, cell, points, can_correlate=can_correlate),
        points=points,
    )


def _spread(cell: Cell, numbers: Numbers, quantity: str, completed_NS: Bools) -> Floats:
    """A quantity of every completed run; NaN where it was not measured. What diverged later was measured in vain."""
    value_NS = np.full(completed_NS.shape, np.nan)
    for row, trial in enumerate(cell.number_N.tolist()):
        for seed in np.flatnonzero(completed_NS[row]).tolist():
            value_NS[row, seed] = numbers.get((trial, seed), {}).get(quantity, np.nan)
    return value_NS


def _outcome(cell: Cell) -> tuple[str, Floats]:
    test_N = cell.test_mean_N
    return ("test error", test_N) if np.isfinite(test_N[cell.design_N]).any() else ("objective", cell.mean_N)


def _points(
    cell: Cell, arrays: Mapping[str, Floats], ran_NS: Bools, completed_NS: Bools, outcome_N: Floats
) -> tuple[FlatPoint, ...]:
    whole_N = ran_NS.any(axis=1) & (ran_NS == completed_NS).all(axis=1)
    points = []
    for row in np.flatnonzero(whole_N).tolist():
        sharpness = tuple(_mean(arrays[quantity][row], ran_NS[row]) for quantity in QUANTITIES)
        if all(value is None for value in sharpness):
            continue
        lr = cell.values[row].get("lr")
        loss = _mean(arrays["loss"][row], ran_NS[row])
        points.append(
            FlatPoint(
                trial=int(cell.number_N[row]),
                lr=None if lr is None or isinstance(lr, str) else float(lr),
                outcome=float(outcome_N[row]) if np.isfinite(outcome_N[row]) else None,
                loss=_mean(cell.train_loss_NS[row], ran_NS[row]) if loss is None else loss,
                sharpness=sharpness,
            )
        )
    return tuple(points)


def _mean(value_S: Floats, ran_S: Bools) -> float | None:
    """The mean over all runs of a trial; None if one of them has no number."""
    mean = float(np.mean(value_S[ran_S]))
    return mean if np.isfinite(mean) else None


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if len(values) else None


def _can_correlate(observations: Observations, cell: Cell, points: tuple[FlatPoint, ...], gaps: Gaps) -> bool:
    """Whether correlations can be made; if not, or not all, it says why."""
    measure = "correlations of sharpness"
    if not observations.info.is_sample:
        reason = (
            "Points were chosen by results, or are what pruning left, so correlations over them are not those of the "
            "search space; take a sobol or random design without pruning."
        )
        gaps.add(measure, cell, reason)
        return False
    if len(points) < LEAST_POINTS:
        reason = f"They need at least {LEAST_POINTS} trials whose runs all completed and were measured."
        gaps.add(measure, cell, reason)
        return False
    if all(point.lr is None for point in points):
        reason = "The learning rate does not vary; make lr an axis."
        gaps.add(f"{measure} with the learning rate, and given it,", cell, reason)
    return True


def _measure_quantities(
    observations: Observations, cell: Cell, points: tuple[FlatPoint, ...], *, can_correlate: bool
) -> tuple[QuantityFlatness, ...]:
    columns = {name: _array([point.sharpness[place] for point in points]) for place, name in enumerate(QUANTITIES)}
    others = {"lr": _array([p.lr for p in points]), "outcome": _array([p.outcome for p in points])}
    known = {name: values for name, values in (columns | others).items() if np.isfinite(values).any()}
    correlations = None
    if can_correlate:
        whole_N = np.isfinite(list(known.values())).all(axis=0)
        kept = {name: values[whole_N] for name, values in known.items()}
        correlations = RankCorrelations(kept, "lr" if "lr" in kept else None, seed=cell_seed(cell, _PURPOSE))

    def correlate(name: str, other: str, *, given: bool = False, degree: int = 1) -> Estimate | None:
        if correlations is None or name not in known or other not in known:
            return None
        return correlations.between(name, other, given=given, degree=degree)

    return tuple(
        QuantityFlatness(
            name,
            int(np.isfinite(values).sum()),
            *_quartiles(values, stands=observations.info.is_sample),
            with_lr=correlate(name, "lr"),
            with_outcome=correlate(name, "outcome"),
            given_lr=correlate(name, "outcome", given=True),
            given_lr_curve=correlate(name, "outcome", given=True, degree=3),
        )
        for name, values in columns.items()
    )


def _quartiles(values: Floats, *, stands: bool) -> tuple[float | None, float | None, float | None]:
    """Median, lower and upper quartile, if the points stand for the search space."""
    known = values[np.isfinite(values)]
    if not stands or not len(known):
        return None, None, None
    middle, lower, upper = np.quantile(known, [0.5, 0.25, 0.75])
    return float(middle), float(lower), float(upper)


def _array(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _match(
    observations: Observations, cells: tuple[CellFlatness, ...]
) -> tuple[tuple[LossMatched, ...], tuple[Missing, ...]]:
    matched: list[LossMatched] = []
    missing: list[Missing] = []
    for workload in observations.workloads:
        own = [cell for cell in cells if cell.workload == workload and cell.points]
        name = f"sharpness at equal training loss on {workload}"
        if not observations.info.is_sample:
            reason = "Points were chosen by results, or are what pruning left, and not in the same way for all."
            missing.append(Missing(name, reason))
            continue
        if len(own) < 2:
            reason = "It needs two optimizers with measured trials."
            missing.append(Missing(name, reason))
            continue
        losses = {cell.optimizer: _array([point.loss for point in cell.points]) for cell in own}
        for place, quantity in enumerate(QUANTITIES):
            sharpness = {cell.optimizer: _array([p.sharpness[place] for p in cell.points]) for cell in own}
            matched += match_losses(workload, quantity, losses, sharpness)
    return tuple(matched), tuple(missing)
