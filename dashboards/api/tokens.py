"""``/v1/tokens``: everybody's own API tokens."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from dashboards.api.account_models import NewToken, Token, TokenWithSecret
from dashboards.api.problems import ProblemError
from dashboards.context import Context, context_of
from dashboards.security.audit import note
from dashboards.security.principals import Principal, Viewer
from study.accounts import hash_token_secret, make_token_secret
from study.storage.accounts import TokenRecord, add_token, count_usable_tokens, list_tokens, revoke_token

router = APIRouter(tags=["tokens"])

_MAX_NAME = 64
_MAX_DAYS = 3650
_MAX_TOKENS = 100


@router.get("/v1/tokens")
def read_tokens(request: Request, principal: Viewer) -> list[Token]:
    """Your own tokens, newest first, revoked and expired ones among them; without their secrets."""
    return read_own_tokens(context_of(request), principal)


@router.post("/v1/tokens", status_code=HTTPStatus.CREATED)
def create_token(request: Request, new: NewToken, principal: Viewer) -> TokenWithSecret:
    """Make a token that may do at most what you may; its secret is shown this once.

    A token cannot make tokens: they would outlive its revocation.
    """
    note(request, "create_token", new.name, role=new.role, days=new.days)
    _check(new, principal)
    secret = make_token_secret()
    lifetime = None if new.days is None else dt.timedelta(days=new.days)
    with context_of(request).engine.begin() as connection:
        if count_usable_tokens(connection, principal.name) >= _MAX_TOKENS:
            raise ProblemError(
                HTTPStatus.CONFLICT, "Too many tokens", f"you have {_MAX_TOKENS} tokens; revoke those that are not used"
            )
        record = add_token(
            connection,
            hash_token_secret(secret),
            user_name=principal.name,
            name=new.name,
            role=new.role,
            lifetime=lifetime,
        )
    return TokenWithSecret(**_token(record).model_dump(), secret=secret)


@router.delete("/v1/tokens/{token_id}", status_code=HTTPStatus.NO_CONTENT, response_class=Response)
def delete_token(request: Request, token_id: Annotated[int, Path(ge=1, lt=2**31)], principal: Viewer) -> None:
    """Revoke one of your tokens: from now on it is worth nothing.

    A viewer's token revokes viewers' tokens only.
    """
    note(request, "revoke_token", str(token_id))
    with context_of(request).engine.begin() as connection:
        own = {record.id: record.role for record in list_tokens(connection, principal.name)}
        if principal.by == "token" and principal.role == "viewer" and own.get(token_id) == "operator":
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "Operators only", "a viewer's token cannot revoke an operator's; sign in to do so"
            )
        if not revoke_token(connection, token_id, principal.name):
            raise ProblemError(HTTPStatus.NOT_FOUND, "No such token", f"you have no token {token_id}")


def read_own_tokens(context: Context, principal: Principal) -> list[Token]:
    """The tokens of whoever asks, newest first."""
    with context.engine.connect() as connection:
        return [_token(record) for record in list_tokens(connection, principal.name)]


def _check(new: NewToken, principal: Principal) -> None:
    if principal.by == "token":
        raise ProblemError(
            HTTPStatus.FORBIDDEN, "Not with a token", "sign in to make tokens, or use `adai-study tokens create`"
        )
    if new.role == "operator" and principal.role != "operator":
        raise ProblemError(HTTPStatus.FORBIDDEN, "Operators only", "a viewer can only make tokens with the role viewer")
    problems = []
    if not 0 < len(new.name.strip()) <= _MAX_NAME or not new.name.isprintable():
        problems.append(f"name: it needs 1 to {_MAX_NAME} printable characters")
    if new.days is not None and not 1 <= new.days <= _MAX_DAYS:
        problems.append(f"days: {new.days} is not from 1 to {_MAX_DAYS}; null means never")
    if problems:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong", "; ".join(problems), problems)


def _token(record: TokenRecord) -> Token:
    return Token(
        id=record.id,
        name=record.name,
        role=record.role,
        created_at=record.created_at,
        expires_at=record.expires_at,
        revoked_at=record.revoked_at,
    )
