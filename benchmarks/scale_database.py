"""A large study that never ran: every row is made up by arithmetic on ids, so that every database gets the same.

The plan and Optuna's trials are written by the program itself. What training would have added is inserted by one
statement a table, epochs in the order in which batches of workers would have written them.
"""

import datetime as dt
import json
from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, Integer, Subquery, cast, insert, select

from study.creation import create_study
from study.spec_file import parse_spec
from study.storage.tables import attempts, curvature, epochs, runs, trials
from workers.messages import EnginePlan

NAME = "scale"
WORKLOADS = ("digits-logistic", "digits-mlp")
OPTIMIZERS = ("adai", "adam", "adamw", "sgd", "amsgrad")
SEEDS = 3
#: Some runs end early: somewhat more than 20 epochs of each are left on average.
EPOCHS = 22
BATCH = 64
#: One trial of so many failed, was pruned, or still waits; one run of so many diverged.
FAILED, PRUNED, WAITING, DIVERGED = 100, 101, 103, 20

_optuna_trials: sa.Table = models.TrialModel.__table__
_values: sa.Table = models.TrialValueModel.__table__
_intermediate: sa.Table = models.TrialIntermediateValueModel.__table__
_PRIME = 100_003


def make_spec(trial_count: int) -> str:
    """A spec of ``trial_count`` trials, a multiple of 10, over all pairs of workload and optimizer."""
    points = trial_count // (len(WORKLOADS) * len(OPTIMIZERS)) - 1
    optimizers = "".join(f'\n[[optimizers]]\nname = "{name}"\n' for name in OPTIMIZERS)
    return (
        f'name = "{NAME}"\nworkloads = {json.dumps(WORKLOADS)}\nseeds = {SEEDS}\nepochs = {EPOCHS}\n\n'
        f'[design]\nkind = "sobol"\npoints = {points}\n{optimizers}'
    )


def fill_database(engine: Engine, trial_count: int, failed_attempts: int = 10_000) -> None:
    """Write a study of ``trial_count`` trials, most of them finished, into an empty database with tables."""
    spec = parse_spec(make_spec(trial_count), source="benchmark")
    plan = EnginePlan("stacked", SEEDS * BATCH, "made up")
    study_id = create_study(engine, spec, dict.fromkeys(WORKLOADS, plan)).id
    with engine.begin() as connection:
        _insert_attempts(connection, study_id, trial_count // (len(WORKLOADS) * len(OPTIMIZERS)))
        _insert_failed_attempts(connection, study_id, failed_attempts)
        _end_runs(connection)
        _insert_epochs(connection)
        _insert_curvature(connection)
        _end_optuna_trials(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM")  # as its daemon does by itself some time later


def _insert_attempts(connection: Connection, study_id: int, trials_of_pair: int) -> None:
    """One for each batch of trials, which then belong to it."""
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    batches = -(-trials_of_pair // BATCH)
    pairs = [(workload, optimizer) for workload in WORKLOADS for optimizer in OPTIMIZERS]
    rows = [
        {
            "study_id": study_id,
            "workload": workload,
            "optimizer": optimizer,
            "runs": BATCH * SEEDS,
            "started_at": now,
            "finished_at": now,
            "termination": "COMPLETED",
            "worker": f"ray-{batch % 8}",
            "host": "host",
            "pid": 1,
            "device": "cpu",
            "engine": "stacked, compiled step",
            "torch_version": "2.14",
        }
        for workload, optimizer in pairs
        for batch in range(batches)
    ]
    connection.execute(insert(attempts), rows)
    first = connection.execute(select(sa.func.min(attempts.c.id))).scalar_one()
    first_trial = connection.execute(select(sa.func.min(trials.c.id))).scalar_one()
    attempt = first + (trials.c.id - first_trial) // trials_of_pair * batches + trials.c.number // BATCH
    connection.execute(sa.update(runs).where(runs.c.trial_id == trials.c.id).values(attempt_id=attempt))


def _insert_failed_attempts(connection: Connection, study_id: int, count: int) -> None:
    """Of a dozen kinds, every one with a traceback of its own."""
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    frame = '  File "workload.py", line {line}, in step\n    loss = model(batch)\n'
    rows = [
        {
            "study_id": study_id,
            "workload": WORKLOADS[number % 2],
            "optimizer": OPTIMIZERS[number % 5],
            "runs": BATCH * SEEDS,
            "started_at": now,
            "finished_at": now,
            "termination": "FAILED" if number % 3 else "WORKER_LOST",
            "error": "Traceback (most recent call last):\n"
            + "".join(frame.format(line=number + depth) for depth in range(30))
            + f"RuntimeError: layer {number % 2} has no weights",
        }
        for number in range(count)
    ]
    if rows:
        connection.execute(insert(attempts), rows)


def _end_runs(connection: Connection) -> None:
    """A termination and, where there is one, a result for all runs but those of trials that wait."""
    failed, pruned, waiting = (trials.c.number % every == every - 1 for every in (FAILED, PRUNED, WAITING))
    diverged = runs.c.id % DIVERGED == 0
    early = sa.or_(pruned, diverged)

    def measured(salt: int, *without: ColumnElement[bool]) -> ColumnElement[Any]:
        return sa.case((sa.or_(failed, *without), None), else_=_noise(runs.c.id, salt))

    ended = {
        "termination": sa.case((failed, "FAILED"), (pruned, "PRUNED"), (diverged, "DIVERGED"), else_="COMPLETED"),
        "reason": sa.case((failed, "RuntimeError: no weights"), (diverged, "loss inf, epoch 10"), else_=""),
        "epochs": sa.case((failed, sa.null()), (early, EPOCHS // 2), else_=EPOCHS),
        "objective": sa.case((failed, None), (diverged, 0.9), else_=_noise(runs.c.id, 1)),
        "at_chance": sa.case((failed, sa.null()), else_=diverged),
        "train_loss": measured(2, diverged),
        "val_loss": measured(3, diverged),
        "val_error": measured(4, diverged),
        "test_loss": measured(5, early),
        "test_error": measured(6, early),
        "seconds": measured(7),
        "peak_memory": sa.case((failed, sa.null()), else_=cast(runs.c.id, BigInteger) * 4096),
    }
    connection.execute(sa.update(runs).where(runs.c.trial_id == trials.c.id, sa.not_(waiting)).values(**ended))


def _insert_epochs(connection: Connection) -> None:
    """All that ended runs trained, batch by batch and epoch by epoch."""
    count = _numbers(EPOCHS)
    measured = {
        name: _noise(runs.c.id * (EPOCHS + 1) + count.c.number, salt)
        for salt, name in enumerate(("train_loss", "val_loss", "val_error", "lr", "grad_norm", "seconds"), start=8)
    }
    rows = (
        select(runs.c.id, count.c.number, *measured.values())
        .select_from(runs.join(count, count.c.number <= runs.c.epochs))
        .order_by(runs.c.attempt_id, count.c.number, runs.c.id)
    )
    connection.execute(insert(epochs).from_select(["run_id", "epoch", *measured], rows))


def _insert_curvature(connection: Connection) -> None:
    """Of every tenth run, at its end."""
    run_ids = connection.execute(select(runs.c.id).where(runs.c.id % 10 == 1, runs.c.epochs == EPOCHS)).scalars()
    rows = [
        {
            "run_id": run_id,
            "epoch": EPOCHS,
            "values": {
                "top_eigenvalue": run_id / 7,
                "trace": run_id / 3,
                "slice_losses": [run_id / 11, None, run_id / 13],
            },
        }
        for run_id in run_ids
    ]
    connection.execute(insert(curvature), rows)


def _end_optuna_trials(connection: Connection) -> None:
    """Optuna's values and reports of the trials that completed."""
    failed, pruned, waiting = (trials.c.number % every == every - 1 for every in (FAILED, PRUNED, WAITING))
    complete = sa.not_(sa.or_(failed, pruned, waiting))
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)  # Optuna stores naive UTC
    for condition, state in ((complete, TrialState.COMPLETE), (failed, TrialState.FAIL)):
        ids = select(trials.c.optuna_trial_id).where(condition)
        connection.execute(
            sa.update(_optuna_trials)
            .where(_optuna_trials.c.trial_id.in_(ids))
            .values(state=state, datetime_start=now, datetime_complete=now)
        )
    kind = sa.literal("FINITE", _values.c.value_type.type)
    values = select(trials.c.optuna_trial_id, sa.literal(0), _noise(trials.c.id, 20), kind).where(complete)
    connection.execute(insert(_values).from_select(["trial_id", "objective", "value", "value_type"], values))
    count = _numbers(EPOCHS)
    kind = sa.literal("FINITE", _intermediate.c.intermediate_value_type.type)
    reports = select(trials.c.optuna_trial_id, count.c.number, _noise(trials.c.id * 31 + count.c.number, 21), kind)
    columns = ["trial_id", "step", "intermediate_value", "intermediate_value_type"]
    connection.execute(
        insert(_intermediate).from_select(columns, reports.select_from(trials.join(count, sa.true())).where(complete))
    )


def _numbers(last: int) -> Subquery:
    """A table with the column ``number``, 1 to ``last``."""
    rows = [select(sa.literal(number, Integer).label("number")) for number in range(1, last + 1)]
    return sa.union_all(*rows).subquery()


def _noise(key: ColumnElement[Any], salt: int) -> ColumnElement[Any]:
    """A number in [0.05, 0.95) that looks random, with all digits of a float."""
    mixed = (cast(key, BigInteger) * 7919 + salt * 104_729) * 31 % sa.literal(_PRIME, BigInteger)
    return 0.05 + 0.9 * cast(mixed, sa.Double) / float(_PRIME)
