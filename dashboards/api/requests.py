"""``/v1``: what operators ask for: studies submitted, cancelled, resumed, reports; and what became of it."""

import dataclasses
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from dashboards.api import request_models as models
from dashboards.api.problems import ProblemError
from dashboards.context import context_of
from dashboards.security.audit import note
from dashboards.security.principals import Operator, Viewer
from study.errors import SpecError, UnknownStudyError
from study.estimate import estimate
from study.spec import StudySpec
from study.spec_checking import count_trials, find_same, read_web_spec
from study.storage import requests
from study.submission import find_allowed

router = APIRouter(tags=["requests"])

#: The largest id that both databases have.
_LARGEST_ID = 2**31 - 1
Id = Annotated[int, Path(ge=1, le=_LARGEST_ID)]
_REFUSALS = {
    "cancel": "study {name!r} is {state}, so there is nothing to cancel; {able}",
    "resume": "study {name!r} is {state}, so there is nothing to resume; {able}",
    "report": "no trial of study {name!r}, which is {state}, has a result to report yet; {able}",
}
StudyName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


@router.get("/v1/requests")
def list_requests(
    request: Request,
    _: Viewer,
    cursor: Annotated[int | None, Query(ge=1, le=_LARGEST_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> models.RequestPage:
    """What was asked for, the newest first."""
    with context_of(request).engine.connect() as connection:
        found = requests.read_requests(connection, before=cursor, limit=limit + 1)
    more = len(found) > limit
    items = [_to_model(row) for row in found[:limit]]
    return models.RequestPage(items=items, next_cursor=str(items[-1].id) if more else None)


@router.get("/v1/requests/{request_id}")
def read_request(request: Request, _: Viewer, request_id: Id) -> models.Request:
    """One request, and what became of it."""
    with context_of(request).engine.connect() as connection:
        found = requests.find_request(connection, request_id)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "No such request", f"no request has the id {request_id}")
    return _to_model(found)


@router.post("/v1/specs/check")
def check_spec(request: Request, _: Operator, submitted: models.SubmitSpec) -> models.Verdict:
    """Whether a spec could be submitted, with the messages of the command line, and what it would cost.

    Nothing is written.
    """
    spec: StudySpec | None = None
    try:
        spec = read_web_spec(toml=submitted.toml, content=submitted.spec)
        with context_of(request).engine.connect() as connection:
            already = find_same(connection, spec)
            cost = estimate(connection, spec)
    except SpecError as error:
        name = None if spec is None else spec.name
        return models.Verdict(valid=False, problems=list(error.problems), name=name, already=None, estimate=None)
    return models.Verdict.model_validate(
        {"valid": True, "problems": [], "name": spec.name, "already": already, "estimate": dataclasses.asdict(cost)}
    )


@router.post("/v1/studies", status_code=HTTPStatus.ACCEPTED)
def submit_study(
    request: Request, response: Response, operator: Operator, submitted: models.SubmitSpec
) -> models.Request:
    """Ask for a study to be put into the queue; of one that is there already, for what is missing."""
    try:
        spec = read_web_spec(toml=submitted.toml, content=submitted.spec)
        with context_of(request).engine.connect() as connection:
            find_same(connection, spec)
        count_trials(spec)
    except SpecError as error:
        title = "The spec cannot be used"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, title, str(error), error.problems) from error
    return _ask(request, response, operator.name, "submit", spec.name, spec)


@router.post("/v1/studies/{name}/cancel", status_code=HTTPStatus.ACCEPTED)
def cancel_study(request: Request, response: Response, operator: Operator, name: StudyName) -> models.Request:
    """Ask for a study to be stopped; what was finished is kept."""
    return _ask_of_study(request, response, operator.name, "cancel", name)


@router.post("/v1/studies/{name}/resume", status_code=HTTPStatus.ACCEPTED)
def resume_study(request: Request, response: Response, operator: Operator, name: StudyName) -> models.Request:
    """Ask for what is missing of a study to be run, failed trials among it."""
    return _ask_of_study(request, response, operator.name, "resume", name)


@router.post("/v1/studies/{name}/report", status_code=HTTPStatus.ACCEPTED)
def report_study(request: Request, response: Response, operator: Operator, name: StudyName) -> models.Request:
    """Ask for the report of a study to be written anew."""
    return _ask_of_study(request, response, operator.name, "report", name)


def _ask_of_study(request: Request, response: Response, by: str, kind: requests.Kind, name: str) -> models.Request:
    """Ask for something that the study's state allows."""
    try:
        with context_of(request).engine.connect() as connection:
            state, allowed = find_allowed(connection, name)
    except UnknownStudyError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, "No such study", f"no study is called {name!r}") from error
    if kind not in allowed:
        able = f"allowed now: {', '.join(allowed)}" if allowed else "nothing is allowed now"
        raise ProblemError(
            HTTPStatus.CONFLICT, f"The study is {state}", _REFUSALS[kind].format(name=name, state=state, able=able)
        )
    return _ask(request, response, by, kind, name)


def _ask(
    request: Request,
    response: Response,
    by: str,
    kind: requests.Kind,
    name: str,
    spec: StudySpec | None = None,
) -> models.Request:
    content = None if spec is None else spec.model_dump(mode="json")
    with context_of(request).engine.begin() as connection:
        asked = requests.ask(connection, kind, name, by, content)
    note(request, kind, name, request=asked.id)
    response.headers["Location"] = f"/v1/requests/{asked.id}"
    return _to_model(asked)


def _to_model(row: requests.Request) -> models.Request:
    content = dataclasses.asdict(row)
    del content["handler"]
    return models.Request.model_validate(content)
