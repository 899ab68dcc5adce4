"""The driver: gives a study's trials to a pool of workers and writes what comes back. The only writer of trials."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from study.creation import plan_engines
from study.errors import InterruptedStudyError
from study.storage import writes
from study.storage.progress import read_plans, read_progress
from study.storage.records import (
    StudyRecord,
    TrialRecord,
    read_pending_trials,
    read_run_ids,
    read_trials,
)
from workers.batching import pack_trials
from workers.messages import BatchFailed, BatchFinished, EnginePlan, EpochMetrics, PoolEvent, Termination, TrialBatch
from workers.pool import WorkerPool

#: How many attempts a batch has in all when its worker is lost.
MAX_ATTEMPTS = 3
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is, for people who watch it.

    Attributes:
        study: Its name.
        trials: Trials of the study.
        trials_ended: Those with a result or failed.
        run_epochs: Epochs that all runs of the study may train.
        run_epochs_ended: Those trained, or no longer to be trained because their run ended.
        resumed_at: ``run_epochs_ended`` when this driver began.
        diverged: Runs that diverged.
        failed: Trials that failed.
        best: Lowest trial value so far; None before the first.
        best_optimizer: Whose it is.
        seconds: Since this driver began.
    """

    study: str
    trials: int
    trials_ended: int
    run_epochs: int
    run_epochs_ended: int
    resumed_at: int
    diverged: int
    failed: int
    best: float | None
    best_optimizer: str
    seconds: float


@dataclass(slots=True)
class _Flight:
    """A batch that a worker has."""

    attempt_id: int
    trials: Sequence[TrialRecord]
    attempt: int
    #: Budget of each run of the batch.
    epochs: Sequence[int]
    epochs_seen: int = 0
    #: Last objective of each run: a diverged one stays at chance level.
    objectives: dict[int, float] = field(default_factory=dict)

    @property
    def run_epochs(self) -> int:
        """What its runs may train in all."""
        return sum(self.epochs)

    @property
    def run_epochs_seen(self) -> int:
        """What they trained, or would have trained without diverging, until now."""
        return sum(min(epochs, self.epochs_seen) for epochs in self.epochs)


class Driver:
    """Runs what is missing of one study.

    Args:
        engine: The database.
        study: Which study.
        pool: Its workers, started.
        show: Called with the progress after every event.
    """

    def __init__(self, engine: Engine, study: StudyRecord, pool: WorkerPool, show: Callable[[Progress], None]) -> None:
        self._engine = engine
        self._study = study
        self._spec = study.spec
        self._pool = pool
        self._show = show
        self._flights: dict[int, _Flight] = {}
        self._started = time.monotonic()

    def run(self) -> None:
        """Run every trial that has not ended.

        Raises:
            InterruptedStudyError: Ctrl-C; everything finished is kept, the rest waits.
            StudyBusyError: Another process runs the study; nothing was changed.
        """
        self._plans = self._find_plans()
        trials, pending = self._prepare()
        self._progress = self._initial_progress(trials, pending)
        try:
            self._report()
            while self._queue or self._flights:
                self._submit()
                event = self._pool.next_event(_POLL_SECONDS)
                if event is not None:
                    self._handle(event)
                self._report()
        except KeyboardInterrupt:
            self._release()
            ended, total = self._progress.trials_ended, self._progress.trials
            raise InterruptedStudyError(
                f"interrupted: {ended} of {total} trials of study {self._study.name!r} are finished and kept; "
                f"run the rest with: adai-study resume {self._study.name}"
            ) from None
        except Exception:
            # What went wrong is told by the caller; the study must not seem to run. A database that is gone cannot be
            # told so.
            with contextlib.suppress(SQLAlchemyError):
                self._release()
            raise
        with self._engine.begin() as connection:
            writes.release_study(connection, self._study.id, "completed")

    def _find_plans(self) -> dict[str, EnginePlan]:
        """The study's plans; made and stored now if it is from before there were any."""
        with self._engine.connect() as connection:
            plans = read_plans(connection, self._study.id)
        if set(self._spec.workloads) <= set(plans):
            return plans
        plans = plan_engines(self._spec, self._pool)
        with self._engine.begin() as connection:
            for workload, plan in plans.items():
                writes.store_plan(connection, self._study.id, workload, plan, self._pool.device)
        return plans

    def _prepare(self) -> tuple[list[TrialRecord], set[int]]:
        """Find what is missing, free what a dead driver held, and say that the study runs.

        Returns:
            All trials, and the ids of those that have not ended.
        """
        with self._engine.begin() as connection:
            writes.claim_study(connection, self._study.id)
            pending = read_pending_trials(connection, self._study.id)
            writes.reconcile_study(connection, self._study.id, pending)
            self._run_ids = read_run_ids(connection, self._study.id)
            trials = read_trials(connection, self._study.id)
        missing = {trial.id for trial in pending}
        self._queue: deque[tuple[list[TrialRecord], int]] = deque((batch, 1) for batch in self._pack(trials, missing))
        return trials, missing

    def _pack(self, trials: Sequence[TrialRecord], pending: Collection[int]) -> Iterator[list[TrialRecord]]:
        """What is missing, in the batches that the whole study has: so a batch finds its checkpoint again."""
        groups: dict[tuple[str, str, str], list[TrialRecord]] = {}
        for trial in trials:
            training = self._spec.training_of_trial(trial.hyperparameters)
            options = self._spec.optimizer(trial.optimizer).options_of(trial.hyperparameters)
            # What cannot differ between the rows of a batch.
            common = f"{training!r} {sorted(options.items())}"
            groups.setdefault((trial.workload, trial.optimizer, common), []).append(trial)
        for (workload, _, _), group in groups.items():
            rows = self._plans[workload].max_rows
            for batch in pack_trials(group, seeds=self._spec.seeds, max_rows=rows, workers=self._pool.slots):
                missing = [trial for trial in batch if trial.id in pending]
                if missing:
                    yield missing

    def _initial_progress(self, trials: Sequence[TrialRecord], pending: Collection[int]) -> Progress:
        seeds = self._spec.seeds
        with self._engine.connect() as connection:
            parts = read_progress(connection, self._study.name)
        budgets = {
            trial.id: seeds * self._spec.epochs_of_trial(trial.workload, trial.hyperparameters) for trial in trials
        }
        epochs_ended = sum(budget for trial_id, budget in budgets.items() if trial_id not in pending)
        best = min(((p.best_objective, p.optimizer) for p in parts if p.best_objective is not None), default=None)
        return Progress(
            study=self._study.name,
            trials=self._spec.trial_count,
            trials_ended=sum(part.ended for part in parts) // seeds,
            run_epochs=sum(budgets.values()),
            run_epochs_ended=epochs_ended,
            resumed_at=epochs_ended,
            diverged=sum(part.diverged for part in parts),
            failed=sum(part.failed for part in parts) // seeds,
            best=best[0] if best else None,
            best_optimizer=best[1] if best else "",
            seconds=0.0,
        )

    def _submit(self) -> None:
        """Keep every worker busy and one batch waiting; never hand out the whole design."""
        while self._queue and len(self._flights) < self._pool.slots + 1:
            trials, attempt = self._queue.popleft()
            with self._engine.begin() as connection:
                attempt_id = writes.begin_attempt(connection, self._study.id, trials, seeds=self._spec.seeds)
            batch = self._make_batch(attempt_id, trials)
            self._flights[attempt_id] = _Flight(attempt_id, trials, attempt, batch.epochs)
            self._pool.submit(batch)

    def _make_batch(self, attempt_id: int, trials: Sequence[TrialRecord]) -> TrialBatch:
        rows = [(trial, seed) for trial in trials for seed in range(self._spec.seeds)]
        first = trials[0]
        optimizer = self._spec.optimizer(first.optimizer)
        rule = optimizer.rule_of(first.hyperparameters)
        return TrialBatch(
            batch_id=attempt_id,
            workload=self._spec.reference(first.workload),
            optimizer=first.optimizer,
            run_ids=tuple(self._run_ids[trial.id, seed] for trial, seed in rows),
            seeds=tuple(seed for _, seed in rows),
            hyperparameters={
                h.name: tuple(float(trial.hyperparameters[h.name]) for trial, _ in rows) for h in rule.hyperparameters
            },
            study_seed=self._spec.study_seed,
            epochs=tuple(self._spec.epochs_of_trial(trial.workload, trial.hyperparameters) for trial, _ in rows),
            objective=self._spec.objective,
            options=optimizer.options_of(first.hyperparameters),
            training=self._spec.training_of_trial(first.hyperparameters),
            engine=self._plans[first.workload].engine,
        )

    def _handle(self, event: PoolEvent) -> None:
        flight = self._flights[event.batch_id]
        if isinstance(event, EpochMetrics):
            self._record_epoch(flight, event)
        elif isinstance(event, BatchFinished):
            self._finish(flight, event)
        elif isinstance(event, BatchFailed):
            self._handle_failure(flight, event)

    def _handle_failure(self, flight: _Flight, event: BatchFailed) -> None:
        if event.termination is Termination.WORKER_LOST and flight.attempt < MAX_ATTEMPTS:
            self._try_again(flight, event)
        elif event.termination is Termination.OUT_OF_MEMORY and len(flight.trials) > 1:
            self._halve(flight, event)
        else:
            self._fail(flight, event)

    def _record_epoch(self, flight: _Flight, metrics: EpochMetrics) -> None:
        flight.objectives.update(zip(metrics.run_ids, metrics.objective, strict=True))
        training = set(metrics.run_ids)
        values = {
            trial.optuna_trial_id: writes.seed_mean(
                [flight.objectives[self._run_ids[trial.id, seed]] for seed in range(self._spec.seeds)]
            )
            for trial in flight.trials
            # A trial without a row any more has reported its last value: it must not depend on its batch's company.
            if any(self._run_ids[trial.id, seed] in training for seed in range(self._spec.seeds))
        }
        with self._engine.begin() as connection:
            writes.record_epoch(connection, metrics, values)
        seen = flight.run_epochs_seen
        flight.epochs_seen = metrics.epoch
        self._advance(run_epochs=flight.run_epochs_seen - seen)

    def _finish(self, flight: _Flight, finished: BatchFinished) -> None:
        outcome_of = {outcome.run_id: outcome for outcome in finished.outcomes}
        outcomes_of = {
            trial.optuna_trial_id: [outcome_of[self._run_ids[trial.id, seed]] for seed in range(self._spec.seeds)]
            for trial in flight.trials
        }
        with self._engine.begin() as connection:
            writes.finish_attempt(connection, flight.attempt_id, finished, outcomes_of)
        del self._flights[flight.attempt_id]
        best = min(writes.seed_mean([o.objective for o in outcomes]) for outcomes in outcomes_of.values())
        if self._progress.best is None or best < self._progress.best:
            self._progress = replace(self._progress, best=best, best_optimizer=flight.trials[0].optimizer)
        self._advance(
            run_epochs=flight.run_epochs - flight.run_epochs_seen,
            trials=len(flight.trials),
            diverged=sum(o.termination is Termination.DIVERGED for o in finished.outcomes),
        )

    def _try_again(self, flight: _Flight, failed: BatchFailed) -> None:
        with self._engine.begin() as connection:
            writes.abandon_attempt(connection, flight.attempt_id, flight.trials, failed.termination, failed.error)
        del self._flights[flight.attempt_id]
        self._queue.appendleft((list(flight.trials), flight.attempt + 1))
        self._advance(run_epochs=-flight.run_epochs_seen)

    def _halve(self, flight: _Flight, failed: BatchFailed) -> None:
        """Too many rows for the worker's memory: try two batches of half as many."""
        with self._engine.begin() as connection:
            writes.abandon_attempt(connection, flight.attempt_id, flight.trials, failed.termination, failed.error)
        del self._flights[flight.attempt_id]
        middle = len(flight.trials) // 2
        for half in (flight.trials[middle:], flight.trials[:middle]):
            self._queue.appendleft((list(half), flight.attempt))
        self._advance(run_epochs=-flight.run_epochs_seen)

    def _fail(self, flight: _Flight, failed: BatchFailed) -> None:
        with self._engine.begin() as connection:
            writes.fail_attempt(connection, flight.attempt_id, flight.trials, failed)
        del self._flights[flight.attempt_id]
        trials = len(flight.trials)
        remaining = flight.run_epochs - flight.run_epochs_seen
        self._advance(run_epochs=remaining, trials=trials, failed=trials)

    def _advance(self, *, run_epochs: int, trials: int = 0, diverged: int = 0, failed: int = 0) -> None:
        progress = self._progress
        self._progress = replace(
            progress,
            run_epochs_ended=progress.run_epochs_ended + run_epochs,
            trials_ended=progress.trials_ended + trials,
            diverged=progress.diverged + diverged,
            failed=progress.failed + failed,
        )

    def _report(self) -> None:
        self._show(replace(self._progress, seconds=time.monotonic() - self._started))

    def _release(self) -> None:
        """Let go of everything in flight; what was finished stays."""
        with self._engine.begin() as connection:
            pending = read_pending_trials(connection, self._study.id)
            writes.reconcile_study(connection, self._study.id, pending)
            writes.release_study(connection, self._study.id, "interrupted")
