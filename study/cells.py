"""Decides what one workload and optimizer of a study needs next: batches of a stage, a decision, another round.

Everything follows from the spec and from where the runs stand in the database: not from the order in which batches
ended, nor from the process that decides.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from study.pruning import Cohort, Stage, find_pruned, plan_cohorts
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.storage.attempts import BatchPlan
from study.storage.endings import PrunedRun
from study.storage.records import TrialRecord
from study.storage.run_states import RunBook, RunState
from workers.batching import pack_trials
from workers.messages import Termination


@dataclass(frozen=True, slots=True)
class StageWork:
    """Trials that a stage has to train.

    Attributes:
        stage: The stage.
        first_epoch: Epochs that the stages before it have trained.
        members: The trials among which batches are packed, the same in every attempt, so that checkpoints are found.
        missing: Ids of those that have not ended the stage.
    """

    stage: Stage
    first_epoch: int
    members: Sequence[TrialRecord]
    missing: frozenset[int]


@dataclass(frozen=True, slots=True)
class PruningDecision:
    """Runs that stop after a stage.

    Attributes:
        trials: Their trials.
        runs: All open runs of these trials.
        details: Which decision it was, for the log.
    """

    trials: Sequence[TrialRecord]
    runs: Sequence[PrunedRun]
    details: str


@dataclass(slots=True)
class CohortProgress:
    """Trials that go through the stages together.

    Attributes:
        cohort: Which numbers, which stages.
        trials: The trials, in the plan's order.
        batches: Batches of its present stage that are not done with.
        workers: For how many its batches are packed; 0 before the first stage. Later ones keep it, whatever the cluster
            does: checkpoints are those of whole batches.
    """

    cohort: Cohort
    trials: Sequence[TrialRecord]
    batches: int = 0
    workers: int = 0


@dataclass(slots=True)
class Cell:
    """One workload and optimizer of a study: one Optuna study.

    Attributes:
        workload: Name of the workload.
        optimizer: The optimizer.
        trials: All its trials so far, in the plan's order.
        cohorts: Those of its newest round.
        round: The number of its newest round.
    """

    spec: StudySpec
    workload: str
    optimizer: OptimizerSpec
    trials: list[TrialRecord] = field(default_factory=list)
    cohorts: list[CohortProgress] = field(default_factory=list)
    round: int = -1

    def add_trials(self, trials: Sequence[TrialRecord]) -> None:
        """The trials of further rounds; the newest of them is the one that is worked on from now on."""
        self.trials.extend(trials)
        self.round = self.trials[-1].round
        newest = {trial.number: trial for trial in self.trials if trial.round == self.round}
        self.cohorts = [
            CohortProgress(cohort, [newest[number] for number in cohort.numbers])
            for cohort in plan_cohorts(
                self.spec.pruning,
                budget=self.spec.epochs_of(self.workload),
                seeds=self.spec.seeds,
                numbers=sorted(newest),
            )
        ]

    def next_step(self, cohort: CohortProgress, book: RunBook) -> StageWork | PruningDecision | None:
        """What ``cohort`` needs, as its runs stand; None if all of it has ended."""
        first_epoch = 0
        stages = cohort.cohort.stages
        for place, stage in enumerate(stages):
            missing = frozenset(t.id for t in cohort.trials if any(_is_missing(r, stage) for r in book.of_trial(t.id)))
            if missing:
                members = cohort.trials if first_epoch or place == 0 else _going_on(cohort.trials, book)
                return StageWork(stage, first_epoch, members, missing)
            if place + 1 < len(stages) and not _is_decided(cohort.trials, stage, book):
                decision = self._decide(cohort, stage, book, first_epoch=first_epoch)
                if decision is not None:
                    return decision
            first_epoch = stage.stop_epoch or 0
        return None

    def _decide(
        self, cohort: CohortProgress, stage: Stage, book: RunBook, *, first_epoch: int
    ) -> PruningDecision | None:
        """Who stops after ``stage``; None if nobody does, or it was written already."""
        # Over seeds, what became of a trial later must not change what was decided before.
        trials = cohort.trials
        if self.spec.pruning.by_epochs:
            # Who had diverged with all seeds before this stage competes for no place in the next one.
            trials = [t for t in _going_on(trials, book) if any(r.epochs > first_epoch for r in book.of_trial(t.id))]
        compared = {trial.number: trial for trial in trials}
        pruned = find_pruned(
            self.spec.pruning,
            stage,
            dict(_objectives(compared.values(), stage, book)),
            dict(_objectives((t for t in self.trials if t.round < self.round), Stage(range(self.spec.seeds)), book)),
        )
        runs = [
            PrunedRun(run.id, reason)
            for number, reason in pruned.items()
            for run in book.of_trial(compared[number].id)
            if run.termination is None
        ]
        if not runs:
            return None
        where = f"epoch {stage.stop_epoch}" if stage.stop_epoch is not None else f"seed {stage.seeds.stop - 1}"
        details = f"{self.workload}, {self.optimizer.name}, bracket {cohort.cohort.bracket}, after {where}"
        stopped = {run.run_id for run in runs}
        trials = [
            compared[number] for number in pruned if stopped & {run.id for run in book.of_trial(compared[number].id)}
        ]
        return PruningDecision(trials, runs, details)

    def pack(self, work: StageWork, *, max_rows: int, workers: int) -> Iterator[BatchPlan]:
        """The batches of a stage; those in which nothing is missing any more only have a checkpoint to be removed."""
        groups: dict[str, list[TrialRecord]] = {}
        for trial in work.members:
            # What cannot differ between the rows of a batch.
            training = self.spec.training_of_trial(trial.hyperparameters)
            key = f"{training!r} {sorted(self.optimizer.options_of(trial.hyperparameters).items())}"
            groups.setdefault(key, []).append(trial)
        for group in groups.values():
            for batch in pack_trials(group, seeds=len(work.stage.seeds), max_rows=max_rows, workers=workers):
                missing = [trial for trial in batch if trial.id in work.missing]
                # Without an earlier stage, what has ended need not be there for a checkpoint's sake.
                members = batch if work.first_epoch else missing
                if members:
                    yield BatchPlan(missing, members, work.stage.seeds, work.first_epoch, work.stage.stop_epoch)


def _is_missing(run: RunState, stage: Stage) -> bool:
    if run.termination is not None or run.seed not in stage.seeds:
        return False
    return stage.stop_epoch is None or run.epochs < stage.stop_epoch


def _is_decided(trials: Iterable[TrialRecord], stage: Stage, book: RunBook) -> bool:
    """Whether a later stage has begun to change what the decision after ``stage`` was made from."""
    if stage.stop_epoch is None:
        return False
    last = stage.stop_epoch
    return any(
        run.epochs > last or (run.termination is Termination.PRUNED and run.epochs == last)
        for trial in trials
        for run in book.of_trial(trial.id)
    )


def _going_on(trials: Iterable[TrialRecord], book: RunBook) -> list[TrialRecord]:
    """Trials that are neither pruned nor without a result."""
    return [
        trial
        for trial in trials
        if all(
            run.termination in (None, Termination.COMPLETED, Termination.DIVERGED) for run in book.of_trial(trial.id)
        )
    ]


def _objectives(trials: Iterable[TrialRecord], stage: Stage, book: RunBook) -> Iterator[tuple[int, Sequence[float]]]:
    """Number -> objectives of the seeds so far, for trials that have them all."""
    for trial in trials:
        values = book.objectives(trial.id, range(stage.seeds.stop))
        if values is not None:
            yield trial.number, values
