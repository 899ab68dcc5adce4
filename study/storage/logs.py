"""What happened to a study, event by event, in the same transaction as what it tells of."""

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from sqlalchemy import Connection, insert, select

from study.storage.tables import logs, studies

Level = Literal["info", "warning", "error"]

#: The log of this process: silent unless the process's log is configured, as `adai-study serve` does.
process_log = structlog.wrap_logger(
    logging.getLogger("adai-study"),
    processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)
logging.getLogger("adai-study").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of a study.

    Attributes:
        id: Increasing with time.
        at: When it was written.
        level: ``info``, ``warning`` or ``error``.
        event: What happened, as a word of the documentation.
        details: Identifiers and numbers; plain JSON.
    """

    id: int
    at: dt.datetime
    level: str
    event: str
    details: dict[str, Any]


def log_event(connection: Connection, study_id: int, event: str, *, level: Level = "info", **details: Any) -> None:
    """Write one event; details that are None are left out."""
    known = {name: value for name, value in details.items() if value is not None}
    connection.execute(
        insert(logs).values(study_id=study_id, at=dt.datetime.now(dt.UTC), level=level, event=event, details=known)
    )
    # A transaction that is tried again says so twice.
    process_log.log(_NUMBERS[level], event, study_id=study_id, **known)


def read_logs(connection: Connection, name: str, *, after: int = 0) -> Iterator[LogEntry]:
    """The events of the study called ``name`` with ids above ``after``, in their order."""
    query = (
        select(logs)
        .join(studies, logs.c.study_id == studies.c.id)
        .where(studies.c.name == name, logs.c.id > after)
        .order_by(logs.c.id)
    )
    for row in connection.execute(query):
        yield LogEntry(row.id, row.at, row.level, row.event, row.details)


_NUMBERS = {"info": 20, "warning": 30, "error": 40}
