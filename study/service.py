"""The service: takes submitted studies from the queue and drives several at once on one pool of workers."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from study.claim import is_alive, is_here, this_process
from study.drive_options import DriveOptions
from study.driver import Driver
from study.errors import CancelledStudyError, DatabaseError, InterruptedStudyError, StudyError
from study.metrics import Metrics
from study.progress import Progress
from study.report.analysis import Settings as ReportSettings
from study.report.part_cache import PartCache
from study.report.reporting import report_study
from study.report.steps import QuietSteps
from study.request_handling import Presence, RequestHandler
from study.storage.claims import (
    TAKEOVER_SECONDS,
    bury_driver,
    count_queued,
    find_driven,
    release_study,
    take_queued_study,
)
from study.storage.logs import log_event, process_log
from study.storage.records import StudyRecord, find_study
from workers.fair_pool import FairPool
from workers.pool import PoolLostError, RefusedError, SharablePool
from workers.ray_pool import RayUnavailableError
from workers.workloads import MissingDataError

_POLL_SECONDS = 0.5
#: Between two tries to get workers back.
_POOL_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """How a server works.

    Attributes:
        studies: How many studies run at once.
        reports: Folder of the reports; each study has one of its own in it. None writes none.
        tolerance: Of reports: which settings are good, as :class:`study.report.analysis.Settings` says.
        until_idle: Stop when nothing is queued, asked for or running.
        drive: How each study is driven.
    """

    studies: int
    reports: Path | None
    tolerance: float
    until_idle: bool
    drive: DriveOptions


@dataclass(slots=True)
class _Sighting:
    """When the beat of a study on another machine was first seen to stand where it stands."""

    beat: int
    since: float


@dataclass(slots=True)
class Service:
    """Drives the studies of one database, and handles what is asked of them, until it is told to stop.

    Args:
        engine: The database.
        make_pool: Makes the pool; called again when all its workers were lost.
        options: How it works.
        metrics: What it counts.
    """

    engine: Engine
    make_pool: Callable[[], SharablePool]
    options: ServiceOptions
    metrics: Metrics = field(default_factory=Metrics)
    _told: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _sightings: dict[int, _Sighting] = field(default_factory=dict)
    _reporting: threading.Lock = field(default_factory=threading.Lock)
    _pool: SharablePool | None = None

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT, or, if asked for, until nothing is left to do.

        Raises:
            RayUnavailableError: The first start of the workers failed.
        """
        with _calling(self.stop) as listen, self._handle_requests() as handler:
            first = True
            while not self._told:
                try:
                    with self.make_pool() as inner, FairPool(inner) as pool:
                        # Ray's start replaces the handler of SIGTERM by one that aborts.
                        listen()
                        first = False
                        self._pool = inner
                        self._serve(pool, handler)
                except (PoolLostError, RayUnavailableError) as error:
                    self._pool = None
                    self.metrics.workers.set(0)
                    if first:
                        raise
                    process_log.error(
                        "workers_lost", error=str(error), next=f"another try in {_POOL_PAUSE_SECONDS:g} s"
                    )
                    self._pause(_POOL_PAUSE_SECONDS)

    def _handle_requests(self) -> RequestHandler:
        return RequestHandler(
            self.engine,
            self.options.reports,
            tolerance=self.options.tolerance,
            retry_seconds=self.options.drive.database_retry_seconds,
            presence=lambda: Presence(0 if self._pool is None else self._pool.capacity, len(self._threads)),
        )

    def stop(self) -> None:
        """Start nothing more; what has started may end within the time that draining may take.

        A signal handler may call it: it takes no lock, which the thread that it interrupts may hold.
        """
        self._told = True

    def _pause(self, seconds: float) -> None:
        """Wait, but not when told to stop."""
        until = time.monotonic() + seconds
        while not self._told and time.monotonic() < until:
            time.sleep(min(_POLL_SECONDS, max(0.0, until - time.monotonic())))
        if self._told:
            self._stop.set()

    def _serve(self, pool: FairPool, handler: RequestHandler) -> None:
        """Start and reap studies until there is a reason not to."""
        try:
            while not self._told:
                pool.check_lives()
                waiting = self._look(pool, handler)
                if self.options.until_idle and not self._threads and waiting == 0:
                    self.stop()
                self._pause(_POLL_SECONDS)
        finally:
            if self._told:
                self._stop.set()
            # Their drivers have seen the same reason: they drain, or have lost their workers.
            for thread in self._threads.values():
                thread.join()
            self._threads.clear()
            self.metrics.studies_running.set(0)

    def _look(self, pool: FairPool, handler: RequestHandler) -> int | None:
        """One look at queue and database; returns how many studies and requests wait, None while it is away."""
        waiting = None
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        try:
            self._bury_the_dead()
            while len(self._threads) < self.options.studies and (taken := self._take()) is not None:
                thread = threading.Thread(target=self._drive, args=(*taken, pool), name=taken[0], daemon=True)
                self._threads[taken[0]] = thread
                thread.start()
            # In this order: what is asked for ends in the queue.
            asked = handler.count_open()
            queued = self._count_queued()
            waiting = asked + queued
            self.metrics.queue_length.set(queued)
        except SQLAlchemyError as error:
            # Drivers on other machines cannot have given signs of life either.
            self._sightings.clear()
            process_log.warning("database_away", error=str(getattr(error, "orig", None) or error))
        self.metrics.studies_running.set(len(self._threads))
        self.metrics.workers.set(pool.inner.capacity)
        return waiting

    def _take(self) -> tuple[str, int] | None:
        """Name and id of the study that has waited longest, from now on this process's."""
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            return take_queued_study(connection)

    def _count_queued(self) -> int:
        with self.engine.connect() as connection:
            return count_queued(connection)

    def _bury_the_dead(self) -> None:
        """Put studies back whose drivers have died: at once on this machine, after a silence on another."""
        with self.engine.connect() as connection:
            driven = find_driven(connection)
        for row in driven:
            if row.driver == this_process():
                dead = row.name not in self._threads
            elif is_here(row.driver):
                dead = not is_alive(row.driver)
            else:
                sighting = self._sightings.get(row.id)
                if sighting is None or sighting.beat != row.beat:
                    self._sightings[row.id] = sighting = _Sighting(row.beat, time.monotonic())
                dead = time.monotonic() - sighting.since > TAKEOVER_SECONDS
            if dead:
                with self.engine.begin() as connection:
                    bury_driver(connection, row)
                self._sightings.pop(row.id, None)

    def _drive(self, name: str, study_id: int, pool: FairPool) -> None:
        """One study, in a thread of its own, from taking it to its report."""
        structlog.contextvars.bind_contextvars(study=name)
        try:
            study = self._find(name, study_id)
            options = replace(self.options.drive, drain=self._stop, leave_as="queued", retry_failed=True)
            with pool.share(name) as share:
                Driver(self.engine, study, share, _ignore, options=options, metrics=self.metrics).run()
            if self.options.reports is not None:
                self._write_report(study, self.options.reports / study.name)
        except (InterruptedStudyError, CancelledStudyError) as error:
            process_log.info("study_stopped", reason=str(error))
        except (PoolLostError, RayUnavailableError) as error:
            process_log.warning("study_lost_its_workers", error=str(error))
        except SQLAlchemyError as error:
            process_log.error("study_lost_its_database", error=str(getattr(error, "orig", None) or error))
        except (StudyError, MissingDataError, RefusedError) as error:
            process_log.error("study_not_run", error=str(error))
        # The thread's own last line of defence: a server outlives a fault in one study.
        except Exception:
            process_log.exception("fault_of_the_program")

    def _find(self, name: str, study_id: int) -> StudyRecord:
        with self.engine.begin() as connection:
            try:
                return find_study(connection, name)
            except DatabaseError as error:
                # Of another version: it would be taken from the queue for ever.
                release_study(connection, study_id, "failed", error=str(error))
                connection.commit()
                raise

    def _write_report(self, study: StudyRecord, folder: Path) -> None:
        # One at a time: Matplotlib is not made for threads.
        with self._reporting:
            try:
                chosen = ReportSettings(tolerance=self.options.tolerance)
                path = report_study(
                    self.engine, study.name, folder, chosen, cache=PartCache.of_user(), steps=QuietSteps()
                )
            except (StudyError, SQLAlchemyError, OSError) as error:
                self._log_report(study, "report_failed", error=str(error), next=f"adai-study report {study.name}")
            else:
                self._log_report(study, "report_written", path=str(path))

    def _log_report(self, study: StudyRecord, event: str, **details: str) -> None:
        with contextlib.suppress(SQLAlchemyError), self.engine.begin() as connection:
            log_event(connection, study.id, event, level="error" if "error" in details else "info", **details)


def _ignore(progress: Progress) -> None:
    """Nobody watches a server's studies here: `adai-study watch` reads the database."""
    del progress


@contextlib.contextmanager
def _calling(stop: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT call ``stop`` within the block; a second one ends the process as it does by default.

    Gives a function that sees to it again, after somebody else took the signals.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        stop()

    def listen() -> None:
        for number in previous:
            signal.signal(number, handle)

    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    listen()
    try:
        yield listen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
