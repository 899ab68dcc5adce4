"""Optuna's side of a study, written a batch at a time into Optuna's own tables.

Optuna's API spends a transaction on every ask, suggest, report and tell. These functions write the same rows for many
trials at once, inside the caller's transaction, so that Optuna's tables and ours never disagree. Everything that
reads Optuna studies (``optuna.load_study``, Optuna Dashboard) finds what it would find had Optuna written it, with one
exception: a waiting trial already has its parameters, where Optuna's ``enqueue_trial`` keeps them in a system
attribute until a worker suggests them again. Optuna's ``ask`` and ``suggest`` give such a trial and its values too.
"""

import dataclasses
import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, or_, select, update

from study.storage.bulk import insert_returning, insert_rows, upsert_rows
from study.storage.id_lists import among

# Where ``optuna.Study.set_metric_names`` keeps the names that Optuna Dashboard shows.
_METRIC_NAMES = "study:metric_names"

_studies: Table = models.StudyModel.__table__
_directions: Table = models.StudyDirectionModel.__table__
_study_user_attributes: Table = models.StudyUserAttributeModel.__table__
_study_system_attributes: Table = models.StudySystemAttributeModel.__table__
_trials: Table = models.TrialModel.__table__
_params: Table = models.TrialParamModel.__table__
_values: Table = models.TrialValueModel.__table__
_intermediate_values: Table = models.TrialIntermediateValueModel.__table__
_trial_user_attributes: Table = models.TrialUserAttributeModel.__table__
_trial_system_attributes: Table = models.TrialSystemAttributeModel.__table__

#: A parameter as users write it.
Value = float | bool | str


@dataclasses.dataclass(frozen=True)
class AskedTrial:
    """A trial that somebody is going to run.

    Attributes:
        params: Its value on each axis that it has, as users write them.
        distributions: The distribution of exactly those axes: trials of one Optuna study may have different ones.
        user_attributes: What Optuna Dashboard shows beside its parameters; JSON.
        system_attributes: What samplers and pruners keep with a trial; JSON.
    """

    params: Mapping[str, Value]
    distributions: Mapping[str, BaseDistribution]
    user_attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    system_attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def optuna_study_name(study: str, workload: str, optimizer: str) -> str:
    """The name of the Optuna study of one workload and optimizer."""
    return f"{study}/{workload}/{optimizer}"


def find_optuna_study(connection: Connection, name: str) -> int | None:
    """The id of the Optuna study of that name, ours or anybody's; None if there is none."""
    return connection.execute(select(_studies.c.study_id).where(_studies.c.study_name == name)).scalar_one_or_none()


def find_optuna_studies(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Name -> id of the Optuna studies of these names, by one query; those that are not there are left out."""
    query = select(_studies.c.study_name, _studies.c.study_id).where(_studies.c.study_name.in_(names))
    return {row.study_name: int(row.study_id) for row in connection.execute(query)}


def create_optuna_study(
    connection: Connection, name: str, *, metrics: Sequence[str], user_attributes: Mapping[str, Any]
) -> int:
    """Create an Optuna study that minimizes each of ``metrics``; return its id."""
    study_id = connection.execute(insert(_studies).values(study_name=name).returning(_studies.c.study_id)).scalar_one()
    connection.execute(
        insert(_directions),
        [
            {"study_id": study_id, "direction": StudyDirection.MINIMIZE, "objective": objective}
            for objective in range(len(metrics))
        ],
    )
    connection.execute(
        insert(_study_system_attributes).values(
            study_id=study_id, key=_METRIC_NAMES, value_json=json.dumps(list(metrics))
        )
    )
    rows = [
        {"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in user_attributes.items()
    ]
    if rows:
        connection.execute(insert(_study_user_attributes), rows)
    return int(study_id)


def lock_optuna_study(connection: Connection, optuna_study_id: int) -> None:
    """Nobody else who locks it changes attributes of an Optuna study until the transaction ends."""
    connection.execute(select(_studies.c.study_id).where(_studies.c.study_id == optuna_study_id).with_for_update())


def read_study_attributes(connection: Connection, optuna_study_id: int, prefixes: Sequence[str]) -> dict[str, Any]:
    """The system attributes of an Optuna study whose keys begin with one of ``prefixes``."""
    query = select(_study_system_attributes.c.key, _study_system_attributes.c.value_json)
    rows = connection.execute(query.where(_begins(optuna_study_id, prefixes)))
    return {row.key: json.loads(row.value_json) for row in rows}


def replace_study_attributes(
    connection: Connection, optuna_study_id: int, attributes: Mapping[str, Any], *, prefixes: Sequence[str]
) -> None:
    """Put ``attributes`` in the place of those system attributes whose keys begin with one of ``prefixes``.

    Args:
        connection: In a transaction.
        optuna_study_id: The Optuna study.
        attributes: Key -> JSON; all keys begin with one of ``prefixes``.
        prefixes: Of the keys that are replaced; all others stay.
    """
    connection.execute(delete(_study_system_attributes).where(_begins(optuna_study_id, prefixes)))
    rows = [
        {"study_id": optuna_study_id, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()
    ]
    insert_rows(connection, _study_system_attributes, rows)


def _begins(optuna_study_id: int, prefixes: Sequence[str]) -> ColumnElement[bool]:
    key = _study_system_attributes.c.key
    known = or_(*(key.startswith(prefix, autoescape=True) for prefix in prefixes))
    return and_(_study_system_attributes.c.study_id == optuna_study_id, known)


def enqueue_trials(
    connection: Connection, optuna_study_id: int, asked: Sequence[AskedTrial], *, first_number: int
) -> list[int]:
    """Create waiting trials, numbered from ``first_number`` in the order of ``asked``; return their ids in that order.

    Args:
        connection: In a transaction.
        optuna_study_id: An Optuna study that has ``first_number`` trials.
        asked: The trials.
        first_number: The number of the first of them.
    """
    if not asked:
        return []
    rows = [
        {"study_id": optuna_study_id, "number": number, "state": TrialState.WAITING}
        for number in range(first_number, first_number + len(asked))
    ]
    # Sorted here: to give ids in the order of its parameters, SQLite would need a statement for every row.
    inserted = insert_returning(connection, _trials, rows, (_trials.c.number, _trials.c.trial_id))
    trial_ids = [int(trial_id) for _, trial_id in sorted(inserted)]
    insert_rows(connection, _params, _param_rows(trial_ids, asked))
    _set_attributes(
        connection, _trial_user_attributes, dict(zip(trial_ids, (t.user_attributes for t in asked), strict=True))
    )
    _set_attributes(
        connection, _trial_system_attributes, dict(zip(trial_ids, (t.system_attributes for t in asked), strict=True))
    )
    return trial_ids


def start_trials(connection: Connection, trial_ids: Sequence[int], *, keep_steps: int) -> None:
    """Waiting trials are running from now on; what earlier attempts reported after ``keep_steps`` is forgotten.

    A trial that goes on from a checkpoint starts now too: Optuna's own start of a waiting trial sets its time again.
    """
    _set_state(connection, trial_ids, TrialState.RUNNING, datetime_start=_now())
    known = among(connection, _intermediate_values.c.trial_id, trial_ids)
    connection.execute(delete(_intermediate_values).where(known, _intermediate_values.c.step > keep_steps))


def release_trials(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Running trials wait again: nobody works on them. What they reported stays until they are started again."""
    _set_state(connection, trial_ids, TrialState.WAITING, datetime_start=None)


def pause_trials(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Running trials wait for their next stage; they keep the time at which they started."""
    _set_state(connection, trial_ids, TrialState.WAITING)


def report_trials(connection: Connection, step: int, values: Mapping[int, float]) -> None:
    """One intermediate value for each trial: trial id -> any float; one of the same step is replaced."""
    report_steps(connection, [(step, values)])


def report_steps(connection: Connection, reports: Iterable[tuple[int, Mapping[int, float]]]) -> None:
    """As :func:`report_trials`, for several steps, each trial and step once."""
    to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    stored = [(trial_id, step, *to_stored(value)) for step, values in reports for trial_id, value in values.items()]
    rows = [
        {"trial_id": trial_id, "step": step, "intermediate_value": value, "intermediate_value_type": kind}
        for trial_id, step, value, kind in stored
    ]
    upsert_rows(connection, _intermediate_values, rows, keys=("trial_id", "step"))


def complete_trials(
    connection: Connection,
    values: Mapping[int, Sequence[float]],
    user_attributes: Mapping[int, Mapping[str, Any]],
) -> None:
    """Running trials are complete: trial id -> a number other than NaN for each objective, and attributes to add."""
    _finish_trials(connection, values, user_attributes, TrialState.COMPLETE)


def prune_trials(
    connection: Connection, values: Mapping[int, float], user_attributes: Mapping[int, Mapping[str, Any]]
) -> None:
    """Running trials are pruned: trial id -> the value last reported, which Optuna's ``tell`` takes as their value.

    NaN, which Optuna has no place for in a value, leaves a trial without one, as ``tell`` does.
    """
    known = {trial_id: [] if math.isnan(value) else [value] for trial_id, value in values.items()}
    _finish_trials(connection, known, user_attributes, TrialState.PRUNED)


def set_user_attributes(connection: Connection, attributes: Mapping[int, Mapping[str, Any]]) -> None:
    """Add to what Optuna Dashboard shows beside parameters, or replace it: trial id -> attributes."""
    _set_attributes(connection, _trial_user_attributes, attributes)


def fail_trials(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Running trials have failed: they get no value."""
    _set_state(connection, trial_ids, TrialState.FAIL, datetime_complete=_now())


def _finish_trials(
    connection: Connection,
    values: Mapping[int, Sequence[float]],
    user_attributes: Mapping[int, Mapping[str, Any]],
    state: TrialState,
) -> None:
    to_stored = models.TrialValueModel.value_to_stored_repr
    stored = {
        (trial_id, objective): to_stored(value)
        for trial_id, trial_values in values.items()
        for objective, value in enumerate(trial_values)
    }
    rows = [
        {"trial_id": trial_id, "objective": objective, "value": value, "value_type": kind}
        for (trial_id, objective), (value, kind) in stored.items()
    ]
    upsert_rows(connection, _values, rows, keys=("trial_id", "objective"))
    set_user_attributes(connection, user_attributes)
    # Optuna wants a start of every finished trial: one that is pruned after an interruption has lost its own.
    started = func.coalesce(_trials.c.datetime_start, _now())
    _set_state(connection, list(values), state, datetime_start=started, datetime_complete=_now())


def _param_rows(trial_ids: Sequence[int], asked: Sequence[AskedTrial]) -> list[dict[str, Any]]:
    # Trials usually share their distributions: each is written as JSON once.
    as_json: dict[int, str] = {}
    for trial in asked:
        for distribution in trial.distributions.values():
            if id(distribution) not in as_json:
                as_json[id(distribution)] = distribution_to_json(distribution)
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": as_json[id(trial.distributions[name])],
        }
        for trial_id, trial in zip(trial_ids, asked, strict=True)
        for name, value in trial.params.items()
    ]


def _set_attributes(connection: Connection, table: Table, attributes: Mapping[int, Mapping[str, Any]]) -> None:
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for trial_id, trial_attributes in attributes.items()
        for key, value in trial_attributes.items()
    ]
    upsert_rows(connection, table, rows, keys=("trial_id", "key"))


def _set_state(connection: Connection, trial_ids: Sequence[int], state: TrialState, **times: Any) -> None:
    if not trial_ids:
        return
    chosen = among(connection, _trials.c.trial_id, trial_ids)
    connection.execute(update(_trials).where(chosen).values(state=state, **times))


def _now() -> dt.datetime:
    """Optuna stores naive UTC."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
