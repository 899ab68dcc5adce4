"""The transactions of the process that drives a study: each exactly once, and only while the study is its own.

Every transaction moves the study's ``beat`` from n to n + 1 under the condition that this process still holds the study
and that the beat is n. So a driver whose study was given away can write nothing any more; a commit whose answer was
lost is recognized by its beat, and not done twice; and others see that this process lives, without comparing clocks.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, select, update

from study.claim import describe
from study.errors import StudyLostError
from study.storage.patience import Patience
from study.storage.tables import studies

Result = TypeVar("Result")


class Ledger:
    """Writes for one study in the name of its driver; its methods may be called from several threads.

    Args:
        patience: Does its transactions.
        study_id: A study that ``claim`` holds, see :func:`study.storage.claims.claim_study`.
        claim: This process.
        beat: The study's beat when it was claimed.
    """

    def __init__(self, patience: Patience, study_id: int, *, claim: str, beat: int) -> None:
        self._patience = patience
        self._study_id = study_id
        self._claim = claim
        self._beat = beat
        self._lock = threading.RLock()

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work`` in one transaction; it may be called again if its transaction was lost.

        Raises:
            StudyLostError: Another process has the study now; nothing was written.
            SQLAlchemyError: The database failed, or stayed away for longer than it is waited for.
        """
        # Of the last try, whose commit may have been done although its answer was lost.
        results: list[Result] = []

        def take_turn_and_work(connection: Connection) -> Result:
            if self._take_turn(connection, tried=bool(results)):
                results.append(work(connection))
            return results[-1]

        with self._lock:
            result = self._patience.transact(take_turn_and_work)
            self._beat += 1
            return result

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work``, which only reads, in one transaction; it may be called again.

        Raises:
            SQLAlchemyError: As for :meth:`write`.
        """
        return self._patience.transact(work)

    def stop_waiting(self) -> None:
        """Wait for the database no more: somebody wants this process to end, or has waited long enough."""
        self._patience.stop_waiting()

    def _take_turn(self, connection: Connection, *, tried: bool) -> bool:
        """Move the beat; false if an earlier try of this transaction has done so and was committed.

        The first statement of a transaction is a write, so that SQLite waits for its turn here and not midway.
        """
        turn = (
            update(studies)
            .where(studies.c.id == self._study_id, studies.c.driver == self._claim, studies.c.beat == self._beat)
            .values(beat=self._beat + 1)
        )
        if connection.execute(turn).rowcount == 1:
            return True
        row = connection.execute(select(studies).where(studies.c.id == self._study_id)).one()
        # The transaction that gives the study back leaves it without a driver.
        if tried and row.beat == self._beat + 1 and row.driver in (self._claim, None):
            return False
        if row.driver == self._claim:
            # Ctrl-C came between a commit and the note of it.
            self._beat = row.beat
            return self._take_turn(connection, tried=False)
        holder = f"{describe(row.driver)} has it" if row.driver else "nobody has it"
        raise StudyLostError(
            f"study {row.name!r} is not this process's any more ({holder}): it was taken for dead while it did not "
            "answer; nothing of what it did since was written"
        )
