"""The dashboard on a real server of this process, with users of both roles."""

import contextlib
import datetime as dt
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from dashboards.app import create_app
from dashboards.context import Context, DashboardOptions
from dashboards.security import csrf
from dashboards.security.sessions import cookie_name
from dashboards.security.state import security_of
from dashboards.server import ImpatientProtocol
from dashboards.serving import listen
from study.accounts import Account, Role, hash_password, hash_token_secret, make_token_secret
from study.storage.accounts import add_account, add_token
from study.storage.engine import open_database

SECRET = "the secret of the tests, 32 characters"  # noqa: S105
PASSWORD = "correct horse battery"  # noqa: S105
VIEWER, OPERATOR = "vera", "otto"


@dataclass(frozen=True)
class Served:
    """A dashboard that answers at ``address``."""

    app: FastAPI
    context: Context
    address: str

    def client(self, **settings: Any) -> httpx.Client:
        """Somebody who is not signed in; redirects are not followed."""
        return httpx.Client(base_url=self.address, timeout=30, **settings)

    @contextlib.contextmanager
    def session(self, name: str, *, with_csrf: bool = True) -> Iterator[httpx.Client]:
        """A browser in which ``name`` has signed in; its writes come with a CSRF token."""
        with self.client() as client:
            answer = client.post("/sign-in", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            if with_csrf:
                client.headers[csrf.HEADER] = self.csrf_token(client)
            yield client

    @contextlib.contextmanager
    def token(self, name: str, role: Role, *, days: float | None = 1, revoked: bool = False) -> Iterator[httpx.Client]:
        """A program with an API token."""
        secret = make_token_secret()
        lifetime = None if days is None else dt.timedelta(days=days)
        with self.context.engine.begin() as connection:
            record = add_token(
                connection, hash_token_secret(secret), user_name=name, name="test", role=role, lifetime=lifetime
            )
        with self.client(headers={"Authorization": f"Bearer {secret}"}) as client:
            if revoked:
                assert client.delete(f"/v1/tokens/{record.id}").status_code == 204
            yield client

    def csrf_token(self, client: httpx.Client) -> str:
        """A token of the client's session, as its pages have it."""
        state = security_of(self.context)
        session_id = client.cookies[cookie_name(self.context.options)].partition(".")[0]
        return csrf.make_token(state, state.sign("session", session_id))

    def add_user(self, name: str, role: Role) -> None:
        """Write a user into the database; all have one password."""
        with self.context.engine.begin() as connection:
            add_account(connection, Account(name, role, hash_password(PASSWORD)))


@contextlib.contextmanager
def served(url: str, folder: Path, *, users: bool = True, **options: Any) -> Iterator[Served]:
    """The dashboard of a database, with a viewer and an operator, until the block ends."""
    options = {"reader_url": url, "reports": folder / "reports", "secret": SECRET} | options
    with open_database(url) as engine:
        context = Context(engine, DashboardOptions(database_url=url, **options))
        app = create_app(context)
        with running(app) as address:
            dashboard = Served(app, context, address)
            if users:
                dashboard.add_user(VIEWER, "viewer")
                dashboard.add_user(OPERATOR, "operator")
            yield dashboard


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """A server of an application on a port of 127.0.0.1: its address."""
    with listen("127.0.0.1", 0) as listener:
        proxies = app.state.context.options.proxies
        config = uvicorn.Config(
            app,
            http=ImpatientProtocol,
            log_level="critical",
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def copy_database(url: str, folder: Path) -> str:
    """A copy of an SQLite database that may be written."""
    source = Path(url.removeprefix("sqlite:///"))
    for suffix in ("", "-wal", "-shm"):
        part = source.with_name(source.name + suffix)
        if part.exists():
            shutil.copy(part, folder / f"copy.db{suffix}")
    return f"sqlite:///{folder}/copy.db"
