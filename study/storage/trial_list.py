"""The trials of a study, a page at a time: filtered, sorted and summed up over their seeds by the database."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Connection, Subquery, Table, and_, case, false, func, or_, select

from study.axis import Value
from study.storage.id_lists import among
from study.storage.progress import sum_by_trial
from study.storage.tables import runs, studies, trials

TrialSort = Literal["number", "objective", "-objective"]
TrialStanding = Literal["waiting", "running", "complete", "pruned", "failed"]

_optuna_trials: Table = models.TrialModel.__table__


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """A trial, summed up over its seeds.

    Attributes:
        id: Its key.
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        number: Within its workload and optimizer; 0 is the default setting.
        origin: ``default``, ``design`` or a sampler's.
        hyperparameters: All of them.
        standing: Whether it waits, is being trained, or how it ended.
        objective: Mean over its seeds, diverged runs at chance level; None unless all have trained to their end.
        sd: Of the objective over its seeds; None with fewer than two, or without an objective.
        runs: How many it has.
        ended: Of those, how many have ended.
        diverged: How many diverged.
        failed: How many have no result and never will.
    """

    id: int
    workload: str
    optimizer: str
    number: int
    origin: str
    hyperparameters: dict[str, Value]
    standing: TrialStanding
    objective: float | None
    sd: float | None
    runs: int
    ended: int
    diverged: int
    failed: int


@dataclass(frozen=True, slots=True)
class TrialFilter:
    """Which trials of a study are looked for; None for any."""

    workload: str | None = None
    optimizer: str | None = None
    standing: TrialStanding | None = None

    def conditions(self, study_id: int) -> list[ColumnElement[bool]]:
        """On the table of trials alone: where they belong."""
        found: list[ColumnElement[bool]] = [trials.c.study_id == study_id]
        for column, value in ((trials.c.workload, self.workload), (trials.c.optimizer, self.optimizer)):
            if value is not None:
                # No name has a zero in it, and PostgreSQL refuses to look for one.
                found.append(false() if "\0" in value else column == value)
        return found


@dataclass(frozen=True, slots=True)
class TrialPlace:
    """Where a trial stands in an order: by its number or objective, then by its key."""

    value: float | None
    id: int


def list_trials(
    connection: Connection,
    study_id: int,
    chosen: TrialFilter,
    sort: TrialSort,
    *,
    after: TrialPlace | None = None,
    limit: int,
) -> tuple[list[TrialSummary], int]:
    """Some trials of a study in an order; those without an objective come last.

    Args:
        connection: To the database.
        study_id: Of which study.
        chosen: Which trials.
        sort: By what; a minus turns it round.
        after: The last trial before these; None for the first ones.
        limit: The most.

    Returns:
        The trials, and how many there are on all pages.
    """
    if sort == "number" and chosen.standing is None:
        ids, total = _find_by_number(connection, study_id, chosen, after, limit)
    else:
        ids, total = _find_by_sums(connection, study_id, chosen, sort, after, limit)
    return read_summaries(connection, ids), total


def trial_place(trial: TrialSummary, sort: TrialSort) -> TrialPlace:
    """Where a trial stands in an order."""
    return TrialPlace(trial.number if sort == "number" else trial.objective, trial.id)


def read_summaries(connection: Connection, trial_ids: Sequence[int]) -> list[TrialSummary]:
    """Trials by their keys, in that order."""
    summed = sum_by_trial(None, among(connection, trials.c.id, trial_ids))
    query = (
        select(summed, trials.c.origin, trials.c.hyperparameters, _standing(summed).label("standing"))
        .select_from(_with_optuna(summed).join(trials, trials.c.id == summed.c.id))
        .order_by(summed.c.id)
    )
    spread = _read_spread(connection, trial_ids)
    found = {}
    for row in connection.execute(query):
        found[row.id] = TrialSummary(
            id=row.id,
            workload=row.workload,
            optimizer=row.optimizer,
            number=row.number,
            origin=row.origin,
            hyperparameters=row.hyperparameters,
            standing=row.standing,
            objective=row.value,
            sd=None if row.value is None else spread.get(row.id),
            runs=row.runs,
            ended=row.ended,
            diverged=row.diverged,
            failed=row.failed,
        )
    return [found[trial_id] for trial_id in trial_ids if trial_id in found]


def find_trial_ids(
    connection: Connection, study_id: int, chosen: TrialFilter, *, number: int | None = None, first: int = 0
) -> list[int]:
    """Keys of trials of a study from ``first`` on, ascending; of one ``number``, if it is given."""
    query = select(trials.c.id).where(*chosen.conditions(study_id), trials.c.id >= first).order_by(trials.c.id)
    return list(connection.execute(query if number is None else query.where(trials.c.number == number)).scalars())


def _find_by_number(
    connection: Connection, study_id: int, chosen: TrialFilter, after: TrialPlace | None, limit: int
) -> tuple[list[int], int]:
    """Without a look at runs."""
    conditions = chosen.conditions(study_id)
    total = connection.execute(select(func.count()).select_from(trials).where(*conditions)).scalar_one()
    query = select(trials.c.id).where(*conditions).order_by(trials.c.number, trials.c.id).limit(limit)
    if after is not None:
        query = query.where(_lies_after(trials.c.number, trials.c.id, after, falling=False))
    return list(connection.execute(query).scalars()), int(total)


def _find_by_sums(
    connection: Connection,
    study_id: int,
    chosen: TrialFilter,
    sort: TrialSort,
    after: TrialPlace | None,
    limit: int,
) -> tuple[list[int], int]:
    """By sums over the runs of every trial that may be meant."""
    summed = sum_by_trial(select(studies.c.id).where(studies.c.id == study_id), *chosen.conditions(study_id))
    own = select(summed.c.id, summed.c.number, summed.c.value).select_from(_with_optuna(summed))
    if chosen.standing is not None:
        own = own.where(_standing(summed) == chosen.standing)
    # Counted beside the rows: the sums are made once.
    found = own.add_columns(func.count().over().label("total")).subquery()
    key = found.c.number if sort == "number" else found.c.value
    falling = sort.startswith("-")
    query = select(found.c.id, found.c.total).limit(limit)
    query = query.order_by(key.is_(None), key.desc() if falling else key, found.c.id)
    beyond = query if after is None else query.where(_lies_after(key, found.c.id, after, falling=falling))
    rows = connection.execute(beyond).all()
    if not rows and after is not None:
        rows_of_all = connection.execute(query.limit(1)).all()
        return [], int(rows_of_all[0].total) if rows_of_all else 0
    return [row.id for row in rows], int(rows[0].total) if rows else 0


def _lies_after(
    key: ColumnElement[Any], ids: ColumnElement[int], after: TrialPlace, *, falling: bool
) -> ColumnElement[bool]:
    """Whether a row comes after ``after``; rows without a key are the last."""
    if after.value is None:
        return and_(key.is_(None), ids > after.id)
    beyond = key < after.value if falling else key > after.value
    return or_(beyond, and_(key == after.value, ids > after.id), key.is_(None))


def _with_optuna(summed: Subquery) -> Any:
    return summed.join(_optuna_trials, _optuna_trials.c.trial_id == summed.c.optuna_trial_id)


def _standing(summed: Subquery) -> ColumnElement[str]:
    """How a trial stands; that somebody trains it is known from Optuna's table alone."""
    return case(
        (summed.c.failed > 0, "failed"),
        (and_(summed.c.ended == summed.c.runs, summed.c.pruned > 0), "pruned"),
        (summed.c.ended == summed.c.runs, "complete"),
        (_optuna_trials.c.state == TrialState.RUNNING, "running"),
        else_="waiting",
    )


def _read_spread(connection: Connection, trial_ids: Iterable[int]) -> dict[int, float]:
    """Trial -> standard deviation of the objective over its seeds, from their values and not from sums of squares."""
    query = select(runs.c.trial_id, runs.c.objective).where(
        among(connection, runs.c.trial_id, trial_ids), runs.c.objective.is_not(None)
    )
    values = defaultdict(list)
    for trial_id, objective in connection.execute(query):
        values[trial_id].append(objective)
    return {
        trial_id: statistics.stdev(own) for trial_id, own in values.items() if len(own) > 1 and all(map(isfinite, own))
    }
