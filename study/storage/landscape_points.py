"""Reads what landscapes of a running study are drawn of: means of trials by the database, and some of the runs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Double, case, cast, func, select

from study.axis import Value
from study.storage.id_lists import among
from study.storage.tables import runs, studies, trials
from workers.messages import Termination

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
#: Terminations of runs whose objective counts.
_COUNTED = (Termination.COMPLETED.name, Termination.DIVERGED.name)
_DIVERGED = Termination.DIVERGED.name
#: Columns of runs that a landscape may show.
RUN_COLUMNS = ("objective", "val_error", "val_loss", "test_error", "test_loss", "train_loss", "seconds")


@dataclass(frozen=True, slots=True)
class StudyVersion:
    """A study at a moment: what was read of it holds until one of these changes.

    Attributes:
        id: Its key.
        name: Its name.
        state: As in :class:`study.storage.records.StudyRecord`.
        beat: Transactions of its driver so far.
        spec_hash: Of its spec.
    """

    id: int
    name: str
    state: str
    beat: int
    spec_hash: str


@dataclass(frozen=True, eq=False)
class FinishedTrials:
    """The N finished trials of one optimizer on one workload: those of which every run has an objective.

    Attributes:
        id_N: Their keys.
        number_N: Their numbers, increasing.
        is_default_N: Which of them is the default setting.
        seeds_N: Runs of each.
        diverged_N: How many of them diverged.
        mean_N: Mean objective over seeds, as the database computes it: good to about 15 digits.
    """

    id_N: Integers
    number_N: Integers
    is_default_N: npt.NDArray[np.bool_]
    seeds_N: Integers
    diverged_N: Integers
    mean_N: Floats


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a trial is.

    Attributes:
        hyperparameters: Its values; an axis that is not active in it may have one, which it was not varied over.
        unit: Its place on each axis; None where the axis is not active, or has no place for the value.
    """

    hyperparameters: Mapping[str, Value]
    unit: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class PointRuns:
    """The runs of one finished trial, by seed.

    Attributes:
        diverged: Whether each diverged.
        values: The wanted column of each; None where it has no such number.
    """

    diverged: tuple[bool, ...]
    values: tuple[float | None, ...]


def find_version(connection: Connection, name: str) -> StudyVersion | None:
    """The study called ``name`` at this moment; None if there is none."""
    columns = (studies.c.id, studies.c.name, studies.c.state, studies.c.beat, studies.c.spec_hash)
    row = connection.execute(select(*columns).where(studies.c.name == name)).one_or_none()
    return None if row is None else StudyVersion(*row)


def read_finished_trials(connection: Connection, study_id: int, workload: str) -> dict[str, FinishedTrials]:
    """Optimizer -> its finished trials on ``workload``, by one query; those without any are missing."""
    counted = runs.c.termination.in_(_COUNTED) & runs.c.objective.is_not(None)
    query = (
        select(
            trials.c.optimizer,
            trials.c.id,
            trials.c.number,
            trials.c.origin == "default",
            func.count(),
            func.count(case((runs.c.termination == _DIVERGED, 1))),
            func.avg(runs.c.objective),
        )
        .select_from(trials.join(runs))
        .where(trials.c.study_id == study_id, trials.c.workload == workload)
        # The order of the index by which trials are found: nothing is sorted.
        .group_by(trials.c.optimizer, trials.c.number, trials.c.id)
        .having(func.count() == func.count(case((counted, 1))))
        .order_by(trials.c.optimizer, trials.c.number, trials.c.id)
    )
    rows = connection.execute(query).all()
    if not rows:
        return {}
    optimizers, *columns = zip(*rows, strict=True)
    kinds: tuple[type, ...] = (np.int64, np.int64, bool, np.int64, np.int64, float)
    arrays: list[npt.NDArray[Any]] = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    found, start = {}, 0
    for name, part in itertools.groupby(optimizers):
        stop = start + len(list(part))
        found[name] = FinishedTrials(*(array[start:stop] for array in arrays))
        start = stop
    return found


def read_places(connection: Connection, trial_ids: Integers, axes: Sequence[str]) -> Floats:
    """Places in the unit cube of N trials on A axes, of shape (N, A); NaN where an axis is not active."""
    places = [cast(trials.c.unit[axis].as_string(), Double) for axis in axes]
    query = select(trials.c.id, *places).where(among(connection, trials.c.id, trial_ids.tolist()))
    found = {row[0]: row[1:] for row in connection.execute(query)}
    missing = (None,) * len(axes)
    return np.array([found.get(trial_id, missing) for trial_id in trial_ids.tolist()], float).reshape(-1, len(axes))


def read_settings(connection: Connection, trial_ids: Sequence[int]) -> dict[int, Setting]:
    """Trial key -> its hyperparameters and its places."""
    query = select(trials.c.id, trials.c.hyperparameters, trials.c.unit)
    chosen = connection.execute(query.where(among(connection, trials.c.id, trial_ids)))
    return {row.id: Setting(row.hyperparameters, row.unit) for row in chosen}


def read_point_runs(connection: Connection, trial_ids: Sequence[int], column: str) -> dict[int, PointRuns]:
    """Trial key -> its runs.

    Args:
        connection: To the database.
        trial_ids: Keys of finished trials.
        column: One of :data:`RUN_COLUMNS`.
    """
    query = (
        select(runs.c.trial_id, runs.c.termination == _DIVERGED, runs.c[column])
        .where(among(connection, runs.c.trial_id, trial_ids))
        .order_by(runs.c.trial_id, runs.c.seed)
    )
    found = {}
    for trial_id, part in itertools.groupby(connection.execute(query), key=lambda row: row[0]):
        _, diverged, values = zip(*part, strict=True)
        found[trial_id] = PointRuns(tuple(map(bool, diverged)), values)
    return found


def find_chance(connection: Connection, study_id: int, workload: str) -> float | None:
    """Chance level of a workload, which is the objective of runs that diverged; None while none has."""
    query = (
        select(runs.c.objective)
        .join(trials)
        .where(trials.c.study_id == study_id, trials.c.workload == workload)
        .where(runs.c.termination == _DIVERGED, runs.c.objective.is_not(None))
        .order_by(runs.c.trial_id, runs.c.seed)
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()
