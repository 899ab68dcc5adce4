"""``/v1``: the trials of a study."""

from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.etags import send
from dashboards.api.models import Attempt, Curvature, TrialDetail, TrialPage, TrialRow
from dashboards.api.paging import Cursor, CursorText, Finite, Whole
from dashboards.api.problems import ProblemError
from dashboards.api.run_models import to_run
from dashboards.context import Context, context_of
from study.storage.study_list import find_study_row
from study.storage.trial_detail import AttemptRow, TrialStory, read_story
from study.storage.trial_list import (
    TrialFilter,
    TrialPlace,
    TrialSort,
    TrialStanding,
    TrialSummary,
    list_trials,
    trial_place,
)

router = APIRouter(tags=["trials"])

#: Number of a trial or a seed, as far as databases count.
Number = Annotated[int, Path(ge=0, lt=2**31)]

_CURSORS: dict[TrialSort, Cursor[tuple[Finite | None, Whole]]] = {
    "number": Cursor("trials by number", tuple[Finite | None, Whole]),
    "objective": Cursor("trials by objective", tuple[Finite | None, Whole]),
    "-objective": Cursor("trials by objective, falling", tuple[Finite | None, Whole]),
}


@router.get("/v1/studies/{name}/trials", response_model=TrialPage)
def list_trials_of_study(
    request: Request,
    name: str,
    workload: str | None = None,
    optimizer: str | None = None,
    state: TrialStanding | None = None,
    sort: TrialSort = "number",
    cursor: CursorText = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Trials of a study, a page at a time, summed up over their seeds; without an objective they come last."""
    chosen = TrialFilter(workload, optimizer, state)
    return send(request, read_trial_page(context_of(request), name, chosen, sort, cursor, limit))


def read_trial_page(
    context: Context, name: str, chosen: TrialFilter, sort: TrialSort, cursor: str | None, limit: int
) -> TrialPage:
    """Some trials of the study called ``name``.

    Raises:
        UnknownStudyError: There is no such study.
        ProblemError: 400: the cursor is none of this list.
    """
    key = _CURSORS[sort].decode(cursor)
    after = None if key is None else TrialPlace(*key)
    with context.engine.connect() as connection:
        study_id = find_study_row(connection, name).id
        found, total = list_trials(connection, study_id, chosen, sort, after=after, limit=limit + 1)
    shown, more = found[:limit], None
    if len(found) > limit:
        place = trial_place(shown[-1], sort)
        more = _CURSORS[sort].encode((place.value, place.id))
    return TrialPage(items=[to_trial_row(trial) for trial in shown], total=total, next_cursor=more)


@router.get("/v1/studies/{name}/trials/{workload}/{optimizer}/{number}", response_model=TrialDetail)
def read_trial(request: Request, name: str, workload: str, optimizer: str, number: Number) -> Response:
    """A trial with its runs, the attempts at it, and what was measured of its loss surface."""
    return send(request, read_trial_detail(context_of(request), name, workload, optimizer, number))


def read_trial_detail(context: Context, name: str, workload: str, optimizer: str, number: int) -> TrialDetail:
    """One trial of the study called ``name``.

    Raises:
        UnknownStudyError: There is no such study.
        ProblemError: 404: it has no such trial.
    """
    with context.engine.connect() as connection:
        study_id = find_study_row(connection, name).id
        story = read_story(connection, study_id, workload, optimizer, number)
    if story is None:
        raise ProblemError(
            404,
            "No such trial",
            f"study {name!r} has no trial {number} of {optimizer!r:.100} on {workload!r:.100}; "
            f"/v1/studies/{name}/trials lists those it has",
        )
    return _to_detail(story)


def to_trial_row(trial: TrialSummary) -> TrialRow:
    """A trial in a list."""
    return TrialRow(
        workload=trial.workload,
        optimizer=trial.optimizer,
        number=trial.number,
        origin=trial.origin,
        hyperparameters=trial.hyperparameters,
        state=trial.standing,
        objective=trial.objective,
        sd=trial.sd,
        runs=trial.runs,
        runs_ended=trial.ended,
        diverged=trial.diverged,
        failed=trial.failed,
    )


def _to_detail(story: TrialStory) -> TrialDetail:
    return TrialDetail(
        **dict(to_trial_row(story.trial)),
        runs_of_it=[to_run(run) for run in story.runs],
        attempts=[_to_attempt(attempt) for attempt in story.attempts],
        curvature=[Curvature(seed=row.seed, epoch=row.epoch, values=row.values) for row in story.curvature],
        optuna_study_id=story.optuna_study_id,
    )


def _to_attempt(row: AttemptRow) -> Attempt:
    known = {field.name: getattr(row, field.name) for field in fields(row)}
    return Attempt(**known | {"termination": None if row.termination is None else row.termination.lower()})
