"""``/studies/{name}/trials/{workload}/{optimizer}/{number}``: one trial, its runs, attempts and curvature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.api.models import Curvature, TrialDetail
from dashboards.api.trials import Number, read_trial_detail
from dashboards.context import Context, context_of
from dashboards.pages.rendering import render
from dashboards.security.principals import Viewer
from dashboards.snapshots import snapshots_of
from study.axis import format_value
from study.storage.study_list import find_study_row
from study.storage.trial_list import TrialFilter, find_trial_ids

router = APIRouter(include_in_schema=False)

#: Measurements that people compare first, where they were made.
_FIRST = ("top_eigenvalue", "trace", "sam_sharpness", "asam_sharpness")


@dataclass(frozen=True, slots=True)
class CurvatureTable:
    """What was measured of the loss surface, a row for each measurement.

    Attributes:
        names: Quantities that are single numbers, the most telling first.
        rows: Seed, epoch, and a number or None for each name.
        slices: Whether there are lists of numbers too, which are in the tables only.
    """

    names: list[str]
    rows: list[tuple[int, int, list[float | None]]]
    slices: bool


@router.get("/studies/{name}/trials/{workload}/{optimizer}/{number}")
def show_trial(
    request: Request, principal: Viewer, name: str, workload: str, optimizer: str, number: Number
) -> HTMLResponse:
    """The page of a trial."""
    context = context_of(request)
    study = snapshots_of(context).detail(name)
    trial = read_trial_detail(context, name, workload, optimizer, number)
    return render(
        request,
        "trial.html.j2",
        principal,
        study=study,
        trial=trial,
        title=next((own.title for own in study.optimizers if own.name == optimizer), optimizer),
        curvature=tabulate(trial.curvature),
        previous=number - 1 if number > 0 else None,
        next=_find_next(context, name, trial),
        has_tests=any(run.test_error is not None for run in trial.runs_of_it),
        has_target=any(run.steps_to_target is not None for run in trial.runs_of_it),
        setting=format_value,
    )


def _find_next(context: Context, name: str, trial: TrialDetail) -> int | None:
    """The trial after this one; planned ones of adaptive designs are not there yet."""
    same = TrialFilter(trial.workload, trial.optimizer)
    with context.engine.connect() as connection:
        study_id = find_study_row(connection, name).id
        found = find_trial_ids(connection, study_id, same, number=trial.number + 1)
    return trial.number + 1 if found else None


def tabulate(measured: Sequence[Curvature]) -> CurvatureTable:
    """The curvature of a trial as a table."""
    known = dict.fromkeys(name for one in measured for name in one.values)
    lists = {name for name in known if any(isinstance(one.values.get(name), list) for one in measured)}
    names = [name for name in _FIRST if name in known] + [n for n in known if n not in _FIRST and n not in lists]
    rows = [(one.seed, one.epoch, [_number(one.values.get(name)) for name in names]) for one in measured]
    return CurvatureTable(names, rows, slices=bool(lists))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
