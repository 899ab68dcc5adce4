"""The driver's transactions about attempts: each leaves our tables and Optuna's in agreement.

All functions are called inside a transaction of the study's :class:`study.storage.ledger.Ledger`.
"""

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, update

from study.claim import this_process
from study.storage import optuna_rows
from study.storage.bulk import insert_rows, update_rows
from study.storage.endings import TrialEnd, end_trials
from study.storage.id_lists import among
from study.storage.logs import log_event
from study.storage.records import TrialRecord
from study.storage.tables import attempts, curvature, epochs, runs
from workers.messages import BatchFinished, EpochMetrics, RunOutcome, Termination


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Trials that are to be trained together, up to the end of a stage.

    Attributes:
        trials: The trials that are trained, in the plan's order.
        members: The trials that name the batch and its checkpoint: also those that ended in an earlier stage.
        seeds: The seeds that are trained.
        first_epoch: Epochs that an earlier stage has trained.
        stop_epoch: Last epoch of the stage; None trains every run to its end.
        tries: Attempts that this batch has had.
    """

    trials: Sequence[TrialRecord]
    members: Sequence[TrialRecord]
    seeds: range
    first_epoch: int = 0
    stop_epoch: int | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class StageResult:
    """What the end of an attempt means for its trials.

    Attributes:
        paused: For each run that paused, its last metrics and its place in them.
        seed_values: Step -> Optuna trial id -> value, for trials whose intermediate values are those of seeds.
        ends: The trials that have ended with this attempt.
        waiting: Optuna ids of those that wait for their next stage.
    """

    paused: Mapping[int, tuple[EpochMetrics, int]]
    seed_values: Mapping[int, Mapping[int, float]]
    ends: Sequence[TrialEnd]
    waiting: Sequence[int]


def begin_attempt(
    connection: Connection,
    study_id: int,
    plan: BatchPlan,
    run_ids: Sequence[int],
    *,
    keep_steps: int,
    environment_hash: str,
) -> int:
    """A worker is about to train ``run_ids``; what lost attempts measured of this stage is forgotten.

    Args:
        connection: In a transaction.
        study_id: The study.
        plan: The trials, and the epochs that an earlier stage trained and that are kept.
        run_ids: The runs of them that are trained.
        keep_steps: Last step of Optuna's intermediate values that is kept.
        environment_hash: Names the environment that trains.

    Returns:
        The attempt's id.
    """
    optuna_rows.start_trials(connection, [trial.optuna_trial_id for trial in plan.trials], keep_steps=keep_steps)
    for measured in (epochs, curvature):
        stale = among(connection, measured.c.run_id, run_ids)
        connection.execute(delete(measured).where(stale, measured.c.epoch > plan.first_epoch))
    statement = insert(attempts).values(
        study_id=study_id,
        workload=plan.trials[0].workload,
        optimizer=plan.trials[0].optimizer,
        runs=len(run_ids),
        started_at=_now(),
        driver=this_process(),
        environment_hash=environment_hash,
        tries=plan.tries + 1,
        first_epoch=plan.first_epoch,
    )
    attempt_id = int(connection.execute(statement.returning(attempts.c.id)).scalar_one())
    log_event(connection, study_id, "attempt_started", **_identify(attempt_id, plan), tries=plan.tries + 1)
    return attempt_id


def _identify(attempt_id: int, plan: BatchPlan) -> dict[str, Any]:
    """What a log says of an attempt."""
    first = plan.trials[0]
    numbers = [trial.number for trial in plan.trials]
    return {"attempt": attempt_id, "workload": first.workload, "optimizer": first.optimizer, "trials": numbers}


def record_heartbeats(connection: Connection, seen: Mapping[int, tuple[str, str, int]]) -> None:
    """Workers were just seen with their attempts: attempt id -> (worker, host, process id)."""
    if seen:
        connection.execute(
            update(attempts).where(attempts.c.id == bindparam("attempt_id")),
            [
                {"attempt_id": attempt_id, "heartbeat_at": _now(), "worker": worker, "host": host, "pid": pid}
                for attempt_id, (worker, host, pid) in seen.items()
            ],
        )


def record_epochs(connection: Connection, reported: Sequence[tuple[EpochMetrics, Mapping[int, float]]]) -> None:
    """Epochs of one batch or of several.

    Args:
        connection: In a transaction.
        reported: For each epoch, what the worker measured, and Optuna trial id -> mean over seeds of the objective
            after it, diverged ones capped; the latter empty for studies whose trials have no intermediate values.
    """
    insert_rows(connection, epochs, [row for metrics, _ in reported for row in _epoch_rows(metrics)])
    insert_rows(connection, curvature, [row for metrics, _ in reported for row in _curvature_rows(metrics)])
    optuna_rows.report_steps(connection, [(metrics.epoch, values) for metrics, values in reported])


def _epoch_rows(metrics: EpochMetrics) -> Iterator[dict[str, Any]]:
    columns = zip(
        metrics.run_ids,
        metrics.train_loss,
        metrics.val_loss,
        metrics.val_error,
        metrics.lr,
        metrics.grad_norm,
        strict=True,
    )
    for run_id, train_loss, val_loss, val_error, lr, grad_norm in columns:
        yield {
            "run_id": run_id,
            "epoch": metrics.epoch,
            "train_loss": _finite(train_loss),
            "val_loss": _finite(val_loss),
            "val_error": _finite(val_error),
            "lr": lr,
            "grad_norm": _finite(grad_norm),
            "seconds": metrics.seconds,
        }


def _curvature_rows(metrics: EpochMetrics) -> Iterator[dict[str, Any]]:
    for run_id, measured in metrics.curvature.items():
        values = {name: _finite_numbers(value) for name, value in measured.items()}
        yield {"run_id": run_id, "epoch": metrics.epoch, "values": values}


def finish_attempt(
    connection: Connection,
    study_id: int,
    plan: BatchPlan,
    finished: BatchFinished,
    result: StageResult,
) -> None:
    """All runs of an attempt ended, or paused at the end of their stage.

    Args:
        connection: In a transaction.
        study_id: The study.
        plan: What was trained.
        finished: What the worker said.
        result: What it means for the trials.
    """
    placement, attempt_id = finished.placement, finished.batch_id
    connection.execute(
        update(attempts)
        .where(attempts.c.id == attempt_id)
        .values(
            finished_at=_now(),
            termination=Termination.COMPLETED.name,
            worker=placement.worker,
            host=placement.host,
            pid=placement.pid,
            device=placement.device,
            engine=placement.engine,
            torch_version=placement.torch_version,
        )
    )
    rows = [_outcome_row(outcome, attempt_id) for outcome in finished.outcomes]
    update_rows(connection, runs, rows)
    standing = [_paused_row(run_id, *result.paused[run_id], attempt_id) for run_id in finished.paused]
    update_rows(connection, runs, standing)
    optuna_rows.report_steps(connection, result.seed_values.items())
    end_trials(connection, result.ends)
    optuna_rows.pause_trials(connection, result.waiting)
    log_event(
        connection,
        study_id,
        "attempt_finished",
        **_identify(attempt_id, plan),
        worker=placement.worker,
        runs=len(rows) + len(standing),
        trials_ended=len(result.ends),
        diverged=sum(outcome.termination is Termination.DIVERGED for outcome in finished.outcomes),
    )


def _outcome_row(outcome: RunOutcome, attempt_id: int) -> dict[str, Any]:
    return {
        "id": outcome.run_id,
        "termination": outcome.termination.name,
        "reason": outcome.reason,
        "epochs": outcome.epochs,
        "objective": outcome.objective,
        "at_chance": outcome.at_chance,
        "train_loss": _finite(outcome.train_loss),
        "val_loss": _finite(outcome.val_loss),
        "val_error": _finite(outcome.val_error),
        "test_loss": _finite(outcome.test_loss),
        "test_error": _finite(outcome.test_error),
        "seconds": outcome.seconds,
        "steps_to_target": outcome.steps_to_target,
        "seconds_to_target": outcome.seconds_to_target,
        "peak_memory": outcome.peak_memory,
        "attempt_id": attempt_id,
    }


def _paused_row(run_id: int, metrics: EpochMetrics, place: int, attempt_id: int) -> dict[str, Any]:
    """Where a run stands; should it be pruned there, this is its result."""
    return {
        "id": run_id,
        "epochs": metrics.epoch,
        "objective": metrics.objective[place],
        "train_loss": _finite(metrics.train_loss[place]),
        "val_loss": _finite(metrics.val_loss[place]),
        "val_error": _finite(metrics.val_error[place]),
        "attempt_id": attempt_id,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_numbers(value: float | tuple[float, ...]) -> float | list[float | None] | None:
    return [_finite(number) for number in value] if isinstance(value, tuple) else _finite(value)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
