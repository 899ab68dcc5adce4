"""Reads learning curves of a few trials, summed up over seeds by the database, while the study may run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, and_, case, exists, func, or_, select

from study.axis import Value
from study.storage.id_lists import among
from study.storage.tables import epochs, runs, trials
from workers.messages import Termination

CurveMetric = Literal["val_error", "val_loss", "train_loss", "grad_norm", "lr"]
Choice = Literal["best", "default", "latest"]
#: Terminations of runs whose objective counts.
_COUNTED = (Termination.COMPLETED.name, Termination.DIVERGED.name)
_OBJECTIVE = case((runs.c.termination.in_(_COUNTED), runs.c.objective))


@dataclass(frozen=True, slots=True)
class CurveTrial:
    """A trial whose curve is shown.

    Attributes:
        id: Its key.
        optimizer: Name of its optimizer.
        number: Its number.
        hyperparameters: Its values.
        objective: Mean over seeds; None until all have ended, and where one failed or was pruned.
        seeds: Its runs, ended or not.
        diverged_at: The last epoch of each run that diverged, increasing.
    """

    id: int
    optimizer: str
    number: int
    hyperparameters: dict[str, Value]
    objective: float | None
    seeds: int
    diverged_at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One epoch of a trial, over the seeds that have a finite number there; None where none has."""

    epoch: int
    mean: float | None
    low: float | None
    high: float | None
    count: int


def choose_trials(
    connection: Connection, study_id: int, workload: str, optimizers: Sequence[str], choice: Choice, count: int
) -> tuple[list[int], int]:
    """Keys of at most ``count`` trials of each optimizer, and from how many all of them were chosen, by one query.

    Args:
        connection: To the database.
        study_id: Of the study.
        workload: Name of the workload.
        optimizers: Their names.
        choice: ``best``: lowest mean objective, of those that have finished. ``default``: the default setting, ended
            or not. ``latest``: the newest in training, then the newest of the others that have an epoch.
        count: At least 1.
    """
    own = and_(
        trials.c.study_id == study_id, trials.c.workload == workload, trials.c.optimizer.in_(sorted(set(optimizers)))
    )
    able = _ABLE[choice](own).subquery()
    place = func.row_number().over(partition_by=able.c.optimizer, order_by=(able.c.rank, able.c.turn))
    of_all = func.count().over()
    placed = select(able.c.id, place.label("place"), of_all.label("of_all")).subquery()
    rows = connection.execute(select(placed.c.id, placed.c.of_all).where(placed.c.place <= count)).all()
    return [row.id for row in rows], rows[0].of_all if rows else 0


def _able_best(own: Any) -> Select[Any]:
    return (
        select(trials.c.id, trials.c.optimizer, func.avg(_OBJECTIVE).label("rank"), trials.c.number.label("turn"))
        .join_from(trials, runs)
        .where(own)
        .group_by(trials.c.id)
        .having(func.count() == func.count(_OBJECTIVE))
    )


def _able_default(own: Any) -> Select[Any]:
    rank = trials.c.number.label("rank")
    return select(trials.c.id, trials.c.optimizer, rank, rank.label("turn")).where(own, trials.c.origin == "default")


def _able_latest(own: Any) -> Select[Any]:
    trains = and_(runs.c.termination.is_(None), exists().where(epochs.c.run_id == runs.c.id))
    return (
        select(
            trials.c.id,
            trials.c.optimizer,
            func.min(case((trains, 0), else_=1)).label("rank"),
            (-trials.c.number).label("turn"),
        )
        .join_from(trials, runs)
        .where(own)
        .group_by(trials.c.id)
        .having(func.max(case((or_(runs.c.epochs > 0, trains), 1), else_=0)) == 1)
    )


#: Trials that a choice has, each with ``rank`` and ``turn``, by which they are sorted.
_ABLE = {"best": _able_best, "default": _able_default, "latest": _able_latest}


def find_trials(
    connection: Connection, study_id: int, workload: str, optimizer: str, numbers: Sequence[int]
) -> dict[int, int]:
    """Number -> key, of those of ``numbers`` that are trials of the optimizer."""
    query = select(trials.c.number, trials.c.id).where(
        trials.c.study_id == study_id,
        trials.c.workload == workload,
        trials.c.optimizer == optimizer,
        trials.c.number.in_(sorted(set(numbers))),
    )
    return {row.number: row.id for row in connection.execute(query)}


def read_curve_trials(connection: Connection, trial_ids: Sequence[int]) -> list[CurveTrial]:
    """Trials by their keys, in no certain order."""
    known = among(connection, runs.c.trial_id, trial_ids)
    fallen = select(runs.c.trial_id, runs.c.epochs).where(known, runs.c.termination == Termination.DIVERGED.name)
    diverged: defaultdict[int, list[int]] = defaultdict(list)
    for trial_id, epoch in connection.execute(fallen):
        diverged[trial_id].append(epoch)
    mean = case((func.count() == func.count(_OBJECTIVE), func.avg(_OBJECTIVE)))
    per_trial = select(runs.c.trial_id, mean.label("mean"), func.count().label("seeds")).where(known)
    summed = per_trial.group_by(runs.c.trial_id).subquery()
    columns = (
        trials.c.id,
        trials.c.optimizer,
        trials.c.number,
        trials.c.hyperparameters,
        summed.c.mean,
        summed.c.seeds,
    )
    query = select(*columns).join_from(trials, summed, summed.c.trial_id == trials.c.id)
    return [CurveTrial(*row, tuple(sorted(diverged[row.id]))) for row in connection.execute(query)]


def read_epoch_ranges(connection: Connection, trial_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Trial key -> the first and the last epoch of any of its runs; trials without an epoch are missing."""
    query = (
        select(runs.c.trial_id, func.min(epochs.c.epoch), func.max(epochs.c.epoch))
        .join_from(runs, epochs)
        .where(among(connection, runs.c.trial_id, trial_ids))
        .group_by(runs.c.trial_id)
    )
    return {trial_id: (first, last) for trial_id, first, last in connection.execute(query)}


def read_curve_points(
    connection: Connection, trial_ids: Sequence[int], metric: CurveMetric, wanted: Sequence[int]
) -> dict[int, list[CurvePoint]]:
    """Trial key -> its epochs among ``wanted``, increasing."""
    column = epochs.c[metric]
    query = (
        select(
            runs.c.trial_id, epochs.c.epoch, func.avg(column), func.min(column), func.max(column), func.count(column)
        )
        .join_from(runs, epochs)
        .where(among(connection, runs.c.trial_id, trial_ids), among(connection, epochs.c.epoch, wanted))
        .group_by(runs.c.trial_id, epochs.c.epoch)
        .order_by(runs.c.trial_id, epochs.c.epoch)
    )
    found: defaultdict[int, list[CurvePoint]] = defaultdict(list)
    for trial_id, *point in connection.execute(query):
        found[trial_id].append(CurvePoint(*point))
    return dict(found)
