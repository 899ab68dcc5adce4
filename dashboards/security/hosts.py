"""Under which host names the dashboard answers."""

import re
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboards.api.problems import ProblemError, respond

#: A page under one of these names is on this machine already.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class AllowedHosts:
    """Refuses requests under other names, those for event streams too.

    A page on the web could point its own name at this machine and read studies through its visitor's browser (DNS
    rebinding); the browser would then send that name as Host.

    Args:
        app: What answers.
        hosts: Names or addresses, each for all ports, or for one as in ``name:8080``; loopback is always allowed.
    """

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._allowed = {split_host(host) or (host.lower(), None) for host in (*hosts, *LOOPBACK)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        problem = self._examine(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await respond(Request(scope), problem)(scope, receive, send)

    def _examine(self, headers: Headers) -> ProblemError | None:
        given = headers.getlist("host")
        parsed = split_host(given[0]) if len(given) == 1 else None
        if parsed is None:
            detail = "send one Host header, a name or address and perhaps a port"
            return ProblemError(HTTPStatus.BAD_REQUEST, "No valid Host header", detail)
        host, _ = parsed
        if parsed in self._allowed or (host, None) in self._allowed:
            return None
        return ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "Not a name of this dashboard",
            f"it does not answer as {given[0]}; if that is its name, start it with --allow-host {host}",
        )


def split_host(text: str) -> tuple[str, int | None] | None:
    """The lower-case name or address, without brackets, and the port; None if the text is neither."""
    text = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    if not _AUTHORITY.fullmatch(text):
        return None
    try:
        parsed = urlsplit(f"//{text}")
        host, port = parsed.hostname, parsed.port
    except ValueError:
        return None
    return None if host is None else (host.removesuffix("."), port)
