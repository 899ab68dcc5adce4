"""Sessions: a random id in a cookie, its keyed hash in the database, twelve hours at most."""

import datetime as dt
import hmac
import re
import secrets
from http import HTTPStatus

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from dashboards.context import Context, DashboardOptions
from dashboards.security.state import SecurityState, security_of
from study.accounts import Account
from study.storage.accounts import add_session, delete_session, find_session

LIFETIME = dt.timedelta(hours=12)

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}\.[0-9a-f]{64}")


def cookie_name(options: DashboardOptions) -> str:
    """Behind TLS with the prefix that no other host and no page without TLS can set."""
    return "__Host-adai_session" if options.tls else "adai_session"


def start_session(context: Context, account: Account) -> str:
    """Write a new session of a user; what its cookie holds.

    The id is always a new one: one that somebody else put into the browser before is worth nothing after. Behind it
    stands a proof of the password as it was: with another password the cookie is worth nothing either.
    """
    state = security_of(context)
    session_id = secrets.token_urlsafe(32)
    with context.engine.begin() as connection:
        add_session(connection, _hash(state, session_id), account.name, lifetime=LIFETIME)
    return f"{session_id}.{_proof(state, session_id, account)}"


def read_session(context: Context, connection: HTTPConnection) -> tuple[Account, str] | None:
    """The user of a request's cookie, as it is now, and the session's hash; None without a valid one.

    Raises:
        UsersFileError: The file of users cannot be used.
        SQLAlchemyError: The database cannot.
    """
    cookie = connection.cookies.get(cookie_name(context.options), "")
    if not _COOKIE.fullmatch(cookie):
        return None
    state = security_of(context)
    session_id, _, proof = cookie.partition(".")
    session = _hash(state, session_id)
    with context.engine.connect() as database:
        found = find_session(database, session)
    account = None if found is None else state.account(found.user_name, found.stored)
    if account is None or not hmac.compare_digest(proof, _proof(state, session_id, account)):
        return None
    return account, session


def end_session(context: Context, session: str) -> None:
    """Forget a session, given its hash."""
    with context.engine.begin() as connection:
        delete_session(connection, session)


def set_cookie(response: Response, options: DashboardOptions, value: str) -> None:
    """Give the browser its session.

    ``Lax``, not ``Strict``: a link to a study in a letter leads to the study; writes are protected by more than that.
    """
    response.set_cookie(
        cookie_name(options),
        value,
        max_age=int(LIFETIME.total_seconds()),
        path="/",
        secure=options.tls,
        httponly=True,
        samesite="lax",
    )


def leave(path: str, options: DashboardOptions) -> Response:
    """Go to ``path`` without the session."""
    response = RedirectResponse(path, HTTPStatus.SEE_OTHER)
    response.delete_cookie(cookie_name(options), path="/", secure=options.tls, httponly=True, samesite="lax")
    return response


def _hash(state: SecurityState, session_id: str) -> str:
    return state.sign("session", session_id)


def _proof(state: SecurityState, session_id: str, account: Account) -> str:
    return state.sign("password", session_id, account.name, account.password_hash)
