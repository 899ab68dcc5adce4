"""Models of a study from what the database says: its summary, its parts, its spec."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dashboards.api.models import Axis, Best, CellProgress, Optimizer, Plan, State, StudySummary
from study.axis import AxisSpec
from study.claim import describe
from study.report.from_database import describe_spec
from study.search_space import OptimizerSpec
from study.storage.progress import StudyProgress
from study.storage.records import StudyRecord
from study.storage.study_list import StudyRow
from workers.messages import EnginePlan


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a study is.

    Attributes:
        cells: By workload and optimizer.
        rate: Trials per second lately; None if it is not running, or nothing has ended yet.
    """

    cells: tuple[StudyProgress, ...]
    rate: float | None

    def total(self, field: str) -> int:
        """The sum of a number over all cells."""
        return sum(int(getattr(cell, field)) for cell in self.cells)


@dataclass(frozen=True, slots=True)
class StudyMaking:
    """What of a study never changes.

    Attributes:
        workloads: In the spec's order.
        optimizers: In the spec's order.
        design: In words.
        seeds: Runs per trial.
        environment: What it was made with.
        spec: As JSON has it.
    """

    workloads: list[str]
    optimizers: list[Optimizer]
    design: str
    seeds: int
    environment: dict[str, Any]
    spec: dict[str, Any]


def summarize(row: StudyRow, counts: Counts) -> StudySummary:
    """A study in the list."""
    trials, trials_ended = counts.total("trials"), counts.total("trials_ended")
    runs, runs_ended = counts.total("runs"), counts.total("ended")
    rate = counts.rate if row.state == "running" else None
    return StudySummary(
        name=row.name,
        description=row.description,
        state=cast("State", row.state),
        created_at=row.created_at,
        finished_at=row.finished_at,
        objective=row.objective,
        trials=trials,
        trials_ended=trials_ended,
        runs=runs,
        runs_ended=runs_ended,
        diverged=counts.total("diverged"),
        failed=counts.total("failed"),
        pruned=counts.total("pruned"),
        share=runs_ended / runs if runs else 0.0,
        rate=rate,
        seconds_left=None if rate is None else (trials - trials_ended) / rate,
        best=_list_best(counts.cells),
        driver=None if row.driver is None else describe(row.driver),
        error=row.error,
    )


def _list_best(cells: Sequence[StudyProgress]) -> list[Best]:
    return [
        Best(workload=cell.workload, optimizer=cell.optimizer, objective=cell.best_objective)
        for cell in cells
        if cell.best_objective is not None and math.isfinite(cell.best_objective)
    ]


def to_cell(cell: StudyProgress) -> CellProgress:
    """How far one optimizer is on one workload."""
    return CellProgress(
        workload=cell.workload,
        optimizer=cell.optimizer,
        trials=cell.trials,
        trials_ended=cell.trials_ended,
        runs=cell.runs,
        runs_ended=cell.ended,
        diverged=cell.diverged,
        failed=cell.failed,
        pruned=cell.pruned,
        best_objective=cell.best_objective,
    )


def describe_making(study: StudyRecord) -> StudyMaking:
    """What of a study never changes."""
    described = describe_spec(study.spec, pruned=0)
    return StudyMaking(
        workloads=study.spec.workloads,
        optimizers=[_to_optimizer(optimizer) for optimizer in study.spec.optimizers],
        design=described["design"],
        seeds=study.spec.seeds,
        environment=study.environment,
        spec=described["spec"],
    )


def to_plans(plans: Mapping[str, EnginePlan]) -> list[Plan]:
    """How workloads are trained."""
    return [
        Plan(workload=workload, engine=plan.engine, max_rows=plan.max_rows, reason=plan.reason)
        for workload, plan in plans.items()
    ]


def _to_optimizer(optimizer: OptimizerSpec) -> Optimizer:
    conditional = optimizer.conditional_axes
    axes = [to_axis(name, axis, conditional=name in conditional) for name, axis in optimizer.axes.items()]
    return Optimizer(name=optimizer.name, title=optimizer.title, axes=axes)


def to_axis(name: str, axis: AxisSpec, *, conditional: bool) -> Axis:
    """An axis of one optimizer; ``conditional`` if it varies in some of its trials only."""
    return Axis(
        name=name,
        low=axis.low,
        high=axis.high,
        scale="choices" if axis.is_categorical else axis.scale,
        integer=axis.integer,
        choices=list(axis.choices),
        conditional=conditional,
    )
