"""Pages to sign in and out."""

from http import HTTPStatus
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from dashboards.api.problems import ProblemError
from dashboards.context import Context, context_of
from dashboards.middleware import is_head
from dashboards.pages.formats import format_sentence
from dashboards.pages.rendering import render
from dashboards.paths import SIGN_IN, local_path
from dashboards.security.audit import client_address, note
from dashboards.security.principals import Viewer, principal_of
from dashboards.security.sessions import end_session, leave, set_cookie, start_session
from dashboards.security.sign_in import check_limit, look_up, try_password, use_key
from dashboards.security.state import security_of
from study.accounts import Account

router = APIRouter(include_in_schema=False)

_TEMPLATE = "sign_in.html.j2"
_PART = "sign_in_turn"
_UNKNOWN = "a name that nobody has"


@router.get(SIGN_IN)
def show_sign_in(
    request: Request,
    key: Annotated[str | None, Query(max_length=200)] = None,
    next_: Annotated[str | None, Query(alias="next")] = None,
) -> Response:
    """The form; with the right one-time key, the first page."""
    if key is not None and not is_head(request):
        return _sign_in_by_key(request, key)
    if principal_of(request) is not None:
        return RedirectResponse(local_path(next_), HTTPStatus.SEE_OTHER)
    return render(request, _TEMPLATE, None, next=local_path(next_), name="", error=None)


@router.post(SIGN_IN)
async def sign_in(
    request: Request,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form()] = "",
    next_: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Check name and password, and go where the visitor wanted to."""
    context, name = context_of(request), name.strip().lower()
    address = client_address(request)
    # What was typed is not written down unless somebody is called so: it might be a password.
    note(request, "sign_in", _UNKNOWN)
    try:
        # Also before the turn: those who may not try do not make others wait.
        check_limit(security_of(context), address, name)
        account, known = await run_sync(_try, context, (address, name, password), limiter=_turn(context))
    except ProblemError as error:
        page = render(
            request, _TEMPLATE, None, next=local_path(next_), name=name, error=format_sentence(error.problem.detail)
        )
        page.status_code = error.problem.status
        page.headers.update(error.headers)
        return page
    if known:
        note(request, "sign_in", name)
    if account is not None:
        return await run_sync(_enter, request, account, local_path(next_))
    problem = "The name or the password is wrong."
    page = render(request, _TEMPLATE, None, next=local_path(next_), name=name, error=problem)
    page.status_code = HTTPStatus.UNAUTHORIZED
    return page


@router.post("/sign-out")
def sign_out(request: Request, principal: Viewer) -> Response:
    """End the session."""
    note(request, "sign_out", principal.name)
    context = context_of(request)
    if principal.session is not None:
        end_session(context, principal.session)
    return leave(SIGN_IN, context.options)


def _sign_in_by_key(request: Request, key: str) -> Response:
    note(request, "sign_in", "the one-time link")
    account = use_key(context_of(request), key)
    if account is not None:
        return _enter(request, account, "/")
    error = "This link has been used, or is of another run; start the dashboard again for a new one."
    page = render(request, _TEMPLATE, None, next="/", name="", error=error)
    page.status_code = HTTPStatus.UNAUTHORIZED
    return page


def _try(context: Context, given: tuple[str, str, str]) -> tuple[Account | None, bool]:
    """The user whose password it was, and whether there is one of that name."""
    account = try_password(context, *given)
    return account, account is not None or look_up(context, given[1]) is not None


def _enter(request: Request, account: Account, target: str) -> Response:
    """Go on, with a new session in place of the one that the browser may have had."""
    context, principal = context_of(request), principal_of(request)
    if principal is not None and principal.session is not None:
        end_session(context, principal.session)
    note(request, "sign_in", account.name, user_name=account.name)
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    set_cookie(response, context.options, start_session(context, account))
    return response


def _turn(context: Context) -> anyio.CapacityLimiter:
    """One password is checked at a time, beside the threads of other requests."""
    turn: anyio.CapacityLimiter = context.parts.setdefault(_PART, anyio.CapacityLimiter(1))
    return turn
