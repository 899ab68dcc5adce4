"""Optuna's side of a study, written a batch at a time into Optuna's own tables.

Optuna's API spends a transaction on every ask, suggest, report and tell. These functions write the same rows for many
trials at once, inside the caller's transaction, so that Optuna's tables and ours never disagree. Everything that
reads Optuna studies (``optuna.load_study``, Optuna Dashboard) finds what it would find had Optuna written it.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

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


def optuna_study_name(study: str, workload: str, optimizer: str) -> str:
    """The name of the Optuna study of one workload and optimizer."""
    return f"{study}/{workload}/{optimizer}"


def optuna_study_exists(connection: Connection, name: str) -> bool:
    """Whether Optuna has a study of that name, ours or anybody's."""
    return connection.execute(select(_studies.c.study_id).where(_studies.c.study_name == name)).first() is not None


def create_optuna_study(connection: Connection, name: str, *, metric: str, user_attributes: Mapping[str, Any]) -> int:
    """Create an Optuna study that minimizes ``metric``; return its id."""
    study_id = connection.execute(insert(_studies).values(study_name=name).returning(_studies.c.study_id)).scalar_one()
    connection.execute(insert(_directions).values(study_id=study_id, direction=StudyDirection.MINIMIZE, objective=0))
    connection.execute(
        insert(_study_system_attributes).values(study_id=study_id, key=_METRIC_NAMES, value_json=json.dumps([metric]))
    )
    rows = [
        {"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in user_attributes.items()
    ]
    if rows:
        connection.execute(insert(_study_user_attributes), rows)
    return int(study_id)


def enqueue_trials(
    connection: Connection,
    optuna_study_id: int,
    *,
    params: Sequence[Mapping[str, float | bool | str]],
    distributions: Mapping[str, BaseDistribution],
    user_attributes: Sequence[Mapping[str, Any]],
) -> list[int]:
    """Create waiting trials, numbered from 0 in the order of ``params``; return their ids in that order.

    Args:
        connection: In a transaction.
        optuna_study_id: An Optuna study without trials.
        params: For each trial, its value on each axis that contains it.
        distributions: For each axis, its distribution.
        user_attributes: For each trial, what Optuna Dashboard shows beside its parameters.
    """
    rows = [
        {"study_id": optuna_study_id, "number": number, "state": TrialState.WAITING} for number in range(len(params))
    ]
    statement = insert(_trials).returning(_trials.c.trial_id, sort_by_parameter_order=True)
    trial_ids = [int(trial_id) for trial_id in connection.execute(statement, rows).scalars()]
    as_json = {name: distribution_to_json(distribution) for name, distribution in distributions.items()}
    param_rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": as_json[name],
        }
        for trial_id, trial_params in zip(trial_ids, params, strict=True)
        for name, value in trial_params.items()
    ]
    if param_rows:
        connection.execute(insert(_params), param_rows)
    _set_user_attributes(connection, dict(zip(trial_ids, user_attributes, strict=True)))
    return trial_ids


def start_trials(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Waiting trials are running from now on; what an earlier attempt reported is forgotten."""
    _set_state(connection, trial_ids, TrialState.RUNNING, datetime_start=_now())
    connection.execute(delete(_intermediate_values).where(_intermediate_values.c.trial_id.in_(trial_ids)))


def release_trials(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Running trials wait again: nobody works on them."""
    _set_state(connection, trial_ids, TrialState.WAITING, datetime_start=None)


def report_trials(connection: Connection, step: int, values: Mapping[int, float]) -> None:
    """One intermediate value for each trial: trial id -> finite value."""
    connection.execute(
        insert(_intermediate_values),
        [
            {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": value,
                "intermediate_value_type": models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE,
            }
            for trial_id, value in values.items()
        ],
    )


def complete_trials(
    connection: Connection, values: Mapping[int, float], user_attributes: Mapping[int, Mapping[str, Any]]
) -> None:
    """Running trials are complete: trial id -> finite value, and attributes to add."""
    connection.execute(
        insert(_values),
        [
            {
                "trial_id": trial_id,
                "objective": 0,
                "value": value,
                "value_type": models.TrialValueModel.TrialValueType.FINITE,
            }
            for trial_id, value in values.items()
        ],
    )
    _set_user_attributes(connection, user_attributes)
    _set_state(connection, list(values), TrialState.COMPLETE, datetime_complete=_now())


def fail_trials(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Running trials have failed: they get no value."""
    _set_state(connection, trial_ids, TrialState.FAIL, datetime_complete=_now())


def _set_user_attributes(connection: Connection, attributes: Mapping[int, Mapping[str, Any]]) -> None:
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for trial_id, trial_attributes in attributes.items()
        for key, value in trial_attributes.items()
    ]
    if rows:
        connection.execute(insert(_trial_user_attributes), rows)


def _set_state(
    connection: Connection, trial_ids: Sequence[int], state: TrialState, **times: dt.datetime | None
) -> None:
    # One statement for many rows of parameters: a list in the statement itself is limited by the database.
    statement = update(_trials).where(_trials.c.trial_id == bindparam("id")).values(state=state, **times)
    if trial_ids:
        connection.execute(statement, [{"id": trial_id} for trial_id in trial_ids])


def _now() -> dt.datetime:
    """Optuna stores naive UTC."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
