"""Studies of any size with results that nobody trained: every kind of ending, written straight into the tables."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from tests_support import SMALL_SPEC

from study.creation import create_study
from study.spec_file import parse_spec
from study.storage.records import StudyRecord
from study.storage.tables import attempts, curvature, epochs, runs, trials

#: How the trials of a recorded study end, again and again in this order; None has trained and not ended.
ENDINGS = ("COMPLETED", "DIVERGED", "PRUNED", "FAILED", None)


def record_study(engine: Engine, name: str = "small", *, points: int = 4, epoch_count: int = 2) -> StudyRecord:
    """A study of 2 optimizers, ``points`` + 1 trials each, 2 seeds, with the endings of :data:`ENDINGS`."""
    text = SMALL_SPEC.replace('"small"', f'"{name}"').replace("points = 4", f"points = {points}")
    spec = parse_spec(text.replace("epochs = 2", f"epochs = {epoch_count}"), source="made")
    study = create_study(engine, spec)
    with engine.begin() as connection:
        attempt_id = add_attempt(connection, study.id, "COMPLETED", None)
        query = sa.select(runs.c.id, runs.c.trial_id, runs.c.seed).join(trials).where(trials.c.study_id == study.id)
        rows = connection.execute(query.order_by(runs.c.trial_id, runs.c.seed)).all()
        ended = [_end_run(run_id, ENDINGS[place // 2 % 5], attempt_id) for place, (run_id, *_) in enumerate(rows)]
        by_key = runs.c.id == sa.bindparam("key")
        connection.execute(sa.update(runs).where(by_key), [row for row in ended if row["termination"]])
        _record_epochs(connection, [run_id for run_id, *_ in rows], epoch_count)
    return study


def add_attempt(
    connection: Connection, study_id: int, termination: str, error: str | None, optimizer: str = "adai"
) -> int:
    """One more attempt, which ended like this; its id."""
    row = {
        "study_id": study_id,
        "workload": "digits-logistic",
        "optimizer": optimizer,
        "runs": 4,
        "started_at": sa.func.now(),
        "termination": termination,
        "error": error,
        "worker": "inline",
        "device": "cpu",
        "engine": "stacked",
    }
    return int(connection.execute(sa.insert(attempts).values(**row).returning(attempts.c.id)).scalar_one())


def _end_run(run_id: int, ending: str | None, attempt_id: int) -> dict[str, Any]:
    measured = ending not in ("FAILED", None)
    tested = ending == "COMPLETED"
    return {
        "key": run_id,
        "termination": ending,
        "reason": "" if tested else ending,
        "epochs": 2 if measured else None,
        "objective": run_id % 7 / 7 if measured else None,
        "at_chance": run_id % 3 == 0 if measured else None,
        "train_loss": run_id / 3 if measured else None,
        "val_loss": None,
        "val_error": run_id / 11 if measured else None,
        "test_loss": run_id / 13 if tested else None,
        "test_error": run_id / 17 if tested else None,
        "seconds": 0.25 if measured else None,
        "steps_to_target": run_id if tested else None,
        "peak_memory": 2**40 + run_id if tested else None,
        "attempt_id": attempt_id if ending else None,
    }


def _record_epochs(connection: Connection, run_ids: list[int], count: int) -> None:
    """In the order of training: epoch by epoch."""
    first = sa.select(sa.literal(1, sa.Integer).label("epoch")).cte("numbers", recursive=True)
    number = first.union_all(sa.select(first.c.epoch + 1).where(first.c.epoch < count))
    epoch = number.c.epoch
    noise = sa.cast(runs.c.id * 7919 % 1009 + epoch, sa.Double) / 1009.0
    rows = (
        sa.select(runs.c.id, epoch, noise, noise * 2, sa.null(), noise * 3, noise * 4, noise * 5)
        .select_from(runs.join(number, sa.true()))
        .where(runs.c.id.between(min(run_ids), max(run_ids)))
        .order_by(epoch, runs.c.id.desc())
    )
    names = ["run_id", "epoch", "train_loss", "val_loss", "val_error", "lr", "grad_norm", "seconds"]
    connection.execute(sa.insert(epochs).from_select(names, rows))
    values = {"trace": 1.5, "slice_losses": [0.5, None], "examples": None}
    measured = [{"run_id": run_id, "epoch": count, "values": values} for run_id in run_ids[::3]]
    connection.execute(sa.insert(curvature), measured)
