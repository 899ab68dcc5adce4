"""Studies whose drivers die, or that are cancelled at an awkward moment: nothing is left running."""

import os
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from study_runs import drive, make_spec, write_study
from tests_support import Command

from study.claim import this_process
from study.errors import CancelledStudyError
from study.progress import Progress
from study.storage.claims import ask_to_cancel, bury_driver, find_row, queue_study, release_study
from study.storage.engine import create_database

#: A process that has ended: ids do not get so high.
DEAD = this_process().rsplit(":", 2)[0] + ":99999999:1"


def optuna_states(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.text("SELECT DISTINCT state FROM trials")).scalars())


def scalar(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.text(query)).scalar_one()


def leave_as_after_a_crash(engine: Engine, **columns: Any) -> None:
    """A study whose driver, of this machine, was killed while a batch trained."""
    write_study(engine, make_spec("left", design={"points": 3}), max_rows=1000)

    def crash(progress: Progress) -> None:
        if progress.run_epochs_ended:
            raise _Crash

    with pytest.raises(_Crash):
        drive(engine, "left", show=crash)
    changes = ", ".join(f"{name} = :{name}" for name in ("driver", "state", *columns))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE trials SET state = 'RUNNING' WHERE state = 'WAITING'"))
        connection.execute(sa.text("UPDATE adai_attempts SET finished_at = NULL, termination = NULL"))
        values = {"driver": DEAD, "state": "running"} | columns
        connection.execute(sa.text(f"UPDATE adai_studies SET {changes}"), values)


class _Crash(BaseException):
    """Stands for kill -9: nothing that the driver does at its end happens after what the fixture puts back."""


def test_whoever_buries_a_driver_lets_its_trials_wait_and_closes_its_attempts(database_url: str) -> None:
    with create_database(database_url) as engine:
        leave_as_after_a_crash(engine)
        with engine.begin() as connection:
            assert bury_driver(connection, find_row(connection, "left"))
        assert optuna_states(engine) == {"WAITING"}
        assert scalar(engine, "SELECT COUNT(*) FROM adai_attempts WHERE finished_at IS NULL") == 0
        with engine.begin() as connection:
            assert ask_to_cancel(connection, "left").state == "cancelled"
        assert "RUNNING" not in optuna_states(engine)


def test_a_dead_drivers_study_is_cancelled_or_queued_by_who_asks(database_url: str, command: Command) -> None:
    with create_database(database_url) as engine:
        leave_as_after_a_crash(engine)
        assert "its driver" in command("watch", "left", "--db", database_url).output
        result = command("cancel", "left", "--db", database_url)
        assert result.output.startswith("left: cancelled; its driver, process 99999999")
        assert "RUNNING" not in optuna_states(engine)
        drive(engine, "left")
        assert optuna_states(engine) == {"COMPLETE"}


def test_a_cancellation_is_not_lost_when_the_driver_stops_for_another_reason(database_url: str) -> None:
    with create_database(database_url) as engine:
        write_study(engine, make_spec("left", design={"points": 3}), max_rows=1000)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE adai_studies SET state = 'cancelling', driver = 'me'"))
            release_study(connection, 1, "queued")
        assert scalar(engine, "SELECT state FROM adai_studies") == "cancelled"


def test_a_cancellation_between_queue_and_driver_is_heard(database_url: str) -> None:
    with create_database(database_url) as engine:
        write_study(engine, make_spec("left", design={"points": 3}), max_rows=4)
        with engine.begin() as connection:
            assert queue_study(connection, 1)
            # As a server of this process has taken it.
            connection.execute(
                sa.text("UPDATE adai_studies SET state = 'running', driver = :me"), {"me": this_process()}
            )
            ask_to_cancel(connection, "left")
        with pytest.raises(CancelledStudyError):
            drive(engine, "left", heartbeat_seconds=0.05)
        assert scalar(engine, "SELECT state FROM adai_studies") == "cancelled"
        assert "RUNNING" not in optuna_states(engine)


def test_processes_of_other_namespaces_are_not_taken_for_dead() -> None:
    machine, process, _ = this_process().rsplit(":", 2)
    assert process == str(os.getpid())
    assert f"[{machine.partition('#')[2]}]" in str(Path("/proc/self/ns/pid").readlink())
