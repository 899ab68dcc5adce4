"""Serves the application: where it may listen, what people are told, how it ends."""

import ipaddress
import secrets
import signal
import socket
import stat
import sys
from dataclasses import replace
from pathlib import Path

import uvicorn

from dashboards.app import create_app
from dashboards.context import Context, DashboardOptions
from dashboards.live import live_of
from dashboards.security.hosts import LOOPBACK, split_host
from dashboards.security.sign_in import has_users
from dashboards.security.state import security_of
from dashboards.server import ImpatientProtocol, StreamServer
from study.cli_dashboard import DashboardWords
from study.errors import OutputError, RequestError
from study.serving import configure_log
from study.settings import Settings
from study.storage.engine import open_database

MIN_SECRET = 32
#: Event streams never end by themselves: after so many seconds they are cut.
_GRACE_SECONDS = 3
_ANY = ("0.0.0.0", "::")  # noqa: S104 - recognized, not bound


def serve_database(settings: Settings, words: DashboardWords) -> None:
    """Serve the dashboard of a database until interrupted, as the command line and the settings say.

    Raises:
        RequestError: As :func:`serve`; or the secret cannot be used.
    """
    options = DashboardOptions(
        database_url=settings.database_url,
        reader_url=settings.reader_database_url or settings.database_url,
        reports=words.reports,
        secret=None if words.secret_file is None else read_secret(words.secret_file),
        users_file=settings.dashboard_users_file,
        hosts=words.hosts,
        tls=words.tls,
        proxies=settings.dashboard_proxies,
    )
    serve(options, words.host, words.port)


def serve(options: DashboardOptions, host: str, port: int) -> None:
    """Serve until interrupted.

    Args:
        options: What is served, and how.
        host: Address to listen at; without a secret only loopback.
        port: TCP port.

    Raises:
        RequestError: There is no secret for another address than loopback, or the port is taken.
        DatabaseError: The database cannot be used.
        UsersFileError: The file of users cannot be used.
    """
    check_address(host, options)
    configure_log("auto")
    if host not in _ANY:
        options = replace(options, hosts=(*options.hosts, host))
    with open_database(options.database_url) as engine:
        context = Context(engine, options)
        app = create_app(context)
        with listen(host, port) as listener:
            for line in _where_to_look(context, host, port):
                print(line, flush=True)  # noqa: T201 - where to look
            config = uvicorn.Config(
                app,
                http=ImpatientProtocol,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                proxy_headers=bool(options.proxies),
                forwarded_allow_ips=list(options.proxies),
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
            # uvicorn ends gracefully at SIGTERM, and raises it again for whoever handled it before: that is the end.
            signal.signal(signal.SIGTERM, lambda *_: None)
            StreamServer(config, live_of(context)).run(sockets=[listener])


def check_address(host: str, options: DashboardOptions) -> None:
    """See that nobody else reaches a dashboard without a secret.

    Raises:
        RequestError: They would.
    """
    if options.secret is None and not _is_loopback(host):
        raise RequestError(
            f"without a secret the dashboard listens on this machine only, not on {host}; make one with "
            "`adai-study dashboard --make-secret FILE` and name it with --secret-file FILE or "
            "ADAI_DASHBOARD_SECRET_FILE, then add a user with `adai-study users add NAME`"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        RequestError: The port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(f"port {port} of {host} cannot be used ({reason}); choose another with --port") from error
    # Answers are written in two parts, headers and body: the second would wait 40 ms for a word about the first. Its
    # connections have it from here; asyncio would set it only for sockets made with the protocol's number.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def make_secret(path: Path) -> None:
    """Write a new secret to a file that only its owner can read.

    Raises:
        OutputError: It exists, or cannot be written.
    """
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(f"{secrets.token_urlsafe(48)}\n", encoding="ascii")
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}); name a new file") from error


def read_secret(path: Path) -> str:
    """The secret in a file; warns if others than its owner may read it, as files of container secrets often are.

    Raises:
        RequestError: It cannot be read, or is too short.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the secret file {path} cannot be read: {error}") from error
    if len(secret) < MIN_SECRET:
        raise RequestError(
            f"the secret in {path} has {len(secret)} characters, it needs {MIN_SECRET}; make one with "
            "`adai-study dashboard --make-secret FILE`"
        )
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        print(f"Warning: others than its owner may read {path}; do: chmod 600 {path}", file=sys.stderr)  # noqa: T201
    return secret


def _where_to_look(context: Context, host: str, port: int) -> list[str]:
    shown = LOOPBACK[0] if host in _ANY else host
    address = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
    lines = [f"Dashboard: {address} (Optuna Dashboard: {address}dashboard; Ctrl-C ends it)"]
    if not has_users(context):
        if context.options.secret is None:
            lines.append(f"Sign in, once: {address}sign-in?key={security_of(context).key.make()}")
        else:
            lines.append("There are no users yet; add one: adai-study users add NAME --role operator")
    if not _is_loopback(host) and not context.options.tls:
        lines.append("Passwords cross the network in the clear; put a proxy with TLS before it, and say --behind-tls")
    if context.options.tls and not context.options.proxies:
        lines.append("Everybody seems to come from the proxy; name its address in ADAI_DASHBOARD_PROXIES")
    names = [name for name in context.options.hosts if (split_host(name) or (name, None))[0] not in (*LOOPBACK, host)]
    if names or not _is_loopback(host):
        lines.append(f"It answers as: {', '.join(dict.fromkeys((*context.options.hosts, *LOOPBACK)))}")
    return lines


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
