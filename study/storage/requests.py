"""What is asked to be done with studies: by those who may not write trials, of those who may. Each is done by one.

::

    waiting ──► taken ──► done, refused
       ▲          │
       └──────────┘  its handler died, or was told to end
"""

import datetime as dt
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, and_, exists, func, insert, select, update
from sqlalchemy.exc import OperationalError

from study.claim import is_alive, is_here, this_process
from study.errors import StudyBusyError
from study.storage.logs import log_event
from study.storage.servers import read_living_processes
from study.storage.tables import requests, studies

Kind = Literal["submit", "cancel", "resume", "report"]
Outcome = Literal["done", "refused"]
#: Done within moments; a report may take minutes, and nothing else waits for it.
QUICK: tuple[Kind, ...] = ("submit", "cancel", "resume")
_OPEN = ("waiting", "taken")
#: Names this lock among PostgreSQL's advisory locks of one database: "adar" in ASCII.
_LOCK = 0x61646172
_MESSAGE_CHARACTERS = 4000
#: Of a request, what lists show; its spec may be long.
_SHOWN = (
    requests.c.id,
    requests.c.kind,
    requests.c.study,
    requests.c.requested_by,
    requests.c.requested_at,
    requests.c.state,
    requests.c.handler,
    requests.c.finished_at,
    requests.c.message,
)
#: SQLite's answers that say that this process may not write; others say that somebody else does just now.
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.

    Attributes:
        id: Its key, increasing with time.
        kind: What is to be done.
        study: With which study.
        requested_by: Who asked.
        requested_at: When.
        state: ``waiting``, ``taken``, ``done`` or ``refused``.
        handler: The claim of the process that does it, or did.
        finished_at: When it was done or refused.
        message: What was done, or why not, for people.
    """

    id: int
    kind: Kind
    study: str
    requested_by: str
    requested_at: dt.datetime
    state: str
    handler: str | None
    finished_at: dt.datetime | None
    message: str | None


def ask(
    connection: Connection, kind: Kind, study: str, requested_by: str, spec: dict[str, Any] | None = None
) -> Request:
    """Ask for something; what is asked for already, and waits, is not asked for twice.

    Args:
        connection: At the beginning of a transaction.
        kind: What.
        study: Name of the study.
        requested_by: Who asks.
        spec: Of a study to submit, as JSON.

    Raises:
        StudyBusyError: A study of that name with another spec waits to be submitted.
    """
    _lock(connection)
    query = select(*_SHOWN, requests.c.spec).where(
        requests.c.state == "waiting", requests.c.kind == kind, requests.c.study == study
    )
    waiting = connection.execute(query.order_by(requests.c.id).limit(1)).one_or_none()
    if waiting is None:
        new = {"kind": kind, "study": study, "spec": spec, "requested_by": requested_by}
        values = new | {"requested_at": dt.datetime.now(dt.UTC), "state": "waiting"}
        return Request(*connection.execute(insert(requests).values(values).returning(*_SHOWN)).one())
    if waiting.spec != spec:
        raise StudyBusyError(
            f"a study {study!r} with another spec waits to be submitted; give this one another name, or try again later"
        )
    return Request(*waiting[: len(_SHOWN)])


def take_request(connection: Connection, kinds: Collection[Kind]) -> tuple[Request, dict[str, Any] | None] | None:
    """This process does the request that has waited longest, and no other one will; None if none waits.

    What was asked of one study is done in the order in which it was asked, but nothing waits for reports.

    Args:
        connection: In a transaction.
        kinds: Which kinds it can do.

    Returns:
        The request and its spec.
    """
    oldest = _takeable(kinds).order_by(requests.c.id).limit(1)
    # Only to look takes no lock on SQLite; most looks find nothing.
    if connection.execute(oldest).first() is None:
        return None
    chosen = oldest.with_for_update(skip_locked=True).scalar_subquery()
    taken = (
        update(requests)
        .where(requests.c.id == chosen, requests.c.state == "waiting")
        .values(state="taken", handler=this_process())
        .returning(*_SHOWN, requests.c.spec)
    )
    row = connection.execute(taken).one_or_none()
    return None if row is None else (Request(*row[: len(_SHOWN)]), row.spec)


def _takeable(kinds: Collection[Kind]) -> Select[tuple[int]]:
    earlier = requests.alias()
    before_it = exists().where(
        earlier.c.study == requests.c.study,
        earlier.c.id < requests.c.id,
        earlier.c.state.in_(_OPEN),
        earlier.c.kind.in_(QUICK),
    )
    return select(requests.c.id).where(requests.c.state == "waiting", requests.c.kind.in_(kinds), ~before_it)


def finish_request(connection: Connection, request: Request, outcome: Outcome, message: str) -> bool:
    """Say what became of a request that this process took, here and in the study's log; false if it was taken away."""
    text = message.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()[:_MESSAGE_CHARACTERS]
    finished = connection.execute(
        _own(request).values(state=outcome, finished_at=dt.datetime.now(dt.UTC), message=text)
    )
    if finished.rowcount == 0:
        return False
    study_id = connection.execute(select(studies.c.id).where(studies.c.name == request.study)).scalar_one_or_none()
    if study_id is not None:
        told = {"kind": request.kind, "by": request.requested_by, "request": request.id, "result": text}
        level: Literal["info", "warning"] = "info" if outcome == "done" else "warning"
        log_event(connection, study_id, f"request_{outcome}", level=level, **told)
    return True


def give_back_request(connection: Connection, request: Request) -> None:
    """A request that this process took waits again."""
    connection.execute(_own(request).values(state="waiting", handler=None))


def _own(request: Request) -> Any:
    return update(requests).where(
        requests.c.id == request.id, requests.c.state == "taken", requests.c.handler == this_process()
    )


def give_back_of_the_dead(connection: Connection) -> int:
    """Requests whose handlers have died wait again: at once those of this host, after a silence others.

    Returns:
        How many.
    """
    handlers = connection.execute(select(requests.c.handler).where(requests.c.state == "taken").distinct()).scalars()
    claims = [claim for claim in handlers if claim is not None and claim != this_process()]
    living = read_living_processes(connection) if claims else set()
    dead = [claim for claim in claims if not (is_alive(claim) if is_here(claim) else claim in living)]
    if not dead:
        return 0
    back = update(requests).where(requests.c.state == "taken", requests.c.handler.in_(dead))
    return connection.execute(back.values(state="waiting", handler=None)).rowcount


def count_open(connection: Connection, kinds: Collection[Kind]) -> int:
    """How many requests of these kinds wait or are being done."""
    query = select(func.count()).where(requests.c.state.in_(_OPEN), requests.c.kind.in_(kinds))
    return int(connection.execute(query).scalar_one())


def read_requests(connection: Connection, *, before: int | None, limit: int) -> list[Request]:
    """At most ``limit`` requests, newest first: those with ids below ``before``, or the newest of all."""
    query = select(*_SHOWN).order_by(requests.c.id.desc()).limit(limit)
    return [
        Request(*row) for row in connection.execute(query if before is None else query.where(requests.c.id < before))
    ]


def find_request(connection: Connection, request_id: int) -> Request | None:
    """The request with that id; None if there is none."""
    row = connection.execute(select(*_SHOWN).where(requests.c.id == request_id)).one_or_none()
    return None if row is None else Request(*tuple(row))


def may_handle(connection: Connection) -> bool:
    """Whether this database user may do what is asked: write studies, and not only ask for it.

    Args:
        connection: In a transaction, which is to be rolled back.
    """
    if connection.dialect.name == "postgresql":
        needed = [
            ("adai_studies", "INSERT"),
            ("adai_studies", "UPDATE"),
            ("adai_trials", "INSERT"),
            ("trials", "INSERT"),
        ]
        granted = [func.has_table_privilege(table, privilege) for table, privilege in needed]
        return bool(connection.execute(select(and_(*granted))).scalar_one())
    try:
        # A transaction alone begins as well where nothing can be written in it.
        connection.execute(update(requests).where(requests.c.id < 0).values(state="waiting"))
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        return code not in _NOT_WRITABLE
    return True


def _lock(connection: Connection) -> None:
    """Nobody else asks until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
