"""Optuna Dashboard as an ASGI application that only reads."""

from http import HTTPStatus
from urllib.parse import quote

import optuna
import optuna_dashboard
from a2wsgi import WSGIMiddleware
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboards.api.problems import ProblemError, respond
from study.errors import DatabaseError
from study.storage.batch_storage import BatchStorage
from study.storage.engine import database_file, parse_url, shown

_READING = ("GET", "HEAD")
_READ_ONLY = "-c default_transaction_read_only=on"


class OptunaApp:
    """Optuna Dashboard over the Optuna studies in a database, for reading.

    Nothing but GET and HEAD passes, whoever asks. Optuna Dashboard has no users: it deletes a study for anybody who
    asks. A viewer may change nothing at all; an operator changes studies through our own API, which validates,
    asks for a CSRF token and writes everything down: a study deleted behind the back of its driver, a trial told or a
    note changed here would do none of that. So that nothing can slip through, its connections cannot write either.

    The storage is Optuna's cached one, since the uncached one reads all trials anew for every page, over ours, which
    reads them several times as fast.

    Args:
        url: The database, perhaps with a role that can only read.

    Raises:
        DatabaseError: It cannot be read.
    """

    def __init__(self, url: str) -> None:
        try:
            self._storage = BatchStorage(read_only_url(url))
            app = optuna_dashboard.wsgi(optuna.storages.get_storage(self._storage))
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
            reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise DatabaseError(
                f"Optuna's tables cannot be read in {shown(url)}: {reason}; let its role read them: "
                "adai-study db grant --reader ROLE"
            ) from error
        self._wsgi = WSGIMiddleware(app)
        self._app: ASGIApp = self._wsgi  # type: ignore[assignment]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what reads, refuse what does not."""
        if scope["method"] not in _READING:
            await respond(Request(scope), _refusal())(scope, receive, send)
            return
        if "accept-encoding" not in Headers(scope=scope):
            # Optuna Dashboard fails without.
            scope = {**scope, "headers": [*scope["headers"], (b"accept-encoding", b"identity")]}
        await self._app(scope, receive, send)

    def close(self) -> None:
        """End its threads and connections."""
        self._wsgi.executor.shutdown()
        self._storage.remove_session()
        self._storage.engine.dispose()


def read_only_url(url: str) -> str:
    """The same database, through connections that cannot write."""
    parsed = parse_url(url)
    file = database_file(url)
    if file is not None:
        return f"sqlite:///file:{quote(str(file.absolute()))}?mode=ro&uri=true"
    if parsed.get_backend_name() == "sqlite":
        return url
    options = " ".join([*_as_tuple(parsed.query.get("options")), _READ_ONLY])
    return parsed.update_query_dict({"options": options}).render_as_string(hide_password=False)


def _as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _refusal() -> ProblemError:
    return ProblemError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Only for reading",
        "Optuna Dashboard only reads here; change studies on the dashboard's own pages or with adai-study",
        headers={"Allow": ", ".join(_READING)},
    )
