"""Which process drives a study: taken, given back, taken from the dead, asked to stop."""

import datetime as dt
import time
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, case, func, select, update

from study.claim import describe, is_alive, is_here, this_process
from study.errors import StudyBusyError
from study.storage.endings import reconcile_study
from study.storage.logs import log_event
from study.storage.patience import Patience
from study.storage.progress import unknown_study
from study.storage.run_states import find_pending
from study.storage.tables import studies

#: A driver on another machine whose beat stands still for so long is dead. Its own clock, nobody else's, measures it.
TAKEOVER_SECONDS = 20.0
_LOOK_SECONDS = 0.5
#: States of a study in which nothing is left to be stopped.
ENDED = ("completed", "cancelled")


def claim_study(patience: Patience, study_id: int, *, takeover_seconds: float = TAKEOVER_SECONDS) -> int:
    """This process drives the study from now on.

    Args:
        patience: Does the transactions.
        study_id: Which study.
        takeover_seconds: How long a driver on another machine may give no sign of life.

    Returns:
        The study's beat, for its ledger.

    Raises:
        StudyBusyError: A living process drives it; the message says which.
    """
    row = patience.transact(partial(_read, study_id=study_id))
    if row.driver is not None and row.driver != this_process():
        _see_that_it_is_dead(patience, row, takeover_seconds)
    return patience.transact(partial(_take, row=row))


def _take(connection: Connection, row: Row[Any]) -> int:
    """This process drives the study whose row was ``row``; returns its beat.

    Raises:
        StudyBusyError: It is not as it was.
    """
    taken = connection.execute(
        update(studies)
        .where(studies.c.id == row.id, studies.c.driver.is_not_distinct_from(row.driver), studies.c.beat == row.beat)
        .values(state=_state_when_taken(row), driver=this_process(), beat=row.beat + 1, finished_at=None, error=None)
    )
    if taken.rowcount == 1:
        if row.driver is not None and row.driver != this_process():
            log_event(connection, row.id, "study_taken_over", level="warning", dead_driver=describe(row.driver))
        log_event(connection, row.id, "study_started", driver=describe(this_process()))
        return int(row.beat) + 1
    now = _read(connection, row.id)
    # Else an earlier try has taken it, and the answer to its commit was lost.
    if now.driver != this_process() or now.beat != row.beat + 1:
        raise StudyBusyError(f"study {row.name!r} was taken by another process just now; look at: adai-study list")
    return int(now.beat)


def _state_when_taken(row: Row[Any]) -> Any:
    """``running``; but what was asked of this process, when it took the study from the queue, still holds."""
    if row.driver != this_process():
        return "running"
    return case((studies.c.state == "cancelling", "cancelling"), else_="running")


def _see_that_it_is_dead(patience: Patience, row: Row[Any], takeover_seconds: float) -> None:
    """Wait for a sign of life of the study's driver.

    Raises:
        StudyBusyError: It gave one.
    """
    busy = StudyBusyError(
        f"study {row.name!r} is being run by {describe(row.driver)}; wait for it, watch it with "
        f"`adai-study watch {row.name}`, or stop it with `adai-study cancel {row.name}`, then: "
        f"adai-study resume {row.name}"
    )
    if is_here(row.driver):
        if is_alive(row.driver):
            raise busy
        return
    deadline = time.monotonic() + takeover_seconds
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        looked = time.monotonic()
        if patience.transact(partial(_read, study_id=row.id)).beat != row.beat:
            raise busy
        if time.monotonic() - looked > _LOOK_SECONDS:
            # The database was away, for its driver too.
            deadline = time.monotonic() + takeover_seconds


def release_study(connection: Connection, study_id: int, state: str, *, error: str | None = None) -> None:
    """Nobody drives the study any more; the state ``queued`` puts it at its old place in the queue.

    A study that somebody asked to be cancelled meanwhile is ``cancelled``, unless it is complete.

    Args:
        connection: In a transaction of the study's ledger.
        study_id: Which study.
        state: ``completed``, ``interrupted``, ``cancelled``, ``failed`` or ``queued``.
        error: Why it failed.
    """
    if state != "completed" and read_state(connection, study_id) == "cancelling":
        state, error = "cancelled", None
    finished_at = _now() if state == "completed" else None
    connection.execute(
        update(studies)
        .where(studies.c.id == study_id)
        .values(state=state, driver=None, finished_at=finished_at, error=error)
    )
    log_event(connection, study_id, f"study_{state}", level="error" if error else "info", error=error)


def ask_to_cancel(connection: Connection, name: str) -> Row[Any]:
    """Ask the driver of a study to stop; a study that nobody drives is cancelled at once.

    Returns:
        The study's row as it is now.

    Raises:
        UnknownStudyError: There is no such study.
    """
    undriven = studies.c.driver.is_(None)
    connection.execute(
        update(studies)
        .where(studies.c.name == name, studies.c.state.not_in(ENDED))
        .values(state=case((undriven, "cancelled"), else_="cancelling"))
    )
    row = find_row(connection, name)
    if row.state == "cancelled":
        reconcile_study(connection, row.id, find_pending(connection, row.id))
    if row.state in ("cancelled", "cancelling"):
        log_event(connection, row.id, "cancel_requested")
    return row


def find_row(connection: Connection, name: str) -> Row[Any]:
    """The row of the study called ``name``; its spec is not parsed.

    Raises:
        UnknownStudyError: There is no such study.
    """
    row = connection.execute(select(studies).where(studies.c.name == name)).one_or_none()
    if row is None:
        raise unknown_study(connection, name)
    return row


def read_state(connection: Connection, study_id: int) -> str:
    """The state of a study."""
    return str(connection.execute(select(studies.c.state).where(studies.c.id == study_id)).scalar_one())


def queue_study(connection: Connection, study_id: int) -> bool:
    """Put a study that nobody drives at the end of the queue; false if it is driven or in the queue already."""
    queued = connection.execute(
        update(studies)
        .where(studies.c.id == study_id, studies.c.driver.is_(None), studies.c.state != "queued")
        .values(state="queued", queued_at=_now(), error=None)
    )
    if queued.rowcount == 1:
        log_event(connection, study_id, "study_queued")
    return queued.rowcount == 1


def take_queued_study(connection: Connection) -> tuple[str, int] | None:
    """This process drives the study that has waited longest; None if none waits.

    Returns:
        Its name and id. On PostgreSQL, rows that another server is taking are passed over; on SQLite the caller's
        transaction has to be an immediate one.
    """
    oldest = (
        select(studies.c.id)
        .where(studies.c.state == "queued")
        .order_by(studies.c.queued_at, studies.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    study_id = connection.execute(oldest).scalar_one_or_none()
    if study_id is None:
        return None
    taken = (
        update(studies)
        .where(studies.c.id == study_id)
        .values(state="running", driver=this_process(), beat=studies.c.beat + 1)
        .returning(studies.c.name, studies.c.id)
    )
    row = connection.execute(taken).one()
    return row.name, row.id


def count_queued(connection: Connection) -> int:
    """How many studies wait in the queue."""
    return int(connection.execute(select(func.count()).where(studies.c.state == "queued")).scalar_one())


def find_driven(connection: Connection) -> list[Row[Any]]:
    """Studies that a process drives, or says to."""
    known = (studies.c.id, studies.c.name, studies.c.state, studies.c.driver, studies.c.beat, studies.c.queued_at)
    return list(connection.execute(select(*known).where(studies.c.driver.is_not(None)).order_by(studies.c.id)))


def bury_driver(connection: Connection, row: Row[Any]) -> bool:
    """Take a study away from a dead driver; false if it gave a sign of life since ``row`` was read.

    A study from the queue goes back there; one that a person ran waits for its ``resume``. The beat moves by two, so
    that a driver that lives after all does not take this for a transaction of its own that gave the study back.
    """
    state = "interrupted" if row.queued_at is None else "queued"
    taken = connection.execute(
        update(studies)
        .where(studies.c.id == row.id, studies.c.driver == row.driver, studies.c.beat == row.beat)
        .values(state="cancelled" if row.state == "cancelling" else state, driver=None, beat=row.beat + 2)
    )
    if taken.rowcount == 1:
        reconcile_study(connection, row.id, find_pending(connection, row.id))
        log_event(connection, row.id, "driver_died", level="warning", dead_driver=describe(row.driver))
    return taken.rowcount == 1


def _read(connection: Connection, study_id: int) -> Row[Any]:
    return connection.execute(select(studies).where(studies.c.id == study_id)).one()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
