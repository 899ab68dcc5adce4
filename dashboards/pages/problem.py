"""What people see where a page cannot be shown."""

from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.api.models import Problem
from dashboards.pages.rendering import render
from dashboards.security.principals import principal_of


def show_problem(request: Request, problem: Problem) -> HTMLResponse:
    """A page that says what was wrong; asks no database, as that may be what is wrong."""
    return render(
        request,
        "problem.html.j2",
        principal_of(request),
        status=problem.status,
        title=problem.title,
        detail=problem.detail,
        problems=problem.problems,
    )
