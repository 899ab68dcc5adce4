"""Who asks, and what that person or program may do."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from dashboards.api.problems import ProblemError
from dashboards.context import Context, context_of
from dashboards.paths import SAFE_METHODS
from dashboards.security import csrf
from dashboards.security.sessions import read_session
from dashboards.security.state import security_of
from study.accounts import Role, hash_token_secret
from study.storage.accounts import find_token

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_MAX_SECRET = 200


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: The user.
        role: What it may do: ``viewer`` reads, ``operator`` also writes.
        by: Whether it came with a session's cookie or an API token.
        session: Which session, as the database knows it; None for a token.
    """

    name: str
    role: Role
    by: Literal["session", "token"]
    session: str | None


def identify(context: Context, connection: HTTPConnection) -> Principal | None:
    """Who asks, from the database: roles, and who was removed or signed out, count at once.

    A request with an ``Authorization`` header is a program's: its cookies are not looked at.

    Raises:
        UsersFileError: The file of users cannot be used.
        SQLAlchemyError: The database cannot.
    """
    if has_token(connection.headers):
        return _identify_token(context, connection.headers["authorization"])
    found = read_session(context, connection)
    if found is None:
        return None
    account, session = found
    return Principal(account.name, account.role, "session", session)


def has_token(headers: Headers) -> bool:
    """Whether a request comes with a token, be it valid or not: no page of another site can make one do so."""
    return "authorization" in headers


def principal_of(connection: HTTPConnection) -> Principal | None:
    """Who asks; None where nobody is signed in."""
    principal: Principal | None = getattr(connection.state, "principal", None)
    return principal


def csrf_token_of(connection: HTTPConnection) -> str:
    """The token that forms and scripts of this answer send back with a write; empty where there is no session."""
    principal = principal_of(connection)
    if principal is None or principal.session is None:
        return ""
    return csrf.make_token(security_of(context_of(connection)), principal.session)


async def require_viewer(request: Request) -> Principal:
    """Whoever is signed in; a write by cookie must come from our own page.

    Raises:
        ProblemError: 401 or 403.
    """
    principal = principal_of(request)
    if principal is None:
        raise not_signed_in()
    if principal.session is not None and request.method not in SAFE_METHODS:
        given = await _given_csrf_token(request)
        if not csrf.is_token(security_of(context_of(request)), principal.session, given):
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "Not from our page",
                f"a write needs the page's token, as header {csrf.HEADER} or field {csrf.FIELD}; "
                "load the page again and repeat it",
            )
    return principal


async def require_operator(principal: Annotated[Principal, Depends(require_viewer)]) -> Principal:
    """As :func:`require_viewer`, but operators only.

    Raises:
        ProblemError: 401 or 403.
    """
    if principal.role != "operator":
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "Operators only",
            f"{principal.name} is a viewer here; this needs the role operator: ask whoever manages the users",
        )
    return principal


Viewer = Annotated[Principal, Depends(require_viewer)]
Operator = Annotated[Principal, Depends(require_operator)]


def not_signed_in() -> ProblemError:
    """The problem of a request that needs a sign-in."""
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "Not signed in",
        "sign in at /sign-in, or send a valid API token as `Authorization: Bearer adai_...`",
        headers={"WWW-Authenticate": 'Bearer realm="adai-study"'},
    )


def _identify_token(context: Context, header: str) -> Principal | None:
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.startswith("adai_") or len(secret) > _MAX_SECRET:
        return None
    with context.engine.connect() as connection:
        found = find_token(connection, hash_token_secret(secret))
    account = None if found is None else security_of(context).account(found.user_name, found.stored)
    if found is None or account is None:
        return None
    # A token outlives a change of its user's role, but not what the user may do.
    role: Role = "operator" if found.role == account.role == "operator" else "viewer"
    return Principal(account.name, role, "token", None)


async def _given_csrf_token(request: Request) -> str:
    header = request.headers.get(csrf.HEADER)
    if header is not None:
        return header
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORMS:
        return ""
    field = (await request.form()).get(csrf.FIELD)
    return field if isinstance(field, str) else ""
