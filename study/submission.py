"""Puts studies into the queue, and stops them: what can be asked of a study from anywhere."""

import time
from typing import Any

from sqlalchemy import Engine, Row

from study.claim import describe, is_alive, is_here
from study.creation import check_name, create_study
from study.errors import StudyError
from study.settings import Settings
from study.spec import StudySpec
from study.storage import endings
from study.storage.claims import ENDED, ask_to_cancel, bury_driver, find_row, queue_study
from study.storage.engine import create_database, open_database

#: How long a driver may take to stop; it looks every few seconds.
_CANCEL_SECONDS = 30.0
_LOOK_SECONDS = 0.2


def submit_study(spec: StudySpec, settings: Settings) -> str:
    """Put a study into the queue unless it runs or has ended; returns what was done, for people.

    Raises:
        SpecError: The name belongs to another spec.
    """
    with create_database(settings.database_url) as engine:
        if not check_name(engine, spec):
            create_study(engine, spec, queued=True, retry_seconds=settings.database_retry_seconds)
            return f"{spec.name}: queued, {spec.trial_count} trials; watch it with: adai-study watch {spec.name}"
        with engine.begin() as connection:
            row = find_row(connection, spec.name)
            if row.driver is not None and is_here(row.driver) and not is_alive(row.driver):
                bury_driver(connection, row)
                row = find_row(connection, spec.name)
            failed = spec.can_retry_failed and endings.count_failed_trials(connection, row.id) > 0
            if (row.state != "completed" or failed) and queue_study(connection, row.id):
                return f"{spec.name}: queued again; it was {row.state}{', with failed trials' if failed else ''}"
    return f"{spec.name}: {row.state} already; nothing was done"


def cancel_study(name: str, settings: Settings) -> str:
    """Stop a study and wait until it has stopped; returns what was done, for people.

    Raises:
        UnknownStudyError: There is no such study.
        StudyError: Its driver lives and does not stop.
    """
    with open_database(settings.database_url) as engine:
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
            if is_here(now.driver) and not is_alive(now.driver):
                return _cancel_for_the_dead(engine, now)
            time.sleep(_LOOK_SECONDS)
        if now.beat == row.beat:
            return _cancel_for_the_dead(engine, now)
        raise StudyError(
            f"study {name!r} has not stopped within {_CANCEL_SECONDS:.0f} s; its driver is {describe(now.driver)}: "
            "it stops when it has answered, or when it is ended there"
        )


def _describe(row: Row[Any]) -> str:
    rest = "" if row.state == "completed" else f"; run the rest with: adai-study resume {row.name}"
    return f"{row.name}: {row.state}{rest}"


def _cancel_for_the_dead(engine: Engine, row: Row[Any]) -> str:
    """The driver gives no sign of life: do what it would have done."""
    with engine.begin() as connection:
        if bury_driver(connection, row):
            return f"{row.name}: cancelled; its driver, {describe(row.driver)}, had died"
        return _describe(find_row(connection, row.name))
