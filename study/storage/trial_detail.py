"""One trial with its runs, the attempts at it, and what was measured of its loss surface."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import ColumnElement, Connection, Table, exists, func, select

from study.storage.id_lists import among
from study.storage.run_pages import RunRow, read_runs_of
from study.storage.tables import attempts, curvature, logs, runs, trials
from study.storage.trial_list import TrialFilter, TrialSummary, find_trial_ids, read_summaries

#: Of the attempts at a trial, the newest that are read.
_ATTEMPTS = 100

_optuna_trials: Table = models.TrialModel.__table__


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try at a trial batch; ``runs`` are those of all of its trials."""

    id: int
    started_at: dt.datetime
    finished_at: dt.datetime | None
    termination: str | None
    error: str | None
    worker: str | None
    host: str | None
    device: str | None
    engine: str | None
    tries: int | None
    runs: int


@dataclass(frozen=True, slots=True)
class CurvatureRow:
    """A measurement of the loss surface: quantity -> number, or list of numbers for a slice."""

    seed: int
    epoch: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrialStory:
    """A trial and all that there is about it.

    Attributes:
        trial: Summed up over its seeds.
        runs: By seed.
        attempts: At batches that it was in, oldest first; the newest 100.
        curvature: By seed and epoch.
        optuna_study_id: The Optuna study that it is in.
    """

    trial: TrialSummary
    runs: list[RunRow]
    attempts: list[AttemptRow]
    curvature: list[CurvatureRow]
    optuna_study_id: int


def read_story(connection: Connection, study_id: int, workload: str, optimizer: str, number: int) -> TrialStory | None:
    """One trial of a study; None if there is no such one."""
    ids = find_trial_ids(connection, study_id, TrialFilter(workload, optimizer), number=number)
    found = read_summaries(connection, ids)
    if not found:
        return None
    trial = found[0]
    own = read_runs_of(connection, trial.id)
    return TrialStory(
        trial=trial,
        runs=own,
        attempts=_read_attempts(connection, study_id, trial, own),
        curvature=_read_curvature(connection, trial.id),
        optuna_study_id=_find_optuna_study(connection, trial.id),
    )


def _read_attempts(connection: Connection, study_id: int, trial: TrialSummary, own: list[RunRow]) -> list[AttemptRow]:
    """Runs name the attempt that they ended in; of earlier ones the log says which trials were in them."""
    started = select(logs.c.details["attempt"].as_integer()).where(
        logs.c.study_id == study_id,
        logs.c.event == "attempt_started",
        logs.c.details["workload"].as_string() == trial.workload,
        logs.c.details["optimizer"].as_string() == trial.optimizer,
        _names(connection, trial.number),
    )
    known = {run.attempt_id for run in own if run.attempt_id is not None} | set(connection.execute(started).scalars())
    columns = [attempts.c[name] for name in AttemptRow.__dataclass_fields__]
    query = (
        select(*columns)
        .where(among(connection, attempts.c.id, known), attempts.c.study_id == study_id)
        .order_by(attempts.c.id.desc())
        .limit(_ATTEMPTS)
    )
    return [AttemptRow(*row) for row in connection.execute(query)][::-1]


def _names(connection: Connection, number: int) -> ColumnElement[bool]:
    """Whether the trials that an event lists are with that one."""
    if connection.dialect.name == "postgresql":
        listed = func.json_array_elements_text(logs.c.details["trials"]).table_valued("value")
        return exists(select(1).select_from(listed).where(listed.c.value == str(number)))
    listed = func.json_each(logs.c.details, "$.trials").table_valued("value")
    return exists(select(1).select_from(listed).where(listed.c.value == number))


def _read_curvature(connection: Connection, trial_id: int) -> list[CurvatureRow]:
    query = (
        select(runs.c.seed, curvature.c.epoch, curvature.c["values"])
        .select_from(curvature.join(runs))
        .where(runs.c.trial_id == trial_id)
        .order_by(runs.c.seed, curvature.c.epoch)
    )
    return [CurvatureRow(*row) for row in connection.execute(query)]


def _find_optuna_study(connection: Connection, trial_id: int) -> int:
    query = select(_optuna_trials.c.study_id).join(trials, trials.c.optuna_trial_id == _optuna_trials.c.trial_id)
    return int(connection.execute(query.where(trials.c.id == trial_id)).scalar_one())
