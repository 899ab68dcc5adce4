"""Handles requests in the dashboard's own process, where its database user may write studies."""

import contextlib
import threading
from collections.abc import Iterator

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboards.context import Context
from study.request_handling import RequestHandler
from study.storage.logs import process_log
from study.storage.requests import may_handle

#: Between two tries to ask a database that is away.
_PAUSE_SECONDS = 5.0
_STOP_SECONDS = 15.0


@contextlib.contextmanager
def request_worker(context: Context) -> Iterator[None]:
    """Handle requests within the block, unless this database user may only ask for things.

    Then, and beside it, servers handle them. It trains nothing: studies that were submitted wait for a server.

    Args:
        context: Of the dashboard.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_work, args=(context, stop), name="request worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_STOP_SECONDS)


def _work(context: Context, stop: threading.Event) -> None:
    if not _is_permitted(context.engine, stop):
        return
    with RequestHandler(context.engine, context.options.reports):
        stop.wait()


def _is_permitted(engine: Engine, stop: threading.Event) -> bool:
    """Whether this database user may write studies; a database that is away is asked again."""
    while not stop.is_set():
        try:
            with engine.connect() as connection:
                return may_handle(connection)
        except SQLAlchemyError as error:
            process_log.warning("database_away", error=str(getattr(error, "orig", None) or error))
            stop.wait(_PAUSE_SECONDS)
    return False
