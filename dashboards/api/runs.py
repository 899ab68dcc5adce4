"""``/v1``: the runs of a study and their epochs, a page at a time."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.etags import send
from dashboards.api.models import EpochPage, RunPage
from dashboards.api.paging import Cursor, CursorText, Whole
from dashboards.api.run_models import to_epoch, to_run
from dashboards.context import context_of
from study.storage.run_pages import list_epochs, list_runs
from study.storage.study_list import find_study_row
from study.storage.trial_list import TrialFilter

router = APIRouter(tags=["runs"])

#: Number of a trial or a seed, as far as databases count.
Number = Annotated[int | None, Query(ge=0, lt=2**31)]

_RUNS: Cursor[tuple[int, int]] = Cursor("runs", tuple[Whole, Whole])
_EPOCHS: Cursor[tuple[int, int, int]] = Cursor("epochs", tuple[Whole, Whole, Whole])


@router.get("/v1/studies/{name}/runs", response_model=RunPage)
def list_runs_of_study(
    request: Request,
    name: str,
    workload: str | None = None,
    optimizer: str | None = None,
    trial: Number = None,
    cursor: CursorText = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Runs of a study, ended or not, in the order in which their trials were written."""
    chosen, after = TrialFilter(workload, optimizer), _RUNS.decode(cursor)
    with context_of(request).engine.connect() as connection:
        study_id = find_study_row(connection, name).id
        rows = list_runs(connection, study_id, chosen, trial=trial, after=after or (0, -1), limit=limit + 1)
    shown = rows[:limit]
    more = _RUNS.encode((shown[-1].trial_id, shown[-1].seed)) if len(rows) > limit else None
    return send(request, RunPage(items=[to_run(row) for row in shown], next_cursor=more))


@router.get("/v1/studies/{name}/epochs", response_model=EpochPage)
def list_epochs_of_study(
    request: Request,
    name: str,
    workload: str | None = None,
    optimizer: str | None = None,
    trial: Number = None,
    seed: Number = None,
    cursor: CursorText = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """Epochs of the runs of a study, in the order in which trials were written, then by seed."""
    chosen, after = TrialFilter(workload, optimizer), _EPOCHS.decode(cursor)
    with context_of(request).engine.connect() as connection:
        study_id = find_study_row(connection, name).id
        rows = list_epochs(
            connection, study_id, chosen, trial=trial, seed=seed, after=after or (0, -1, -1), limit=limit + 1
        )
    shown = rows[:limit]
    last = shown[-1] if shown else None
    more = _EPOCHS.encode((last.trial_id, last.seed, last.epoch)) if last and len(rows) > limit else None
    return send(request, EpochPage(items=[to_epoch(row) for row in shown], next_cursor=more))
