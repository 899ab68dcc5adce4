"""The door: nobody gets to a route without being signed in, whether its author thought of it or not."""

import time
from http import HTTPStatus
from urllib.parse import urlencode

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.api.problems import ProblemError, respond
from dashboards.context import Context
from dashboards.middleware import StopStreamingError
from dashboards.paths import SAFE_METHODS, SIGN_IN, is_open, is_page, is_public, wants_page
from dashboards.security.csrf import is_from_here
from dashboards.security.principals import Principal, has_token, identify, not_signed_in
from study.users_file import UsersFileError

#: How long an event stream goes on without looking whether its reader may still read.
_RECHECK_SECONDS = 10.0


class Gate:
    """Finds out who asks, for the routes to look at, and refuses strangers and writes from other sites.

    Args:
        app: What answers.
        context: Of the dashboard.
    """

    def __init__(self, app: ASGIApp, *, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if not self._is_allowed_here(connection.headers, scope["method"]):
            await respond(Request(scope), _from_elsewhere())(scope, receive, send)
            return
        # Pages that say that the database is away need their style all the same.
        known = not is_public(scope["path"])
        principal = await run_in_threadpool(identify, self._context, connection) if known else None
        connection.state.principal = principal
        if principal is not None:
            answer = _StreamEnd(self._context, connection, principal, send)
            try:
                await self._app(scope, receive, answer)
            except Exception:
                if not answer.is_stopped:
                    raise
        elif is_open(scope["path"]):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope)(scope, receive, send)

    def _is_allowed_here(self, headers: Headers, method: str) -> bool:
        """A token cannot be sent by another site; a cookie could, and a sign-in needs neither."""
        return method in SAFE_METHODS or has_token(headers) or is_from_here(headers, tls=self._context.options.tls)


class _StreamEnd:
    """Sends an answer; an event stream ends when its reader has signed out or may no longer do what he did."""

    def __init__(self, context: Context, connection: HTTPConnection, principal: Principal, send: Send) -> None:
        self._context = context
        self._connection = connection
        self._principal = principal
        self._send = send
        self._checked: float | None = None
        self.is_stopped = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            self._checked = time.monotonic() if kind.startswith("text/event-stream") else None
        elif self._checked is not None and time.monotonic() > self._checked + _RECHECK_SECONDS:
            if not await run_in_threadpool(self._may_go_on):
                self.is_stopped = True
                await self._send({"type": "http.response.body", "body": b""})
                raise StopStreamingError
            self._checked = time.monotonic()
        await self._send(message)

    def _may_go_on(self) -> bool:
        """Whether its reader is who it was; while that cannot be known the stream ends, and browsers come back."""
        try:
            return identify(self._context, self._connection) == self._principal
        except (SQLAlchemyError, UsersFileError):
            return False


def _refuse(scope: Scope) -> Response:
    path = scope["path"]
    if not is_page(path) and not wants_page(scope):
        return respond(Request(scope), not_signed_in())
    if scope["method"] not in ("GET", "HEAD"):
        # What was sent cannot be sent again after the sign-in.
        return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    query = scope["query_string"].decode("latin-1")
    target = f"{path}?{query}" if query else path
    return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': target})}", HTTPStatus.SEE_OTHER)


def _from_elsewhere() -> ProblemError:
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        "Not from our page",
        "the browser says that another site sent this; do it on the dashboard's own page",
    )
