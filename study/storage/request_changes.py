"""Requests of dashboards that are new, open, or were open a moment ago."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from study.storage.id_lists import among
from study.storage.tables import requests

#: States of a request that somebody is still going to answer.
OPEN_REQUESTS = ("waiting", "taken")


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request, without the spec that may come with it."""

    id: int
    kind: str
    study: str
    requested_by: str
    requested_at: dt.datetime
    state: str
    finished_at: dt.datetime | None
    message: str | None


def read_changed_requests(connection: Connection, *, after: int, watched: Iterable[int]) -> list[RequestRow]:
    """Requests with ids above ``after``, those that are open, and those that were ``watched``, oldest first."""
    columns = [requests.c[name] for name in RequestRow.__dataclass_fields__]
    query = select(*columns).where(
        or_(
            requests.c.id > after,
            requests.c.state.in_(OPEN_REQUESTS),
            among(connection, requests.c.id, watched),
        )
    )
    return [RequestRow(*row) for row in connection.execute(query.order_by(requests.c.id))]


def find_newest_request(connection: Connection) -> int:
    """The highest id of a request; 0 if there was none yet."""
    return int(connection.execute(select(func.coalesce(func.max(requests.c.id), 0))).scalar_one())
