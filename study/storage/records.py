"""What the database says, as frozen records: a fixed number of queries whatever the number of trials."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from study.axis import Value
from study.errors import DatabaseError, UnknownStudyError
from study.spec import STORED, StudySpec
from study.storage.tables import attempts, curvature, environments, epochs, plans, runs, studies, trials
from workers.messages import EnginePlan, Termination

#: A trial with a run that ended like this has no result and never will.
FAILURES = (Termination.FAILED, Termination.WORKER_LOST, Termination.OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study.

    Attributes:
        id: Its key.
        name: Its name.
        spec: Its spec, complete with defaults.
        state: ``planned``, ``running``, ``interrupted`` or ``completed``.
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


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far one optimizer of a study is on one workload, counted by the database."""

    study: str
    state: str
    created_at: dt.datetime
    workload: str
    optimizer: str
    runs: int
    ended: int
    diverged: int
    failed: int
    best_objective: float | None


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
        names = connection.execute(select(studies.c.name).order_by(studies.c.id)).scalars().all()
        known = f"there are {', '.join(names)}" if names else "it holds none; run one with `adai-study run SPEC`"
        raise UnknownStudyError(f"no study is called {name!r} in this database; {known}")
    try:
        spec = StudySpec.model_validate(row.spec, context=STORED)
    except ValueError as error:
        raise DatabaseError(f"the stored spec of study {name!r} cannot be read by this version: {error}") from error
    return StudyRecord(row.id, row.name, spec, row.state, row.created_at, row.finished_at, row.details)


def find_spec_hash(connection: Connection, name: str) -> str | None:
    """The hash of the spec of the study called ``name``; None if there is no such study."""
    return connection.execute(select(studies.c.spec_hash).where(studies.c.name == name)).scalar_one_or_none()


def read_progress(connection: Connection, name: str | None = None) -> list[StudyProgress]:
    """Progress of every study, or of one, by workload and optimizer, in their order of creation."""
    # A trial's value is the mean over its seeds, and only counts when all of them have trained their whole budget.
    objective = case((runs.c.termination != Termination.PRUNED.name, runs.c.objective))
    per_trial = (
        select(
            runs.c.trial_id,
            func.count().label("runs"),
            func.count(runs.c.termination).label("ended"),
            _count(Termination.DIVERGED).label("diverged"),
            _count(*FAILURES).label("failed"),
            case((func.count(objective) == func.count(), func.avg(objective))).label("value"),
        )
        .group_by(runs.c.trial_id)
        .subquery()
    )
    query = (
        select(
            studies.c.name,
            studies.c.state,
            studies.c.created_at,
            trials.c.workload,
            trials.c.optimizer,
            func.sum(per_trial.c.runs),
            func.sum(per_trial.c.ended),
            func.sum(per_trial.c.diverged),
            func.sum(per_trial.c.failed),
            func.min(per_trial.c.value),
        )
        .select_from(studies.join(trials).join(per_trial, per_trial.c.trial_id == trials.c.id))
        .group_by(
            studies.c.id,
            studies.c.name,
            studies.c.state,
            studies.c.created_at,
            trials.c.workload,
            trials.c.optimizer,
        )
        .order_by(studies.c.id, func.min(trials.c.id))
    )
    if name is not None:
        query = query.where(studies.c.name == name)
    return [
        StudyProgress(*row[:5], int(row[5]), int(row[6]), int(row[7]), int(row[8]), row[9])
        for row in connection.execute(query)
    ]


def read_pending_trials(connection: Connection, study_id: int) -> list[TrialRecord]:
    """The trials of a study whose runs have not all ended, in the plan's order."""
    pending = select(runs.c.trial_id).where(runs.c.termination.is_(None))
    query = select(trials).where(trials.c.study_id == study_id, trials.c.id.in_(pending)).order_by(trials.c.id)
    return [_trial_record(row) for row in connection.execute(query)]


def read_trials(connection: Connection, study_id: int) -> list[TrialRecord]:
    """All trials of a study, ended or not, in the plan's order."""
    query = select(trials).where(trials.c.study_id == study_id).order_by(trials.c.id)
    return [_trial_record(row) for row in connection.execute(query)]


def read_run_ids(connection: Connection, study_id: int) -> dict[tuple[int, int], int]:
    """(trial id, seed index) -> run id, for a whole study."""
    query = select(runs.c.id, runs.c.trial_id, runs.c.seed).join(trials).where(trials.c.study_id == study_id)
    return {(row.trial_id, row.seed): row.id for row in connection.execute(query)}


def read_runs(connection: Connection, study_id: int) -> list[RunRecord]:
    """All runs of a study, ended or not, by trial in the plan's order, then seed."""
    trial_of = {
        row.id: _trial_record(row) for row in connection.execute(select(trials).where(trials.c.study_id == study_id))
    }
    query = (
        select(runs, attempts.c.worker, attempts.c.device, attempts.c.engine)
        .select_from(runs.join(trials).outerjoin(attempts, runs.c.attempt_id == attempts.c.id))
        .where(trials.c.study_id == study_id)
        .order_by(runs.c.trial_id, runs.c.seed)
    )
    return [
        RunRecord(
            id=row.id,
            trial=trial_of[row.trial_id],
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
        for row in connection.execute(query)
    ]


def read_epochs(connection: Connection, study_id: int) -> Iterator[dict[str, Any]]:
    """Every epoch of every run of a study, as flat rows, by trial, seed and epoch."""
    query: Select[Any] = (
        select(
            trials.c.workload,
            trials.c.optimizer,
            trials.c.number.label("trial"),
            runs.c.seed,
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
        .order_by(trials.c.id, runs.c.seed, epochs.c.epoch)
    )
    for row in connection.execute(query).mappings():
        yield dict(row)


def read_curvature(connection: Connection, study_id: int) -> Iterator[dict[str, Any]]:
    """Every measurement of the loss surface of a study, as flat rows, by trial, seed and epoch.

    The key ``values`` holds quantity -> number, or list of numbers; None is a number that was not finite.
    """
    query: Select[Any] = (
        select(
            trials.c.workload,
            trials.c.optimizer,
            trials.c.number.label("trial"),
            runs.c.seed,
            curvature.c.epoch,
            curvature.c["values"],
        )
        .select_from(curvature.join(runs).join(trials))
        .where(trials.c.study_id == study_id)
        .order_by(trials.c.id, runs.c.seed, curvature.c.epoch)
    )
    for row in connection.execute(query).mappings():
        yield dict(row)


def read_plans(connection: Connection, study_id: int) -> dict[str, EnginePlan]:
    """Workload -> how it was planned to be trained when the study was last driven."""
    query = select(plans).where(plans.c.study_id == study_id).order_by(plans.c.id)
    return {row.workload: EnginePlan(row.engine, row.max_rows, row.reason) for row in connection.execute(query)}


def read_failures(connection: Connection, study_id: int) -> list[tuple[str, str, str, str]]:
    """(workload, optimizer, termination, error) of each attempt of a study that brought no result for a reason."""
    query = (
        select(attempts.c.workload, attempts.c.optimizer, attempts.c.termination, attempts.c.error)
        .where(
            attempts.c.study_id == study_id,
            attempts.c.termination.in_([termination.name for termination in FAILURES]),
        )
        .order_by(attempts.c.id)
    )
    return [(row.workload, row.optimizer, row.termination, row.error) for row in connection.execute(query)]


def _count(*terminations: Termination) -> Any:
    names = [termination.name for termination in terminations]
    return func.sum(case((runs.c.termination.in_(names), 1), else_=0))


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
    )
