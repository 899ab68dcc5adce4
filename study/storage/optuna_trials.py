"""The trials of an Optuna study, read with a fixed number of queries however many there are."""

import datetime as dt
import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import ColumnElement, Connection, Row, Table, select, true

from study.storage.id_lists import among

#: Optuna's table of trials, for conditions on them.
optuna_trials: Table = models.TrialModel.__table__
_params: Table = models.TrialParamModel.__table__
_values: Table = models.TrialValueModel.__table__
_intermediate_values: Table = models.TrialIntermediateValueModel.__table__
_user_attributes: Table = models.TrialUserAttributeModel.__table__
_system_attributes: Table = models.TrialSystemAttributeModel.__table__


def read_frozen_trials(
    connection: Connection, optuna_study_id: int, *, only: ColumnElement[bool] | None = None
) -> list[FrozenTrial]:
    """What ``RDBStorage.get_all_trials`` returns, in the order of numbers; empty if there is no such study.

    Six queries. They see one moment if the transaction does: on PostgreSQL that is ``REPEATABLE READ``.

    Args:
        connection: In a transaction.
        optuna_study_id: The Optuna study.
        only: Which trials, as a condition on :data:`optuna_trials`; all unless given.
    """
    chosen = (optuna_trials.c.study_id == optuna_study_id) & (true() if only is None else only)
    # First: a trial that is finished meanwhile is then seen running with a value, never finished without one.
    rows = connection.execute(select(optuna_trials).where(chosen).order_by(optuna_trials.c.number)).all()
    # The trials of a study share a few distributions.
    to_distribution = functools.cache(json_to_distribution)

    def to_parameter(value: float, text: str) -> tuple[Any, BaseDistribution]:
        distribution = to_distribution(text)
        return distribution.to_external_repr(value), distribution

    to_value = models.TrialValueModel.stored_repr_to_value
    to_intermediate = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    parts = (
        _by_trial(connection, chosen, _values, ("objective", "value", "value_type"), to_value),
        _by_trial(connection, chosen, _params, ("param_name", "param_value", "distribution_json"), to_parameter),
        _by_trial(connection, chosen, _user_attributes, ("key", "value_json"), json.loads),
        _by_trial(connection, chosen, _system_attributes, ("key", "value_json"), json.loads),
        _by_trial(
            connection,
            chosen,
            _intermediate_values,
            ("step", "intermediate_value", "intermediate_value_type"),
            to_intermediate,
        ),
    )
    return [_to_frozen(row, *(part.get(row.trial_id, {}) for part in parts)) for row in rows]


def read_last_values(connection: Connection, trial_ids: Iterable[int]) -> dict[int, float]:
    """The intermediate value of the last step of each trial that reported any."""
    known = among(connection, _intermediate_values.c.trial_id, trial_ids)
    columns = [_intermediate_values.c[name] for name in ("trial_id", "intermediate_value", "intermediate_value_type")]
    rows = connection.execute(select(*columns).where(known).order_by(_intermediate_values.c.step))
    to_value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    return {trial_id: to_value(value, kind) for trial_id, value, kind in rows}


def _by_trial(
    connection: Connection,
    chosen: ColumnElement[bool],
    table: Table,
    names: tuple[str, ...],
    convert: Callable[..., Any],
) -> Mapping[int, dict[Any, Any]]:
    """Trial id -> first column -> what ``convert`` makes of the others, in the order in which they were written."""
    columns = [table.c[name] for name in names]
    (written,) = table.primary_key.columns
    query = select(table.c.trial_id, *columns).join_from(table, optuna_trials).where(chosen).order_by(written)
    found: dict[int, dict[Any, Any]] = defaultdict(dict)
    for trial_id, key, *stored in connection.execute(query):
        found[trial_id][key] = convert(*stored)
    return found


def _to_frozen(
    row: Row[Any],
    values: Mapping[int, float],
    params: Mapping[str, tuple[Any, BaseDistribution]],
    user_attributes: dict[str, Any],
    system_attributes: dict[str, Any],
    intermediate_values: dict[int, float],
) -> FrozenTrial:
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[values[objective] for objective in sorted(values)] or None,
        datetime_start=_to_local(row.datetime_start),
        datetime_complete=_to_local(row.datetime_complete),
        params={name: value for name, (value, _) in params.items()},
        distributions={name: distribution for name, (_, distribution) in params.items()},
        user_attrs=user_attributes,
        system_attrs=system_attributes,
        intermediate_values=intermediate_values,
        trial_id=row.trial_id,
    )


def _to_local(stored: dt.datetime | None) -> dt.datetime | None:
    """Optuna stores naive UTC and gives naive local time."""
    return None if stored is None else stored.replace(tzinfo=dt.UTC).astimezone().replace(tzinfo=None)
