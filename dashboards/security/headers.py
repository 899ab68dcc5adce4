"""Headers of every answer: what browsers may load, keep, and tell others."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Nothing from elsewhere, nothing inline: a study's name that is HTML would do nothing, even if it were not escaped.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers then send `Origin: null` with forms, and our own could not be told from others'.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_TLS_FOR = "max-age=31536000"


class SecurityHeaders:
    """Adds what an answer does not say itself.

    Optuna Dashboard's pages keep their own Content-Security-Policy. Nothing of ours is for scripts of other sites:
    Optuna Dashboard's ``Access-Control-Allow-Origin: *`` is taken away. What may be kept says so itself, by
    Cache-Control or an ETag; all else, with its CSRF tokens and secrets, is kept nowhere.

    Args:
        app: What answers.
        tls: Whether people reach it by https: browsers are then told to use nothing else for a year.
    """

    def __init__(self, app: ASGIApp, *, tls: bool) -> None:
        self._app = app
        self._headers = _EVERYWHERE | ({"Strict-Transport-Security": _TLS_FOR} if tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._complete(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _complete(self, headers: MutableHeaders) -> None:
        del headers["Access-Control-Allow-Origin"]
        for name, value in self._headers.items():
            headers[name] = value
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
