"""What a report is computed from: a table of runs, and what is known of the study, as arrays by cell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from study.axis import AxisSpec, Value
from study.report.seed_numbers import cut_numbers, deviate_rows, mean_rows
from study.storage.progress import FAILURES

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Source = Literal["service", "optuna"]
#: A trial with a run that ended like this has no result and never will.
_FAILURES = [termination.name.lower() for termination in FAILURES]


@dataclass(frozen=True, slots=True)
class AxisInfo:
    """One axis of an optimizer.

    Attributes:
        name: Its name, which is that of a column of the table of runs; its place is in ``unit_NAME``.
        spec: Its range and scale, or its choices.
        default: What the default setting has; None if unknown.
        conditional: Whether it varies in some trials only.
    """

    name: str
    spec: AxisSpec
    default: Value | None
    conditional: bool


@dataclass(frozen=True, slots=True)
class WorkloadInfo:
    """What was trained.

    Attributes:
        name: Its name.
        title: What people call it.
        citation: Where it was published.
        training: Epochs, batch size and what else the study changed.
        chance: Objective of a run that learned nothing, which every objective is capped at; None if unknown.
        chance_source: How it is known, or why not.
        target: Validation error that counts as reached in the columns ``*_to_target``; None without one.
    """

    name: str
    title: str
    citation: str
    training: str
    chance: float | None
    chance_source: str
    target: float | None


@dataclass(frozen=True, slots=True)
class CellInfo:
    """What was planned for one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it, with the options that make it a variant.
        citation: Where it was published.
        axes: What varies.
        fixed: What is held, beside defaults.
        constraints: Conditions that every point meets.
        planned: Trials of the plan, the default setting among them.
    """

    workload: str
    optimizer: str
    title: str
    citation: str
    axes: tuple[AxisInfo, ...]
    fixed: Mapping[str, Value]
    constraints: tuple[str, ...]
    planned: int


@dataclass(frozen=True, slots=True)
class FailureInfo:
    """One kind of attempt that brought no result."""

    workload: str
    optimizer: str
    termination: str
    attempts: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """Everything that a report says about a study and that is not in the table of runs.

    Attributes:
        name: Its name; of several foreign studies, all of them.
        description: What its author wrote.
        source: ``service`` for studies that this program ran, ``optuna`` for any other Optuna study.
        state: ``completed`` or what else it is.
        objective: Name of what trials are judged by. Lower is better: what was maximized has its sign changed, and a
            name that begins with ``-``.
        unit: Of the objective, such as ``share of examples`` or ``nats``; empty if unknown.
        design: What points the plan has, in words, such as ``32 sobol points``.
        design_kind: ``sobol``, ``random``, ``grid``, ``tpe``, …; ``unknown``.
        is_sample: Whether the finished points stand for the search space: not those that a sampler chose from earlier
            results, nor those that pruning left.
        is_random: Whether they are independent or quasi-random draws from it, so that any k of them are a tuning budget
            of k: Sobol', Halton, Latin hypercube, random.
        shared_points: Whether trial n has the same place in the unit cube on every workload.
        paired_seeds: Whether seed s means the same initial weights and data order for every trial.
        seeds: Runs per trial of the plan.
        study_seed: Keys the design and everything random; None if unknown.
        workloads: In the spec's order.
        cells: By workload, then optimizer, in the spec's order.
        failures: Kinds of failed attempts, the most frequent first.
        failures_more: Kinds that are not listed.
        cautions: What a reader must know before anything else, as sentences.
        spec: The spec, complete with defaults; None for foreign studies.
        spec_hash: Of the spec; empty without one.
        created: When it was made, in ISO 8601, UTC; empty if unknown.
        environment: What it was made with, as :func:`study.provenance.describe_environment` says it.
    """

    name: str
    description: str
    source: Source
    state: str
    objective: str
    unit: str
    design: str
    design_kind: str
    is_sample: bool
    is_random: bool
    shared_points: bool
    paired_seeds: bool
    seeds: int
    study_seed: int | None
    workloads: tuple[WorkloadInfo, ...]
    cells: tuple[CellInfo, ...]
    failures: tuple[FailureInfo, ...]
    failures_more: int
    cautions: tuple[str, ...]
    spec: Mapping[str, Any] | None
    spec_hash: str
    created: str
    environment: Mapping[str, Any]

    def workload(self, name: str) -> WorkloadInfo:
        """The workload called ``name``."""
        return next(workload for workload in self.workloads if workload.name == name)


@dataclass(frozen=True, eq=False)
class Cell:
    """All trials of one optimizer on one workload: arrays over N trials, S seeds, D axes.

    Attributes:
        info: What was planned.
        number_N: Numbers of the trials, increasing; 0 is the default setting of a study of this service.
        is_default_N: Which trial is the default setting: at most one.
        unit_ND: Places in the unit cube of the declared prior; NaN where an axis is not active, and for a default off
            its axis; a default may lie outside [0, 1].
        objective_NS: Objective of each run, capped at chance level, where diverged runs are, and at 1e75 either way;
            NaN for a run that does not exist, has not ended, has failed or was pruned.
        pending_NS: Runs that exist and have no objective that counts: not ended, failed or pruned.
        failed_N: Trials of which a run failed, did not fit into memory, or lost its worker for good.
        diverged_NS: Runs that diverged.
        at_chance_NS: Runs that learned nothing, diverged or not.
        test_error_NS: Test error, cut likewise; NaN if the run has none, as diverged ones.
        train_loss_NS: Loss over the last epoch; NaN if unknown.
        steps_to_target_NS: Steps until the target; NaN if it was not reached, or there is none.
        seconds_NS: Time of each run; NaN if unknown.
        values: Hyperparameters of each trial; those that a trial does not have are missing.
    """

    info: CellInfo
    number_N: npt.NDArray[np.int64]
    is_default_N: Bools
    unit_ND: Floats
    objective_NS: Floats
    pending_NS: Bools
    failed_N: Bools
    diverged_NS: Bools
    at_chance_NS: Bools
    test_error_NS: Floats
    train_loss_NS: Floats
    steps_to_target_NS: Floats
    seconds_NS: Floats
    values: Sequence[Mapping[str, Value]]

    @property
    def workload(self) -> str:
        """Name of the workload."""
        return self.info.workload

    @property
    def optimizer(self) -> str:
        """Name of the optimizer."""
        return self.info.optimizer

    @property
    def title(self) -> str:
        """What people call the optimizer."""
        return self.info.title

    @property
    def axes(self) -> tuple[AxisInfo, ...]:
        """What varies."""
        return self.info.axes

    @cached_property
    def finished_N(self) -> Bools:
        """Trials that have an objective for each of their runs."""
        return np.asarray(~self.pending_NS.any(axis=1) & np.isfinite(self.objective_NS).any(axis=1))

    @cached_property
    def mean_N(self) -> Floats:
        """Mean objective over seeds, exactly rounded; NaN for trials that have not finished."""
        return mean_rows(self.objective_NS, self.finished_N)

    @cached_property
    def sd_N(self) -> Floats:
        """Sample standard deviation over seeds (n - 1); NaN with fewer than two."""
        return deviate_rows(self.objective_NS, self.finished_N)

    @cached_property
    def seeds_N(self) -> npt.NDArray[np.int64]:
        """Runs of each trial that have an objective."""
        return np.asarray(np.isfinite(self.objective_NS).sum(axis=1))

    @cached_property
    def test_mean_N(self) -> Floats:
        """Mean test error over seeds; NaN if one of the runs has none, as if it diverged."""
        whole = self.finished_N & (np.isfinite(self.test_error_NS) | ~np.isfinite(self.objective_NS)).all(axis=1)
        return mean_rows(self.test_error_NS, whole)

    @cached_property
    def diverged_share_N(self) -> Floats:
        """Share of each trial's runs that diverged; NaN for trials that have not finished."""
        share = self.diverged_NS.sum(axis=1) / np.maximum(self.seeds_N, 1)
        return np.where(self.finished_N, share, np.nan)

    @cached_property
    def design_N(self) -> Bools:
        """Finished points of the design: all finished trials but the default setting."""
        return self.finished_N & ~self.is_default_N

    @property
    def default(self) -> int | None:
        """Index of the default setting, if it has finished."""
        found = np.flatnonzero(self.is_default_N & self.finished_N)
        return int(found[0]) if len(found) else None

    @property
    def best(self) -> int | None:
        """Index of the finished trial with the lowest mean, the default among them; the lowest number among equals."""
        return int(np.nanargmin(self.mean_N)) if self.finished_N.any() else None

    @property
    def always_active(self) -> tuple[int, ...]:
        """Columns of ``unit_ND`` of axes that vary in every trial."""
        return tuple(column for column, axis in enumerate(self.axes) if not axis.conditional)


@dataclass(frozen=True, eq=False)
class Observations:
    """Everything that a report is computed from.

    Attributes:
        info: What is known of the study.
        runs: The table of runs, as it is exported (docs/reports.md).
        curvature: The table of curvature, as it is exported; no rows where nothing was measured.
        cells: By workload, then optimizer, in the spec's order; those without any trial too.
    """

    info: StudyInfo
    runs: pl.DataFrame
    curvature: pl.DataFrame
    cells: tuple[Cell, ...]

    @property
    def workloads(self) -> tuple[str, ...]:
        """Names of the workloads, in the spec's order."""
        return tuple(workload.name for workload in self.info.workloads)

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Names of the optimizers, in the spec's order."""
        return tuple(dict.fromkeys(cell.optimizer for cell in self.cells))

    def on(self, workload: str) -> tuple[Cell, ...]:
        """The cells of one workload that have a finished trial."""
        return tuple(cell for cell in self.cells if cell.workload == workload and cell.finished_N.any())

    def cell(self, workload: str, optimizer: str) -> Cell:
        """One optimizer on one workload."""
        return next(cell for cell in self.cells if (cell.workload, cell.optimizer) == (workload, optimizer))

    def best_on(self, workload: str) -> float:
        """Lowest mean objective of any optimizer on ``workload``, which has a finished trial."""
        return min(float(np.nanmin(cell.mean_N)) for cell in self.on(workload))

    def reference_on(self, workload: str) -> float:
        """Where goodness begins on ``workload``: its chance level, or the median over all finished points.

        The median stands in where nobody knows what learning nothing reaches, as for foreign studies.
        """
        chance = self.info.workload(workload).chance
        if chance is not None:
            return chance
        return float(np.median(np.concatenate([cell.mean_N[cell.finished_N] for cell in self.on(workload)])))


def observe(info: StudyInfo, runs: pl.DataFrame, curvature: pl.DataFrame) -> Observations:
    """Arrays from a table of runs.

    Args:
        info: What is known of the study.
        runs: One row per run, by trial, then seed, with the columns of docs/reports.md.
        curvature: One row per measured number.
    """
    parts = {
        (str(key[0]), str(key[1])): part
        for key, part in runs.partition_by("workload", "optimizer", as_dict=True, maintain_order=True).items()
    }
    empty = runs.clear()
    cells = tuple(_cell(cell, parts.get((cell.workload, cell.optimizer), empty)) for cell in info.cells)
    return Observations(info, runs, curvature, cells)


def _cell(info: CellInfo, runs: pl.DataFrame) -> Cell:
    numbers, first, row_of_run = np.unique(runs["trial"].to_numpy(), return_index=True, return_inverse=True)
    seeds = runs["seed"].to_numpy()
    shape = (len(numbers), int(seeds.max()) + 1 if len(seeds) else 1)

    def spread(column: str) -> Floats:
        values = np.full(shape, np.nan)
        values[row_of_run, seeds] = runs[column].cast(pl.Float64).fill_null(math.nan).to_numpy()
        return values

    def where(condition: pl.Expr) -> Bools:
        values = np.zeros(shape, dtype=bool)
        values[row_of_run, seeds] = runs.select(condition.fill_null(value=False)).to_series().to_numpy()
        return values

    counts = pl.col("objective").is_not_null() & pl.col("termination").is_in(["completed", "diverged"])
    trials = runs[first.tolist()]
    units = [trials[f"unit_{axis.name}"].cast(pl.Float64).fill_null(math.nan).to_numpy() for axis in info.axes]
    counted = where(counts)
    return Cell(
        info=info,
        number_N=numbers.astype(np.int64),
        is_default_N=(trials["origin"] == "default").to_numpy(),
        unit_ND=np.stack(units, axis=1) if units else np.empty((len(numbers), 0)),
        objective_NS=np.where(counted, cut_numbers(spread("objective")), np.nan),
        pending_NS=where(~counts.fill_null(value=False)),
        failed_N=np.asarray(where(pl.col("termination").is_in(_FAILURES)).any(axis=1)),
        diverged_NS=where(pl.col("termination") == "diverged"),
        at_chance_NS=where(pl.col("at_chance")),
        test_error_NS=cut_numbers(spread("test_error")),
        train_loss_NS=spread("train_loss"),
        steps_to_target_NS=spread("steps_to_target"),
        seconds_NS=spread("seconds"),
        values=_values(info, trials),
    )


def _values(info: CellInfo, trials: pl.DataFrame) -> list[dict[str, Value]]:
    """What each trial has on its axes."""
    # In a table of runs "epochs" are those that were trained: as an axis it is the budget.
    columns = {axis.name: "budget" if axis.name == "epochs" else axis.name for axis in info.axes}
    chosen = trials.select(pl.col(column).alias(name) for name, column in columns.items() if column in trials.columns)
    if not chosen.columns:  # a table without columns has no rows either
        return [{} for _ in range(trials.height)]
    return [{name: value for name, value in row.items() if value is not None} for row in chosen.to_dicts()]
