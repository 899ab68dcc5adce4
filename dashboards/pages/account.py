"""``/account``: who is signed in, and the API tokens that are theirs."""

import datetime as dt
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.context import context_of
from dashboards.pages.rendering import render
from dashboards.security.principals import Viewer
from study.storage.accounts import TokenRecord, list_tokens

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token in the list.

    Attributes:
        token: It.
        state: ``usable``, ``expired`` or ``revoked``.
    """

    token: TokenRecord
    state: str


@router.get("/account")
def show_account(request: Request, principal: Viewer) -> HTMLResponse:
    """The page of whoever asks."""
    with context_of(request).engine.connect() as connection:
        tokens = list_tokens(connection, principal.name)
    now = dt.datetime.now(dt.UTC)
    lines = [TokenLine(token, _describe(token, now)) for token in tokens]
    return render(request, "account.html.j2", principal, lines=lines)


def _describe(token: TokenRecord, now: dt.datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "usable"
