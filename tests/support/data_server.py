"""Serves what reads landscapes, curves and reports, over a real server, without anybody having to sign in."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from dashboards.api import curves, landscape, reports
from dashboards.api.problems import install_handlers
from dashboards.context import Context, DashboardOptions
from dashboards.security.headers import SecurityHeaders


def make_data_app(engine: Engine, folder: Path) -> FastAPI:
    """The routes over a database, with reports below ``folder``."""
    app = FastAPI(
        redirect_slashes=False, middleware=[Middleware(SecurityHeaders, tls=False), Middleware(GZipMiddleware)]
    )
    url = engine.url.render_as_string(hide_password=False)
    app.state.context = Context(engine, DashboardOptions(database_url=url, reader_url=url, reports=folder))
    install_handlers(app)
    for module in (landscape, curves, reports):
        app.include_router(module.router)
    return app


@contextlib.contextmanager
def serve_data(engine: Engine, folder: Path) -> Iterator[httpx.Client]:
    """A client of a server of its own on this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(make_data_app(engine, folder), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/studies/"
        try:
            with httpx.Client(base_url=base, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)
