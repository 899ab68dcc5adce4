"""Transactions that are tried again while the database is away: locked by others, restarting, full, or cut off."""

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from study.storage.interruptions import interruptions_wait

Result = TypeVar("Result")

#: Classes of PostgreSQL's error codes that pass by: connection lost, rolled back for others, server going or coming.
_PASSING_CLASSES = ("08", "40", "57")
#: A server's volume may be given room while the server goes on. Its shared memory may not, and has the same code.
_DISK_FULL, _TOO_MANY_CONNECTIONS = "53100", "53300"
_SHARED_MEMORY = "shared memory segment"
_PASSING_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_LONGEST_PAUSE = 2.0


class Patience:
    """Does transactions, again and again while the database is away; its methods may be called from several threads.

    Args:
        engine: The database.
        seconds: How long a database that is away is waited for, by all threads together: it counts from the first
            failure since the last success.
        observe: Told the seconds of every transaction, the failed ones too.
    """

    def __init__(self, engine: Engine, *, seconds: float, observe: Callable[[float], None] | None = None) -> None:
        self._engine = engine
        self._seconds = seconds
        self._observe = observe
        self._away_since: float | None = None
        self._hurried = threading.Event()

    def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work`` in one transaction, again if it failed for a reason that passes.

        The answer to a commit may be lost although the commit was done: ``work`` must recognize what it did before.

        Raises:
            SQLAlchemyError: The database failed, or stayed away for longer than it is waited for.
        """
        pause = 0.05
        while True:
            started = time.monotonic()
            try:
                with interruptions_wait(), self._engine.begin() as connection:
                    result = work(connection)
            except DBAPIError as error:
                if not is_passing(error) or self._is_exhausted(started, pause) or self._hurried.wait(pause):
                    raise
            else:
                self._away_since = None
                return result
            finally:
                if self._observe is not None:
                    self._observe(time.monotonic() - started)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def stop_waiting(self) -> None:
        """Wait for the database no more: somebody wants this process to end, or has waited long enough."""
        self._hurried.set()

    def _is_exhausted(self, started: float, pause: float) -> bool:
        if self._away_since is None:
            self._away_since = started
        return time.monotonic() + pause > self._away_since + self._seconds


def is_passing(error: DBAPIError) -> bool:
    """Whether a failure may be gone when the transaction is tried again: of a connection, a lock, a restart, room."""
    if error.connection_invalidated:
        return True
    original = error.orig
    if isinstance(original, sqlite3.Error):
        # The extended codes have the plain one in their lowest byte.
        return (getattr(original, "sqlite_errorcode", 0) & 0xFF) in _PASSING_SQLITE
    code = getattr(original, "sqlstate", None)
    if code is None:
        # The driver itself failed: nothing was heard from the server, as when it cannot be reached.
        return type(original).__name__ == "OperationalError"
    if code == _DISK_FULL:
        return _SHARED_MEMORY not in str(original)
    return str(code).startswith((*_PASSING_CLASSES, _TOO_MANY_CONNECTIONS))
