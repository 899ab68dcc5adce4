"""What every route of the dashboard needs: the database, the reports, the secret, and what it was told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from starlette.requests import HTTPConnection


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """How the dashboard is served.

    Attributes:
        database_url: The database that our pages read, and into which requests, sessions and the audit log go.
        reader_url: The database as Optuna Dashboard's pages read it; the same with a role that cannot write, where
            there is one.
        reports: Folder of the reports; each study has one of its own in it.
        secret: Keys the hashes of sessions and the CSRF tokens; None makes one for the life of the process.
        users_file: Users beside those of the database; None for none.
        hosts: Host names under which it is asked for.
        tls: Whether people reach it by https, by a proxy that ends TLS: cookies are then Secure, and HSTS is sent.
        proxies: Addresses of proxies whose X-Forwarded-For is believed.
    """

    database_url: str
    reader_url: str
    reports: Path
    secret: str | None = None
    users_file: Path | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    tls: bool = False
    proxies: tuple[str, ...] = ()


@dataclass(slots=True)
class Context:
    """What is shared by all requests of one process.

    Attributes:
        engine: The database.
        options: How the dashboard is served.
        parts: What modules of the dashboard keep between requests, each under its own name.
    """

    engine: Engine
    options: DashboardOptions
    parts: dict[str, Any] = field(default_factory=dict)


def context_of(connection: HTTPConnection) -> Context:
    """The context of a request."""
    context: Context = connection.app.state.context
    return context
