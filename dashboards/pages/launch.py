"""``/launch``: an operator writes or uploads a spec; the API checks and starts it."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.pages.rendering import render
from dashboards.security.principals import Operator
from study.errors import UnknownStudyError
from study.specs import list_shipped_specs, read_shipped_spec, read_starter_spec

router = APIRouter(include_in_schema=False)

#: The commented spec that explains itself.
_STARTER = "starter"


@router.get("/launch")
def show_launch(
    request: Request, principal: Operator, spec: Annotated[str, Query(max_length=64)] = _STARTER
) -> HTMLResponse:
    """The page, with the text of a shipped spec to begin with.

    Raises:
        UnknownStudyError: There is no such spec.
    """
    shipped = [_STARTER, *list_shipped_specs()]
    if spec not in shipped:
        raise UnknownStudyError(f"no shipped spec is called {spec!r}; there are {', '.join(shipped)}")
    text = read_starter_spec() if spec == _STARTER else read_shipped_spec(spec)
    return render(request, "launch.html.j2", principal, shipped=shipped, chosen=spec, text=text)
