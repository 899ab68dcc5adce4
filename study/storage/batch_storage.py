"""Optuna's storage, with whole batches of trials in one transaction."""

import contextlib
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, json_to_distribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Connection, Row, Table, event, func, select, true
from sqlalchemy.exc import SQLAlchemyError

from study.storage import optuna_rows
from study.storage.engine import configure_sqlite, engine_arguments, parse_url
from study.storage.id_lists import among
from study.storage.interruptions import interruptions_wait
from study.storage.optuna_rows import AskedTrial
from study.storage.optuna_trials import optuna_trials, read_frozen_trials, read_last_values

_studies: Table = models.StudyModel.__table__
_directions: Table = models.StudyDirectionModel.__table__
_params: Table = models.TrialParamModel.__table__

_TOLD_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class ToldTrial:
    """How a trial ended.

    Attributes:
        state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
        values: One number, not NaN, for each objective if it is complete, else empty: a pruned trial gets the value
            that it last reported.
        user_attributes: To add to those that it has; JSON.
    """

    state: TrialState
    values: Sequence[float] = ()
    user_attributes: Mapping[str, Any] = field(default_factory=dict)


class BatchStorage(RDBStorage):
    """Optuna's storage over the same tables, for trials that are asked, reported and told in batches.

    It is an ``RDBStorage``: studies, samplers and dashboards use it as they use that, and another ``RDBStorage`` on the
    same database reads what it wrote. The three methods for batches are one transaction each, of a number of statements
    that does not depend on the number of trials; all trials of a study are read with seven queries. SQLite files are
    in WAL mode, so that readers do not stop a writer, and a writer waits 30 s for another one; connections to
    PostgreSQL that died are replaced.

    *Threads.* It may be shared by threads and by processes with an instance each: batches asked at the same moment get
    different numbers, and what was read never changes by later writes. As with ``RDBStorage``, every thread that used
    Optuna's own methods calls ``remove_session`` at its end.

    *Ownership.* Trials that are asked are ``RUNNING`` and belong to who asked. Finished ones are never changed; of
    trials of one call, all are changed or none.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql+psycopg://USER:PASSWORD@HOST/NAME``; missing tables are made.

    Raises:
        DatabaseUrlError: The URL is of another kind, or a database in memory.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, engine_kwargs=engine_arguments(parse_url(url)))
        self._configure()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """The copy of another process has connections of its own."""
        super().__setstate__(state)
        self._configure()

    def ask_trials(self, study_id: int, asked: Sequence[AskedTrial]) -> list[int]:
        """Create running trials, numbered on in the order of ``asked``; return their ids in that order.

        Raises:
            KeyError: There is no such study.
            ValueError: A trial's parameters are not those of its distributions or not in their ranges, or a
                distribution is of another kind than the study has for that name. Nothing is written.
        """
        for trial in asked:
            _check_params(trial)
        with self._writing() as connection:
            # The lock of Optuna's own new trials: their numbers count on from ours.
            locked = select(_studies.c.study_id).where(_studies.c.study_id == study_id).with_for_update()
            if connection.execute(locked).first() is None:
                raise KeyError(f"no study has the id {study_id}")
            _check_distributions(connection, study_id, asked)
            counted = select(func.count()).select_from(optuna_trials).where(optuna_trials.c.study_id == study_id)
            first_number = int(connection.execute(counted).scalar_one())
            trial_ids = optuna_rows.enqueue_trials(connection, study_id, asked, first_number=first_number)
            optuna_rows.start_trials(connection, trial_ids, keep_steps=0)
        return trial_ids

    def report_trials(self, step: int, values: Mapping[int, float]) -> None:
        """One intermediate value for each trial: trial id -> any float; one of the same step is replaced.

        Raises:
            KeyError: There is no such trial.
            UpdateFinishedTrialError: A trial has already finished. Nothing is written.
        """
        with self._writing() as connection:
            _lock_trials(connection, values)
            optuna_rows.report_trials(connection, step, values)

    def tell_trials(self, told: Mapping[int, ToldTrial]) -> None:
        """Finish running trials: trial id -> how it ended.

        Raises:
            KeyError: There is no such trial.
            UpdateFinishedTrialError: A trial has already finished.
            ValueError: A trial is not running, or its values do not fit its state and study. Nothing is written.
        """
        with self._writing() as connection:
            rows = _lock_trials(connection, told)
            objectives = _count_objectives(connection)
            for row in rows:
                _check_told(row, told[row.trial_id], objectives[row.study_id])
            by_state = {state: [i for i, trial in told.items() if trial.state is state] for state in TrialState}
            complete, pruned = by_state[TrialState.COMPLETE], by_state[TrialState.PRUNED]
            optuna_rows.set_user_attributes(connection, {i: trial.user_attributes for i, trial in told.items()})
            optuna_rows.complete_trials(connection, {i: told[i].values for i in complete}, {})
            single = {row.trial_id for row in rows if objectives[row.study_id] == 1}
            last = read_last_values(connection, single.intersection(pruned))
            optuna_rows.prune_trials(connection, {i: last.get(i, math.nan) for i in pruned}, {})
            optuna_rows.fail_trials(connection, by_state[TrialState.FAIL])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials of a study in the order of their numbers, with seven queries that see one moment.

        Every call makes new trials, so that ``deepcopy`` has nothing to do; they may share distributions.
        """
        del deepcopy
        return self._get_trials(study_id, states, set(), -1)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """As in ``RDBStorage``; the cache that Optuna puts before a storage reads through it what may be new."""
        with self._reading() as connection:
            if connection.execute(select(_studies.c.study_id).where(_studies.c.study_id == study_id)).first() is None:
                raise KeyError(f"no study has the id {study_id}")
            only: ColumnElement[bool] = true()
            if trial_id_greater_than > -1:
                included = among(connection, optuna_trials.c.trial_id, included_trial_ids)
                only &= (optuna_trials.c.trial_id > trial_id_greater_than) | included
            if states is not None:
                only &= optuna_trials.c.state.in_([state for state in TrialState if state in states])
            return read_frozen_trials(connection, study_id, only=only)

    def _configure(self) -> None:
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", configure_sqlite)
            # Those of the constructor are from before.
            self.engine.dispose()
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with interruptions_wait(), _storage_errors(), self.engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Python's driver would begin at the first change, and then fail if what was read is no longer so.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _storage_errors(), self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """What the database refuses is told in Optuna's words, as ``RDBStorage`` does."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StorageInternalError(f"the database failed, nothing of this batch was written: {reason}") from error


def _check_params(trial: AskedTrial) -> None:
    if trial.params.keys() != trial.distributions.keys():
        raise ValueError(
            f"a trial has the parameters {sorted(trial.params)} and distributions of {sorted(trial.distributions)}; "
            "give one distribution for each parameter"
        )
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        if not distribution._contains(distribution.to_internal_repr(value)):
            raise ValueError(f"the parameter {name} = {value!r} is not in its distribution {distribution}")


def _check_distributions(connection: Connection, study_id: int, asked: Sequence[AskedTrial]) -> None:
    """See that each name has distributions of one kind in the whole study, as samplers expect."""
    distinct: dict[tuple[str, int], BaseDistribution] = {
        (name, id(distribution)): distribution for trial in asked for name, distribution in trial.distributions.items()
    }
    first: dict[str, BaseDistribution] = {}
    for name in {name for name, _ in distinct}:
        query = (
            select(_params.c.distribution_json)
            .join_from(_params, optuna_trials)
            .where(optuna_trials.c.study_id == study_id, _params.c.param_name == name)
            .limit(1)
        )
        known = connection.execute(query).scalar_one_or_none()
        if known is not None:
            first[name] = json_to_distribution(known)
    for (name, _), distribution in distinct.items():
        check_distribution_compatibility(first.setdefault(name, distribution), distribution)


def _lock_trials(connection: Connection, trial_ids: Iterable[int]) -> list[Row[*tuple[Any, ...]]]:
    """The rows of trials that nobody else changes until the transaction ends, none of them finished."""
    wanted = set(trial_ids)
    columns = (optuna_trials.c.trial_id, optuna_trials.c.study_id, optuna_trials.c.number, optuna_trials.c.state)
    chosen = among(connection, optuna_trials.c.trial_id, wanted)
    # In one order: two writers of the same trials then wait for each other, and never both.
    query = select(*columns).where(chosen).order_by(optuna_trials.c.trial_id).with_for_update()
    rows = list(connection.execute(query))
    missing = wanted - {row.trial_id for row in rows}
    if missing:
        raise KeyError(f"no trial has the id {min(missing)}")
    for row in rows:
        if row.state.is_finished():
            raise UpdateFinishedTrialError(f"trial {row.number} is {row.state.name}: it can no longer be changed")
    return rows


def _count_objectives(connection: Connection) -> dict[int, int]:
    """Study id -> the number of its directions."""
    query = select(_directions.c.study_id, func.count()).group_by(_directions.c.study_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def _check_told(row: Row[*tuple[Any, ...]], told: ToldTrial, objectives: int) -> None:
    if row.state is not TrialState.RUNNING:
        raise ValueError(f"trial {row.number} is {row.state.name}; only a RUNNING trial can be told")
    if told.state not in _TOLD_STATES:
        raise ValueError(f"trial {row.number} is told {told.state.name}; it can end as COMPLETE, PRUNED or FAIL")
    expected = objectives if told.state is TrialState.COMPLETE else 0
    if len(told.values) != expected:
        raise ValueError(
            f"trial {row.number} is told {told.state.name} with {len(told.values)} values; it takes {expected} in a "
            f"study of {objectives} objectives"
        )
    if any(math.isnan(value) for value in told.values):
        raise ValueError(f"trial {row.number} is told NaN; tell a number, or FAIL")
