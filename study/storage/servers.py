"""Which processes handle requests and run studies: each gives a sign of life, measured by the database's clock."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from study.claim import is_alive, is_here, this_process
from study.storage.tables import UtcDateTime, servers

#: Between two signs of life of a process, and without one for how long it is taken for dead.
SIGN_SECONDS = 5.0
SILENCE_SECONDS = 20.0
#: The row of a process that is taken for dead is kept for so long: it may only have slept.
_KEPT = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class LivingServer:
    """A server that gave a sign of life lately.

    Attributes:
        process: Its claim, as :func:`study.claim.this_process` makes it.
        started_at: When it gave its first sign of life, by the database's clock.
        seen_at: When it gave its last one.
        workers: How many train for it.
        studies: How many it drives.
    """

    process: str
    started_at: dt.datetime
    seen_at: dt.datetime
    workers: int
    studies: int


def give_sign_of_life(connection: Connection, *, workers: int, studies: int) -> None:
    """Say that this process lives; one that only handles requests, or whose cluster has no nodes, has no workers."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    now = func.current_timestamp()
    row = {"process": this_process(), "started_at": now, "seen_at": now, "workers": workers, "studies": studies}
    changed = {name: row[name] for name in ("seen_at", "workers", "studies")}
    insert = dialect.insert(servers).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=[servers.c.process], set_=changed))


def remove_own_sign(connection: Connection) -> None:
    """This process ends."""
    connection.execute(delete(servers).where(servers.c.process == this_process()))


def remove_dead_servers(connection: Connection) -> None:
    """Forget processes of this host that have ended, and others after a long silence."""
    now, rows = _read(connection)
    dead = [row.process for row in rows if not is_alive(row.process) and (_is_local(row) or now - row.seen_at > _KEPT)]
    if dead:
        connection.execute(delete(servers).where(servers.c.process.in_(dead)))


def read_living_servers(connection: Connection) -> list[LivingServer]:
    """The servers that have workers and gave a sign of life lately, the oldest first."""
    return [LivingServer(*tuple(row)[:5]) for row in _read_living(connection) if row.workers > 0]


def read_living_processes(connection: Connection) -> set[str]:
    """The claims of all processes that gave a sign of life lately, those without workers among them."""
    return {row.process for row in _read_living(connection)}


def _read_living(connection: Connection) -> list[Row[Any]]:
    now, rows = _read(connection)
    silence = dt.timedelta(seconds=SILENCE_SECONDS)
    return [row for row in rows if (is_alive(row.process) if _is_local(row) else now - row.seen_at <= silence)]


def _is_local(row: Row[Any]) -> bool:
    return is_here(row.process)


def _read(connection: Connection) -> tuple[dt.datetime, list[Row[Any]]]:
    """The database's time, and all rows; there are as many as processes."""
    now = func.current_timestamp(type_=UtcDateTime).label("now")
    rows = list(connection.execute(select(servers, now).order_by(servers.c.started_at, servers.c.process)))
    return (rows[0].now if rows else dt.datetime.now(dt.UTC)), rows
