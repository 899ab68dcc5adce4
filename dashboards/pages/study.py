"""``/studies/{name}``: one study, with a tab for everything that can be seen of it."""

import json
from typing import Any, Literal, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.api.landscape_models import CurveMetric, Metric
from dashboards.api.models import StudyDetail
from dashboards.api.paging import CursorText
from dashboards.api.trials import read_trial_page
from dashboards.context import Context, context_of
from dashboards.pages.links import link
from dashboards.pages.rendering import render
from dashboards.pages.report_tabs import COMPARISON, SENSITIVITY, TABLE_WORDS, find_tab
from dashboards.pages.spec_view import list_environment, list_settings, list_space
from dashboards.pages.study_actions import list_actions
from dashboards.security.principals import Principal, Viewer
from dashboards.snapshots import snapshots_of
from study.axis import format_value
from study.storage.optuna_rows import find_optuna_studies, optuna_study_name
from study.storage.trial_list import TrialFilter, TrialSort, TrialStanding
from study.submission import find_allowed

router = APIRouter(include_in_schema=False)

#: Last part of the address -> what the tab is called.
TABS = {
    "": "Overview",
    "landscape": "Landscape",
    "curves": "Learning curves",
    "sensitivity": "Sensitivity",
    "comparison": "Comparison",
    "trials": "Trials",
    "failures": "Failures and events",
    "spec": "Spec",
    "downloads": "Downloads",
}
METRICS: dict[Metric, str] = {
    "objective": "Objective",
    "val_error": "Validation error",
    "val_loss": "Validation loss",
    "test_error": "Test error",
    "test_loss": "Test loss",
    "train_loss": "Training loss",
    "divergence": "Share of runs that diverged",
    "sd": "Standard deviation over seeds",
    "seconds": "Seconds of a run",
}
CURVE_METRICS: dict[CurveMetric, str] = {
    "val_error": "Validation error",
    "val_loss": "Validation loss",
    "train_loss": "Training loss",
    "grad_norm": "Gradient norm",
    "lr": "Learning rate",
}
#: What the orders of trials are called.
SORTS: dict[TrialSort, str] = {"number": "Number", "objective": "Best first", "-objective": "Worst first"}
_TRIALS_OF_A_PAGE = 50
#: The tolerance of a report that nobody chose one for.
_TOLERANCE = 0.05


@router.get("/studies/{name}")
def show_overview(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """How far each optimizer is on each workload, and links to it in Optuna Dashboard."""
    context = context_of(request)
    study = snapshots_of(context).detail(name)
    return _render(request, principal, study, "", optuna=_find_optuna(context, study))


@router.get("/studies/{name}/landscape")
def show_landscape(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """The landscape explorer; what is looked at stands in the address and is read by its script."""
    context = context_of(request)
    study = snapshots_of(context).detail(name)
    axes = list(dict.fromkeys(axis.name for optimizer in study.optimizers for axis in optimizer.axes))
    tab = find_tab(context, name, ()) if study.report else None
    return _render(
        request,
        principal,
        study,
        "landscape",
        axes=axes,
        usual=choose_axes(study),
        metrics=METRICS,
        tolerance=_TOLERANCE if tab is None else tab.tolerance,
    )


@router.get("/studies/{name}/curves")
def show_curves(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """Learning curves; what is looked at stands in the address and is read by its script."""
    study = snapshots_of(context_of(request)).detail(name)
    return _render(request, principal, study, "curves", metrics=CURVE_METRICS)


@router.get("/studies/{name}/sensitivity")
def show_sensitivity(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """What the report says of how sensitive each optimizer is."""
    return _show_report(request, principal, name, "sensitivity", SENSITIVITY)


@router.get("/studies/{name}/comparison")
def show_comparison(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """What the report says of the optimizers beside each other."""
    return _show_report(request, principal, name, "comparison", COMPARISON)


@router.get("/studies/{name}/trials")
def show_trials(
    request: Request,
    principal: Viewer,
    name: str,
    workload: str = "",
    optimizer: str = "",
    state: TrialStanding | Literal[""] = "",
    sort: TrialSort = "number",
    cursor: CursorText = None,
) -> HTMLResponse:
    """The list of trials, a page at a time."""
    context = context_of(request)
    study = snapshots_of(context).detail(name)
    chosen = TrialFilter(workload or None, optimizer or None, state or None)
    page = read_trial_page(context, name, chosen, sort, cursor, _TRIALS_OF_A_PAGE)
    choice = {"workload": workload, "optimizer": optimizer, "state": state, "sort": "" if sort == "number" else sort}
    return _render(
        request,
        principal,
        study,
        "trials",
        page=page,
        choice=choice,
        sorts=SORTS,
        states=get_args(TrialStanding),
        first=link(request.url.path, **choice) if cursor else None,
        next=link(request.url.path, **choice, cursor=page.next_cursor) if page.next_cursor else None,
        by_objective=_link_by_objective(request.url.path, choice),
        setting=format_value,
    )


@router.get("/studies/{name}/failures")
def show_failures(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """What failed, and what happened, which its script fills."""
    study = snapshots_of(context_of(request)).detail(name)
    return _render(request, principal, study, "failures")


@router.get("/studies/{name}/spec")
def show_spec(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """What was asked for, and what it was made with."""
    study = snapshots_of(context_of(request)).detail(name)
    return _render(
        request,
        principal,
        study,
        "spec",
        space=list_space(study),
        settings=list_settings(study.spec),
        environment=list_environment(study.environment),
        spec_text=json.dumps(study.spec, indent=2, ensure_ascii=False),
    )


@router.get("/studies/{name}/downloads")
def show_downloads(request: Request, principal: Viewer, name: str) -> HTMLResponse:
    """Files of the report, and tables."""
    study = snapshots_of(context_of(request)).detail(name)
    return _render(request, principal, study, "downloads")


def choose_axes(study: StudyDetail) -> tuple[str, str]:
    """The axes that most optimizers have, a learning rate first; the second is empty where there is one axis."""
    counts: dict[str, int] = {}
    for optimizer in study.optimizers:
        for axis in optimizer.axes:
            counts[axis.name] = counts.get(axis.name, 0) + 1
    ranked = sorted(counts, key=lambda name: (name != "lr", -counts[name]))
    first, second, *_ = (*ranked, "", "")
    return first, second


def _show_report(request: Request, principal: Principal, name: str, slug: str, ids: tuple[str, ...]) -> HTMLResponse:
    context = context_of(request)
    study = snapshots_of(context).detail(name)
    tab = find_tab(context, name, ids)
    return _render(request, principal, study, slug, template="study_report.html.j2", tab=tab, words=TABLE_WORDS)


def _link_by_objective(path: str, choice: dict[str, str]) -> str:
    """The list with the best first, or the worst where it is so already."""
    return link(path, **choice | {"sort": "-objective" if choice["sort"] == "objective" else "objective"})


def _find_optuna(context: Context, study: StudyDetail) -> dict[tuple[str, str], int]:
    """Workload and optimizer -> id of the Optuna study, of those that are there."""
    names = {
        optuna_study_name(study.name, cell.workload, cell.optimizer): (cell.workload, cell.optimizer)
        for cell in study.cells
    }
    with context.engine.connect() as connection:
        found = find_optuna_studies(connection, list(names))
    return {names[name]: id_ for name, id_ in found.items()}


def _render(
    request: Request, principal: Principal, study: StudyDetail, slug: str, *, template: str = "", **values: Any
) -> HTMLResponse:
    with context_of(request).engine.connect() as connection:
        _, allowed = find_allowed(connection, study.name)
    return render(
        request,
        template or f"study_{slug or 'overview'}.html.j2",
        principal,
        study=study,
        titles={optimizer.name: optimizer.title for optimizer in study.optimizers},
        tabs=TABS,
        current=slug,
        actions=list_actions(study, principal, allowed),
        **values,
    )
