"""Ends runs of a study that nobody trained, with results of one's own."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from study.storage.tables import epochs, runs, studies, trials

#: Optimizer, number, hyperparameters, unit, seed -> columns of the run; None leaves it open.
Ending = Callable[[str, int, Mapping[str, Any], Mapping[str, float | None], int], dict[str, Any] | None]
CHANCE = 0.9


def completed(objective: float, **columns: Any) -> dict[str, Any]:
    """A run that came to its end."""
    measured = dict.fromkeys(("val_error", "test_error", "train_loss", "val_loss"), objective)
    return {"termination": "COMPLETED", "objective": objective, "epochs": 2, "seconds": 1.5, **measured, **columns}


def diverged(epoch: int = 1) -> dict[str, Any]:
    """A run that diverged: it has chance level for its objective, and no numbers of its own."""
    lost = dict.fromkeys(("val_error", "test_error", "train_loss", "val_loss"))
    return {"termination": "DIVERGED", "objective": CHANCE, "epochs": epoch, "at_chance": True, "seconds": 0.5, **lost}


def end_runs(engine: Engine, study_id: int, ending: Ending) -> None:
    """Write what ``ending`` says, as a driver does: its beat goes on."""
    columns = (runs.c.id, runs.c.seed, trials.c.optimizer, trials.c.number, trials.c.hyperparameters, trials.c.unit)
    query = sa.select(*columns).join_from(runs, trials).where(trials.c.study_id == study_id)
    with engine.begin() as connection:
        for row in connection.execute(query).all():
            found = ending(row.optimizer, row.number, row.hyperparameters, row.unit, row.seed)
            if found is not None:
                connection.execute(sa.update(runs).where(runs.c.id == row.id).values(**found))
        beat(connection, study_id)


def beat(connection: sa.Connection, study_id: int) -> None:
    """One more transaction of the driver."""
    connection.execute(sa.update(studies).where(studies.c.id == study_id).values(beat=studies.c.beat + 1))


def add_epochs(
    engine: Engine, study_id: int, count: int, value: Callable[[int, int, int], float | None], **where: Any
) -> None:
    """Epochs 1 to ``count`` of the runs of trials with such columns: (trial, seed, epoch) -> their ``val_error``."""
    query = sa.select(runs.c.id, runs.c.seed, trials.c.number).join_from(runs, trials)
    query = query.where(trials.c.study_id == study_id, *(trials.c[name] == one for name, one in where.items()))
    with engine.begin() as connection:
        rows = [
            {
                "run_id": row.id,
                "epoch": epoch,
                "val_error": value(row.number, row.seed, epoch),
                "lr": 0.1,
                "seconds": 1.0,
            }
            for row in connection.execute(query)
            for epoch in range(1, count + 1)
        ]
        connection.execute(sa.insert(epochs), rows)
        beat(connection, study_id)
