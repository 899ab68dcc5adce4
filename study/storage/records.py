"""What the database says, as frozen records: a fixed number of queries whatever the number of trials."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from study.axis import Value
from study.errors import DatabaseError
from study.spec import STORED, StudySpec
from study.storage.progress import unknown_study
from study.storage.tables import attempts, curvature, environments, epochs, runs, studies, trials
from workers.messages import Termination

#: Rows that are in memory at once while a table of any length is read.
_ROWS_AT_ONCE = 10_000
#: The fields of a trial after its key, and where a row of a run's measurements belongs.
_TRIAL_COLUMNS = (
    trials.c.optuna_trial_id,
    trials.c.workload,
    trials.c.optimizer,
    trials.c.number,
    trials.c.origin,
    trials.c.hyperparameters,
    trials.c.unit,
    trials.c.round,
)
_PLACE = (trials.c.workload, trials.c.optimizer, trials.c.number.label("trial"), runs.c.seed)


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study.

    Attributes:
        id: Its key.
        name: Its name.
        spec: Its spec, complete with defaults.
        state: ``planned``, ``queued``, ``running``, ``cancelling``, ``interrupted``, ``cancelled``, ``failed`` or
            ``completed``.
        created_at: When it was written.
        finished_at: When its last trial ended; None before.
        environment: What it was made with.
    """

    id: int
    name: str
    spec: StudySpec
    state: str
    created_at: dt.datetime
    finished_at: dt.datetime | None
    environment: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial of the plan; the fields are those of :class:`study.design.PlannedTrial` and its keys."""

    id: int
    optuna_trial_id: int
    workload: str
    optimizer: str
    number: int
    origin: str
    hyperparameters: dict[str, Value]
    unit: dict[str, float | None]
    round: int = 0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run: its trial, its seed and, once it ended, its result. Losses that were not finite are None."""

    id: int
    trial: TrialRecord
    seed: int
    termination: Termination | None
    reason: str | None
    epochs: int | None
    objective: float | None
    at_chance: bool | None
    train_loss: float | None
    val_loss: float | None
    val_error: float | None
    test_loss: float | None
    test_error: float | None
    seconds: float | None
    steps_to_target: int | None
    seconds_to_target: float | None
    peak_memory: int | None
    worker: str | None
    device: str | None
    engine: str | None


def find_study(connection: Connection, name: str) -> StudyRecord:
    """The study called ``name``.

    Raises:
        UnknownStudyError: There is none; the message lists those there are.
        DatabaseError: Its stored spec cannot be read by this version.
    """
    row = connection.execute(
        select(studies, environments.c.details).join(environments).where(studies.c.name == name)
    ).one_or_none()
    if row is None:
        raise unknown_study(connection, name)
    try:
        spec = StudySpec.model_validate(row.spec, context=STORED)
    except ValueError as error:
        raise DatabaseError(f"the stored spec of study {name!r} cannot be read by this version: {error}") from error
    return StudyRecord(row.id, row.name, spec, row.state, row.created_at, row.finished_at, row.details)


def find_spec_hash(connection: Connection, name: str) -> str | None:
    """The hash of the spec of the study called ``name``; None if there is no such study."""
    return connection.execute(select(studies.c.spec_hash).where(studies.c.name == name)).scalar_one_or_none()


def read_trials(connection: Connection, study_id: int) -> list[TrialRecord]:
    """All trials of a study, ended or not, in the plan's order."""
    query = (
        select(trials).where(trials.c.study_id == study_id).order_by(*_plan_order(connection, study_id, trials.c.id))
    )
    return [_trial_record(row) for row in connection.execute(query)]


def read_round(
    connection: Connection, study_id: int, workload: str, optimizer: str, *, round_: int
) -> list[TrialRecord]:
    """The trials of one round of a workload and optimizer, by number."""
    own = (trials.c.study_id == study_id, trials.c.workload == workload, trials.c.optimizer == optimizer)
    query = select(trials).where(*own, trials.c.round == round_).order_by(trials.c.number)
    return [_trial_record(row) for row in connection.execute(query)]


def read_runs(connection: Connection, study_id: int) -> list[RunRecord]:
    """All runs of a study, ended or not, by trial in the plan's order, then seed."""
    return list(stream_runs(connection, study_id))


def stream_runs(connection: Connection, study_id: int) -> Iterator[RunRecord]:
    """As :func:`read_runs`, but a run at a time: a study of any size takes the same memory."""
    query = (
        select(
            runs,
            *(column.label(f"trial_{column.name}") for column in _TRIAL_COLUMNS),
            attempts.c.worker,
            attempts.c.device,
            attempts.c.engine,
        )
        .select_from(runs.join(trials).outerjoin(attempts, runs.c.attempt_id == attempts.c.id))
        .where(trials.c.study_id == study_id)
        .order_by(*_plan_order(connection, study_id, runs.c.trial_id), runs.c.seed)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    trial: TrialRecord | None = None
    for row in connection.execute(query):
        if trial is None or trial.id != row.trial_id:
            trial = TrialRecord(row.trial_id, *(getattr(row, f"trial_{column.name}") for column in _TRIAL_COLUMNS))
        yield _run_record(row, trial)


def _run_record(row: Any, trial: TrialRecord) -> RunRecord:
    return RunRecord(
        id=row.id,
        trial=trial,
        seed=row.seed,
        termination=None if row.termination is None else Termination[row.termination],
        reason=row.reason,
        epochs=row.epochs,
        objective=row.objective,
        at_chance=row.at_chance,
        train_loss=row.train_loss,
        val_loss=row.val_loss,
        val_error=row.val_error,
        test_loss=row.test_loss,
        test_error=row.test_error,
        seconds=row.seconds,
        steps_to_target=row.steps_to_target,
        seconds_to_target=row.seconds_to_target,
        peak_memory=row.peak_memory,
        worker=row.worker,
        device=row.device,
        engine=row.engine,
    )


def stream_epochs(connection: Connection, study_id: int) -> Iterator[tuple[Any, ...]]:
    """Every epoch of every run of a study, by trial in the plan's order, seed and epoch.

    A row has the columns of the table of epochs that people read (docs/reports.md), less the study's name.
    """
    query = (
        select(
            *_PLACE,
            epochs.c.epoch,
            epochs.c.train_loss,
            epochs.c.val_loss,
            epochs.c.val_error,
            epochs.c.lr,
            epochs.c.grad_norm,
            epochs.c.seconds,
        )
        .select_from(epochs.join(runs).join(trials))
        .where(trials.c.study_id == study_id)
        .order_by(*_plan_order(connection, study_id, runs.c.trial_id), runs.c.seed, epochs.c.epoch)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    yield from connection.execute(query)


def stream_curvature(connection: Connection, study_id: int) -> Iterator[tuple[Any, ...]]:
    """Every measurement of the loss surface of a study, by trial in the plan's order, seed and epoch.

    A row's last column holds quantity -> number, or list of numbers; None is a number that was not finite.
    """
    query = (
        select(*_PLACE, curvature.c.epoch, curvature.c["values"])
        .select_from(curvature.join(runs).join(trials))
        .where(trials.c.study_id == study_id)
        .order_by(*_plan_order(connection, study_id, runs.c.trial_id), runs.c.seed, curvature.c.epoch)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    yield from connection.execute(query)


def _plan_order(connection: Connection, study_id: int, trial_id: ColumnElement[int]) -> list[ColumnElement[Any]]:
    """What trials are sorted by: their keys, which an index has, unless they were asked in rounds.

    The rounds of several optimizers are written in the order in which they ended; the first ones were in the plan's.
    """
    own = trials.c.study_id == study_id
    if connection.execute(select(trials.c.id).where(own, trials.c.round > 0).limit(1)).first() is None:
        return [trial_id]
    cell = (trials.c.workload, trials.c.optimizer)
    cells = connection.execute(select(*cell).where(own).group_by(*cell).order_by(func.min(trials.c.id))).all()
    places = {tuple(row): place for place, row in enumerate(cells)}
    place = case(
        *(
            (and_(trials.c.workload == workload, trials.c.optimizer == optimizer), number)
            for (workload, optimizer), number in places.items()
        )
    )
    return [place, trials.c.number]


def _trial_record(row: Any) -> TrialRecord:
    return TrialRecord(
        id=row.id,
        optuna_trial_id=row.optuna_trial_id,
        workload=row.workload,
        optimizer=row.optimizer,
        number=row.number,
        origin=row.origin,
        hyperparameters=row.hyperparameters,
        unit=row.unit,
        round=row.round,
    )
