"""Many studies, a page at a time: searched, filtered and sorted by the database, without their trials."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, or_, select

from study.storage.id_lists import among
from study.storage.progress import unknown_study
from study.storage.tables import studies

StudySort = Literal["name", "-name", "created", "-created", "state"]

_DESCRIPTION = studies.c.spec["description"].as_string()


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study without its spec and its trials.

    Attributes:
        id: Its key.
        name: Its name.
        state: As in :class:`study.storage.records.StudyRecord`.
        beat: Counts the transactions of its driver: what was summed up of its trials holds while this stands.
        driver: Which process drives it; None if nobody does.
        created_at: When it was written.
        finished_at: When its last trial ended; None before.
        error: Why it failed; None if it did not.
        description: For people.
        objective: What its trials are judged by.
        spec_hash: Names its spec.
    """

    id: int
    name: str
    state: str
    beat: int
    driver: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    error: str | None
    description: str
    objective: str
    spec_hash: str


@dataclass(frozen=True, slots=True)
class StudyMark:
    """By what is seen that a study has changed."""

    id: int
    name: str
    state: str
    beat: int
    driver: str | None


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies are looked for.

    Attributes:
        text: What is in the name or the description, in capitals or not; every character stands for itself.
        states: In one of these; empty for any.
    """

    text: str = ""
    states: Sequence[str] = ()

    def condition(self) -> ColumnElement[bool]:
        """As the database is asked."""
        if "\0" in self.text:
            return false()  # PostgreSQL has no such text, and refuses to look for it
        conditions: list[ColumnElement[bool]] = [studies.c.state.in_(self.states)] if self.states else []
        if self.text:
            columns = (studies.c.name, func.coalesce(_DESCRIPTION, ""))
            conditions.append(or_(*(column.icontains(self.text, autoescape=True) for column in columns)))
        return and_(*conditions) if conditions else studies.c.id.is_not(None)


#: For each order, the columns that it sorts by; the last one tells all studies apart.
_ORDERS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "name": (studies.c.name,),
    "created": (studies.c.created_at, studies.c.id),
    "state": (studies.c.state, studies.c.name),
}


def list_studies(
    connection: Connection, chosen: StudyFilter, sort: StudySort, *, after: Sequence[Any] = (), limit: int
) -> list[StudyRow]:
    """Some studies in an order.

    Args:
        connection: To the database.
        chosen: Which studies.
        sort: By what; a minus turns it round.
        after: The :func:`sort_key` of the last study before these; empty for the first ones.
        limit: The most.
    """
    columns = _ORDERS[sort.removeprefix("-")]
    order = [column.desc() if sort.startswith("-") else column for column in columns]
    ids = select(studies.c.id).where(chosen.condition()).order_by(*order).limit(limit)
    if after:
        ids = ids.where(_lies_after(columns, after, falling=sort.startswith("-")))
    # Only then is the spec of those looked into.
    query = _select_rows().where(studies.c.id.in_(ids)).order_by(*order)
    return [_to_row(row) for row in connection.execute(query)]


def sort_key(row: StudyRow, sort: StudySort) -> tuple[str | int | dt.datetime, ...]:
    """Where a study stands in an order."""
    if sort in ("name", "-name"):
        return (row.name,)
    return (row.state, row.name) if sort == "state" else (row.created_at, row.id)


def count_studies(connection: Connection, chosen: StudyFilter) -> int:
    """How many studies there are of those."""
    return int(connection.execute(select(func.count()).select_from(studies).where(chosen.condition())).scalar_one())


def find_study_row(connection: Connection, name: str) -> StudyRow:
    """The study called ``name``.

    Raises:
        UnknownStudyError: There is none; the message lists those there are.
    """
    found = None
    if "\0" not in name:  # which PostgreSQL refuses to look for
        found = connection.execute(_select_rows().where(studies.c.name == name)).one_or_none()
    if found is None:
        raise unknown_study(connection, name)
    return _to_row(found)


def read_marks(connection: Connection) -> list[StudyMark]:
    """Of all studies, by what changes are seen: some thousand short rows."""
    known = (studies.c.id, studies.c.name, studies.c.state, studies.c.beat, studies.c.driver)
    return [StudyMark(*row) for row in connection.execute(select(*known).order_by(studies.c.id))]


def find_study_rows(connection: Connection, study_ids: Iterable[int]) -> list[StudyRow]:
    """Studies by their keys, oldest first; those that there are."""
    query = _select_rows().where(among(connection, studies.c.id, study_ids)).order_by(studies.c.id)
    return [_to_row(row) for row in connection.execute(query)]


def _select_rows() -> Select[Any]:
    known: Iterable[ColumnElement[Any]] = (
        studies.c.id,
        studies.c.name,
        studies.c.state,
        studies.c.beat,
        studies.c.driver,
        studies.c.created_at,
        studies.c.finished_at,
        studies.c.error,
        func.coalesce(_DESCRIPTION, "").label("description"),
        studies.c.spec["objective"].as_string().label("objective"),
        studies.c.spec_hash,
    )
    return select(*known)


def _to_row(row: Row[Any]) -> StudyRow:
    known: tuple[Any, ...] = tuple(row)
    return StudyRow(*known)


def _lies_after(columns: Sequence[ColumnElement[Any]], key: Sequence[Any], *, falling: bool) -> ColumnElement[bool]:
    """Whether a row comes after the one with ``key``, the last of whose columns tells all rows apart."""
    first, last = columns[0], columns[-1]
    beyond: ColumnElement[bool] = first < key[0] if falling else first > key[0]
    if len(columns) == 1:
        return beyond
    return or_(beyond, and_(first == key[0], last < key[-1] if falling else last > key[-1]))
