"""Counts how far a study is, for people who watch it."""

import time
from collections.abc import Iterable

from study.objectives import seed_mean
from study.progress import Progress
from study.spec import StudySpec
from study.storage.progress import FAILURES
from study.storage.records import TrialRecord
from study.storage.run_states import RunBook, RunState
from workers.messages import Termination


class Tally:
    """The counts behind :class:`study.progress.Progress`, kept up to date event by event.

    Args:
        spec: The study.
        book: Its runs.
    """

    def __init__(self, spec: StudySpec, book: RunBook) -> None:
        self._spec = spec
        self._planned = spec.trial_count
        self._book = book
        self._budgets: dict[int, int] = {}
        self._known = 0
        self._optimizers: dict[int, str] = {}
        #: Epochs of each run that count as done.
        self._done: dict[int, int] = {}
        self._sum = self._resumed_at = 0
        self._ended = self._failed = self._pruned = self._diverged = 0
        self._best: tuple[float, str] | None = None
        self._started = time.monotonic()

    def add_trials(self, trials: Iterable[TrialRecord]) -> None:
        """Trials that the study has from now on, as their runs stand."""
        for trial in trials:
            self._budgets[trial.id] = self._spec.epochs_of_trial(trial.workload, trial.hyperparameters)
            self._known += self._budgets[trial.id] * self._spec.seeds
            self._optimizers[trial.id] = trial.optimizer
            runs = self._book.of_trial(trial.id)
            for run in runs:
                self._set(run.id, self._standing(run))
                self._diverged += run.termination is Termination.DIVERGED
            if self._book.has_ended(trial.id):
                self._count_trial(trial.id)

    def begin(self) -> None:
        """What was done until now was done before this driver."""
        self._resumed_at = self._sum

    def note_epoch(self, run_ids: Iterable[int], epoch: int) -> None:
        """Runs have trained up to ``epoch``."""
        for run_id in run_ids:
            self._set(run_id, epoch)

    def note_lost(self, run_ids: Iterable[int]) -> None:
        """What an attempt trained of these runs is lost."""
        for run_id in run_ids:
            self._set(run_id, self._standing(self._book[run_id]))

    def note_ended(self, runs: Iterable[RunState]) -> None:
        """Runs have ended; each is given once. A trial counts when the last of its runs does."""
        trial_ids = set()
        for run in runs:
            self._set(run.id, self._budgets[run.trial_id])
            self._diverged += run.termination is Termination.DIVERGED
            trial_ids.add(run.trial_id)
        for trial_id in trial_ids:
            if self._book.has_ended(trial_id):
                self._count_trial(trial_id)

    def progress(self) -> Progress:
        """The counts now."""
        missing = max(self._planned - len(self._budgets), 0)
        usual = self._known // max(len(self._budgets), 1)
        return Progress(
            study=self._spec.name,
            trials=len(self._budgets) + missing,
            trials_ended=self._ended,
            run_epochs=self._known + missing * usual,
            run_epochs_ended=self._sum,
            resumed_at=self._resumed_at,
            diverged=self._diverged,
            failed=self._failed,
            best=self._best[0] if self._best else None,
            best_optimizer=self._best[1] if self._best else "",
            seconds=time.monotonic() - self._started,
            pruned=self._pruned,
        )

    def _standing(self, run: RunState) -> int:
        return run.epochs if run.termination is None else self._budgets[run.trial_id]

    def _set(self, run_id: int, epochs: int) -> None:
        self._sum += epochs - self._done.get(run_id, 0)
        self._done[run_id] = epochs

    def _count_trial(self, trial_id: int) -> None:
        self._ended += 1
        terminations = {run.termination for run in self._book.of_trial(trial_id)}
        if terminations & set(FAILURES):
            self._failed += 1
        elif Termination.PRUNED in terminations:
            self._pruned += 1
        else:
            values = self._book.objectives(trial_id, range(self._spec.seeds))
            if values is not None:
                found = (seed_mean(values), self._optimizers[trial_id])
                self._best = min(self._best or found, found)
