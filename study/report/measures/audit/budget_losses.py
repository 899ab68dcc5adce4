"""Measures what of the budget went to runs that diverged, and to runs that learned nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from study.report.measures.audit.gaps import Gaps
from study.report.measures.intervals import Estimate, bootstrap
from study.report.measures.surrogate import cell_seed
from study.report.observations import Cell, Floats, Observations

#: Purpose of the bootstrap's seeds, apart from those of other measures.
_PURPOSE = 501
_COSTS = ("epochs", "budget", "seconds")


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent in one unit: epochs trained, epochs of the budget, or seconds.

    Attributes:
        unit: ``epochs``, ``budget`` (epochs that the runs could have trained) or ``seconds``.
        diverged: By runs that diverged.
        total: By all runs that ended, whatever their end.
        share: Diverged of total, with a percentile bootstrap over trials; without an interval if there is nothing to
            resample, as where no run or every run diverged, or if the trials are no sample of the search space.
    """

    unit: str
    diverged: float
    total: float
    share: Estimate


@dataclass(frozen=True, slots=True)
class BudgetLosses:
    """What one optimizer lost on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        trials: Trials with a run that ended, the default setting among them.
        runs: Runs that completed or diverged.
        diverged: Those that diverged.
        at_chance: Those that learned nothing, the diverged ones among them; None if nobody knows what that is.
        diverged_share: Of ``runs``, with a bootstrap over trials, whose runs are not independent.
        at_chance_share: The same of those that learned nothing.
        costs: What divergence cost, in each unit that is known.
    """

    workload: str
    optimizer: str
    trials: int
    runs: int
    diverged: int
    at_chance: int | None
    diverged_share: Estimate
    at_chance_share: Estimate | None
    costs: tuple[Cost, ...]


def measure_budget_losses(observations: Observations, gaps: Gaps) -> tuple[BudgetLosses, ...]:
    """What divergence cost in every cell; what could not be said of it goes to ``gaps``."""
    parts = {
        (str(key[0]), str(key[1])): part
        for key, part in observations.runs.partition_by("workload", "optimizer", as_dict=True).items()
    }
    losses = []
    for cell in observations.cells:
        found = _measure(observations, cell, parts.get((cell.workload, cell.optimizer)))
        if found is None:
            gaps.add("budget lost to divergence", cell, "No run has ended with a result; finish the study.")
            continue
        losses.append(found)
        unknown = [unit for unit in _COSTS if unit not in {cost.unit for cost in found.costs}]
        if unknown:
            measure = f"budget lost to divergence, in {' and '.join(unknown)},"
            gaps.add(measure, cell, "The table of runs does not say what each run took.")
    return tuple(losses)


def _measure(observations: Observations, cell: Cell, runs: pl.DataFrame | None) -> BudgetLosses | None:
    if runs is None:
        return None
    ended = runs.filter(pl.col("termination").is_not_null())
    counted = pl.col("termination").is_in(["completed", "diverged"])
    if ended.filter(counted).is_empty():
        return None
    diverged = pl.col("termination") == "diverged"
    known = [unit for unit in _COSTS if _is_known(ended.filter(counted), unit)]
    by_trial = ended.group_by("trial").agg(
        counted.sum().alias("runs"),
        diverged.sum().alias("diverged"),
        (counted & pl.col("at_chance").fill_null(value=False)).sum().alias("at_chance"),
        *(pl.col(unit).cast(pl.Float64).fill_nan(0.0).sum() for unit in known),
        *(pl.col(unit).cast(pl.Float64).filter(diverged).sum().alias(f"{unit}_diverged") for unit in known),
    )
    columns = {
        name: by_trial.sort("trial")[name].cast(pl.Float64).to_numpy() for name in by_trial.columns if name != "trial"
    }
    seed = cell_seed(cell, _PURPOSE) if observations.info.is_sample else None
    knows_chance = _is_known(ended.filter(counted), "at_chance")
    return BudgetLosses(
        workload=cell.workload,
        optimizer=cell.optimizer,
        trials=len(by_trial),
        runs=int(columns["runs"].sum()),
        diverged=int(columns["diverged"].sum()),
        at_chance=int(columns["at_chance"].sum()) if knows_chance else None,
        diverged_share=_share(columns["diverged"], columns["runs"], seed),
        at_chance_share=_share(columns["at_chance"], columns["runs"], seed) if knows_chance else None,
        costs=tuple(_cost(unit, columns, seed) for unit in known if columns[unit].sum() > 0),
    )


def _is_known(runs: pl.DataFrame, column: str) -> bool:
    """Whether every run has a number there, finite if it is one."""
    if column not in runs.columns or runs[column].null_count():
        return False
    return not runs[column].dtype.is_float() or bool(runs[column].is_finite().all())


def _cost(unit: str, columns: Mapping[str, Floats], seed: int | None) -> Cost:
    diverged, total = columns[f"{unit}_diverged"], columns[unit]
    return Cost(unit, float(diverged.sum()), float(total.sum()), _share(diverged, total, seed))


def _share(part_N: Floats, whole_N: Floats, seed: int | None) -> Estimate:
    """The share of one sum in another, over trials."""
    value = float(part_N.sum() / whole_N.sum())
    if seed is None or not 0.0 < value < 1.0:
        return Estimate(value)

    def ratio(indices: np.ndarray) -> float:
        whole = whole_N[indices].sum()
        return float(part_N[indices].sum() / whole) if whole > 0 else float("nan")

    return bootstrap(ratio, len(whole_N), seed=[seed])
