"""The driver's heartbeat: tells the database that it lives, and learns from it that it must stop."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from study.errors import CancelledStudyError
from study.storage.attempts import record_heartbeats
from study.storage.claims import read_state
from study.storage.ledger import Ledger
from study.storage.records import StudyRecord

#: Moments at which workers were last seen: attempt id -> (worker, host, process id).
Seen = dict[int, tuple[str, str, int]]


class Heart:
    """Beats in a thread of its own while a study is driven, however long the driver is busy.

    Args:
        ledger: Of the study.
        study: Which study.
        seconds: Between two beats; a study is cancelled about so long after somebody asked for it.
        seen: Gives the attempts whose workers gave a sign of life since the last call.
        wake: Called, from the thread, when the driver must stop.
    """

    def __init__(
        self,
        ledger: Ledger,
        study: StudyRecord,
        *,
        seconds: float,
        seen: Callable[[], Seen],
        wake: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._study = study
        self._seconds = seconds
        self._seen = seen
        self._wake = wake
        self._trouble: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name=f"heart of {study.name}", daemon=True)

    def check(self) -> None:
        """Raise what the heart has learned, if anything.

        Raises:
            CancelledStudyError: Somebody cancelled the study.
            StudyLostError: Another process has it.
            SQLAlchemyError: The database is gone.
        """
        if self._trouble is not None:
            raise self._trouble

    def _beat_until_stopped(self) -> None:
        while not self._stopped.wait(self._seconds) and self._trouble is None:
            try:
                if self._ledger.write(self._beat) == "cancelling":
                    self._trouble = CancelledStudyError(
                        f"study {self._study.name!r} was cancelled; what was finished is kept, run the rest with: "
                        f"adai-study resume {self._study.name}"
                    )
            # Whatever it is: a driver without a heart would hear of no cancellation, and be taken for dead.
            except Exception as error:
                self._trouble = error
        if self._trouble is not None:
            self._wake()

    def _beat(self, connection: Connection) -> str:
        record_heartbeats(connection, self._seen())
        return read_state(connection, self._study.id)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if isinstance(error, KeyboardInterrupt | SQLAlchemyError):
            self._ledger.stop_waiting()
        self._thread.join()
