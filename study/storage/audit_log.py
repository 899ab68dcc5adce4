"""The audit log: every write through the dashboard, and every try of one. Entries are only ever added."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from study.storage.tables import audit

#: A subject is cut there: it may be a path of any length.
_MAX_SUBJECT = 500


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry.

    Attributes:
        id: Increasing with time.
        at: When; UTC.
        user_name: Who; None if nobody was signed in.
        address: From where.
        action: What was asked for, as a word of the program.
        subject: Of what, such as a study's name or a path.
        status: HTTP status of the answer.
        details: What else is known; plain JSON.
    """

    id: int
    at: dt.datetime
    user_name: str | None
    address: str
    action: str
    subject: str
    status: int
    details: dict[str, Any]


def append_entry(
    connection: Connection,
    *,
    user_name: str | None,
    address: str,
    action: str,
    subject: str,
    status: int,
    details: Mapping[str, Any],
) -> None:
    """Write an entry; texts that are too long are cut."""
    connection.execute(
        insert(audit).values(
            at=dt.datetime.now(dt.UTC),
            user_name=user_name,
            address=_fitting(address, 64),
            action=_fitting(action, 64),
            subject=_fitting(subject, _MAX_SUBJECT),
            status=status,
            details=dict(details),
        )
    )


def read_entries(
    connection: Connection, *, before: int | None = None, limit: int = 50, user_name: str | None = None
) -> list[AuditRecord]:
    """Entries, newest first.

    Args:
        connection: To read with.
        before: Only those with ids below it: the last id of the page before.
        limit: At most so many.
        user_name: Only those of this user.
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    if user_name is not None:
        query = query.where(audit.c.user_name == user_name)
    return [
        AuditRecord(row.id, row.at, row.user_name, row.address, row.action, row.subject, row.status, row.details)
        for row in connection.execute(query)
    ]


def _fitting(text: str, length: int) -> str:
    """Cut, and without what PostgreSQL cannot store."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()[:length]
