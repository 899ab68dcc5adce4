"""``/v1``: server-sent events of all studies, or of one."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.requests import Request

from dashboards.context import Context, context_of
from dashboards.live import Listener, live_of
from dashboards.security.principals import principal_of
from study.storage.study_list import find_study_row


@contextlib.asynccontextmanager
async def _look_for_changes(app: Any) -> AsyncIterator[None]:
    context: Context = app.state.context
    async with live_of(context).running():
        yield


#: Its lifespan begins and ends with the application's.
router = APIRouter(tags=["events"], lifespan=_look_for_changes)

LastEventId = Annotated[str | None, Header(max_length=100, description="As browsers send it when a stream was lost.")]


async def hear_of_all(request: Request) -> AsyncIterator[Listener]:
    """Somebody who listens to all studies, until the answer has ended."""
    with live_of(context_of(request)).listening(None, _who(request)) as listener:
        yield listener


def find_name(request: Request, name: str) -> str:
    """The name of a study that there is."""
    with context_of(request).engine.connect() as connection:
        return find_study_row(connection, name).name


async def hear_of_study(request: Request, name: Annotated[str, Depends(find_name)]) -> AsyncIterator[Listener]:
    """Somebody who listens to one study, until the answer has ended."""
    with live_of(context_of(request)).listening(name, _who(request)) as listener:
        yield listener


@router.get("/v1/events", response_class=EventSourceResponse)
async def send_changes_of_all(
    request: Request, listener: Annotated[Listener, Depends(hear_of_all)], last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """Changes of all studies.

    Event `study` has a StudySummary, event `request` a Request, event `database` says whether it is `reachable` from
    now on. First come those that are active or new; after a stream that was lost, with `Last-Event-ID`, those that have
    changed since.
    """
    async for event in live_of(context_of(request)).events(listener, last_event_id):
        yield event


@router.get("/v1/studies/{name}/events", response_class=EventSourceResponse)
async def send_changes_of_study(
    request: Request, listener: Annotated[Listener, Depends(hear_of_study)]
) -> AsyncIterator[ServerSentEvent]:
    """Changes of one study: event `study` has a StudyDetail, as it is now at first; other events are those of all."""
    async for event in live_of(context_of(request)).events(listener):
        yield event


def _who(request: Request) -> str:
    principal = principal_of(request)
    return "" if principal is None else principal.name
