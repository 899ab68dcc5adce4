"""Answers that end before their content does, errors that nobody expected, and requests for headers only."""

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.api.problems import respond


class StopStreamingError(OSError):
    """The answer has ended; raised where more of it is sent, as servers do when a client has gone.

    Streams may pass it on in a group of the errors of their tasks: whoever raised it lets nothing of it out.
    """


class Errors:
    """Ends every request with an answer, and notes what nobody expected in the log; inside it may be anything.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, note_start)
        except ClientDisconnect:
            return
        except Exception as error:
            if started and _has_no_reader(error):
                return
            response = respond(Request(scope), error)
            if started:
                # Half an answer is out: the server cuts the connection, so that nobody takes it for all of it.
                raise
            await response(scope, receive, send)


def _has_no_reader(error: Exception) -> bool:
    """Whether nothing went wrong but that the reader of an event stream went away while it was being sent to."""
    return isinstance(error, ExceptionGroup) and error.split(anyio.BrokenResourceError)[1] is None


class HeadAsGet:
    """Answers HEAD wherever GET is answered: the routes see a GET, of which only the headers are sent.

    Whoever must not act on a HEAD asks :func:`is_head`.

    Args:
        app: The routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        ended = stopped = False

        async def send_headers(message: Message) -> None:
            nonlocal ended, stopped
            if message["type"] == "http.response.start":
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b""})
            if ended and message.get("more_body", False):
                stopped = True
                raise StopStreamingError

        try:
            await self._app({**scope, "method": "GET", "adai.head": True}, receive, send_headers)
        except Exception:
            if not stopped:
                raise


def is_head(request: Request) -> bool:
    """Whether only the headers are asked for, by a preview of a link perhaps."""
    return bool(request.scope.get("adai.head", False))
