"""Runs and epochs of a study, a page at a time, by trial, seed and epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from study.storage.id_lists import among
from study.storage.tables import attempts, epochs, runs, trials
from study.storage.trial_list import TrialFilter, find_trial_ids

#: Trials whose epochs are looked up at once, at first: later ones twice as many, for trials may have none.
_TRIALS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run and where it belongs; losses that were not finite are None, and so is everything before it ended."""

    trial_id: int
    workload: str
    optimizer: str
    trial: int
    seed: int
    termination: str | None
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
    attempt_id: int | None


@dataclass(frozen=True, slots=True)
class EpochRow:
    """An epoch of a run, and where it belongs."""

    trial_id: int
    workload: str
    optimizer: str
    trial: int
    seed: int
    epoch: int
    train_loss: float | None
    val_loss: float | None
    val_error: float | None
    lr: float
    grad_norm: float | None
    seconds: float


def list_runs(
    connection: Connection,
    study_id: int,
    chosen: TrialFilter,
    *,
    trial: int | None = None,
    after: tuple[int, int] = (0, -1),
    limit: int,
) -> list[RunRow]:
    """Runs of a study in the order in which their trials were written, ended or not.

    Args:
        connection: To the database.
        study_id: Of which study.
        chosen: Of which workload and optimizer.
        trial: Of the trials with this number only.
        after: Key of the trial and seed of the last run before these.
        limit: The most.
    """
    # Every trial has a run: so many trials suffice.
    trial_ids = find_trial_ids(connection, study_id, chosen, number=trial, first=after[0])[: limit + 1]
    beyond = or_(runs.c.trial_id > after[0], and_(runs.c.trial_id == after[0], runs.c.seed > after[1]))
    query = _select_runs().where(among(connection, runs.c.trial_id, trial_ids), beyond)
    rows = connection.execute(query.order_by(runs.c.trial_id, runs.c.seed).limit(limit))
    return [RunRow(*row) for row in rows]


def read_runs_of(connection: Connection, trial_id: int) -> list[RunRow]:
    """The runs of one trial, by seed."""
    query = _select_runs().where(runs.c.trial_id == trial_id).order_by(runs.c.seed)
    return [RunRow(*row) for row in connection.execute(query)]


def list_epochs(
    connection: Connection,
    study_id: int,
    chosen: TrialFilter,
    *,
    trial: int | None = None,
    seed: int | None = None,
    after: tuple[int, int, int] = (0, -1, -1),
    limit: int,
) -> list[EpochRow]:
    """Epochs of a study in the order in which their trials were written, then by seed and epoch.

    Args:
        connection: To the database.
        study_id: Of which study.
        chosen: Of which workload and optimizer.
        trial: Of the trials with this number only.
        seed: Of the runs with this seed only.
        after: Key of the trial, seed and epoch of the last one before these.
        limit: The most.
    """
    trial_ids = find_trial_ids(connection, study_id, chosen, number=trial, first=after[0])
    conditions = [_lies_after(after)] if seed is None else [_lies_after(after), runs.c.seed == seed]
    found: list[EpochRow] = []
    start, count = 0, _TRIALS_AT_ONCE
    while start < len(trial_ids) and len(found) < limit:
        found += _read_epochs(connection, trial_ids[start : start + count], conditions, limit - len(found))
        start, count = start + count, 2 * count
    return found


def _read_epochs(
    connection: Connection, trial_ids: Sequence[int], conditions: Sequence[ColumnElement[bool]], limit: int
) -> list[EpochRow]:
    query = (
        select(
            trials.c.id,
            trials.c.workload,
            trials.c.optimizer,
            trials.c.number,
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
        .where(among(connection, trials.c.id, trial_ids), *conditions)
        .order_by(trials.c.id, runs.c.seed, epochs.c.epoch)
        .limit(limit)
    )
    rows: Iterable[Any] = connection.execute(query)
    return [EpochRow(*row) for row in rows]


def _lies_after(key: tuple[int, int, int]) -> ColumnElement[bool]:
    trial_id, seed, epoch = key
    later_seed = or_(runs.c.seed > seed, and_(runs.c.seed == seed, epochs.c.epoch > epoch))
    return or_(trials.c.id > trial_id, and_(trials.c.id == trial_id, later_seed))


def _select_runs() -> Select[Any]:
    place = (trials.c.id, trials.c.workload, trials.c.optimizer, trials.c.number)
    own = [column for column in runs.c if column.name not in ("id", "trial_id", "attempt_id")]
    by_name = {column.name: column for column in (*own, attempts.c.worker, attempts.c.device, attempts.c.engine)}
    # In the order of the fields, whatever the order of the columns.
    named = [by_name[name] for name in list(RunRow.__dataclass_fields__)[4:-1]]
    return select(*place, *named, runs.c.attempt_id).select_from(
        runs.join(trials).outerjoin(attempts, runs.c.attempt_id == attempts.c.id)
    )
