"""Writes a study: its trials and runs, waiting, and its Optuna studies; later its further rounds and its plans."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from study.axis import Value
from study.design import PlannedTrial
from study.errors import SpecError
from study.provenance import environment_hash
from study.search_space import OptimizerSpec
from study.space import to_distribution
from study.spec import StudySpec
from study.storage import optuna_rows
from study.storage.bulk import insert_returning, insert_rows
from study.storage.logs import log_event
from study.storage.optuna_rows import AskedTrial, optuna_study_name
from study.storage.tables import environments, plans, runs, studies, trials
from workers.messages import EnginePlan


def create_study(
    connection: Connection,
    spec: StudySpec,
    plan: Sequence[PlannedTrial],
    environment: Mapping[str, Any],
    *,
    queued: bool = False,
) -> int:
    """Write a study with its trials and runs, waiting, and one Optuna study per workload and optimizer.

    Args:
        connection: In a transaction.
        spec: The study.
        plan: All its trials; of an adaptive design, its first round.
        environment: What it is made with.
        queued: Whether a server is to run it.

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
            state="queued" if queued else "planned",
            environment_id=store_environment(connection, dict(environment)),
            created_at=_now(),
            queued_at=_now() if queued else None,
        )
        .returning(studies.c.id)
    ).scalar_one()
    for workload in spec.workloads:
        for optimizer in spec.optimizers:
            chosen = [t for t in plan if (t.workload, t.optimizer) == (workload, optimizer.name)]
            optuna_study_id = _create_optuna_study(connection, spec, workload, optimizer.name)
            _write_trials(connection, study_id, spec, optuna_study_id, chosen)
    log_event(connection, study_id, "study_created", trials=len(plan), state="queued" if queued else "planned")
    return int(study_id)


def add_round(connection: Connection, study_id: int, spec: StudySpec, plan: Sequence[PlannedTrial]) -> None:
    """Write the trials of a further round of one workload and optimizer, waiting."""
    first = plan[0]
    name = optuna_study_name(spec.name, first.workload, first.optimizer)
    optuna_study_id = optuna_rows.find_optuna_study(connection, name)
    if optuna_study_id is None:
        raise SpecError(f"the Optuna study {name!r} was deleted; run the spec under another name")
    _write_trials(connection, study_id, spec, optuna_study_id, plan)
    log_event(
        connection,
        study_id,
        "round_asked",
        workload=first.workload,
        optimizer=first.optimizer,
        round=first.round,
        trials=[trial.number for trial in plan],
    )


def _create_optuna_study(connection: Connection, spec: StudySpec, workload: str, optimizer: str) -> int:
    name = optuna_study_name(spec.name, workload, optimizer)
    if optuna_rows.find_optuna_study(connection, name) is not None:
        raise SpecError(
            f"this database already has an Optuna study called {name!r} that adai-study did not make; "
            "give the spec another name, or choose another database with --db"
        )
    return optuna_rows.create_optuna_study(
        connection,
        name,
        metrics=spec.objectives,
        user_attributes={"study": spec.name, "workload": workload, "optimizer": optimizer},
    )


def _write_trials(
    connection: Connection, study_id: int, spec: StudySpec, optuna_study_id: int, plan: Sequence[PlannedTrial]
) -> None:
    """Trials of one workload and optimizer, and their runs."""
    space = spec.optimizer(plan[0].optimizer)
    distributions = {name: to_distribution(axis) for name, axis in space.axes.items()}
    asked = [_to_asked(trial, space, distributions) for trial in plan]
    optuna_trial_ids = optuna_rows.enqueue_trials(connection, optuna_study_id, asked, first_number=plan[0].number)
    # Sorted here: to give ids in the order of its parameters, SQLite would need a statement for every row.
    inserted = insert_returning(
        connection,
        trials,
        [
            {
                "study_id": study_id,
                "workload": trial.workload,
                "optimizer": trial.optimizer,
                "number": trial.number,
                "origin": trial.origin,
                "hyperparameters": trial.hyperparameters,
                "unit": trial.unit,
                "optuna_trial_id": optuna_trial_id,
                "round": trial.round,
            }
            for trial, optuna_trial_id in zip(plan, optuna_trial_ids, strict=True)
        ],
        (trials.c.number, trials.c.id),
    )
    trial_ids = [trial_id for _, trial_id in sorted(inserted)]
    insert_rows(
        connection,
        runs,
        [{"trial_id": trial_id, "seed": seed} for trial_id in trial_ids for seed in range(spec.seeds)],
    )


def _to_asked(trial: PlannedTrial, space: OptimizerSpec, distributions: Mapping[str, BaseDistribution]) -> AskedTrial:
    params = _on_axes(trial, space)
    return AskedTrial(
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attributes={"origin": trial.origin, **_off_axes(trial, space)},
        system_attributes=trial.system_attributes,
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


def store_plans(connection: Connection, study_id: int, made: Mapping[str, EnginePlan], *, device: str) -> None:
    """How each workload will be trained from now on, on ``device``; older plans are forgotten."""
    for workload, plan in made.items():
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


def store_environment(connection: Connection, environment: dict[str, Any]) -> int:
    """The id of ``environment``, stored unless an equal one is; several processes may store it at once."""
    digest = environment_hash(environment)
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(environments).values(hash=digest, details=environment).on_conflict_do_nothing())
    return int(connection.execute(select(environments.c.id).where(environments.c.hash == digest)).scalar_one())


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
