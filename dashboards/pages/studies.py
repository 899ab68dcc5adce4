"""``/``: all studies, live; searched, sorted and paged by the server, so that it works without scripts too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboards.api.models import Best, State, StudySummary
from dashboards.context import Context, context_of
from dashboards.pages.links import link
from dashboards.pages.rendering import render
from dashboards.security.principals import Viewer
from dashboards.snapshots import Snapshots, snapshots_of
from study.storage.servers import read_living_servers
from study.storage.study_list import StudySort

router = APIRouter(include_in_schema=False)

#: What the sorts are called.
SORTS: dict[StudySort, str] = {
    "-created": "Newest first",
    "created": "Oldest first",
    "name": "Name, A to Z",
    "-name": "Name, Z to A",
    "state": "State",
}
#: Best trials that a row shows; the others are folded.
_BEST = 3
#: Studies of a page, unless people ask for more or fewer.
_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Heading:
    """A column by which people can sort.

    Attributes:
        text: Its heading.
        href: The list sorted by it, the other way round where it is so already.
        order: ``ascending`` or ``descending`` where the list is sorted by it, else empty.
    """

    text: str
    href: str
    order: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What people chose of the list."""

    q: str
    state: State | Literal[""]
    sort: StudySort
    limit: int

    def href(self, *, sort: StudySort | None = None, cursor: str | None = None) -> str:
        """The list with another order, or another page of it; without what goes without saying."""
        sort = sort or self.sort
        return link(
            "/",
            q=self.q,
            state=self.state,
            sort=None if sort == "-created" else sort,
            limit=None if self.limit == _LIMIT else self.limit,
            cursor=cursor,
        )

    def heading(self, text: str, key: StudySort, backwards: StudySort | None) -> Heading:
        """A column's heading; ``backwards`` is the other way round, None where there is none."""
        order = {key: "ascending", backwards: "descending"}.get(self.sort, "")
        turned = backwards if backwards and self.sort == key else key
        return Heading(text, self.href(sort=turned), order)


@router.get("/")
def show_studies(
    request: Request,
    principal: Viewer,
    q: Annotated[str, Query(max_length=200)] = "",
    state: State | Literal[""] = "",
    sort: StudySort = "-created",
    cursor: Annotated[str | None, Query(max_length=400)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = _LIMIT,
) -> HTMLResponse:
    """The list of studies."""
    context = context_of(request)
    snapshots = snapshots_of(context)
    choice = Choice(q.strip(), state, sort, limit)
    page = snapshots.page(choice.q, [state] if state else [], sort, cursor, limit)
    newest = snapshots.page("", [], "-created", None, 1).items
    return render(
        request,
        "studies.html.j2",
        principal,
        choice=choice,
        page=page,
        rows=[(study, *split_best(study)) for study in page.items],
        headings=_make_headings(choice),
        first=choice.href() if cursor else None,
        next=choice.href(cursor=page.next_cursor) if page.next_cursor else None,
        newest=newest[0].created_at.isoformat() if newest else "",
        waiting=_count_waiting(context, snapshots),
        states=get_args(State),
        sorts=SORTS,
    )


def _make_headings(choice: Choice) -> dict[str, Heading]:
    return {
        "name": choice.heading("Study", "name", "-name"),
        "state": choice.heading("State", "state", None),
        "created": choice.heading("Created", "created", "-created"),
    }


def split_best(study: StudySummary) -> tuple[Sequence[Best], Sequence[Best]]:
    """The best trials that a row shows, and those that it folds: first the best optimizer of every workload."""
    ranked = sorted(study.best, key=lambda best: best.objective)
    places: dict[str, int] = {}
    ranks: list[tuple[int, int]] = []
    for place, best in enumerate(ranked):
        ranks.append((places.setdefault(best.workload, 0), place))
        places[best.workload] += 1
    ordered = [ranked[place] for _, place in sorted(ranks)]
    return ordered[:_BEST], ordered[_BEST:]


def _count_waiting(context: Context, snapshots: Snapshots) -> int:
    """Queued studies that nothing will run, as no server lives."""
    queued = snapshots.page("", ["queued"], "-created", None, 1).total
    if not queued:
        return 0
    with context.engine.connect() as connection:
        return 0 if read_living_servers(connection) else queued
