"""The driver's transactions: each leaves our tables and Optuna's in agreement."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from study.axis import Value
from study.claim import describe, is_alive, this_process
from study.design import PlannedTrial
from study.errors import SpecError, StudyBusyError
from study.provenance import environment_hash
from study.search_space import OptimizerSpec
from study.space import to_distribution
from study.spec import StudySpec
from study.storage import optuna_rows
from study.storage.optuna_rows import AskedTrial, optuna_study_name
from study.storage.records import TrialRecord
from study.storage.tables import attempts, curvature, environments, epochs, plans, runs, studies, trials
from workers.messages import BatchFailed, BatchFinished, EnginePlan, EpochMetrics, RunOutcome, Termination


def create_study(
    connection: Connection, spec: StudySpec, plan: Sequence[PlannedTrial], environment: Mapping[str, Any]
) -> int:
    """Write a study with all its trials and runs, waiting, and one Optuna study per workload and optimizer.

    Returns:
        The study's id.

    Raises:
        SpecError: Optuna already has a study of one of the names.
    """
    study_id = connection.execute(
        insert(studies)
        .values(
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.hash,
            state="planned",
            environment_id=_store_environment(connection, dict(environment)),
            created_at=_now(),
        )
        .returning(studies.c.id)
    ).scalar_one()
    for workload in spec.workloads:
        for optimizer in spec.optimizers:
            chosen = [t for t in plan if (t.workload, t.optimizer) == (workload, optimizer.name)]
            _create_trials(connection, study_id, spec, chosen)
    return int(study_id)


def _create_trials(connection: Connection, study_id: int, spec: StudySpec, plan: Sequence[PlannedTrial]) -> None:
    """The trials and runs of one workload and optimizer, and their Optuna study."""
    workload, optimizer = plan[0].workload, plan[0].optimizer
    name = optuna_study_name(spec.name, workload, optimizer)
    if optuna_rows.find_optuna_study(connection, name) is not None:
        raise SpecError(
            f"this database already has an Optuna study called {name!r} that adai-study did not make; "
            "give the spec another name, or choose another database with --db"
        )
    space = spec.optimizer(optimizer)
    optuna_study_id = optuna_rows.create_optuna_study(
        connection,
        name,
        metrics=[spec.objective],
        user_attributes={"study": spec.name, "workload": workload, "optimizer": optimizer},
    )
    distributions = {name: to_distribution(axis) for name, axis in space.axes.items()}
    asked = [_to_asked(trial, space, distributions) for trial in plan]
    optuna_trial_ids = optuna_rows.enqueue_trials(connection, optuna_study_id, asked, first_number=0)
    statement = insert(trials).returning(trials.c.id, sort_by_parameter_order=True)
    trial_ids = connection.execute(
        statement,
        [
            {
                "study_id": study_id,
                "workload": workload,
                "optimizer": optimizer,
                "number": trial.number,
                "origin": trial.origin,
                "hyperparameters": trial.hyperparameters,
                "unit": trial.unit,
                "optuna_trial_id": optuna_trial_id,
            }
            for trial, optuna_trial_id in zip(plan, optuna_trial_ids, strict=True)
        ],
    ).scalars()
    connection.execute(
        insert(runs),
        [{"trial_id": trial_id, "seed": seed} for trial_id in trial_ids for seed in range(spec.seeds)],
    )


def _to_asked(trial: PlannedTrial, space: OptimizerSpec, distributions: Mapping[str, BaseDistribution]) -> AskedTrial:
    params = _on_axes(trial, space)
    return AskedTrial(
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attributes={"origin": trial.origin, **_off_axes(trial, space)},
    )


def _on_axes(trial: PlannedTrial, space: OptimizerSpec) -> dict[str, Value]:
    """The values of active axes that Optuna's distributions contain."""
    active = _active(trial, space)
    return {name: value for name, value in active.items() if space.axes[name].contains(value)}


def _off_axes(trial: PlannedTrial, space: OptimizerSpec) -> dict[str, Value]:
    """The values of a default setting that lie off their axes, such as weight decay 0 on a log axis.

    As parameters they would break Optuna's samplers and importances, which take their logarithm: they are shown as
    user attributes instead.
    """
    active = _active(trial, space)
    return {name: value for name, value in active.items() if not space.axes[name].contains(value)}


def _active(trial: PlannedTrial, space: OptimizerSpec) -> dict[str, Value]:
    """What a trial has on the axes that vary in it."""
    values = trial.hyperparameters
    return {name: values[name] for name in space.axes if space.is_active(name, values)}


def store_plan(connection: Connection, study_id: int, workload: str, plan: EnginePlan, device: str) -> None:
    """How ``workload`` will be trained from now on, on ``device``; an older plan of it is forgotten."""
    connection.execute(delete(plans).where(plans.c.study_id == study_id, plans.c.workload == workload))
    connection.execute(
        insert(plans).values(
            study_id=study_id,
            workload=workload,
            engine=plan.engine,
            max_rows=plan.max_rows,
            reason=plan.reason,
            device=device,
        )
    )


def begin_attempt(connection: Connection, study_id: int, batch: Sequence[TrialRecord], *, seeds: int) -> int:
    """A worker is about to train ``batch``; what an earlier attempt measured of it is forgotten.

    Returns:
        The attempt's id.
    """
    trial_ids = [trial.id for trial in batch]
    optuna_rows.start_trials(connection, [trial.optuna_trial_id for trial in batch], keep_steps=0)
    stale = select(runs.c.id).where(runs.c.trial_id.in_(trial_ids))
    for measured in (epochs, curvature):
        connection.execute(delete(measured).where(measured.c.run_id.in_(stale)))
    return int(
        connection.execute(
            insert(attempts)
            .values(
                study_id=study_id,
                workload=batch[0].workload,
                optimizer=batch[0].optimizer,
                runs=len(batch) * seeds,
                started_at=_now(),
            )
            .returning(attempts.c.id)
        ).scalar_one()
    )


def record_epoch(connection: Connection, metrics: EpochMetrics, trial_values: Mapping[int, float]) -> None:
    """One epoch of a batch.

    Args:
        connection: In a transaction.
        metrics: What the worker measured.
        trial_values: Optuna trial id -> mean over seeds of the objective after this epoch, diverged ones capped.
    """
    columns = zip(
        metrics.run_ids,
        metrics.train_loss,
        metrics.val_loss,
        metrics.val_error,
        metrics.lr,
        metrics.grad_norm,
        strict=True,
    )
    connection.execute(
        insert(epochs),
        [
            {
                "run_id": run_id,
                "epoch": metrics.epoch,
                "train_loss": _finite(train_loss),
                "val_loss": _finite(val_loss),
                "val_error": _finite(val_error),
                "lr": lr,
                "grad_norm": _finite(grad_norm),
                "seconds": metrics.seconds,
            }
            for run_id, train_loss, val_loss, val_error, lr, grad_norm in columns
        ],
    )
    _record_curvature(connection, metrics)
    optuna_rows.report_trials(connection, metrics.epoch, trial_values)


def _record_curvature(connection: Connection, metrics: EpochMetrics) -> None:
    rows = [
        {
            "run_id": run_id,
            "epoch": metrics.epoch,
            "values": {name: _finite_numbers(value) for name, value in measured.items()},
        }
        for run_id, measured in metrics.curvature.items()
    ]
    if rows:
        connection.execute(insert(curvature), rows)


def finish_attempt(
    connection: Connection,
    attempt_id: int,
    finished: BatchFinished,
    outcomes_of: Mapping[int, Sequence[RunOutcome]],
) -> None:
    """All runs of an attempt ended.

    Args:
        connection: In a transaction.
        attempt_id: The attempt.
        finished: What the worker said.
        outcomes_of: Optuna trial id -> outcomes of its runs, one per seed.
    """
    placement = finished.placement
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
    connection.execute(
        update(runs).where(runs.c.id == bindparam("run_id")),
        [_outcome_row(outcome, attempt_id) for outcome in finished.outcomes],
    )
    optuna_rows.complete_trials(
        connection,
        {trial_id: [seed_mean([o.objective for o in outcomes])] for trial_id, outcomes in outcomes_of.items()},
        {trial_id: _trial_attributes(outcomes) for trial_id, outcomes in outcomes_of.items()},
    )


def abandon_attempt(
    connection: Connection,
    attempt_id: int,
    batch: Sequence[TrialRecord],
    termination: Termination,
    error: str,
) -> None:
    """An attempt brought nothing; its trials wait for another one."""
    _close_attempt(connection, attempt_id, termination, error)
    optuna_rows.release_trials(connection, [trial.optuna_trial_id for trial in batch])


def fail_attempt(connection: Connection, attempt_id: int, batch: Sequence[TrialRecord], failed: BatchFailed) -> None:
    """An attempt failed for good: its runs end without results, its Optuna trials fail."""
    _close_attempt(connection, attempt_id, failed.termination, failed.error)
    lines = failed.error.strip().splitlines()
    connection.execute(
        update(runs)
        .where(runs.c.trial_id.in_([trial.id for trial in batch]))
        .values(termination=failed.termination.name, reason=lines[-1] if lines else "", attempt_id=attempt_id)
    )
    optuna_rows.fail_trials(connection, [trial.optuna_trial_id for trial in batch])


def reconcile_study(connection: Connection, study_id: int, pending: Sequence[TrialRecord]) -> None:
    """After a driver that died: close its open attempts, and let the trials that it left running wait again."""
    connection.execute(
        update(attempts)
        .where(attempts.c.study_id == study_id, attempts.c.finished_at.is_(None))
        .values(
            finished_at=_now(),
            termination=Termination.CANCELLED.name,
            error="the driver ended before this attempt did",
        )
    )
    optuna_rows.release_trials(connection, [trial.optuna_trial_id for trial in pending])


def claim_study(connection: Connection, study_id: int) -> None:
    """This process drives the study from now on; the first statement of its transaction.

    Raises:
        StudyBusyError: A living process of this host drives it, or another one claimed it at this moment.
    """
    row = connection.execute(select(studies.c.name, studies.c.driver).where(studies.c.id == study_id)).one()
    mine = this_process()
    if row.driver is not None and row.driver != mine and is_alive(row.driver):
        raise StudyBusyError(
            f"study {row.name!r} is being run by {describe(row.driver)}; wait for it or stop it (Ctrl-C, kill), then: "
            f"adai-study resume {row.name}"
        )
    claimed = connection.execute(
        update(studies)
        .where(studies.c.id == study_id, studies.c.driver.is_not_distinct_from(row.driver))
        .values(state="running", driver=mine, finished_at=None)
    )
    if claimed.rowcount != 1:
        raise StudyBusyError(f"study {row.name!r} was taken by another process just now; look at: adai-study list")


def release_study(connection: Connection, study_id: int, state: str) -> None:
    """Nobody drives the study any more: it is ``completed``, which also sets when, or ``interrupted``."""
    finished_at = _now() if state == "completed" else None
    connection.execute(
        update(studies).where(studies.c.id == study_id).values(state=state, driver=None, finished_at=finished_at)
    )


def _close_attempt(connection: Connection, attempt_id: int, termination: Termination, error: str) -> None:
    connection.execute(
        update(attempts)
        .where(attempts.c.id == attempt_id)
        .values(finished_at=_now(), termination=termination.name, error=error)
    )


def _store_environment(connection: Connection, environment: dict[str, Any]) -> int:
    digest = environment_hash(environment)
    known = connection.execute(select(environments.c.id).where(environments.c.hash == digest)).scalar_one_or_none()
    if known is not None:
        return int(known)
    statement = insert(environments).values(hash=digest, details=environment).returning(environments.c.id)
    return int(connection.execute(statement).scalar_one())


def _outcome_row(outcome: RunOutcome, attempt_id: int) -> dict[str, Any]:
    return {
        "run_id": outcome.run_id,
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


def _trial_attributes(outcomes: Sequence[RunOutcome]) -> dict[str, Any]:
    """What Optuna Dashboard shows of a finished trial beside its value."""
    test_errors = [outcome.test_error for outcome in outcomes if outcome.test_error is not None]
    attributes: dict[str, Any] = {
        "seeds": len(outcomes),
        "diverged": sum(outcome.termination is Termination.DIVERGED for outcome in outcomes),
    }
    if len(test_errors) == len(outcomes):
        attributes["test_error"] = seed_mean(test_errors)
    return attributes


def seed_mean(values: Sequence[float]) -> float:
    """The mean over seeds, exactly rounded: it does not depend on their order."""
    return math.fsum(values) / len(values)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_numbers(value: float | tuple[float, ...]) -> float | list[float | None] | None:
    return [_finite(number) for number in value] if isinstance(value, tuple) else _finite(value)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
