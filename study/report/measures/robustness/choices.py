"""Measures, what each choice of a categorical axis can reach."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from study.axis import Value, format_value
from study.report.measures.intervals import Estimate
from study.report.measures.robustness.seeds import difference, scaled
from study.report.measures.robustness.yardstick import Yardstick
from study.report.observations import Bools, Cell, StudyInfo
from study.space import to_unit


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """What was found with one choice of a categorical axis: the best of its finished trials."""

    choice: str
    trials: int
    trials_diverged: int
    best_trial: int
    best: float


@dataclass(frozen=True, slots=True)
class ChoiceSensitivity:
    """One categorical axis of one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it.
        axis: Name of the axis.
        choices: What was found with each choice, the best first.
        regret: Best of the second-best choice less best of the best; None with one choice.
        regret_relative: The same, as a share of the workload's L0 - L*.
    """

    workload: str
    optimizer: str
    title: str
    axis: str
    choices: tuple[ChoiceResult, ...]
    regret: Estimate | None
    regret_relative: Estimate | None


def measure_choices(cell: Cell, info: StudyInfo, yardstick: Yardstick) -> list[ChoiceSensitivity]:
    """What each choice of each categorical axis reaches: of trials alone, so that conditions and constraints hold."""
    return [
        _measure_axis(cell, column, info, yardstick)
        for column, axis in enumerate(cell.axes)
        if axis.spec.is_categorical and cell.finished_N.any()
    ]


def _measure_axis(cell: Cell, column: int, info: StudyInfo, yardstick: Yardstick) -> ChoiceSensitivity:
    found = sorted(_bests(cell, column), key=lambda entry: float(cell.mean_N[entry[0]]))
    regret = None
    if len(found) > 1:
        first, second = (cell.objective_NS[index] for index, _, _ in found[:2])
        regret = difference(second, first, paired=info.paired_seeds)
    return ChoiceSensitivity(
        workload=cell.workload,
        optimizer=cell.optimizer,
        title=cell.title,
        axis=cell.axes[column].name,
        choices=tuple(_result(cell, *entry) for entry in found),
        regret=regret,
        regret_relative=scaled(regret, yardstick.span),
    )


def _bests(cell: Cell, column: int) -> Iterator[tuple[int, Bools, Value]]:
    """Of each choice with a finished trial: index of the best, which trials have the choice, the choice."""
    spec = cell.axes[column].spec
    for choice in spec.choices:
        place = to_unit(spec, choice) or 0.0
        with_N = cell.finished_N & np.isclose(cell.unit_ND[:, column], place, rtol=0.0, atol=1e-9)
        if with_N.any():
            yield int(np.argmin(np.where(with_N, cell.mean_N, np.inf))), with_N, choice


def _result(cell: Cell, index: int, with_N: Bools, choice: Value) -> ChoiceResult:
    return ChoiceResult(
        choice=format_value(choice),
        trials=int(with_N.sum()),
        trials_diverged=int(cell.diverged_NS[with_N].any(axis=1).sum()),
        best_trial=int(cell.number_N[index]),
        best=float(cell.mean_N[index]),
    )
