"""Optuna studies as the cells of a report: which is which, what varies in them, and what became of their runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.axis import Value, format_value
from study.errors import RequestError
from study.report.foreign.database import ForeignStudy
from study.report.foreign.outcomes import Outcome, Scale, find_outcome, first_value
from study.report.foreign.seeds import Plan, Run, find_default
from study.report.foreign.space import Space

#: The workload of studies whose names do not say it.
WORKLOAD = "optuna"


@dataclass(frozen=True, eq=False, slots=True)
class PlacedRun:
    """One run with everything that a table says of it.

    Attributes:
        run: Which trial of Optuna it is, and its setting and seed.
        values: Of its parameters, by column.
        places: On the axes that it has, by column.
        outcome: What became of it.
    """

    run: Run
    values: Mapping[str, Value]
    places: Mapping[str, float | None]
    outcome: Outcome


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """One study as one cell of the report.

    Attributes:
        study: As it is stored.
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        space: What varies.
        runs: By setting, then seed.
        superseded: Failed trials that were tried again.
        default: The setting that is the default; None if nothing says so.
    """

    study: ForeignStudy
    workload: str
    optimizer: str
    space: Space
    runs: Sequence[PlacedRun]
    superseded: Sequence[FrozenTrial]
    default: int | None

    def count(self, termination: str | None) -> int:
        """Runs that ended so; None counts those that have not ended."""
        return sum(placed.outcome.termination == termination for placed in self.runs)


def check_comparable(studies: Sequence[ForeignStudy]) -> float:
    """The sign that turns values into objectives: 1, or -1 if the studies maximize.

    Raises:
        RequestError: Some minimize and some maximize, or they have different numbers of objectives.
    """
    kinds: dict[tuple[bool, int], str] = {}
    for study in studies:
        maximizes = bool(study.directions) and study.directions[0] is StudyDirection.MAXIMIZE
        kinds.setdefault((maximizes, len(study.directions)), study.name)
    if len(kinds) > 1:
        told = "; ".join(
            f"{name} {'maximizes' if maximizes else 'minimizes'} the first of {count} objectives"
            if count > 1
            else f"{name} {'maximizes' if maximizes else 'minimizes'} one objective"
            for (maximizes, count), name in kinds.items()
        )
        raise RequestError(f"these studies cannot be compared: {told}; report them one by one")
    return -1.0 if next(iter(kinds))[0] else 1.0


def name_cells(names: Sequence[str]) -> list[tuple[str, str]]:
    """(workload, optimizer) of each study: from names like ``PREFIX/WORKLOAD/OPTIMIZER``, else the whole name.

    Studies that differ in the prefix only keep it in the optimizer's name.
    """
    split = [name.rsplit("/", 2) for name in names]
    cells = [(p[1], p[2]) if len(p) == 3 and all(p) else (WORKLOAD, name) for p, name in zip(split, names, strict=True)]
    counts = Counter(cells)
    return [
        (workload, f"{name.removesuffix(f'/{workload}/{optimizer}')}/{optimizer}")
        if counts[workload, optimizer] > 1 and name != optimizer
        else (workload, optimizer)
        for (workload, optimizer), name in zip(cells, names, strict=True)
    ]


def make_parts(
    studies: Sequence[ForeignStudy], spaces: Sequence[Space], plan: Plan, *, sign: float, chance: float | None
) -> tuple[list[Part], dict[str, Scale]]:
    """The cells, by workload in the order in which workloads come, and how each workload's values are scaled.

    Args:
        studies: Those that are compared.
        spaces: What varies in each.
        plan: The runs of each.
        sign: As :func:`check_comparable` gives it.
        chance: Objective of a run that learned nothing; None if unknown.
    """
    cells = name_cells([study.name for study in studies])
    scales = {workload: Scale(sign, chance, chance) for workload, _ in cells}
    if chance is None:
        # Of whatever is compared, so that divergence is worst wherever it happens.
        for study, (workload, _) in zip(studies, cells, strict=True):
            known = [scales[workload].worst, _find_worst(study.trials, scales[workload])]
            worst = max((value for value in known if value is not None), default=None)
            scales[workload] = replace(scales[workload], worst=worst)
    parts = [
        Part(study, workload, optimizer, space, _place_runs(runs, space, scales[workload]), retried, find_default(runs))
        for study, (workload, optimizer), space, runs, retried in zip(
            studies, cells, spaces, plan.runs, plan.superseded, strict=True
        )
    ]
    order = list(scales)
    return sorted(parts, key=lambda part: order.index(part.workload)), scales


def _find_worst(trials: Sequence[FrozenTrial], scale: Scale) -> float | None:
    """The worst objective of a completed trial."""
    complete = (trial for trial in trials if trial.state is TrialState.COMPLETE and first_value(trial) is not None)
    outcomes = (find_outcome(trial, scale) for trial in complete)
    return max(
        (o.objective for o in outcomes if o.termination == "completed" and o.objective is not None), default=None
    )


def _place_runs(runs: Sequence[Run], space: Space, scale: Scale) -> list[PlacedRun]:
    default = find_default(runs)
    placed = []
    for run in runs:
        values = space.values_of(run.trial.params)
        places = space.places_of(values)
        outcome = find_outcome(run.trial, scale)
        outside = [column for column, place in places.items() if place is None or not 0 <= place <= 1]
        if outside and run.setting != default and outcome.objective is not None:
            told = ", ".join(f"{column} = {format_value(values[column])}" for column in outside)
            outcome = Outcome("failed", None, f"no point of the search space: {told} lies outside")
        placed.append(PlacedRun(run, values, places, outcome))
    return placed
