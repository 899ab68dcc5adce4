"""Makes pages from the templates: everything is escaped, and a value that is missing is an error, not a blank."""

from functools import cache
from http import HTTPStatus
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.context import context_of
from dashboards.pages import formats
from dashboards.pages.assets import assets_of
from dashboards.security.principals import Principal, csrf_token_of


def render(
    request: Request, template: str, principal: Principal | None, *, status: int = HTTPStatus.OK, **values: Any
) -> HTMLResponse:
    """A page.

    Templates know, beside ``values``: ``principal``; ``csrf_token`` (empty where nobody is signed in); ``path``, the
    page's own; ``status``; ``asset(name)``, the address of a file of ``static`` or of Plotly; and the filters
    ``number``, ``value``, ``count``, ``share``, ``duration``, ``rate``, ``bytes``, ``time``, ``things``, ``sentence``
    and ``json``.

    Args:
        request: What is answered.
        template: Name of a file in ``templates``.
        principal: Who asks; None where nobody is signed in.
        status: HTTP status of the answer.
        values: What the template shows.

    Raises:
        jinja2.UndefinedError: The template shows a value that is not given.
    """
    known = {
        "principal": principal,
        "csrf_token": "" if principal is None else csrf_token_of(request),
        "path": request.url.path,
        "status": int(status),
        "asset": assets_of(context_of(request)).url,
    }
    page = _environment().get_template(template).render(known | values)
    return HTMLResponse(page, status_code=status)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dashboards"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=formats.format_number,
        value=formats.format_value,
        count=formats.format_count,
        share=formats.format_share,
        duration=formats.format_duration,
        rate=formats.format_rate,
        bytes=formats.format_bytes,
        time=formats.format_time,
        things=formats.format_things,
        sentence=formats.format_sentence,
        json=formats.format_json,
    )
    return environment
