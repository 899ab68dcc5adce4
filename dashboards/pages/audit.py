"""``/audit``: what was written through the dashboard, and who tried; for operators."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.context import context_of
from dashboards.pages.links import link
from dashboards.pages.rendering import render
from dashboards.security.principals import Operator
from study.storage.audit_log import read_entries

router = APIRouter(include_in_schema=False)

_LIMIT = 100


@router.get("/audit")
def show_audit(
    request: Request,
    principal: Operator,
    user: Annotated[str, Query(max_length=64)] = "",
    before: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> HTMLResponse:
    """The audit log, newest first; of one user, where one is named."""
    name = user.strip()
    with context_of(request).engine.connect() as connection:
        # One more than are shown tells whether there is another page.
        entries = read_entries(connection, before=before, limit=_LIMIT + 1, user_name=name or None)
    shown = entries[:_LIMIT]
    following = link("/audit", user=name, before=shown[-1].id) if len(entries) > _LIMIT else None
    first = link("/audit", user=name) if before else None
    return render(request, "audit.html.j2", principal, entries=shown, user=name, first=first, next=following)
