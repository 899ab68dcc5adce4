"""Puts studies into the queue, and stops them: what can be asked of a study from anywhere."""

import time
from typing import Any

from sqlalchemy import Connection, Engine, Row

from study.claim import describe, is_alive, is_here
from study.creation import check_name, create_study
from study.errors import SpecError, StudyError
from study.spec import StudySpec
from study.storage import endings
from study.storage.claims import ENDED, ask_to_cancel, bury_driver, find_row, queue_study
from study.storage.records import find_study
from study.storage.requests import Kind

#: How long a driver may take to stop; it looks every few seconds.
_CANCEL_SECONDS = 30.0
_LOOK_SECONDS = 0.2
#: What may be asked of a study in each state, beside reports.
_ALLOWED: dict[str, tuple[Kind, ...]] = {
    "planned": ("cancel", "resume"),
    "queued": ("cancel",),
    "running": ("cancel",),
    "cancelling": (),
    "interrupted": ("cancel", "resume"),
    "cancelled": ("resume",),
    "failed": ("cancel", "resume"),
    "completed": (),
}


def submit_study(engine: Engine, spec: StudySpec, *, retry_seconds: float = 0.0) -> str:
    """Put a study into the queue unless it runs or has ended; returns what was done, for people.

    Args:
        engine: The database.
        spec: The study.
        retry_seconds: How long a database that is away is waited for.

    Raises:
        SpecError: The name belongs to another spec, or the study cannot be planned.
    """
    if check_name(engine, spec):
        return requeue_study(engine, spec.name)
    create_study(engine, spec, queued=True, retry_seconds=retry_seconds)
    return f"{spec.name}: queued, {spec.trial_count} trials; watch it with: adai-study watch {spec.name}"


def submit_new_study(engine: Engine, spec: StudySpec, *, retry_seconds: float = 0.0) -> str:
    """Put a study into the queue unless the database knows its name, in whatever state; returns what was done.

    Raises:
        SpecError: The study cannot be planned.
    """
    try:
        known = check_name(engine, spec)
    except SpecError:
        return f"{spec.name}: is there already, with another spec; nothing was done: give the new one another name"
    if known:
        return f"{spec.name}: is there already; nothing was done"
    return submit_study(engine, spec, retry_seconds=retry_seconds)


def requeue_study(engine: Engine, name: str) -> str:
    """Put a study that is there into the queue, unless it runs or has all its results; returns what was done.

    Raises:
        UnknownStudyError: There is no such study.
    """
    with engine.begin() as connection:
        row = find_row(connection, name)
        if _is_dead(row):
            bury_driver(connection, row)
        study = find_study(connection, name)
        failed = study.spec.can_retry_failed and endings.count_failed_trials(connection, study.id) > 0
        if (study.state != "completed" or failed) and queue_study(connection, study.id):
            return f"{name}: queued again; it was {study.state}{', with failed trials' if failed else ''}"
    return f"{name}: {study.state} already; nothing was done"


def ask_to_stop(engine: Engine, name: str) -> str:
    """Stop a study, but do not wait for its driver; returns what was done, for people.

    Raises:
        UnknownStudyError: There is no such study.
    """
    with engine.begin() as connection:
        row = ask_to_cancel(connection, name)
    if row.driver is None:
        return _describe(row)
    if _is_dead(row):
        return _cancel_for_the_dead(engine, row)
    return f"{name}: {describe(row.driver)} was asked to stop it; what was finished is kept"


def cancel_study(engine: Engine, name: str) -> str:
    """Stop a study and wait until it has stopped; returns what was done, for people.

    Raises:
        UnknownStudyError: There is no such study.
        StudyError: Its driver lives and does not stop.
    """
    with engine.begin() as connection:
        row = ask_to_cancel(connection, name)
    if row.state in ENDED and row.driver is None:
        return f"{name}: {row.state}"
    deadline = time.monotonic() + _CANCEL_SECONDS
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            now = find_row(connection, name)
        if now.driver is None:
            return _describe(now)
        if _is_dead(now):
            return _cancel_for_the_dead(engine, now)
        time.sleep(_LOOK_SECONDS)
    if now.beat == row.beat:
        return _cancel_for_the_dead(engine, now)
    raise StudyError(
        f"study {name!r} has not stopped within {_CANCEL_SECONDS:.0f} s; its driver is {describe(now.driver)}: "
        "it stops when it has answered, or when it is ended there"
    )


def find_allowed(connection: Connection, name: str) -> tuple[str, tuple[Kind, ...]]:
    """The state of a study, and what may be asked of it now.

    Raises:
        UnknownStudyError: There is no such study.
    """
    row = find_row(connection, name)
    allowed = _ALLOWED["interrupted" if _is_dead(row) else row.state]
    if row.state == "completed" and endings.count_failed_trials(connection, row.id) > 0:
        allowed = ("resume",) if find_study(connection, name).spec.can_retry_failed else ()
    return row.state, (*allowed, "report") if endings.has_finished_trial(connection, row.id) else allowed


def _is_dead(row: Row[Any]) -> bool:
    """Whether a study's driver was a process of this host that has ended."""
    return row.driver is not None and is_here(row.driver) and not is_alive(row.driver)


def _describe(row: Row[Any]) -> str:
    rest = "" if row.state == "completed" else f"; run the rest with: adai-study resume {row.name}"
    return f"{row.name}: {row.state}{rest}"


def _cancel_for_the_dead(engine: Engine, row: Row[Any]) -> str:
    """The driver gives no sign of life: do what it would have done."""
    with engine.begin() as connection:
        if bury_driver(connection, row):
            return f"{row.name}: cancelled; its driver, {describe(row.driver)}, had died"
        return _describe(find_row(connection, row.name))
