"""The web server: one address on this machine."""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount

from dashboards.optuna_app import create_optuna_app
from study.errors import RequestError

HOST = "127.0.0.1"


def create_app(database_url: str) -> Starlette:
    """The ASGI application.

    Requests under another host name are refused: a page on the web could else point its own name at this machine
    and read studies through the visitor's browser.
    """
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=[Mount("/", app=create_optuna_app(database_url))], middleware=[hosts])


def serve(database_url: str, port: int) -> None:
    """Serve on 127.0.0.1 until interrupted.

    Raises:
        RequestError: The port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise RequestError(
                f"port {port} of {HOST} cannot be used ({error.strerror}); choose another with --port"
            ) from error
        print(f"Optuna Dashboard: http://{HOST}:{port}/dashboard (Ctrl-C ends it)", flush=True)  # noqa: T201 - where to look
        config = uvicorn.Config(create_app(database_url), log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])
