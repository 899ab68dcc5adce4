"""What of a study is to be trained next: the batches that wait, and those that each end of a batch makes possible."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from study.cells import Cell, CohortProgress, PruningDecision, StageWork
from study.creation import ask_next_round, read_history
from study.metrics import Metrics
from study.retries import Retry, tries_of_halves
from study.storage import endings, studies
from study.storage.attempts import BatchPlan
from study.storage.ledger import Ledger
from study.storage.records import StudyRecord, TrialRecord, read_round, read_trials
from study.storage.run_states import RunBook, RunState, read_run_states
from study.tally import Tally
from study.trial_ends import end_of_trial
from workers.messages import EnginePlan, Termination
from workers.pool import WorkerPool


@dataclass(slots=True)
class WaitingBatch:
    """A batch that no worker has yet.

    Attributes:
        plan: What it trains.
        cell: Whose it is.
        cohort: Which waits for it.
    """

    plan: BatchPlan
    cell: Cell
    cohort: CohortProgress


class Schedule:
    """The batches of one study that are still to be trained.

    Args:
        study: The study, driven by this process.
        ledger: Its transactions.
        plans: For each workload, engine and size of batches.
        pool: Trains them.
        metrics: Counts runs that end.
    """

    def __init__(
        self,
        study: StudyRecord,
        ledger: Ledger,
        plans: Mapping[str, EnginePlan],
        *,
        pool: WorkerPool,
        metrics: Metrics,
    ) -> None:
        self._study = study
        self._spec = study.spec
        self._ledger = ledger
        self._plans = plans
        self._pool = pool
        self._metrics = metrics
        self._queue: deque[WaitingBatch] = deque()
        self._last_run = 0
        self.book = RunBook()
        self.tally = Tally(self._spec, self.book)
        self._load()

    def __len__(self) -> int:
        """Batches that wait."""
        return len(self._queue)

    def take(self) -> WaitingBatch:
        """The next batch; it is landed or retried later."""
        return self._queue.popleft()

    def _load(self) -> None:
        """Find what is missing, free what a dead driver held, and queue the first batches."""
        trials = self._ledger.read(partial(read_trials, study_id=self._study.id))
        self._learn_runs()
        pending = [trial.optuna_trial_id for trial in trials if not self.book.has_ended(trial.id)]
        self._ledger.write(partial(endings.reconcile_study, study_id=self._study.id, pending=pending))
        self.tally.add_trials(trials)
        self.tally.begin()
        own: dict[tuple[str, str], list[TrialRecord]] = {}
        for trial in trials:
            own.setdefault((trial.workload, trial.optimizer), []).append(trial)
        for workload in self._spec.workloads:
            for optimizer in self._spec.optimizers:
                cell = Cell(self._spec, workload, optimizer)
                cell.add_trials(own[workload, optimizer.name])
                self._advance(cell)

    def _learn_runs(self) -> None:
        states = self._ledger.read(partial(read_run_states, study_id=self._study.id, after=self._last_run))
        self.book.add(states)
        self._last_run = max((run.id for run in states), default=self._last_run)

    def land(self, waiting: WaitingBatch, ended: Iterable[RunState]) -> None:
        """A batch is done with, and these runs ended with it; whatever waited for it is queued."""
        self.note_ended(ended)
        waiting.cohort.batches -= 1
        if not waiting.cohort.batches:
            self._advance(waiting.cell)

    def retry(self, waiting: WaitingBatch, termination: Termination, retry: Retry) -> None:
        """A batch brought nothing, and is tried again before all others: whole, or in halves."""
        for plan in _retried(waiting.plan, termination, retry):
            waiting.cohort.batches += 1
            self._queue.appendleft(replace(waiting, plan=plan))
        waiting.cohort.batches -= 1

    def note_ended(self, ended: Iterable[RunState]) -> None:
        """Runs have ended, and that is written."""
        runs = list(ended)
        self.tally.note_ended(runs)
        self._metrics.count_runs(runs)

    def _advance(self, cell: Cell) -> None:
        """Queue what ``cell`` needs next, if that is known yet."""
        while True:
            for cohort in cell.cohorts:
                if not cohort.batches:
                    self._advance_cohort(cell, cohort)
            if any(cohort.batches for cohort in cell.cohorts) or not self._ask_round(cell):
                return

    def _advance_cohort(self, cell: Cell, cohort: CohortProgress) -> None:
        step = cell.next_step(cohort, self.book)
        while isinstance(step, PruningDecision):
            self._prune(step)
            step = cell.next_step(cohort, self.book)
        if isinstance(step, StageWork):
            rows = self._plans[cell.workload].max_rows
            cohort.workers = cohort.workers or self._pool.slots
            plans = cell.pack(step, max_rows=rows, workers=cohort.workers)
            # Those that are only to be forgotten come first: nobody waits for them at the end.
            waiting = [WaitingBatch(plan, cell, cohort) for plan in sorted(plans, key=lambda plan: bool(plan.trials))]
            cohort.batches = len(waiting)
            self._queue.extend(waiting)

    def _prune(self, decision: PruningDecision) -> None:
        ended = self.book.note_pruned(run.run_id for run in decision.runs)
        ends = [end_of_trial(self._spec, trial, self.book) for trial in decision.trials]

        def write(connection: Connection) -> None:
            endings.prune_runs(connection, self._study.id, decision.runs, ends, details=decision.details)

        self._ledger.write(write)
        self.note_ended(ended)

    def _ask_round(self, cell: Cell) -> bool:
        """Ask the sampler of an adaptive design for the next trials; false if there are no more."""
        if not self._spec.design.is_adaptive:
            return False
        history = self._ledger.read(
            lambda connection: read_history(connection, self._spec, cell.workload, cell.optimizer)
        )
        asked = ask_next_round(self._spec, cell.workload, cell.optimizer, round_=cell.round + 1, history=history)
        if not asked:
            return False
        self._ledger.write(partial(studies.add_round, study_id=self._study.id, spec=self._spec, plan=asked))
        trials = self._ledger.read(
            lambda connection: read_round(
                connection, self._study.id, cell.workload, cell.optimizer.name, round_=cell.round + 1
            )
        )
        self._learn_runs()
        self.tally.add_trials(trials)
        cell.add_trials(trials)
        return True


def _retried(plan: BatchPlan, termination: Termination, retry: Retry) -> list[BatchPlan]:
    """The batches that take the place of one that brought nothing, the last first."""
    if retry is Retry.AGAIN:
        return [replace(plan, tries=plan.tries + 1)]
    middle = len(plan.trials) // 2
    tries = tries_of_halves(termination)
    return [
        replace(plan, trials=half, members=half, tries=tries) for half in (plan.trials[middle:], plan.trials[:middle])
    ]
