"""Errors as people and programs are told them: RFC 9457's problems, or a page in a browser."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError, StatementError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.models import Problem
from dashboards.paths import wants_page
from study.errors import DatabaseError, RequestError, SpecError, StudyBusyError, StudyError, UnknownStudyError
from study.storage.logs import process_log
from study.users_file import UsersFileError

MEDIA_TYPE = "application/problem+json"
#: For ``include_router``: every operation may answer with a problem.
RESPONSES: dict[int | str, dict[str, object]] = {
    "default": {"description": "Problem", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
}

_RETRY_SECONDS = 5
_TRY_LATER = {"Retry-After": str(_RETRY_SECONDS)}
#: The first that an error is an instance of.
_STATUSES: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (UnknownStudyError, HTTPStatus.NOT_FOUND, "No such study"),
    (SpecError, HTTPStatus.UNPROCESSABLE_ENTITY, "The spec cannot be used"),
    (StudyBusyError, HTTPStatus.CONFLICT, "The study is busy"),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE, "The database cannot be used"),
    (RequestError, HTTPStatus.BAD_REQUEST, "The request is wrong"),
)
#: Mistakes of ours in a statement, not a database that is away.
_FAULTS = (ProgrammingError, IntegrityError)


class ProblemError(Exception):
    """Ends a request with an error.

    Args:
        status: HTTP status.
        title: The kind of error, a few words.
        detail: What was wrong, what is allowed, what to do next.
        problems: Each mistake, where there are several.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        problems: Sequence[str] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(title=title, status=status, detail=detail, problems=list(problems))
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class _Answer:
    problem: Problem
    headers: Mapping[str, str] = field(default_factory=dict)


def install_handlers(app: FastAPI) -> None:
    """Answer every known error of the routes of ``app`` with a problem."""

    async def handle(request: Request, error: Exception) -> Response:
        return respond(request, error)

    for kind in (ProblemError, HTTPException, RequestValidationError, StudyError, SQLAlchemyError):
        app.add_exception_handler(kind, handle)


def respond(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with ``error``; what is not known is written to the log under an id.

    Neither statements nor tracebacks are part of it.
    """
    answer = _answer_to(error) or _unexpected(request, error)
    # The audit log tells why a write was refused.
    request.state.problem = answer.problem.title
    if wants_page(request.scope):
        # Made by the pages, which know of problems: the application tells how.
        response: Response = request.app.state.problem_page(request, answer.problem)
    else:
        response = Response(answer.problem.model_dump_json(), answer.problem.status, media_type=MEDIA_TYPE)
    response.headers.update(answer.headers)
    return response


def _answer_to(error: Exception) -> _Answer | None:
    if isinstance(error, ProblemError):
        return _Answer(error.problem, error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid([_describe(problem) for problem in error.errors()])
    if isinstance(error, HTTPException):
        return _Answer(_of_status(error.status_code, str(error.detail)), error.headers or {})
    # SQLAlchemy wraps what its own types say of a value.
    cause = error.orig if isinstance(error, StatementError) and not isinstance(error, DBAPIError) else error
    if isinstance(cause, DataError | UnicodeEncodeError | OverflowError):
        # Characters or numbers that the database has no room for come from a request, and name nothing that is there.
        return _invalid(["a value has characters, or a size, that the database cannot store"])
    if isinstance(error, SQLAlchemyError) and not isinstance(error, _FAULTS):
        process_log.warning("database_away", error=str(getattr(error, "orig", None) or error))
        return _Answer(_of_database(), _TRY_LATER)
    if isinstance(error, UsersFileError):
        # Strangers see it when they sign in: neither where the file is, nor what stands in it, is for them.
        process_log.error("users_file_unusable", error=str(error))
        return _Answer(_of_users_file(), _TRY_LATER)
    for kind, status, title in _STATUSES:
        if isinstance(error, kind):
            headers = _TRY_LATER if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
            return _Answer(Problem(title=title, status=status, detail=str(error)), headers)
    return None


def _unexpected(request: Request, error: Exception) -> _Answer:
    error_id = secrets.token_hex(6)
    process_log.error("unexpected_error", error_id=error_id, path=request.url.path, exc_info=error)
    detail = f"something went wrong here; the server's log has it under {error_id}"
    return _Answer(Problem(title="Internal error", status=HTTPStatus.INTERNAL_SERVER_ERROR, detail=detail))


def _of_database() -> Problem:
    return Problem(
        title="The database cannot be used",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        detail=f"the database does not answer or is busy; try again in {_RETRY_SECONDS} s",
    )


def _of_users_file() -> Problem:
    return Problem(
        title="The file of users cannot be used",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        detail="nobody can sign in until whoever runs the dashboard mends it; the server's log says what is wrong",
    )


def _of_status(status: int, detail: str) -> Problem:
    phrase = HTTPStatus(status).phrase
    return Problem(title=phrase, status=status, detail=detail or phrase)


def _invalid(problems: list[str]) -> _Answer:
    return _Answer(
        Problem(
            title="The request is wrong",
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            detail="; ".join(problems),
            problems=problems,
        )
    )


def _describe(problem: Mapping[str, object]) -> str:
    """What pydantic found, without the value: it may be a password."""
    place = problem.get("loc")
    where = ".".join(str(part) for part in place) if isinstance(place, tuple | list) else ""
    return f"{where}: {problem.get('msg')}"
