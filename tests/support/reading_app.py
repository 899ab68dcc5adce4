"""An application of the routes that only read, without sign-in: that is the business of what includes them."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from dashboards.api import events, runs, servers, studies, trials
from dashboards.api.problems import install_handlers
from dashboards.context import Context, DashboardOptions
from dashboards.live import live_of
from dashboards.server import StreamServer

MODULES: tuple[ModuleType, ...] = (studies, trials, runs, events, servers)


def make_context(engine: Engine, reports: Path) -> Context:
    """Of a dashboard on a database."""
    url = engine.url.render_as_string(hide_password=False)
    return Context(engine, DashboardOptions(url, url, reports))


def make_app(context: Context) -> FastAPI:
    """The application."""
    app = FastAPI()
    app.state.context = context
    install_handlers(app)
    for module in MODULES:
        app.include_router(module.router)
    return app


@contextmanager
def served(context: Context) -> Iterator[str]:
    """The address of a real server of the application; it ends within a moment, whoever still listens."""
    config = uvicorn.Config(make_app(context), port=0, log_level="warning", timeout_graceful_shutdown=30)
    server = StreamServer(config, live_of(context))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Else the body waits for 40 ms until the headers are acknowledged: asyncio does it where it knows TCP by name.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            started = time.monotonic()
            thread.join(timeout=30)
    assert time.monotonic() - started < 3
