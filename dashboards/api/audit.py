"""``/v1/audit``: what was written through the dashboard, and what was refused."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from dashboards.api.account_models import AuditEntry, AuditPage
from dashboards.context import Context, context_of
from dashboards.security.principals import Operator
from study.storage.audit_log import AuditRecord, read_entries

router = APIRouter(tags=["audit"])


@router.get("/v1/audit")
def read_audit(
    request: Request,
    principal: Operator,
    cursor: Annotated[str | None, Query(pattern="^[0-9]{1,18}$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    user: Annotated[str | None, Query(max_length=64)] = None,
) -> AuditPage:
    """Entries of the audit log, newest first, of everybody or of one user."""
    del principal
    return read_audit_page(context_of(request), cursor=cursor, limit=limit, user=user)


def read_audit_page(
    context: Context, *, cursor: str | None = None, limit: int = 50, user: str | None = None
) -> AuditPage:
    """Entries of the audit log, newest first.

    Args:
        context: Of the dashboard.
        cursor: ``next_cursor`` of the page before; None for the first.
        limit: At most so many.
        user: Only those of this user.
    """
    with context.engine.connect() as connection:
        before = None if cursor is None else int(cursor)
        found = read_entries(connection, before=before, limit=limit + 1, user_name=user)
    items = [_entry(record) for record in found[:limit]]
    return AuditPage(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)


def _entry(record: AuditRecord) -> AuditEntry:
    return AuditEntry(
        id=record.id,
        at=record.at,
        user_name=record.user_name,
        address=record.address,
        action=record.action,
        subject=record.subject,
        status=record.status,
        details=record.details,
    )
