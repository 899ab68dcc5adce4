"""Writes down every write through the dashboard, and every refused one, before it is answered."""

from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.context import Context
from dashboards.paths import SAFE_METHODS
from dashboards.security.principals import principal_of
from dashboards.security.state import security_of
from study.storage.audit_log import append_entry
from study.storage.logs import process_log

_UNDONE = 400
_FAILED = 500


def note(
    connection: HTTPConnection, action: str, subject: str, *, user_name: str | None = None, **details: Any
) -> None:
    """Say in the audit log what a request does, better than its route can; also of a GET.

    Args:
        connection: The request.
        action: A word, such as ``sign_in``.
        subject: Of what, such as a study's name.
        user_name: Who, where nobody is signed in yet.
        details: What else is worth knowing; never a secret.
    """
    connection.state.audit = {"action": action, "subject": subject, "user_name": user_name, "details": details}


def client_address(connection: HTTPConnection) -> str:
    """From where a request comes: the address of the client, as trusted proxies tell it."""
    return "" if connection.client is None else connection.client.host


class Audit:
    """Writes an entry for each request that may change something, and for those that say so by :func:`note`.

    Of strangers who are refused only so many entries are written, and then that no more are: else anybody could fill
    the disk. Without a database the entry goes to the process's log.

    Args:
        app: What answers.
        context: Of the dashboard.
    """

    def __init__(self, app: ASGIApp, *, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and write down."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        written = False

        async def write(status: int) -> None:
            nonlocal written
            if not written and (scope["method"] not in SAFE_METHODS or "audit" in scope.get("state", {})):
                written = True
                await run_in_threadpool(self._write, HTTPConnection(scope), status)

        async def send_after_writing(message: Message) -> None:
            if message["type"] == "http.response.start":
                await write(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_after_writing)
        except Exception:
            await write(_FAILED)
            raise

    def _write(self, connection: HTTPConnection, status: int) -> None:
        principal = principal_of(connection)
        noted = getattr(connection.state, "audit", {})
        known: dict[str, Any] = {
            "user_name": noted.get("user_name") or (None if principal is None else principal.name),
            "address": client_address(connection),
            "action": noted.get("action") or _route_name(connection),
            "subject": noted.get("subject") or connection.scope["path"],
            "status": status,
            "details": {
                "method": connection.scope["method"],
                **_reason(connection, status),
                **noted.get("details", {}),
            },
        }
        address = known["address"]
        limit = security_of(self._context).refusals
        if known["user_name"] is None and status >= _UNDONE and not limit.takes(address):
            if not limit.takes_remark(address):
                return
            known |= {"action": "more_refusals", "subject": "not written down for some minutes", "details": {}}
        try:
            with self._context.engine.begin() as database:
                append_entry(database, **known)
        except SQLAlchemyError as error:
            process_log.error("audit_not_written", reason=str(getattr(error, "orig", None) or error), **known)


def _route_name(connection: HTTPConnection) -> str:
    endpoint = connection.scope.get("endpoint")
    return str(getattr(endpoint, "__name__", "request"))


def _reason(connection: HTTPConnection, status: int) -> dict[str, str]:
    problem = getattr(connection.state, "problem", None)
    return {"problem": problem} if status >= _UNDONE and isinstance(problem, str) else {}
