"""The driver: gives a study's batches to a pool of workers and writes what comes back. The only writer of trials."""

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from study.batches import make_batch
from study.claim import this_process
from study.creation import plan_requests
from study.drive_options import DriveOptions
from study.errors import CancelledStudyError, InterruptedStudyError, StudyLostError
from study.flights import Flight
from study.heart import Heart, Seen
from study.metrics import Metrics
from study.progress import Progress
from study.provenance import describe_environment, environment_hash
from study.retries import Retry, choose_retry
from study.schedule import Schedule, WaitingBatch
from study.storage import attempts, endings, studies
from study.storage.claims import claim_study, release_study
from study.storage.ledger import Ledger
from study.storage.patience import Patience, is_passing
from study.storage.progress import read_plans
from study.storage.records import StudyRecord
from study.storage.run_states import RunState, find_pending
from study.trial_ends import stage_result
from workers.messages import (
    BatchFailed,
    BatchFinished,
    EnginePlan,
    EpochMetrics,
    Heartbeat,
    PoolEvent,
    Termination,
    TrialBatch,
)
from workers.pool import PoolLostError, WorkerPool
from workers.ray_connection import RayUnavailableError

Answer = TypeVar("Answer")

_POLL_SECONDS = 0.5
#: Epochs that come within so long are written together: a transaction for each would take longer than some epochs.
_GATHER_SECONDS = 0.2
#: A driver that has not listened for so long, for a transaction or a sampler, may have missed signs of progress.
_BUSY_SECONDS = 1.0
_FORGOTTEN_AT_MOST = 1_000_000


class Driver:
    """Runs what is missing of one study.

    Args:
        engine: The database.
        study: Which study.
        pool: Its workers, started.
        show: Called with the progress after every event.
        options: How it is driven.
        metrics: Counts what happens.
    """

    def __init__(
        self,
        engine: Engine,
        study: StudyRecord,
        pool: WorkerPool,
        show: Callable[[Progress], None],
        *,
        options: DriveOptions | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._engine = engine
        self._study = study
        self._spec = study.spec
        self._pool = pool
        self._show = show
        self._options = options or DriveOptions()
        self._metrics = metrics or Metrics()
        self._flights: dict[int, tuple[Flight, WaitingBatch]] = {}
        self._schedule: Schedule | None = None
        self._drain_until: float | None = None
        self._forgotten = 0
        #: Epochs that are not written yet, with the values of their trials; when others were.
        self._unwritten: list[tuple[EpochMetrics, Mapping[int, float]]] = []
        self._written_at = self._beat_at = 0.0
        self._listened_at = time.monotonic()

    def run(self) -> None:
        """Run every trial that has not ended.

        Raises:
            InterruptedStudyError: Ctrl-C, or the server ends; everything finished is kept, the rest waits.
            CancelledStudyError: Somebody cancelled the study; the same.
            StudyBusyError: Another process runs the study; nothing was changed.
            StudyLostError: Another process has taken the study over.
            PoolLostError: The workers are gone.
            SQLAlchemyError: The database is gone.
        """
        patience = Patience(
            self._engine, seconds=self._options.database_retry_seconds, observe=self._metrics.observe_transaction
        )
        beat = claim_study(patience, self._study.id)
        self._ledger = Ledger(patience, self._study.id, claim=this_process(), beat=beat)
        self._heart = Heart(
            self._ledger,
            self._study,
            seconds=self._options.heartbeat_seconds,
            seen=self._seen,
            wake=self._pool.interrupt,
        )
        try:
            with self._heart:
                self._prepare()
                self._loop()
        except KeyboardInterrupt:
            self._give_back(self._options.leave_as)
            raise self._interruption() from None
        except InterruptedStudyError:
            self._give_back(self._options.leave_as)
            raise
        except CancelledStudyError:
            self._give_back("cancelled")
            raise
        except StudyLostError:
            self._stop_workers()
            raise
        except Exception as error:
            # What went wrong is told by the caller; the study must not seem to run. A database that is gone cannot be
            # told so.
            with contextlib.suppress(SQLAlchemyError, StudyLostError):
                self._give_back(*self._state_after(error))
            raise
        self._ledger.write(partial(release_study, study_id=self._study.id, state="completed"))

    def _state_after(self, error: Exception) -> tuple[str, str | None]:
        """The state of a study that an error ended; a server does not try again what would go wrong again."""
        passes = isinstance(error, PoolLostError | RayUnavailableError)
        if isinstance(error, DBAPIError):
            passes = is_passing(error)
        if self._options.leave_as != "queued" or passes:
            return self._options.leave_as, None
        return "failed", f"{type(error).__name__}: {error}"

    def _prepare(self) -> None:
        for workload in self._spec.workloads:
            self._ask_workers(self._pool.request_check(self._spec.reference(workload)))
        if self._options.retry_failed and self._spec.can_retry_failed:
            self._ledger.write(partial(endings.reopen_failed_trials, study_id=self._study.id))
        environment = describe_environment()
        self._environment_hash = environment_hash(environment)
        self._ledger.write(partial(studies.store_environment, environment=environment))
        self._plans = self._find_plans()
        self._schedule = Schedule(self._study, self._ledger, self._plans, pool=self._pool, metrics=self._metrics)
        self._report(self._schedule)

    def _ask_workers(self, answer: "Future[Answer]") -> Answer:
        """What a worker answers when it is free; meanwhile a cancellation is heard."""
        while not answer.done():
            self._heart.check()
            self._check_drain()
            # Pools answer while they are asked for events.
            self._pool.next_event(_POLL_SECONDS)
        return answer.result()

    def _find_plans(self) -> dict[str, EnginePlan]:
        """The study's plans; made and stored now if there are none yet."""
        plans = self._ledger.read(partial(read_plans, study_id=self._study.id))
        if set(self._spec.workloads) <= set(plans):
            return plans
        requests = plan_requests(self._spec, self._pool)
        made = {name: self._ask_workers(self._pool.request_plan(request)) for name, request in requests.items()}
        self._ledger.write(partial(studies.store_plans, study_id=self._study.id, made=made, device=self._pool.device))
        return made

    def _loop(self) -> None:
        schedule = self._schedule
        assert schedule is not None  # noqa: S101 - _prepare has made it
        while schedule or self._flights:
            self._heart.check()
            self._check_drain()
            self._submit(schedule)
            event = self._listen()
            if event is not None:
                self._handle(schedule, event)
            if event is None or time.monotonic() - self._written_at >= _GATHER_SECONDS:
                self._write_epochs()
            self._check_leases(schedule)
            self._report(schedule)
        self._heart.check()

    def _listen(self) -> PoolEvent | None:
        """The next event; leases do not run while this driver was too busy to hear of progress."""
        deaf = time.monotonic() - self._listened_at
        if deaf > _BUSY_SECONDS:
            for flight, _ in self._flights.values():
                flight.excuse(deaf)
        event = self._pool.next_event(_GATHER_SECONDS if self._unwritten else _POLL_SECONDS)
        self._listened_at = time.monotonic()
        return event

    def _submit(self, schedule: Schedule) -> None:
        """Keep every worker busy and one batch waiting; never hand out the whole design."""
        while self._drain_until is None and schedule and len(self._flights) < self._pool.slots + 1:
            waiting = schedule.take()
            plan = waiting.plan
            batch = make_batch(self._spec, plan, schedule.book, engine=self._plans[waiting.cell.workload].engine)
            if not plan.trials:
                self._forget(batch)
                schedule.land(waiting, [])
                continue
            flight = Flight(plan, batch)
            attempt_id = self._ledger.write(
                partial(
                    attempts.begin_attempt,
                    study_id=self._study.id,
                    plan=plan,
                    run_ids=flight.trained(),
                    keep_steps=plan.seeds.start - 1 if self._spec.pruning.kind == "wilcoxon" else plan.first_epoch,
                    environment_hash=self._environment_hash,
                )
            )
            flight.batch = replace(batch, batch_id=attempt_id)
            self._flights[attempt_id] = flight, waiting
            self._pool.submit(flight.batch)

    def _forget(self, batch: TrialBatch) -> None:
        """All trials of a batch were pruned: a worker removes its checkpoint, and nobody listens to what it says."""
        self._forgotten += 1
        # Attempts of all studies that share the pool have positive ids.
        self._pool.submit(replace(batch, batch_id=-(self._study.id * _FORGOTTEN_AT_MOST + self._forgotten)))

    def _handle(self, schedule: Schedule, event: PoolEvent) -> None:
        if event.batch_id not in self._flights:
            return  # of an attempt that was given up
        flight, waiting = self._flights[event.batch_id]
        if isinstance(event, Heartbeat):
            flight.note_heartbeat(event)
            return
        if isinstance(event, EpochMetrics):
            self._record_epoch(schedule, flight, event)
            return
        # Its epochs come before its end.
        self._write_epochs()
        if isinstance(event, BatchFinished):
            self._finish(schedule, flight, waiting, event)
        else:
            self._handle_failure(schedule, flight, waiting, event)

    def _record_epoch(self, schedule: Schedule, flight: Flight, metrics: EpochMetrics) -> None:
        flight.note_epoch(metrics)
        reports = self._spec.pruning.kind != "wilcoxon" and self._spec.design.second_objective is None
        values = flight.trial_values(metrics, schedule.book) if reports else {}
        self._unwritten.append((metrics, values))
        schedule.tally.note_epoch(metrics.run_ids, metrics.epoch)
        self._metrics.count_epochs(len(metrics.run_ids))

    def _write_epochs(self) -> None:
        """Write the epochs that have come since the last time."""
        if self._unwritten:
            self._ledger.write(partial(attempts.record_epochs, reported=self._unwritten))
            self._unwritten = []
            self._written_at = time.monotonic()

    def _finish(self, schedule: Schedule, flight: Flight, waiting: WaitingBatch, finished: BatchFinished) -> None:
        # The book is changed first, and written from: a failure to write ends this driver.
        paused = {run_id: flight.standing(run_id) for run_id in finished.paused}
        ended = schedule.book.note_outcomes(finished.outcomes, paused)
        result = stage_result(self._spec, flight, finished, schedule.book)
        self._ledger.write(
            partial(
                attempts.finish_attempt, study_id=self._study.id, plan=flight.plan, finished=finished, result=result
            )
        )
        self._land(schedule, flight, waiting, Termination.COMPLETED, ended)

    def _handle_failure(self, schedule: Schedule, flight: Flight, waiting: WaitingBatch, failed: BatchFailed) -> None:
        plan = flight.plan
        retry = choose_retry(failed.termination, tries=plan.tries + 1, trials=len(plan.trials))
        write = endings.fail_attempt if retry is Retry.NEVER else endings.abandon_attempt

        def close(connection: Connection) -> None:
            write(connection, self._study.id, failed, plan.trials, tries=plan.tries + 1, what_next=retry.value)

        self._ledger.write(close)
        schedule.tally.note_lost(flight.trained())
        if retry is Retry.NEVER:
            ended = schedule.book.note_failed([trial.id for trial in plan.trials], failed.termination)
            self._land(schedule, flight, waiting, failed.termination, ended)
        else:
            del self._flights[failed.batch_id]
            self._metrics.count_attempt(failed.termination)
            schedule.retry(waiting, failed.termination, retry)

    def _land(
        self,
        schedule: Schedule,
        flight: Flight,
        waiting: WaitingBatch,
        termination: Termination,
        ended: list[RunState],
    ) -> None:
        del self._flights[flight.batch.batch_id]
        self._metrics.count_attempt(termination)
        schedule.land(waiting, ended)

    def _check_leases(self, schedule: Schedule) -> None:
        for flight, waiting in list(self._flights.values()):
            expired = flight.expired(self._options.lease_seconds)
            if expired is not None:
                self._write_epochs()
                self._pool.cancel(flight.batch.batch_id)
                self._metrics.count_lease_loss()
                self._handle_failure(schedule, flight, waiting, expired)

    def _check_drain(self) -> None:
        drain = self._options.drain
        if drain is None or not drain.is_set():
            return
        if self._drain_until is None:
            self._drain_until = time.monotonic() + self._options.drain_seconds
        if not self._flights or time.monotonic() >= self._drain_until:
            raise self._interruption()

    def _interruption(self) -> InterruptedStudyError:
        kept = ""
        if self._schedule is not None:
            progress = self._schedule.tally.progress()
            kept = f"{progress.trials_ended} of {progress.trials} trials of "
        return InterruptedStudyError(
            f"interrupted: {kept}study {self._study.name!r} are finished and kept; "
            f"run the rest with: adai-study resume {self._study.name}"
        )

    def _give_back(self, state: str, error: str | None = None) -> None:
        """Let go of everything in flight; what was finished stays."""
        self._stop_workers()
        pending = self._ledger.read(partial(find_pending, study_id=self._study.id))

        def write(connection: Connection) -> None:
            endings.reconcile_study(connection, self._study.id, pending)
            release_study(connection, self._study.id, state, error=error)

        self._ledger.write(write)

    def _stop_workers(self) -> None:
        for attempt_id in list(self._flights):
            self._pool.cancel(attempt_id)
        self._flights.clear()

    def _seen(self) -> Seen:
        """Where the attempts are whose workers were heard since the last beat."""
        since, self._beat_at = self._beat_at, time.monotonic()
        return {
            attempt_id: flight.worker
            for attempt_id, (flight, _) in list(self._flights.items())
            if flight.worker is not None and flight.heard_at is not None and flight.heard_at >= since
        }

    def _report(self, schedule: Schedule) -> None:
        self._show(schedule.tally.progress())
