"""Studies that are only listed: rows of the table of studies, with few trials or none, and trials in every standing."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from recorded_studies import record_study
from sqlalchemy import Connection, Engine

from study.storage.records import StudyRecord
from study.storage.studies import store_environment
from study.storage.tables import runs, studies, trials

#: Of the studies that are only listed.
CREATED = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def list_study(connection: Connection, name: str, **columns: Any) -> int:
    """A study without trials; its key."""
    description = columns.pop("description", "")
    row = {
        "name": name,
        "spec": {"description": description, "objective": "val_error", "seeds": 2, "design": {"kind": "sobol"}},
        "spec_hash": "0" * 64,
        "state": "planned",
        "environment_id": store_environment(connection, {"python": "3"}),
        "created_at": CREATED,
        "beat": 0,
    }
    statement = sa.insert(studies).values(row | columns).returning(studies.c.id)
    return int(connection.execute(statement).scalar_one())


def change_study(connection: Connection, study_id: int, **columns: Any) -> None:
    """As a driver's transaction does: the beat moves."""
    changed = {"beat": studies.c.beat + 1} | columns
    connection.execute(sa.update(studies).where(studies.c.id == study_id).values(changed))


def record_standings(engine: Engine, name: str = "small", *, points: int = 14) -> StudyRecord:
    """A recorded study whose trials are in every standing, two of them with the same objective."""
    study = record_study(engine, name, points=points)
    with engine.begin() as connection:
        ids = connection.execute(
            sa.select(trials.c.id, trials.c.optuna_trial_id).where(trials.c.study_id == study.id).order_by(trials.c.id)
        ).all()
        # The fifth of every five has not ended: of two such, one is being trained.
        running = [row.optuna_trial_id for row in ids[4::10]]
        mark = sa.text("UPDATE trials SET state = 'RUNNING' WHERE trial_id = :key")
        connection.execute(mark, [{"key": key} for key in running])
        for row in (ids[0], ids[5]):
            connection.execute(sa.update(runs).where(runs.c.trial_id == row.id).values(objective=0.25))
    return study


def boring_trials(engine: Engine, name: str) -> list[Mapping[str, Any]]:
    """What is known of the trials of a study, run by run."""
    query = sa.text(
        "SELECT t.id, t.workload, t.optimizer, t.number, o.state, r.seed, r.termination, r.objective FROM adai_runs r "
        "JOIN adai_trials t ON t.id = r.trial_id JOIN adai_studies s ON s.id = t.study_id "
        "JOIN trials o ON o.trial_id = t.optuna_trial_id WHERE s.name = :name ORDER BY t.id, r.seed"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"name": name}).all()
    found = []
    for key in dict.fromkeys(row.id for row in rows):
        own = [row for row in rows if row.id == key]
        found.append(_sum_up(own))
    return found


def _sum_up(own: list[Any]) -> Mapping[str, Any]:
    endings = [row.termination for row in own]
    if set(endings) & {"FAILED", "WORKER_LOST", "OUT_OF_MEMORY", "TIMED_OUT"}:
        standing = "failed"
    elif None in endings:
        standing = "running" if own[0].state == "RUNNING" else "waiting"
    else:
        standing = "pruned" if "PRUNED" in endings else "complete"
    values = [row.objective for row in own]
    mean = sum(values) / len(values) if standing == "complete" else None
    return {
        "id": own[0].id,
        "place": (own[0].workload, own[0].optimizer),
        "number": own[0].number,
        "standing": standing,
        "objective": mean,
        "values": values,
        "runs": len(own),
        "ended": sum(ending is not None for ending in endings),
        "diverged": endings.count("DIVERGED"),
    }
