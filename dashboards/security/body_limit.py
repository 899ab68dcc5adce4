"""No request is larger than a spec can be."""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.api.problems import ProblemError, respond

MAX_BODY = 1_000_000
"""Bytes; a spec has a few thousand."""
#: The rest of such a body is read and thrown away, so that its sender gets to see the answer; of longer ones not.
_MAX_THROWN_AWAY = 20 * MAX_BODY


class BodyLimit:
    """Refuses larger bodies: by their announced length before a byte is read, others as soon as they are too long.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = RequestBodyLimitMiddleware(app, MAX_BODY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            await _refuse_two_lengths(Request(scope))(scope, receive, send)
        elif "transfer-encoding" in headers:
            body = _Body(receive, send)
            await self._app(scope, body.receive, body.send)
        elif int(length := headers.get("content-length", "0")) <= MAX_BODY:
            await self._app(scope, receive, send)
        else:
            response = respond(Request(scope), _too_large())
            if int(length) > _MAX_THROWN_AWAY:
                response.headers["Connection"] = "close"
            await response(scope, receive, send)


class _Body:
    """A body of unknown length: answered before its end, the connection is closed, for it might have none."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._ended:
            MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)


def _refuse_two_lengths(request: Request) -> Response:
    """A proxy before this server may go by the other one, and take the rest for somebody else's request."""
    detail = "send either Content-Length or Transfer-Encoding"
    response = respond(request, ProblemError(HTTPStatus.BAD_REQUEST, "Two lengths of one body", detail))
    response.headers["Connection"] = "close"
    return response


def _too_large() -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "Too large",
        f"a request may have {MAX_BODY:,} bytes, and this one has more; a spec has a few thousand",
    )
