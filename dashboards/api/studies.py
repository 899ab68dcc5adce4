"""``/v1``: studies, what failed in them, their events and their specs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.etags import send
from dashboards.api.models import Failure, Failures, LogEntry, LogPage, State, StudyDetail, StudyPage
from dashboards.api.paging import Cursor, CursorText, Whole
from dashboards.context import context_of
from dashboards.snapshots import snapshots_of
from study.storage.logs import read_logs
from study.storage.progress import read_failures
from study.storage.study_list import StudySort, find_study_row

router = APIRouter(tags=["studies"])

#: Kinds of failure that are listed.
_FAILURES = 100
_LOG_CURSOR: Cursor[tuple[int, ...]] = Cursor("events", tuple[Whole])


@router.get("/v1/studies", response_model=StudyPage)
def list_studies(
    request: Request,
    q: Annotated[str, Query(max_length=200, description="In the name or the description, as it stands.")] = "",
    state: Annotated[list[State] | None, Query(description="In this state; repeat it for several.")] = None,
    sort: StudySort = "-created",
    cursor: CursorText = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Studies, a page at a time."""
    return send(request, snapshots_of(context_of(request)).page(q, state or [], sort, cursor, limit))


@router.get("/v1/studies/{name}", response_model=StudyDetail)
def read_study(request: Request, name: str) -> Response:
    """A study: how far it is, its parts, its spec, its environment, its report."""
    return send(request, snapshots_of(context_of(request)).detail(name))


@router.get("/v1/studies/{name}/failures", response_model=Failures)
def list_failures(request: Request, name: str) -> Response:
    """What failed in a study, by reason, the most frequent first."""
    with context_of(request).engine.connect() as connection:
        found = read_failures(connection, find_study_row(connection, name).id, limit=_FAILURES)
    items = [
        Failure(
            workload=kind.workload,
            optimizer=kind.optimizer,
            termination=kind.termination.name.lower(),
            reason=kind.reason,
            attempts=kind.attempts,
            error=kind.error,
        )
        for kind in found.kinds
    ]
    return send(request, Failures(items=items, more=found.more, attempts=found.attempts))


@router.get("/v1/studies/{name}/logs", response_model=LogPage)
def list_events(
    request: Request, name: str, cursor: CursorText = None, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> Response:
    """What happened to a study, oldest first."""
    after = _LOG_CURSOR.decode(cursor)
    with context_of(request).engine.connect() as connection:
        name = find_study_row(connection, name).name
        found = list(read_logs(connection, name, after=after[0] if after else 0, limit=limit + 1))
    items = [
        LogEntry(id=entry.id, at=entry.at, level=entry.level, event=entry.event, details=entry.details)
        for entry in found[:limit]
    ]
    more = _LOG_CURSOR.encode((items[-1].id,)) if len(found) > limit else None
    return send(request, LogPage(items=items, next_cursor=more))


@router.get("/v1/studies/{name}/spec", response_model=dict[str, Any])
def read_spec(request: Request, name: str) -> Response:
    """The spec of a study, complete with defaults; `POST /v1/studies` takes it again."""
    return send(request, RootModel(snapshots_of(context_of(request)).detail(name).spec))
