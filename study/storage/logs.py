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

#: Names that the standard library's log has for itself, and those among them that are its own arguments.
_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_ARGUMENTS = frozenset({"exc_info", "stack_info"})


def _spare_taken_names(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Details under other names where the standard library would refuse theirs, such as ``message``."""
    del logger, method
    return {f"{name}_" if name in _TAKEN - _ARGUMENTS else name: value for name, value in event.items()}


#: The log of this process: silent unless the process's log is configured, as `adai-study serve` does.
process_log = structlog.wrap_logger(
    logging.getLogger("adai-study"),
    processors=[
        structlog.contextvars.merge_contextvars,
        _spare_taken_names,
        structlog.stdlib.render_to_log_kwargs,
    ],
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


def read_logs(connection: Connection, name: str, *, after: int = 0, limit: int | None = None) -> Iterator[LogEntry]:
    """The events of the study called ``name`` with ids above ``after``, in their order; at most ``limit``."""
    query = (
        select(logs)
        .join(studies, logs.c.study_id == studies.c.id)
        .where(studies.c.name == name, logs.c.id > after)
        .order_by(logs.c.id)
        .limit(limit)
    )
    for row in connection.execute(query):
        yield LogEntry(row.id, row.at, row.level, row.event, row.details)


_NUMBERS = {"info": 20, "warning": 30, "error": 40}
