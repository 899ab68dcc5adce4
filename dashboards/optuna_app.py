"""Optuna Dashboard as an ASGI application that only reads."""

import optuna
import optuna_dashboard
from a2wsgi import WSGIMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from study.storage.batch_storage import BatchStorage

_READING = ("GET", "HEAD")


class ReadOnly:
    """Lets through requests that read; Optuna Dashboard itself would delete a study for anyone who asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["method"] not in _READING:
            refusal = PlainTextResponse(
                "this dashboard only reads; use the adai-study command to change studies\n", 405
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def create_optuna_app(database_url: str) -> ASGIApp:
    """Optuna Dashboard over the Optuna studies in ``database_url``.

    The storage is Optuna's cached one, since the uncached one reads all trials anew for every page, over ours, which
    reads them several times as fast.
    """
    storage = optuna.storages.get_storage(BatchStorage(database_url))
    return ReadOnly(WSGIMiddleware(optuna_dashboard.wsgi(storage)))  # type: ignore[arg-type]
